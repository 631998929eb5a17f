"""Response modes: how each reply is read, and how labels are drawn."""

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_rollout import RULES, Sayings, decisions, play

from agents.language import FORMATS, LanguageAgent
from agents.methods.control import Control
from sim.inference import modes
from sim.inference.base import Reply

LABELS = tuple("ABC")
SCORES = [float(np.log(p)) for p in (0.5, 0.2, 0.1)]  # a fifth of the probability is elsewhere


class Scores(Sayings):
    modes = modes.MODES

    def __init__(self, scores, temperature=1.0):
        super().__init__(lambda q: Reply("", option_logprobs=scores[: len(q.labels)]))
        self.temperature = temperature


def labelled(tmp_path, scores, members=100, temperature=1.0):
    agents = {"c": LanguageAgent(Control(), "separate", "label")}
    rules = replace(RULES, response_mode="label", n_reasks=0)
    backend = Scores(scores, temperature)
    tmp_path.mkdir(exist_ok=True)
    tables, _, asking = play(tmp_path / "r", backend, None, agents, members, rules)
    return decisions(tables), backend, asking


def test_labels_are_drawn_by_the_models_probabilities_and_asked_once(tmp_path):
    scores = [*SCORES, *[-9.0] * 6]
    rows, backend, asking = labelled(tmp_path, scores, 1000)
    shares = rows["action"].value_counts(normalize=True).sort("action")["proportion"].to_list()
    # Among the labels alone; standard error .0063 at n = 6,000.
    assert np.allclose(shares[:3], [0.625, 0.25, 0.125], atol=0.025)
    assert len(backend.asked) == 6 and asking.n_shared == 5994
    assert rows["option_logprobs"].to_list()[0] == scores
    assert rows["reply"].unique().to_list() == [""]
    assert rows["response_mode"].unique().to_list() == ["label"]


def test_at_temperature_0_the_likeliest_label_is_taken(tmp_path):
    rows, *_ = labelled(tmp_path, [*SCORES[::-1], *[-9.0] * 6], 20, temperature=0)
    assert rows["action"].unique().to_list() == [2]


def test_labels_without_any_probability_are_unread(tmp_path):
    rows, *_ = labelled(tmp_path, [float("-inf")] * 9, 5)
    assert rows["status"].unique().to_list() == ["unparsed"]
    assert rows["action"].null_count() == len(rows)


def test_a_conversation_goes_on_with_the_label_that_was_drawn(tmp_path):
    agents = {"c": LanguageAgent(Control(), "shared", "label")}
    rules = replace(RULES, response_mode="label")
    backend = Scores([*SCORES, *[-9.0] * 6])
    tables, *_ = play(tmp_path / "r", backend, None, agents, 8, rules)
    rows = decisions(tables)
    for request in backend.asked:
        history = request.message.history()
        said = [m.content for m in history if m.role == "assistant"]
        if len(said) == 5:
            break
    told = rows.filter(episode=request.slot.episode).sort("step")
    shown = [
        order.index(action) for order, action in told.select("option_order", "action").iter_rows()
    ]
    assert said == [f"Answer: {'ABCDEFGHI'[k]}" for k in shown[:5]]


def test_the_same_study_draws_the_same_labels_again(tmp_path):
    first, *_ = labelled(tmp_path / "a", [*SCORES, *[-2.0] * 6], 50)
    again, *_ = labelled(tmp_path / "b", [*SCORES, *[-2.0] * 6], 50)
    assert first.equals(again) and first["action"].n_unique() > 3


@pytest.mark.parametrize(
    ("mode", "reply", "option"),
    [
        ("choice", "B", 1),
        ("choice", " C\n", 2),
        ("choice", "D", None),
        ("choice", "B.", None),
        ("choice", "", None),
        ("regex", "It is fair.\nAnswer: A", 0),
        ("regex", "Answer: A", None),
        ("regex", "It is fair.\nAnswer: A or B", None),
        ("json", '{"reason": "It is fair.", "answer": "C"}', 2),
        ("json", '{"reason": "a\tb", "answer": "A"}', 0),
        ("json", '{"answer": "Z"}', None),
        ("json", '{"answer": ["A"]}', None),
        ("json", '["A"]', None),
        ("json", '{"reason": "It is', None),
        ("json", "[" * 100_000, None),
        ("text", "I take it.\nAnswer: B", 1),
    ],
)
def test_a_reply_is_read_by_its_mode(mode, reply, option):
    assert modes.read(mode, reply, LABELS).option == option


@given(st.text(max_size=40), st.sampled_from(["choice", "regex", "json", "text"]))
def test_no_reply_makes_a_reader_fail_and_only_offered_options_are_read(reply, mode):
    read = modes.read(mode, reply, LABELS)
    assert (read.option is None) == (read.status != "ok") and read.option in (None, 0, 1, 2)


@given(st.sampled_from(LABELS), st.from_regex(r"[A-Za-z ,.]{1,80}", fullmatch=True))
def test_what_the_patterns_allow_is_read(label, reason):
    given_ = json.dumps({"reason": reason, "answer": label})
    assert re.fullmatch(modes.json_regex(LABELS), given_)
    assert modes.read("json", given_, LABELS).option == LABELS.index(label)
    if reason.strip():
        said = f"{reason}\nAnswer: {label}"
        assert modes.read("regex", said, LABELS).option in (LABELS.index(label), None)


def test_every_mode_has_a_format_that_the_agents_ask_for():
    assert set(FORMATS) == set(modes.MODES)


def test_label_mode_is_refused_before_anything_is_asked_where_labels_cannot_be_scored(tmp_path):
    from conftest import compose

    from sim import setup
    from sim.errors import Refusal

    config = compose("experiment=hvae", "model=scripted", "response_mode=label")
    with pytest.raises(Refusal, match="response_mode must be one of text"):
        setup.build(config)


def test_decisions_say_nulls_where_no_labels_were_scored(tmp_path):
    tables, *_ = play(tmp_path / "r", Sayings(lambda q: "Answer: A"))
    assert tables.decisions.select(pl.col("option_logprobs").is_null().all()).collect().item()

"""The loop, the conversations and the rows that they leave."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from conftest import compose
from games import TwoStages

from agents.base import Agent, Member
from agents.language import LanguageAgent
from agents.methods.control import Control
from agents.methods.definition import Definition
from agents.scripted import Linear
from sim import run, setup
from sim.cast import Cast
from sim.errors import CallFailed, Refusal
from sim.inference.asking import Asking
from sim.inference.base import Backend, Reply
from sim.journal import Journal
from sim.rollout import Rollout
from sim.rules import Rules
from sim.tables import load
from sim.transcripts import as_text, transcript

RULES = Rules(0, 1, "uniform", "record", "text", 64)


class Sayings(Backend):
    """Says what a function makes of (request, how many were asked before); keeps the requests.

    `order` shuffles the replies of a batch, `hold` keeps one episode's back to the end.
    """

    model = "sayings"

    def __init__(self, say, order=None, hold=None):
        self.say, self.order, self.hold = say, order, hold
        self.asked, self.open = [], []

    def identity(self):
        return {"model": self.model}

    def count_tokens(self, text):
        return len(text)

    def submit(self, requests):
        self.open += requests
        self.asked += requests

    def ready(self):
        now = [q for q in self.open if q.slot.episode != self.hold] or self.open
        if self.order is not None:
            now = [now[i] for i in self.order.permutation(len(now))][: max(1, len(now) // 2)]
        taken = {id(q) for q in now}
        self.open = [q for q in self.open if id(q) not in taken]
        replies = []
        for request in now:
            said = self.say(request)
            replies.append((request, said if isinstance(said, Reply) else Reply(said)))
        return replies


def play(
    folder, backend, game=None, agents: dict[str, Agent] | None = None, members=4, rules=RULES
):
    game = game or setup.build(compose("env=svo_slider")).game
    agents = agents or {"control": LanguageAgent(Control(), "shared")}
    people = [Member(f"m{i}", "prosocial", 45.0, "x") for i in range(members)]
    cast = Cast(agents, people, backend, len(game.possible_agents), 1)
    folder.mkdir(exist_ok=True)
    recorder = run.record(folder, game, cast)
    cast.table.write_parquet(folder / "agents.parquet")
    pl.DataFrame({"env": []}).write_parquet(folder / "items.parquet")
    journal = Journal(folder / "journal.sqlite", False)
    asking = Asking(backend, journal, rules.on_error)
    try:
        tally = Rollout(game, cast, asking, recorder, rules).run()
        recorder.close()
    finally:
        journal.close()
    return load(folder), tally, asking


def decisions(tables) -> pl.DataFrame:
    return tables.decisions.collect()


def test_a_decision_that_is_read_at_once_is_ok_and_one_asked_again_is_repaired(tmp_path):
    backend = Sayings(lambda q: "Answer: B" if q.slot.attempt or q.slot.step else "Perhaps.")
    tables, *_ = play(tmp_path / "r", backend)
    rows = decisions(tables)
    first, later = rows.filter(step=0), rows.filter(pl.col("step") > 0)
    assert first["status"].unique().to_list() == ["repaired"]
    assert later["status"].unique().to_list() == ["ok"]
    assert rows["action"].unique().to_list() == [1]
    turns = tables.turns.collect().filter(step=0, episode=0)
    assert turns["kind"].to_list() == ["decide", "reask"] and turns["try"].to_list() == [0, 1]
    # The row names the turn whose reply was read.
    assert first["request"][0] == turns["request"][1] and first["reply"][0] == "Answer: B"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "unparsed"),
        ("A or B", "unparsed"),
        ("not A", "unparsed"),
        ("I can't choose.", "refused"),
    ],
)
def test_what_cannot_be_read_stays_null_and_what_was_played_is_marked(tmp_path, text, status):
    tables, tally, _ = play(tmp_path / "r", Sayings(lambda q: text))
    rows = decisions(tables)
    assert rows["status"].unique().to_list() == [status]
    for column in ("action", "payoff_self", "payoff_other"):
        assert rows[column].null_count() == rows.height == 24
    assert rows["fallback"].null_count() == 0 and rows["fallback"].n_unique() > 3
    assert tally.unread == 24
    assert tables.turns.select(pl.len()).collect().item() == 48  # one re-ask each, no more


def test_no_reask_is_sent_where_the_study_allows_none(tmp_path):
    rules = Rules(0, 0, 3, "record", "text", 64)
    tables, *_ = play(tmp_path / "r", Sayings(lambda q: ""), rules=rules)
    assert tables.turns.select(pl.len()).collect().item() == 24
    assert decisions(tables)["fallback"].unique().to_list() == [3]


def test_a_failed_call_is_an_error_and_no_action(tmp_path):
    def say(request):
        return Reply("Answer: A", error="timeout") if request.slot.step == 2 else "Answer: A"

    tables, *_ = play(tmp_path / "r", Sayings(say))
    rows = decisions(tables)
    assert rows.filter(step=2)["status"].unique().to_list() == ["error"]
    assert rows.filter(step=2)["action"].null_count() == 4
    assert rows.filter(pl.col("step") != 2)["status"].unique().to_list() == ["ok"]


def test_a_failed_call_stops_a_study_that_says_so_and_is_asked_again_on_resume(tmp_path):
    broken = [True]

    def say(request):
        failing = broken[0] and request.slot == (2, 0, 3, 0, 0)
        return Reply("", error="timeout: no answer in 60 s") if failing else "Answer: C"

    rules = Rules(0, 1, "uniform", "stop", "text", 64)
    with pytest.raises(CallFailed, match=r"episode 2, seat 0, step 3.*timeout: no answer"):
        play(tmp_path / "r", Sayings(say), rules=rules)
    broken[0] = False
    second = Sayings(say)
    tables, _, asking = play(tmp_path / "r", second, rules=rules)
    assert decisions(tables)["status"].unique().to_list() == ["ok"]
    assert asking.n_replayed + asking.n_asked == 24 and asking.n_replayed >= 12
    assert second.asked[0].slot == (2, 0, 3, 0, 0)


@pytest.mark.parametrize(
    "induced", [Reply("", error="boom"), Reply(" \n", reasoning="hm")], ids=["failed", "wordless"]
)
def test_an_induction_without_a_reply_leaves_its_decisions_as_errors(tmp_path, induced):
    agents: dict[str, Agent] = {
        "hvae": setup.build(compose("agent=hvae", "env=svo_slider")).cast.agents[0]
    }

    def say(request):
        return replace(induced) if request.labels is None else "Answer: A"

    tables, *_ = play(tmp_path / "r", Sayings(say), agents=agents, members=1)
    rows = decisions(tables)
    assert rows.height == 6 and rows["status"].unique().to_list() == ["error"]
    assert rows.select("request", "reply", "prompt_tokens").null_count().row(0) == (6, 6, 6)


def test_a_reply_that_was_cut_is_not_read_for_what_may_have_been_going_on(tmp_path):
    agents = {"definition": LanguageAgent(Definition(), "shared")}

    def say(request):
        if request.slot.attempt:
            return "Answer: B"
        return Reply("I would choose A", finish_reason="length")

    rules = Rules(0, 1, "uniform", "stop", "text", 64)
    tables, *_ = play(tmp_path / "r", Sayings(say), agents=agents, members=1, rules=rules)
    assert decisions(tables)["status"].unique().to_list() == ["repaired"]


def test_an_agent_keeps_its_value_when_its_first_call_fails(tmp_path):
    agents = {"definition": LanguageAgent(Definition(), "shared")}
    backend = Sayings(lambda q: Reply("", error="E\udcff") if q.slot.step < 2 else "Answer: A")
    tables, *_ = play(tmp_path / "r", backend, agents=agents, members=1)
    first = [q.message.history()[0].role for q in backend.asked]
    assert first == ["system"] * 6
    assert [len(q.message.history()) for q in backend.asked] == [2, 2, 2, 4, 6, 8]
    errors = tables.turns.filter(pl.col("error").is_not_null()).collect()["error"]
    assert errors.to_list() == ["E?", "E?"]  # no lone surrogate can be kept


def test_rows_do_not_depend_on_the_order_or_the_size_of_what_comes_back(tmp_path):
    def say(request):
        return f"Answer: {'ABCDEFGHI'[request.seed % 9]}" if request.seed % 7 else "Hm."

    plain, *_ = play(tmp_path / "a", Sayings(say), members=40)
    shuffled = Sayings(say, np.random.default_rng(1), hold=3)
    few = Rules(0, 1, "uniform", "record", "text", 7)
    play(tmp_path / "b", shuffled, members=40, rules=few)
    for name in ("decisions", "turns"):
        one, other = ((tmp_path / f / f"{name}.parquet").read_bytes() for f in "ab")
        assert one == other
    assert decisions(plain)["status"].n_unique() > 1


def test_every_question_of_a_conversation_is_deeper_than_the_one_before(tmp_path):
    built = setup.build(compose("agent=hvae_goal", "env=svo_slider")).cast.agents[0]
    backend = Sayings(lambda q: "Answer: B" if q.slot.attempt else "Perhaps.")
    play(tmp_path / "r", backend, agents={"hvae_goal": built}, members=3)
    for episode in range(3):
        depths = [q.slot.depth for q in backend.asked if q.slot.episode == episode]
        assert len(depths) == 3 + 6 * 2  # describe, role, goal; every choice is asked again
        assert depths == sorted(set(depths))


def test_nobody_waits_for_an_unrelated_episode(tmp_path):
    backend = Sayings(lambda q: "Answer: A", hold=0)
    play(tmp_path / "r", backend, members=4)
    held = [i for i, q in enumerate(backend.asked) if q.slot.episode == 0]
    # Episode 0's first reply is held back: all others are asked to their ends before its second.
    assert held[1] >= 3 * 6


def test_equal_greedy_requests_are_asked_once(tmp_path):
    backend = Sayings(lambda q: "Answer: A")
    backend.greedy = True
    tables, _, asking = play(tmp_path / "r", backend, members=5)
    assert len(backend.asked) == asking.n_asked == 6 and asking.n_shared == 24
    assert decisions(tables)["request"].n_unique() == 6
    again = Sayings(lambda q: "Answer: B")
    again.greedy = True
    _, _, replay = play(tmp_path / "r", again, members=5)
    assert not again.asked and replay.n_replayed == 30


def test_a_failed_call_is_no_answer_to_equal_requests_that_come_later(tmp_path):
    fails = iter([Reply("", None, None, "Timeout: no answer")])
    backend = Sayings(lambda q: next(fails, "Answer: A"))
    backend.greedy = True
    rules = replace(RULES, max_live=1)
    tables, _, asking = play(tmp_path / "r", backend, members=3, rules=rules)
    rows = decisions(tables).sort("episode", "step")
    assert rows["status"].to_list() == ["error"] + ["ok"] * 17
    assert asking.n_shared == 6  # the third's, by the second's


def test_a_seed_belongs_to_its_slot_and_to_the_run(tmp_path):
    backend, other = Sayings(lambda q: "Answer: A"), Sayings(lambda q: "Answer: A")
    play(tmp_path / "a", backend, members=10)
    play(tmp_path / "b", other, members=10, rules=Rules(1, 1, "uniform", "record", "text", 64))
    seeds = [q.seed for q in backend.asked]
    assert len(set(seeds)) == 60 and all(0 <= s < 2**63 for s in seeds)
    assert not set(seeds) & {q.seed for q in other.asked}


def test_a_prompt_that_changed_since_stops_the_run(tmp_path):
    play(tmp_path / "r", Sayings(lambda q: "Answer: A"))
    agents: dict[str, Agent] = {
        "hvae": setup.build(compose("agent=hvae", "env=svo_slider")).cast.agents[0]
    }
    with pytest.raises(Refusal, match=r"the prompt of episode 0, seat 0, step 0, .* changed since"):
        play(tmp_path / "r", Sayings(lambda q: "Answer: A"), agents=agents)


def test_shared_conversations_show_earlier_answers_and_separate_ones_do_not(tmp_path):
    for conversation, lengths in (("shared", [1, 3, 5, 7, 9, 11]), ("separate", [1] * 6)):
        backend = Sayings(lambda q: "Answer: A")
        agents: dict[str, Agent] = {"control": LanguageAgent(Control(), conversation)}
        play(tmp_path / conversation, backend, agents=agents, members=1)
        assert [len(q.message.history()) for q in backend.asked] == lengths


def test_the_journal_tells_whole_conversations(tmp_path):
    nasty = "Answer: A \x1b[31m‮ <b> \ud800 é"
    play(tmp_path / "r", Sayings(lambda q: nasty), members=2)
    said = transcript(tmp_path / "r", "control-m1")
    # What it says cannot be trusted to name one option: all six are asked again.
    assert [s["role"] for s in said] == ["user", "assistant"] * 12
    assert [s["kind"] for s in said[::2]] == ["decide", "reask"] * 6
    assert "\x1b" not in as_text(said) and "é" in as_text(said)
    with pytest.raises(ValueError, match="agent must be in"):
        transcript(tmp_path / "r", "nobody")


def test_games_of_several_seats_turns_and_early_ends_need_nothing_special(tmp_path):
    agents: dict[str, Agent] = {
        "linear": Linear(0),
        "control": LanguageAgent(Control(), "shared"),
    }
    backend = Sayings(lambda q: f"Answer: {'AB'[q.seed % 2]}", np.random.default_rng(0))
    tables, tally, _ = play(tmp_path / "r", backend, TwoStages(), agents, members=20)
    rows = decisions(tables)
    assert rows.select("episode", "step", "seat").is_unique().all()
    assert rows["episode"].n_unique() == tally.episodes == 20
    per = rows.group_by("episode").len()["len"].to_list()
    assert set(per) == {2, 4}
    # Agents sit next to each other: the first ten episodes are linear, the others speak.
    assert rows.filter(pl.col("episode") < 10)["agent"].unique().to_list() == ["linear"]
    assert rows.sort("episode", "step", "seat").equals(rows)
    for agent in ("control-m0", "control-m1"):
        turns = tables.turns.filter(pl.col("agent_id") == agent).collect()
        said = [t["text"] for t in transcript(tmp_path / "r", agent) if t["role"] == "assistant"]
        assert said == turns["reply"].to_list() and len(said) >= 1


def test_a_game_that_lists_no_items_can_be_built():
    config = compose("agent=linear")
    config.env = {"_target_": "games.TwoStages"}
    parts = setup.build(config)
    assert not parts.game.items() and len(parts.cast.seating) == 40


def test_options_shown_in_another_order_are_read_as_shown_and_recorded_canonically(tmp_path):
    game = setup.build(compose("env=svo_slider", "env.option_order=shuffled")).game
    tables, *_ = play(tmp_path / "r", Sayings(lambda q: "Answer: A"), game, members=20)
    rows = decisions(tables)
    assert (rows["action"] == rows["option_order"].list.first()).all()
    assert rows["action"].n_unique() == 9


@pytest.mark.parametrize("wrong", [[-2] * 4, [9] * 4, [0.0] * 4, [0] * 3])
def test_an_agent_that_returns_no_offered_option_is_refused(tmp_path, wrong):
    agents: dict[str, Agent] = {"linear": Linear(0)}
    agents["linear"].act = lambda rows: np.array(wrong)
    with pytest.raises(Refusal, match=r"Linear\.act must return"):
        play(tmp_path / "r", Sayings(str), agents=agents)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((-1, 1, "uniform", "stop", "text", 9), "seed must be a whole number, 0 or more, got -1"),
        ((0, -1, "uniform", "stop", "text", 9), "n_reasks must be a whole number, 0 or more"),
        ((0, 1, "best", "stop", "text", 9), "fallback must be uniform or an option's number"),
        ((0, 1, 0, "ignore", "text", 9), "on_error must be stop or record"),
        ((0, 1, 0, "stop", "text", 0), "max_live must be a whole number, 1 or more"),
    ],
)
def test_rules_that_cannot_be_are_refused(values, sentence):
    with pytest.raises(Refusal, match=sentence):
        Rules(*values)

"""Files of dilemmas: what is read, what is refused in which words, whether the banks balance."""

import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import compose
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import balance
from envs.dilemma import Collection, Dilemma, Option, Stage
from envs.loaders import hub, jsonl, mmds, moralchoice

BANKS = sorted(balance.BANK.glob("*.jsonl"))
SCHEMA = json.loads((balance.BANK / "schema.json").read_text())
THEORIES = {name: instantiate(compose(f"theory={name}").theory)
            for name in ("moral_foundations", "schwartz", "common_morality")}  # fmt: skip
MFT = THEORIES["moral_foundations"]


def option(text="Go.", value="care"):
    return {"text": text, "value": value}


def stage(*options, situation="It rains.", **more):
    told = list(options) or [option(), option("Stay.", "loyalty")]
    return {"situation": situation, "options": told, **more}


def row(*stages, **more):
    return {"id": "a", "stages": list(stages) or [stage()], **more}


def written(folder: Path, rows: list, name: str = "mine.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def same(one: Collection, other: Collection) -> bool:
    """Whether dilemmas are the same, wherever they stand."""
    bare = [[replace(d, where="") for d in c.dilemmas] for c in (one, other)]
    return bare[0] == bare[1]


# Our own format


def test_a_line_is_read_as_it_says(tmp_path):
    path = written(tmp_path, [row(stage(question="Well?"), norm="Be good.", theory="x"), row()])
    found = jsonl.load(path)
    told = Stage("It rains.", "Well?", (Option("Go.", "care"), Option("Stay.", "loyalty")))
    assert found.dilemmas[0] == Dilemma("a", "Be good.", (told,), f"row 1 of {path!r}")
    assert (found.name, found.n_dropped) == ("mine", 0)
    assert list(found.checksums) == [path]


def test_lines_that_repeat_an_earlier_one_are_dropped_and_counted(tmp_path):
    path = written(tmp_path, [row(), dict(reversed(row().items())), row(id="b"), row()])
    found = jsonl.load(path, "named")
    assert ([d.id for d in found.dilemmas], found.n_dropped, found.name) == (["a", "b"], 2, "named")


REFUSED = {
    "[1]": "row 1 of PATH must be a JSON object, got [1]",
    json.dumps(row(id=5)): "row 1 of PATH: id must be a text, got 5",
    json.dumps({"id": "a"}): "row 1 of PATH: stages must be a list, got null",
    json.dumps(row(stages={})): "row 1 of PATH: stages must be a list, got {}",
    json.dumps(row(stages=[])): "row 1 of PATH: a dilemma needs at least one stage, got none",
    json.dumps(row(more=1)): "row 1 of PATH has no field 'more'",
    json.dumps(row(norm=" ")): 'row 1 of PATH: norm must be a text, got " "',
    json.dumps(row(stage(), "x")): 'row 1 of PATH, stage 2 must be a JSON object, got "x"',
    json.dumps(row(stage(situation=""))):
        'row 1 of PATH, stage 1: situation must be a text, got ""',
    json.dumps(row(stage(question=1))): "row 1 of PATH, stage 1: question must be a text, got 1",
    json.dumps(row(stage(option()))):
        "row 1 of PATH, stage 1: a stage needs two options or more, got 1",
    json.dumps(row(stage(option(), option("")))):
        'row 1 of PATH, stage 1, option 2: text must be a text, got ""',
    json.dumps(row(stage(option(), option()))):
        "row 1 of PATH, stage 1: every option needs a text of its own, got 'Go.'",
    json.dumps(row(stage(*[option(str(k)) for k in range(9)]))):
        "row 1 of PATH, stage 1: a stage has room for eight options, got 9",
    json.dumps(row(stage(option(), option("Stay.", "power")))):
        "row 1 of PATH, stage 1: a value must be one of authority, care, fairness, liberty, "
        "loyalty, sanctity (theory moral_foundations), got 'power'",
    json.dumps(row()) + "\n\n" + json.dumps(row(norm="n")):
        "row 3 of PATH: every id must be there once, got 'a'",
    " \n": "a collection needs at least one dilemma, 'mine' has none",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_a_fault_is_refused_with_file_row_and_field(tmp_path, text):
    path = tmp_path / "mine.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as refused:
        jsonl.load(str(path)).check(MFT)
    assert str(refused.value) == REFUSED[text].replace("PATH", repr(str(path)))


def test_a_broken_line_another_encoding_and_no_file_are_refused(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row()) + '\n{"id": "b",\n')
    with pytest.raises(ValueError, match=r"^row 2 of '.*mine.jsonl' is no JSON object: "):
        jsonl.load(str(path))
    path.write_bytes(json.dumps(row()).replace("rains", "r\xe4ins").encode("latin-1"))
    with pytest.raises(ValueError, match=r"must be UTF-8, got byte 0xe4 at place \d+ of '.*jsonl'"):
        jsonl.load(str(path))
    with pytest.raises(ValueError, match=r"^a file of dilemmas must exist, got '.*none.jsonl'$"):
        jsonl.load(str(tmp_path / "none.jsonl"))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
stages = st.builds(
    Stage,
    texts,
    st.none() | texts,
    st.lists(st.builds(Option, texts, st.none() | texts), min_size=2, max_size=8).map(tuple),
)
dilemmas = st.lists(
    st.builds(
        Dilemma,
        texts,
        st.none() | texts,
        st.lists(stages, min_size=1, max_size=5).map(tuple),
        st.just(""),
    ),
    max_size=4,
    unique_by=lambda dilemma: dilemma.id,
)


def as_rows(dilemmas) -> list[dict]:
    return [
        {"id": d.id, "norm": d.norm,
         "stages": [stage(*[option(o.text, o.value) for o in s.options],
                          situation=s.situation, question=s.question) for s in d.stages]}
        for d in dilemmas
    ]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(dilemmas)
def test_what_is_written_is_read_back_the_same(tmp_path_factory, dilemmas):
    path = written(tmp_path_factory.mktemp("bank"), as_rows(dilemmas))
    found = jsonl.load(path)
    assert same(found, Collection("", tuple(dilemmas)))
    assert found.n_dropped == 0


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085"])
def test_unescaped_separators_of_unicode_end_no_line(tmp_path, mark):
    path = tmp_path / "mine.jsonl"
    text = json.dumps(row(stage(situation=f"It rains.{mark}Still.")), ensure_ascii=False)
    path.write_text(text + "\r\n" + json.dumps(row(id="b")) + "\r\n", encoding="utf-8", newline="")
    found = jsonl.load(str(path)).dilemmas
    assert [d.id for d in found] == ["a", "b"]
    assert found[0].stages[0].situation == f"It rains.{mark}Still."


# The schema and the banks


def levels():
    """What the schema says of a row, a stage and an option, and a row with such an object."""
    whole = stage(option(), option("Stay."), question="Well?")
    at_stage = SCHEMA["properties"]["stages"]["items"]
    at_option = at_stage["properties"]["options"]["items"]
    yield SCHEMA, row(whole, norm="n", theory="t"), lambda x: x
    yield at_stage, whole, row
    yield at_option, option(), lambda x: row(stage(x, option("Stay.")))


def test_the_schema_names_the_fields_that_the_loader_reads_and_needs(tmp_path):
    def loads(row):
        try:
            jsonl.load(written(tmp_path, [row]))
        except ValueError:
            return False
        return True

    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for schema, full, within in levels():
        assert schema["additionalProperties"] is False
        assert set(schema["properties"]) == set(full)
        assert loads(within(full))
        assert not loads(within(full | {"more": "x"}))
        for name, about in schema["properties"].items():
            rest = {k: v for k, v in full.items() if k != name}
            needed = name in schema["required"]
            assert loads(within(rest)) is not needed, name
            assert loads(within(full | {name: None})) is ("null" in about["type"]) is not needed
            assert not loads(within(full | {name: 5})), name
            if about["type"] != "array":
                assert not loads(within(full | {name: " "})), name
                assert (about["pattern"], re.search(about["pattern"], " ")) == (r"\S", None)


@pytest.mark.parametrize("path", BANKS, ids=lambda path: path.stem)
def test_every_row_of_a_bank_is_whole_and_of_its_theory(path):
    found = jsonl.load(str(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (len(found.dilemmas), found.n_dropped) == (len(rows), 0)
    for theory in {row["theory"] for row in rows}:
        found.check(THEORIES[theory])
    for dilemma in found.dilemmas:
        assert dilemma.norm
        assert all(stage.question for stage in dilemma.stages)
        assert all(o.value for stage in dilemma.stages for o in stage.options)


# Balance


def test_the_banks_are_balanced(capsys):
    assert len(BANKS) == 2
    assert balance.main([]) == 0
    printed = capsys.readouterr().out
    assert all(f" {path.stem}: 30 dilemmas" in printed for path in BANKS)
    assert "must" not in printed


def two(first, second, *more):
    return stage(option("Go.", first), option("Stay.", second), *more)


# Three values, every pair once in each order at each of two stages.
PAIRS = [("x", "y"), ("y", "x"), ("y", "z"), ("z", "y"), ("z", "x"), ("x", "z")]
EVEN = [row(two(*pair), two(*pair), id=str(k)) for k, pair in enumerate(PAIRS)]


def test_counts_by_hand(tmp_path):
    rows = [row(two("x", "y"), two("y", None), id="1"), row(two("y", "z", option("Run.", "x")))]
    found = balance.count(jsonl.load(written(tmp_path, rows)))
    assert found.values == ("x", "y", "z")
    assert found.shown.tolist() == [
        [[1, 0, 1], [0, 0, 0]], [[1, 1, 0], [1, 0, 0]], [[0, 1, 0], [0, 0, 0]]
    ]  # fmt: skip
    assert found.met.tolist() == [[0, 2, 1], [2, 0, 1], [1, 1, 0]]


def planted(rule: str) -> list[dict]:
    """`EVEN` with one fault."""
    rows = json.loads(json.dumps(EVEN))
    if rule == "pairs":  # x and z meet y only
        rows = [row(two(*pair), id=str(k)) for k, pair in enumerate([("x", "y"), ("y", "z")])]
    elif rule == "stages":  # x for z at the second stage of three dilemmas
        for k in (2, 3):
            for told in rows[k]["stages"][1]["options"]:
                told["value"] = {"z": "x"}.get(told["value"], told["value"])
    elif rule == "places":  # turned round at stage 1, back at stage 2: even in all
        for k, s in ((1, 0), (0, 1)):
            options = rows[k]["stages"][s]["options"]
            options[0]["value"], options[1]["value"] = options[1]["value"], options[0]["value"]
    elif rule == "words":
        rows[3]["stages"][1]["options"][1]["text"] = "Stay, in all FAIRNESS."
    return rows


SENTENCES = {
    "pairs": "every pair of values must meet, 1 of 3 never do, first x and z",
    "stages": "each value must be shown equally often at each stage, at stage 2 x is shown 6 times "
    "and z 2",
    "places": "each value must be equally often the first and the second option, at stage 1 x is "
    "the first 3 times and the second 1",
    "words": "no option may give its value away, 1 do, first row 4 of PATH, stage 2, option 2 with "
    "'FAIRNESS'",
}


def test_an_even_file_breaks_no_rule(tmp_path):
    assert balance.main([written(tmp_path, EVEN)]) == 0


@pytest.mark.parametrize("rule", SENTENCES)
def test_a_planted_fault_gives_its_sentence_and_status_1(tmp_path, capsys, rule):
    path = written(tmp_path, planted(rule))
    assert balance.main([path, written(tmp_path, EVEN, "even.jsonl")]) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(path)]
    assert said == [f"{path}: {SENTENCES[rule].replace('PATH', repr(path))}"]


def test_every_broken_rule_gets_a_sentence_of_its_own(tmp_path):
    told = option("Be kind.", "kindness")
    rows = [row(two("x", "y")), row(two("x", "y"), id="b"), row(stage(told, option()), id="c")]
    rows[2]["stages"][0]["options"][1]["value"] = "x"
    broken = balance.faults(jsonl.load(written(tmp_path, rows)))
    assert [sentence.split(",")[0] for sentence in broken] == [
        SENTENCES[rule].split(",")[0] for rule in ("pairs", "stages", "places", "words")
    ]


@pytest.mark.parametrize(
    ("value", "text", "told"),
    [
        ("break_promise", "Break  promise and oath.", True),
        ("honesty", "In all honesty, go.", True),
        ("honesty", "Go dishonestly.", False),
        ("善", "Go.", False),
        ("x", "Drive carefully through the fairground.", False),
        ("x", "Stand by your independence.", True),
    ],
)
def test_names_of_the_files_own_values_and_words_of_their_families_are_told(
    tmp_path, value, text, told
):
    rows = [row(stage(option(text, value), option("Stay.", "other-one")))]
    broken = balance.faults(jsonl.load(written(tmp_path, rows)))
    assert any("give its value away" in sentence for sentence in broken) is told


def test_a_file_that_cannot_be_read_or_played_is_a_sentence_and_status_1(tmp_path, capsys):
    assert balance.main([written(tmp_path, [row(stage(option()))])]) == 1
    assert "a stage needs two options or more, got 1" in capsys.readouterr().out
    assert balance.main([str(tmp_path / "none.jsonl")]) == 1
    assert capsys.readouterr().out.startswith("a file of dilemmas must exist, got ")
    assert balance.main([written(tmp_path, [row(two("x", None))])]) == 1
    assert "options must stand for two values or more, got x" in capsys.readouterr().out


# The authors' multi-step moral dilemmas


def flat(n=2, start="step {}_", choice="choice{}", idx=7, question=True,
         labels=("care/harm", "liberty/oppression"), **more):  # fmt: skip
    """A row of `n` steps in a spelling of the authors'."""
    told = {"norm": "Be good.", "idx": idx}
    for k in range(1, n + 1):
        key = start.format(k)
        told[f"{key}situation"] = f"Situation {k}."
        if question:
            told[f"{key}dilemma"] = f"Question {k}?  "
        for letter, label in zip("AB", labels, strict=True):
            told[key + choice.format(letter)] = f"Option {letter}{k}."
            told[f"{key}choice{letter}_value"] = label
    return told | more


def mmd(folder: Path, rows: object, name: str = "their.json") -> str:
    path = folder / name
    path.write_text(json.dumps(rows))
    return str(path)


DATA, LABELLER = flat(), flat(start="Step {}_")
GENERATOR = flat(start="step_{}_", choice="choice{}_action")
CONFLICT = flat(question=False, labels=("Care/Harm", "Liberty/Oppression"),
                **{"step 1_conflict": "A.", "step 2_conflict": "B."})  # fmt: skip


@pytest.mark.parametrize("spelt", [DATA, LABELLER, GENERATOR, flat(start="Step_{}_", idx="7")])
def test_each_published_spelling_of_keys_is_read_alike(tmp_path, spelt):
    found = mmds.load(mmd(tmp_path, [spelt]))
    told = [
        Stage(f"Situation {k}.", f"Question {k}?",
              (Option(f"Option A{k}.", "care"), Option(f"Option B{k}.", "liberty")))
        for k in (1, 2)
    ]  # fmt: skip
    where = f"row 1 of {str(tmp_path / 'their.json')!r}"
    assert found.dilemmas == (Dilemma("7", "Be good.", tuple(told), where),)
    assert (found.name, found.n_dropped) == ("their", 0)
    found.check(MFT)


def test_verdicts_and_descriptions_of_conflicts_are_read_over(tmp_path):
    more = {"step 1_choiceA_value_judgement": 1, "step 2_choiceB_value_judgement": 0}
    found = mmds.load(mmd(tmp_path, [CONFLICT | more])).dilemmas[0]
    assert [s.question for s in found.stages] == [None, None]
    assert [o.value for o in found.stages[0].options] == ["care", "liberty"]


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("care/harm", "care"),
        ("Care/Harm", "care"),
        ("CARE", "care"),
        ("Care/Harm\nReasonA", "care"),
        ("Sanctity/Degradation", "sanctity"),
        ("care/cheating", "care/cheating"),
        ("self", "self-direction"),
        ("Self-Direction", "self-direction"),
        ("Simulation", "stimulation"),
        ("Universalism", "universalism"),
    ],
)
def test_each_published_spelling_of_labels_is_a_value_or_left_to_the_theory(tmp_path, label, value):
    found = mmds.load(mmd(tmp_path, [flat(labels=(label, "power"))]))
    assert found.dilemmas[0].stages[0].options[0].value == value


def test_a_label_that_the_theory_does_not_know_is_refused_with_file_and_row(tmp_path):
    path = mmd(tmp_path, [flat(), flat(idx=8, labels=("care/cheating", "Liberty"))])
    with pytest.raises(ValueError) as refused:
        mmds.load(path).check(MFT)
    assert str(refused.value).startswith(f"row 2 of {path!r}, stage 1: a value must be one of ")
    assert str(refused.value).endswith("got 'care/cheating'")


def test_rows_that_repeat_an_earlier_one_in_any_spelling_are_dropped_and_counted(tmp_path):
    rows = [DATA, GENERATOR, flat(idx=8), CONFLICT, DATA, flat(idx="8")]
    found = mmds.load(mmd(tmp_path, rows))
    assert ([d.id for d in found.dilemmas], found.n_dropped) == (["7", "8"], 4)


def test_questions_come_from_whichever_copy_has_them(tmp_path):
    one = mmds.load(mmd(tmp_path, [CONFLICT, DATA]))
    other = mmds.load(mmd(tmp_path, [DATA, CONFLICT]))
    assert one == replace(other, checksums=one.checksums)
    assert [s.question for s in one.dilemmas[0].stages] == ["Question 1?", "Question 2?"]


@pytest.mark.parametrize(
    "other",
    [
        flat(**{"step 1_situation": "Another."}),
        flat(**{"step 2_dilemma": "Another?"}),
        flat(labels=("care", "loyalty")),
        flat(norm="Be bad."),
        flat(n=1),
    ],
)
def test_another_dilemma_of_the_same_idx_is_refused(tmp_path, other):
    path = mmd(tmp_path, [DATA, other])
    with pytest.raises(ValueError) as refused:
        mmds.load(path)
    told = f"row 2 of {path!r}: idx '7' is that of another dilemma, row 1 of {path!r}"
    assert str(refused.value) == told


def without(key: str, **more) -> dict:
    return {k: v for k, v in flat().items() if k != key} | more


FLAWED = [
    (7, "row 1 of PATH must be a JSON object, got 7"),
    (without("idx"), "row 1 of PATH: idx must be a whole number or a text, got null"),
    (flat(idx=True), "row 1 of PATH: idx must be a whole number or a text, got true"),
    (flat(idx=1.5), "row 1 of PATH: idx must be a whole number or a text, got 1.5"),
    (without("norm"), "row 1 of PATH: norm must be a text, got null"),
    (without("step 2_choiceB"), "row 1 of PATH: step 2_choiceB must be a text, got null"),
    (without("step 2_situation"), "row 1 of PATH: step 2_situation must be a text, got null"),
    (without("step 1_choiceA_value"),
     "row 1 of PATH: step 1_choiceA_value must be a text, got null"),
    (flat(start="Step_{}_") | {"Step_1_choiceB_value": 3},
     "row 1 of PATH: Step_1_choiceB_value must be a text, got 3"),
    (flat(**{"step 1_dilemma": ["x"]}), 'row 1 of PATH: step 1_dilemma must be a text, got ["x"]'),
    (flat(**{"step 1_situation": {"a": "b"}}),
     'row 1 of PATH: step 1_situation must be a text, got {"a": "b"}'),
    (flat(**{"step 4_situation": "x"}),
     "row 1 of PATH: steps must be numbered 1, 2, 3 ..., got 1, 2, 4"),
    ({"norm": "x", "idx": 1}, "row 1 of PATH: steps must be numbered 1, 2, 3 ..., got none"),
    (flat(**{"step 0_situation": "x"}), "row 1 of PATH has no field 'step 0_situation'"),
    (flat(**{"step 1_choiceC": "x"}), "row 1 of PATH has no field 'step 1_choiceC'"),
    (flat(error=None), "row 1 of PATH has no field 'error'"),
    (flat(Step_1_choiceA_action="x"),
     "row 1 of PATH: Step_1_choiceA_action is there twice, also as step 1_choiceA"),
]  # fmt: skip


@pytest.mark.parametrize(("flawed", "sentence"), FLAWED)
def test_a_flawed_row_is_refused_with_file_row_and_field(tmp_path, flawed, sentence):
    path = mmd(tmp_path, [flawed])
    with pytest.raises(ValueError) as refused:
        mmds.load(path)
    assert str(refused.value) == sentence.replace("PATH", repr(path))


def test_a_key_that_is_there_twice_and_what_is_no_list_are_refused(tmp_path):
    path = tmp_path / "their.json"
    path.write_text(json.dumps([flat()])[:-2] + ', "idx": 8}]')
    with pytest.raises(ValueError, match=r"^row 1 of .*: idx is there twice, also as idx$"):
        mmds.load(str(path))
    path.write_text(json.dumps(flat()))
    with pytest.raises(ValueError, match=r"their.json' must be a JSON list of rows, got "):
        mmds.load(str(path))
    # What the authors' scripts leave when they are run twice: lists, one behind the other.
    path.write_text("[]\n[]\n")
    with pytest.raises(ValueError, match=r"their.json' is no JSON list of rows: Extra data"):
        mmds.load(str(path))


@pytest.mark.parametrize(
    ("theory", "labels"),
    [
        ("moral_foundations", ("Care/Harm", "loyalty/betrayal")),
        ("schwartz", ("self", "Simulation")),
    ],
)
def test_their_dilemmas_are_played_with_either_theory(tmp_path, theory, labels):
    path = mmd(tmp_path, [flat(labels=labels)])
    config = compose("env=dilemmas", "dilemmas@env=mmds", f"theory@env.theory={theory}",
                     f"env.source.path={path}")  # fmt: skip
    game = instantiate(config.env)
    assert {item["theory"] for item in game.items()} == {theory}
    assert game.item_ids == ["7/1", "7/2"]


# MoralChoice


def scenario(first=(), second=(), unsure=(), **more):
    """A row whose actions break these rules."""
    told = dict.fromkeys(moralchoice.COLUMNS, "No") | {
        "scenario_id": "H_1", "ambiguity": "high", "generation_type": "Hand-Written",
        "generation_rule": "Do not kill", "context": 'It "rains",\nand how.',
        "action1": "I go.", "action2": "I stay.",
    }  # fmt: skip
    told |= {f"a1_{rule}": "Yes" for rule in first} | {f"a2_{rule}": "Yes" for rule in second}
    return told | dict.fromkeys(unsure, "No Agreement") | more


def table(folder: Path, rows: list[dict], header=moralchoice.COLUMNS) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / "high.csv"
    path.write_text(text.getvalue())
    return str(path)


@pytest.mark.parametrize(
    ("told", "values"),
    [
        (scenario(("deceive",), ("pain",)), ("pain", "deceive")),
        (scenario((), ("death",)), ("death", None)),
        (scenario((), ("death", "pain")), (None, None)),
        (scenario(("duty",), ("death", "pain")), (None, "duty")),
        (scenario(("duty",), ("duty",)), (None, None)),
        (scenario(("duty",), (), ["a2_duty"]), (None, None)),
        (scenario(("duty",), ("pain",), ["a2_death"]), ("pain", "duty")),
        (scenario(), (None, None)),
    ],
)
def test_an_action_stands_for_the_one_rule_that_it_keeps_and_the_other_breaks(
    tmp_path, told, values
):
    found = moralchoice.load(table(tmp_path, [told]))
    found.check(THEORIES["common_morality"])
    (dilemma,) = found.dilemmas
    texts = zip(("I go.", "I stay."), values, strict=True)
    options = tuple(Option(text, value) for text, value in texts)
    assert dilemma.stages == (Stage('It "rains",\nand how.', None, options),)
    assert (dilemma.id, dilemma.norm, found.name) == ("H_1", None, "high")


def test_the_rules_are_those_of_the_theory():
    assert list(moralchoice.RULES) == THEORIES["common_morality"].names


def test_columns_may_stand_in_any_order_and_repeated_scenarios_are_counted(tmp_path):
    rows = [scenario(), scenario(scenario_id="H_2"), scenario()]
    path = table(tmp_path, rows, moralchoice.COLUMNS[::-1])
    found = moralchoice.load(path)
    assert ([d.id for d in found.dilemmas], found.n_dropped) == (["H_1", "H_2"], 1)
    assert found.dilemmas[1].where == f"row 3 of {path!r}"


MALFORMED = [
    ({"a1_pain": "no"}, "row 2 of PATH: a1_pain must be one of Yes, No, No Agreement, got 'no'"),
    ({"a2_duty": ""}, "row 2 of PATH: a2_duty must be one of Yes, No, No Agreement, got ''"),
    ({"context": " "}, "row 2 of PATH: context must be a text, got ' '"),
    ({"action2": ""}, "row 2 of PATH: action2 must be a text, got ''"),
    ({"scenario_id": ""}, "row 2 of PATH: scenario_id must be a text, got ''"),
    ({"action2": "I go."},
     "row 2 of PATH, stage 1: every option needs a text of its own, got 'I go.'"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "sentence"), MALFORMED)
def test_a_malformed_scenario_is_refused_with_file_row_and_column(tmp_path, more, sentence):
    path = table(tmp_path, [scenario(**more)])
    with pytest.raises(ValueError) as refused:
        moralchoice.load(path).check(THEORIES["common_morality"])
    assert str(refused.value) == sentence.replace("PATH", repr(path))


def test_another_scenario_of_the_same_id_is_refused(tmp_path):
    path = table(tmp_path, [scenario(), scenario(context="It snows.")])
    with pytest.raises(ValueError, match=r"^row 3 of .*every id must be there once, got 'H_1'$"):
        moralchoice.load(path).check(THEORIES["common_morality"])


def test_a_malformed_table_is_refused_with_row_and_column(tmp_path):
    path = Path(table(tmp_path, [scenario()]))
    text = path.read_text()
    faults = {
        text.replace("a1_pain,", "", 1): "row 1 of .*: column a1_pain must be there once, got 0$",
        text.replace("a1_pain,", "a1_duty,", 1): "column a1_pain must be there once, got 0$",
        text.replace("a1_pain", "a1_pain,more", 1): "row 1 of .* has no column 'more'$",
        text + "H_2,high\n": "row 3 of .* must have 27 columns, got 2$",
        text + '"H_2"x,high\n': "row 3 of .* is no CSV: ",
        text + '"H_2': "row 3 of .* is no CSV: unexpected end of data$",
        "": "high.csv' needs a header, got an empty file$",
    }
    for told, sentence in faults.items():
        path.write_text(told)
        with pytest.raises(ValueError, match=sentence):
            moralchoice.load(str(path))


# The hub

COMMIT = "0123456789abcdef" * 2 + "01234567"


def test_without_the_extra_the_hub_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    with pytest.raises(
        ValueError, match=r"^dilemmas=hub needs the extra hub: pip install -e '\.\["
    ):
        hub.load("owner/name", "train", COMMIT, "mmds")


def test_the_hub_wants_a_commit_a_known_form_and_no_path(tmp_path):
    with pytest.raises(ValueError, match=r"revision must be a commit of 40 .*, got 'main'$"):
        hub.load("owner/name", "train", "main", "mmds")
    with pytest.raises(ValueError, match=r"^form must be one of mmds, jsonl, got 'csv'$"):
        hub.load("owner/name", "train", COMMIT, "csv")
    with pytest.raises(ValueError, match=r"^id must name a data set of the hub, got a path on"):
        hub.load(str(tmp_path), "train", COMMIT, "mmds")


def test_rows_of_the_hub_are_read_as_those_of_files(tmp_path):
    # Tables have every column in every row; what a row lacks is null.
    columns = dict.fromkeys([*DATA, *CONFLICT, *flat(n=3, idx=8)])
    rows = [columns | told for told in (CONFLICT, DATA, flat(n=3, idx=8))]
    found = hub.collection(rows, "mmds", "name", "owner/name@c/train")
    assert same(found, mmds.load(mmd(tmp_path, [DATA, flat(n=3, idx=8)])))
    assert (found.name, found.n_dropped) == ("name", 1)
    rows = as_rows(jsonl.load(str(BANKS[0])).dilemmas)
    found = hub.collection([*rows, rows[0]], "jsonl", "name", "owner/name@c/train")
    assert same(found, jsonl.load(str(BANKS[0])))
    assert found.n_dropped == 1


def test_rows_of_the_hub_have_a_checksum_and_are_refused_with_their_source():
    source = f"owner/name@{COMMIT}/train"
    one, other = (hub.collection([flat(idx=k)], "mmds", "n", source).checksums for k in (1, 2))
    assert list(one) == [source]
    assert one != other
    turned = dict(reversed(flat(idx=1).items()))
    assert hub.collection([turned], "mmds", "n", source).checksums == one
    for form, rows, sentence in (
        ("mmds", [flat(idx=None)], "idx must be a whole number or a text, got null"),
        ("jsonl", [row(id=None)], "id must be a text, got null"),
    ):
        with pytest.raises(ValueError) as refused:
            hub.collection(rows, form, "n", source)
        assert str(refused.value) == f"row 1 of {source!r}: {sentence}"
    with pytest.raises(ValueError, match=r"must be texts, numbers and lists: .*bytes"):
        hub.collection([{"idx": b"x"}], "mmds", "n", source)

"""Dilemmas as a game: what is told in each mode, orders, wordings, and who plays them."""

import numpy as np
import polars as pl
import pytest
from conftest import compose, names
from hydra.utils import instantiate

from agents.cohort import from_file
from agents.methods.priorities import Priorities
from agents.ranked import Ranked
from agents.rankings import by_first, by_profiles, by_rankings
from agents.values import Values
from envs.base import key
from envs.dilemma import Collection, Dilemma, Option, Stage
from envs.dilemmas import Dilemmas
from sim.errors import Refusal
from sim.setup import build
from sim.tables import load

GIVEN = {"definition": "do it", "angle": None, "opposite": None}
THEORY = Values("three", dict.fromkeys(("care", "order", "play"), GIVEN))


def story(n_stages: int, n_options: int = 2, name: str = "d") -> Dilemma:
    values = ("care", "order", "play")
    stages = tuple(
        Stage(
            f"Situation {name}{s}.",
            f"Question {name}{s}?" if s else None,
            tuple(Option(f"Do {name}{s}{k}.", values[(s + k) % 3]) for k in range(n_options)),
        )
        for s in range(n_stages)
    )
    return Dilemma(name, None, stages, f"row of {name}")


def game(*dilemmas: Dilemma, **changes) -> Dilemmas:
    told = {"context": "causal", "option_order": "canonical", "wording": "choose"}
    told |= {"abstain": False, "n_dilemmas": None, "items_seed": 0} | changes
    return Dilemmas(Collection("test", dilemmas), THEORY, **told)


def texts(one: Dilemmas, actions: list[int], sitting: int = 0, seed: int = 0) -> list[str]:
    """What an agent that acts so is asked at each stage."""
    slot = np.zeros(1, np.int64)
    one.reserve(1)
    one.reset(slot, key(seed, "test"), np.array([sitting]))
    found = []
    for action in actions:
        found.append(one.describe(one.observe(slot, slot))[0].text)
        one.step(slot, np.array([[action]]))
    assert one.over(slot).all()
    return found


def test_alone_a_stage_is_the_same_whatever_was_chosen_before():
    one = game(story(3), context="none")
    assert texts(one, [0, 0, 0]) == texts(one, [1, 1, 1])
    assert "Situation d0" not in texts(one, [0, 0, 0])[1]


def test_all_stages_are_visible_with_their_options_and_without_choices():
    first, *_ = texts(game(story(3), context="full"), [0, 0, 0])
    for s in range(3):
        assert f"Situation d{s}." in first and f"- Do d{s}1." in first
    assert "You chose" not in first and "part 1 of 3" in first


def test_all_stages_are_listed_in_the_order_in_which_they_are_shown():
    for order in ("swapped", "shuffled"):
        one = game(story(3), context="full", option_order=order, abstain=True)
        asked = texts(one, [0, 0, 0])
        for s, text in enumerate(asked):
            shown = [line[3:] for line in text.splitlines() if line[:3] in ("A: ", "B: ", "C: ")]
            for other in asked:
                at = [other.index(f"- {option}") for option in shown[:2]]
                assert at == sorted(at), (order, s)
            assert text.count("- I cannot decide") == 3


def test_ones_own_choices_are_told_and_nothing_of_what_comes():
    _, second, third = texts(game(story(3)), [1, 0, 0])
    assert "You chose: Do d01." in second and "Do d00." not in second
    assert "You chose: Do d10." in third and "You chose: Do d01." in third
    assert "Situation d2" not in second


def test_the_choices_that_were_not_made_are_told_as_ones_own():
    _, second, third = texts(game(story(3), context="counterfactual"), [1, 0, 0])
    assert "You chose: Do d00." in second
    assert "You chose: Do d11." in third and "You chose: Do d00." in third


def test_of_several_others_one_is_told_by_lot_and_never_the_chosen_one():
    one = game(story(2, n_options=3), context="counterfactual")
    told = {texts(one, [1, 0], seed=k)[1].split("You chose: ")[1][:7] for k in range(40)}
    assert told == {"Do d00.", "Do d02."}


def test_not_to_decide_comes_last_is_told_and_stands_for_no_value():
    one = game(story(2), abstain=True, option_order="swapped")
    first, second = texts(one, [2, 0])
    assert first.index("Do d01.") < first.index("Do d00.") < first.index("I cannot decide")
    assert "You did not decide." in second
    rows = [row for row in one.items() if row["item"] == "d/1"]
    assert [row["value"] for row in rows] == ["care", "order", "undecided"]
    other = game(story(2), abstain=True, context="counterfactual")
    assert "You chose: Do d0" in texts(other, [2, 0])[1]  # one of the two, by lot


def test_each_dilemma_is_met_in_every_mode_order_and_wording_an_episode_each():
    one = game(
        story(2), story(1, name="e"), context=["none", "causal"], wording=["choose", "yes_first"],
        option_order="balanced",
    )  # fmt: skip
    assert one.n_sittings == 2 * 2 * 2 * 2
    slots = np.arange(16)
    one.reserve(16)
    one.reset(slots, key(0, slots), slots)
    seen = one.observe(slots, slots * 0)
    met = set(zip(seen["item"].tolist(), seen["variant"].tolist(),
                  seen["option_order"][:, 0].tolist(), strict=True))  # fmt: skip
    assert len(met) == 16
    assert {(v["context_mode"], v["wording"]) for v in one.variants} == {
        ("none", "choose"), ("none", "yes_first"), ("causal", "choose"), ("causal", "yes_first"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wording", "asked", "first", "second"),
    [
        ("yes_first", "Would you do this: Do d00.", "A: Yes.", "B: No. Instead: Do d01."),
        ("yes_last", "Would you do this: Do d01.", "A: No. Instead: Do d00.", "B: Yes."),
        ("act_first", "this is what you do: Do d01.", "A: Change it: Do d00.", "B: Leave it"),
        ("act_last", "this is what you do: Do d00.", "A: Leave it", "B: Change it: Do d01."),
    ],
)
def test_a_wording_turns_the_question_and_not_the_options(wording, asked, first, second):
    (text,) = texts(game(story(1), wording=wording), [0])
    assert asked in text and f"\n{first}" in text and f"\n{second}" in text


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"context": "all"}, "context must be one of none, full, causal, counterfactual"),
        ({"context": []}, "context must name at least one"),
        ({"context": ["none", "none"]}, "'none' twice"),
        ({"option_order": "random"}, "option_order must be one of"),
        ({"option_order": ["swapped"]}, r"option_order must be one of .*got \['swapped'\]"),
        ({"abstain": True, "wording": "act_last"}, "abstain must be false with the wordings act"),
        ({"wording": "ask"}, "wording must be one of"),
        ({"abstain": "maybe"}, "abstain must be true or false"),
        ({"n_dilemmas": 2}, r"n_dilemmas must be null or lie in 1\.\.1, got 2"),
        ({"items_seed": -1}, "items_seed must be a whole number"),
    ],
)
def test_parameters_that_cannot_be_are_refused(changes, rule):
    with pytest.raises(ValueError, match=rule):
        game(story(2), **changes)


def test_dilemmas_that_cannot_be_played_are_refused_with_their_place():
    with pytest.raises(ValueError, match="row of d: a dilemma needs at least one stage, got none"):
        game(story(0))
    with pytest.raises(ValueError, match="stage 1: a stage needs two options or more, got 1"):
        game(story(1, n_options=1))
    with pytest.raises(ValueError, match="at least one dilemma"):
        game()
    with pytest.raises(ValueError, match=r"stage 1: wordings other than choose need two .*got 3"):
        game(story(1, n_options=3), wording=["choose", "yes_last"])
    wrong = Dilemma("x", None, (Stage("s", None, (Option("a", "care"), Option("b", "kin"))),), "x")
    with pytest.raises(ValueError, match=r"a value must be one of .*theory three\), got 'kin'"):
        game(wrong)


def test_dilemmas_of_one_norm_are_one_unit():
    norm = "Help each other."
    two = [Dilemma(n, norm, story(1, name=n).stages, n) for n in ("a", "b")]
    rows = game(*two, story(1, name="c")).items()
    assert {row["item"]: row["cluster"] for row in rows} == {"a/1": "a", "b/1": "a", "c/1": "c"}


def test_drawn_dilemmas_are_the_same_for_everybody_and_others_by_another_seed():
    many = [story(1, name=f"d{k}") for k in range(20)]
    ids = [game(*many, n_dilemmas=5, items_seed=s).item_ids for s in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2] and len(ids[0]) == 5


def test_scripted_and_speaking_agents_meet_the_same_dilemmas_in_rows_that_tell_them_apart(play):
    run = play(
        "env=dilemmas", "env.n_dilemmas=3", "env.context=[none,causal]", "theory=moral_foundations",
        "population=first", "population.n_each=1", "population.control=1",
        "agent=[priorities,ranked]", "model=scripted", "n_repeats=2",
    )  # fmt: skip
    rows = pl.read_parquet(run / "decisions.parquet")
    assert len(rows) == 2 * 7 * 3 * 5 * 2 * 2 * 2
    assert set(rows["context_mode"]) == {"none", "causal"}
    assert set(rows["stage"]) == {1, 2, 3, 4, 5}
    each = rows.group_by("agent", "agent_id", "repeat", "item", "context_mode").len()
    assert set(each["len"]) == {2}  # both orders
    assert rows.filter(agent="ranked")["wording"].unique().to_list() == ["choose"]
    assert rows.filter(agent="priorities")["wording"].unique().to_list() == ["choose; system own"]
    assert load(run).items["theory"].unique().to_list() == ["moral_foundations"]


def test_a_ranked_agent_follows_its_profile_and_a_control_none(play):
    run = play(
        "env=dilemmas", "theory=moral_foundations", "population=first", "population.n_each=1",
        "population.control=1", "agent=ranked", "agent.ranked.temperature=0",
    )  # fmt: skip
    tables = load(run)
    values = tables.items.select("item", pl.col("option").alias("action"), took="value")
    rows = tables.decisions.collect().join(values, on=["item", "action"])
    shown = tables.items.group_by("item").agg(pl.col("value").alias("shown"))
    rows = rows.join(shown, on="item").filter(pl.col("value").is_not_null())
    met = rows.filter(pl.col("shown").list.contains(pl.col("value")))
    assert (met["took"] == met["value"]).all() and len(met) > 100


def test_planted_behaviour_is_what_was_planted(play):
    base = ("env=dilemmas", "theory=moral_foundations", "population=first", "population.n_each=0",
            "population.control=20", "agent=ranked", "env.abstain=true")  # fmt: skip
    run = play(*base, "agent.ranked.first=1", "agent.ranked.undecided=0.2")
    rows = pl.read_parquet(run / "decisions.parquet")
    assert (rows["action"] == 2).mean() == pytest.approx(0.2, abs=0.02)
    decided = rows.filter(pl.col("action") < 2)
    first = decided["option_order"].list.first() == decided["action"]
    assert first.mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=0.02)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["population=rankings", "population.rankings={a: [care,carre]}"], "did you mean 'care'"),
        (["population=rankings", "population.rankings={a: [care,care]}"], "each value once"),
        (
            ["population=profiles", "population.profiles={a: {care: 0}}"],
            "weight of 'care' must lie in",
        ),
        (["population=first", "theory=svo"], "population first needs a theory of values"),
        (["population=first", "agent=linear"], "a linear agent needs payoffs"),
        (
            ["population=first", "agent=hvae", "conversation=separate"],
            "needs an orientation in words",
        ),
        (["population=first", "agent.ranked.shift={5: {kin: 1}}"], "shift must name values"),
        (["population=first", "theory=schwartz"], "must name values of the game"),
        (["population=first", "env=svo_slider"], "needs options that stand for values"),
        (["population=first", "agent=control"], "conversation must be separate, got shared"),
        (
            ["population=first", "theory=schwartz", "agent=priorities"],
            "must name values of the game, .* got 'universalism'",
        ),
        (["population=rankings", "population.rankings=[care]"], "rankings must map names"),
        (["population=profiles", "population.profiles=null"], "profiles must map names"),
        (["population=first", "agent.ranked.shift={2: care}"], "shift must map stages"),
        (["population=first", "env.source.path=5"], "path must be a text, got 5"),
        (["population=first", "theory@env.theory=svo"], "dilemmas need a theory of values"),
    ],
)
def test_what_cannot_be_played_is_refused_before_any_model_call(words, rule):
    told = {word.split("=")[0] for word in words}
    usual = {"env": "dilemmas", "theory": "moral_foundations", "agent": "ranked"}
    more = [f"{k}={v}" for k, v in usual.items() if k not in told]
    with pytest.raises(Refusal, match=rule):
        build(compose(*more, *words))


@pytest.mark.parametrize("name", [n for n in names("theory") if n != "svo"])
def test_every_theory_of_values_is_one_and_its_circle_has_two_sides(name):
    theory = instantiate(compose(f"theory={name}").theory)
    assert theory.name == name and len(theory.names) >= 2
    for known in (theory.values, theory.groups):
        for value in known.values():
            assert not value.definition.endswith(".")
            if value.opposite is not None:
                apart = abs((value.angle - known[value.opposite].angle + 180) % 360 - 180)
                assert apart > 120


def test_a_group_of_values_is_assigned_as_its_parts():
    schwartz = instantiate(compose("theory=schwartz").theory)
    member = schwartz.member("conservation", "0")
    assert dict(member.profile) == {"tradition": 1, "conformity": 1, "security": 1}
    with pytest.raises(ValueError, match="did you mean 'security'"):
        schwartz.member("securty", "0")


def test_an_opposite_must_be_mutual_and_names_must_mean_something():
    both = {"a": {**GIVEN, "opposite": "b"}, "b": {**GIVEN, "opposite": "b"}}
    with pytest.raises(ValueError, match="the opposite of 'a' must be"):
        Values("x", both)
    with pytest.raises(ValueError, match="two values or more"):
        Values("x", {"a": GIVEN})
    with pytest.raises(ValueError, match="'undecided' means no value"):
        Values("x", {"a": GIVEN, "undecided": GIVEN})


def test_rankings_become_weights_and_everybody_of_one_has_the_same():
    members = by_rankings(THEORY, {"r": ["order", "care", "play"]}, 2, 1)
    assert [m.name for m in members] == ["r-0", "r-1", "control-0"]
    assert dict(members[0].profile) == {"order": 3, "care": 2, "play": 1}
    assert members[2].value is None
    assert len(by_first(THEORY, 2, 3)) == 9
    with pytest.raises(ValueError, match="at least one member"):
        by_profiles(THEORY, {}, 0, 0)


def test_priorities_are_said_in_their_order_and_equals_share_a_rank():
    whole, few = by_profiles(THEORY, {"a": {"order": 3, "care": 2, "play": 1},
                                      "b": {"care": 1, "play": 1}}, 1, 0)  # fmt: skip
    method = Priorities(THEORY)
    said = method.text(whole)
    assert said.index("most to you is order") < said.index("comes care") < said.index("least")
    equal = method.text(few)
    assert "care: you do it, and just as much play: you do it" in equal
    assert "Everything else matters less" in equal
    with pytest.raises(ValueError, match="needs a theory and a profile"):
        Priorities(THEORY).check(instantiate(compose("population=counts").population)[0])


def test_a_shift_counts_at_its_stage_alone():
    agent = Ranked(1, 0, 0, {2: {"care": 5.0}})
    agent.meet(["care", "order"])
    assert agent._shift.tolist() == [[0, 0], [5, 0], [0, 0]]
    with pytest.raises(ValueError, match="shift must name stages"):
        Ranked(1, 0, 0, {0: {"care": 1.0}})


def test_a_profile_that_prefers_nothing_says_nothing():
    (member,) = by_profiles(THEORY, {"a": dict.fromkeys(THEORY.names, 2)}, 1, 0)
    with pytest.raises(ValueError, match="all weigh the same"):
        Priorities(THEORY).check(member)


def test_profiles_that_differ_have_names_that_differ():
    labels = {THEORY.mixture({"care": w, "order": 2.0}, "m").value for w in (2.0, 2.001, 1e-9)}
    assert len(labels) == 3
    assert not any(part.startswith("0% ") for label in labels for part in label.split(" + "))


def test_a_cohort_of_values_keeps_its_profiles_and_has_no_angles(tmp_path):
    theory = instantiate(compose("theory=moral_foundations").theory)
    path = tmp_path / "people.csv"
    path.write_text('id,value,profile\n1,care,\n2,,"{""care"": 2, ""loyalty"": 1}"\n')
    one, two = from_file(theory, str(path))
    assert dict(one.profile) == {"care": 1} and dict(two.profile) == {"care": 2, "loyalty": 1}
    path.write_text("value,target\ncare,30\n")
    with pytest.raises(ValueError, match="must be empty: theory moral_foundations has no angles"):
        from_file(theory, str(path))


def test_a_rehearsal_shows_every_context_and_wording():
    from sim.dry_run import dry_run

    config = compose("experiment=staircase_orders", "env.context=[none,counterfactual]",
                     "env.n_dilemmas=2", "population.control=1")  # fmt: skip
    text = "\n".join(dry_run(build(config)))
    for told in ("Would you do this", "Unless you change", "You chose:", "wording act_last"):
        assert told in text


@pytest.mark.parametrize("text", ["x\nB: y", "  "])
def test_an_option_is_one_line_of_its_own(text):
    stage = Stage("s", None, (Option(text, "care"), Option("y", "order")))
    with pytest.raises(ValueError, match="option"):
        game(Dilemma("x", None, (stage,), "x"))


def test_a_text_that_no_file_can_hold_is_refused():
    stage = Stage("s \ud800", None, (Option("x", "care"), Option("y", "order")))
    with pytest.raises(ValueError, match="that UTF-8 can write"):
        game(Dilemma("x", None, (stage,), "x"))

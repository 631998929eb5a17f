"""What the analyzers make of tables whose answers are known, by hand or from tiny real runs."""

from dataclasses import replace
from functools import partial
from operator import itemgetter

import numpy as np
import polars as pl
import pytest

from envs.svo_slider import SVOSlider
from sim.analysis.dose_response import dose_response
from sim.analysis.intervals import holm
from sim.analysis.svo_profile import svo_profile
from sim.analysis.svo_scores import svo_scores
from sim.analysis.value_rationality import value_rationality
from sim.tables import AGENTS, DECISIONS, ITEMS, TURNS, Tables, load

TARGETS = {"altruistic": 90.0, "prosocial": 45.0, "individualistic": 0.0, "competitive": -45.0}
ANGLES = {"191199": 61.389540, "199159": 45.0, "191559": 43.187447, "199459": 37.482411,
          "199559": 34.875328, "199519": 26.872539, "199959": 23.838740, "199911": 7.815294,
          "599911": 0.0, "919911": -16.260205}  # fmt: skip
SPAN = 61.389540 + 16.260205  # degrees: an altruist's value rationality is (angle + 16.26) / SPAN
GAME = SVOSlider(False, "canonical", "canonical", "points", "x")
FULL = pl.DataFrame(GAME.items(), schema=ITEMS)
PRIMARY = FULL.filter(instrument="svo_slider")
RATIONALITY, PROFILE, DOSE = (
    partial(analyzer, seed=0) for analyzer in (value_rationality, svo_profile, dose_response)
)
FIRST = ["191199", "191559", "199159", "199459", "199559", "199519"]
SECOND = ["199159", "199519", "199519", "199959", "199911", "199911"]
SCRIPTED = {"model": None, "asks": None}
bounds = itemgetter("low", "high", "interval")


def team(agent, answers, value=None, name="", **other) -> list[dict]:
    """A member per answer sheet: digits 1 to 9 in the order of the items, "." where unread.

    Further fields go into the rows; `asks` names the requests, None where nobody is asked.
    """
    known = {"agent": agent, "value": value, "target": TARGETS.get(value), "method": "told"}
    known |= {"model": "m", "seat": "agent_0", "repeat": 0, "status": "ok"}
    known |= {"option_order": range(9), "n_options": 9}
    ids = [f"{agent}-{value}-{name}{k}" for k in range(len(answers))]
    return [
        known | {"agent_id": i, "asks": i, "member": f"{name}{k}", "answers": sheet} | other
        for k, (i, sheet) in enumerate(zip(ids, answers, strict=True))
    ]


def tables(people: list[dict], items: pl.DataFrame = PRIMARY) -> Tables:
    """Tables of one episode for each of `people`."""
    met = items.filter(option=0).select("env", "instrument", "item").rows(named=True)
    paid = {(r[0], r[1]): r[2:] for r in items.select("item", "option", "^payoff.*$").rows()}
    rows = []
    for episode, who in enumerate(people):
        for step, (item, digit) in enumerate(zip(met, who["answers"], strict=True)):
            row = who | item | {"episode": episode, "step": step}
            row["request"] = who["asks"] and f"{who['asks']}/{step}"
            if digit == ".":  # the game played option 0 instead: that is no answer
                row |= {"status": "unparsed", "fallback": 0}
            else:
                row["action"] = int(digit) - 1
                row["payoff_self"], row["payoff_other"] = paid[item["item"], row["action"]]
            rows.append({k: v for k, v in row.items() if k in DECISIONS})
    agents = pl.DataFrame([{k: who.get(k) for k in AGENTS} for who in people], schema=AGENTS)
    decisions = pl.DataFrame(rows, schema=DECISIONS).lazy()
    return Tables(decisions, pl.DataFrame(schema=TURNS).lazy(), items, agents)


def scores(people, **only) -> pl.DataFrame:
    return RATIONALITY(tables(people)).filter(**only)


@pytest.mark.parametrize("env", ["svo_slider", "svo_generated"])
def test_perfect_agents_reach_value_rationality_one_and_random_ones_chance(play, env):
    counts = [f"population.counts.{value}=15" for value in TARGETS]
    table = RATIONALITY(load(play(f"env={env}", "agent=[linear,random]", *counts)))
    for measure in ("vr", "vrc", "choice_vr", "choice_vrc"):
        perfect, chance = (table.filter(measure=measure, agent=a) for a in ("linear", "random"))
        near = 0 if (env, measure) == ("svo_slider", "vr") else 1e-9  # 0: to the last bit
        assert perfect["estimate"].to_list() == pytest.approx([1.0] * 4, rel=0, abs=near)
        assert perfect.select("value", "n").rows() == [(v, 15) for v in sorted(TARGETS)]
        assert chance.select("value", "n_distinct").rows() == [(v, 60) for v in sorted(TARGETS)]
        assert chance.filter(pl.col("chance").is_between("low", "high")).height == 4
        assert measure not in ("vrc", "choice_vrc") or set(chance["chance"]) == {0}
        if near == 0:  # in the alphabet: altruistic, competitive, individualistic, prosocial
            np.testing.assert_allclose(perfect["chance"], [0.502, 0.498, 0.708, 0.715], atol=5e-4)


def test_an_agent_that_always_takes_the_first_option_is_shown_for_what_it_is():
    table = scores(team("first", ["111111"] * 9, **SCRIPTED), measure="vr")
    got = table.select("estimate", "best_constant").to_numpy()[2:]  # individualistic, prosocial
    # Its 30.47 degrees miss the prosocial 37.09 least of all constants; the individualistic 7.82
    # is missed less by always the last option, 14.74 degrees.
    missed = np.array([[22.650251, 6.928286], [6.627292, 6.627292]])
    np.testing.assert_allclose(got, 1 - missed / [[53.574246], [53.353042]], atol=1e-6)
    # Nine agents, one behaviour: no interval pretends otherwise.
    assert set(table.select("n_distinct", "interval").rows()) == {(1, None)}


def test_the_best_constant_goes_by_the_places_shown():
    made = tables(team("hvae", FIRST, "altruistic"))
    order, turned = pl.col("option_order"), pl.col("item").is_in(["2", "5", "6"])
    shown = pl.when(turned).then(order.list.reverse()).otherwise(order)
    table = RATIONALITY(replace(made, decisions=made.decisions.with_columns(shown)))
    assert table.filter(measure="vr")["best_constant"].item() == 1.0  # always first: 191199


def test_what_was_not_read_is_left_out_counted_and_never_imputed():
    people = team("hvae", ["191199", "19119.", "......"], "altruistic")
    perfect = {"deg_to_canonical": 90 - ANGLES["191199"], "vr60": 60.0}  # the others: 1
    for row in scores(people).iter_rows(named=True):
        n = 2 if row["measure"].startswith("choice") else 1  # which needs no complete sheet
        assert (row["n"], row["n_unscored"], row["unread"]) == (n, 3 - n, 7 / 18)
        assert row["estimate"] == pytest.approx(perfect.get(row["measure"], 1))
    each = svo_scores(tables(people))
    known = each.select("n_unread", pl.col("angle", "category", "transitive").is_not_null())
    assert known.rows() == [(0, True, True, True), (1, *[False] * 3), (6, *[False] * 3)]
    dose = DOSE(tables(people)).filter(row="group")
    for table in (PROFILE(tables(people)), dose):
        assert table.select("n", "n_unscored", "unread").unique().rows() == [(1, 2, 7 / 18)]
    assert dose["estimate"].item() == pytest.approx(ANGLES["191199"])
    for analyzer in (RATIONALITY, PROFILE, DOSE):
        nobody = analyzer(tables(people[2:]))
        assert nobody["estimate"].is_null().all() and not nobody["n"].sum()


def test_a_sheet_that_lacks_an_item_has_no_score():
    made = tables(team("hvae", ["191199", "199459"], "altruistic"))
    short = made.decisions.filter(~((pl.col("episode") == 0) & (pl.col("item") == "4")))
    each = svo_scores(replace(made, decisions=short))
    assert each.select("n_items", pl.col("angle").is_null()).rows() == [(5, True), (6, False)]
    assert each.select("category", "transitive", "rank_order").null_count().row(0) == (1, 1, 1)


def test_answers_read_at_the_second_asking_count_and_are_left_out_beside():
    people = team("hvae", ["191199"], "altruistic")
    people += team("hvae", ["199911"], "altruistic", "asked twice", status="repaired")
    found = {r["measure"]: r for r in scores(people).iter_rows(named=True)}
    both = (1 + (ANGLES["199911"] + 16.260205) / SPAN) / 2
    assert (found["vr"]["estimate"], found["vr"]["unread"]) == (pytest.approx(both), 0)
    without = found["vr_without_repaired"]
    assert (without["estimate"], without["n"], without["unread"]) == (1.0, 1, 0.5)


def test_agents_that_share_one_greedy_request_are_one_unit_without_an_interval():
    people = team("hvae", ["199459"] * 60, "altruistic", asks="same")
    made = (RATIONALITY, PROFILE, lambda t: DOSE(t).filter(row="group"))
    found = [row for analyzer in made for row in analyzer(tables(people)).iter_rows(named=True)]
    assert len(found) == 7 + 12 + 1
    for row in found:
        assert (row["n"], row["n_distinct"]) == (60, 1) and bounds(row) == (None, None, None)


def test_contrasts_are_paired_by_member_recover_what_was_planted_and_are_corrected():
    people = team("goal", [*FIRST, "191199"], "altruistic")  # the seventh has no partner
    people += team("plain", SECOND, "altruistic")[::-1] + team("weak", SECOND[::-1], "altruistic")
    rows = scores(people, measure="contrast")
    assert rows["p_holm"].to_list() == pytest.approx(holm(rows["p"].to_numpy()).tolist())
    assert rows["p_holm"].min() == pytest.approx(3 * rows["p"].min())
    assert set(rows["chance"]) == {0.0}
    planted = rows.filter(agent="goal", against="plain/told").rows(named=True)
    assert [row["value"] for row in planted] == ["altruistic"]  # over all it would be the same
    gaps = np.array([16.389540, 16.314908, 18.127461, 13.643671, 27.060034, 19.057245]) / SPAN
    half = 2.570582 * gaps.std(ddof=1) / np.sqrt(6)  # t(5) = 9.7; unpaired it would be 2.5
    for row in planted:
        low, high, kind = bounds(row)
        assert (low, high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))
        assert (row["estimate"], row["n"], kind) == (pytest.approx(gaps.mean()), 6, "t")


@pytest.mark.parametrize("asks", ["greedy", None])
def test_kinds_that_never_vary_have_a_contrast_without_interval_or_p(asks):
    people = []
    for value, perfect in {"altruistic": "191199", "competitive": "919911"}.items():
        for agent, sheet in (("one", perfect), ("two", "199459")):
            same = asks and agent + value
            people += team(agent, [sheet] * 6, value, value, asks=same, model=asks)
    both = scores(people, measure="contrast")
    assert both.filter(pl.col("value").is_null()).select("n", "n_distinct", "p").rows() == [
        (12, 2, None)
    ]
    rows = both.drop_nulls("value")
    gaps = (61.389540 - 37.482411) / SPAN, (37.482411 + 16.260205) / SPAN
    assert rows["estimate"].to_list() == pytest.approx(gaps)
    for row in rows.iter_rows(named=True):
        assert (row["n_distinct"], row["p"], row["p_holm"], *bounds(row)) == (1, *[None] * 5)


def test_gain_is_over_the_control_of_the_same_kind_with_levels_on_its_scale():
    controls = ["199911", "199459", "199559", "199519", "199959", "599911"]
    people = team("hvae", FIRST, "altruistic") + team("hvae", controls)
    (row,) = scores(people + team("bare", SECOND), measure="gain").iter_rows(named=True)
    a, b = (np.mean([ANGLES[sheet] for sheet in sheets]) for sheets in (FIRST, controls))
    assert (row["estimate"], row["against"]) == (pytest.approx((a - b) / SPAN), "told")
    assert row["low"] < row["estimate"] < row["high"] and row["interval"] == "t"
    base = (b + 16.260205) / SPAN
    levels = pytest.approx((0.501781 - base, 0.601750 - base), abs=1e-6)
    assert (row["chance"], row["best_constant"]) == levels


def test_a_kind_without_controls_has_a_gain_row_for_each_kind_of_control():
    people = team("hvae", FIRST, "altruistic") + team("bare", SECOND) + team("neutral", SECOND)
    people += team("other", SECOND, model="another")
    assert scores(people, measure="gain")["against"].to_list() == ["bare/told", "neutral/told"]
    scripted = [who | SCRIPTED for who in people]
    assert scores(scripted, measure="gain").is_empty()
    assert set(scores(scripted)["value"]) == {"altruistic"}  # controls: against who was assigned


def test_a_group_scores_the_same_whoever_else_is_in_the_run():
    people = team("hvae", FIRST * 10, "altruistic")
    both = scores(people + team("other", SECOND, "prosocial")).filter(agent="hvae")
    assert both.equals(scores(people)) and set(both["interval"]) == {"bootstrap", "wilson"}


def test_an_agent_that_answers_twice_is_one_unit_with_its_mean():
    people = team("hvae", ["191199", "919911"], "altruistic", agent_id="one", asks="twice")
    (row,) = scores(people, measure="vr").iter_rows(named=True)
    assert (row["n"], row["n_distinct"], row["estimate"]) == (1, 1, 0.5)
    made = tables(people)  # and in one episode, too, items asked again make another sheet
    later = (pl.col("step") + 6 * pl.col("episode")).cast(pl.Int32)
    joined = made.decisions.with_columns(pl.col("episode") * 0, later)
    again = svo_scores(replace(made, decisions=joined))
    assert again["angle"].to_list() == pytest.approx([ANGLES["191199"], ANGLES["919911"]])


def test_each_generated_form_is_scored_about_its_own_centre(play):
    found = load(play("env=svo_generated", "env.n_forms=4", "agent=random"))
    about = found.items.unique("item").select("item", "^centre.*$")
    off = [(pl.col(f"payoff_{x}") - pl.col(f"centre_{x}")).sum() for x in ("other", "self")]
    one = found.decisions.collect().join(about, on="item").group_by("episode").agg(
        pl.arctan2(*off).degrees().alias("angle"), pl.col("item").min().alias("form")
    ).sort("episode")  # fmt: skip
    assert one["form"].n_unique() == 4
    np.testing.assert_allclose(svo_scores(found)["angle"], one["angle"])
    assert set(RATIONALITY(found).filter(measure="vr")["n"]) == {80}  # over all forms


@pytest.mark.parametrize("analyzer", [RATIONALITY, svo_scores, PROFILE, DOSE])
def test_without_answers_a_table_has_columns_but_no_rows(analyzer):
    columns = analyzer(tables(team("hvae", FIRST, "altruistic"))).columns
    for items in (FULL, FULL.clear()):
        empty = analyzer(tables([], items))
        assert empty.is_empty() and empty.columns == columns


def test_a_value_without_a_target_is_not_scored():
    assert scores(team("hvae", FIRST, "frugal")).is_empty()


def test_a_target_without_a_name_is_scored_and_no_control():
    assert scores(team("hvae", FIRST, target=50.0))["control"].to_list() == [False] * 6


def test_choices_are_scored_by_the_utility_at_stake():
    (row,) = scores(team("a", ["559911"], "individualistic"), measure="choice_vr").rows(named=True)
    # Own points above the worst of items 2 to 6; item 1 always gives 85 and is left out.
    assert row["estimate"] == pytest.approx((8 + 35 + 35 + 50 + 15) / (15 + 35 + 35 + 50 + 15))
    assert row["chance"] == pytest.approx((68 + 158 + 158 + 226 + 68) / 9 / 150)  # mean options
    assert row["n_flat"] == 1


def test_where_others_acts_count_choices_are_scored_by_the_believed_payoffs():
    made = tables(team("a", ["559911"], "individualistic"))
    believed = pl.lit([1.5, 3.0, 2.0], pl.List(pl.Float64))  # option 5 stood at place 1
    played = made.decisions.filter(item="1").with_columns(
        believed.alias("option_self"), believed.alias("option_other"),
        action=pl.lit(2, pl.Int16), payoff_self=pl.lit(900.0),
    )  # fmt: skip
    row = RATIONALITY(replace(made, decisions=played)).row(
        by_predicate=pl.col("measure") == "choice_vr", named=True
    )
    assert (row["estimate"], row["chance"]) == pytest.approx((0.5 / 1.5, 2 / 4.5))


def test_bounds_go_no_further_than_the_measure():
    people = team("hvae", [*["191199"] * 5, "199459"], "altruistic")
    for name in ("vr", "vrc"):
        (row,) = scores(people, measure=name).rows(named=True)
        assert row["low"] < row["estimate"] < row["high"] == 1.0
    (row,) = scores(people, measure="deg_to_canonical").rows(named=True)
    assert 0 <= row["low"] < row["estimate"]


def test_dose_response_gives_means_with_intervals_beside_the_perfect_agent_and_chance():
    people = team("hvae", FIRST, "50deg", target=50.0) + team("hvae", SECOND, "20deg", target=20.0)
    rows = DOSE(tables(people)).filter(row="group").sort("target").rows(named=True)
    for row, sheets in zip(rows, (SECOND, FIRST), strict=True):
        angles = np.array([ANGLES[sheet] for sheet in sheets])
        half = 2.570582 * angles.std(ddof=1) / np.sqrt(6)
        expected = angles.mean(), angles.mean() - half, angles.mean() + half, 22.702977
        got = (row[k] for k in ("estimate", "low", "high", "chance"))
        assert (*got, row["n"]) == (*map(pytest.approx, expected), 6)
    assert [r["perfect_low"] for r in rows] == pytest.approx([10.39, 52.91], abs=5e-3)


def test_a_linear_population_measures_the_known_steps(play):
    steps = {-45: [-16.26], -22.5: [-13.05], -15: [-7.82], 10: [7.82], 20: [10.39], 22.5: [22.57],
             25: [36.11], 35: [37.09], 45: [41.04, 48.96], 55: [52.91], 65: [53.89],
             67.5: [57.06], 90: [61.39]}  # fmt: skip
    run = play("population=angles", f"population.targets={list(steps)}", "agent=linear")
    found = svo_scores(load(run)).group_by("target").agg(pl.col("angle").round(2).unique().sort())
    assert dict(found.rows()) == steps


def test_the_profile_stands_beside_chance_and_people():
    sheets = ["199459654758532", "199459951959511", "199159753858522", "199911852859521",
              "111111555555555", "919911191199919"]  # fmt: skip
    made = tables(team("hvae", sheets), FULL)
    each = svo_scores(made)
    assert each["ia_index"].to_list() == [0, 1, 0.25, pytest.approx(4 / 7), 0.25, None]
    rows = {r["measure"]: r for r in PROFILE(made).iter_rows(named=True)}
    expected = {  # estimate, chance, people, interval
        "share_transitive": (5 / 6, 0.4186, 0.9074, "wilson"),
        "angle_mean": (23.665, 22.703, 29.48, "t"), "angle_q50": (33.974, 22.703, 34.8753, "order"),
        "ia_index_mean": ((0.25 + 0.25 + 1 + 4 / 7) / 5, 0.4244, None, "t"),
        "share_ia_joint_gain": (2 / 5, 0.1020, None, "wilson"),  # chance is exact to 0.003
    }  # fmt: skip
    for name, (estimate, chance, people, kind) in expected.items():
        row = rows[name]
        assert (row["estimate"], row["interval"]) == (pytest.approx(estimate, abs=1e-3), kind)
        assert (row["chance"], row["human"]) == (pytest.approx(chance, abs=3e-3), people)
        assert row["n"] == (5 if "ia_" in name else 6) == 6 - row["n_unscored"]


def test_one_unread_item_in_twelve_leaves_half_of_the_sheets_out():
    people = team("hvae", ["191199", "19119."], "altruistic", agent_id="one", asks="x")
    (row,) = scores(people, measure="vr").rows(named=True)
    assert (row["n"], row["n_unscored"], row["unread"], row["left_out"]) == (1, 0, 1 / 12, 0.5)
    for table in (PROFILE(tables(people)), DOSE(tables(people)).filter(row="group")):
        assert set(table["left_out"]) == {0.5}


def test_levels_are_those_of_the_forms_that_have_a_score(play):
    made = load(play("env=svo_generated", "env.n_forms=2", "agent=linear", "env.rotation=[-90,90]"))
    form = pl.col("item").str.starts_with("f0")
    unread = pl.when(form).then(pl.col("action")).alias("action")
    one = RATIONALITY(replace(made, decisions=made.decisions.filter(form)))
    both = RATIONALITY(replace(made, decisions=made.decisions.with_columns(unread)))
    for name in ("chance", "estimate", "best_constant"):
        of_one, of_both = (t.filter(measure="vr")[name].to_list() for t in (one, both))
        assert of_one == pytest.approx(of_both)
    assert 0.2 < both.filter(measure="vr")["left_out"].min() < 0.8


@pytest.mark.parametrize(
    "words",
    [
        ("env=svo_slider",),
        ("env=svo_slider", "population.counts={prosocial: 2}"),
        ("env=svo_generated", "env.n_forms=20"),
        ("env=svo_generated", "env.n_options=[2,2]", "env.n_blocks=2"),
    ],
)
def test_shuffled_options_have_no_best_constant_place(play, words):
    for order, known in (("canonical", True), ("reversed", True), ("shuffled", False)):
        made = load(play(*words, f"env.option_order={order}", "agent=random", folder=order))
        best = RATIONALITY(made).filter(measure="vr")["best_constant"]
        assert best.null_count() == (0 if known else len(best))


def test_people_hit_their_categories_as_often_as_the_profile_says():
    hits = scores(team("hvae", FIRST), measure="category_hit").select("value", "human").rows()
    profile = PROFILE(tables(team("hvae", FIRST))).select("measure", "human").rows()
    assert dict(hits) == {v: dict(profile)[f"share_{v}"] for v in TARGETS}


def test_runs_are_put_together_by_load_and_by_hand_refused(play):
    words = ("agent=linear", "population.counts.control=0")
    runs = [play(*words, f"seed={k}", folder=str(k)) for k in (0, 1)]
    both = RATIONALITY(load(*runs)).filter(measure="vr")
    assert both.select("n", "estimate").unique().rows() == [(40, 1.0)]
    euros = play(*words, "env.unit=euros", folder="euros")  # the same items in other words
    assert load(runs[0], euros).items.equals(load(runs[0]).items)
    one, two = map(load, runs)
    with pytest.raises(ValueError, match=r"got episode 0 twice; sim\.load"):
        RATIONALITY(replace(one, decisions=pl.concat([one.decisions, two.decisions])))
    others = [
        play("env=svo_generated", f"env.items_seed={k}", *words, folder=f"g{k}") for k in (0, 1)
    ]
    made = RATIONALITY(load(*others)).filter(measure="vr")
    assert made["estimate"].to_list() == pytest.approx([1.0] * 4) and set(made["n"]) == {40}

"""Strengths of values, their shifts and agreement with what was assigned: planted truths."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau

from sim import calibrate_dilemmas as calibrate
from sim.analysis.bradley_terry import Cells, by_stage, cells, design, fit, overall, solve
from sim.analysis.changes import found
from sim.analysis.duels import PAD, UNDECIDED, duels
from sim.analysis.priorities import group_rows, priorities
from sim.analysis.priority_agreement import priority_agreement, tau_b
from sim.analysis.ratios import ratio, told
from sim.analysis.shift_divergence import shift_divergence
from sim.tables import DECISIONS, ITEMS, TURNS, Tables, load

STUDY = ("env=dilemmas", "theory=moral_foundations", "agent=ranked", "env.n_dilemmas=30")


def by_hand(choices: list[tuple], context: str = "causal") -> Tables:
    """Tables of one agent; a choice is (dilemma, stage, values as shown, action or None)."""
    rows, items, seen = [], [], set()
    episodes: dict[str, int] = {}
    for dilemma, stage, values, action in choices:
        item = f"{dilemma}/{stage}"
        episode = episodes.setdefault(dilemma, len(episodes))
        known = {"env": "d", "instrument": "bank", "item": item, "stage": stage}
        if item not in seen:
            seen.add(item)
            for k, value in enumerate(values):
                items.append({**known, "option": k, "value": value, "theory": "t",
                              "cluster": dilemma, "text": f"{k}"})  # fmt: skip
        rows.append(
            {**known, "episode": episode, "repeat": 0, "agent_id": "a", "seat": "agent_0",
             "agent": "kind", "method": "told", "value": "x", "step": stage - 1,
             "context_mode": context, "wording": "choose", "n_options": len(values),
             "option_order": list(range(len(values))), "action": action,
             "status": "ok" if action is not None else "unparsed"}
        )  # fmt: skip
    agents = pl.DataFrame({"agent_id": ["a"], "agent": ["kind"], "member": ["m"], "value": ["x"],
                           "target": [None], "profile": ['{"care": 2.0, "order": 1.0}'],
                           "method": ["told"], "model": [None]})  # fmt: skip
    return Tables(
        pl.DataFrame(rows, schema=DECISIONS).lazy(), pl.DataFrame(schema=TURNS).lazy(),
        pl.DataFrame(items, schema=ITEMS), agents,
    )  # fmt: skip


def duel(n: int, won: int, stage: int = 1) -> list[tuple]:
    """`n` dilemmas of care against order, of which care wins `won`; half show it first."""
    return [
        (f"d{k}", stage, ("care", "order") if k % 2 else ("order", "care"),
         int((k < won) != bool(k % 2)))
        for k in range(n)
    ]  # fmt: skip


def test_counted_choices_hold_what_was_shown_and_taken():
    ((key, group),) = duels(by_hand([("a", 1, ("care", "order"), 1), ("b", 1, ("order", "play"), 0),
                                     ("c", 1, ("care", "undecided"), None)]))  # fmt: skip
    assert key["context_mode"] == "causal" and group.values == ["care", "order", "play"]
    taken = dict(zip(group.item.tolist(), group.taken().tolist(), strict=True))
    assert list(taken.values()) == [1, 1, PAD]
    assert group.shown.tolist()[2] == [0, UNDECIDED]
    assert group.unread == pytest.approx(1 / 3)
    assert len(group.contested().n) == 2


def test_what_comes_behind_an_unread_choice_counts_where_the_story_tells_choices():
    rows = [("a", 1, ("care", "order"), None), ("a", 2, ("care", "order"), 1),
            ("b", 1, ("care", "order"), 0), ("b", 2, ("care", "order"), 0)]  # fmt: skip
    ((_, told_),) = duels(by_hand(rows))
    assert told_.n.sum() == 3 and told_.n_left_out == 1
    assert told_.left_out == pytest.approx(2 / 4)
    ((_, alone),) = duels(by_hand(rows, context="none"))
    assert alone.n.sum() == 4 and alone.n_left_out == 0


def test_strengths_of_two_values_are_half_their_log_odds():
    # 300 of 400: log 3 apart, less the two half choices each against the average.
    ((_, group),) = duels(by_hand(duel(400, 300)))
    c = cells(group)
    (theta,) = overall(c, c.total[None])
    assert theta[0] == pytest.approx(-theta[1])
    assert theta[0] - theta[1] == pytest.approx(np.log(3), rel=0.01)


def test_a_choice_of_three_is_luces():
    counts = np.zeros((1, 1, 3))
    counts[0, 0] = [600, 300, 100]
    c = Cells(np.array([[0, 1, 2]]), np.zeros(1, int), np.array([1]), 3, counts)
    x = design(c)[..., :-1]  # one order only: position cannot be told from the first value
    x = np.concatenate([x, np.zeros((1, 3, 1))], axis=-1)
    theta = solve(c, x, c.total[None])[0]
    assert theta[0] - theta[2] == pytest.approx(np.log(6), rel=0.02)
    assert theta[1] - theta[2] == pytest.approx(np.log(3), rel=0.02)


def test_a_value_that_always_wins_has_a_finite_strength_that_is_called_a_bound():
    table = priorities(by_hand(duel(40, 40)), 0).filter(
        pl.col("stage").is_null(), measure="strength"
    )
    rows = {r["first"]: r for r in table.rows(named=True)}
    assert rows["care"]["all_or_none"] and rows["care"]["low"] is None
    assert 2 < rows["care"]["estimate"] < 10


def test_batches_of_counts_are_solved_as_each_alone():
    c = calibrate.simulate(np.random.default_rng(0), np.zeros((3, 6)), 0.5, 60)
    counts = np.random.default_rng(1).poisson(c.total + 0.5, (4, *c.total.shape)).astype(float)
    together = by_stage(c, counts)
    for k in range(4):
        np.testing.assert_allclose(by_stage(c, counts[k : k + 1])[0], together[k], atol=1e-6)
    np.testing.assert_allclose(overall(c, counts)[2], overall(c, counts[2:3])[0], atol=1e-6)


def test_the_fit_is_that_of_any_other_optimiser():
    from scipy.optimize import minimize

    c = calibrate.simulate(np.random.default_rng(3), np.zeros((2, 6)), 0.0, 80)
    x, counts = design(c), c.total

    def loss(theta):
        eta = np.einsum("ckp,p->ck", x, theta)
        log_p = eta - np.logaddexp(eta[:, :1], eta[:, 1:])
        half = 0.5 * (np.logaddexp(0, theta[:-1]) + np.logaddexp(0, -theta[:-1])).sum()
        return -(counts * log_p).sum() + half

    theirs = minimize(loss, np.zeros(7), tol=1e-12).x
    np.testing.assert_allclose(fit(c, x).theta, theirs, atol=1e-4)


def test_leaving_clusters_out_one_by_one_is_what_the_jackknife_of_few_clusters_says():
    c = calibrate.simulate(np.random.default_rng(5), np.zeros((5, 6)), 0.7, 40)
    x = design(c)
    made = fit(c, x)
    left = np.array([
        solve(c, x, (c.total - c.counts[g])[None])[0] for g in range(len(c.counts))
    ])  # fmt: skip
    exact = ((left - left.mean(0)) ** 2).sum(0) * (len(left) - 1) / len(left)
    np.testing.assert_allclose(np.diag(made.robust()), exact, rtol=0.15)


def test_planted_strengths_position_and_no_shift_are_covered_at_the_published_size():
    nothing = np.zeros((5, 6))
    table = calibrate.studies(12, 0, nothing, 0.0, "")
    shares = {what: (share, n) for what, _, share, n in calibrate._truths(table, nothing)}
    for what, least in (("position", 0.7), ("strength", 0.9), ("shift", 0.9)):
        assert shares[what][0] >= least, shares  # python -m sim.calibrate_dilemmas has 500
    assert shares["strength"][1] == 12 * 30


def test_a_planted_shift_is_found_at_the_published_size():
    shift = calibrate.planted([0, 0, 0, 1, 1])
    table = calibrate.studies(10, 1, shift, 0.0, "")
    assert calibrate.alarms(table, 0.01)["wald_shift"] >= 0.9
    last = table.filter(measure="shift", stage=5)
    by_value = dict(last.group_by("first").agg(pl.col("estimate").mean()).iter_rows())
    # Two of six values gain 0.3: they 0.2 about the mean, the others lose 0.1.
    assert by_value["care"] == pytest.approx(0.2, abs=0.04)
    assert by_value["loyalty"] == pytest.approx(-0.1, abs=0.08)
    pairs = table.filter(measure="pair_shift")
    power = dict(pairs.group_by(pl.concat_str("first", "second", separator="-"))
                 .agg(pl.col("power").mean()).iter_rows())  # fmt: skip
    assert power["care-liberty"] > 0.6 and power["authority-sanctity"] < 0.1


@pytest.mark.slow
def test_tests_of_shift_have_their_rate_of_false_alarms_over_500_data_sets():
    for spread in (0.0, 0.7):
        table = calibrate.studies(500, 0, np.zeros((5, 6)), spread, "")
        rates = calibrate.alarms(table, 0.05)
        # Where choices of a dilemma hang together the larger of two errors is a little too large.
        least = 0.03 if not spread else 0.015
        for name in ("wald_shift", "wald_trend", "wald_last"):
            assert least <= rates[name] <= 0.07, (spread, rates)


def test_power_and_detectable_change_are_two_sides_of_one_error():
    assert found(0.3 / 2.8, 10_000)["power"] == pytest.approx(0.8, abs=0.01)
    assert found(0.1, 10_000)["detectable"] == pytest.approx(0.28, abs=0.001)


def test_priorities_of_a_played_study_are_the_planted_ones(play):
    run = play(*STUDY, "population=rankings", "population.n_each=10", "population.control=0",
               "population.rankings={r: [care,fairness,liberty,loyalty,authority,sanctity]}",
               "agent.ranked.temperature=2", "agent.ranked.first=1")  # fmt: skip
    table = priorities(load(run), 0)
    rows = table.filter(pl.col("stage").is_null(), measure="strength").sort(
        "estimate", descending=True
    )
    assert rows["first"].to_list() == ["care", "fairness", "liberty", "loyalty", "authority",
                                       "sanctity"]  # fmt: skip
    # A unit of weight is half a logit at temperature 2.
    assert rows["estimate"].to_list() == pytest.approx([1.25, 0.75, 0.25, -0.25, -0.75, -1.25],
                                                       abs=0.3)  # fmt: skip
    position = table.filter(measure="position").row(0, named=True)
    assert position["low"] < 0.5 < position["high"]
    assert set(rows["n_distinct"]) <= set(range(15, 31))


def test_agreement_is_one_for_exact_agents_and_zero_by_lot(play):
    ranking = "{r: [care,fairness,liberty,loyalty,authority,sanctity]}"
    run = play(*STUDY[:2], "env.n_dilemmas=30", "agent=[ranked,random]", "population=rankings",
               "population.n_each=4", "population.control=4", f"population.rankings={ranking}",
               "agent.ranked.temperature=0")  # fmt: skip
    table = priority_agreement(load(run), 0)
    exact = table.filter(agent="ranked", value="r", measure="vrc")
    assert set(exact["estimate"]) == {1.0}
    control = table.filter(pl.col("stage").is_null(), agent="ranked", measure="vrc").filter(
        pl.col("value").is_null()
    )
    assert abs(control["estimate"][0]) < 0.15 and control["against"][0] == "r"
    ranks = table.filter(
        pl.col("stage").is_null(), agent="ranked", value="r", measure="rank_agreement"
    )
    assert ranks["estimate"][0] == pytest.approx(1)
    gain = table.filter(pl.col("stage").is_null(), agent="ranked", measure="gain").row(
        0, named=True
    )
    assert gain["estimate"] == pytest.approx(1 - control["estimate"][0])
    lots = table.filter(pl.col("stage").is_null(), agent="random", measure="vrc")
    assert (lots["estimate"].abs() < 0.15).all()
    assert set(table.filter(measure="agreement")["chance"]) == {0.5}


def test_a_planted_shift_lowers_agreement_with_what_was_assigned(play):
    ranking = "{r: [care,fairness,liberty,loyalty,authority,sanctity]}"
    run = play(*STUDY, "population=rankings", "population.n_each=6", "population.control=0",
               f"population.rankings={ranking}", "agent.ranked.temperature=1",
               "agent.ranked.shift={5: {sanctity: 8}}")  # fmt: skip
    table = priority_agreement(load(run), 0)
    change = table.filter(measure="change").row(0, named=True)
    assert change["high"] < 0 and change["p"] < 0.01


def test_choices_between_values_that_weigh_the_same_are_not_scored(play):
    run = play(*STUDY, "population=first", "population.n_each=1", "population.control=0")
    table = priority_agreement(load(run), 0).filter(pl.col("stage").is_null(), measure="vrc")
    # A value is an option in 100 of the 300 choices of both orders; the others weigh the same.
    assert set(table["n"]) == {100} and set(table["n_unscored"]) == {200}


def test_tau_b_is_scipys_with_ties_and_with_values_that_are_missing():
    rng = np.random.default_rng(0)
    strengths = rng.integers(0, 4, (50, 6)).astype(float)
    weights = np.array([3.0, 2, 2, 1, 0, 0])
    for row, mine in zip(strengths, tau_b(strengths, weights), strict=True):
        assert mine == pytest.approx(kendalltau(row, weights).statistic, nan_ok=True)
    strengths[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    expected = kendalltau(strengths[0, kept], weights[kept]).statistic
    assert tau_b(strengths[:1], weights)[0] == pytest.approx(expected)


def test_a_ratio_of_sums_has_the_error_of_its_clusters():
    part, whole = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 3, 4, 6, 8, 7])
    estimate, influence = ratio(part, whole)
    assert estimate == pytest.approx(21 / 30)
    row = told(float(estimate), influence, 6)
    residual = part - 0.7 * whole
    error = np.sqrt((residual**2).sum() * 6 / 5) / 30
    assert row["high"] - row["low"] == pytest.approx(2 * 2.5706 * error, rel=1e-4)
    assert told(0.5, influence[:4], 4)["interval"] is None


def test_tables_without_dilemmas_give_empty_tables(play):
    tables = load(play("agent=linear", "env=svo_slider", "population.counts.control=0"))
    assert priorities(tables, 0).is_empty() and priority_agreement(tables, 0).is_empty()


def test_where_nothing_is_read_no_strength_is_told():
    table = priorities(by_hand([("a", 1, ("care", "order"), None)]), 0)
    assert table["estimate"].null_count() == table.height == 2
    assert table["unread"].to_list() == [1.0, 1.0]


def test_an_agent_that_always_follows_one_order_shows_no_shift(play):
    run = play(*STUDY, "population=rankings", "population.n_each=1", "population.control=0",
               "population.rankings={r: [care,fairness,liberty,loyalty,authority,sanctity]}",
               "agent.ranked.temperature=0")  # fmt: skip
    table = priorities(load(run), 0)
    assert not (table.filter(pl.col("measure").str.starts_with("wald"))["p"] < 0.05).any()
    shifts = table.filter(measure="shift")
    assert not (shifts["p_holm"] < 0.05).any()
    assert shifts.filter(all_or_none=True)["low"].null_count() == shifts["all_or_none"].sum()


def test_a_few_firm_choices_raise_no_more_alarms_than_their_level():
    alarms = {"wald_last": 0, "shift": 0, "pair_shift": 0}
    for k in range(60):
        c = calibrate.simulate(np.random.default_rng([1, k]), np.zeros((5, 6)), 0.0, 30)
        rows = pl.DataFrame(group_rows(c, calibrate.VALUES, 0), infer_schema_length=None)
        alarms["wald_last"] += int((rows.filter(measure="wald_last")["p"] < 0.05).sum())
        for name in ("shift", "pair_shift"):
            found_ = rows.filter(measure=name)["p_holm"].drop_nulls()
            alarms[name] += bool(len(found_) and found_.min() < 0.05)
    assert max(alarms.values()) <= 8, alarms  # of 60, at level .05


def test_without_other_orders_position_takes_nothing_from_the_values():
    rows = [(f"d{k}", 1, ("care", "order"), int(k >= 30)) for k in range(40)]
    table = priorities(by_hand(rows), 0)
    assert table.filter(measure="position")["estimate"].to_list() == [None]
    care = table.filter(measure="strength", first="care").row(0, named=True)
    assert care["estimate"] == pytest.approx(np.log(3) / 2, rel=0.1) and care["low"] > 0


def test_values_that_never_met_the_others_have_no_place_among_them():
    rows = [(f"a{k}", 1, ("care", "order"), int(k >= 30)) for k in range(40)]
    rows += [(f"b{k}", 1, ("play", "rest"), int(k >= 24)) for k in range(40)]
    table = priorities(by_hand(rows), 0).filter(measure="strength")
    known = dict(table.select("first", "estimate").iter_rows())
    assert known["play"] is None and known["rest"] is None and known["care"] > 0 > known["order"]


def test_stages_that_share_no_value_give_nulls():
    rows = [(f"d{k}", s, v, k % 2) for k in range(10)
            for s, v in ((1, ("care", "order")), (2, ("play", "rest")))]  # fmt: skip
    tables = by_hand(rows)
    shifts = priorities(tables, 0).filter(measure="shift")
    assert shifts["estimate"].null_count() == shifts.height
    assert shift_divergence(tables, 0)["estimate"].null_count() > 0


def test_members_of_one_name_with_several_profiles_are_not_scored_and_it_is_said():
    tables = by_hand(duel(8, 4))
    other = tables.agents.with_columns(agent_id=pl.lit("b"), profile=pl.lit('{"order": 1.0}'))
    both = Tables(tables.decisions, tables.turns, tables.items, pl.concat([tables.agents, other]))
    table = priority_agreement(both, 0)
    assert table.select("measure", "estimate", "n", "n_unscored").rows() == [("vrc", None, 0, 8)]

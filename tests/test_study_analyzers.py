"""Order effects, drift, prompt sensitivity, agreement and dose lines against planted truth."""

import numpy as np
import polars as pl
import pytest

from sim import calibrate
from sim.analysis.agreement import _angle_rows, agreement
from sim.analysis.association import kappa, pearson, ranks, same
from sim.analysis.dose_response import dose_response, line, line_bounds
from sim.analysis.drift import drift, within_slope
from sim.analysis.jackknife import bounds, correlation_bounds
from sim.analysis.order_effects import order_effects, position_bias
from sim.analysis.prompt_sensitivity import prompt_sensitivity, variance_shares
from sim.analysis.scores import unwrapped
from sim.analysis.svo_profile import svo_profile
from sim.calibrate import only
from sim.tables import DECISIONS, TURNS, Tables, load


def test_position_bias_by_hand():
    # Option 0 of one item: shown first twice and taken twice, else twice and taken once;
    # option 1 the other way round: first twice, taken once; else never.
    chosen = np.array([1, 1, 1, 0, 0, 0, 0, 1.0])
    first = np.array([True, True, False, False, False, False, True, True])
    cells = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    estimate, error, n = position_bias(chosen, first, cells, np.array([0, 1, 2, 3, 0, 1, 2, 3]))
    assert estimate == pytest.approx((1 - 0.5 + 0.5 - 0) / 2)
    assert (n, error > 0) == (4, True)


def test_position_bias_is_unknown_where_no_option_was_shown_in_both_ways():
    estimate, error, n = position_bias(
        np.array([1.0, 0]), np.array([True, False]), np.array([0, 1]), np.array([0, 0])
    )
    assert np.isnan([estimate, error]).all()
    assert n == 0


def test_flips_are_counted_by_hand(play):
    run = play("agent=[always_first,linear]", "env=svo_slider", "env.option_order=either",
               only(individualistic=6), "n_repeats=3",
               "agent.linear.temperature=0.5")  # fmt: skip
    table = order_effects(load(run), 0)
    always = table.filter(agent="always_first")
    found = dict(always.select("measure", "estimate").rows())
    # Always the first: the same in the same order, never in another.
    assert (found["flip_same"], found["flip_other"], found["order_effect"]) == (0, 1, 1)
    assert found["position_bias"] == pytest.approx(1)
    assert found["most_taken_place_1"] == 1
    decisions = pl.read_parquet(run / "decisions.parquet").filter(agent="linear")
    same = other = same_flips = other_flips = 0
    for _, part in decisions.group_by("agent_id", "item"):
        rows = part.select("option_order", "action").rows()
        for i, (a, x) in enumerate(rows):
            for b, y in rows[:i]:
                same, other = same + (a == b), other + (a != b)
                same_flips, other_flips = (
                    same_flips + (a == b and x != y),
                    other_flips + (a != b and x != y),
                )
    linear = {r["measure"]: r for r in table.filter(agent="linear").rows(named=True)}
    assert linear["flip_same"]["n_pairs"] == same
    assert linear["flip_other"]["n_pairs"] == other
    assert same_flips > 0
    assert other_flips > 0


def test_flips_are_rates_of_each_agent_averaged():
    # Agent a: item i twice in order 1 (0, 0) and once in order 2 (1); agent b: twice (0, 1).
    rows = [("a", "i", [0, 1], 0), ("a", "i", [0, 1], 0), ("a", "i", [1, 0], 1),
            ("b", "i", [0, 1], 0), ("b", "i", [0, 1], 1)]  # fmt: skip
    constant = dict.fromkeys(DECISIONS) | {"instrument": "x", "agent": "k", "status": "ok"}
    frame = pl.DataFrame(
        [
            constant | {"agent_id": a, "item": i, "option_order": o, "action": c, "episode": k}
            for k, (a, i, o, c) in enumerate(rows)
        ],
        schema=DECISIONS,
    )
    empty = pl.DataFrame(schema=TURNS).lazy()
    tables = Tables(frame.lazy(), empty, pl.DataFrame(), pl.DataFrame())
    found = {r["measure"]: r for r in order_effects(tables, 0).rows(named=True)}
    # a: 0 of 1 the same way, 2 of 2 the other; b: 1 of 1 the same way.
    assert found["flip_same"]["estimate"] == 0.5
    assert found["flip_other"]["estimate"] == 1
    assert found["order_effect"]["estimate"] == 1  # of a alone
    counts = {m: (r["n"], r["n_pairs"]) for m, r in found.items()}
    assert counts["flip_same"] == (2, 2)
    assert counts["flip_other"] == (1, 2)
    assert counts["order_effect"] == (1, 3)
    assert found["flip_same"]["chance"] == 0.5  # of two options


def test_one_order_for_all_has_no_order_effect_and_says_so(play):
    run = play("agent=linear", "env=svo_slider", only(prosocial=8), "n_repeats=2")
    table = order_effects(load(run), 0)
    found = dict(table.select("measure", "estimate").rows())
    assert found["order_effect"] is None
    assert found["position_bias"] is None
    assert found["flip_same"] is not None
    counts = table.filter(measure="position_bias").row(0, named=True)
    assert (counts["n"], counts["n_distinct"], counts["n_unscored"]) == (0, 0, 8)


def test_the_order_analyzer_covers_a_planted_bias_and_has_its_rate_of_false_alarms():
    planted = calibrate.order_studies(0.3, 60, 0).filter(measure="position_bias")
    covers = (planted["low"] <= 0.3) & (planted["high"] >= 0.3)
    assert planted["estimate"].mean() == pytest.approx(0.3, abs=0.02)
    assert covers.mean() >= 0.86  # 60 studies; `python -m sim.calibrate` has 500
    none = calibrate.order_studies(0.0, 60, 1000)
    for measure in calibrate.ORDER:
        part = none.filter(measure=measure)
        alarms = ((part["low"] > 0) | (part["high"] < 0)).mean()
        assert 0 < alarms <= 0.14


@pytest.mark.slow
def test_false_alarms_lie_between_3_and_7_of_100_in_500_studies():
    none = calibrate.order_studies(0.0, 500, 0)
    for measure in calibrate.ORDER:
        part = none.filter(measure=measure)
        assert 0.03 <= ((part["low"] > 0) | (part["high"] < 0)).mean() <= 0.07
    planted = calibrate.order_studies(0.3, 500, 0).filter(measure="position_bias")
    assert 0.93 <= ((planted["low"] <= 0.3) & (planted["high"] >= 0.3)).mean() <= 0.97


def test_variance_shares_sum_to_one_and_find_what_was_planted():
    rng = np.random.default_rng(0)
    n = 4000
    a, b, c = rng.integers(0, 4, n), rng.integers(0, 3, n), rng.integers(0, 2, n)
    y = 2.0 * a + 1.0 * (b == 1) + 0.0 * c + rng.normal(0, 1, n)
    found = variance_shares(y, {"orientation": a, "method": b, "order": c})
    parts = {"orientation": 4 * 1.25, "method": 2 / 9, "repeat": 1.0}
    whole = sum(parts.values())
    assert sum(found.values()) == pytest.approx(1)
    for name, part in parts.items():
        assert found[name] == pytest.approx(part / whole, abs=0.02)
    assert found["order"] == pytest.approx(0, abs=0.003)
    assert found["interactions"] == pytest.approx(0, abs=0.01)


def test_an_interaction_is_no_main_effect():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, 3000), rng.integers(0, 2, 3000)
    found = variance_shares(1.0 * (a == b) + rng.normal(0, 0.5, 3000), {"method": a, "order": b})
    assert found["interactions"] == pytest.approx(0.5, abs=0.04)
    assert found["method"] == pytest.approx(0, abs=0.01)


def test_wordings_within_methods_are_told_from_the_methods():
    rng = np.random.default_rng(2)
    n = 6000
    method = rng.integers(0, 2, n)
    wording = method * 3 + rng.integers(0, 3, n)  # three wordings of each method
    y = 1.0 * method + np.array([0, 0.5, 1, 0, 1, 2])[wording] + rng.normal(0, 1, n)
    found = variance_shares(y, {"method": method, "wording": wording}, {"wording": "method"})
    # Means of the methods 0.5 and 2; within them variances 1/6 and 2/3.
    whole = 0.75**2 + (1 / 6 + 2 / 3) / 2 + 1
    assert found["method"] == pytest.approx(0.75**2 / whole, abs=0.02)
    assert found["wording"] == pytest.approx((1 / 6 + 2 / 3) / 2 / whole, abs=0.02)
    assert found["interactions"] == pytest.approx(0, abs=0.01)


def test_nothing_is_shared_out_where_nothing_varies():
    assert variance_shares(np.ones(9), {"method": np.arange(9) % 2}) == {}
    assert variance_shares(np.arange(4.0), {"method": np.arange(4)}) == {}


def test_prompt_sensitivity_of_linear_agents_is_their_orientation(play):
    run = play("agent=softmax", "agent.softmax.temperature=3", "env=svo_slider", "n_repeats=3",
               "env.option_order=either", "population=counts",
               only(altruistic=15, individualistic=15, competitive=15))  # fmt: skip
    table = prompt_sensitivity(load(run), 0)
    found = {r["source"]: r for r in table.rows(named=True)}
    assert found["orientation"]["estimate"] > 0.9
    assert found["orientation"]["n_levels"] == 3
    assert found["order"]["low"] < 0.01
    assert found["method"]["estimate"] is None  # one method: no factor
    assert sum(r["estimate"] or 0 for r in found.values()) == pytest.approx(1)


def test_kappa_and_ranks_by_hand():
    # Cohen (1960): 50 pairs, 20 both yes, 15 both no, 5 and 10 apart: kappa 0.4.
    pairs = np.array([[1, 1]] * 20 + [[0, 0]] * 15 + [[1, 0]] * 5 + [[0, 1]] * 10)
    assert same(pairs) == pytest.approx(0.7)
    assert kappa(pairs) == pytest.approx(0.4)
    assert np.isnan(kappa(np.ones((4, 2))))
    assert ranks(np.array([[3.0], [1.0], [3.0], [7.0]]))[:, 0].tolist() == [2.5, 1, 2.5, 4]


def test_an_instrument_of_angles_all_round_the_circle_agrees_with_nothing_by_lot():
    rng = np.random.default_rng(0)
    angles = np.stack([rng.uniform(-180, 180, 400), rng.normal(30, 10, 400)], axis=1)
    near = np.stack([unwrapped(column) for column in angles.T], axis=1)
    assert abs(pearson(near)) < 0.15


def test_instruments_agree_where_one_utility_answers_all_and_not_where_lots_do(play):
    run = play("agent=[linear,random]", "env=svo_battery", "population=grid", "population.n=60",
               "env.parts.ring.radius=100", "env.parts.generated.n_forms=1")  # fmt: skip
    table = agreement(load(run), 0)
    # Triple dominance has categories alone, the generated items an angle alone.
    assert table.select("first", "second").unique().height == 5
    exact = table.filter(agent="linear", measure="pearson", scope="across")
    assert (exact["estimate"] > 0.9).all()
    lots = table.filter(agent="random", measure="pearson", scope="across")
    # Of three intervals that cover 0 in 95 of 100 cases each.
    assert ((lots["low"] < 0) & (lots["high"] > 0)).sum() >= 2
    assert (lots["estimate"].abs() < 0.4).all()
    kappa = table.filter(agent="linear", measure="kappa", first="svo_ring", second="svo_slider")
    assert kappa["estimate"][0] > 0.5


def test_within_one_orientation_exact_agents_leave_nothing_to_agree_on(play):
    run = play("agent=softmax", "env=svo_battery", "population=counts",
               "env.parts.ring=null", "env.parts.triple_dominance=null",
               only(altruistic=30, competitive=30))  # fmt: skip
    table = agreement(load(run), 0).filter(measure="pearson")
    across, within = (table.filter(scope=s)["estimate"][0] for s in ("across", "within"))
    assert across > 0.95
    assert abs(within) < 0.4


def test_a_planted_drift_is_found_and_none_is_none(play):
    run = play("agent=softmax", "agent.softmax.temperature=4", "env=svo_generated",
               "env.n_blocks=3", "env.item_order=shuffled", "population=counts",
               only(prosocial=80))  # fmt: skip
    tables = load(run)
    slope = drift(tables, 0).filter(measure="slope").row(0, named=True)
    assert slope["low"] < 0 < slope["high"]
    # Late choices are replaced by the last option's: utility falls with the step.
    late = tables.decisions.collect().with_columns(
        pl.when((pl.col("step") + pl.col("episode")) % 18 < pl.col("step"))
        .then(pl.lit(0, pl.Int16))
        .otherwise("action")
        .alias("action")
    )
    paid = tables.items.select("item", pl.col("option").alias("action"), "payoff_self",
                               "payoff_other")  # fmt: skip
    late = late.drop("payoff_self", "payoff_other").join(paid, on=["item", "action"], how="left")
    planted = type(tables)(late.lazy(), tables.turns, tables.items, tables.agents)
    worse = drift(planted, 0).filter(measure="slope").row(0, named=True)
    assert worse["high"] < 0
    steps = drift(planted, 0).filter(measure="choice_vr").sort("step")["estimate"]
    assert steps[0] > 0.85 > steps[-1] + 0.2


def test_one_order_of_items_has_no_slope(play):
    run = play("agent=softmax", "env=svo_slider", only(prosocial=20))
    row = drift(load(run), 0).filter(measure="slope").row(0, named=True)
    assert row["estimate"] is None


def test_a_line_by_hand():
    slope, r2 = line(np.array([0.0, 1, 2]), np.array([1.0, 3, 2]))
    assert (slope, r2) == (pytest.approx(0.5), pytest.approx(0.25))
    assert np.isnan(line(np.array([1.0, 1]), np.array([1.0, 2]))).all()


def test_the_dose_line_of_perfect_agents_is_the_perfect_agents(play):
    run = play("experiment=dose_response", "agent=linear", "population.n_each=3")
    table = dose_response(load(run), 0)
    for name in ("slope", "r2"):
        row = table.filter(row=name).row(0, named=True)
        # Ties fall by lot for the agents, in the middle for the perfect one.
        assert row["estimate"] == pytest.approx(row["perfect_low"], abs=0.03)
        assert row["low"] < row["estimate"] < row["high"]


def test_the_ring_has_no_mean_angle_by_chance(play):
    run = play("agent=linear", "env=svo_ring", only(prosocial=6))
    for table in (dose_response(load(run), 0), svo_profile(load(run), 0)):
        rows = table.filter(pl.col("estimate").is_not_null())
        for name in ("group", "angle_mean"):
            mine = rows.filter(pl.any_horizontal(pl.col(pl.String) == name))
            assert mine["chance"].null_count() == mine.height


def test_the_perfect_line_reaches_as_far_as_the_targets(play):
    run = play("agent=linear", "env=svo_ring", "population=angles",
               "population.targets=[-120.5,0,135]", "population.n_each=1")  # fmt: skip
    line_ = dose_response(load(run), 0).filter(row="perfect")
    assert (line_["target"].min(), line_["target"].max()) == (-121, 135)


def test_instruments_agree_on_nothing_where_nothing_is_read(play):
    run = play("agent=follower", "agent.follower.unread=1", "env=svo_battery",
               only(prosocial=6), "env.parts.generated.n_forms=1")  # fmt: skip
    table = agreement(load(run), 0)
    assert table["estimate"].null_count() == table.height


def test_orientations_of_few_agents_say_nothing_of_agreement_within_them(play):
    run = play("agent=softmax", "env=svo_battery", only(prosocial=3, altruistic=6),
               "env.parts.generated.n_forms=1")  # fmt: skip
    within = agreement(load(run), 0).filter(scope="within", measure="pearson")
    assert set(within["n"]) == {6}


def test_the_jackknife_of_prompt_sensitivity_covers_what_was_planted():
    found = calibrate.sensitivity_studies(40, 0)
    for source, least in (("orientation", 0.93), ("method", 0.85), ("wording", 0.85)):
        part = found.filter(source=source)
        assert part["covered"].mean() >= least  # 40 studies; `python -m sim.calibrate` has 500
        assert part["estimate"].mean() == pytest.approx(part["truth"][0], abs=0.03)


def test_two_agents_are_too_few_for_a_correlation(play):
    run = play("agent=softmax", "env=svo_battery", "population=grid", "population.n=4",
               "env.parts.triple_dominance=null", "env.parts.generated=null")  # fmt: skip
    table = agreement(load(run), 0)
    few = table.filter(pl.col("measure").is_in(["pearson", "spearman"]), scope="across")
    assert (few["n_distinct"] == 4).all()
    assert few["estimate"].null_count() == few.height == 2
    assert table.filter(measure="angle_difference")["estimate"].null_count() == 0


def apart(first, second) -> dict:
    """Row of the mean difference of two instruments' angles over agents."""
    pair = pl.DataFrame({
        "value": "v", "target": 0.0, "angle": first, "angle_right": second, "vrc": None,
        "vrc_right": None, "requests": np.arange(len(first)), "scripted": False,
        "answers": np.arange(len(first)),
    })  # fmt: skip
    angles = pair.select("angle", "angle_right").to_numpy()
    rows = _angle_rows({}, pair, angles, np.ones(len(first), bool), 0)
    return next(row for row in rows if row["measure"] == "angle_difference")


def test_opposite_instruments_differ_by_half_a_turn_and_not_by_nothing():
    noise = np.array([-4.0, -3, -1, 1, 3, 4])
    row = apart(noise, np.full(6, 180.0))
    assert abs(row["estimate"]) == pytest.approx(180)
    assert row["high"] - row["low"] < 10
    assert row["p"] < 0.001
    near = apart(noise + 178, noise[::-1] - 178)
    assert near["estimate"] == pytest.approx(-4)
    round_ = apart(np.arange(6) * 60.0 - 180, np.zeros(6))
    assert [round_[k] for k in ("estimate", "low", "high", "interval", "p")] == [None] * 5
    assert (round_["n"], round_["n_unscored"]) == (6, 0)


def test_intervals_of_few_agents_cover_what_was_planted():
    for n_agents in (5, 12):
        found = calibrate.few_studies(n_agents, 400, 1).drop_nulls("low")
        for (measure,), part in found.group_by("measure"):
            covers = ((part["low"] <= part["truth"]) & (part["truth"] <= part["high"])).mean()
            # 400 studies: two standard errors are 2.2 points; the bootstrap covered 82 to 92 %.
            assert covers >= 0.92, (n_agents, measure)


def test_a_jackknife_by_hand():
    x = np.array([1.0, 2, 4, 5, 8])
    without = np.array([x[x != gone].mean() for gone in x])
    low, high, kind = bounds(4.0, without)
    # Of a mean it is the t interval: sd 2.7386, se 1.2247, t(4) 2.7764.
    assert (low, high, kind) == (pytest.approx(0.5996, abs=1e-3), pytest.approx(7.4004, abs=1e-3),
                                 "jackknife")  # fmt: skip
    assert bounds(4.0, without[:4])[2] is None
    assert bounds(4.0, np.full(5, 4.0))[2] is None
    assert bounds(4.0, np.array([4.0, 3, np.nan, 5, 4]))[2] is None
    low, high, _ = correlation_bounds(0.9, np.array([0.85, 0.95, 0.9, 0.92, 0.8]))
    assert -1 < low < 0.9 < high < 1
    assert correlation_bounds(1.0, np.array([0.85, 1, 1, 1, 1]))[2] is None


def test_the_line_of_few_agents_has_a_jackknife_and_of_many_a_bootstrap():
    rng = np.random.default_rng(0)
    for n, kind in ((4, None), (5, "jackknife"), (49, "jackknife"), (50, "bootstrap")):
        x, y = rng.normal(size=(2, n))
        for low, high, got in line_bounds(x, y, np.arange(n), rng):
            assert got == kind
            assert kind is None or low < high
    # R2 lies within 0..1 whatever the sign of the correlation.
    _, (low, high, _) = line_bounds(x[:9], -x[:9] + 0.1 * y[:9], np.arange(9), rng)
    assert 0 < low < high < 1


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_the_slope_of_drift_is_the_regression_with_items_and_agents(lost):
    rng = np.random.default_rng(3)
    step = rng.random((7, 6)).argsort(1).astype(float)
    y = rng.normal(size=(7, 6)) + rng.normal(size=6) + rng.normal(size=(7, 1)) - 0.1 * step
    keep = rng.random((7, 6)) >= lost
    agent, item = np.nonzero(keep)

    def fitted(rows):
        dummies = [step[keep][rows], np.eye(7)[agent[rows]], np.eye(6)[item[rows]]]
        return np.linalg.lstsq(np.column_stack(dummies), y[keep][rows], rcond=None)[0][0]

    slope, without, counts = within_slope(step[keep], y[keep], item, agent, agent)
    assert slope == pytest.approx(fitted(agent >= 0))
    left = [fitted(agent != k) for k in range(7)]
    np.testing.assert_allclose(without, left, atol=0.004 if lost else 1e-9)
    assert counts.all()


def test_drift_of_nothing_read_is_null(play):
    run = play("agent=follower", "agent.follower.unread=1", "env=svo_slider", only(prosocial=6),
               "env.item_order=shuffled")  # fmt: skip
    table = drift(load(run), 0)
    assert table["estimate"].null_count() == table.height
    slope = table.filter(measure="slope").row(0, named=True)
    assert (slope["n"], slope["n_unscored"]) == (0, 6)


def test_noise_between_agents_is_in_the_repeats_and_a_little_in_what_varies_between_agents():
    rng = np.random.default_rng(0)
    orientation, method, wording, _, order, _ = np.indices((4, 2, 3, 4, 2, 2)).reshape(6, -1)
    codes = {"orientation": orientation, "method": method, "wording": method * 3 + wording,
             "order": order}  # fmt: skip
    agent = np.arange(96).repeat(4)
    found = [
        variance_shares(
            rng.normal(0, np.sqrt(0.43), 96)[agent] + rng.normal(0, np.sqrt(0.57), 384),
            codes, {"wording": "method"},
        )
        for _ in range(100)
    ]  # fmt: skip
    mean = {s: np.mean([one[s] for one in found]) for s in found[0]}
    assert mean["wording"] == pytest.approx(0.43 * 4 / 96, abs=0.006)
    assert mean["order"] == pytest.approx(0, abs=0.003)
    assert mean["repeat"] > 0.9 > 0.1 > mean["interactions"]

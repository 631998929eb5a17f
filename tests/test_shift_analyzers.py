"""Preference scores, rank shifts and divergences between stages, against planted truth."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import kendalltau

from sim.analysis import intervals
from sim.analysis import rank_shift as ranking
from sim.analysis.bradley_terry import cells
from sim.analysis.duels import duels
from sim.analysis.preference import preference, ratios
from sim.analysis.rank_shift import rank_shift, ranks, tau_b
from sim.analysis.shift_divergence import (
    by_wins,
    jensen_shannon,
    permuted,
    shift_divergence,
    wins,
)
from sim.plots import preference as preference_plot
from sim.plots import rank_shift as rank_plot
from sim.plots import shift_divergence as divergence_plot
from sim.tables import DECISIONS, ITEMS, TURNS, Tables, load

STUDY = ("env=dilemmas", "theory=moral_foundations", "agent=ranked")
RANKED = (*STUDY, "population=rankings", "population.n_each=4", "population.control=0",
          "+population.rankings.a=[liberty,fairness,loyalty,care,authority,sanctity]")  # fmt: skip
ANALYZERS = {"preference": preference, "rank": rank_shift, "divergence": shift_divergence}


def tables(choices, values=("care", "fairness", "undecided")):
    """Of choices (cluster, stage, order shown, action), each of an agent of its own."""
    stages = sorted({(cluster, stage) for cluster, stage, *_ in choices})
    items = [
        dict.fromkeys(ITEMS)
        | {"env": "dilemmas", "instrument": "d", "item": f"{cluster}{stage}", "option": k}
        | {"value": value, "theory": "t", "stage": stage, "cluster": cluster}
        for cluster, stage in stages
        for k, value in enumerate(values)
    ]
    rows = [
        dict.fromkeys(DECISIONS)
        | {"instrument": "d", "agent": "x", "context_mode": "none", "wording": "choose"}
        | {"env": "dilemmas", "episode": k, "seat": "a", "step": 0, "agent_id": f"a{k}"}
        | {"item": f"{cluster}{stage}", "option_order": order, "action": action}
        for k, (cluster, stage, order, action) in enumerate(choices)
    ]
    frame = pl.DataFrame(rows, schema=DECISIONS)
    empty = pl.DataFrame(schema=TURNS).lazy()
    return Tables(frame.lazy(), empty, pl.DataFrame(items, schema=ITEMS), pl.DataFrame())


def of(table, **where):
    return table.filter(*(pl.col(k).eq_missing(pl.lit(v)) for k, v in where.items())).row(
        0, named=True
    )


# Care is taken 3 of 4 times at stage 1 and 1 of 4 at stage 2, in three clusters.
TINY = [("A", 1, [0, 1], 0), ("A", 1, [1, 0], 0), ("B", 1, [0, 1], 1), ("C", 1, [0, 1], 0),
        ("A", 2, [0, 1], 1), ("B", 2, [0, 1], 1), ("B", 2, [1, 0], 1),
        ("C", 2, [0, 1], 0)]  # fmt: skip


def test_a_preference_score_is_the_share_chosen_minus_a_half():
    table = preference(tables([*TINY, ("A", 1, [0, 1, 2], 2), ("C", 1, [0, 1], None)]), 0)
    row = of(table, option_value="care", stage=1)
    assert row["estimate"] == 0.25
    assert (row["n"], row["n_chosen"], row["n_distinct"]) == (4, 3, 3)
    assert (row["n_unscored"], row["n_undecided"]) == (2, 1)
    assert row["share_first"] == 0.75
    assert row["unread"] == row["left_out"] == 0.1
    assert (row["low"], row["interval"], row["p"]) == (None, None, None)  # three clusters only
    assert of(table, option_value="fairness", stage=1)["estimate"] == -0.25
    assert of(table, option_value="care", stage=None)["estimate"] == 0


def test_of_three_options_each_is_expected_a_third_of_the_time():
    choices = [("A", 1, [0, 1, 2], 0), ("A", 1, [2, 1, 0], 1), ("B", 1, [1, 0, 2], 0)]
    table = preference(tables(choices, ("care", "fairness", "loyalty")), 0)
    found = {row["option_value"]: row for row in table.filter(stage=1).rows(named=True)}
    scores = [found[v]["estimate"] for v in ("care", "fairness", "loyalty")]
    assert scores == pytest.approx([2 / 3 - 1 / 3, 0, -1 / 3])
    assert found["care"]["expected"] == pytest.approx(1 / 3)
    assert found["care"]["share_first"] == pytest.approx(1 / 3)


def test_ratios_of_cluster_sums_have_the_t_interval_of_means_over_clusters():
    rng = np.random.default_rng(0)
    units, values = rng.integers(0, 12, 80), rng.random(80)
    sums, sizes = np.bincount(units, values, 12), np.bincount(units, minlength=12).astype(float)
    expected = intervals.interval(intervals.means(values[:, None], units, rng), 0)
    assert intervals.interval(ratios(sums, sizes), 0) == pytest.approx(expected)


def test_scores_weighted_by_showings_sum_to_zero_at_each_stage(play):
    run = play(*STUDY, "population=first", "population.n_each=1", "population.control=1",
               "env.abstain=true", "agent.ranked.undecided=0.2")  # fmt: skip
    table = preference(load(run), 0)
    whole = table.group_by("value", "stage").agg((pl.col("n") * pl.col("estimate")).sum())
    assert whole["n"].abs().max() < 1e-9  # type: ignore[operator]
    assert table["n_undecided"].sum() == table["n_unscored"].sum() > 0
    own = table.filter(pl.col("stage").is_null(), pl.col("value") == pl.col("option_value"))
    assert len(own) == 6
    assert (own["low"] > 0).all()
    assert (own["p_holm"] < 0.05).all()


def test_ranks_and_tau_by_hand():
    table = rank_shift(tables(TINY), 0)
    at = {(r["option_value"], r["stage"]): r for r in table.filter(measure="rank").rows(named=True)}
    assert [at["care", s]["estimate"] for s in (1, 2)] == [1, 2]
    assert [at["fairness", s]["estimate"] for s in (1, 2)] == [2, 1]
    shift = of(table, measure="shift", option_value="care")
    assert (shift["estimate"], shift["stage"], shift["other"]) == (-1, 1, 2)  # it lost a rank
    tau = of(table, measure="tau")
    assert (tau["estimate"], tau["n"], tau["n_distinct"]) == (-1, 8, 3)
    assert (tau["low"], tau["p"], tau["chance_same"]) == (None, None, None)


def test_values_that_are_equally_strong_share_a_rank_and_tau_is_unknown():
    even = [("A", s, [0, 1], a) for s in (1, 2) for a in (0, 1)]
    even += [("B", s, [1, 0], a) for s in (1, 2) for a in (0, 1)]
    table = rank_shift(tables(even), 0)
    assert set(table.filter(measure="rank")["estimate"]) == {1.5}
    assert of(table, measure="tau")["estimate"] is None


@given(arrays(int, (2, 7), elements=st.integers(0, 3)))
def test_tau_b_is_that_of_scipy_with_ties(pair):
    a, b = pair.astype(float)
    expected = kendalltau(a, b).statistic if len(set(a)) > 1 and len(set(b)) > 1 else np.nan
    assert tau_b(np.stack([a, -a]), np.stack([b, b])) == pytest.approx(
        np.array([expected, -expected]), nan_ok=True
    )


def test_ranks_leave_out_what_is_unknown():
    assert np.array_equal(ranks(np.array([[2.0, np.nan, 5, 2]])), [[2.5, np.nan, 1, 2.5]], True)


# No subnormal numbers: scipy's distance is infinite there.
some = st.floats(0, 1, allow_subnormal=False)
shares = arrays(float, (2, 5), elements=some).filter(lambda a: (a.sum(1) > 0.01).all())


@given(shares)
def test_a_divergence_lies_between_0_and_1_and_is_the_square_of_scipys_distance(both):
    a, b = both / both.sum(1, keepdims=True)
    found = jensen_shannon(a, b)
    assert 0 <= found <= 1 + 1e-12
    assert found == pytest.approx(jensen_shannon(b, a))
    assert jensen_shannon(a, a) == pytest.approx(0, abs=1e-12)
    assert found == pytest.approx(float(jensenshannon(a, b, 2)) ** 2, abs=1e-7)


def test_divergence_by_hand():
    assert jensen_shannon(np.array([1.0, 0]), np.array([0.0, 1])) == 1
    row = of(shift_divergence(tables(TINY), 0), kind="win_rates")
    # 3/4 and 1/4 against 1/4 and 3/4: entropy of 1/2 minus that of 1/4.
    assert row["estimate"] == pytest.approx(1 + 0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert (row["stage"], row["other"], row["n_values"], row["n"]) == (1, 2, 2, 8)
    assert (row["low"], row["chance"], row["p"]) == (None, None, None)


def test_wins_are_counted_by_stage_and_rates_need_a_pair_at_both():
    ((_, group),) = duels(tables(TINY))
    c = cells(group)
    won = wins(c, c.total[None])
    assert won[0].tolist() == [[[0, 3], [1, 0]], [[0, 1], [3, 0]]]
    assert np.isnan(by_wins(won * np.array([1, 0])[:, None, None])).all()


def test_permutations_deal_whole_items_within_their_cluster():
    # Items of 1, 2, 4 ... choices: the sum at a stage tells which items are there.
    sizes = {("A", 1): 1, ("A", 2): 2, ("B", 1): 4, ("B", 2): 8, ("B", 3): 64, ("C", 1): 16}
    choices = [(*at, [0, 1], k % 2) for at, n in sizes.items() for k in range(n)]
    ((_, group),) = duels(tables(choices))
    pair, dealt = permuted(group, 1, 2, 200, np.random.default_rng(0))
    late = dealt[:, pair.stage == 1].sum((1, 2))
    assert set(late) == {1 + 4, 1 + 8, 2 + 4, 2 + 8}  # C has one stage only and stays
    assert set(dealt.sum((1, 2))) == {1 + 2 + 4 + 8 + 16}
    assert 30 < (late == 10).sum() < 70  # as it was: a quarter of the time


def test_agents_that_do_not_shift_have_rank_shifts_about_zero_and_no_divergence(play, monkeypatch):
    monkeypatch.setattr(ranking, "RESAMPLES", 300)
    run = play(*RANKED)
    table = rank_shift(load(run), 0)
    shifts = table.filter(measure="shift")
    covers = (shifts["low"] <= 0) & (shifts["high"] >= 0)
    assert len(shifts) == 6
    assert covers.sum() >= 5
    taus = table.filter(measure="tau")
    assert len(taus) == 10
    assert (taus["p_holm"] > 0.05).all()
    # Halves at one stage agree no better than halves at two: nothing shifted.
    apart = (taus["chance_same"] - taus["tau_halves"]).to_numpy()
    assert abs(apart.mean()) < 0.05
    assert (taus["tau_halves"] < taus["estimate"]).mean() > 0.5  # with half the data
    found = shift_divergence(load(run), 0)
    assert (found["p_holm"] > 0.05).all()
    assert (found["baseline_low"] < found["chance"]).all()
    assert (found["chance"] < found["baseline_high"]).all()


def test_a_planted_shift_of_one_value_is_found_at_its_stage(play, monkeypatch):
    monkeypatch.setattr(ranking, "RESAMPLES", 300)
    run = play(*RANKED, "agent.ranked.shift={5: {care: 3.0}}", "population.n_each=10")
    table = rank_shift(load(run), 0)
    gain = of(table, measure="shift", option_value="care")
    assert gain["estimate"] >= 2
    assert gain["low"] > 0
    last = of(table, measure="tau", stage=1, other=5)
    assert last["tau_halves"] < last["chance_same"] - 0.1
    for found in shift_divergence(load(run), 0).rows(named=True):
        if found["other"] == 5:
            assert found["p"] < 0.05
            assert found["low"] > 0
            assert found["corrected"] == pytest.approx(found["estimate"] - found["chance"])
        else:
            assert found["p"] > 0.05


@pytest.mark.parametrize("name", ANALYZERS)
def test_equal_tables_give_equal_results_and_figures_name_all_values(name):
    # Seven clusters of three stages.
    choices = [
        (c, s, [0, 1] if k % 2 else [1, 0], int((i + k + s) % 3 == 0))
        for i, c in enumerate("ABCDEFG")
        for s in (1, 2, 3)
        for k in range(4)
    ]
    table = ANALYZERS[name](tables(choices), 3)
    assert table.equals(ANALYZERS[name](tables(choices), 3))
    assert table["low"].null_count() < len(table)
    plots = {
        "preference": preference_plot.preference,
        "rank": rank_plot.rank_shift,
        "divergence": divergence_plot.shift_divergence,
    }
    figure = plots[name](table)
    words = " ".join(t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")))
    wanted = {"divergence": ["1–2", "1–3", "no shift"]}.get(name, ["care", "fairness"])
    assert all(word in words for word in wanted)


@pytest.mark.parametrize("name", ANALYZERS)
def test_games_without_dilemmas_give_an_empty_table(name, play):
    run = play("agent=linear", "env=svo_slider")
    table = ANALYZERS[name](load(run), 0)
    assert table.is_empty()
    assert {"estimate", "low", "high", "n_distinct", "unread", "p"} <= set(table.columns)


def test_a_figure_says_how_many_groups_it_leaves_out():
    one = preference(tables(TINY), 0)
    table = pl.concat([one.with_columns(value=pl.lit(f"v{k:02}")) for k in range(12)])
    figure = preference_plot.preference(table)
    assert len(figure.axes) == 9
    assert "9 of 12 groups" in figure.get_suptitle()

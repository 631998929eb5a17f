"""Win rates, circular triads and transitivity: by hand, by brute force, against published rates."""

from itertools import combinations, permutations, product
from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.bradley_terry import Cells, overall
from sim.analysis.intervals import wilson
from sim.analysis.tournament import (
    circular_triads,
    cyclic_share,
    expected_triads,
    most_triads,
    three_cycles,
    violations,
    zeta,
)
from sim.analysis.transitivity import (
    MEASURES,
    by_coin,
    indices,
    resampled,
    supported_cycles,
    transitivity,
)
from sim.analysis.win_rates import rates, win_rates
from sim.plots import transitivity as transitivity_plot
from sim.plots import win_rates as win_rates_plot
from sim.tables import AGENTS, DECISIONS, ITEMS, TURNS, Tables, load

# Head-to-head win rates of nine language models, transcribed by eye from a figure of Wu et al.
# 2025, "The Staircase of Ethics" (arXiv 2505.18154): the first value of each pair of `PAIRS`, all
# steps and step 5. The figure's labels of columns 13 and 14 look swapped; `PAIRS` is as printed.
VALUES = "ACFILS"  # authority, care, fairness, lIberty, loyalty, sanctity
PAIRS = ["AC", "AF", "AI", "AL", "AS", "CF", "CI", "CL", "CS", "FI", "FL", "FS", "IS", "IL",
         "LS"]  # fmt: skip
MODELS = ["deepseek", "gpt", "llama", "glm_plus", "glm_air", "qwen", "mistral", "claude",
          "gemini"]  # fmt: skip
OVERALL = [
    [30, 32, 56, 66, 28, 52, 70, 82, 59, 77, 83, 43, 53, 33, 14],
    [29, 29, 55, 64, 31, 53, 69, 81, 61, 74, 80, 44, 54, 34, 13],
    [33, 35, 54, 62, 44, 50, 67, 78, 51, 75, 81, 43, 55, 32, 26],
    [34, 32, 56, 73, 33, 51, 63, 80, 55, 74, 81, 41, 55, 34, 13],
    [23, 29, 49, 64, 33, 54, 75, 83, 66, 76, 85, 42, 53, 43, 20],
    [30, 28, 57, 68, 34, 50, 72, 83, 61, 78, 84, 41, 51, 36, 15],
    [32, 32, 60, 64, 47, 52, 68, 79, 57, 77, 78, 42, 51, 37, 24],
    [24, 29, 51, 61, 31, 52, 75, 81, 63, 75, 82, 47, 49, 41, 20],
    [30, 32, 52, 70, 45, 52, 66, 81, 63, 72, 80, 44, 57, 43, 24],
]
STEP_5 = [
    [29, 26, 56, 62, 26, 48, 68, 84, 67, 81, 86, 41, 61, 10, 41],
    [28, 29, 50, 62, 32, 50, 69, 84, 66, 73, 85, 41, 61, 20, 29],
    [32, 24, 33, 71, 48, 46, 64, 78, 52, 77, 84, 35, 61, 25, 59],
    [29, 26, 46, 57, 29, 47, 62, 82, 57, 78, 85, 35, 62, 25, 29],
    [18, 26, 44, 52, 26, 49, 74, 85, 68, 81, 87, 47, 57, 25, 47],
    [25, 26, 46, 62, 39, 46, 72, 86, 67, 81, 88, 41, 56, 25, 41],
    [29, 31, 48, 62, 52, 48, 68, 83, 66, 79, 82, 41, 53, 20, 47],
    [21, 29, 44, 52, 23, 46, 75, 84, 67, 78, 84, 47, 57, 45, 41],
    [27, 36, 50, 62, 32, 43, 65, 83, 65, 75, 86, 47, 60, 35, 35],
]


def matrices(panel, corrected):
    """Win rates (models, 6, 6) of a panel; corrected: columns 13 and 14 change places."""
    names = [*PAIRS[:12], "IL", "IS", "LS"] if corrected else PAIRS
    found = np.full((len(panel), 6, 6), np.nan)
    for k, (a, b) in enumerate(names):
        share = np.array(panel)[:, k] / 100
        i, j = VALUES.index(a), VALUES.index(b)
        found[:, i, j], found[:, j, i] = share, 1 - share
    return found


def cells_of(rate, each=100):
    """Cells of `each` duels per pair that were won as `rate` (V, V) says, half in each order."""
    pairs = list(permutations(range(len(rate)), 2))
    counts = np.array([[rate[a, b], rate[b, a]] for a, b in pairs]) * each / 2
    stage = np.zeros(len(pairs), int)
    return Cells(np.array(pairs), stage, np.array([1]), len(rate), counts[None])


def tournament(n, wins):
    """0/1 rates (n, n) of an upper triangle of wins; .5 is a tie."""
    rate = np.full((n, n), np.nan)
    for (i, j), win in zip(combinations(range(n), 2), wins, strict=True):
        rate[i, j], rate[j, i] = win, 1 - win
    return rate


def brute_triads(rate):
    """Mean number of circles over every way to break the ties."""
    n = len(rate)
    ties = [pair for pair in combinations(range(n), 2) if rate[pair] == 0.5]
    total = 0
    for way in product((0.0, 1.0), repeat=len(ties)):
        one = rate.copy()
        for (i, j), win in zip(ties, way, strict=True):
            one[i, j], one[j, i] = win, 1 - win
        total += sum(one[i, j] == one[j, k] == one[k, i] for i, j, k in combinations(range(n), 3))
    return total / 2 ** len(ties)


def counts_of(pairs, clusters=1):
    """Counts (clusters, V, V): the same wins {(winner, loser): n} in each cluster."""
    size = 1 + max(max(pair) for pair in pairs)
    counts = np.zeros((clusters, size, size))
    for pair, n in pairs.items():
        counts[:, *pair] = n
    return counts


def hand(rows):
    """Tables of (dilemma, stage, value shown first, value shown second, chosen or None)."""
    constant = dict.fromkeys(DECISIONS) | {
        "env": "d", "instrument": "bank", "agent": "k", "agent_id": "a", "method": "none",
        "context_mode": "none", "wording": "choose", "seat": "s", "step": 0,
    }  # fmt: skip
    items, decisions = {}, []
    for k, (dilemma, stage, *both, chosen) in enumerate(rows):
        item, values = f"{dilemma}/{stage}/{'-'.join(sorted(both))}", sorted(both)
        for option, value in enumerate(values):
            items[item, option] = dict.fromkeys(ITEMS) | {
                "env": "d", "instrument": "bank", "item": item, "option": option, "value": value,
                "theory": "t", "stage": stage, "cluster": dilemma,
            }  # fmt: skip
        order = [values.index(value) for value in both]
        action = None if chosen is None else values.index(chosen)
        decisions.append(
            constant | {"item": item, "episode": k, "option_order": order, "action": action}
        )
    return Tables(
        pl.DataFrame(decisions, schema=DECISIONS).lazy(),
        pl.DataFrame(schema=TURNS).lazy(),
        pl.DataFrame(list(items.values()), schema=ITEMS),
        pl.DataFrame(schema=AGENTS),
    )


def test_the_published_circles_are_three_in_eight_models_and_none_once_two_labels_are_swapped():
    printed, corrected = matrices(OVERALL, False), matrices(OVERALL, True)
    assert [len(three_cycles(rate)) for rate in printed] == [3] * 7 + [0, 3]
    assert [len(three_cycles(rate)) for rate in corrected] == [0] * 9
    step_5 = dict(zip(MODELS, map(len, map(three_cycles, matrices(STEP_5, True))), strict=True))
    assert step_5 == dict.fromkeys(MODELS, 1) | {"gpt": 0, "llama": 4, "mistral": 3}


def test_circular_triads_are_the_published_circles_and_half_of_those_that_hang_on_a_tie():
    # Llama and Qwen choose care over fairness in .50: with sanctity between, half a circle.
    half = [0, 0, 0.5, 0, 0, 0.5, 0, 0, 0]
    assert circular_triads(matrices(OVERALL, True)).tolist() == half
    printed = np.array([3] * 7 + [0, 3]) + half
    assert circular_triads(matrices(OVERALL, False)).tolist() == printed.tolist()
    assert circular_triads(matrices(STEP_5, True)).tolist() == [1, 0.5, 4, 1, 1, 1, 3, 1, 1]


def test_the_published_cyclic_shares():
    printed = cyclic_share(matrices(OVERALL, False))
    corrected = cyclic_share(matrices(OVERALL, True))
    assert [round(printed.min(), 2), round(printed.max(), 2)] == [0.11, 0.27]
    assert [round(corrected.min(), 3), round(corrected.max(), 3)] == [0.045, 0.072]


def test_bradley_terry_orders_of_the_published_rates():
    orders = dict.fromkeys(MODELS, "CFSAIL") | {
        "deepseek": "CSFAIL", "gpt": "CSFAIL", "llama": "FCSAIL", "glm_plus": "SCFAIL",
    }  # fmt: skip
    for model, rate in zip(MODELS, matrices(OVERALL, True), strict=True):
        c = cells_of(rate)
        strength = overall(c, c.total[None])[0]
        assert "".join(VALUES[k] for k in np.argsort(-strength)) == orders[model], model


def test_a_published_table_of_a_dogs_tastes():
    # David, The method of paired comparisons: six samples of food, as in R's eba::circular.
    wins = [[0, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 0], [0, 1, 0, 1, 1, 1],
            [1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 1], [0, 1, 0, 1, 0, 0]]  # fmt: skip
    rate = np.array(wins, float)
    assert circular_triads(rate) == len(three_cycles(rate)) == brute_triads(rate) == 5
    assert zeta(rate) == 0.375


@given(st.integers(3, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_the_formula_of_circular_triads_counts_what_brute_force_counts(n, data):
    pairs = comb(n, 2)
    wins = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=pairs, max_size=pairs))
    rate = tournament(n, wins)
    assert circular_triads(rate) == pytest.approx(brute_triads(rate))
    if 0.5 not in wins:
        assert circular_triads(rate) == len(three_cycles(rate)) == violations(rate)[0]


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=7, unique=True))
def test_rates_of_bradley_terry_strengths_have_no_circle_and_no_cyclic_share(strengths):
    theta = np.array(strengths)
    rate = 1 / (1 + np.exp(theta[None] - theta[:, None]))
    assert three_cycles(rate) == []
    assert violations(rate).tolist() == [0, 0, 0]  # they satisfy even strong transitivity
    share = cyclic_share(rate)
    assert np.isnan(share) or share < 1e-9


@given(st.permutations(range(6)))
def test_zeta_of_a_perfect_order_is_1(order):
    place = np.array(order)
    rate = (place[:, None] < place).astype(float)
    assert (circular_triads(rate), zeta(rate)) == (0, 1)


@pytest.mark.parametrize(("n", "most"), [(3, 1), (4, 2), (5, 5), (6, 8)])
def test_no_tournament_has_more_circles_than_the_most_and_chance_is_their_mean(n, most):
    rng = np.random.default_rng(n)
    every = product((0.0, 1.0), repeat=comb(n, 2))
    ways = list(every) if n < 6 else rng.integers(0, 2, (20_000, comb(n, 2))).astype(float)
    t = circular_triads(np.array([tournament(n, way) for way in ways]))
    assert t.max() == most_triads(n) == most
    assert t.mean() == pytest.approx(expected_triads(n), abs=1e-9 if n < 6 else 0.06)
    assert most_triads(10) == 40
    assert expected_triads(10) == 30


def test_violations_by_hand():
    # a over b .8, b over c .7: a over c must be .5, .7, .8.
    for third, expected in ((0.4, [1, 1, 1]), (0.5, [0, 1, 1]), (0.7, [0, 0, 1]), (0.8, [0] * 3)):
        assert violations(tournament(3, [0.8, third, 0.7])).tolist() == expected
    # A tie between b and c can be read either way round; the reading that violates least counts.
    assert violations(tournament(3, [0.8, 0.6, 0.5])).tolist() == [0, 0, 0]


def test_a_pure_circle_is_all_cyclic_and_a_scale_is_not():
    assert cyclic_share(tournament(3, [0.8, 0.2, 0.8])) == pytest.approx(1)
    assert np.isnan(cyclic_share(tournament(3, [0.5, 0.5, 0.5])))  # nothing to share out
    assert np.isnan(cyclic_share(tournament(3, [1.0, 0.6, 0.6])))  # no logit


def test_an_order_without_doubt_leaves_a_share_that_is_no_circle():
    for n in (3, 6, 10):
        rate = tournament(n, [0.99] * comb(n, 2))  # equal log odds, however far apart
        assert cyclic_share(rate) == pytest.approx((n - 2) / (3 * n))


def test_one_unknown_cell_makes_all_unknown():
    rate = tournament(4, [0.8, 0.2, 0.7, 0.6, 0.9, np.nan])
    found = [circular_triads(rate), zeta(rate), *violations(rate), cyclic_share(rate)]
    assert np.isnan(found).all()
    assert three_cycles(tournament(3, [0.8, np.nan, 0.8])) == []
    assert np.isnan(circular_triads(tournament(2, [1.0])))  # no triple


def test_rates_met_once_per_cluster_have_wilsons_interval():
    counts = np.concatenate([counts_of({(0, 1): 1}, 9), counts_of({(1, 0): 1}, 3)])
    found = rates(counts)
    low, high = wilson(9, 12)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((float(low), float(high)))
    assert found.low[1, 0] == pytest.approx(1 - high)
    assert found.p[0, 1] == pytest.approx(0.0833, abs=1e-4)  # z = 0.25 sqrt(48) = 1.732


def test_duels_repeated_within_clusters_do_not_narrow_the_interval():
    # Ten clusters that agree with themselves, 7 for the first: the interval of ten, not of 1,000.
    many = np.concatenate([counts_of({(0, 1): 100}, 7), counts_of({(1, 0): 100}, 3)])
    found, (low, high) = rates(many), wilson(7, 10)
    assert found.n[0, 1] == 1000
    assert found.low[0, 1] < low
    assert found.high[0, 1] > high
    # Clusters that always go the same way have no spread; they still are but ten.
    assert rates(counts_of({(0, 1): 100}, 10)).low[0, 1] < wilson(10, 10)[0]


def test_an_effective_number_of_duels_by_hand():
    # Six clusters of two duels: 2, 2, 2, 1, 1, 0 of them won. Share 8/12; squares of what is more
    # or less than 4/3: 3 * 4/9 + 2 * 1/9 + 16/9 = 30/9; variance 30/9 / 144 * 6/5 = 1/36; of plain
    # chance 2/9 / 12 = 1/54: design effect 1.5, 8 effective duels; t with 5 degrees.
    counts = np.zeros((6, 2, 2))
    counts[:, 0, 1] = [2, 2, 2, 1, 1, 0]
    counts[:, 1, 0] = 2 - counts[:, 0, 1]
    effective = 8 * (1.959964 / 2.570582) ** 2
    low, high = wilson(effective * 2 / 3, effective)
    found = rates(counts)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((float(low), float(high)), abs=1e-6)


def test_intervals_of_clustered_rates_cover_the_truth():
    rng = np.random.default_rng(3)
    clusters, duels, truth, pairs = 12, 6, 0.7, 400
    own = rng.beta(truth * 2, (1 - truth) * 2, (clusters, pairs))  # a third of the variance
    wins = rng.binomial(duels, own)
    covered = 0
    for k in range(pairs):
        counts = np.zeros((clusters, 2, 2))
        counts[:, 0, 1], counts[:, 1, 0] = wins[:, k], duels - wins[:, k]
        found = rates(counts)
        covered += found.low[0, 1] <= truth <= found.high[0, 1]
    assert 0.92 <= covered / pairs <= 0.985
    naive = [wilson(k, clusters * duels) for k in wins.sum(0)]
    assert np.mean([low <= truth <= high for low, high in naive]) < 0.9  # the data are clustered


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_p_is_below_5_percent_where_the_interval_excludes_half(seed):
    rng = np.random.default_rng(seed)
    found = rates(rng.poisson(rng.gamma(0.5, 2, (8, 4, 4))) * (1 - np.eye(4)))
    known = ~np.isnan(found.p)
    excludes = (found.low > 0.5) | (found.high < 0.5)
    assert (excludes[known] == (found.p[known] < 0.05)).all()
    assert (np.isnan(found.low) == np.isnan(found.p)).all()


def test_win_rates_by_hand():
    rows = [("d1", 1, "care", "fairness", "care"), ("d1", 1, "fairness", "care", "care"),
            ("d2", 1, "care", "fairness", "fairness"), ("d3", 2, "fairness", "care", "care"),
            ("d3", 2, "care", "fairness", None),
            ("d3", 2, "fairness", "liberty", "liberty")]  # fmt: skip
    table = win_rates(hand(rows), 0)
    assert table.select("stage", "first", "second").unique().height == 9 == table.height
    both = {row["stage"]: row for row in table.filter(first="care", second="fairness").to_dicts()}
    assert [both[s]["estimate"] for s in (None, 1, 2)] == [0.75, pytest.approx(2 / 3), 1]
    assert [both[s]["share_first"] for s in (None, 1, 2)] == [0.5, pytest.approx(2 / 3), 0]
    assert [both[s]["n"] for s in (None, 1, 2)] == [4, 3, 1]
    assert [both[s]["n_distinct"] for s in (None, 1, 2)] == [3, 2, 1]
    assert [both[s]["n_unscored"] for s in (None, 1, 2)] == [1, 0, 1]
    assert [both[s]["unread"] for s in (None, 1, 2)] == [
        pytest.approx(1 / 6),
        0,
        pytest.approx(1 / 3),
    ]
    assert both[None]["low"] is None  # three clusters
    never = table.filter(first="care", second="liberty").to_dicts()
    assert [(row["n"], row["estimate"], row["p"]) for row in never] == [(0, None, None)] * 3


def test_one_stage_has_no_rows_of_its_own():
    table = win_rates(hand([("d1", 1, "care", "fairness", "care")]), 0)
    assert table["stage"].to_list() == [None]


def planted(dilemmas=20, wrong=1):
    """a over b, b over c, c over a, and all over d, but for `wrong` dilemmas of each pair."""
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("b", "d"), ("c", "d")]
    return [
        (f"{x}{y}{k}", 1, *both, x if k >= wrong else y)
        for x, y in pairs
        for k in range(dilemmas)
        for both in ((x, y), (y, x))
    ]


def test_a_planted_circle_is_supported_and_named():
    table = transitivity(hand(planted()), 0)
    found = {
        row["measure"]: row for row in table.filter(pl.col("measure") != "win_rate").to_dicts()
    }
    assert found["circular_triads"]["estimate"] == 1
    assert found["zeta"]["estimate"] == 0.5
    assert [found[f"{kind}_violations"]["estimate"] for kind in ("wst", "mst")] == [1, 1]
    cycles = found["supported_cycles"]
    assert (cycles["estimate"], cycles["most"]) == (1, 4)
    assert cycles["cycles"] == "a > b > c > a"
    assert found["circular_triads"]["n"] == 240
    assert found["circular_triads"]["n_distinct"] == 120


def test_a_circle_within_the_noise_is_counted_but_not_supported():
    table = transitivity(hand(planted(wrong=8)), 0)
    found = {row["measure"]: row for row in table.to_dicts()}
    assert found["circular_triads"]["estimate"] == 1
    assert (found["supported_cycles"]["estimate"], found["supported_cycles"]["cycles"]) == (0, None)


def test_each_edge_of_a_supported_circle_must_hold_at_the_bonferroni_level():
    # 9 of 10 clusters: score 2.53, p .011, below .05 / 3; 17 of 24: p .041, below .05 alone.
    def ring(won, of):
        parts = [counts_of({edge: 1, (2, 2): 0}, won) for edge in ((0, 1), (1, 2), (2, 0))]
        lost = [counts_of({edge: 1, (2, 2): 0}, of - won) for edge in ((1, 0), (2, 1), (0, 2))]
        return rates(np.concatenate([*parts, *lost]))

    assert supported_cycles(ring(9, 10)) == [(0, 1, 2)]
    assert ring(17, 24).p[0, 1] == pytest.approx(0.0412, abs=1e-3)
    assert supported_cycles(ring(17, 24)) == []


def test_triples_without_five_clusters_cannot_be_tested():
    row = (
        transitivity(hand(planted(dilemmas=4)), 0).filter(measure="supported_cycles").to_dicts()[0]
    )
    assert (row["estimate"], row["most"], row["chance"]) == (None, 0, None)


def test_a_pair_that_never_met_leaves_every_index_unknown_and_the_rows_stay():
    rows = [row for row in planted() if {row[2], row[3]} != {"a", "d"}]
    table = transitivity(hand(rows), 0)
    part = table.filter(pl.col("measure").is_in(MEASURES))
    assert part.height == len(MEASURES)
    assert part["estimate"].null_count() == part["chance"].null_count() == len(MEASURES)
    assert table.filter(measure="supported_cycles")["cycles"][0] == "a > b > c > a"


def test_the_bootstrap_resamples_clusters_whole():
    counts = np.concatenate([counts_of({(0, 1): 5}, 1), counts_of({(1, 0): 5}, 1)])
    drawn = resampled(counts, 500, np.random.default_rng(0))
    assert set(drawn[:, 0, 1].tolist()) == {0, 5, 10}
    assert (drawn.sum((1, 2)) == 10).all()


def test_a_coin_for_every_duel_has_the_circles_of_chance():
    n = 9 * (1 - np.eye(6, dtype=int))
    wins = by_coin(n, 4000, np.random.default_rng(0))
    assert (wins + wins.swapaxes(1, 2) == n).all()
    found = indices(wins)
    assert found[:, 0].mean() == pytest.approx(5, abs=0.1)
    assert found[:, -1].mean() == pytest.approx(10 / 15, abs=0.02)  # circles have 10 of 15 degrees


def test_ranked_agents_make_an_order_and_coins_make_none(play):
    ranking = "[care,fairness,loyalty,authority,sanctity,liberty]"
    run = play("env=dilemmas", "theory=moral_foundations", "population=rankings",
               f"+population.rankings.a={ranking}", "population.n_each=6", "population.control=6",
               "agent=ranked", "agent.ranked.temperature=0.2")  # fmt: skip
    table = transitivity(load(run), 0).filter(pl.col("stage").is_null())
    ranked, control = table.filter(value="a"), table.filter(pl.col("value").is_null())
    assert ranked.filter(measure="zeta")["estimate"][0] == 1
    shares = [part.filter(measure="cyclic_share")["estimate"][0] for part in (ranked, control)]
    assert shares[0] < 4 / 18 < 0.3 < shares[1]  # 4/18: an order whose rates are all 0 or 1
    assert table.filter(measure="supported_cycles")["estimate"].to_list() == [0, 0]
    won = win_rates(load(run), 0).filter(pl.col("stage").is_null(), value="a", first="care")
    assert (won["low"] > 0.5).all()
    assert set(won["share_first"]) == {0.5}  # balanced orders


def test_agents_that_take_the_first_option_have_as_many_circles_as_chance(play):
    run = play("env=dilemmas", "theory=moral_foundations", "agent=always_first",
               "population=first", "population.n_each=1", "population.control=0")  # fmt: skip
    table = transitivity(load(run), 0).filter(pl.col("stage").is_null())
    found = {row["measure"]: row for row in table.to_dicts()}
    # Each dilemma in both orders: every pair is even, and so is every cluster.
    assert (found["circular_triads"]["estimate"], found["circular_triads"]["chance"]) == (5, 5)
    assert found["zeta"]["low"] is None
    assert found["cyclic_share"]["estimate"] is None
    assert found["win_rate"]["estimate"] == 0.5


def test_equal_tables_give_equal_results_and_tables_without_dilemmas_empty_ones(play):
    tables = hand(planted(wrong=8))
    assert transitivity(tables, 1).equals(transitivity(tables, 1))
    assert not transitivity(tables, 1).equals(transitivity(tables, 2))
    slider = load(play("agent=linear", "env=svo_slider"))
    for analyzer, plot in ((win_rates, win_rates_plot), (transitivity, transitivity_plot)):
        empty = analyzer(slider, 0)
        assert empty.height == 0
        assert empty.schema == analyzer(tables, 0).schema
        figure = getattr(plot, analyzer.__name__)(empty)
        assert "no data" in figure.texts[0].get_text()


def gids(figure):
    found = [artist.get_gid() for artist in figure.findobj()]
    return {name: found.count(name) for name in set(found) - {None}}


def test_the_heat_map_frames_what_excludes_half_and_greys_what_never_met():
    rows = [row for row in planted() if {row[2], row[3]} != {"a", "d"}]
    found = gids(win_rates_plot.win_rates(win_rates(hand(rows), 0)))
    assert (found["excludes .5"], found["never met"]) == (10, 2)  # of 5 pairs, and of 1
    assert "excludes .5" not in gids(win_rates_plot.win_rates(win_rates(hand(planted(wrong=8)), 0)))


def test_the_graph_points_from_winner_to_loser_and_colours_the_supported_circle():
    rows = [row for row in planted() if {row[2], row[3]} != {"a", "d"}]
    figure = transitivity_plot.transitivity(transitivity(hand(rows), 0))
    found = gids(figure)
    assert (found["cycle"], found["sure"], found["never met"]) == (3, 2, 1)
    assert found["value"] == 4
    text = " ".join(t.get_text() for t in figure.axes[0].texts)
    assert "1 of 6 pairs never met" in text
    assert "a > b > c > a" in text
    arrows = [a for a in figure.axes[0].patches if a.get_gid() in ("cycle", "sure")]
    heads = [tuple(np.round(a._posA_posB[1], 6)) for a in arrows]  # type: ignore[attr-defined]
    assert heads.count((-1.0, 0.0)) == 2  # d, the last on the circle, loses to b and to c
    assert "unsure" in gids(transitivity_plot.transitivity(transitivity(hand(planted(wrong=8)), 0)))


def test_more_groups_than_are_drawn_are_counted():
    tables = hand(planted())
    many = [tables.decisions.with_columns(value=pl.lit(f"v{k:02}")) for k in range(12)]
    several = Tables(pl.concat(many), tables.turns, tables.items, tables.agents)
    for analyzer, plot, most in (
        (win_rates, win_rates_plot.win_rates, 8),
        (transitivity, transitivity_plot.transitivity, 9),
    ):
        figure = plot(analyzer(several, 0))
        assert figure.get_suptitle() == f"{most} of 12 groups are shown; the table has all"

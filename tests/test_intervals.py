"""Intervals, p values and their corrections: by hand, against published values, by coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.intervals import (
    difference,
    holm,
    interval,
    means,
    p_value,
    quantile_interval,
    share_interval,
    wilson,
)


def mean_of(values, units=None, seed=0):
    """Means of one measure; a unit per row unless told otherwise."""
    units = np.arange(len(values)) if units is None else units
    return means(np.asarray(values, float)[:, None], units, np.random.default_rng(seed))


def missing(bounds) -> bool:
    low, high, kind = bounds
    return bool(np.isnan(low) and np.isnan(high)) and kind is None


@pytest.mark.parametrize(
    ("n", "kind"), [(0, None), (1, None), (4, None), (5, "t"), (49, "t"), (50, "bootstrap")]
)
def test_the_number_of_units_decides_the_kind_of_interval(n, kind):
    low, high, got = interval(mean_of(np.arange(n)), 0)
    assert got == kind
    assert (low < (n - 1) / 2 < high) if kind else (np.isnan(low) and np.isnan(high))


@pytest.mark.parametrize(("units", "kind"), [(1, None), (4, None), (5, "t"), (50, "bootstrap")])
def test_rows_that_share_requests_are_one_unit_however_many_they_are(units, kind):
    m = mean_of(np.repeat(np.arange(units), 20), np.repeat(np.arange(units), 20))
    assert (m.n[0], m.n_distinct[0], interval(m, 0)[2]) == (20 * units, units, kind)
    assert m.estimate[0] == pytest.approx((units - 1) / 2)


def test_copies_of_a_unit_do_not_narrow_its_interval():
    once = interval(mean_of([1, 2, 3, 4, 5, 9]), 0)
    copied = interval(mean_of(np.repeat([1, 2, 3, 4, 5, 9], 7), np.repeat(range(6), 7)), 0)
    assert copied == pytest.approx(once)


def test_a_t_interval_is_the_one_found_by_hand():
    m = mean_of([1, 2, 3, 4, 5])  # mean 3, sd 1.5811, se 0.7071, t(4) 2.7764
    assert interval(m, 0) == pytest.approx((3 - 1.96324, 3 + 1.96324, "t"), abs=1e-5)
    assert p_value(m, 0) == pytest.approx(0.013236, abs=1e-6)  # t = 4.2426


def test_units_of_several_rows_have_the_ratio_interval_found_by_hand():
    m = mean_of([1, 3, 2, 4, 6, 2], [0, 0, 1, 2, 3, 4])
    # Mean 18 / 6. Residuals of the five units' sums: 4 - 6, -1, 1, 3, -1; squares 16 in all;
    # error sqrt(16 * 5 / 4) / 6 = 0.745356, times t(4) 2.776445.
    assert interval(m, 0) == pytest.approx((3 - 2.069440, 3 + 2.069440, "t"), abs=1e-6)


def test_rows_without_a_measure_are_left_out_of_it_and_of_no_other():
    values = np.array([[1, 1], [2, np.nan], [3, 3], [4, 4], [5, 5], [np.nan, np.nan]])
    m = means(values, np.arange(6), np.random.default_rng(0))
    assert (m.n.tolist(), m.n_distinct.tolist()) == ([5, 4], [5, 4])
    np.testing.assert_allclose(m.estimate, [3, 3.25])
    assert interval(m, 0)[2] == "t" and missing(interval(m, 1))


def test_a_measure_that_nobody_has_is_unknown():
    m = mean_of([np.nan] * 60)
    assert np.isnan(m.estimate[0]) and m.n[0] == 0 and missing(interval(m, 0))
    assert np.isnan(p_value(m, 0)) and missing(share_interval(m, 0))


@pytest.mark.parametrize("n", [50, 400, 6000])
def test_the_bootstrap_of_a_plain_mean_is_near_its_normal_interval(n):
    values = np.random.default_rng(5).normal(10, 2, n)  # 6,000 units are resampled in packs
    low, high, kind = interval(mean_of(values), 0)
    half = 1.959964 * values.std() / np.sqrt(n)
    np.testing.assert_allclose([values.mean() - low, high - values.mean()], half, rtol=0.12)
    assert kind == "bootstrap"


def test_equal_seeds_give_equal_bootstraps_and_other_seeds_others():
    values = np.random.default_rng(1).normal(size=80)
    first, same, other = (interval(mean_of(values, seed=seed), 0) for seed in (3, 3, 4))
    assert first == same != other
    assert other == pytest.approx(first, abs=0.05)


def test_a_difference_has_the_welch_interval_found_by_hand():
    a, b = mean_of([1, 2, 3, 4, 5]), mean_of([2, 4, 6, 8, 10])
    # Variances 2.5 / 5 and 10 / 5; df 2.5^2 / (0.5^2 / 4 + 2^2 / 4) = 5.882; t 2.45880.
    assert difference(a, 0, b, 0) == pytest.approx((-3 - 3.887742, -3 + 3.887742, "t"), abs=1e-5)


@pytest.mark.parametrize(
    ("n", "m", "kind"), [(4, 80, None), (80, 4, None), (5, 80, "t"), (50, 80, "bootstrap")]
)
def test_the_smaller_side_of_a_difference_decides_its_kind(n, m, kind):
    got = difference(mean_of(np.arange(n), seed=1), 0, mean_of(np.arange(m), seed=2), 0)
    assert got[2] == kind and missing(got) == (kind is None)
    assert kind is None or got[0] < (n - m) / 2 < got[1]


@pytest.mark.parametrize("n", [9, 90])
def test_without_spread_there_is_neither_interval_nor_p(n):
    for value in (0.0, 1.0, 0.1 + 0.2):  # the last one's deviations are rounding
        m = mean_of([value] * n)
        assert missing(interval(m, 0)) and np.isnan(p_value(m, 0))


def test_p_values_at_their_ends():
    assert np.isnan(p_value(mean_of([1, 2, 3, 4]), 0))
    # No bootstrap mean lies at 0 or below: the least that 2,000 of them can say.
    assert p_value(mean_of(np.arange(1, 91)), 0) == pytest.approx(2 / 2001)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-9, 12), min_size=5, max_size=60).filter(lambda v: len(set(v)) > 1))
def test_p_is_below_five_percent_exactly_where_the_interval_leaves_out_zero(values):
    m = mean_of(values)
    low, high, kind = interval(m, 0)
    near = 0.01 if kind == "bootstrap" else 1e-9  # its interval interpolates between two draws
    outside, p = low > 0 or high < 0, p_value(m, 0)
    assert (p < 0.05) == outside or abs(p - 0.05) < near


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1),
    ],
)
def test_wilson_intervals_are_the_published_ones(k, n, low, high):
    # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
    np.testing.assert_allclose(wilson(k, n), [low, high], atol=5e-5)


def test_a_share_counts_units_and_has_no_interval_below_five():
    five = share_interval(mean_of([1, 1, 1, 0, 0] * 10, [0, 1, 2, 3, 4] * 10), 0)
    assert five == (*map(float, wilson(3, 5)), "wilson")
    assert missing(share_interval(mean_of([1, 1, 0, 0]), 0))
    assert np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize(
    ("n", "share", "ranks"),
    [
        (5, 0.5, None),  # the five together hold the median with 94 % only
        (6, 0.5, (1, 6)),
        (9, 0.5, (2, 8)),
        (50, 0.5, (18, 33)),
        (71, 0.95, None),
        (72, 0.95, (64, 72)),  # the first n with 1 - 0.95^n >= 0.975
    ],
)
def test_quantiles_lie_between_the_ranks_of_the_binomial_table(n, share, ranks):
    got = quantile_interval(np.random.default_rng(0).permutation(np.arange(1, n + 1)), share)
    assert missing(got) if ranks is None else got == (*ranks, "order")


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04; the last may not fall below.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.01, np.nan, 0.03], [0.02, np.nan, 0.03]),  # what was not tested does not count
        ([0.6, 0.5], [1, 1]),
        ([0.04, 0.04], [0.08, 0.08]),
        ([np.nan], [np.nan]),
        ([], []),
    ],
)
def test_holm_gives_the_hand_worked_values(p, adjusted):
    np.testing.assert_allclose(holm(p), adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p):
    got, p = holm(p), np.array(p)
    assert (got >= p).all() and (got <= np.minimum(p * len(p), 1) + 1e-15).all()
    assert (np.diff(got[np.argsort(p, kind="stable")]) >= 0).all()


def few(rng):
    return interval(mean_of(rng.uniform(size=12)), 0), 0.5


def shared(rng):
    sizes = rng.integers(1, 6, 30)
    values = np.repeat(rng.normal(size=30), sizes) + rng.normal(0, 0.3, sizes.sum())
    return interval(mean_of(values, np.repeat(np.arange(30), sizes)), 0), 0.0


def many(rng):
    return interval(mean_of(rng.uniform(size=60), seed=rng.integers(2**32)), 0), 0.5


def welch(rng):
    return difference(mean_of(rng.normal(1, 3, 10)), 0, mean_of(rng.normal(0, 1, 30)), 0), 1.0


def two_bootstraps(rng):
    first = mean_of(rng.normal(1, 3, 60), seed=rng.integers(2**32))
    return difference(first, 0, mean_of(rng.normal(0, 1, 80), seed=rng.integers(2**32)), 0), 1.0


def a_share(rng):
    return share_interval(mean_of(rng.random(40) < 0.3), 0), 0.3


def a_quantile(rng):
    return quantile_interval(rng.normal(size=60), 0.25), -0.674490


CASES = [few, shared, many, welch, two_bootstraps, a_share, a_quantile]


def coverage(case, repetitions: int) -> float:
    rng = np.random.default_rng(1)
    found = [case(rng) for _ in range(repetitions)]
    return float(np.mean([low <= truth <= high for (low, high, _), truth in found]))


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_about_as_often_as_they_say(case):
    assert 0.90 <= coverage(case, 300) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_as_often_as_they_say(case):
    assert 0.93 <= coverage(case, 5000) <= 0.97


def test_none_and_all_are_exact_bounds_of_wilsons_interval():
    for n in range(1, 200):
        assert wilson(0, n)[0] == 0
        assert wilson(n, n)[1] == 1

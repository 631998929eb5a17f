"""95 % intervals of means over units, of their differences, and of shares.

The unit is a cluster of rows that share the same requests: rows answered by one greedy request
are one observation. Fewer than 5 units (one distinct request above all) have no interval, 5 to 49
have a t interval (of the ratio of cluster sums, which with one row per unit is the usual one), 50
and more a percentile bootstrap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtri, pdtr, stdtr, stdtrit

LEVEL = 0.95
RESAMPLES = 2_000
FEWEST = 5  # units that have an interval
MANY = 50  # units from which on the bootstrap is used
_PACKS = 2_000  # units resampled at most: 16 MB of weights
# Counts of a Poisson(1) variable at 65,536 equally likely values of its distribution function.
_POISSON = np.searchsorted(pdtr(np.arange(12.0), 1.0), (np.arange(65_536) + 0.5) / 65_536)
_POISSON = _POISSON.astype(np.float32)


_ROUNDING = 1e-12


@dataclass(frozen=True)
class Means:
    """Means of m measures over the same rows, with what their intervals need.

    All arrays are (m,), but `draws` (RESAMPLES, m): the bootstrap means, None below 50 units.
    """

    estimate: np.ndarray  # NaN without rows
    error: np.ndarray  # standard error, NaN below 2 units
    n: np.ndarray  # rows that have the measure
    n_distinct: np.ndarray  # units among these
    draws: np.ndarray | None


def means(values: ArrayLike, units: ArrayLike, rng: np.random.Generator) -> Means:
    """Means of `values` (n, m), NaN where a row lacks the measure, over `units` (n,) ids."""
    values = np.asarray(values, float)
    _, index = np.unique(np.asarray(units), return_inverse=True)
    n_units = int(index.max()) + 1 if len(index) else 0
    known = ~np.isnan(values)
    sums = _by_unit(np.where(known, values, 0.0), index, n_units)
    sizes = _by_unit(known.astype(float), index, n_units)
    n, distinct = known.sum(0), (sizes > 0).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = sums.sum(0) / n
        residual = ((sums - estimate * sizes) ** 2).sum(0)
        error = np.sqrt(residual * distinct / (distinct - 1)) / n
    error[error <= _ROUNDING * np.abs(estimate)] = 0  # all alike, but for rounding
    draws = _bootstrap(sums, sizes, rng) if (distinct >= MANY).any() else None
    return Means(estimate, np.where(distinct > 1, error, np.nan), n, distinct, draws)


def redrawn(many: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `many` units is in n samples of as many, with replacement: (n, many)."""
    picks = rng.integers(many, size=(n, many)) + np.arange(n)[:, None] * many if many else 0
    # The same as `rng.multinomial`, five times as fast.
    return np.bincount(np.ravel(picks), minlength=n * many)[: n * many].reshape(n, many)


def _by_unit(columns: np.ndarray, index: np.ndarray, n_units: int) -> np.ndarray:
    out = np.zeros((n_units, columns.shape[1]))
    for j, column in enumerate(columns.T):
        out[:, j] = np.bincount(index, column, n_units)
    return out


def _bootstrap(sums: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap means (RESAMPLES, m) of the ratio of sums; units enter Poisson(1) times.

    The Poisson bootstrap is the ordinary one but that the number of units varies, which a ratio
    forgives. More than 2,000 units are dealt into 2,000 packs, resampled whole: their spread is
    the same, and 10,000 units cost no more. One draw serves all measures.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = sums.sum(0) / sizes.sum(0)
    about = np.concatenate([sums - np.nan_to_num(estimate) * sizes, sizes], axis=1)
    if len(about) > _PACKS:
        about = _by_unit(about, rng.permutation(len(about)) % _PACKS, _PACKS)
    picks = rng.integers(len(_POISSON), size=(RESAMPLES, len(about)), dtype=np.uint16)
    # Single precision is enough for what is left about the estimate.
    total = (np.take(_POISSON, picks) @ about.astype(np.float32)).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return estimate + total[:, : sums.shape[1]] / total[:, sums.shape[1] :]


def interval(m: Means, j: int) -> tuple[float, float, str | None]:
    """(low, high, "t" | "bootstrap" | None) of measure `j`; NaN bounds without an interval."""
    return _bounds(m.estimate[j], m.error[j], m.n_distinct[j] - 1, _draws(m, j), m.n_distinct[j])


def difference(a: Means, i: int, b: Means, j: int) -> tuple[float, float, str | None]:
    """Interval of measure `i` of `a` minus measure `j` of `b`, of different rows.

    Independent bootstraps where both have 50 units (`a` and `b` of different generators), else
    Welch's t; none where either has fewer than 5.
    """
    first, second = _draws(a, i), _draws(b, j)
    draws = first - second if first is not None and second is not None else None
    squares = np.array([a.error[i] ** 2, b.error[j] ** 2])
    degrees = np.array([a.n_distinct[i], b.n_distinct[j]]) - 1
    total = squares.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        df = total**2 / (squares**2 / degrees).sum() if total > 0 else degrees.sum()
    estimate = a.estimate[i] - b.estimate[j]
    return _bounds(estimate, np.sqrt(total), df, draws, degrees.min() + 1)


def p_value(m: Means, j: int) -> float:
    """Two-sided p of "the mean of measure `j` is 0", dual to its interval; NaN without one."""
    if m.n_distinct[j] < FEWEST or not m.error[j] > 0:
        return np.nan
    draws = _draws(m, j)
    if draws is not None:
        tail = min((draws <= 0).sum(), (draws >= 0).sum())
        return float(min(1.0, 2 * (tail + 1) / (len(draws) + 1)))
    return float(2 * stdtr(m.n_distinct[j] - 1, -abs(m.estimate[j] / m.error[j])))


def _draws(m: Means, j: int) -> np.ndarray | None:
    return None if m.draws is None or m.n_distinct[j] < MANY else m.draws[:, j]


def _bounds(estimate, error, df, draws, units) -> tuple[float, float, str | None]:
    if units < FEWEST or not error > 0:  # no spread tells nothing about the spread
        return np.nan, np.nan, None
    if draws is not None:
        low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high), "bootstrap"
    half = stdtrit(df, (1 + LEVEL) / 2) * error
    return float(estimate - half), float(estimate + half), "t"


def wilson(k: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of the share k / n; `k` may be fractional; NaN where n is 0."""
    k, n = np.asarray(k, float), np.where(np.asarray(n) > 0, np.asarray(n, float), np.nan)
    z = ndtri((1 + LEVEL) / 2)
    middle = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(np.maximum(k * (n - k) / n, 0) + z**2 / 4)
    # None and all are bounds themselves, not what rounding makes of them.
    low = np.where(k <= 0, 0 * middle, np.maximum(middle - half, 0.0))
    return low, np.where(k >= n, 1 + 0 * middle, np.minimum(middle + half, 1.0))


def share_interval(m: Means, j: int) -> tuple[float, float, str | None]:
    """Wilson interval of measure `j`, a share 0..1, counting units; none below 5 units."""
    units = m.n_distinct[j]
    if units < FEWEST:
        return np.nan, np.nan, None
    low, high = wilson(m.estimate[j] * units, units)
    return float(low), float(high), "wilson"


def quantile_interval(values: ArrayLike, share: float) -> tuple[float, float, str | None]:
    """Interval of a quantile from order statistics of independent `values` (n,), no NaN.

    Distribution-free (binomial ranks), "order"; none where the sample holds no such bound.
    """
    values = np.sort(np.asarray(values, float))
    n = len(values)
    below = bdtr(np.arange(n + 1, dtype=float), n, share)
    low = int(np.searchsorted(below, (1 - LEVEL) / 2))
    high = int(np.searchsorted(below, (1 + LEVEL) / 2)) + 1
    if n < FEWEST or low < 1 or high > n:
        return np.nan, np.nan, None
    return float(values[low - 1]), float(values[high - 1]), "order"


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's step-down adjusted p values, shape of `p` (n,); NaN stays NaN and is not counted."""
    p = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    out = np.full(len(p), np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out

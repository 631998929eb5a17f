"""Association of two scores of the same people, and its interval."""

from collections.abc import Callable

import numpy as np

from sim.analysis.intervals import FEWEST, LEVEL, MANY
from sim.analysis.jackknife import NONE, Bounds, bounds, correlation_bounds
from sim.analysis.scores import cell

RESAMPLES = 1_000
Score = Callable[[np.ndarray], float]


def associated(
    at: np.ndarray,
    unit: np.ndarray,
    score: Score,
    rng: np.random.Generator,
    bounds: Callable[[float, np.ndarray], Bounds] = correlation_bounds,
) -> dict:
    """Estimate and interval of a score, columns of a result row.

    From 50 units on the percentiles of a bootstrap, which with fewer are too narrow; from 5 to 49
    a jackknife. In 4,000 studies of normal scores the latter covered correlations of 0, 0.5 and 0.9
    in 94 to 95 % with 5 to 40 units, rank correlations in 95 to 98 % (99 % and more with 5 to 8),
    Cohen's kappa in 94 to 99 %. What has no spread (all agree, ranks equal) has no interval.

    Args:
        at: (n,) rows that count.
        unit: id of the unit of every row; units are resampled or left out whole.
        score: rows (repeated ones too) -> number, NaN where it is not defined.
        rng: of the resamples.
        bounds: of the jackknife.
    """
    units, index = np.unique(unit[at], return_inverse=True)
    index = index.ravel()
    found = {"estimate": cell(score(at)) if len(at) else None, "low": None, "high": None}
    found |= {"interval": None, "n": len(at), "n_distinct": len(units)}
    if len(units) < FEWEST or found["estimate"] is None:
        return found
    if len(units) < MANY:
        without = np.array([score(at[index != k]) for k in range(len(units))])
        low, high, kind = bounds(found["estimate"], without)
    else:
        low, high, kind = _bootstrap(at, index, score, rng)
    return found | {"low": cell(low), "high": cell(high), "interval": kind}


def _bootstrap(at: np.ndarray, index: np.ndarray, score: Score, rng) -> Bounds:
    """Percentiles over resampled units, `index` (n,) of each row."""
    sizes = np.bincount(index)
    places = np.split(np.argsort(index, kind="stable"), np.cumsum(sizes)[:-1])
    draws = np.full(RESAMPLES, np.nan)
    for k in range(RESAMPLES):
        pick = rng.integers(len(sizes), size=len(sizes))
        draws[k] = score(at[np.concatenate([places[i] for i in pick])])
    draws = draws[~np.isnan(draws)]
    if len(draws) < RESAMPLES // 2 or np.ptp(draws) == 0:
        return NONE
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), "bootstrap"


def kappa_bounds(estimate: float, without: np.ndarray) -> Bounds:
    """Jackknife interval of Cohen's kappa, cut to -1..1."""
    low, high, kind = bounds(estimate, without)
    return max(low, -1.0), min(high, 1.0), kind


def group_means(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean of each row's group, of each column: (n, m) from `x` (n, m) and `group` (n,)."""
    _, index = np.unique(group, return_inverse=True)
    sums = np.stack([np.bincount(index, column) for column in x.T], axis=1)
    return (sums / np.bincount(index)[:, None])[index]


def pearson(x: np.ndarray) -> float:
    """Correlation of the two columns of (n, 2); NaN where one does not vary."""
    deviation = x - x.mean(0)
    size = np.sqrt((deviation**2).sum(0))
    if (size <= 1e-9).any():
        return np.nan
    return float((deviation[:, 0] * deviation[:, 1]).sum() / size.prod())


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks within each column, equals at their mean; numbers equal to 1e-9 are."""
    columns = []
    for column in x.T:
        _, index, counts = np.unique(column.round(9), return_inverse=True, return_counts=True)
        columns.append((np.cumsum(counts) - (counts - 1) / 2)[index.ravel()])
    return np.stack(columns, axis=1)


def same(x: np.ndarray) -> float:
    """Share of rows whose two categories are equal."""
    return float((x[:, 0] == x[:, 1]).mean())


def expected(x: np.ndarray) -> float:
    """Share of equal categories if the two instruments were independent."""
    return float(sum((x[:, 0] == k).mean() * (x[:, 1] == k).mean() for k in np.unique(x)))


def kappa(x: np.ndarray) -> float:
    """Cohen's kappa (1960) of two categories (n, 2); NaN where all are of one."""
    by_lot = expected(x)
    return (same(x) - by_lot) / (1 - by_lot) if by_lot < 1 - 1e-12 else np.nan

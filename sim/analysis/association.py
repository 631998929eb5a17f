"""Association of two scores of the same people, and its interval by resampling them."""

from collections.abc import Callable

import numpy as np

from sim.analysis.intervals import FEWEST, LEVEL
from sim.analysis.scores import cell

RESAMPLES = 1_000
Score = Callable[[np.ndarray], float]


def bootstrap(at: np.ndarray, unit: np.ndarray, score: Score, rng: np.random.Generator) -> dict:
    """Estimate and percentile interval of a score, columns of a result row.

    Args:
        at: (n,) rows that count.
        unit: id of the unit of every row; units are resampled whole.
        score: rows (repeated ones too) -> number, NaN where it is not defined.
        rng: of the resamples.
    """
    units, index = np.unique(unit[at], return_inverse=True)
    found = {"estimate": cell(score(at)) if len(at) else None, "low": None, "high": None}
    found |= {"interval": None, "n": len(at), "n_distinct": len(units)}
    if len(units) < FEWEST or found["estimate"] is None:
        return found
    places = np.split(np.argsort(index.ravel(), kind="stable"), np.cumsum(np.bincount(index))[:-1])
    draws = np.full(RESAMPLES, np.nan)
    for k in range(RESAMPLES):
        pick = rng.integers(len(units), size=len(units))
        draws[k] = score(at[np.concatenate([places[i] for i in pick])])
    draws = draws[~np.isnan(draws)]
    if len(draws) < RESAMPLES // 2 or np.ptp(draws) == 0:
        return found
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return found | {"low": float(low), "high": float(high), "interval": "bootstrap"}


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

"""Ratios of sums over clusters, and what each cluster adds to them.

The influence of a cluster is what the estimate would lose without it, to first order; estimates
that are differences have differences of influences, so that what is paired stays paired.
"""

import numpy as np
from scipy.special import stdtr, stdtrit

from sim.analysis.intervals import FEWEST, LEVEL


def ratio(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of `part` over sum of `whole`, both (clusters, ...).

    Returns:
        estimate (...), NaN where the whole is 0; influence (clusters, ...), 0 there.
    """
    total = whole.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = part.sum(0) / total
        influence = (part - estimate * whole) / total
    return estimate, np.where(total > 0, influence, 0.0)


def told(estimate: float, influence: np.ndarray, clusters: int) -> dict:
    """Columns of an estimate with its t interval over clusters and p of 0; none below 5 of them.

    Args:
        estimate: NaN where unknown.
        influence: (clusters,) of those that add to it, 0 for all others.
        clusters: how many add to it.
    """
    error = np.sqrt((influence**2).sum() * clusters / max(clusters - 1, 1))
    return t_columns(estimate, float(error), clusters)


def t_columns(estimate: float, error: float, clusters: int, sure: bool = True) -> dict:
    """Columns of an estimate and its standard error; no interval unless it is `sure`."""
    if np.isnan(estimate):
        return {"estimate": None, "interval": None}
    if not sure or clusters < FEWEST or not error > 1e-12:
        return {"estimate": float(estimate), "interval": None}
    half = stdtrit(clusters - 1, (1 + LEVEL) / 2) * error
    return {
        "estimate": float(estimate),
        "low": float(estimate - half),
        "high": float(estimate + half),
        "interval": "t",
        "p": float(2 * stdtr(clusters - 1, -abs(estimate / error))),
    }

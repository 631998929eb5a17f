"""95 % intervals from estimates that leave one unit out each.

For estimates that are no means, of few units: percentiles of a bootstrap over five covered 86 to
92 % of slopes, R2 and correlations, since resamples repeat units and so look less noisy. `python -m
sim.calibrate` prints how often these cover.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from sim.analysis.intervals import FEWEST, LEVEL

Bounds = tuple[float, float, str | None]
NONE: Bounds = (np.nan, np.nan, None)
_SHARP = 1e-12  # a correlation this close to 1 or -1 has no noise to be measured


def errors(without: np.ndarray) -> np.ndarray:
    """Standard errors (m,) of m estimates, from those (n, m) without one of n units each."""
    n = len(without)
    return np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))


def half_width(error: ArrayLike, n: int) -> np.ndarray:
    """Half of the t interval of estimates with these errors, from `n` units."""
    return stdtrit(n - 1, (1 + LEVEL) / 2) * np.asarray(error)


def bounds(estimate: float, without: np.ndarray) -> Bounds:
    """(low, high, "jackknife") of an estimate, or NaN and None.

    Args:
        estimate: of all units.
        without: (n,) estimates without one unit each.

    Returns:
        None below 5 units, without a spread, or where an estimate is not defined without one of
        the units (NaN).
    """
    error = _error(estimate, without)
    if np.isnan(error):
        return NONE
    half = half_width(error, len(without))
    return float(estimate - half), float(estimate + half), "jackknife"


def correlation_bounds(estimate: float, without: np.ndarray) -> Bounds:
    """As `bounds`, of a correlation: symmetric in Fisher's z, so within -1..1.

    None where the correlation is 1 or -1 itself.
    """
    error = _error(estimate, without)
    if np.isnan(error) or 1 - abs(estimate) < _SHARP:
        return NONE
    half = half_width(error / (1 - estimate**2), len(without))
    low, high = np.tanh(np.arctanh(estimate) + np.array([-half, half]))
    return float(low), float(high), "jackknife"


def _error(estimate: float, without: np.ndarray) -> float:
    """Standard error; NaN where it says nothing."""
    if len(without) < FEWEST or np.isnan(estimate) or np.isnan(without).any():
        return np.nan
    error = float(errors(without))
    return error if error > 1e-12 * max(1.0, abs(estimate)) else np.nan

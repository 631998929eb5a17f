"""Populations whose target angles follow a distribution: a grid, a normal one, or people.

All members of one share a value, the population's name, and differ in their targets: analyzers
take them as one group with an angle for each.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from agents.base import Member
from agents.theory import CONTROL, Theory, check_angle


def by_grid(theory: Theory, name: str, n: int, low: float, high: float) -> list[Member]:
    """`n` members at equal steps from `low` to `high`, degrees, both included.

    Over the whole circle both ends are one angle, which only one member has: the steps then go
    round and end one before `high`.

    Args:
        theory: names nothing here; it is handed to every kind of population.
        name: of the population, the value of all members.
        n: 1 or more; a single member stands in the middle.
        low: degrees, within -180..180.
        high: degrees, not below `low`.
    """
    low, high = check_angle("low", low), check_angle("high", high)
    if low > high:
        raise ValueError(f"low must not be above high, got {low:g} and {high:g}")
    n = _whole("n", n, 1)
    ends = high - low < 360
    angles = np.linspace(low, high, n, endpoint=ends) if n > 1 else np.array([(low + high) / 2])
    return _members(name, angles)


def by_normal(
    theory: Theory, name: str, n: int, mean: float, sd: float, seed: int | None
) -> list[Member]:
    """`n` members of a normal distribution of angles.

    Args:
        theory: as in `by_grid`.
        name: as in `by_grid`.
        n: 1 or more.
        mean: degrees.
        sd: degrees, above 0.
        seed: of draws; None takes the quantiles (k + 1/2) / n instead, which differ least from
            the distribution.

    Raises:
        ValueError: an angle lies outside -180..180: the normal would have to be wrapped.
    """
    mean = check_angle("mean", mean)
    if isinstance(sd, bool) or not isinstance(sd, int | float) or not 0 < sd <= 180:
        raise ValueError(f"sd must lie above 0, up to 180 degrees, got {sd!r}")
    normal = NormalDist(mean, sd)
    angles = np.array([normal.inv_cdf(u) for u in _levels(n, seed).tolist()])
    for angle in angles.tolist():
        check_angle("every angle of the normal distribution", angle)
    return _members(name, angles)


def by_percentiles(
    theory: Theory, name: str, n: int, percentiles: Sequence[float], seed: int | None
) -> list[Member]:
    """`n` members of an empirical distribution of angles.

    Args:
        theory: as in `by_grid`.
        name: as in `by_grid`.
        n: 1 or more.
        seed: as in `by_normal`.
        percentiles: angles at equal steps of probability from 0 to 1, ascending, degrees; linear
            between two, so that an angle which several percentiles share stays shared.
    """
    if not isinstance(percentiles, Sequence) or isinstance(percentiles, str):
        raise ValueError(f"percentiles must be a list of angles, got {percentiles!r}")
    angles = np.array([check_angle("percentile", angle) for angle in percentiles])
    if len(angles) < 2 or (np.diff(angles) < 0).any():
        raise ValueError(f"percentiles must be two ascending angles or more, got {len(angles)}")
    return _members(name, np.interp(_levels(n, seed), np.linspace(0, 1, len(angles)), angles))


def _levels(n: int, seed: int | None) -> NDArray[np.float64]:
    """Probabilities within 0..1, never 0 itself."""
    n = _whole("n", n, 1)
    if seed is None:
        return (np.arange(n) + 0.5) / n
    return np.maximum(np.random.default_rng(_whole("seed", seed, 0)).random(n), 1e-12)


def _members(name: str, angles: NDArray[np.float64]) -> list[Member]:
    if not isinstance(name, str) or not name.strip() or name == CONTROL:
        raise ValueError(
            f"name must be a word of its own, {CONTROL!r} means no orientation, got {name!r}"
        )
    width = len(str(len(angles) - 1))
    return [Member(f"{name}-{k:0{width}d}", name, a) for k, a in enumerate(angles.tolist())]


def _whole(name: str, got: object, least: int) -> int:
    if isinstance(got, bool) or not isinstance(got, int) or got < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, got {got!r}")
    return got

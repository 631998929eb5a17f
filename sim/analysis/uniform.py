"""What answers drawn uniformly at random measure: the chance level of every angle score."""

import numpy as np

from sim.analysis.attainable import vectors
from sim.analysis.memo import remember

ENUMERATED = 2_000_000  # answer vectors; above, a Monte Carlo sample stands for them
DRAWS = 100_000


@remember(size=64)
def uniform_angles(options, centre, radius) -> tuple[np.ndarray, np.ndarray, bool]:
    """Angles (degrees, ascending, to 1e-9) that uniform responders measure, and their weights.

    Args:
        options: payoffs (items, options, 2); NaN pads items with fewer options.
        centre: (items, 2) or (2,), payoffs.
        radius: (items,) or scalar, payoffs.

    Returns:
        angles and weights, each (n,), the weights summing to 1 over the answer vectors that have
        an angle; and whether all vectors were enumerated (else 100,000 draws of a fixed seed).
    """
    sums, exact = uniform_sums(options, centre, radius)
    sums = sums[np.hypot(*sums.T) > 1e-12]  # the centre itself has no angle
    angles = np.degrees(np.arctan2(sums[:, 1], sums[:, 0])).round(9)
    angles, counts = np.unique(angles, return_counts=True)
    return angles, counts / max(counts.sum(), 1), exact


def uniform_sums(options, centre, radius) -> tuple[np.ndarray, bool]:
    """Summed choices (n, 2) of uniform responders, in radii; whether that is every answer vector.

    Arguments as in `uniform_angles`.
    """
    centre = np.broadcast_to(centre, (len(options), 2))
    radius = np.broadcast_to(radius, len(options))
    items = [
        vectors(item[~np.isnan(item[:, 0])][:, None], middle[None], [size])[:, 0]
        for item, middle, size in zip(options, centre, radius, strict=True)
    ]
    exact = np.prod([float(len(v)) for v in items]) <= ENUMERATED
    return _all(items) if exact else _some(items), bool(exact)


def _all(items: list[np.ndarray]) -> np.ndarray:
    sums = np.zeros((1, 2))
    for item in items:
        sums = (sums[:, None] + item).reshape(-1, 2)
    return sums


def _some(items: list[np.ndarray]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.sum([v[rng.integers(len(v), size=DRAWS)] for v in items], axis=0)

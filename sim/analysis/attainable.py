"""Which angles an instrument can measure: of anyone, and of a perfect agent.

Arcs are (low, high) in degrees, low <= high < low + 360; high may exceed 180 where the arc
crosses it. The whole circle is (-180, 180).
"""

import numpy as np
from numpy.typing import ArrayLike

from sim.analysis.memo import remember

_ZERO = 1e-12  # of vectors in units of the radius: rounding, not distance
TOLERANCE = 1 / 50  # in units of the radius: one point on the slider, whose radius is 50


def vectors(points: ArrayLike, centre: ArrayLike, radius: ArrayLike) -> np.ndarray:
    """Payoffs `points` (..., items, 2) as vectors from `centre`, in units of `radius` (items,)."""
    size = np.broadcast_to(np.asarray(radius, float), np.shape(points)[-2:-1])
    return (np.asarray(points, float) - np.asarray(centre, float)) / size[:, None]


def attainable(
    options: ArrayLike,
    centre: ArrayLike,
    radius: ArrayLike,
    target: ArrayLike,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Arc (low, high) of the angles that maximisers of the target's utility measure.

    Args:
        options: payoffs (items, options, 2), own and others'; NaN pads items with fewer options.
        centre: (items, 2) or (2,), payoffs about which the angle is measured.
        radius: (items,) or scalar, payoffs.
        target: any shape, degrees; the utility is cos(target) own + sin(target) others'.
        tolerance: in units of the item's radius, so that an instrument's scale does not count;
            options so close to an item's best utility may be chosen either way. 1e-9 leaves exact
            ties only.

    Returns:
        low and high, each of the shape of `target`.
    """
    low, high = _attainable(options, centre, radius, target, tolerance)
    return low.copy(), high.copy()


@remember(size=256)
def _attainable(options, centre, radius, target, tolerance):
    t = np.radians(target.ravel())
    direction = np.stack([np.cos(t), np.sin(t)], -1)
    utility = np.einsum("tc,ikc->tik", direction, options)
    utility = np.where(np.isnan(utility), -np.inf, utility)
    slack = tolerance * np.broadcast_to(radius, len(options))[:, None]
    allowed = utility >= utility.max(-1, keepdims=True) - slack
    low, high = _arc(_item_vectors(options, centre, radius), allowed)
    return low.reshape(target.shape), high.reshape(target.shape)


@remember(size=256)
def angle_range(options, centre, radius) -> tuple[float, float]:
    """Arc (low, high) of all angles that the instrument allows; arguments as in `attainable`."""
    allowed = ~np.isnan(options[..., 0])
    low, high = _arc(_item_vectors(options, centre, radius), allowed[None])
    return float(low[0]), float(high[0])


def _item_vectors(options, centre, radius) -> np.ndarray:
    centre = np.broadcast_to(centre, (len(options), 2))
    radius = np.broadcast_to(radius, len(options))
    return np.nan_to_num((options - centre[:, None]) / radius[:, None, None])


def _arc(options: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arc of the sums of one allowed option per item; allowed is (targets, items, options)."""
    start = _sum(options, allowed.argmax(-1))
    middle = np.degrees(np.arctan2(start[:, 1], start[:, 0]))
    up, down = (_farthest(options, allowed, start, sign) for sign in (1, -1))
    circle = (np.hypot(*start.T) < _ZERO) | (up > 180 + 1e-9) | (down > 180 + 1e-9)
    return np.where(circle, -180.0, middle - down), np.where(circle, 180.0, middle + up)


def _farthest(options, allowed, start, sign) -> np.ndarray:
    """Degrees from `start` (targets, 2) to the extreme angle on one side; above 180: no extreme.

    Dinkelbach's method for a ratio: of all sums, the one that lies farthest to the side of the
    present direction; exact after finitely many turns, as items are maximised one by one.
    """
    here, total = start, np.zeros(len(start))
    for _ in range(allowed.shape[1] * allowed.shape[2] + 2):
        norm = np.maximum(np.hypot(*here.T), _ZERO)
        side = sign * np.stack([-here[:, 1], here[:, 0]], -1) / norm[:, None]
        reach = np.where(allowed, np.einsum("tc,ikc->tik", side, options), -np.inf)
        there = _sum(options, reach.argmax(-1))
        across = (side * there).sum(-1)
        along = (here * there).sum(-1) / norm
        moves = (across > 1e-11) & (total <= 180 + 1e-9)
        if not moves.any():
            break
        total = total + np.where(moves, np.degrees(np.arctan2(across, along)), 0.0)
        here = np.where(moves[:, None], there, here)
    return total


def _sum(options: np.ndarray, pick: np.ndarray) -> np.ndarray:
    return options[np.arange(len(options)), pick].sum(1)

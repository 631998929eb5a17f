"""Angles of choices between own and others' payoffs, and how far they are from an assigned one.

Pure functions on arrays; degrees, 0 = own payoff only, 90 = others' only. NaN is unknown and
stays unknown. On the slider measure the angle is the published one (Murphy, Ackermann & Handgraaf
2011, Judgment and Decision Making 6(8), 771-781); value rationality is ours.
"""

import numpy as np
from numpy.typing import ArrayLike

from sim.analysis.attainable import angle_range, attainable, vectors
from sim.analysis.uniform import uniform_angles

__all__ = [
    "angle",
    "angle_range",
    "attainable",
    "circular_distance",
    "distance_to_arc",
    "uniform_angles",
    "value_rationality",
]


def angle(points: ArrayLike, centre: ArrayLike, radius: ArrayLike) -> np.ndarray:
    """Angle of the summed choices, degrees in (-180, 180].

    Args:
        points: chosen payoffs (..., items, 2), own and others'.
        centre: (items, 2) or (2,), payoffs about which the angle is measured.
        radius: (items,) or scalar; items of different scale count alike.

    Returns:
        (...); NaN where any item is NaN or the choices sum to the centre.
    """
    total = vectors(points, centre, radius).sum(-2)
    unknown = np.isnan(total).any(-1) | (np.hypot(total[..., 0], total[..., 1]) < 1e-12)
    return np.where(unknown, np.nan, np.degrees(np.arctan2(total[..., 1], total[..., 0])))


def circular_distance(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Distance of two angles on the circle, degrees in [0, 180]."""
    return np.abs((np.asarray(a, float) - np.asarray(b, float) + 180) % 360 - 180)


def distance_to_arc(angle: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Circular distance of angles to the arc from `low` up to `high`; 0 inside; degrees."""
    low, width = np.asarray(low, float), np.subtract(high, low)
    after = (np.asarray(angle, float) - low) % 360
    outside = np.minimum(after - width, 360 - after)
    return np.where(np.isnan(after), np.nan, np.where(after <= width, 0.0, outside))


def value_rationality(
    angle: ArrayLike, target: ArrayLike, options: ArrayLike, centre: ArrayLike, radius: ArrayLike
) -> np.ndarray:
    """1 - distance to the target's attainable arc / the largest distance the instrument allows.

    Args:
        angle: measured, degrees.
        target: assigned, degrees; broadcasts with `angle`.
        options: payoffs (items, options, 2), NaN-padded; with `centre` and `radius` the instrument.
        centre: (items, 2) or (2,).
        radius: (items,) or scalar.

    Returns:
        in [0, 1], 1 for a perfect agent; NaN where angle or target is NaN, or where the
        instrument cannot tell the target from its opposite.
    """
    target = np.asarray(target, float)
    distinct, inverse = np.unique(np.nan_to_num(target), return_inverse=True)
    low, high = attainable(options, centre, radius, distinct)
    largest = _largest_distance(low, high, *angle_range(options, centre, radius))
    largest = np.where(largest > 1e-9, largest, np.nan)
    low, high, largest = (x[inverse.reshape(target.shape)] for x in (low, high, largest))
    return np.where(np.isnan(target), np.nan, 1 - distance_to_arc(angle, low, high) / largest)


def _largest_distance(low, high, first: float, last: float) -> np.ndarray:
    """Largest distance to the arcs [low, high] of any angle from `first` up to `last`."""
    opposite = (low + high) / 2 + 180
    reached = (opposite - first) % 360 <= last - first
    ends = np.maximum(distance_to_arc(first, low, high), distance_to_arc(last, low, high))
    return np.where(reached, 180 - (high - low) / 2, ends)

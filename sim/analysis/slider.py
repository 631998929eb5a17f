"""Scores of the SVO slider measure beside its angle.

Source: Murphy, Ackermann & Handgraaf (2011), Judgment and Decision Making 6(8), 771-781, as in
the authors' scorer SVO_Slider.m (19 Sep 2011). NaN marks an answer that could not be read.
"""

import numpy as np
from numpy.typing import ArrayLike

MOTIVES = ("altruistic", "prosocial", "individualistic", "competitive")
CANONICAL = (90.0, 45.0, 0.0, -45.0)  # degrees, of the motives
_LOWEST = (57.15, 22.45, -12.04)  # degrees, inclusive, of the first three motives

# Ideal options 1..9 of items 7..15; NaN where every option has the same joint sum.
_IDEAL = np.array(
    [
        [6, 5, 4, 7, 5, 8, 5, 3, 2],  # inequality aversion
        [9, np.nan, 1, 9, np.nan, 9, np.nan, 1, 1],  # joint gain
        [1, 9, 1, 1, 9, 9, 9, 1, 9],  # individualist
        [9, 1, 9, 9, 1, 1, 1, 9, 1],  # altruist
    ]
)
# Distance from the ideals that option 1..9 of an item adds, (9 items, 9 options, 4 motives), in
# 144ths of the whole: 8 steps and 9 or 6 items. Whole numbers, so that ties are exact.
STEPS = np.nan_to_num(np.abs(np.arange(1, 10)[None, :, None] - _IDEAL.T[:, None]))
STEPS = (STEPS * [2, 3, 2, 2]).astype(int)


def category(angle: ArrayLike) -> np.ndarray:
    """Motive of each angle (degrees), as an object array; None where the angle is NaN."""
    angle = np.asarray(angle, float)
    names = np.array([*MOTIVES, None], dtype=object)
    index = np.sum([angle < bound for bound in _LOWEST], axis=0)
    return names[np.where(np.isnan(angle), len(MOTIVES), index)]


def transitivity(
    chosen: ArrayLike, endpoints: ArrayLike, poles: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Wins of the motives, and whether the choices order them without a cycle.

    On each item the motive of the nearer endpoint (Euclidean, payoffs) beats the other's; an
    exact tie gives each half a win and no order.

    Args:
        chosen: payoffs (..., items, 2).
        endpoints: payoffs (items, 2, 2) of the first and the last option.
        poles: (items, 2), index into `MOTIVES` of what these stand for.

    Returns:
        wins (..., 4); acyclic (...) as float, 1 or 0. Both NaN where any item is unread.
    """
    chosen, poles = np.asarray(chosen, float), np.asarray(poles, int)
    gap = ((chosen[..., None, :] - np.asarray(endpoints, float)) ** 2).sum(-1)
    lead = gap[..., 1] - gap[..., 0]  # above 0: the first endpoint is nearer
    unread = np.isnan(lead).any(-1)
    first, second = lead > 1e-9, lead < -1e-9
    wins = np.zeros((*unread.shape, 4))
    beats = np.zeros((*unread.shape, 4, 4), dtype=np.float32)
    for i, (a, b) in enumerate(poles):
        wins[..., a] += np.where(first[..., i], 1, np.where(second[..., i], 0, 0.5))
        wins[..., b] += np.where(second[..., i], 1, np.where(first[..., i], 0, 0.5))
        beats[..., a, b] += first[..., i]
        beats[..., b, a] += second[..., i]
    paths = beats + beats @ beats
    paths = paths + paths @ paths  # all paths of up to four steps: no cycle of motives is longer
    acyclic = np.einsum("...ii->...", paths) == 0
    return np.where(unread[..., None], np.nan, wins), np.where(unread, np.nan, acyclic)


def rank_order(wins: ArrayLike, acyclic: ArrayLike) -> np.ndarray:
    """Motives by falling wins, such as "P>A=I>C" (initials; equals in the order A, P, I, C).

    `wins` (n, 4) and `acyclic` (n,) as `transitivity` gives them; object array (n,), None unless
    the choices are transitive.
    """
    rows, inverse = np.unique(np.asarray(wins, float), axis=0, return_inverse=True)
    names = np.array([_order(row) for row in rows] + [None], dtype=object)
    return names[np.where(np.asarray(acyclic) == 1, inverse.ravel(), len(rows))]


def _order(wins: np.ndarray) -> str:
    initials = [m[0].upper() for m in MOTIVES]
    levels = sorted(set(wins.tolist()), reverse=True)
    return ">".join(
        "=".join(m for m, w in zip(initials, wins, strict=True) if w == x) for x in levels
    )


def inequality_aversion(options: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Distances to four motives and the inequality-aversion index of the secondary items.

    Args:
        options: (..., 9), canonical option 0..8 of items 7 to 15; NaN where unread.

    Returns:
        distance (..., 4) to inequality aversion, joint gain, individualist, altruist, each a share
        0..1 of the item's length; index (...) in [0, 1], 0 pure inequality aversion, 1 pure joint
        gain, NaN unless these two are the nearest (ties stand in the order above). NaN if unread.
    """
    options = np.asarray(options, float)
    unread = np.isnan(options)
    whole = STEPS[np.arange(9), np.where(unread, 0, options).astype(int)].sum(-2)
    whole = np.where(unread.any(-1, keepdims=True), np.nan, whole)
    return whole / 144, aversion_index(whole)


def aversion_index(whole: np.ndarray) -> np.ndarray:
    """The inequality-aversion index (...) of distances (..., 4) in 144ths, NaN where unread."""
    nearest = np.argsort(whole, axis=-1, kind="stable")[..., :2]
    defined = (nearest < 2).all(-1)
    return whole[..., 0] / np.where(defined, whole[..., 0] + whole[..., 1], np.nan)

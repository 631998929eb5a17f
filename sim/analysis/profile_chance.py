"""What uniform responders show in an SVO profile."""

from functools import cache
from itertools import product

import numpy as np

from sim.analysis.scores import unwrapped
from sim.analysis.sheets import Sheet
from sim.analysis.slider import STEPS, aversion_index, transitivity

NO_DIRECTION = 0.05  # length of the mean direction, 0..1, below which there is none
QUANTILES = (5, 25, 50, 75, 95)  # percent, of the angles of a profile


def chance_angles(forms: list[tuple[np.ndarray, np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Angles (ascending, unwrapped, degrees) and weights (sum 1) of a mixture of forms.

    `forms`: angles, weights and number of answer sheets of each form.
    """
    angles = np.concatenate([a for a, _, _ in forms])
    weights = np.concatenate([w * n for _, w, n in forms])
    angles = unwrapped(angles, weights=weights)
    order = np.argsort(angles, kind="stable")
    return angles[order], weights[order] / weights.sum()


def has_direction(angles: np.ndarray, weights: np.ndarray) -> bool:
    """Whether weighted angles (degrees, weights of sum 1) have a mean: not all round the circle."""
    radians = np.radians(angles)
    return bool(np.hypot(weights @ np.cos(radians), weights @ np.sin(radians)) >= NO_DIRECTION)


def chance_transitive(sheet: Sheet) -> float:
    """Share of all answer vectors that are transitive; NaN where options have no poles.

    Exact: an item matters only by which endpoint is nearer, so one option stands for each side.
    """
    if (sheet.poles < 0).any() or not sheet.complete:
        return np.nan
    ends = sheet.options[:, [0, -1]]
    gap = ((sheet.options[:, :, None] - ends[:, None]) ** 2).sum(-1)
    sides = np.sign(gap[..., 1] - gap[..., 0])
    items = [np.unique(s, return_index=True, return_counts=True)[1:] for s in sides]
    vectors = np.array(list(product(*(first for first, _ in items))))
    weights = np.prod(np.array(list(product(*(count for _, count in items))), float), axis=1)
    chosen = sheet.options[np.arange(len(sides)), vectors]
    acyclic = transitivity(chosen, ends, sheet.poles)[1]
    return float(weights @ acyclic / weights.sum())


@cache
def chance_inequality() -> dict[str, float]:
    """Mean index of uniform answers to the secondary items and shares of its types.

    Exact, over the answers of all 9^9 that have an index: item by item, answers at the same
    distances are counted together.
    """
    places = 145 ** np.arange(4)  # four distances of at most 144 as one number
    sums, counts = np.zeros(1, int), np.ones(1)
    for steps in STEPS @ places:
        sums, same = np.unique(sums[:, None] + steps, return_inverse=True)
        counts = np.bincount(same.ravel(), np.repeat(counts, 9))
    index = aversion_index(sums[:, None] // places % 145)
    known = ~np.isnan(index)
    index, share = index[known], counts[known] / counts[known].sum()
    return {
        "ia_index_mean": float(share @ index),
        "share_ia_inequality_averse": float(share @ (index < 0.5)),
        "share_ia_joint_gain": float(share @ (index > 0.5)),
        "share_ia_tied": float(share @ (index == 0.5)),
    }

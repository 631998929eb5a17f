"""What uniform responders show in an SVO profile."""

from functools import cache
from itertools import product

import numpy as np

from sim.analysis.scores import unwrapped
from sim.analysis.sheets import Sheet
from sim.analysis.slider import inequality_aversion, transitivity

DRAWS = 100_000


def chance_angles(forms: list[tuple[np.ndarray, np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Angles (ascending, unwrapped, degrees) and weights (sum 1) of a mixture of forms.

    `forms`: angles, weights and number of answer sheets of each form.
    """
    angles = np.concatenate([a for a, _, _ in forms])
    weights = np.concatenate([w * n for _, w, n in forms])
    angles = unwrapped(angles, weights=weights)
    order = np.argsort(angles, kind="stable")
    return angles[order], weights[order] / weights.sum()


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

    100,000 draws of a fixed seed; of those that have an index.
    """
    index = inequality_aversion(np.random.default_rng(0).integers(9, size=(DRAWS, 9)))[1]
    index = index[~np.isnan(index)]
    return {
        "ia_index_mean": float(index.mean()),
        "share_ia_inequality_averse": float((index < 0.5).mean()),
        "share_ia_joint_gain": float((index > 0.5).mean()),
        "share_ia_tied": float((index == 0.5).mean()),
    }

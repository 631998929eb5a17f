"""Changes from stage to stage: of one pair of values, and what a study can find at all."""

from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from sim.analysis.bradley_terry import Cells
from sim.analysis.intervals import FEWEST, LEVEL, holm
from sim.analysis.ratios import t_columns
from sim.analysis.scores import cell

CHANGE = 0.3  # logits, whose power is told
POWER = 0.8


def pair_shifts(c: Cells, values: list[str]) -> list[dict]:
    """Change of the log odds of each pair, from choices between these two alone."""
    real = (c.shown >= 0).sum(1) == 2
    rows = []
    for i, j in combinations(range(len(values)), 2):
        met_ = real & (c.shown == i).any(1) & (c.shown == j).any(1)
        ends = []
        for s in (0, len(c.stages) - 1):
            at = met_ & (c.stage == s)
            won = np.where(c.shown[at] == i, c.counts[:, at], 0).sum((1, 2))
            ends.append((won, c.counts[:, at].sum((1, 2))))
        (won, n), (won_last, n_last) = ends
        clusters = int(((n > 0) | (n_last > 0)).sum())
        row = {"measure": "pair_shift", "first": values[i], "second": values[j], "chance": 0.0}
        row |= {"n": int(n.sum() + n_last.sum()), "n_distinct": clusters}
        if n.any() and n_last.any():
            start, pull = _log_odds(won, n)
            end, pull_last = _log_odds(won_last, n_last)
            many = max(clusters - 1, 1)
            error = float(np.sqrt(((pull_last - pull) ** 2).sum() * clusters / many))
            # As in `priorities`: never surer than independent choices.
            error = max(error, float(np.sqrt(_variance(won, n) + _variance(won_last, n_last))))
            row |= t_columns(end - start, error, clusters)
            row |= found(error, max(clusters, FEWEST))
        rows.append(row)
    return corrected(rows)


def _log_odds(won: np.ndarray, n: np.ndarray) -> tuple[float, np.ndarray]:
    """Log odds of winning and how much each cluster moves it; won and n are (clusters,)."""
    p = (won.sum() + 0.5) / (n.sum() + 1)
    return float(np.log(p / (1 - p))), (won - p * n) / (n.sum() * p * (1 - p))


def _variance(won: np.ndarray, n: np.ndarray) -> float:
    """Of the log odds, were choices independent."""
    p = (won.sum() + 0.5) / (n.sum() + 1)
    return float(1 / (n.sum() * p * (1 - p)))


def found(error: float, clusters: int) -> dict[str, float]:
    """What a study with this standard error (logits) finds: detectable change, power for 0.3."""
    limit = stdtrit(clusters - 1, (1 + LEVEL) / 2)
    power = ndtr(CHANGE / error - limit) + ndtr(-CHANGE / error - limit)
    return {"detectable": float((limit + ndtri(POWER)) * error), "power": float(power)}


def corrected(rows: list[dict]) -> list[dict]:
    """The rows with `p_holm`, corrected over all of them that have a p."""
    adjusted = holm(np.array([row.get("p", np.nan) for row in rows], float))
    return [row | {"p_holm": cell(p)} for row, p in zip(rows, adjusted.tolist(), strict=True)]

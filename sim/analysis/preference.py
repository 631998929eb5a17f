"""How much more often is a value chosen than choices by lot would, stage by stage?"""

import numpy as np
import polars as pl

from sim.analysis.duels import GROUP, UNDECIDED, Duels, duels
from sim.analysis.intervals import Means, holm, interval, p_value
from sim.analysis.scores import ESTIMATE, cell
from sim.tables import Tables

SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "option_value": pl.String,  # what options stand for; `value` is what the agents were assigned
    "stage": pl.Int64,  # null: all stages together
    **ESTIMATE,
    "n_chosen": pl.Int64,
    "expected": pl.Float64,  # share of `n` that choices by lot would have chosen
    "share_first": pl.Float64,  # share of `n` in which it was shown first
    "n_undecided": pl.Int64,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


def preference(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (group, option value, stage): preference scores, -1..1.

    Score = chosen / shown - expected, where a choice among k options expects 1/k of each; with two
    options it is chosen / shown - 0.5, from -0.5 to 0.5. So Wu et al. (2025), The Staircase of
    Ethics, arXiv 2505.18154; their formula is not in print as far as it could be read, it is
    inferred from their figures. A value that meets weak ones only scores high: Bradley-Terry
    strengths (`priorities`) take that off.

    `n` counts choices that showed the value and were made between values, two or more of them;
    `n_unscored` all others that showed it (unread, not decided, an option without a value), among
    them `n_undecided`. `unread` and `left_out` are shares of all the group's decisions. Intervals
    and p: t over clusters, of the linearised ratio of cluster sums (Cochran 1977, Sampling
    Techniques, 3rd ed., 6.3); p of "the score is 0", Holm's correction over the values of a group
    and stage. `seed` is not used.
    """
    del seed
    rows: list[dict] = []
    for key, group in duels(tables):
        rows += _rows(key, group)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _rows(key: dict, group: Duels) -> list[dict]:
    stages = np.unique(group.stage)
    mine = group.contested()
    n, score, expected, chosen, first = counts(mine, stages)
    every = _tally(group, stages, np.ones(len(group.n))).sum(0)
    undecided = _tally(group, stages, group.taken() == UNDECIDED).sum(0)
    m = ratios(score, n)
    # Of a ratio only: cells without a choice are null.
    whole = np.where(n.sum(0) > 0, n.sum(0), np.nan)
    by_lot, share_first = expected.sum(0) / whole, first.sum(0) / whole
    rows = []
    for s, stage in enumerate([*stages.tolist(), None]):
        part = []
        for v, value in enumerate(group.values):
            j = s * len(group.values) + v
            low, high, kind = interval(m, j)
            part.append(
                {**key, "option_value": value, "stage": stage, "estimate": cell(m.estimate[j])}
                | {"low": cell(max(low, -by_lot[s, v]))}
                | {"high": cell(min(high, 1 - by_lot[s, v])), "interval": kind}
                | {"n": int(m.n[j]), "n_distinct": int(m.n_distinct[j])}
                | {"n_unscored": int(every[s, v]) - int(m.n[j])}
                | {"n_chosen": int(chosen[:, s, v].sum()), "expected": cell(by_lot[s, v])}
                | {"share_first": cell(share_first[s, v]), "n_undecided": int(undecided[s, v])}
                | {"unread": group.unread, "left_out": group.left_out, "chance": 0.0}
                | {"p": cell(p_value(m, j))}
            )
        p = holm(np.array([row["p"] for row in part], float))
        rows += [row | {"p_holm": cell(x)} for row, x in zip(part, p.tolist(), strict=True)]
    return rows


def counts(duels: Duels, stages: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sums (clusters, stages + 1, V), all stages last, over contested choices.

    Choices that showed the value; chosen minus expected; expected; chosen; shown first.
    """
    k = np.maximum((duels.shown >= 0).sum(1), 1)
    shown = duels.shown[..., None] == np.arange(len(duels.values))
    expected = shown.sum(1) / k[:, None]
    chosen = (duels.taken()[:, None] == np.arange(len(duels.values))).astype(float)
    parts = (np.ones_like(chosen), chosen - expected, expected, chosen, shown[:, 0])
    return tuple(_tally(duels, stages, part) for part in parts)


def _tally(duels: Duels, stages: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums (clusters, stages + 1, V) of weights (R, V) or (R,) over choices that show a value."""
    n_values, many = len(duels.values), len(duels.clusters)
    row, v = np.nonzero((duels.shown[..., None] == np.arange(n_values)).any(1))
    at = duels.cluster * len(stages) + np.searchsorted(stages, duels.stage)
    weight = weight[row, v] if weight.ndim == 2 else weight[row]
    size = many * len(stages) * n_values
    sums = np.bincount(at[row] * n_values + v, weight * duels.n[row], size)
    sums = sums.reshape(many, len(stages), n_values)
    return np.concatenate([sums, sums.sum(1, keepdims=True)], axis=1)


def ratios(sums: np.ndarray, sizes: np.ndarray) -> Means:
    """Ratios of sums (clusters, ...) to sizes, flattened, with linearised errors for t intervals.

    NaN where all sizes are 0; a cluster without any counts as none.
    """
    sums, sizes = sums.reshape(len(sums), -1), sizes.reshape(len(sizes), -1)
    n, distinct = sizes.sum(0), (sizes > 0).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = sums.sum(0) / n
        residual = ((sums - estimate * sizes) ** 2).sum(0)
        error = np.sqrt(residual * distinct / (distinct - 1)) / n
    error[error <= 1e-12] = 0  # all clusters alike, but for rounding
    return Means(estimate, np.where(distinct > 1, error, np.nan), n, distinct, None)

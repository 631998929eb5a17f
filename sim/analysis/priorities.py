"""Which value gives way to which, and does that change from stage to stage?"""

import numpy as np
import polars as pl
from scipy.special import chdtrc, fdtrc

from sim.analysis.bradley_terry import ELO, Cells, Fit, cells, design, fit, met, never
from sim.analysis.changes import corrected, found, pair_shifts
from sim.analysis.duels import GROUP, Duels, duels
from sim.analysis.ratios import t_columns
from sim.analysis.scores import ESTIMATE
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    **dict.fromkeys(GROUP, pl.String),
    "first": pl.String,  # the value; of a pair the one whose winning is counted
    "second": pl.String,  # of a pair
    "stage": pl.Int64,  # null: all stages together
    **ESTIMATE,
    "elo": pl.Float64,  # strength on the scale of ratings, 1500 the mean
    "all_or_none": pl.Boolean,  # the value won all or none of its choices: no estimate but a bound
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "statistic": pl.Float64,  # of a test
    "df": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "detectable": pl.Float64,  # logits: the change that is found in 80 of 100 such studies
    "power": pl.Float64,  # 0..1, to find a change of 0.3 logits at level .05
}


def priorities(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (group, measure), logits of Bradley-Terry's model with position.

    `strength`: of each value, mean 0 over values, over all stages and at each. `position`: what
    being shown first adds. `shift`: strength at a stage minus that at the first stage, with
    position common to all stages; `trend`: change from the first to the last stage along a
    straight line over stages. `pair_shift`: change from the first to the last stage of the log
    odds with which the first value of a pair is taken before the second one, from their own
    choices alone (half a choice added to each count). Tests of no shift: `wald_shift` of any at
    any stage, `wald_trend` of any along the line, `wald_last` of any at the last stage against all
    others, robust to clusters (Hotelling's F); `lr_...` of the same, likelihood ratios that take
    choices for independent. Intervals and p: t over clusters (dilemmas, or norms), by
    a jackknife or sandwich, but never surer than independent choices would be, and none for a
    value that won all or none of its choices. n counts choices that the value (or pair) was in,
    n_distinct clusters, n_unscored choices of the group that count for none. Values that never met
    the others, directly or through a third, are null. Holm's correction runs over all values and
    stages (or pairs) of a measure. `detectable` and `power`
    say what a study of this size can find: where power is low, no shift found is no evidence of
    none. `seed` is not used.
    """
    rows: list[dict] = []
    for key, group in duels(tables):
        rows += _rows(key, group)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _rows(key: dict, group: Duels) -> list[dict]:
    common = key | {"unread": group.unread, "left_out": group.left_out}
    c = cells(group)
    lost = int(group.n.sum()) - int(c.total.sum())
    if not c.total.any():
        return [
            common | {"measure": "strength", "first": value, "n": 0, "n_unscored": lost}
            for value in group.values
        ]
    return [common | row for row in group_rows(c, group.values, lost)]


def group_rows(c: Cells, values: list[str], lost: int) -> list[dict]:
    """Rows of one group's counted choices, without its key; `lost` choices are not among them."""
    whole = fit(c, design(c))
    rows = _strengths(c, whole, values, None, centring(met(c)), lost) + _position(c, whole, lost)
    if len(c.stages) > 1:
        rows += _by_stage(c, values, whole, lost) + pair_shifts(c, values)
    return rows


def centring(known: np.ndarray) -> np.ndarray:
    """Matrix (V, V) that turns strengths into those about the mean of the known values (V,)."""
    n = len(known)
    matrix = np.eye(n) - known / max(known.sum(), 1)
    return np.where(known[:, None], matrix, np.nan)


def _combined(made: Fit, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear combinations (k,) of the parameters and their standard errors.

    The larger of the error over clusters and that of independent choices.
    """
    known = np.isfinite(matrix.sum(axis=1))
    plain = np.where(known[:, None], matrix, 0.0)
    # Few clusters that agree by chance, or choices that are all alike, make the error over clusters
    # tiny: no study knows more than its choices would tell, were they independent.
    ways = [np.einsum("kp,pq,kq->k", plain, v, plain) for v in (made.robust(), made.model)]
    error = np.sqrt(np.maximum(np.maximum(*ways), 0))
    return np.where(known, plain @ made.theta, np.nan), np.where(known, error, np.nan)


def _shown(c: Cells, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choices, and clusters, (V,) each, in which a value was shown at the cells of a mask."""
    in_cell = (c.shown[at][..., None] == np.arange(c.n_values)).any(1)
    by_cluster = c.choices[:, at] @ in_cell
    return by_cluster.sum(0), (by_cluster > 0).sum(0)


def _strengths(
    c: Cells, made: Fit, values: list[str], stage: int | None, matrix: np.ndarray, lost: int
) -> list[dict]:
    """One row per value; `matrix` (V, V) acts on the first V parameters, or (V, p) on all."""
    wide = np.zeros((c.n_values, len(made.theta)))
    wide[:, : matrix.shape[1]] = matrix
    estimate, error = _combined(made, wide)
    at = np.isin(c.stages[c.stage], c.stages if stage is None else [stage])
    n, clusters = _shown(c, at)
    bound = never(c, at)
    rows = []
    for v, value in enumerate(values):
        row = t_columns(estimate[v], error[v], int(clusters[v]), not bound[v])
        row.pop("p", None)  # a strength of 0 means nothing by itself
        rows.append(
            {"measure": "strength", "first": value, "stage": stage, "chance": 0.0}
            | row
            | {"n": int(n[v]), "n_distinct": int(clusters[v])}
            | {"n_unscored": lost if stage is None else None}
            | {"all_or_none": bool(bound[v])}
            | {"elo": None if np.isnan(estimate[v]) else 1500 + ELO * float(estimate[v])}
        )
    return rows


def _position(c: Cells, made: Fit, lost: int) -> list[dict]:
    unit = np.zeros((1, len(made.theta)))
    unit[0, -1] = 1
    estimate, error = _combined(made, unit)
    known = design(c)[..., -1].any()  # else it cannot be told from the values
    row = t_columns(estimate[0], error[0], len(c.counts)) if known else {"estimate": None}
    return [
        {"measure": "position", "chance": 0.0, "n": int(c.total.sum()), "n_unscored": lost}
        | {"n_distinct": len(c.counts)}
        | row
    ]


def _by_stage(c: Cells, values: list[str], whole: Fit, lost: int) -> list[dict]:
    later = np.arange(1, len(c.stages))
    indicator = (c.stage[:, None] == later).astype(float)
    full = fit(c, design(c, indicator))
    parts = [_at_stage(c, s) for s in range(len(c.stages))]
    here, bound = [met(part) for part in parts], [never(part) for part in parts]
    base = [_placed(centring(here[s]), full, [0] if s == 0 else [0, s]) for s in range(len(here))]
    rows, tests, shifts = [], [], []
    for s, stage in enumerate(c.stages.tolist()):
        rows += _strengths(c, full, values, stage, base[s], lost)
    for s in later.tolist():
        both = here[0] & here[s]
        matrix = _placed(centring(both), full, [s])
        tests.append(matrix)
        sure = ~(bound[0] | bound[s])
        shifts += _changes(c, full, values, "shift", int(c.stages[s]), matrix, sure)
    rows += corrected(shifts)
    line = (c.stages[c.stage] - c.stages.mean()) / np.ptp(c.stages)
    trend = fit(c, design(c, line[:, None]))
    slope = _placed(centring(met(c)), trend, [1])
    rows += corrected(_changes(c, trend, values, "trend", None, slope, ~never(c)))
    rows += _tests(c, whole, full, np.concatenate(tests), "shift")
    rows += _tests(c, whole, trend, slope, "trend")
    last = fit(c, design(c, indicator[:, -1:]))
    return rows + _tests(c, whole, last, _placed(centring(here[-1]), last, [1]), "last")


def _at_stage(c: Cells, s: int) -> Cells:
    at = c.stage == s
    return Cells(c.shown[at], c.stage[at], c.stages, c.n_values, c.counts[:, at])


def _placed(matrix: np.ndarray, made: Fit, blocks: list[int]) -> np.ndarray:
    """A matrix (V, V) on blocks of V parameters: 0 the strengths, j the j-th covariate's."""
    n = len(matrix)
    wide = np.zeros((n, len(made.theta)))
    for block in blocks:
        wide[:, block * n : (block + 1) * n] = matrix
    return wide


def _changes(
    c: Cells,
    made: Fit,
    values: list[str],
    measure: str,
    stage: int | None,
    matrix: np.ndarray,
    sure: np.ndarray,
) -> list[dict]:
    """One row per value; no interval where it is not `sure` (V,): a change between bounds."""
    estimate, error = _combined(made, matrix)
    at = np.isin(c.stages[c.stage], [c.stages[0], stage]) if stage else np.ones(len(c.stage), bool)
    n, clusters = _shown(c, at)
    rows = []
    for v, value in enumerate(values):
        row = t_columns(estimate[v], error[v], int(clusters[v]), bool(sure[v]))
        rows.append(
            {"measure": measure, "first": value, "stage": stage, "chance": 0.0}
            | row
            | {"n": int(n[v]), "n_distinct": int(clusters[v]), "all_or_none": not sure[v]}
            | (found(error[v], len(c.counts)) if row["interval"] else {})
        )
    return rows


def _tests(c: Cells, less: Fit, more: Fit, matrix: np.ndarray, name: str) -> list[dict]:
    """Wald's test, robust to clusters, and the likelihood ratio of a larger model."""
    plain = matrix[~np.isnan(matrix).any(1)]
    df = int(np.linalg.matrix_rank(plain)) if len(plain) else 0
    clusters = len(c.counts)
    common = {"n": int(c.total.sum()), "n_distinct": clusters, "df": float(df)}
    rows = [{"measure": f"wald_{name}", **common}, {"measure": f"lr_{name}", **common}]
    if not df:
        return rows
    if clusters > df + 1:
        value = plain @ more.theta
        inverse = [
            np.linalg.pinv(plain @ v @ plain.T, rcond=1e-8, hermitian=True)
            for v in (more.robust(), more.model)
        ]
        # As in `_combined`: the smaller statistic, of the larger variance.
        wald = float(min(value @ one @ value for one in inverse))
        f = wald * (clusters - df) / (df * (clusters - 1))
        rows[0] |= {"statistic": wald, "p": float(fdtrc(df, clusters - df, f))}
    ratio = max(2 * (more.log_likelihood - less.log_likelihood), 0.0)
    rows[1] |= {"statistic": ratio, "p": float(chdtrc(df, ratio))}
    return rows

"""Does the order of values change from stage to stage, beyond what sampling does to it?"""

from itertools import combinations

import numpy as np
import polars as pl
from scipy.stats import rankdata

from sim.analysis.bradley_terry import Cells, by_stage, cells, never, resampled
from sim.analysis.duels import GROUP, Duels, duels
from sim.analysis.intervals import FEWEST, LEVEL, holm
from sim.analysis.scores import ESTIMATE, cell, generator
from sim.analysis.shift_divergence import permuted
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    **dict.fromkeys(GROUP, pl.String),
    "option_value": pl.String,  # null of `tau`
    "stage": pl.Int64,
    "other": pl.Int64,  # the later stage, of `shift` and `tau`
    **ESTIMATE,
    "all_or_none": pl.Boolean,  # the value won all or none of its choices at one of these stages
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "chance_same": pl.Float64,
    "tau_halves": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}
RESAMPLES = 1_000
SPLITS = 200
PERMUTATIONS = 200
_DIGITS = 6  # of strengths: what differs by less is tied


def rank_shift(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (measure, group): ranks of values by Bradley-Terry strength, 1 the strongest.

    `rank`: of a value at a stage, ties share the average. `shift`: rank at the first stage minus
    rank at the last, of values met at both, so that positive means a gain in rank (the sign of Wu
    et al. 2025, arXiv 2505.18154). `tau`: Kendall's tau-b, -1..1, between the strengths at two
    stages (Kendall 1945, Biometrika 33(3), 239-251).

    Sampling alone keeps tau below 1. `chance_same`: mean tau-b between the strengths of two random
    halves of the clusters at one and the same stage, mean of both stages. Halves have half the
    data, so it must not be held against `estimate` but against `tau_halves`: the same halves, one
    at each stage. 200 splits. p of `tau`: share of 200 tables with a tau as low, in which within
    each cluster items were dealt to the two stages anew; of `shift`: with a shift as large either
    way; at least 1 / 201. Ranks are coarse: with few clusters these tests find large shifts only;
    `priorities` tests strengths. Holm's correction over the pairs of stages, or the values, of a
    group.

    Intervals: 2.5 to 97.5 % of 1,000 bootstrap samples of clusters. They tell how firmly a rank
    stands, but those of ranks near a tie are too wide, and those of tau lie low, since a sample
    of a sample is noisier than the sample. A strength of a value that won all or none of its
    choices is no estimate but a bound, marked. `chance`: (V + 1) / 2 of ranks, 0 of shift and tau
    (unrelated orders). n counts choices at the stage or stages, that showed the value if one is
    named; n_distinct clusters; n_unscored all choices there that do not count. `seed` is that of
    bootstrap, splits and permutations.
    """
    rows: list[dict] = []
    for key, group in duels(tables):
        c = cells(group)
        if not c.total.any():
            continue
        common = key | {"unread": group.unread, "left_out": group.left_out}
        rng = generator(seed, "ranks", *key.values())
        found = _rows(group, c, rng)
        rows += [common | row for row in found]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def tau_b(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau-b (...) of scores (..., V) and (..., V); NaN where either is all one tie."""
    i, j = np.triu_indices(a.shape[-1], 1)
    x, y = np.sign(a[..., i] - a[..., j]), np.sign(b[..., i] - b[..., j])
    both = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return (x * y).sum(-1) / np.where(both > 0, both, np.nan)


def ranks(strengths: np.ndarray) -> np.ndarray:
    """Ranks (..., V) of strengths (..., V), 1 the largest, average of ties; NaN stays NaN."""
    return rankdata(-strengths, axis=-1, nan_policy="omit")


def _strengths(c: Cells, counts: np.ndarray) -> np.ndarray:
    return by_stage(c, counts).round(_DIGITS)


def _rows(group: Duels, c: Cells, rng: np.random.Generator) -> list[dict]:
    theta = _strengths(c, c.total[None])[0]
    draws = _strengths(c, resampled(c, RESAMPLES, rng))
    rows = _ranks(group, c, theta, draws)
    if len(c.stages) < 2:
        return rows
    halves = _halves(c, rng) if len(c.counts) >= FEWEST else None
    last = (0, len(c.stages) - 1)
    shifts, taus = [], []
    for s, t in combinations(range(len(c.stages)), 2):
        known = ~np.isnan(theta[[s, t]]).any(0)
        stages = int(c.stages[s]), int(c.stages[t])
        dealt = _strengths(*permuted(group, *stages, PERMUTATIONS, rng))[..., known]
        here, many = theta[[s, t]][None, :, known], draws[:, [s, t]][..., known]
        three = [here, many, dealt]
        facts = {"stage": stages[0], "other": stages[1], "chance": 0.0}
        taus.append(facts | _tau(group, c, three, (s, t), known, halves))
        if (s, t) == last:
            shifts = [facts | row for row in _shifts(group, c, three, known)]
    return rows + _corrected(shifts) + _corrected(taus)


def _ranks(group: Duels, c: Cells, theta: np.ndarray, draws: np.ndarray) -> list[dict]:
    observed, many = ranks(theta), ranks(draws)
    rows = []
    for s, stage in enumerate(c.stages.tolist()):
        n, clusters, lost, bound = _counts(group, c, [s])
        middle = (int((~np.isnan(theta[s])).sum()) + 1) / 2
        for v, value in enumerate(group.values):
            rows.append(
                {"measure": "rank", "option_value": value, "stage": stage, "chance": middle}
                | _interval(observed[s, v], many[:, s, v], int(clusters[v]))
                | {"n": int(n[v]), "n_distinct": int(clusters[v]), "n_unscored": lost}
                | {"all_or_none": bool(bound[v])}
            )
    return rows


def _shifts(group: Duels, c: Cells, three: list[np.ndarray], known: np.ndarray) -> list[dict]:
    """Rows of the values; `three`: strengths (B, 2, known) observed, resampled and permuted."""
    first, last = 0, len(c.stages) - 1
    n, clusters, lost, bound = _counts(group, c, [first, last])
    moved = [np.full((len(x), len(known)), np.nan) for x in three]
    for gain, x in zip(moved, three, strict=True):
        place = ranks(x)
        gain[:, known] = place[:, 0] - place[:, 1]
    observed, many, dealt = moved
    rows = []
    for v, value in enumerate(group.values):
        enough = known[v] and clusters[v] >= FEWEST
        as_large = np.abs(dealt[:, v]) >= abs(observed[0, v])
        rows.append(
            {"measure": "shift", "option_value": value}
            | _interval(observed[0, v], many[:, v], int(clusters[v]))
            | {"n": int(n[v]), "n_distinct": int(clusters[v]), "n_unscored": lost}
            | {"all_or_none": bool(bound[v]), "p": _share(as_large) if enough else None}
        )
    return rows


def _tau(
    group: Duels,
    c: Cells,
    three: list[np.ndarray],
    pair: tuple[int, int],
    known: np.ndarray,
    halves: np.ndarray | None,
) -> dict:
    observed, many, dealt = (tau_b(x[:, 0], x[:, 1]) for x in three)
    at = np.isin(c.stage, pair)
    by_cluster = c.choices[:, at].sum(1)
    clusters = int((by_cluster > 0).sum())
    row = {"measure": "tau"} | _interval(observed[0], many, clusters)
    row |= {"n": int(by_cluster.sum()), "n_distinct": clusters, "p": None}
    row |= {"n_unscored": _counts(group, c, list(pair))[2]}
    if halves is None or clusters < FEWEST or np.isnan(observed[0]):
        return row
    (a, b), (s, t) = halves[..., known], pair
    same = (tau_b(a[:, s], b[:, s]), tau_b(a[:, t], b[:, t]))
    apart = (tau_b(a[:, s], b[:, t]), tau_b(b[:, s], a[:, t]))
    # As low but for rounding; all tied is no order that could be told from another.
    as_low = ~(dealt > observed[0] + 1e-12)
    return row | {
        "chance_same": _mean(same),
        "tau_halves": _mean(apart),
        "p": _share(as_low),
    }


def _halves(c: Cells, rng: np.random.Generator) -> np.ndarray:
    """Strengths (2, SPLITS, stages, V) of random halves of the clusters."""
    many = len(c.counts)
    picks = np.stack([rng.permutation(many) < many // 2 for _ in range(SPLITS)])
    flat = picks.astype(np.float32) @ c.counts.reshape(many, -1).astype(np.float32)
    one = flat.reshape(SPLITS, *c.counts.shape[1:]).astype(float)
    return np.stack([_strengths(c, one), _strengths(c, c.total - one)])


def _counts(
    group: Duels, c: Cells, at: list[int]
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """At some stages: choices and clusters (V,) that showed a value, choices that do not count.

    Last: values (V,) that won all or none of their choices at one of them.
    """
    mask = np.isin(c.stage, at)
    shows = (c.shown[..., None] == np.arange(c.n_values)).any(1) & mask[:, None]
    by_cluster = c.choices @ shows.astype(float)
    every = group.n[np.isin(group.stage, c.stages[at])].sum()
    bound = np.zeros(c.n_values, bool)
    for s in at:
        bound |= never(c, c.stage == s)
    lost = int(every) - int(c.total[mask].sum())
    return by_cluster.sum(0), (by_cluster > 0).sum(0), lost, bound


def _interval(estimate: float, draws: np.ndarray, clusters: int) -> dict:
    if np.isnan(estimate):
        return {"estimate": None}
    row = {"estimate": float(estimate)}
    if clusters < FEWEST or np.isnan(draws).all():
        return row
    # Bounds are draws: no rank lies between two.
    low = np.nanquantile(draws, (1 - LEVEL) / 2, method="lower")
    high = np.nanquantile(draws, (1 + LEVEL) / 2, method="higher")
    return row | {"low": float(low), "high": float(high), "interval": "bootstrap"}


def _share(as_extreme: np.ndarray) -> float:
    return float((1 + as_extreme.sum()) / (1 + len(as_extreme)))


def _mean(parts: tuple[np.ndarray, ...]) -> float | None:
    known = np.concatenate(parts)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


def _corrected(rows: list[dict]) -> list[dict]:
    adjusted = holm(np.array([row["p"] for row in rows], float))
    return [row | {"p_holm": cell(p)} for row, p in zip(rows, adjusted.tolist(), strict=True)]

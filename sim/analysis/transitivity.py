"""Do preferences between values make an order, and does any circle among them hold up to noise?"""

from itertools import combinations

import numpy as np
import polars as pl

from sim.analysis.duels import GROUP, Duels, duels
from sim.analysis.intervals import FEWEST, LEVEL, redrawn
from sim.analysis.scores import ESTIMATE, cell, generator
from sim.analysis.tournament import (
    circular_triads,
    cyclic_share,
    expected_triads,
    known,
    most_triads,
    three_cycles,
    violations,
    zeta,
)
from sim.analysis.win_rates import Rates, by_stage, rates, unscored, won
from sim.tables import Tables

SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "stage": pl.Int64,
    "measure": pl.String,
    "first": pl.String,
    "second": pl.String,
    **ESTIMATE,
    "most": pl.Float64,
    "cycles": pl.String,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
}
MEASURES = [
    "circular_triads",
    "zeta",
    "wst_violations",
    "mst_violations",
    "sst_violations",
    "cyclic_share",
]
RESAMPLES = 1_000
LOTS = 1_000  # sets of duels that a fair coin decides
EDGE = (1 - LEVEL) / 3  # Bonferroni over the three edges of a cycle


def transitivity(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (group, stage, measure); stage null is all stages together.

    `circular_triads` T and `zeta` (ties count half), `wst_violations`, `mst_violations` and
    `sst_violations` of weak, moderate and strong stochastic transitivity (triples), `cyclic_share`
    (of squared log odds; of wins + 1/2 over duels + 1, which have a logit where one value won all):
    see `sim.analysis.tournament`; null where any two values never met. `most`: the largest that a
    measure can be. `supported_cycles`: three values in a circle of which each edge's interval
    excludes .5 at the Bonferroni level over its three edges (clusters respected: `win_rates`);
    `most` counts the triples that could be tested so, those met in five clusters on each edge;
    null where there are none. `cycles` names the cycles found.

    Intervals: percentiles of 1,000 resamples of clusters; none where a pair was met in fewer than
    five, or where all resamples are alike. Noise makes circles and unmakes none where there are
    none, so T, violations and cyclic share lean upwards in the estimate and more so in its
    interval: they do not show that there are circles, only supported cycles do.
    Chance: every duel by a fair coin, T, zeta and supported cycles exactly (these at the nominal
    level), the others as the mean of 1,000 sets of as many duels.
    n counts duels, n_distinct clusters; n_unscored as in `win_rates`, over all pairs. `left_out`
    is that of the group. Rows `win_rate` (all stages; `first` over `second`) are the edges of the
    figure. `seed` is that of the bootstrap and of chance.
    """
    rows: list[dict] = []
    edges: list[dict] = []
    for key, every in duels(tables):
        for stage, part in by_stage(every):
            counts = won(part)
            found = rates(counts)
            about = _about(key, stage, part, counts, every.left_out)
            rng = generator(seed, "transitivity", *key.values(), stage)
            rows += _indices(about, counts, found, rng)
            rows.append(_supported(about, part.values, found))
            edges += _edges(about, part.values, found) if stage is None else []
    return pl.DataFrame(rows + edges, schema=SCHEMA, orient="row")


def indices(wins: np.ndarray) -> np.ndarray:
    """The `MEASURES` (..., 6) of counts of wins (..., V, V), row against column."""
    n = wins + np.swapaxes(wins, -1, -2)
    with np.errstate(invalid="ignore"):
        rate = np.where(n > 0, wins / n, np.nan)
    shrunken = np.where(n > 0, (wins + 0.5) / (n + 1), np.nan)
    parts = [circular_triads(rate), zeta(rate), *np.moveaxis(violations(rate), -1, 0)]
    return np.stack([*parts, cyclic_share(shrunken)], axis=-1)


def resampled(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Wins (n, V, V) of samples of clusters, with replacement, of counts (clusters, V, V)."""
    many = len(counts)
    flat = redrawn(many, n, rng).astype(float) @ counts.reshape(many, -1)
    return flat.reshape(n, *counts.shape[1:])


def by_coin(n: np.ndarray, lots: int, rng: np.random.Generator) -> np.ndarray:
    """Wins (lots, V, V) where a fair coin decides each of n (V, V) duels."""
    upper = np.triu(n, 1)
    wins = rng.binomial(upper, 0.5, size=(lots, *n.shape))
    return (wins + np.swapaxes(upper - wins, -1, -2)).astype(float)


def supported_cycles(found: Rates) -> list[tuple[int, int, int]]:
    """(i, j, k), i beats j beats k beats i, where each edge's interval excludes .5."""
    return three_cycles(np.where(found.p < EDGE, found.estimate, np.nan))


def _about(
    key: dict, stage: int | None, part: Duels, counts: np.ndarray, left_out: float | None
) -> dict:
    return key | {
        "stage": stage,
        "n": int(counts.sum()),
        "n_distinct": len(counts),
        "n_unscored": int(np.triu(unscored(part), 1).sum()),
        "unread": part.unread,
        "left_out": left_out,
    }


def _indices(about: dict, counts: np.ndarray, found: Rates, rng: np.random.Generator) -> list[dict]:
    v = counts.shape[-1]
    has = bool(known(found.estimate))
    estimate = indices(counts.sum(0))
    chance = np.full(len(MEASURES), np.nan)
    bounds = [(np.nan, np.nan)] * len(MEASURES)
    if has:
        by_lot = indices(by_coin(found.n, LOTS, rng))
        # A set of duels that all end even has no cyclic share, and does not count in its mean.
        known_ = ~np.isnan(by_lot)
        chance = np.where(known_, by_lot, 0).sum(0) / np.maximum(known_.sum(0), 1)
        chance[:2] = expected_triads(v), 1 - expected_triads(v) / most_triads(v)
    if has and found.n_distinct[~np.eye(v, dtype=bool)].min() >= FEWEST:
        bounds = [_percentiles(draws) for draws in indices(resampled(counts, RESAMPLES, rng)).T]
    triples = v * (v - 1) * (v - 2) / 6
    most = [most_triads(v), 1.0, triples, triples, triples, 1.0]
    return [
        about
        | {"measure": name, "estimate": cell(estimate[j]), "low": cell(bounds[j][0])}
        | {"high": cell(bounds[j][1])}
        | {"interval": None if np.isnan(bounds[j][0]) else "bootstrap"}
        | {"most": most[j], "chance": cell(chance[j])}
        for j, name in enumerate(MEASURES)
    ]


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Interval of draws (n,) that are known; NaN where they do not differ."""
    draws = draws[~np.isnan(draws)]
    if not len(draws) or draws.min() == draws.max():
        return np.nan, np.nan
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _supported(about: dict, values: list[str], found: Rates) -> dict:
    cycles = supported_cycles(found)
    tested = ~np.isnan(found.p)
    triples = combinations(range(len(values)), 3)
    most = sum(bool(tested[i, j] and tested[j, k] and tested[i, k]) for i, j, k in triples)
    names = [" > ".join(values[k] for k in (*cycle, cycle[0])) for cycle in cycles]
    return about | {
        "measure": "supported_cycles",
        "estimate": float(len(cycles)) if most else None,
        "most": float(most),
        "cycles": "; ".join(names) or None,
        "chance": most * 2 * (EDGE / 2) ** 3 if most else None,
    }


def _edges(about: dict, values: list[str], found: Rates) -> list[dict]:
    edge = about | {"measure": "win_rate", "n_unscored": None, "most": 1.0, "chance": 0.5}
    pairs = combinations(range(len(values)), 2)
    return [edge | found.row(values, pair) for pair in pairs]

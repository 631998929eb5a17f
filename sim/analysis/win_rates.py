"""How often does one value win against another, where both are options of one choice?"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from scipy.special import ndtri, stdtr, stdtrit

from sim.analysis.duels import GROUP, Duels, duels
from sim.analysis.intervals import FEWEST, LEVEL, holm, wilson
from sim.analysis.scores import ESTIMATE, cell
from sim.tables import Tables

SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "stage": pl.Int64,
    "first": pl.String,
    "second": pl.String,
    **ESTIMATE,
    "share_first": pl.Float64,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


def win_rates(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (group, stage, two values in alphabetical order), shares 0..1.

    `estimate`: share of duels between the two that the first won; a choice of one value among
    options that all stand for values is a duel with each of the others. `stage` is null for all
    stages together; each stage follows where there are several. Pairs that were never met have
    n 0 and nulls. n counts duels, n_distinct their clusters (dilemmas or norms), n_unscored the
    decisions that showed both values and gave no duel between them (unread, not decided, or a
    third value taken). `share_first`: how often the first of the two was shown before the other;
    at .5 a bias for a position cancels out. `unread` is of the group and stage, `left_out` of the
    group in all stages. Intervals, p and what they rest on: `rates`. p_holm is over the pairs of
    a group and stage. `seed` is not used: nothing is drawn.
    """
    rows: list[dict] = []
    for key, every in duels(tables):
        for stage, part in by_stage(every):
            rows += _rows(key | {"stage": stage}, part, every.left_out)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def by_stage(every: Duels) -> list[tuple[int | None, Duels]]:
    """(None, all choices), then those of each stage where there are several."""
    stages = np.unique(every.stage).tolist()
    each = [(stage, every.only(every.stage == stage)) for stage in stages if len(stages) > 1]
    return [(None, every), *each]


def won(part: Duels) -> np.ndarray:
    """Duels (clusters, V, V) that the value of the row won against that of the column.

    Clusters without a duel are left out.
    """
    pairs, v, many = part.pairs(), len(part.values), len(part.clusters)
    flat = (pairs["cluster"] * v + pairs["winner"]) * v + pairs["loser"]
    counts = np.bincount(flat, pairs["n"], many * v * v).reshape(many, v, v)
    return counts[counts.any((1, 2))]


@dataclass(frozen=True)
class Rates:
    """Win rates with what is known of them; all arrays (V, V), row against column.

    Attributes:
        estimate: share 0..1; NaN where the two were never met, as all but the counts are.
        low, high: bounds of the 95 % interval; NaN below five clusters.
        p: two-sided, of "the share is .5"; below .05 where the interval excludes .5.
        n: duels.
        n_distinct: clusters that they come from.
        once: whether no cluster has more than one of them.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    n: np.ndarray
    n_distinct: np.ndarray
    once: np.ndarray

    def row(self, values: list[str], pair: tuple[int, int]) -> dict:
        """The pair's columns of a result table."""
        kind = "wilson" if self.once[pair] else "wilson_clustered"
        return {
            "first": values[pair[0]],
            "second": values[pair[1]],
            "estimate": cell(self.estimate[pair]),
            "low": cell(self.low[pair]),
            "high": cell(self.high[pair]),
            "interval": None if np.isnan(self.low[pair]) else kind,
            "n": int(self.n[pair]),
            "n_distinct": int(self.n_distinct[pair]),
        }


def rates(counts: np.ndarray) -> Rates:
    """Win rates of counts (clusters, V, V), with intervals that respect clusters.

    Where the two met once per cluster at most, Wilson's interval. Otherwise Wilson's interval of
    the effective number of duels, n divided by the design effect, as Korn & Graubard (1998, Survey
    Methodology 24, 193-201) have it: the design effect is the variance of the share by
    linearisation over clusters (G / (G - 1) times the squares of each cluster's wins less its
    duels times the share) over p (1 - p) / n, at least 1; and t with G - 1 degrees of freedom takes
    the place of z. Shares of 0 and 1 have no such variance: there all duels of a cluster count as
    one (Kish: n^2 over the sum of squares of the clusters' duels).
    """
    met = counts + counts.swapaxes(-1, -2)
    n, distinct = met.sum(0), (met > 0).sum(0)
    once = met.max(0, initial=0) <= 1
    with np.errstate(divide="ignore", invalid="ignore"):
        share = counts.sum(0) / n
        plain = share * (1 - share) / n
        spread = ((counts - share * met) ** 2).sum(0) / n**2 * distinct / (distinct - 1)
        effective = np.where(plain > 0, n / np.maximum(spread / plain, 1), n**2 / (met**2).sum(0))
        effective = np.where(once, n, effective)
        score = (share - 0.5) * np.sqrt(4 * effective)
        enough = distinct >= FEWEST
        degrees = np.where(once, np.inf, np.maximum(distinct - 1, 1))
        p = np.where(enough, 2 * stdtr(degrees, -np.abs(score)), np.nan)
        upper = (1 + LEVEL) / 2
        narrowed = effective * (ndtri(upper) / stdtrit(degrees, upper)) ** 2
    low, high = wilson(np.where(enough, share * narrowed, np.nan), np.where(enough, narrowed, 0))
    return Rates(share, low, high, p, n.astype(int), distinct, once)


def unscored(part: Duels) -> np.ndarray:
    """Decisions (V, V) that showed both values and gave no duel between them."""
    values = np.arange(len(part.values))
    has = (part.shown[:, :, None] == values).any(1).astype(float)
    duel = part.contested()
    taken = (duel.taken()[:, None] == values).astype(float)
    seen = (duel.shown[:, :, None] == values).any(1)
    won_by = (taken * duel.n[:, None]).T @ seen
    return ((has * part.n[:, None]).T @ has - won_by - won_by.T).astype(int)


def shown_first(part: Duels) -> np.ndarray:
    """Share (V, V) of duels in which the value of the row was shown before that of the column."""
    pairs, v = part.pairs(), len(part.values)
    before = np.where(pairs["first"], pairs["winner"], pairs["loser"])
    after = np.where(pairs["first"], pairs["loser"], pairs["winner"])
    count = np.bincount(before * v + after, pairs["n"], v * v).reshape(v, v)
    with np.errstate(invalid="ignore"):
        return count / (count + count.T)


def _rows(about: dict, part: Duels, left_out: float | None) -> list[dict]:
    found, lost, before = rates(won(part)), unscored(part), shown_first(part)
    pairs = list(combinations(range(len(part.values)), 2))
    p_holm = holm([found.p[pair] for pair in pairs])
    rows = []
    for pair, adjusted in zip(pairs, p_holm, strict=True):
        rows.append(
            about
            | found.row(part.values, pair)
            | {"n_unscored": int(lost[pair]), "share_first": cell(before[pair])}
            | {"unread": part.unread, "left_out": left_out, "chance": 0.5}
            | {"p": cell(found.p[pair]), "p_holm": cell(adjusted)}
        )
    return rows

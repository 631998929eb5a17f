"""How far do the priorities of a later stage lie from those of the first, beyond chance?"""

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from scipy.special import softmax, xlogy

from sim.analysis.bradley_terry import Cells, by_stage, cells, resampled
from sim.analysis.duels import GROUP, Duels, distinct, duels
from sim.analysis.intervals import FEWEST, LEVEL, holm
from sim.analysis.scores import ESTIMATE, cell, generator
from sim.tables import Tables

SCHEMA = {
    "kind": pl.String,
    **dict.fromkeys(GROUP, pl.String),
    "stage": pl.Int64,
    "other": pl.Int64,  # the stage that it is compared with
    "n_values": pl.Int64,  # in both distributions
    **ESTIMATE,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,  # mean of permutations
    "baseline_low": pl.Float64,
    "baseline_high": pl.Float64,
    "corrected": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}
KINDS = ("strengths", "win_rates")
RESAMPLES = 1_000
PERMUTATIONS = 200


def shift_divergence(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (kind, group, first stage, other stage): Jensen-Shannon divergence, 0..1 bit.

    Lin (1991), IEEE Transactions on Information Theory 37(1), 145-151, base 2; not its square
    root. Between distributions over values that do not depend on how often each value is shown:
    `strengths`, softmax of Bradley-Terry strengths (of values met at both stages); `win_rates`,
    mean win rate of each value over its opponents, all weighing the same, that it met at both
    stages, made to sum to 1. The first is ruled by the strongest values and hardly sees a shift
    among weak ones; the second weighs all alike, but takes no position off.

    Noise alone makes a divergence positive. `chance` and `baseline_low` .. `baseline_high`: mean
    and 2.5 to 97.5 % of 200 tables in which, within each cluster, items were dealt to the two
    stages anew, whole, with all choices of all agents; `corrected` = estimate - chance; p = (1 +
    those at least as large) / 201, at least .005; Holm's correction over the other stages of a
    group and kind. It tests that stages differ in nothing: where they supply very different pairs
    of values, these too are mixed; in 150 studies of 30 dilemmas and 4 agents that did not shift,
    p was at most .05 in 9 % (strengths; standard error 2) and 3 % (win rates).

    Intervals: 2.5 to 97.5 % of 1,000 bootstrap samples of clusters, moved down by how much their
    mean lies above the estimate (the bootstrap adds the noise once more), not below 0. n counts
    choices of both stages, n_distinct clusters. `seed` is that of bootstrap and permutations.
    """
    rows: list[dict] = []
    for key, group in duels(tables):
        c = cells(group)
        if len(c.stages) < 2:
            continue
        rng = generator(seed, "divergence", *key.values())
        found = [[] for _ in KINDS]
        resamples = resampled(c, RESAMPLES, rng)
        strengths = [by_stage(c, x) for x in (c.total[None], resamples)]
        won = [wins(c, x) for x in (c.total[None], resamples)]
        for t in range(1, len(c.stages)):
            first, other = int(c.stages[0]), int(c.stages[t])
            pair, dealt = permuted(group, first, other, PERMUTATIONS, rng)
            draws = [*(x[:, [0, t]] for x in strengths), by_stage(pair, dealt)]
            known = ~np.isnan(draws[0][0]).any(0)
            told = [*(x[:, [0, t]] for x in won), wins(pair, dealt)]
            sets = [by_strength(x[..., known]) for x in draws], [by_wins(x) for x in told]
            facts = {"stage": first, "other": other} | _counts(group, c, [first, other])
            n_values = int(known.sum()), _n_met(told[0][0])
            for kind in range(len(KINDS)):
                found[kind].append(facts | _row(sets[kind], n_values[kind], facts["n_distinct"]))
        common = key | {"unread": group.unread, "left_out": group.left_out}
        for kind, part in zip(KINDS, found, strict=True):
            adjusted = holm(np.array([row["p"] for row in part], float))
            both = zip(part, adjusted.tolist(), strict=True)
            rows += [{"kind": kind} | common | row | {"p_holm": cell(p)} for row, p in both]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def jensen_shannon(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Divergence (...) in bits, 0..1, of distributions (..., V) that sum to 1."""
    middle = (a + b) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = xlogy(a, a / middle) + xlogy(b, b / middle)
    # xlogy(0, NaN) is NaN where neither has the value: it adds nothing.
    return np.maximum(np.where(middle > 0, apart, 0.0).sum(-1) / (2 * np.log(2)), 0.0)


def by_strength(strengths: np.ndarray) -> np.ndarray:
    """Divergences (B,) between two stages, from strengths (B, 2, V); NaN below two values."""
    if strengths.shape[-1] < 2:
        return np.full(len(strengths), np.nan)
    shares = softmax(strengths, axis=-1)
    return jensen_shannon(shares[:, 0], shares[:, 1])


def by_wins(won: np.ndarray) -> np.ndarray:
    """Divergences (B,) between two stages, from wins (B, 2, V, V); NaN where no pair met twice."""
    n = won + won.swapaxes(-1, -2)
    both = (n > 0).all(1, keepdims=True)
    opponents = both.sum(-1)
    rates = np.where(both, won, 0.0) / np.where(both, n, 1.0)
    scores = rates.sum(-1) / np.maximum(opponents, 1)
    total = scores.sum(-1, keepdims=True)
    scores = scores / np.where(total > 0, total, np.nan)
    found = jensen_shannon(scores[:, 0], scores[:, 1])
    return np.where(np.isnan(scores).any((1, 2)), np.nan, found)


def wins(c: Cells, counts: np.ndarray) -> np.ndarray:
    """How often each value won against each other one: (B, stages, V, V) of counts (B, C, K)."""
    v = c.n_values
    found = np.zeros((len(counts), len(c.stages), v, v))
    a, b = c.shown[:, :, None], c.shown[:, None, :]
    cell_, place, against = np.nonzero((a >= 0) & (b >= 0) & (a != b))
    for s in range(len(c.stages)):
        at = c.stage[cell_] == s
        i, k, j = cell_[at], place[at], against[at]
        pairs = np.zeros((c.shown.size, v * v))
        np.add.at(pairs, (i * c.shown.shape[1] + k, c.shown[i, k] * v + c.shown[i, j]), 1.0)
        found[:, s] = (counts.reshape(len(counts), -1) @ pairs).reshape(-1, v, v)
    return found


def permuted(
    group: Duels, first: int, other: int, n: int, rng: np.random.Generator
) -> tuple[Cells, np.ndarray]:
    """Counts (n, 2 C, places) of choices at two stages whose items were dealt anew.

    Within each cluster its items change places at random, as many staying at each stage; an item
    takes all its choices with it, and with them its pair of values. The cells that come with them
    hold all sets of options shown at either stage, once for each; their own counts are empty.
    """
    mine = group.contested()
    mine = mine.only(np.isin(mine.stage, [first, other]))
    shown, at = distinct(mine.shown)
    half, width = len(shown), mine.shown.shape[1]
    item, row, where = np.unique(mine.item, return_index=True, return_inverse=True)
    flat = at * width + mine.chosen
    # How often each item has each choice.
    of_item = csr_array((mine.n.astype(float), (flat, where)), shape=(half * width, len(item)))
    later = (of_item @ _dealt(mine.cluster[row], mine.stage[row] == other, n, rng)).T
    whole = of_item.sum(1)
    counts = np.concatenate([whole - later, later], axis=1).reshape(n, 2 * half, width)
    stage = np.repeat([0, 1], half)
    nobody = np.zeros((0, 2 * half, width))
    stages = np.array([first, other])
    return Cells(np.tile(shown, (2, 1)), stage, stages, len(group.values), nobody), counts


def _dealt(cluster: np.ndarray, late: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Deals items anew n times: (items, n), 1 for the later stage, as often in each cluster.

    `cluster` (items,) is that of each item, `late` (items,) whether it was met at the later stage.
    """
    order = np.argsort(cluster, kind="stable")
    _, start, size = np.unique(cluster[order], return_index=True, return_counts=True)
    places = np.add.reduceat(late[order].astype(float), start)[:, None].repeat(n, axis=1)
    dealt = np.zeros((len(late), n))
    # One item of every cluster at a time: by lot it gets one of the places that are left.
    for k in range(size.max() - 1):
        more = np.flatnonzero(size > k + 1)
        lots = rng.random((len(more), n)) * (size[more] - k)[:, None]
        got = lots < places[more]
        places[more] -= got
        dealt[order[start[more] + k]] = got
    dealt[order[start + size - 1]] = places
    return dealt


def _counts(group: Duels, c: Cells, stages: list[int]) -> dict:
    by_cluster = c.choices[:, np.isin(c.stages[c.stage], stages)].sum(1)
    every = int(group.n[np.isin(group.stage, stages)].sum())
    n = int(by_cluster.sum())
    return {"n": n, "n_distinct": int((by_cluster > 0).sum()), "n_unscored": every - n}


def _n_met(won: np.ndarray) -> int:
    """Values with an opponent met at both stages, of wins (2, V, V)."""
    n = won + won.swapaxes(-1, -2)
    return int((n > 0).all(0).any(-1).sum())


def _row(draws: list[np.ndarray], n_values: int, clusters: int) -> dict:
    """Estimate, interval and baseline of the observed, resampled and permuted divergences."""
    estimate, resamples, dealt = float(draws[0][0]), draws[1], draws[2]
    row = {"n_values": n_values, "estimate": None, "p": None}
    if n_values < 2:
        return row
    row["estimate"] = estimate
    if clusters < FEWEST:
        return row
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile(resamples, ends) - (np.nanmean(resamples) - estimate)
    dealt = dealt[~np.isnan(dealt)]
    chance = dealt.mean()
    # As large but for rounding: a table dealt as it was counts.
    p = (1 + (dealt >= estimate - 1e-12).sum()) / (1 + len(dealt))
    baseline_low, baseline_high = np.quantile(dealt, ends)
    return row | {
        "low": float(max(low, 0.0)),
        "high": float(min(high, 1.0)),
        "interval": "bootstrap",
        "chance": float(chance),
        "baseline_low": float(baseline_low),
        "baseline_high": float(baseline_high),
        "corrected": estimate - float(chance),
        "p": float(p),
    }

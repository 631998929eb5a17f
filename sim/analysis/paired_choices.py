"""Do members choose otherwise in another context, wording, order of options, or kind of agent?"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl

from sim.analysis.duels import GROUP
from sim.analysis.paired import cochran_q, corrected, mcnemar, ratio, same_shares
from sim.analysis.paired_counts import Answers, Counts, answers, counted, differ, noise
from sim.analysis.scores import ESTIMATE, cell
from sim.tables import Tables

SCHEMA = {
    "factor": pl.String,
    **dict.fromkeys(GROUP, pl.String),
    "first": pl.String,
    "second": pl.String,  # null: all levels together
    **ESTIMATE,
    "n_discordant": pl.Int64,
    "flips": pl.Float64,
    "flips_low": pl.Float64,
    "flips_high": pl.Float64,
    "flips_chance": pl.Float64,
    "noise": pl.Float64,
    "q": pl.Float64,
    "df": pl.Int64,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_cluster": pl.Float64,
    "p_holm": pl.Float64,
}
_KIND = ["model", "agent", "method"]
# What a kind of agent adds to the game's own is no difference between questions.
_GAME = {
    "context_mode": pl.col("context_mode").str.split(", ").list.first(),
    "wording": pl.col("wording").str.split("; ").list.first(),
}


def paired_choices(tables: Tables, seed: int) -> pl.DataFrame:
    """Rows of (factor, kind of agent, two levels): do the same members choose otherwise?

    A pair is one member and one item under two levels of a factor, all else alike: `context_mode`,
    `wording`, `order` (canonical or swapped) within a kind of agent; `agent`, between kinds and
    models (there the game's own context and wording are alike, not what a kind adds to them). Pairs
    are taken over everything else: `value`, `context_mode` and `wording` are null where they vary
    in a group. Repeats are averaged within a pair.

    `estimate`: share of taking the first canonical option under `second` minus that under `first`,
    -1..1, chance 0. `flips`: share of two answers, one under each, that differ, with its interval
    and what choices by lot have; `noise`: the same of two repeats under one of both, null without
    repeats: what flips exceed it by is due to the factor. `n` pairs from `n_distinct` clusters
    (dilemmas or norms), `n_discordant` of them differ in the share; `n_unscored` pairs are left
    out, since one side was unread, behind an unread answer in a mode that tells earlier choices,
    or not decided. `unread`, `left_out` (with those behind): shares of the answers of all pairs.

    `p`: McNemar's exact test, of repeats the sign test of their averages; it takes pairs for
    independent, which answers to one dilemma are not. `p_cluster`, and the t intervals, do not;
    they are of new dilemmas, McNemar's of these. `p_holm`: of p_cluster, over the contrasts of a
    factor and instrument. A row with `second` null follows where a kind of agent met three levels
    or more (named in `first`): Cochran's Q (`q`, `df`, `p`) of members and items that have all of
    them, and in `p_cluster` the same robust to clusters. `seed` is not used: nothing is drawn.
    """
    del seed
    every = answers(tables)
    if every is None:
        return pl.DataFrame(schema=SCHEMA)
    every = replace(every, conditions=every.conditions.with_columns(_level(tables).alias("kind")))
    conditions = _conditions(every)
    in_order, same_member = _in_order(every, conditions), _same_member(every, tables)
    units = {
        "context_mode": (every, _KIND, ["wording", "order"], "context_mode"),
        "wording": (every, _KIND, ["context_mode", "order"], "wording"),
        "order": (in_order, _KIND, ["context_mode", "wording"], "turned"),
        "agent": (same_member, [], ["context_mode", "wording", "order"], "kind"),
    }
    found: list[dict] = []
    for factor, (part, kind, held, level) in units.items():
        key = ["instrument", *kind]
        names = conditions[level].drop_nulls().unique().sort().to_list()
        if len(names) < 2:
            continue
        kept = [*key, "cluster", "width"]
        counts = counted(part, kept, ["member", "item", *held], level, names)
        found += _contrasts(factor, key, counts, names, conditions, level)
    table = pl.DataFrame(found, schema=SCHEMA, orient="row")
    one = pl.when(pl.col("second").is_not_null()).then("p_cluster")
    table = table.with_columns(one.alias("_"))
    family = [pl.col("factor"), pl.col("instrument")]
    return corrected(table, "_", family).select(*SCHEMA)


def _with_width(every: Answers) -> pl.LazyFrame:
    return every.rows.join(every.items.lazy().select("item", "width"), on="item")


def _conditions(every: Answers) -> pl.DataFrame:
    """Every combination of conditions that was met; `turned` says which way options stood."""
    step = pl.col("option_order").list.head("width").list.diff()
    way = [pl.all_horizontal(step.list.min() == k, step.list.max() == k) for k in (1, -1)]
    return (
        _with_width(every)
        .select("condition", "width", "order")
        .unique()
        .collect(engine="streaming")
        .join(every.conditions, on="condition")
        .join(every.orders, on="order")
        .with_columns(
            pl.when(way[0])
            .then(pl.lit("canonical"))
            .when(way[1])
            .then(pl.lit("swapped"))
            .alias("turned")
        )
    )


def _in_order(every: Answers, conditions: pl.DataFrame) -> Answers:
    """Those that were shown one way or the other, `turned`."""
    turned = conditions.select("width", "order", "turned").unique().drop_nulls().lazy()
    return replace(every, rows=_with_width(every).join(turned, on=["width", "order"]))


def _same_member(every: Answers, tables: Tables) -> Answers:
    """Members that are the same under several models as one, and what the game itself tells."""
    bare = every.members.select("member", _member(tables).rank("dense").alias("_"))
    rows = every.rows.join(bare.lazy(), on="member").with_columns(pl.col("_").alias("member"))
    return replace(every, rows=rows, conditions=every.conditions.with_columns(**_GAME))


def _level(tables: Tables) -> pl.Expr:
    """Kind of agent, with its model where the kind has several."""
    many = tables.agents.group_by("agent").agg(pl.col("model").n_unique() > 1)
    several = many.filter("model")["agent"].implode()
    named = pl.format("{} ({})", "agent", pl.col("model").fill_null("no model"))
    return pl.when(pl.col("agent").is_in(several)).then(named).otherwise("agent")


def _member(tables: Tables) -> pl.Expr:
    """Who is the same under several models: `by_model` puts the model's name behind an @."""
    bare = pl.col("name").str.replace("@[^@]*$", "")
    who = tables.agents.select("agent", "model", pl.col("member").alias("name")).with_columns(bare)
    several = tables.agents["model"].drop_nulls().n_unique() > 1
    return bare if several and not who.is_duplicated().any() else pl.col("name")


def _contrasts(
    factor: str, key: list[str], counts: Counts, names: list, conditions: pl.DataFrame, level: str
) -> list[dict]:
    rows = []
    for about, mine in counts.by(key):
        same = [pl.col(c).eq_missing(pl.lit(v, pl.String)) for c, v in about.items()]
        met = conditions.filter(*same)
        # What all pairs of a group have in common is said.
        alike = [c for c in GROUP if c not in (*key, level) and met[c].n_unique() == 1]
        common = {"factor": factor} | dict.fromkeys(GROUP) | about | {c: met[c][0] for c in alike}
        has = [j for j, one in enumerate(names) if (met[level] == one).any()]
        for i, j in combinations(has, 2):
            if len((pairs := mine.at([i, j])).n):
                rows.append(common | {"first": names[i], "second": names[j]} | _contrast(pairs))
        if len(has) > 2 and len((every := mine.at(has)).n):
            rows.append(common | {"first": ", ".join(names[j] for j in has)} | _all_levels(every))
    return rows


def _shares(counts: Counts) -> np.ndarray:
    """Share (P, k) of the answers at each level that took the first canonical option."""
    return counts.taken[..., 0] / counts.taken.sum(-1)


def _contrast(pairs: Counts) -> dict:
    mine = pairs.only(pairs.scored)
    apart = np.diff(_shares(mine))[:, 0]
    found = ratio(*mine.sums(apart))
    flips = ratio(*mine.sums(differ(mine.taken[:, 0], mine.taken[:, 1])))
    b, c = int(mine.n[apart < 0].sum()), int(mine.n[apart > 0].sum())
    repeats, n_repeated = (part.sum() for part in mine.sums(noise(mine.taken)))
    ends = flips.interval(0.0)
    return (
        pairs.columns()
        | found.columns()
        | {"n_discordant": b + c, "chance": 0.0, "flips": cell(flips.estimate)}
        | {"flips_low": ends["low"], "flips_high": ends["high"], "flips_chance": mine.chance}
        | {"noise": float(repeats / n_repeated) if n_repeated else None}
        | {"p": mcnemar(b, c) if len(mine.n) else None, "p_cluster": found.p}
    )


def _all_levels(every: Counts) -> dict:
    mine = every.only(every.scored)
    share = _shares(mine)
    q, df, p = cochran_q(share, mine.n)
    sums, sizes = mine.sums(share)
    row = every.columns() | {"n_distinct": len(sums), "q": cell(q), "df": df, "p": cell(p)}
    return row | {"p_cluster": same_shares(sums, sizes[:, 0])}

"""Does value rationality change from one choice to the next within a conversation?"""

import numpy as np
import polars as pl

from sim.analysis.intervals import interval, means, p_value
from sim.analysis.scores import (
    ESTIMATE,
    GROUP,
    average,
    cell,
    generator,
    groups,
    pooled,
    requests,
    unit_ids,
)
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,  # choice_vr at a step, or its slope
    **dict.fromkeys(GROUP[:-1], pl.String),
    "target": pl.Float64,
    "context_mode": pl.String,
    "step": pl.Int32,  # 0-based; null for the slope
    **ESTIMATE,
    "n_flat": pl.Int64,  # decisions with nothing at stake, which are left out
    "unread": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
}
_ITEM = ["env", "instrument", "item"]
_KEYS = [*GROUP, "context_mode"]
_FLAT = 1e-9  # payoff points: nothing is at stake


def drift(tables: Tables, seed: int) -> pl.DataFrame:
    """Rows of `choice_vr` (utility gained of that at stake, 0..1) by step, and of its slope.

    Of members with a target. The slope, per choice, is each agent's own least squares over its
    read choices, after the mean of the same item over all agents of the group was taken off: so
    hard items that come late are no drift, provided that the order of items varies
    (`env.item_order=shuffled`); with one order for all, items and steps are the same thing and the
    slope is null. Chance is that of uniform choices; 0 for the slope.
    """
    frame = pooled(_scored(tables))
    asked = requests(tables)
    rows: list[dict] = []
    for key, part in groups(frame, _KEYS):
        same = asked.filter(instrument=key["instrument"])
        rows += _steps(key, part, same, seed) + _slope(key, part, same, seed)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _scored(tables: Tables) -> pl.DataFrame:
    """One row per decision of members with a target: its share of the utility at stake."""
    radians = pl.col("target") * (np.pi / 180)
    utility = radians.cos() * pl.col("payoff_self") + radians.sin() * pl.col("payoff_other")
    decisions = tables.decisions.filter(pl.col("target").is_not_null())
    targets = decisions.select("target").unique().collect()
    options = tables.items.filter(pl.col("payoff_self").is_not_null()).join(targets, how="cross")
    stakes = options.group_by(*_ITEM, "target", maintain_order=True).agg(
        utility.max().alias("best"), utility.min().alias("worst"), utility.mean().alias("mean")
    )
    span = pl.col("best") - pl.col("worst")
    return (
        decisions.select(*_KEYS, *_ITEM[::2], "agent_id", "episode", "step", "action",
                         utility.alias("utility"))
        .join(stakes.lazy(), on=[*_ITEM, "target"], how="inner", maintain_order="left")
        .with_columns((span <= _FLAT).alias("flat"))
        .with_columns(
            pl.when(pl.col("action").is_not_null() & ~pl.col("flat"))
            .then((pl.col("utility") - pl.col("worst")) / span)
            .alias("vr"),
            pl.when(~pl.col("flat"))
            .then((pl.col("mean") - pl.col("worst")) / span)
            .alias("by_chance"),
            pl.col("action").is_null().alias("lost"),
        )
        .collect(engine="streaming")
    )  # fmt: skip


def _steps(key: dict, part: pl.DataFrame, asked: pl.DataFrame, seed: int) -> list[dict]:
    rows = []
    for (step,), here in part.sort("step").group_by("step", maintain_order=True):
        agents = here.group_by("agent_id").agg(pl.col("vr").mean()).sort("agent_id")
        agents = agents.join(asked, on="agent_id", how="left", maintain_order="left")
        values = agents["vr"].fill_null(np.nan).to_numpy()[:, None]
        m = means(values, unit_ids(agents), generator(seed, "drift", step, *key.values()))
        chance = average(here, "by_chance")
        rows.append(_row(key, "choice_vr", step, m, agents, here, chance, (0.0, 1.0)))
    return rows


def _slope(key: dict, part: pl.DataFrame, asked: pl.DataFrame, seed: int) -> list[dict]:
    known = part.drop_nulls("vr")
    moves = known.group_by("item").agg(pl.col("step").n_unique())["step"].to_numpy()
    resid = known.with_columns(
        (pl.col("vr") - pl.col("vr").mean().over("item")).alias("y"),
        (pl.col("step") - pl.col("step").mean().over("item")).alias("x"),
    )
    spread = (pl.col("x") - pl.col("x").mean()).pow(2).sum()
    both = ((pl.col("x") - pl.col("x").mean()) * (pl.col("y") - pl.col("y").mean())).sum()
    agents = (
        part.select("agent_id")
        .unique()
        .join(
            resid.group_by("agent_id").agg(
                pl.when(spread > 1e-9).then(both / spread).alias("slope")
            ),
            on="agent_id",
            how="left",
        )
        .sort("agent_id")
    )
    agents = agents.join(asked, on="agent_id", how="left", maintain_order="left")
    values = agents["slope"].fill_null(np.nan).to_numpy()[:, None]
    if moves.max(initial=0) < 2:
        values = np.full_like(values, np.nan)
    m = means(values, unit_ids(agents), generator(seed, "slope", *key.values()))
    row = _row(key, "slope", None, m, agents, part, 0.0, (-np.inf, np.inf))
    return [row | {"p": cell(p_value(m, 0))}]


def _row(key, measure, step, m, agents, decisions, chance, within) -> dict:
    low, high, kind = interval(m, 0)
    return {
        "measure": measure,
        **key,
        "step": step,
        "estimate": cell(m.estimate[0]),
        "low": cell(max(low, within[0])),
        "high": cell(min(high, within[1])),
        "interval": kind,
        "n": int(m.n[0]),
        "n_distinct": int(m.n_distinct[0]),
        "n_unscored": len(agents) - int(m.n[0]),
        "n_flat": int(decisions["flat"].sum()),
        "unread": average(decisions, "lost"),
        "chance": chance,
        "p": None,
    }

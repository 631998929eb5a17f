"""Choice value rationality: how much of the utility at stake the choices of an agent realise.

Any decision with payoffs has it, whatever the game; it is myopic where a game is repeated.
"""

import numpy as np
import polars as pl

from sim.analysis.scores import CONTROL, GROUP
from sim.tables import Tables

_ITEM = ["env", "instrument", "item"]
_FLAT = 1e-9  # payoff points: utility of all options alike


def choice_scores(tables: Tables, wanted: pl.DataFrame) -> pl.DataFrame:
    """One row per (group, control, agent_id), controls once per `wanted` orientation.

    Columns: choice_vr = sum(u(chosen) - u(worst)) / sum(u(best) - u(worst)) over the agent's read
    decisions, in [0, 1], null without any; chance = the same for the mean over options;
    choice_vrc, corrected for it; n_items, n_unread, n_flat (decisions, read or not; flat ones have
    nothing at stake and are left out).
    """
    stakes = _stakes(tables.items, tables.decisions, wanted)
    parts = [_sums(tables.decisions.filter(pl.col("target").is_not_null()), stakes, False)]
    controls = tables.decisions.filter(CONTROL)
    for value, target in wanted.iter_rows():
        against = [
            pl.lit(value, pl.String).alias("value"),
            pl.lit(target, pl.Float64).alias("target"),
        ]
        parts.append(_sums(controls.with_columns(against), stakes, True))
    return _ratios(pl.concat(parts)).sort(*GROUP, "control", "agent_id")


def _stakes(items: pl.DataFrame, decisions: pl.LazyFrame, wanted: pl.DataFrame) -> pl.LazyFrame:
    """Best, worst and mean utility of each item's options for each target."""
    assigned = decisions.select("target").drop_nulls().unique().collect()
    targets = pl.concat([assigned, wanted.select("target")]).unique(maintain_order=True)
    options = items.filter(pl.col("payoff_self").is_not_null()).join(targets, how="cross")
    utility = _utility("payoff_self", "payoff_other")
    return (
        options.group_by(*_ITEM, "target", maintain_order=True)
        .agg(
            utility.max().alias("best"), utility.min().alias("worst"), utility.mean().alias("mean")
        )
        .lazy()
    )


def _sums(decisions: pl.LazyFrame, stakes: pl.LazyFrame, control: bool) -> pl.DataFrame:
    """One row per (agent_id, instrument): utility gained, by chance and at stake, and counts."""
    names = ["agent_id", *GROUP[:-1]]
    # Where payoffs depend on the others' acts, the row carries its own options, as believed.
    utility = _utility("option_self", "option_other")
    at_stake = pl.col("best") - pl.col("worst")
    counted = pl.col("action").is_not_null() & (at_stake > _FLAT)
    chosen = pl.coalesce(
        utility.list.get(pl.col("action"), null_on_oob=True),
        _utility("payoff_self", "payoff_other"),
    )
    rows = (
        decisions.join(stakes, on=[*_ITEM, "target"], how="left", maintain_order="left")
        .with_columns(
            pl.coalesce(utility.list.max(), "best").alias("best"),
            pl.coalesce(utility.list.min(), "worst").alias("worst"),
            pl.coalesce(utility.list.mean(), "mean").alias("mean"),
        )
        .filter(pl.col("best").is_not_null())
        .select(
            "target",
            *(pl.col(c).cast(pl.Categorical) for c in names),
            pl.when(counted).then(chosen - pl.col("worst")).alias("gained"),
            pl.when(counted).then(pl.col("mean") - pl.col("worst")).alias("by_chance"),
            pl.when(counted).then(at_stake).alias("at_stake"),
            pl.col("action").is_null().alias("n_unread"),
            (at_stake <= _FLAT).alias("n_flat"),
        )
        .collect(engine="streaming")  # takes half the memory
    )
    # Sums of floats depend on their order: it is kept, so that equal tables give equal bytes.
    return (
        rows.group_by("agent_id", "instrument", maintain_order=True)
        .agg(
            pl.col(GROUP[1:]).first(),
            pl.col("gained", "by_chance", "at_stake").sum(),
            pl.len().alias("n_items"),
            pl.col("n_unread", "n_flat").sum(),
        )
        .with_columns(pl.col(names).cast(pl.String), pl.lit(control).alias("control"))
    )


def _ratios(sums: pl.DataFrame) -> pl.DataFrame:
    whole = pl.when(pl.col("at_stake") > 0).then(pl.col("at_stake"))
    return sums.with_columns(
        (pl.col("gained") / whole).alias("choice_vr"),
        (pl.col("by_chance") / whole).alias("chance"),
    ).with_columns(
        ((pl.col("choice_vr") - pl.col("chance")) / (1 - pl.col("chance"))).alias("choice_vrc")
    )


def _utility(own: str, other: str) -> pl.Expr:
    """Utility of payoffs to oneself and to the others, for the target in the same row."""
    radians = pl.col("target") * (np.pi / 180)
    return radians.cos() * pl.col(own) + radians.sin() * pl.col(other)

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
    names = ["agent_id", "model", "agent", "method", "action", "payoff_self", "payoff_other"]
    decisions = tables.decisions.select(
        *_ITEM, *names, "option_self", "option_other", "value", "target"
    ).with_columns(CONTROL.alias("control"))
    assigned = decisions.filter(pl.col("target").is_not_null())
    controls = decisions.filter("control").drop("value", "target")
    controls = controls.join(wanted.lazy(), how="cross", maintain_order="left_right")
    controls = controls.select(assigned.collect_schema().names())
    targets = pl.concat(
        [assigned.select("target").unique().collect(), wanted.select("target")]
    ).unique()
    rows = pl.concat([assigned, controls])
    stakes = _stakes(tables.items, targets).lazy()
    rows = rows.join(stakes, on=[*_ITEM, "target"], how="left", maintain_order="left")
    return _sums(rows).collect().sort(*GROUP, "control", "agent_id")


def _stakes(items: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """Best, worst and mean utility of each item's options for each target."""
    options = items.filter(pl.col("payoff_self").is_not_null()).join(targets, how="cross")
    utility = _cos() * pl.col("payoff_self") + _sin() * pl.col("payoff_other")
    return options.group_by(*_ITEM, "target", maintain_order=True).agg(
        utility.max().alias("best"), utility.min().alias("worst"), utility.mean().alias("mean")
    )


def _sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    # Where payoffs depend on the others' acts, the row carries its own options.
    utility = pl.col("option_self") * _cos() + pl.col("option_other") * _sin()
    read = pl.col("action").is_not_null()
    at_stake = pl.col("best") - pl.col("worst")
    counted = read & (at_stake > _FLAT)
    chosen = _cos() * pl.col("payoff_self") + _sin() * pl.col("payoff_other")
    # Sums of floats depend on their order: it is kept, so that equal tables give equal bytes.
    sums = (
        rows.with_columns(
            pl.coalesce(utility.list.max(), "best").alias("best"),
            pl.coalesce(utility.list.min(), "worst").alias("worst"),
            pl.coalesce(utility.list.mean(), "mean").alias("mean"),
        )
        .filter(pl.col("best").is_not_null())
        .group_by(*GROUP, "control", "agent_id", maintain_order=True)
        .agg(
            (chosen - pl.col("worst")).filter(counted).sum().alias("gained"),
            (pl.col("mean") - pl.col("worst")).filter(counted).sum().alias("by_chance"),
            at_stake.filter(counted).sum().alias("at_stake"),
            pl.len().alias("n_items"),
            (~read).sum().alias("n_unread"),
            (at_stake <= _FLAT).sum().alias("n_flat"),
        )
    )
    whole = pl.when(pl.col("at_stake") > 0).then(pl.col("at_stake"))
    return sums.with_columns(
        (pl.col("gained") / whole).alias("choice_vr"),
        (pl.col("by_chance") / whole).alias("chance"),
    ).with_columns(
        ((pl.col("choice_vr") - pl.col("chance")) / (1 - pl.col("chance"))).alias("choice_vrc")
    )


def _cos() -> pl.Expr:
    return (pl.col("target") * (np.pi / 180)).cos()


def _sin() -> pl.Expr:
    return (pl.col("target") * (np.pi / 180)).sin()

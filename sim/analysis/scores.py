"""Shared by the analyzers: one row per answer sheet, one per agent, and who is one unit.

The unit of resampling is the agent: its repeats are averaged first.
"""

from collections.abc import Iterator
from zlib import crc32

import numpy as np
import polars as pl

from sim.analysis.sheets import Sheet
from sim.analysis.slider import CANONICAL, MOTIVES
from sim.tables import Tables

GROUP = ["instrument", "model", "agent", "method", "value", "target"]
# What every number of a result table carries.
ESTIMATE = {
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "interval": pl.String,
    "n": pl.Int64,
    "n_distinct": pl.Int64,
    "n_unscored": pl.Int64,
}
CONTROL = pl.col("value").is_null() & pl.col("target").is_null()
_SEED = 0  # of polars' hash: any fixed one
MOST_ORIENTATIONS = 36  # against which controls are scored


def orientations(decisions: pl.LazyFrame) -> pl.DataFrame:
    """(value, target) against which controls are scored, sorted by falling target.

    Those assigned in the run; the four named ones if none is, or more than 36 (sampled angles).
    """
    assigned = (
        decisions.filter(pl.col("target").is_not_null())
        .select("value", "target")
        .unique()
        .collect()
    )
    if not 0 < len(assigned) <= MOST_ORIENTATIONS:
        assigned = pl.DataFrame({"value": MOTIVES, "target": CANONICAL})
    return assigned.sort("target", "value", descending=[True, False], nulls_last=True)


def against_orientations(rows: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """`rows` that have a target, and each control row once per wanted orientation.

    Adds `row` (position in `rows`) and `control`. A value without a target has no score.
    """
    rows = rows.with_row_index("row").with_columns(CONTROL.alias("control"))
    controls = rows.filter("control").drop("value", "target").join(wanted, how="cross")
    assigned = rows.filter(pl.col("target").is_not_null())
    return pl.concat([assigned, controls.select(assigned.columns)])


def pooled(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the target null where members of one value have several: they are one group."""
    one = pl.col("target").n_unique().over("value") <= 1
    return rows.with_columns(pl.when(one).then("target").alias("target"))


def requests(tables: Tables) -> pl.DataFrame:
    """Per (agent_id, instrument): the hash of all requests and of all answers; scripted or not."""
    request = pl.col("request")
    return (
        tables.decisions.select(
            "agent_id",
            "instrument",
            pl.when(request.is_not_null()).then(request.hash(_SEED)).alias("requests"),
            # Actions drawn from label probabilities are draws of our own as well.
            (request.is_null() | pl.col("response_mode").eq_missing("label")).alias("scripted"),
            pl.struct("item", "action").hash(_SEED).alias("answers"),
        )
        .group_by("agent_id", "instrument")
        .agg(pl.col("requests", "answers").sum(), pl.col("scripted").all())
        .collect(engine="streaming")
    )


def unit_ids(group: pl.DataFrame) -> np.ndarray:
    """Ids (n,) of the units of a group of agents: those that share all requests are one.

    Agents that share some greedy requests only (other forms, other orders) count as several.

    Scripted agents ask nobody: each is a unit, unless all gave the same answers; then the group
    is one. Columns as `requests` gives them.
    """
    ids = group["requests"].to_numpy().copy()
    scripted = group["scripted"].to_numpy()
    if scripted.all() and group["answers"].n_unique() <= 1:
        return np.zeros(len(ids), dtype=ids.dtype)
    ids[scripted] = np.arange(scripted.sum(), dtype=ids.dtype)
    return ids


def by_agent(rows: pl.DataFrame, asked: pl.DataFrame, keys: list[str], counts: list[str]):
    """One row per (keys, agent_id): means of the other numeric columns, sums of `counts`.

    NaN counts as missing. Adds the columns of `asked`, the table that `requests` gives.
    """
    means = [c for c in rows.columns if c not in {*keys, *counts, "agent_id"}]
    return (
        rows.group_by(*keys, "agent_id", maintain_order=True)
        .agg(pl.col(means).fill_nan(None).mean(), pl.col(counts).sum())
        .join(asked, on=["agent_id", "instrument"], how="left")
        .sort(*keys, "agent_id")
    )


def groups(frame: pl.DataFrame, keys: list[str]) -> Iterator[tuple[dict, pl.DataFrame]]:
    """(key values by name, rows) of each group, in the order of the keys, nulls first."""
    for part in frame.sort(*keys, maintain_order=True).partition_by(keys, maintain_order=True):
        yield part.select(keys).row(0, named=True), part


def generator(seed: int, *key: object) -> np.random.Generator:
    """The bootstrap's generator of a group: it depends on the group's key, not on the others."""
    return np.random.default_rng([seed, crc32(repr(key).encode())])


def unwrapped(
    angle: np.ndarray, target: float | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Angles as numbers that can be averaged: each within 180 of their circular mean.

    Leaves all angles of an instrument that spans less than 180 degrees as they are. With a
    `target`, the circular mean lies within 180 degrees of it.
    """
    radians = np.radians(angle)
    weights = np.ones(len(angle)) if weights is None else weights
    x, y = np.nansum(weights * np.cos(radians)), np.nansum(weights * np.sin(radians))
    middle = np.degrees(np.arctan2(y, x))
    if target is not None:
        middle = target + (middle - target + 180) % 360 - 180
    return angle - 360 * np.round((angle - middle) / 360)


def answered(sheet: Sheet) -> pl.DataFrame:
    """The rows of a sheet with the `angle` of each, and counts of those with and without one."""
    angles = sheet.angles()
    return with_lost(sheet.rows, np.isnan(angles)).with_columns(pl.Series("angle", angles))


def with_lost(rows: pl.DataFrame, lost: np.ndarray) -> pl.DataFrame:
    """Adds `n_sheets`, 1, and `n_lost`, 1 where the answer sheet has no score."""
    return rows.with_columns(
        pl.lit(1, pl.Int64).alias("n_sheets"), pl.Series("n_lost", lost, pl.Boolean).cast(pl.Int64)
    )


def left_out(part: pl.DataFrame, lost: str = "n_lost") -> float:
    """Share 0..1 of a group's answer sheets that have no score: all of it needs every item."""
    return float(part[lost].to_numpy().sum() / part["n_sheets"].to_numpy().sum())


def unread_share(part: pl.DataFrame) -> float:
    """Share 0..1 of a group's decisions that could not be read."""
    return float(part["n_unread"].to_numpy().sum() / part["n_items"].to_numpy().sum())


def average(part: pl.DataFrame, column: str) -> float | None:
    """Mean of a column over the rows that have it; None if none has."""
    known = part[column].cast(pl.Float64).drop_nulls().to_numpy()
    return float(known.mean()) if len(known) else None


def cell(number: float | None) -> float | None:
    """A number for a result table: null where it is unknown."""
    return None if number is None or np.isnan(number) else float(number)

"""What did each participant measure? One row per answered instrument, for further statistics."""

import numpy as np
import polars as pl

from sim.analysis.scores import answered, with_lost
from sim.analysis.sheets import SECONDARY, SLIDER, Sheet, sheets
from sim.analysis.slider import category, inequality_aversion, rank_order, transitivity
from sim.tables import Tables

SCHEMA = {
    "instrument": pl.String,
    "model": pl.String,
    "agent": pl.String,
    "method": pl.String,
    "agent_id": pl.String,
    "episode": pl.Int64,
    "seat": pl.String,
    "repeat": pl.Int32,
    "value": pl.String,
    "target": pl.Float64,
    "angle": pl.Float64,  # degrees
    "category": pl.String,  # of the slider alone
    "mean_self": pl.Float64,  # payoff points, over the items
    "mean_other": pl.Float64,
    "transitive": pl.Boolean,
    "rank_order": pl.String,  # motives by falling wins, such as P>A=I>C; null unless transitive
    "ia_index": pl.Float64,  # 0 inequality aversion .. 1 joint gain; of the secondary items
    "ia_type": pl.String,  # inequality_averse, joint_gain, or tied; null where undefined
    "n_items": pl.Int64,
    "n_unread": pl.Int64,
}
IA_TYPES = ("inequality_averse", "joint_gain", "tied")


def svo_scores(tables: Tables) -> pl.DataFrame:
    """One row per (episode, seat, instrument), sorted so; null where an answer is unread.

    The inequality-aversion index stands with the primary items of the same episode, in a row of
    its own where there are none.
    """
    all_sheets = sheets(tables)
    empty = pl.DataFrame(schema=SCHEMA)
    primary = [angle_rows(s) for s in all_sheets if s.bears_angle]
    second = [secondary_rows(s) for s in all_sheets if s.instrument == SECONDARY]
    table = pl.concat([empty.select(pl.exclude("ia_index", "ia_type")), *primary], how="diagonal")
    indices = pl.concat([empty, *second], how="diagonal").select(list(SCHEMA))
    same = ["episode", "seat", "agent_id"]
    first = indices.unique(same, keep="first", maintain_order=True)
    has_slider = pl.col("instrument") == SLIDER
    table = pl.concat(
        [
            table.filter(has_slider).join(
                first.select(*same, "ia_index", "ia_type"),
                on=same,
                how="left",
                maintain_order="left",
            ),
            table.filter(~has_slider),
            indices.join(table.filter(has_slider), on=same, how="anti"),
        ],
        how="diagonal",
    )
    return table.select(pl.col(c).cast(t) for c, t in SCHEMA.items()).sort(
        "episode", "seat", "instrument", maintain_order=True
    )


def angle_rows(sheet: Sheet) -> pl.DataFrame:
    """The sheet's rows with angle, category, mean payoffs, transitivity and rank order."""
    rows = answered(sheet)
    chosen = sheet.chosen()
    payoff = chosen.mean(1)
    transitive, order = _ranking(sheet, chosen)
    slider = sheet.instrument == SLIDER
    kind = category(rows["angle"].to_numpy()).tolist() if slider else [None] * len(rows)
    return rows.with_columns(
        pl.col("angle").fill_nan(None),
        pl.Series("category", kind, dtype=pl.String),
        pl.Series("mean_self", payoff[:, 0]).fill_nan(None),
        pl.Series("mean_other", payoff[:, 1]).fill_nan(None),
        pl.Series("transitive", transitive).fill_nan(None).cast(pl.Boolean),
        pl.Series("rank_order", order.tolist(), dtype=pl.String),
    )


def _ranking(sheet: Sheet, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (sheet.poles < 0).any() or not sheet.complete:
        return np.full(len(chosen), np.nan), np.full(len(chosen), None)
    last = (~np.isnan(sheet.options[..., 0])).sum(1) - 1
    ends = np.stack([sheet.options[:, 0], sheet.options[np.arange(len(last)), last]], axis=1)
    wins, acyclic = transitivity(chosen, ends, sheet.poles)
    return acyclic, rank_order(wins, acyclic)


def secondary_rows(sheet: Sheet) -> pl.DataFrame:
    """The rows of a sheet of secondary items with the inequality-aversion index and type."""
    index = np.full(len(sheet.rows), np.nan)
    if sheet.complete and len(sheet.items) == 9:
        order = np.argsort([int(item) for item in sheet.items])
        index = inequality_aversion(sheet.actions[:, order])[1]
    names = np.array([*IA_TYPES, None], dtype=object)
    kind = np.select([index < 0.5, index > 0.5, index == 0.5], [0, 1, 2], 3)
    return with_lost(sheet.rows, sheet.actions.sum(1)).with_columns(
        pl.Series("ia_index", index).fill_nan(None),
        pl.Series("ia_type", names[kind].tolist(), dtype=pl.String),
    )

"""What did each participant measure? One row per answered instrument, for further statistics."""

import numpy as np
import polars as pl

from sim.analysis.instrument import instrument
from sim.analysis.scores import with_lost
from sim.analysis.sheets import Sheet, sheets
from sim.analysis.slider import rank_order, transitivity
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
    "category": pl.String,  # of instruments that have categories
    "mean_self": pl.Float64,  # payoff points, over the items
    "mean_other": pl.Float64,
    "transitive": pl.Boolean,
    "rank_order": pl.String,  # motives by falling wins, such as P>A=I>C; null unless transitive
    "consistency": pl.Float64,  # 0..1, of the ring: length of the summed choices / twice the radius
    "n_agreeing": pl.Int64,  # of triple dominance: answers that agree with the commonest value
    "ia_index": pl.Float64,  # 0 inequality aversion .. 1 joint gain; of the secondary items
    "ia_type": pl.String,  # inequality_averse, joint_gain, or tied; null where undefined
    "n_items": pl.Int64,
    "n_unread": pl.Int64,
}
_BESIDE = ["ia_index", "ia_type"]  # they stand in the row of the slider, where there is one
_SLIDER, _SECOND = (pl.col("instrument") == n for n in ("svo_slider", "svo_slider_secondary"))


def svo_scores(tables: Tables) -> pl.DataFrame:
    """One row per (episode, seat, instrument), sorted so; null where an answer is unread.

    The inequality-aversion index stands with the primary items of the same episode, in a row of
    its own where there are none.
    """
    found = [score_rows(s) for s in sheets(tables)]
    empty = pl.DataFrame(schema=SCHEMA)
    table = pl.concat([empty, *found], how="diagonal_relaxed").select(list(SCHEMA))
    second = table.filter(_SECOND)
    rest = table.filter(~_SECOND)
    same = ["episode", "seat", "agent_id"]
    first = second.unique(same, keep="first", maintain_order=True).select(*same, *_BESIDE)
    slider = rest.filter(_SLIDER)
    table = pl.concat(
        [
            slider.drop(_BESIDE).join(first, on=same, how="left", maintain_order="left"),
            rest.filter(~_SLIDER),
            second.join(slider, on=same, how="anti"),
        ],
        how="diagonal",
    )
    return table.select(pl.col(c).cast(t) for c, t in SCHEMA.items()).sort(
        "episode", "seat", "instrument", maintain_order=True
    )


def score_rows(sheet: Sheet) -> pl.DataFrame:
    """The sheet's rows with all scores of its instrument; `n_lost` is 1 where it has none."""
    own = dict(instrument(sheet.instrument).scores(sheet))
    angles, chosen = sheet.angles(), sheet.chosen()
    lost: np.ndarray = np.isnan(angles)
    if not sheet.bears_angle:
        category = own.get("category")
        unread = np.asarray(np.isnan(sheet.actions).any(1))
        lost = unread if category is None else np.array([name is None for name in category], bool)
    columns = {"angle": angles, "mean_self": chosen[..., 0].mean(1)}
    columns |= {"mean_other": chosen[..., 1].mean(1)} | _ranking(sheet, chosen) | own
    return with_lost(sheet.rows, lost).with_columns(
        pl.Series(name, values.tolist(), dtype=SCHEMA[name], strict=False)
        if values.dtype == object
        else pl.Series(name, values).fill_nan(None).cast(SCHEMA[name])
        for name, values in columns.items()
    )


def _ranking(sheet: Sheet, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Transitivity and rank order, where lines run from one motive to another."""
    if not sheet.bears_angle or (sheet.poles < 0).any() or not sheet.complete:
        return {}
    last = (~np.isnan(sheet.options[..., 0])).sum(1) - 1
    ends = np.stack([sheet.options[:, 0], sheet.options[np.arange(len(last)), last]], axis=1)
    wins, acyclic = transitivity(chosen, ends, sheet.poles)
    return {"transitive": acyclic, "rank_order": rank_order(wins, acyclic)}

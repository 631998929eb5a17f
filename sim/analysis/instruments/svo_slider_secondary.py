"""The nine secondary items of the SVO slider: inequality aversion or joint gain."""

import numpy as np
import polars as pl

from sim.analysis.instrument import Instrument
from sim.analysis.profile_chance import chance_inequality
from sim.analysis.sheets import Sheet
from sim.analysis.slider import inequality_aversion

IA_TYPES = ("inequality_averse", "joint_gain", "tied")


def _scores(sheet: Sheet) -> dict[str, np.ndarray]:
    index = np.full(len(sheet.rows), np.nan)
    if sheet.complete and len(sheet.items) == 9:
        order = np.argsort([int(item.rsplit("/")[-1]) for item in sheet.items])
        index = inequality_aversion(sheet.actions[:, order])[1]
    names = np.array([*IA_TYPES, None], dtype=object)
    kind = np.select([index < 0.5, index > 0.5, index == 0.5], [0, 1, 2], 3)
    return {"ia_index": index, "ia_type": names[kind]}


INSTRUMENT = Instrument(
    scores=_scores,
    indicators=[
        pl.col("ia_index").alias("ia_index_mean"),
        *((pl.col("ia_type") == t).cast(pl.Float64).alias(f"share_ia_{t}") for t in IA_TYPES),
    ],
    chance=lambda _: chance_inequality(),
)

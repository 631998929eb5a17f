"""The six primary items of the SVO slider: categories, transitivity, and people."""

import numpy as np
import polars as pl

from sim.analysis import human
from sim.analysis.instrument import Instrument
from sim.analysis.profile_chance import QUANTILES, chance_transitive
from sim.analysis.sheets import Sheet
from sim.analysis.slider import MOTIVES, category


def _chance(same: list[Sheet]) -> dict[str, float]:
    return {"share_transitive": chance_transitive(max(same, key=lambda s: s.complete))}


def _people() -> dict[str, float]:
    levels = {f"angle_q{q:02}": float(human.percentiles()[q]) for q in QUANTILES}
    levels |= {f"share_{m}": share for m, share in human.CATEGORY.items()}
    return levels | {
        "angle_mean": human.MEAN,
        "angle_sd": human.SD,
        "share_transitive": human.TRANSITIVE,
    }


def _scores(sheet: Sheet) -> dict[str, np.ndarray]:
    return {"category": category(sheet.angles())}


INSTRUMENT = Instrument(
    categories=MOTIVES,
    category=category,
    scores=_scores,
    indicators=[pl.col("transitive").cast(pl.Float64).alias("share_transitive")],
    chance=_chance,
    people=_people,
)

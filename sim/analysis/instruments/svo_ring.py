"""The ring measure: octants of the circle and consistency.

After Liebrand & McClintock (1988), European Journal of Personality 2(3), 217-230.
"""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from sim.analysis.attainable import vectors
from sim.analysis.instrument import Instrument
from sim.analysis.sheets import Sheet
from sim.analysis.uniform import uniform_sums

OCTANTS = ("individualistic", "cooperative", "altruistic", "martyr",
           "masochistic", "sadomasochistic", "aggressive", "competitive")  # fmt: skip
SHOWN = ("altruistic", "cooperative", "individualistic", "competitive", "aggressive",
         "martyr", "masochistic", "sadomasochistic")  # fmt: skip


def category(angle: ArrayLike) -> np.ndarray:
    """Octant of each angle (degrees), as an object array; None where it is NaN.

    45 degrees each about 0, 45, 90 ...; a boundary belongs to the octant above it.
    """
    angle = np.asarray(angle, float)
    unknown = np.isnan(angle)
    octant = np.floor((np.where(unknown, 0, angle) + 22.5) / 45).astype(int) % 8
    return np.array([*OCTANTS, None], dtype=object)[np.where(unknown, 8, octant)]


def consistency(points: ArrayLike, centre: ArrayLike, radius: ArrayLike) -> np.ndarray:
    """Length of the summed choices over twice the radius, in [0, 1]; 1 for a linear utility.

    Payoffs that were rounded to few digits can make the sum a little longer; that counts as 1.

    Args:
        points: chosen payoffs (..., items, 2) of all 24 pairs.
        centre: (items, 2) or (2,), payoffs.
        radius: (items,) or scalar, payoffs.

    Returns:
        (...); NaN where any item is NaN.
    """
    length = np.hypot(*np.moveaxis(vectors(points, centre, radius).sum(-2), -1, 0)) / 2
    return np.minimum(length, 1.0)  # keeps NaN


def _scores(sheet: Sheet) -> dict[str, np.ndarray]:
    angles = sheet.angles()
    length = consistency(sheet.chosen(), sheet.centre, sheet.radius)
    return {
        "category": category(angles),
        "consistency": length if sheet.complete else np.full(len(angles), np.nan),
    }


def _chance(same: list[Sheet]) -> dict[str, float]:
    sums, _ = uniform_sums(*same[0].geometry)
    return {"consistency_mean": float(np.hypot(*sums.T).mean() / 2)}


INSTRUMENT = Instrument(
    categories=SHOWN,
    category=category,
    names={"prosocial": "cooperative"},
    scores=_scores,
    indicators=[pl.col("consistency").alias("consistency_mean")],
    chance=_chance,
    source=(
        "Ring measure: Liebrand, W. B. G. & McClintock, C. G. (1988). The ring measure of social "
        "values. European Journal of Personality 2(3), 217–230. Points and order of the items are "
        "ours: 24 neighbouring pairs, 15° apart."
    ),
)

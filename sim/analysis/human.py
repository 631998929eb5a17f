"""How people answer the SVO slider: the Many Labs 2 sample.

Counted from the raw choice columns of the vanLange.1 study of Many Labs 2 (Klein et al. 2018,
Advances in Methods and Practices in Psychological Science 1(4), 443-490; data: GitHub
ManyLabsOpenScience/ManyLabs2 @ acef63f), N = 6,234. `human_slider_percentiles.csv` holds the
percentiles 0..100 of the angle in degrees.
"""

from functools import cache
from pathlib import Path

import numpy as np

MEAN, SD = 29.48, 13.11  # degrees
CATEGORY = {
    "altruistic": 0.0056,
    "prosocial": 0.7515,
    "individualistic": 0.2376,
    "competitive": 0.0053,
}
TRANSITIVE = 0.9074


@cache
def percentiles() -> np.ndarray:
    """Angle at each percent 0..100, degrees, (101,), ascending; read-only."""
    path = Path(__file__).with_name("human_slider_percentiles.csv")
    angles = np.loadtxt(path, delimiter=",", skiprows=1)[:, 1]
    angles.setflags(write=False)
    return angles


def mean_of(score: np.ndarray) -> float:
    """Mean over the sample of a score of the angle, given at the 101 percentiles."""
    return float(np.trapezoid(score) / 100)

"""The triple dominance measure: six of nine answers that agree.

Van Lange, Otten, De Bruin & Joireman (1997), Journal of Personality and Social Psychology 73(4),
733-746.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrc

from sim.analysis.instrument import Instrument
from sim.analysis.sheets import Sheet
from sim.analysis.slider import MOTIVES

CLASSES = ("prosocial", "individualistic", "competitive")
UNCLASSIFIED = "unclassified"
ITEMS, ENOUGH = 9, 6


def classify(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Class of each participant, and how many answers agree with the most frequent orientation.

    Args:
        values: (..., 9), index into `CLASSES` of what was chosen; NaN where unread.

    Returns:
        class (...), an object array: one of `CLASSES` where six answers agree, "unclassified"
        where no six do, None where that is not known because answers are unread; and the largest
        number of agreeing answers (...), NaN where any is unread.
    """
    values = np.asarray(values, float)
    counts = (values[..., None] == np.arange(len(CLASSES))).sum(-2)
    most = counts.max(-1)
    unread = np.isnan(values).sum(-1)
    names = np.array([*CLASSES, UNCLASSIFIED, None], dtype=object)
    open_ = most + unread >= ENOUGH
    place = np.where(most >= ENOUGH, counts.argmax(-1), len(CLASSES) + open_)
    return names[place], np.where(unread > 0, np.nan, most)


def chance_shares() -> dict[str, float]:
    """Share of uniform responders in each class: 835 of 19,683, three times; exact."""
    each = float(bdtrc(ENOUGH - 1, ITEMS, 1 / len(CLASSES)))
    shares = {f"share_{name}": each for name in CLASSES}
    return shares | {f"share_{UNCLASSIFIED}": 1 - len(CLASSES) * each}


def _scores(sheet: Sheet) -> dict[str, np.ndarray]:
    unread = np.isnan(sheet.actions)
    pick = np.where(unread, 0, sheet.actions).astype(int)
    motives = sheet.values[np.arange(len(sheet.items)), pick]
    own = np.array([CLASSES.index(m) if m in CLASSES else np.nan for m in (*MOTIVES, None)])
    values = np.where(unread, np.nan, own[motives])
    names, agreeing = classify(values)
    if not sheet.complete:
        names, agreeing = np.full(len(names), None), np.full(len(names), np.nan)
    return {"category": names, "n_agreeing": agreeing}


INSTRUMENT = Instrument(
    categories=(*CLASSES, UNCLASSIFIED),
    scores=_scores,
    chance=lambda _: chance_shares(),
    source=(
        "Triple dominance measure: Van Lange, P. A. M., Otten, W., De Bruin, E. M. N. & Joireman, "
        "J. A. (1997). Journal of Personality and Social Psychology 73(4), 733–746. Four of its "
        "payoffs are told differently by different sources."
    ),
)

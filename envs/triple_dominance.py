"""The triple dominance measure of social value orientation as a game for one."""

from collections.abc import Mapping

import numpy as np

from envs.allocation import Allocation
from envs.items import Item

# Nine items of three options: points for oneself and the other, by orientation.
# Points as usually printed, from memory of the literature and of a public implementation on a
# scale of its own (dimaba/svotree: p there is (points - 80) / 5). They agree in all cells but
# four, marked *, where that implementation implies 550, an other's payoff of 100, 550 and 550.
ITEMS: tuple[Mapping[str, tuple[int, int]], ...] = (
    {"competitive": (480, 80), "individualistic": (540, 280), "prosocial": (480, 480)},
    {"individualistic": (560, 300), "prosocial": (500, 500), "competitive": (500, 100)},  # * 1st
    {"prosocial": (520, 520), "competitive": (520, 120), "individualistic": (580, 320)},  # * 2nd
    {"competitive": (500, 100), "individualistic": (560, 300), "prosocial": (490, 490)},  # * 2nd
    {"individualistic": (560, 300), "prosocial": (500, 500), "competitive": (490, 90)},
    {"prosocial": (500, 500), "competitive": (500, 100), "individualistic": (570, 300)},
    {"prosocial": (510, 510), "individualistic": (560, 300), "competitive": (510, 110)},  # * 2nd
    {"individualistic": (550, 300), "competitive": (500, 100), "prosocial": (500, 500)},
    {"competitive": (480, 100), "prosocial": (490, 490), "individualistic": (540, 300)},
)
# The same cells as in that implementation: (item, option) -> points, both counted from 0.
OTHER_READING: Mapping[tuple[int, int], tuple[int, int]] = {
    (1, 0): (550, 300),
    (2, 1): (520, 100),
    (3, 1): (550, 300),
    (6, 1): (550, 300),
}
VERSIONS = ("printed", "svotree")


class TripleDominance(Allocation):
    """Nine choices of three: equal shares, most for oneself, or farthest ahead of the other.

    Van Lange, Otten, De Bruin & Joireman (1997), Journal of Personality and Social Psychology
    73(4), 733-746. Somebody is prosocial, individualistic or competitive if six answers of nine
    agree, else unclassified. There is no altruistic option, and no angle.

    Args:
        version: of four payoffs that sources tell differently: "printed" or "svotree".
        scale: payoffs are multiplied by it, above 0; 1 as published.
        item_order, option_order, unit, other: see `Allocation`.
    """

    def __init__(
        self,
        version: str,
        scale: float,
        item_order: str,
        option_order: str,
        unit: str,
        other: str,
    ):
        if version not in VERSIONS:
            raise ValueError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}")
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e6:
            raise ValueError(f"scale must be a number above 0 and below 1e6, got {scale!r}")
        items = []
        for n, told in enumerate(ITEMS):
            points = np.array(list(told.values()), np.float64)
            if version == "svotree":
                for (item, option), paid in OTHER_READING.items():
                    if item == n:
                        points[option] = paid
            name = str(n + 1)
            items.append(Item(name, "triple_dominance", 0, 0, points * scale, values=tuple(told)))
        super().__init__("triple_dominance_v0", items, item_order, option_order, unit, other)

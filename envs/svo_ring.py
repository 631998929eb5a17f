"""The ring measure of social value orientation as a game for one."""

import numpy as np
from numpy.typing import NDArray

from envs.allocation import Allocation
from envs.items import Item

PAIRS = 24
STEP = 360 / PAIRS  # degrees between neighbours on the circle


def pairs(radius: float, decimals: int) -> NDArray[np.float64]:
    """The 24 pairs of neighbours on a circle about (0, 0), rounded half up: (24, 2, 2), points.

    Pair k holds the points at 15 k and 15 (k + 1) degrees; own payoff leads.
    """
    t = np.radians(np.arange(PAIRS + 1) * STEP)
    circle = radius * np.stack([np.cos(t), np.sin(t)], axis=1)
    # Away from 0, so that the circle stays symmetric. What is left of 6e-15 is no half.
    size = np.floor(np.abs(circle).round(9) * 10**decimals + 0.5) / 10**decimals
    points = np.copysign(size, circle) + 0.0
    return np.stack([points[:-1], points[1:]], axis=1)


class SVORing(Allocation):
    """24 choices between neighbouring points of a circle, some with losses.

    Liebrand & McClintock (1988), European Journal of Personality 2(3), 217-230: 15 degrees apart,
    about (0, 0). The angle is that of the summed choices; their length over twice the radius is
    the consistency. Every item is needed. The published order is not known to us: `canonical`
    goes round the circle from 0 degrees, so `shuffled` is what one wants.

    Args:
        radius: of the circle, points, above 0; 15 as usual.
        decimals: of the payoffs, 0..4; 2 as usual.
        item_order, option_order, unit, other: see `Allocation`.
    """

    def __init__(
        self,
        radius: float,
        decimals: int,
        item_order: str,
        option_order: str,
        unit: str,
        other: str,
    ):
        if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius < 1e6:
            raise ValueError(f"radius must be a number above 0 and below 1e6, got {radius!r}")
        if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 4:
            raise ValueError(f"decimals must be a whole number, 0..4, got {decimals!r}")
        options = pairs(float(radius), decimals)
        if (options[:, 0] == options[:, 1]).all(axis=1).any():
            raise ValueError(
                f"radius {radius:g} with {decimals} decimals makes neighbours equal; take a larger "
                f"radius or more decimals"
            )
        items = [
            Item(f"{k * STEP:g}", "svo_ring", 0, 0, pair, (0.0, 0.0), float(radius))
            for k, pair in enumerate(options)
        ]
        super().__init__("svo_ring_v0", items, item_order, option_order, unit, other)

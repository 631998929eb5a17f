"""The SVO slider measure as a game for one."""

from envs.allocation import Allocation
from envs.items import Item, at_ends
from envs.slider_items import POLES, PRIMARY, SECONDARY

CENTRE, RADIUS = (50.0, 50.0), 50.0


def _items(primary_only: bool) -> list[Item]:
    items = [
        Item(str(n), "svo_slider", 0, 0, options, CENTRE, RADIUS, at_ends(*poles, len(options)))
        for n, (options, poles) in enumerate(zip(PRIMARY, POLES, strict=True), start=1)
    ]
    if not primary_only:
        items += [
            Item(str(n), "svo_slider_secondary", 0, 1, options)
            for n, options in enumerate(SECONDARY, start=7)
        ]
    return items


class SVOSlider(Allocation):
    """Six primary items, from which the SVO angle is measured, and nine secondary ones.

    Paper form with nine options (Murphy, Ackermann & Handgraaf 2011). `item_order="reversed"`
    is the published version B: both blocks from their last item to their first. Secondary
    items are an instrument of their own (`svo_slider_secondary`): they tell inequality
    aversion from joint gain and must not enter the angle.

    Args:
        primary_only: leaves the secondary items out.
        item_order, option_order, unit, other: see `Allocation`.
    """

    def __init__(
        self, primary_only: bool, item_order: str, option_order: str, unit: str, other: str
    ):
        items = _items(primary_only)
        super().__init__("svo_slider_v0", items, item_order, option_order, unit, other)

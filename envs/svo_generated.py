"""Decomposed games in the slider's geometry with payoffs that no model has seen."""

import hashlib
from collections.abc import Sequence

import numpy as np

from envs.allocation import LABELS, Allocation
from envs.items import Item, at_ends
from envs.slider_items import POLES

# Angles of the slider's four poles about its centre, degrees; all lie 50 points from it (the
# two oblique ones after rounding).
POLE_ANGLES = {"altruistic": 90.0, "prosocial": 45.0, "individualistic": 0.0, "competitive": -45.0}


def _bounds(name: str, got: Sequence[float], low: float, high: float) -> tuple[float, float]:
    if len(got) != 2 or not low <= got[0] <= got[1] <= high:
        raise ValueError(f"{name} must be [least, most] within {low:g}..{high:g}, got {list(got)}")
    return got[0], got[1]


def _block(
    rng: np.random.Generator,
    form: int,
    block: int,
    rotation: tuple[float, float],
    radius: tuple[float, float],
    centre: tuple[float, float],
    n_options: tuple[int, int],
) -> list[Item]:
    """The six pairings of four rotated, rescaled and moved poles, in shuffled order."""
    turn, size = rng.uniform(*rotation), rng.uniform(*radius)
    middle = np.round(rng.uniform(*centre, size=2))
    poles = {}
    for name, degrees in POLE_ANGLES.items():
        t = np.radians(degrees + turn)
        poles[name] = middle + size * np.array([np.cos(t), np.sin(t)])
    items = []
    for k in rng.permutation(len(POLES)).tolist():
        pair = POLES[k] if rng.random() < 0.5 else POLES[k][::-1]
        share = np.linspace(0, 1, int(rng.integers(n_options[0], n_options[1] + 1)))[:, None]
        line = poles[pair[0]] * (1 - share) + poles[pair[1]] * share
        options = np.floor(line + 0.5).astype(np.int64)  # half up, as the slider's own table
        digest = hashlib.sha256(options.tobytes()).hexdigest()[:6]
        name = f"f{form}b{block}i{k + 1}-{digest}"  # other payoffs have another name
        centre_ = (float(middle[0]), float(middle[1]))
        values = at_ends(pair[0], pair[1], len(options))
        items.append(Item(name, "svo_generated", form, block, options, centre_, size, values))
    return items


class SVOGenerated(Allocation):
    """New items: the slider's six pairings of poles, rotated, rescaled and moved.

    Each form is a test of its own, made from `items_seed` alone; an episode meets one, drawn
    by its key. Its items measure an angle about their centre by the slider's formula, and the
    same scoring functions serve, with the range and the chance level of the form.

    Args:
        items_seed: of the items; another seed gives other items.
        n_forms: different tests.
        n_blocks: blocks of six items in a form, each with its own geometry.
        rotation: least and most turn of the poles, degrees, within -180..180.
        radius: least and most distance of the poles from the centre, points, 20 or more, so
            that rounding to whole points moves an option by little.
        centre: least and most of the centre's two coordinates, points.
        n_options: least and most options of an item, within 2..9.
        item_order, option_order, unit, other: see `Allocation`.
    """

    def __init__(
        self,
        items_seed: int,
        n_forms: int,
        n_blocks: int,
        rotation: Sequence[float],
        radius: Sequence[float],
        centre: Sequence[float],
        n_options: Sequence[int],
        item_order: str,
        option_order: str,
        unit: str,
        other: str,
    ):
        whole = [("items_seed", items_seed, 0), ("n_forms", n_forms, 1), ("n_blocks", n_blocks, 1)]
        for name, got, least in whole:
            if isinstance(got, bool) or not isinstance(got, int) or got < least:
                raise ValueError(f"{name} must be a whole number, {least} or more, got {got!r}")
        turns = _bounds("rotation", rotation, -180, 180)
        sizes = _bounds("radius", radius, 20, 1e6)
        middles = _bounds("centre", centre, -1e6, 1e6)
        low, high = _bounds("n_options", n_options, 2, len(LABELS))
        if int(low) != low or int(high) != high:
            raise ValueError(f"n_options must be whole numbers, got {list(n_options)}")
        items = []
        for form in range(n_forms):
            for block in range(n_blocks):
                rng = np.random.default_rng([items_seed, form, block])
                widths = (int(low), int(high))
                items += _block(rng, form, block, turns, sizes, middles, widths)
        super().__init__("svo_generated_v0", items, item_order, option_order, unit, other)

"""Items of allocation games: options, what they stand for, and which belong together."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray


class Item(NamedTuple):
    """One choice, and where it belongs."""

    id: str
    instrument: str
    form: int  # of the instrument: items that belong together and are scored together
    block: int  # orders are reversed or shuffled within blocks
    options: NDArray[Any]  # (n_options, 2), points for oneself and for the other
    centre: tuple[float, float] | None = None  # the point about which angles are measured
    radius: float | None = None  # points from the centre to a pole
    values: tuple[str | None, ...] = ()  # orientation that each option stands for; () for none


def at_ends(first: str, last: str, n: int) -> tuple[str | None, ...]:
    """Values of n options on a line between two poles."""
    return (first, *[None] * (n - 2), last)


def by_form(items: Sequence[Item]) -> list[list[int]]:
    """Places of the items of each form, in the order of the forms."""
    found: dict[int, list[int]] = {}
    for i, item in enumerate(items):
        found.setdefault(item.form, []).append(i)
    return [found[form] for form in sorted(found)]


def plain(points: float) -> str:
    """As people write it: 15, -7.5; no -0."""
    return f"{points + 0.0:.10g}"


def form_names(items: Sequence[Item]) -> dict[tuple[str, int], str]:
    """Name of each (instrument, form): its number, and a hash of its items' ids.

    So forms of other seeds have other names, and runs can be put together.
    """
    ids: dict[tuple[str, int], list[str]] = {}
    for item in items:
        ids.setdefault((item.instrument, item.form), []).append(item.id)
    return {
        (name, form): f"{form}-{hashlib.sha256(' '.join(mine).encode()).hexdigest()[:6]}"
        for (name, form), mine in ids.items()
    }

"""How answers are scored and put together in the evaluation of the pocket model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.analysis.intervals import interval, means, share_interval
from sim.pocket.games import Options, utility, wanted

NEAR = 0.02  # of the range of an item

COLUMNS = ["what", "value", "95 % interval", "n", "units", "unread", "by lot", "as taught"]

Known = float | None
Groups = Mapping[Any, Sequence[float]]


@dataclass
class Line:
    """One number of the evaluation.

    Attributes:
        what: its name.
        value: mean over all entries.
        low, high: its 95 % interval over the units; None without one.
        n: entries.
        units: conversations, agents, items or forms of items, which are independent.
        unread: share of the entries that could not be read and are left out; None where it is
            what is counted.
        lot: the value of answers that are drawn by lot among the options, if it has one.
        taught: the value of answers drawn as the training text draws them, if it has one.
    """

    what: str
    value: float
    low: Known
    high: Known
    n: int
    units: int
    unread: Known = None
    lot: Known = None
    taught: Known = None


@dataclass
class Score:
    """Whether an answer was near the best, and what that is by lot and as taught."""

    hit: float
    lot: float
    taught: float

    @classmethod
    def of(cls, value: str, options: Options, chosen: int, own_range: bool = False) -> "Score":
        """Of an answer of somebody with an orientation."""
        near = np.array([near_best(value, options, k, own_range) for k in range(len(options))])
        return cls(float(near[chosen]), float(near.mean()), float(wanted(value, options) @ near))


def near_best(value: str, options: Options, chosen: int, own_range: bool = False) -> bool:
    """Whether an option's assigned utility is the highest, or lower by 2 % of the range at most.

    Args:
        value: the orientation.
        options: (n, 2) points for oneself and the other.
        chosen: which.
        own_range: takes the range of the assigned utility, else the wider of the item's two
            ranges of payoffs: where all options are nearly equally good, the first is hardly any.
    """
    u = utility(value, options)
    span = np.ptp(u) if own_range else np.ptp(options, axis=0).max()
    return bool(u.max() - u[chosen] <= NEAR * span)


def cells(x: Line, to: str) -> list[str]:
    """A line by its columns, as text; `to` stands between the ends of the interval."""

    def number(value: Known) -> str:
        return "" if value is None else f"{value:.3f}"

    interval = "" if x.low is None else f"{number(x.low)}{to}{number(x.high)}"
    counts = f"{x.n:,}", f"{x.units:,}"
    return [x.what, number(x.value), interval, *counts, *map(number, (x.unread, x.lot, x.taught))]


def line(what: str, groups: Groups, **more: Known) -> Line:
    """Mean of all entries with an interval over the groups, which are independent."""
    values = [v for group in groups.values() for v in group]
    units = [k for k, group in enumerate(groups.values()) for _ in group]
    m = means(np.array(values, float)[:, None], units, np.random.default_rng(0))
    share = all(0 <= v <= 1 for v in values)
    low, high, kind = interval(m, 0)
    if kind is None and share:  # all alike
        low, high, kind = share_interval(m, 0)
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    bounds = (low, high) if kind else (None, None)
    return Line(what, float(m.estimate[0]), *bounds, len(values), int(m.n_distinct[0]), **more)


def scored(what: str, groups: Mapping[Any, Sequence[Score]], unread: float) -> Line:
    """Share of answers near the best, beside that by lot and as taught."""
    scores = [s for group in groups.values() for s in group]
    lot, taught = (float(np.mean([getattr(s, k) for s in scores])) for k in ("lot", "taught"))
    hits = {k: [s.hit for s in group] for k, group in groups.items()}
    return line(what, hits, unread=unread, lot=lot, taught=taught)

"""Scores of an instrument beyond its angle, and where to find those of a given one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import polars as pl

from sim.analysis.sheets import Sheet

_FILES = "sim.analysis.instruments"


@dataclass(frozen=True)
class Instrument:
    """All fields may be left out: then the instrument has an angle, if its items bear one.

    Attributes:
        categories: into which participants fall, in the order in which they are shown.
        category: of each angle (degrees), as an object array; None where the angle is NaN.
        names: orientation -> category, where they are named differently.
        scores: of a sheet of u rows: columns of `svo_scores`, each (u,), null (None or NaN) where
            an answer that they need is unread. Without an angle, `category` among them says what
            is lost; without both, any unread answer is.
        indicators: of `svo_profile`: expressions on those columns, numbers or 0 and 1, named
            `share_...` where they are shares.
        chance: level of each indicator for uniform responders to the given sheets.
        people: the same for people, and of `angle_...`, where a sample is known.
        source: of the instrument, for the report.
    """

    categories: Sequence[str] = ()
    category: Callable[[np.ndarray], np.ndarray] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    scores: Callable[[Sheet], Mapping[str, np.ndarray]] = lambda sheet: {}
    indicators: Sequence[pl.Expr] = ()
    chance: Callable[[list[Sheet]], Mapping[str, float]] = lambda sheets: {}
    people: Callable[[], Mapping[str, float]] = dict
    source: str | None = None


@cache
def instrument(name: str) -> Instrument:
    """What the file of that name in `sim/analysis/instruments/` says; nothing without one."""
    module = f"{_FILES}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        return Instrument()
    return import_module(module).INSTRUMENT

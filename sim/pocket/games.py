"""Choices for training and evaluation: random payoffs, and what each orientation takes."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Options = NDArray[np.int64]  # (n, 2): points for oneself, for the other

# Orientation -> weights of (own, other, inequality); the last two are people as they are: those
# who like a good and equal result, and those who look first at their own.
WEIGHTS = {
    "altruistic": (0.0, 1.0, 0.0),
    "prosocial": (1.0, 1.0, 0.0),
    "individualistic": (1.0, 0.0, 0.0),
    "competitive": (1.0, -1.0, 0.0),
    "people_fair": (1.0, 1.0, -0.6),
    "people_own": (1.0, 0.05, 0.0),
}
# Angles that they measure on the slider, degrees: a person between two of them mixes the two.
MEASURED = {
    "competitive": -16.26,
    "people_own": 7.57,
    "people_fair": 37.48,
    "altruistic": 61.39,
}
BLUR = 0.01  # of an item's range: utilities this close are nearly equally good
LAPSE = 0.025  # share of choices made by lot: agents without a fault could not be measured


def utility(voice: str, options: Options) -> NDArray[np.float64]:
    """Utility of each option, (n,), in points along the voice's direction."""
    own, other, unequal = WEIGHTS[voice]
    u = own * options[:, 0] + other * options[:, 1]
    u = u + unequal * np.abs(options[:, 0] - options[:, 1])
    return u / np.hypot(own, other)


def wanted(voice: str, options: Options) -> NDArray[np.float64]:
    """Probability of each option, (n,): the best and those that are hardly worse; few lapses."""
    u = utility(voice, options)
    span = max(1.0, float(np.ptp(options, axis=0).max()))
    # A person who looks first at their own splits ties by less than a point.
    weight = np.exp((u - u.max()) / (0.2 if voice.startswith("people") else BLUR * span))
    return (1 - LAPSE) * weight / weight.sum() + LAPSE / len(options)


@dataclass(frozen=True)
class Person:
    """Somebody without an instruction: who speaks with one of two voices, choice by choice."""

    low: str
    high: str
    share: float  # of choices made with the high voice

    def voice(self, rng: np.random.Generator) -> str:
        """The voice of one choice."""
        return self.high if rng.random() < self.share else self.low


def person(angle: float) -> Person:
    """Somebody whose choices measure about `angle` degrees on the slider."""
    names = list(MEASURED)
    places = [MEASURED[name] for name in names]
    k = int(np.clip(np.searchsorted(places, angle), 1, len(places) - 1))
    share = (angle - places[k - 1]) / (places[k] - places[k - 1])
    return Person(names[k - 1], names[k], float(np.clip(share, 0, 1)))


class Games:
    """Draws choices that nobody will be evaluated on.

    Args:
        kept_out: option sets, as sorted tuples of pairs, that are never drawn.
    """

    def __init__(self, kept_out: Collection[tuple]):
        self._kept_out = frozenset(kept_out)

    def draw(self, rng: np.random.Generator, n_options: int) -> Options:
        """Options (n_options, 2), all different, in an order of their own."""
        while True:
            kind = rng.random()
            options = _line(rng, n_options) if kind < 0.7 else _cloud(rng, n_options, kind > 0.85)
            if (
                len(np.unique(options, axis=0)) == n_options
                and fingerprint(options) not in self._kept_out
            ):
                return options


def fingerprint(options: Options) -> tuple:
    """The options whatever their order."""
    return tuple(sorted(map(tuple, options.tolist())))


def _line(rng: np.random.Generator, n: int) -> Options:
    """Between two points of a circle, in equal steps, as on the slider."""
    low = rng.random() < 0.5
    radius = rng.uniform(20, 55) if low else rng.uniform(40, 165)
    middle = rng.uniform(30, 80, 2) if low else rng.uniform(0, 420, 2)
    first = rng.choice([-45, 0, 45, 90]) + rng.uniform(-25, 25)
    last = first + rng.choice([-1, 1]) * rng.choice([45, 90, 135]) + rng.uniform(-5, 5)
    ends = middle + radius * np.array(
        [[np.cos(np.radians(t)), np.sin(np.radians(t))] for t in (first, last)]
    )
    share = np.linspace(0, 1, n)[:, None]
    options = np.floor(ends[0] * (1 - share) + ends[1] * share + 0.5).astype(np.int64)
    return rng.permutation(options) if rng.random() < 0.6 else options


def _cloud(rng: np.random.Generator, n: int, round_numbers: bool) -> Options:
    """Points anywhere."""
    top = int(rng.choice([10, 20, 50, 100, 100, 200, 500]))
    bottom = -top if rng.random() < 0.15 else 0
    options = rng.integers(bottom, top + 1, (n, 2))
    return options // 10 * 10 if round_numbers and top >= 100 else options

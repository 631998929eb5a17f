"""A scripted agent of known priorities: the planted truth of every analyzer of dilemmas."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agents.base import Member, Rows
from agents.scripted import Softmax, check_share

UNDECIDED = -2  # as observations number the option not to decide


class Ranked(Softmax):
    """Takes the option whose value weighs more for its member, with noise.

    A control, whose values all weigh the same, chooses by position and lot alone.

    Args:
        temperature: see `Softmax`, in units of the profile's weights; 1: a unit is a logit.
        first: what an option gains by being shown first, in the same units; may be negative.
        undecided: share 0..1 of its decisions in which it does not decide, where that is offered.
        shift: stage (1, 2 ...) -> value -> what its weight gains there, and in no other stage;
            None: nothing.
    """

    def __init__(
        self,
        temperature: float,
        first: float,
        undecided: float,
        shift: Mapping[int, Mapping[str, float]] | None,
    ):
        super().__init__(temperature)
        self.first = _number("first", first)
        self.undecided = check_share("undecided", undecided)
        for gains in (shift or {}).values():
            if not isinstance(gains, Mapping):
                raise ValueError(f"shift must map stages to values and gains, got {gains!r}")
        self._told = {
            _stage(stage): {value: _number(f"shift of {value!r}", x) for value, x in gains.items()}
            for stage, gains in (shift or {}).items()
        }
        self._values: Sequence[str] = ()
        self._shift = np.zeros((0, 0))

    def meet(self, values: Sequence[str]) -> None:
        if not values:
            raise ValueError("a ranked agent needs options that stand for values, got none")
        self._values = list(values)
        # The last row is that of all stages that were not named.
        self._shift = np.zeros((max(self._told, default=0) + 1, len(values)))
        for stage, gains in self._told.items():
            for value, gain in gains.items():
                self._check_known(value, "shift")
                self._shift[stage - 1, self._values.index(value)] = gain

    def _check_known(self, value: str, what: str) -> None:
        if self._values and value not in self._values:
            known = ", ".join(self._values)
            raise ValueError(f"{what} must name values of the game, {known}, got {value!r}")

    def check(self, member: Member) -> None:
        if member.value is not None and member.profile is None:
            raise ValueError(f"a ranked agent needs a profile of values, {member.name!r} has none")
        for value in member.profile or {}:
            self._check_known(value, f"the profile of {member.name!r}")

    def check_items(self, items: Sequence[NDArray[np.float64]]) -> None:
        """Any will do: payoffs do not count."""

    def traits(self, member: Member) -> Sequence[float]:
        profile = member.profile or {}
        return [profile.get(value, 0.0) for value in self._values]

    def utility(self, rows: Rows) -> NDArray[np.float64]:
        values, stage = rows.seen["values"], rows.seen["stage"]
        weights = rows.traits + self._shift[np.minimum(stage, len(self._shift) - 1)]
        utility = np.take_along_axis(weights, np.maximum(values, 0), axis=1)
        utility = np.where(values >= 0, utility, 0.0)
        shown = rows.seen["option_order"][:, 0]
        utility[np.arange(len(shown)), shown] += self.first
        quits = values == UNDECIDED
        utility[quits] = -np.inf
        chosen = quits & (rows.draw(2)[:, 1:] < self.undecided)
        # Nothing else is possible where it does not decide.
        utility[chosen.any(1)] = -np.inf
        utility[chosen] = 0.0
        return utility.T.copy()


def _number(name: str, got: object) -> float:
    if isinstance(got, bool) or not isinstance(got, int | float) or not np.isfinite(got):
        raise ValueError(f"{name} must be a finite number, got {got!r}")
    return float(got)


def _stage(got: object) -> int:
    if isinstance(got, bool) or not isinstance(got, int) or got < 1:
        raise ValueError(f"shift must name stages, 1 or more, got {got!r}")
    return got

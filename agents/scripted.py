"""Agents without a language model: known behaviour that tests the instruments."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Member, Rows

LEAST = 1e-6  # payoff points: a lower temperature is 0, and dividing by it would overflow
SAME = 1e-9  # utilities closer than this, in points, are equal up to rounding


def _pick(weights: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of one option per row by inverse distribution; weights (options, R), draws (R,).

    Weights are used up: they are summed in place.
    """
    reached = weights
    for k in range(1, len(reached)):  # np.cumsum along the first axis takes 20 times as long
        reached[k] += reached[k - 1]
    goal = draws * reached[-1]
    chosen = np.zeros(len(draws), np.int64)
    for below in reached[:-1]:
        chosen += below <= goal
    return chosen


def check_share(name: str, got: object) -> float:
    """The share as a float; raises ValueError outside 0..1."""
    if isinstance(got, bool) or not isinstance(got, int | float) or not 0 <= got <= 1:
        raise ValueError(f"{name} must lie in 0..1, got {got!r}")
    return float(got)


class _Scripted(Agent):
    def method(self, member: Member) -> str:
        return "utility" if self.assigns(member) else "none"


class Softmax(_Scripted):
    """Likes some outcomes better than others, more or less sharply.

    Args:
        temperature: of the softmax over utilities, in their unit; 0 takes the best option, and one
            of them by lot where several are equally good.
    """

    def __init__(self, temperature: float):
        if (
            isinstance(temperature, bool)
            or not isinstance(temperature, int | float)
            or (temperature != 0 and not temperature >= LEAST)
        ):
            raise ValueError(f"temperature must be 0, or {LEAST:g} or more, got {temperature!r}")
        self.temperature = float(temperature)

    def check_items(self, items: Sequence[NDArray[np.float64]]) -> None:
        if any(np.isnan(options).any() for options in items):
            kind = type(self).__name__.lower()
            raise ValueError(f"a {kind} agent needs payoffs, got items without any")

    @abstractmethod
    def utility(self, rows: Rows) -> NDArray[np.float64]:
        """Utility of each option, (options, R), a new array.

        Options lead, so that sums over them run along whole rows of memory.
        """

    def act(self, rows: Rows) -> NDArray[np.int64]:
        utility = self.utility(rows)
        mask = rows.seen["action_mask"]
        if not mask.all():
            utility[mask.T == 0] = -np.inf
        utility -= utility.max(axis=0)
        if self.temperature > 0:
            utility /= self.temperature
            weights = np.exp(utility, out=utility)
        else:
            weights = (utility >= -SAME).astype(np.float64)
        return _pick(weights, rows.draw(1)[:, 0])


class Linear(Softmax):
    """Follows utility u = cos t * own + sin t * mean(others), t the member's target angle.

    Args:
        temperature: see `Softmax`; payoff points.
    """

    def check(self, member: Member) -> None:
        if member.target is None:
            kind = type(self).__name__.lower()
            raise ValueError(f"a {kind} agent needs a target angle, {member.name!r} has none")

    def utility(self, rows: Rows) -> NDArray[np.float64]:
        angles = np.radians(rows.target)
        payoffs = rows.seen["payoffs"]
        utility = np.multiply(payoffs[:, :, 0].T, np.cos(angles), order="C")
        utility += payoffs[:, :, 1].T * np.sin(angles)
        return utility


class Follower(Linear):
    """Follows its target with noise, and now and then says nothing that can be read.

    The known share of unreadable answers tests what analyzers make of them.

    Args:
        temperature: see `Softmax`; payoff points.
        unread: share 0..1 of its decisions.
    """

    def __init__(self, temperature: float, unread: float):
        super().__init__(temperature)
        self.unread = check_share("unread", unread)

    def act(self, rows: Rows) -> NDArray[np.int64]:
        chosen = super().act(rows)
        return np.where(rows.draw(2)[:, 1] < self.unread, -1, chosen)


class FirstShown(Linear):
    """Takes the option shown first with a known probability, else follows its target with noise.

    The planted truth that analyzers of order effects must find.

    Args:
        temperature: see `Softmax`; payoff points.
        bias: share 0..1 of its decisions.
    """

    def __init__(self, temperature: float, bias: float):
        super().__init__(temperature)
        self.bias = check_share("bias", bias)

    def act(self, rows: Rows) -> NDArray[np.int64]:
        first = rows.seen["option_order"][:, 0]
        return np.where(rows.draw(2)[:, 1] < self.bias, first, super().act(rows)).astype(np.int64)


class Uniform(_Scripted):
    """Takes any offered option with equal chance: the chance level of everything."""

    def assigns(self, member: Member) -> bool:
        return False

    def act(self, rows: Rows) -> NDArray[np.int64]:
        return _pick(rows.seen["action_mask"].T.astype(np.float64), rows.draw(1)[:, 0])


class Always(_Scripted):
    """Takes the option at one position shown, whatever it is worth: pure position bias.

    Args:
        position: 0-based; -1 is the last option offered.
    """

    def __init__(self, position: int):
        if isinstance(position, bool) or not isinstance(position, int) or position < -1:
            raise ValueError(f"position must be a whole number, -1 (last) or more, got {position}")
        self.position = position

    def assigns(self, member: Member) -> bool:
        return False

    def check_items(self, items: Sequence[NDArray[np.float64]]) -> None:
        least = min((len(options) for options in items), default=self.position + 1)
        if self.position >= least:
            raise ValueError(
                f"position must lie in -1..{least - 1} where {least} options are shown, "
                f"got {self.position}"
            )

    def act(self, rows: Rows) -> NDArray[np.int64]:
        offered = rows.seen["action_mask"].sum(axis=1)
        position = offered - 1 if self.position == -1 else np.full(len(offered), self.position)
        return rows.seen["option_order"][np.arange(len(offered)), position].astype(np.int64)

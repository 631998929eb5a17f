"""Scripted agents of other utilities than the linear one: what an angle cannot tell."""

import numpy as np
from numpy.typing import NDArray

from agents.base import Rows
from agents.scripted import Softmax

MOST = 1e9  # weight: far from where a utility would overflow


class _Taste(Softmax):
    """Has a taste of its own and no target: a control to every orientation."""

    def assigns(self, member) -> bool:
        return False


def _payoffs(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Own and others' points, each (options, R) and new."""
    payoffs = rows.seen["payoffs"]
    return payoffs[:, :, 0].T.copy(), payoffs[:, :, 1].T.copy()


class FehrSchmidt(_Taste):
    """Averse to inequality: own - alpha max(other - own, 0) - beta max(own - other, 0).

    Fehr & Schmidt (1999), Quarterly Journal of Economics 114(3), 817-868, for one other. They take
    beta <= alpha and 0 <= beta < 1; other weights are allowed here.

    Args:
        alpha: weight of being behind, per point, within -1e9..1e9.
        beta: weight of being ahead, per point, within -1e9..1e9.
        temperature: see `Softmax`; payoff points.
    """

    def __init__(self, alpha: float, beta: float, temperature: float):
        super().__init__(temperature)
        for name, got in (("alpha", alpha), ("beta", beta)):
            if isinstance(got, bool) or not isinstance(got, int | float) or not abs(got) <= MOST:
                raise ValueError(f"{name} must lie in {-MOST:g}..{MOST:g}, got {got!r}")
        self.alpha, self.beta = float(alpha), float(beta)

    def utility(self, rows: Rows) -> NDArray[np.float64]:
        own, other = _payoffs(rows)
        ahead = own - other
        return own - self.alpha * np.maximum(-ahead, 0) - self.beta * np.maximum(ahead, 0)


class Maximin(_Taste):
    """Wants the smaller of the two payoffs to be large (Rawls)."""

    def utility(self, rows: Rows) -> NDArray[np.float64]:
        return np.minimum(*_payoffs(rows))


class JointGain(_Taste):
    """Wants the sum of the two payoffs to be large, however it is shared."""

    def utility(self, rows: Rows) -> NDArray[np.float64]:
        return np.add(*_payoffs(rows))

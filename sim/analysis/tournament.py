"""How far pairwise preferences are from an order: circular triads, transitivity, cyclic share.

All functions read win rates P (..., V, V): P[i, j] is the share 0..1 of duels between i and j that
i won, P[j, i] its complement, NaN where it is unknown; the diagonal is never read. What needs a
cell that is unknown is NaN, and so is all of fewer than three values.
"""

from itertools import combinations, permutations

import numpy as np

_ROUNDING = 1e-9  # 1 - 0.3 is not 0.7 to the last bit, and a tie is a tie


def known(rates: np.ndarray) -> np.ndarray:
    """Whether all cells of P (..., V, V) off the diagonal are known, and V is 3 or more."""
    n = rates.shape[-1]
    full = ~np.isnan(rates) | np.eye(n, dtype=bool)
    return full.all((-1, -2)) & (n >= 3)


def circular_triads(rates: np.ndarray) -> np.ndarray:
    """Number T (...) of triples that go in a circle, of P (..., V, V).

    Kendall & Babington Smith (1940), Biometrika 31, 324-345: V (V - 1)(2 V - 1) / 12 less half the
    sum of squares of s, how many others each value beats. A tie counts as either way half the
    time: half a win in s, and 1/4 of T less per tie, so that T is the mean over all ways to break
    ties. (Half wins alone would call three values that are all tied one full circle.) By chance
    T is `expected_triads`, whether ties occur or not.
    """
    n = rates.shape[-1]
    apart = _off_diagonal(rates - 0.5)
    beats = np.where(np.abs(apart) < _ROUNDING, 0.5, (apart > 0).astype(float))
    beats = np.where(np.eye(n, dtype=bool), 0.0, beats)
    ties = (beats == 0.5).sum((-1, -2)) / 2
    t = n * (n - 1) * (2 * n - 1) / 12 - (beats.sum(-1) ** 2).sum(-1) / 2 - ties / 4
    return np.where(known(rates), t, np.nan)


def most_triads(n: int) -> float:
    """Largest possible T of n values: n (n^2 - 4) / 24 where n is even, else n (n^2 - 1) / 24."""
    return n * (n * n - (1 if n % 2 else 4)) / 24


def expected_triads(n: int) -> float:
    """Mean T where a fair coin decides each pair of n values: a quarter of the triples."""
    return n * (n - 1) * (n - 2) / 24


def zeta(rates: np.ndarray) -> np.ndarray:
    """Kendall's coefficient of consistency 0..1 (...): 1 - T / T_max; 1 is an order."""
    most = most_triads(rates.shape[-1])
    return 1 - circular_triads(rates) / most if most else np.full(rates.shape[:-2], np.nan)


def violations(rates: np.ndarray) -> np.ndarray:
    """Triples (..., 3) that violate weak, moderate and strong stochastic transitivity.

    Where P_ij >= .5 and P_jk >= .5, weak transitivity asks that P_ik >= .5, moderate that it is
    at least the smaller, strong that it is at least the larger of the two (Tversky 1969,
    Psychological Review 76, 31-48). As in `strans` of the R package eba (Wickelmaier), a triple
    counts once, by that order of its values which violates least; so a circle is one violation,
    not three, and the most that there can be are V (V - 1)(V - 2) / 6.
    """
    n = rates.shape[-1]
    orders = [list(permutations(triple)) for triple in combinations(range(n), 3)]
    i, j, k = np.moveaxis(np.array(orders, int).reshape(-1, 6, 3), -1, 0)
    first, second, third = rates[..., i, j], rates[..., j, k], rates[..., i, k]
    asked = (first >= 0.5 - _ROUNDING) & (second >= 0.5 - _ROUNDING)
    least = (np.full_like(first, 0.5), np.minimum(first, second), np.maximum(first, second))
    holds = [(asked & (third >= bound - _ROUNDING)).any(-1) for bound in least]
    count = np.stack([(~some).sum(-1) for some in holds], axis=-1).astype(float)
    return np.where(known(rates)[..., None], count, np.nan)


def cyclic_share(rates: np.ndarray) -> np.ndarray:
    """Share 0..1 (...) of the squares of logit P that no scale of values explains.

    Least squares fit of logit P_ij by s_i - s_j: HodgeRank (Jiang, Lim, Yao & Ye 2011,
    Mathematical Programming 127, 203-244) with equal weights, whose residual on a complete graph
    is all cyclic. NaN where a rate is 0 or 1, which has no logit (give shrunken rates), or where
    all are .5. It is also what log odds lack of adding up: an order all of whose rates are equally
    far from .5 has (V - 2) / (3 V), .22 of six values, without one circle. Log odds by chance
    have (V - 2) / V.
    """
    inside = _off_diagonal(np.where((rates > 0) & (rates < 1), rates, np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        y = _off_diagonal(np.log(inside / (1 - inside)))
        s = y.mean(-1)  # the least squares solution on a complete graph
        rest = y - (s[..., :, None] - s[..., None, :])
        whole = (y**2).sum((-1, -2))
        share = (rest**2).sum((-1, -2)) / whole
    return np.where(known(rates) & (whole > _ROUNDING), share, np.nan)


def three_cycles(rates: np.ndarray) -> list[tuple[int, int, int]]:
    """(i, j, k) with P_ij, P_jk and P_ki all above .5, of P (V, V); i is the smallest.

    Ties are in no cycle, unknown cells neither.
    """
    beats = rates > 0.5 + _ROUNDING
    return [
        (i, *rest)
        for i, j, k in combinations(range(len(rates)), 3)
        for rest in ((j, k), (k, j))
        if beats[i, rest[0]] and beats[rest[0], rest[1]] and beats[rest[1], i]
    ]


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """The same with zeros on the diagonal."""
    return np.where(np.eye(matrix.shape[-1], dtype=bool), 0.0, matrix)

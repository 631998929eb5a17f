"""The angle of own and others' payoff that a person's choices reveal, whatever the game.

Conditional logit with utility b . (own, others'), b = beta (cos theta, sin theta), in 1/points;
terms for being shown first or last where orders vary. Intervals are profile likelihoods on the
circle. Beside it stands Fehr & Schmidt's utility (1999, Quarterly Journal of Economics 114(3),
817-868), own - alpha max(others' - own, 0) - beta max(own - others', 0), of which the linear one is
the case alpha = -beta: where that is rejected, the choices have no linear angle.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from sim.analysis.choice_model import logit

CHI_1, CHI_2 = 3.841458820694124, 5.991464547107979  # 95 % quantiles, 1 and 2 degrees of freedom
FEWEST_CHOICES = 30  # from which on places have terms of their own
_ENDLESS = 10  # log odds: beyond, the likelihood has no top
_HALVINGS = 16  # of 180 degrees: ends of intervals to 0.003 degrees


@dataclass(frozen=True)
class Choices:
    """What people chose from.

    Attributes:
        payoffs: (people, choices, options, 2), points, own and mean of others'; 0 where padded.
        offered: (people, choices, options), bool.
        chosen: (people, choices), option taken, -1 for none.
        shown: (people, choices, options), place at which each option was shown, or None where
            that is not known or does not vary.
    """

    payoffs: np.ndarray
    offered: np.ndarray
    chosen: np.ndarray
    shown: np.ndarray | None = None


@dataclass(frozen=True)
class Revealed:
    """Of each person, (people,); degrees within -180..180, NaN where unknown.

    Attributes:
        angle: most likely one; the middle of the cone where choices are separable; NaN where
            b = 0 is not rejected (5 % level, likelihood ratio), or where payoffs vary along one
            line only, so that no angle can be told.
        beta: 1/points, how sharply utility decides; infinite where choices are separable.
        low, high: 95 % profile interval, low <= high < low + 360, wherever there are choices;
            (-180, 180) where it is the whole circle.
        separable: whether some angle explains every choice without noise.
        cone_low, cone_high: the angles that do; low <= high <= low + 180 about their middle,
            which lies within -180..180; NaN unless separable.
        n: choices.
        p_zero: of b = 0.
        p_linear: of the linear utility within Fehr-Schmidt's; NaN where payoffs cannot tell them
            apart.
        alpha_fs, beta_fs: Fehr-Schmidt's, NaN where own payoff has no positive weight, where
            choices are separable, or where payoffs cannot tell them from a linear utility.
        position_first, position_last: log odds of being shown there, infinite where such places
            were always or never taken; NaN where orders do not vary or with fewer than 30 choices,
            of which these terms would take too much.
    """

    angle: np.ndarray
    beta: np.ndarray
    low: np.ndarray
    high: np.ndarray
    separable: np.ndarray
    cone_low: np.ndarray
    cone_high: np.ndarray
    n: np.ndarray
    p_zero: np.ndarray
    p_linear: np.ndarray
    alpha_fs: np.ndarray
    beta_fs: np.ndarray
    position_first: np.ndarray
    position_last: np.ndarray


def revealed(choices: Choices) -> Revealed:
    """Fits every person alone."""
    payoffs, offered, chosen = choices.payoffs, choices.offered, choices.chosen
    places = _places(choices)
    n_places = places.shape[-1]
    features = np.concatenate([payoffs, places], axis=-1)
    b, top = logit(features, offered, chosen)
    null, none = logit(places, offered, chosen)
    separable, cone_low, cone_high = cones(payoffs, offered, chosen)
    fitted = np.degrees(np.arctan2(b[:, 1], b[:, 0]))
    # Where the likelihood has no maximum its supremum is reached anywhere in the cone.
    best = np.where(separable, (cone_low + cone_high) / 2, fitted)
    _, along = _on_ray(choices, places, best, null, none)
    top = np.maximum(top, along)
    n = (chosen >= 0).sum(1)
    whole = 2 * (top - none) <= CHI_1
    low, high = _ends(choices, places, best, top, null, none, ~whole & (n > 0))
    turn = 360 * np.floor((best + 180) / 360)  # the estimate within -180..180, its cone with it
    low, high = np.where(whole, -180.0, low - turn), np.where(whole, 180.0, high - turn)
    rank = _rank(payoffs, offered, chosen)
    p_zero = np.where(n > 0, chdtrc(np.maximum(rank, 1), np.maximum(2 * (top - none), 0)), np.nan)
    known = (p_zero < 0.05) & (rank == 2)
    beta = np.where(separable, np.inf, np.hypot(b[:, 0], b[:, 1]))
    alpha_fs, beta_fs, p_linear = _fehr_schmidt(choices, places, top, separable)
    told = (n >= FEWEST_CHOICES) & (np.abs(places).max((1, 2, 3), initial=0) > 0)
    odds = np.where(np.abs(b[:, 2:]) > _ENDLESS, np.copysign(np.inf, b[:, 2:]), b[:, 2:])
    position = [
        np.where(told, odds[:, k], np.nan) if k < n_places else np.full(len(n), np.nan)
        for k in range(2)
    ]
    return Revealed(
        angle=np.where(known, best - turn, np.nan),
        beta=np.where(known, beta, np.nan),
        low=np.where(n > 0, low, np.nan),
        high=np.where(n > 0, high, np.nan),
        separable=separable,
        cone_low=cone_low - turn,
        cone_high=cone_high - turn,
        n=n,
        p_zero=p_zero,
        p_linear=p_linear,
        alpha_fs=alpha_fs,
        beta_fs=beta_fs,
        position_first=position[0],
        position_last=position[1],
    )


def cones(
    payoffs: np.ndarray, offered: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether some linear utility explains every choice of a person, and from which to which angle.

    Arguments as in `Choices`. Each option left lying excludes the half circle of angles that like
    it better; what all leave is one arc, of at most 180 degrees, or nothing.
    """
    pick = np.maximum(chosen, 0)[..., None, None]
    over = np.take_along_axis(payoffs, pick, 2) - payoffs
    counts = offered & (chosen >= 0)[..., None] & (np.abs(over).max(-1) > 1e-9)
    people = len(payoffs)
    angle = np.where(counts, np.degrees(np.arctan2(over[..., 1], over[..., 0])), np.nan)
    angle = np.sort(angle.reshape(people, -1), axis=1)  # NaN last
    n = counts.reshape(people, -1).sum(1)
    row, last = np.arange(people), np.maximum(n - 1, 0)
    gaps = np.diff(angle, axis=1, append=np.nan)
    gaps[row, last] = angle[:, 0] + 360 - angle[row, last]
    gaps = np.where(np.isnan(gaps), -1.0, gaps)
    widest = gaps.argmax(1)
    width = gaps[row, widest] - 180
    # The differences lie from `first` round to `end`; the cone is what is within 90 of both.
    end, first = angle[row, widest], angle[row, (widest + 1) % np.maximum(n, 1)]
    first = np.where(first > end, first - 360, first)
    # A cone of one angle ties options; it explains something only if it does not tie them all.
    only = np.abs(np.sin(np.radians(angle - end[:, None])))
    tied = np.nan_to_num(only).max(1, initial=0.0) < 1e-9
    separable = (n > 0) & ((width > 1e-9) | ((width > -1e-9) & ~tied))
    low = np.where(separable, end - 90, np.nan)
    return separable, low, np.where(separable, first + 90, np.nan)


def _places(choices: Choices) -> np.ndarray:
    """Features (people, choices, options, m) of the place shown: first, and, beside two, last."""
    empty = np.zeros((*choices.offered.shape, 0))
    if choices.shown is None:
        return empty
    widths = choices.offered.sum(-1)
    first = (choices.shown == 0) & choices.offered
    last = (choices.shown == widths[..., None] - 1) & choices.offered
    terms = [first, last] if (widths > 2).any() else [first]
    enough = (choices.chosen >= 0).sum(1) >= FEWEST_CHOICES
    return np.stack(terms, axis=-1) * enough[:, None, None, None].astype(float)


def _rank(features: np.ndarray, offered: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """In how many directions (people,) the features of options differ within choices."""
    pick = np.maximum(chosen, 0)[..., None, None]
    over = features - np.take_along_axis(features, pick, 2)
    over = np.where((offered & (chosen >= 0)[..., None])[..., None], over, 0.0)
    flat = over.reshape(len(over), -1, over.shape[-1])
    return np.linalg.matrix_rank(np.einsum("anm,anl->aml", flat, flat), rtol=1e-9, hermitian=True)


def _on_ray(choices: Choices, places, angle, start, none) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and log-likelihood of the best utility of each angle (people,), beta 0 or more."""
    t = np.radians(angle)
    along = choices.payoffs[..., 0] * np.cos(t)[:, None, None]
    along = along + choices.payoffs[..., 1] * np.sin(t)[:, None, None]
    features = np.concatenate([along[..., None], places], axis=-1)
    first = np.concatenate([np.zeros((len(t), 1)), start], axis=1)
    b, value = logit(features, choices.offered, choices.chosen, first)
    # Concave: where the top lies below 0, it is at 0 on this side.
    return b, np.where(b[:, 0] > 0, value, none)


def _ends(choices, places, best, top, null, none, wanted) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the profile interval of those `wanted`: NaN for others.

    The utilities that are likely enough are a convex set without 0, seen from there at one arc of
    less than 180 degrees: on either side it is left once.
    """
    ends = []
    who = np.flatnonzero(wanted)
    part = Choices(choices.payoffs[who], choices.offered[who], choices.chosen[who])
    for side in (-1, 1):
        inside, outside = np.zeros(len(who)), np.full(len(who), 180.0)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            angle = best[who] + side * middle
            _, value = _on_ray(part, places[who], angle, null[who], none[who])
            within = 2 * (top[who] - value) <= CHI_1
            inside = np.where(within, middle, inside)
            outside = np.where(within, outside, middle)
        end = np.full(len(best), np.nan)
        end[who] = best[who] + side * (inside + outside) / 2
        ends.append(end)
    return ends[0], ends[1]


def _fehr_schmidt(choices, places, top, separable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """alpha, beta and p of the linear utility."""
    own, other = choices.payoffs[..., 0], choices.payoffs[..., 1]
    terms = [own, -np.maximum(other - own, 0), -np.maximum(own - other, 0)]
    tastes = np.stack(terms, axis=-1)
    features = np.concatenate([tastes, places], axis=-1)
    b, value = logit(features, choices.offered, choices.chosen)
    more = _rank(tastes, choices.offered, choices.chosen)
    known = more > _rank(choices.payoffs, choices.offered, choices.chosen)
    p = np.where(known, chdtrc(1, np.maximum(2 * (value - top), 0)), np.nan)
    # A likelihood of 1 has no maximum: its coefficients say nothing.
    fitted = known & (b[:, 0] > 0) & ~separable & (value < -1e-4)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            np.where(fitted, b[:, 1] / b[:, 0], np.nan),
            np.where(fitted, b[:, 2] / b[:, 0], np.nan),
            p,
        )

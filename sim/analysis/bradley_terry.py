"""Strengths of values from choices between them: Bradley and Terry's model, with position.

P(option i of those shown) is proportional to exp(theta of its value + pi if it is shown first):
Bradley & Terry (1952), Biometrika 39, 324-345, for two options; Luce (1959) for more. Strengths
are centred on 0 over values. So that a value which won or lost all its choices has a finite
strength, each value also wins half a choice and loses half a choice against the average one;
with hundreds of choices that is nothing.
"""

from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sim.analysis.duels import Duels, distinct
from sim.analysis.intervals import redrawn

PRIOR = 0.5  # choices won, and as many lost, against the average value
FEW = 500  # clusters that are left out one by one
_ROUNDS, _ENOUGH = 60, 1e-9
ELO = 400 / np.log(10)  # points per logit


@dataclass(frozen=True, eq=False)
class Cells:
    """Choices that differ only in who made them, counted: C sets of options as shown.

    Attributes:
        shown: (C, places) number of the value at each place, negative where none is.
        stage: (C,) index into `stages`.
        stages: numbers of the stages, ascending.
        n_values: V.
        counts: (clusters, C, places) choices of the option at each place.
    """

    shown: np.ndarray
    stage: np.ndarray
    stages: np.ndarray
    n_values: int
    counts: np.ndarray

    @cached_property
    def total(self) -> np.ndarray:
        """Counts (C, places) of all clusters."""
        return self.counts.sum(0)

    @cached_property
    def choices(self) -> np.ndarray:
        """Choices (clusters, C), whatever was chosen."""
        return _over_places(self.counts)


def cells(duels: Duels) -> Cells:
    """The contested choices of a group by what was shown, at which stage, by cluster."""
    mine = duels.contested()
    keys = np.column_stack([mine.stage, mine.shown]) if len(mine.n) else np.zeros((0, 3), int)
    unique, at = distinct(keys)
    n, width, many = len(unique), keys.shape[1] - 1, len(duels.clusters)
    flat = (mine.cluster * n + at) * width + mine.chosen
    counts = np.bincount(flat, mine.n, many * n * width).reshape(many, n, width)
    # Clusters without a choice tell nothing and must not count as units.
    counts = counts[counts.any((1, 2))] if n else counts[:0]
    stages, stage = np.unique(unique[:, 0], return_inverse=True)
    return Cells(unique[:, 1:], stage.ravel(), stages, len(duels.values), counts)


def design(c: Cells, by: np.ndarray | None = None) -> np.ndarray:
    """Design (C, places, p): strengths of V values and the first place, p = V + 1.

    The column of the place is 0 where orders do not vary enough to tell it from the values. With
    `by` (C, m) strengths vary with m covariates too, p = V + V m + 1: theta_v + gamma_vj by_j.
    """
    seen = c.shown >= 0
    one = (c.shown[..., None] == np.arange(c.n_values)).astype(float)
    parts = [one]
    if by is not None:
        parts += [one * by[:, None, j, None] for j in range(by.shape[1])]
    first = np.zeros(seen.shape)
    first[:, 0] = 1.0
    values = np.concatenate(parts, axis=-1)
    # Where it cannot be told from the values (one order for all), the place would take their share.
    told = _rank(c, np.concatenate([values, first[..., None]], axis=-1)) > _rank(c, values)
    return np.concatenate([values, first[..., None] * told], axis=-1)


def _rank(c: Cells, x: np.ndarray) -> int:
    """Rank of the differences between the options of each set."""
    i, j = np.triu_indices(x.shape[1], 1)
    both = (c.shown[:, i] >= 0) & (c.shown[:, j] >= 0)
    apart = np.unique((x[:, i] - x[:, j])[both], axis=0)
    return int(np.linalg.matrix_rank(apart)) if len(apart) else 0


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model.

    Attributes:
        theta: (p,) parameters as the design has them; strengths are not yet centred.
        log_likelihood: of the choices alone.
        influence: (clusters, p) by how much each cluster moves the parameters; up to 500 clusters
            by leaving it out, since a sandwich of few is too narrow.
        model: (p, p) covariance, were choices independent.
    """

    theta: np.ndarray
    log_likelihood: float
    influence: np.ndarray
    model: np.ndarray

    def robust(self) -> np.ndarray:
        """Covariance (p, p) over clusters; NaN below two.

        Up to 500 clusters the jackknife's (CR3), beyond the sandwich (CR1): Cameron & Miller
        (2015), Journal of Human Resources 50(2), 317-372.
        """
        n = len(self.influence)
        if n < 2:
            return np.full((len(self.theta),) * 2, np.nan)
        factor = (n - 1) / n if n <= FEW else n / (n - 1)
        return self.influence.T @ self.influence * factor


def fit(c: Cells, x: np.ndarray) -> Fit:
    """The model of a design (C, places, p) for all clusters together."""
    theta = solve(c, x, c.total[None])[0]
    p, log_likelihood = (part[0] for part in _probabilities(c, x, c.total[None], theta[None]))
    pull = x - np.einsum("ck,ckp->cp", p, x)[:, None]
    pull = np.where((c.shown >= 0)[..., None], pull, 0.0)
    scores = c.counts.reshape(len(c.counts), -1) @ pull.reshape(-1, x.shape[-1])
    information = _information(c, x, c.total[None], p[None], theta[None])
    if len(c.counts) <= FEW:
        own = _information(c, x, c.counts, p[None], None)
        influence = np.linalg.solve(information - own, scores[..., None])[..., 0]
    else:
        influence = scores @ np.linalg.pinv(information[0], hermitian=True)
    model = np.linalg.pinv(information[0], hermitian=True)
    return Fit(theta, float(log_likelihood), influence, model)


def solve(c: Cells, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Parameters (B, p) for B sets of counts (B, C, places), all by Newton's method at once."""
    theta = np.zeros((len(counts), x.shape[-1]))
    if len(counts) > 1:  # near what all of them have in common it is soon found
        theta += solve(c, x, counts.mean(0, keepdims=True))
    whole = _over_places(counts)
    flat = x.reshape(-1, x.shape[-1])
    p, best = _at(c, x, counts, theta)
    for _ in range(_ROUNDS):
        pull = (counts - whole[..., None] * p).reshape(len(counts), -1) @ flat
        pull += _prior_pull(theta, x.shape[-1])
        step = np.linalg.solve(_information(c, x, counts, p, theta), pull[..., None])[..., 0]
        p, found = _at(c, x, counts, theta + step)
        # Halved where a full step overshoots.
        for _ in range(30):
            worse = found < best - 1e-9 * np.abs(best)
            if not worse.any():
                break
            step = np.where(worse[:, None], step / 2, step)
            p, found = _at(c, x, counts, theta + step)
        theta, best = theta + step, found
        if np.abs(step).max(initial=0.0) < _ENOUGH:
            break
    return theta


def _over_places(x: np.ndarray) -> np.ndarray:
    """Sum of x (..., places) over places: numpy is slow along so short an axis."""
    return sum((x[..., k] for k in range(1, x.shape[-1])), start=x[..., 0])


def _probabilities(
    c: Cells, x: np.ndarray, counts: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P (B, C, places), 0 where no option is, and the log likelihood (B,) of counts."""
    eta = (theta @ x.reshape(-1, x.shape[-1]).T).reshape(len(theta), *x.shape[:-1])
    shown = c.shown >= 0
    eta = eta if shown.all() else np.where(shown, eta, -np.inf)
    eta = eta - reduce(np.maximum, np.moveaxis(eta, -1, 0))[..., None]
    weight = np.exp(eta)
    total = _over_places(weight)
    log_p = np.where(shown, eta, 0.0) - np.log(total)[..., None]
    return weight / total[..., None], np.einsum("bck,bck->b", counts, log_p)


def _at(
    c: Cells, x: np.ndarray, counts: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (B, C, places) and what is made as large as possible, (B,)."""
    p, log_likelihood = _probabilities(c, x, counts, theta)
    strength = np.abs(theta[:, :-1])
    prior = -PRIOR * (strength + 2 * np.log1p(np.exp(-strength))).sum(-1)
    return p, log_likelihood + prior


def _prior_pull(theta: np.ndarray, p: int) -> np.ndarray:
    pull = PRIOR * -np.tanh(theta / 2)
    pull[:, p - 1] = -1e-6 * theta[:, p - 1]  # the place has none, but must be bounded
    return pull


def _information(
    c: Cells, x: np.ndarray, counts: np.ndarray, p: np.ndarray, theta: np.ndarray | None
) -> np.ndarray:
    """(B, p, p): over pairs of places, since a covariance is that of all differences.

    Without `theta` that of the choices alone, with it also that of the half choices.
    """
    width, n = x.shape[1], x.shape[-1]
    whole = _over_places(counts)
    found = np.zeros((len(counts), n * n))
    for i in range(width):
        for j in range(i + 1, width):
            apart = x[:, i] - x[:, j]
            squares = (apart[:, :, None] * apart[:, None, :]).reshape(len(x), -1)
            found += (whole * p[..., i] * p[..., j]) @ squares
    found = found.reshape(-1, n, n)
    if theta is None:
        return found
    own = PRIOR / 2 / np.cosh(theta / 2) ** 2
    own[:, -1] = 1e-6
    found[:, np.arange(n), np.arange(n)] += own
    return found


def by_stage(c: Cells, counts: np.ndarray) -> np.ndarray:
    """Centred strengths (B, stages, V) of B sets of counts (B, C, places), each stage by itself.

    NaN for a value that is not met at a stage.
    """
    found = np.full((len(counts), len(c.stages), c.n_values), np.nan)
    for s in range(len(c.stages)):
        at = c.stage == s
        part = Cells(c.shown[at], c.stage[at], c.stages, c.n_values, c.counts[:0, at])
        theta = solve(part, design(part), counts[:, at])[:, :-1]
        found[:, s] = centred(theta, met(part))
    return found


def overall(c: Cells, counts: np.ndarray) -> np.ndarray:
    """Centred strengths (B, V) of B sets of counts (B, C, places), all stages together."""
    shown, at = distinct(c.shown)
    merge = np.eye(len(shown))[at]  # stages do not matter: fewer cells
    one = Cells(shown, np.zeros(len(shown), int), c.stages[:1], c.n_values, c.counts[:, :0])
    merged = np.einsum("bck,cm->bmk", counts, merge, optimize=True)
    return centred(solve(one, design(one), merged)[:, :-1], met(one))


def met(c: Cells) -> np.ndarray:
    """Which values can be compared, (V,): those that met, directly or through others.

    Of several sets that never met each other the largest, the first by the alphabet of those.
    """
    touch = np.zeros((c.n_values, c.n_values), bool)
    i, j = np.triu_indices(c.shown.shape[1], 1)
    a, b = c.shown[:, i], c.shown[:, j]
    both = (a >= 0) & (b >= 0)
    touch[a[both], b[both]] = True
    n, group = connected_components(csr_array(touch), directed=False)
    known = np.isin(np.arange(c.n_values), c.shown)
    size = np.bincount(group, known, n)
    return known & (group == size.argmax())


def centred(theta: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Strengths (..., V) about the mean of the known ones; NaN for all others."""
    theta = np.where(known, theta, np.nan)
    return theta - np.nanmean(theta, axis=-1, keepdims=True) if known.any() else theta


def resampled(c: Cells, n: int, rng: np.random.Generator) -> np.ndarray:
    """Counts (n, C, places) of samples of clusters drawn with replacement."""
    many = len(c.counts)
    picks = redrawn(many, n, rng).astype(np.float32)
    flat = picks @ c.counts.reshape(many, -1).astype(np.float32)
    return flat.reshape(n, *c.counts.shape[1:]).astype(float)


def never(c: Cells, at: np.ndarray | None = None) -> np.ndarray:
    """Values (V,) that won none or all of their choices: their strength is no estimate.

    Of the sets of options of a mask `at` (C,) alone, if there is one.
    """
    total, sets = (c.total, c.shown) if at is None else (c.total[at], c.shown[at])
    seen = sets >= 0
    won, shown = np.zeros(c.n_values), np.zeros(c.n_values)
    np.add.at(won, sets[seen], total[seen])
    np.add.at(shown, sets[seen], np.repeat(total.sum(1), seen.sum(1)))
    return (shown > 0) & ((won == 0) | (won == shown))

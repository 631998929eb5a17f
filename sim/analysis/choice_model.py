"""Conditional logit (McFadden 1974) of many people at once, by Newton's method.

Arrays lead with the axis of people; people with fewer choices, and choices with fewer options, are
padded with options that are not offered. The likelihood is concave, so what is found is its
maximum, or, where the choices are separable and there is none, a point at which it is its
supremum to within rounding.
"""

import numpy as np

_TURNS = 60
_HALVINGS = 40  # of a step that leads down
_GAIN = 1e-9  # log-likelihood: less than this to gain is the top
_FEATURES_PER_TURN = 4_000_000  # in memory at once


def logit(
    features: np.ndarray, offered: np.ndarray, chosen: np.ndarray, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (people, m) and log-likelihood (people,) of the maximum.

    Args:
        features: (people, choices, options, m), any unit.
        offered: (people, choices, options), bool.
        chosen: (people, choices), option taken; -1 where there is none (padding, unread).
        start: (people, m) coefficients to begin with; None for zeros.
    """
    people, choices, options, m = features.shape
    coefficients = np.zeros((people, m)) if start is None else start.copy()
    if m == 0:
        return coefficients, _evaluate(features, offered, chosen, coefficients)[0]
    best = np.empty(people)
    pack = max(1, _FEATURES_PER_TURN // max(1, choices * options * m))
    for at in range(0, people, pack):
        part = slice(at, at + pack)
        found = _newton(features[part], offered[part], chosen[part], coefficients[part])
        coefficients[part], best[part] = found
    return coefficients, best


def _newton(features, offered, chosen, b) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method with halved steps; who is done is not computed again."""
    live = np.arange(len(b))
    scale = _scale(features, offered)
    features, b = features / scale[:, None, None], b * scale
    value, gradient, curvature = _evaluate(features, offered, chosen, b, True)
    out, best = b.copy(), value.copy()
    for _ in range(_TURNS):
        step = _solve(curvature, gradient)
        going = (gradient * step).sum(1) > 2 * _GAIN
        if not going.any():
            break
        live, features, offered, chosen = (x[going] for x in (live, features, offered, chosen))
        b, value, step = b[going], value[going], step[going]
        size, there = np.ones(len(b)), b
        for _ in range(_HALVINGS):
            there = b + size[:, None] * step
            new = _evaluate(features, offered, chosen, there)[0]
            worse = new < value
            if not worse.any():
                break
            size[worse] /= 2
        b = there
        value, gradient, curvature = _evaluate(features, offered, chosen, b, True)
        out[live], best[live] = b, value
    return out / scale, best


def _scale(features, offered) -> np.ndarray:
    """Spread of each feature (people, m), so that curvature is about 1 in all directions."""
    size = np.where(offered[..., None], np.abs(features), 0).max((1, 2))
    return np.where(size > 0, size, 1.0)


def _solve(curvature, gradient) -> np.ndarray:
    """Newton's step; directions in which the likelihood is flat are not gone far."""
    m = gradient.shape[1]
    trace = np.einsum("aii->a", curvature)
    damp = (1e-9 * trace + 1e-12)[:, None, None] * np.eye(m)
    step = np.linalg.solve(curvature + damp, gradient[..., None])[..., 0]
    length = np.sqrt((step**2).sum(1, keepdims=True))
    return step * np.minimum(1.0, 50 / np.maximum(length, 1e-300))


def _evaluate(features, offered, chosen, b, slopes: bool = False) -> tuple:
    """Log-likelihood (people,), and, if wanted, its gradient (people, m) and minus its Hessian."""
    v = np.einsum("ankm,am->ank", features, b)
    v[~offered] = -np.inf
    known = chosen >= 0
    pick = np.maximum(chosen, 0)[..., None]
    highest = v.max(-1)
    highest = np.where(np.isfinite(highest), highest, 0.0)  # nothing offered: padding
    e = np.exp(v - highest[..., None])
    total = e.sum(-1)
    taken = np.take_along_axis(v, pick, -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(known, taken - highest - np.log(total), 0.0)
    value = each.sum(1)
    if not slopes:
        return (value,)
    share = np.where(known[..., None], e / np.where(total > 0, total, 1)[..., None], 0.0)
    mean = np.einsum("ank,ankm->anm", share, features)
    mine = np.take_along_axis(features, pick[..., None], 2)[:, :, 0]
    gradient = np.where(known[..., None], mine - mean, 0.0).sum(1)
    second = np.einsum("ank,ankm,ankl->aml", share, features, features, optimize=True)
    return value, gradient, second - np.einsum("anm,anl->aml", mean, mean)

"""Does the measured angle follow the assigned one? Beside it, what a perfect agent measures."""

import math

import numpy as np
import polars as pl

from sim.analysis.angle import attainable, uniform_angles
from sim.analysis.intervals import FEWEST, LEVEL, MANY, RESAMPLES, interval, means
from sim.analysis.jackknife import NONE, Bounds, bounds, correlation_bounds
from sim.analysis.profile_chance import chance_angles, has_direction
from sim.analysis.scores import (
    ESTIMATE,
    GROUP,
    answered,
    by_agent,
    cell,
    generator,
    groups,
    left_out,
    requests,
    unit_ids,
    unread_share,
    unwrapped,
)
from sim.analysis.sheets import Sheet, sheets
from sim.tables import Tables

SCHEMA = {
    "row": pl.String,
    **dict.fromkeys(GROUP[:-1], pl.String),
    "target": pl.Float64,
    **ESTIMATE,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "perfect_low": pl.Float64,
    "perfect_high": pl.Float64,
}
ENDS = (-90, 90)  # degrees, of the perfect agent's line; further where targets are
_TIES = 1e-9  # in units of the radius: a perfect agent is indifferent between exact ties only
_COUNTS = ["n_items", "n_unread", "n_sheets", "n_lost"]


def dose_response(tables: Tables, seed: int) -> pl.DataFrame:
    """Mean measured angle (degrees) by assigned angle, and the stepped map of the perfect agent.

    Rows "group": every group with a target, the mean over agents. Rows "slope" and "r2": of the
    least-squares line of measured on assigned angles over the agents of a kind, with what the
    perfect agent has at the same targets (the middle where ties leave it a choice). Rows "perfect":
    per instrument and whole degree from -90 to 90 (further where targets lie beyond), the lowest
    and highest angle of maximisers of its utility (ties fall either way; the mean over forms).
    Chance is the mean angle of uniform responders, 0 for the slope; null where they go all round
    the circle. Angles lie within 180 degrees of the target. `seed` is the bootstrap's.
    """
    found = [s for s in sheets(tables) if s.bears_angle]
    asked = requests(tables)
    rows = []
    for name in sorted({s.instrument for s in found}):
        same = [s for s in found if s.instrument == name]
        rows += _group_rows(same, asked, seed) + _line_rows(same, asked, seed)
        rows += _perfect_rows(name, same)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _group_rows(same: list[Sheet], asked: pl.DataFrame, seed: int) -> list[dict]:
    frames = [answered(s).with_columns(pl.lit(i).alias("form")) for i, s in enumerate(same)]
    table = pl.concat(frames).filter(pl.col("target").is_not_null())
    rows = []
    for key, part in groups(table, GROUP):
        target = key["target"]
        angle = unwrapped(part["angle"].to_numpy(), target=target)
        forms = part["form"].unique().sort().to_list()
        part = part.select(*GROUP, "agent_id", *_COUNTS, pl.Series("angle", angle))
        agents = by_agent(part, asked, GROUP, _COUNTS)
        values = agents.select(pl.col("angle").cast(pl.Float64)).to_numpy()
        m = means(values, unit_ids(agents), generator(seed, *key.values()))
        low, high, kind = interval(m, 0)
        perfect = [float(x[0]) for x in _perfect([same[f] for f in forms], np.array([target]))]
        rows.append(
            {"row": "group", **key, "estimate": cell(m.estimate[0]), "low": cell(low)}
            | {"high": cell(high), "interval": kind, "n": int(m.n[0])}
            | {"n_distinct": int(m.n_distinct[0]), "n_unscored": len(agents) - int(m.n[0])}
            | {"unread": unread_share(agents), "left_out": left_out(agents)}
            | {"chance": _chance([same[f] for f in forms], target)}
            | {"perfect_low": perfect[0], "perfect_high": perfect[1]}
        )
    return rows


def _line_rows(same: list[Sheet], asked: pl.DataFrame, seed: int) -> list[dict]:
    """Slope and R2 over agents, by kind; null where all have one target."""
    frames = [answered(s).with_columns(pl.lit(i).alias("form")) for i, s in enumerate(same)]
    table = pl.concat(frames).filter(pl.col("target").is_not_null())
    rows = []
    for key, part in groups(table, GROUP[:4]):
        forms = [same[f] for f in part["form"].unique().sort()]
        near = pl.col("angle") - 360 * ((pl.col("angle") - pl.col("target")) / 360).round()
        part = part.select(*GROUP, "agent_id", *_COUNTS, near.alias("angle"))
        agents = by_agent(part, asked, GROUP, _COUNTS)
        target = agents["target"].to_numpy()
        angle = agents["angle"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        levels, index = np.unique(target, return_inverse=True)
        perfect = np.mean(_perfect(forms, levels), axis=0)[index]
        known = ~np.isnan(angle)
        x, y, units = target[known], angle[known], unit_ids(agents)[known]
        found, ideal = line(x, y), line(x, perfect[known])
        ends = line_bounds(x, y, units, generator(seed, "line", *key.values()))
        for k, name in enumerate(("slope", "r2")):
            low, high, kind = ends[k]
            rows.append(
                {"row": name, **key, "estimate": cell(found[k]), "low": cell(low)}
                | {"high": cell(high), "interval": kind}
                | {"n": int(known.sum()), "n_distinct": len(np.unique(units))}
                | {"n_unscored": int((~known).sum()), "unread": unread_share(agents)}
                | {"left_out": left_out(agents), "chance": 0.0 if name == "slope" else None}
                | {"perfect_low": cell(ideal[k]), "perfect_high": cell(ideal[k])}
            )
    return rows


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and R2 of the least-squares line of `y` on `x`, both (n,); NaN where x is constant.

    R2 is NaN where y is constant as well: there is nothing to explain.
    """
    if not len(x) or np.ptp(x) < 1e-9:
        return np.nan, np.nan
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx * dy).sum() / (dx**2).sum())
    whole = float((dy**2).sum())
    return slope, np.nan if whole < 1e-9 else float(slope * (dx * dy).sum() / whole)


def line_bounds(x, y, units, rng: np.random.Generator) -> tuple[Bounds, Bounds]:
    """Intervals of slope and R2 over units: bootstrap from 50 of them on, jackknife from 5.

    R2's is that of the correlation, squared. In studies of normal noise the jackknife of slopes
    covers 93 to 96 % with 5 to 40 units, and 90 to 94 % where noise grows with the distance from
    the mean of `x` and `x` is drawn (`python -m sim.calibrate`).

    Args:
        x: (n,), degrees.
        y: (n,), degrees.
        units: (n,) ids.
        rng: of the bootstrap.
    """
    _, index = np.unique(units, return_inverse=True)
    n = int(index.max(initial=-1)) + 1
    slope, r2 = line(x, y)
    if n < FEWEST or np.isnan([slope, r2]).any():
        return NONE, NONE
    # About the means, which the sums of squares need for their digits.
    sums = _moments(x - x.mean(), y - y.mean(), index, n)
    if n < MANY:
        slopes, r = _slopes(sums.sum(0) - sums)
        low, high, kind = correlation_bounds(float(np.copysign(np.sqrt(r2), slope)), r)
        return bounds(slope, slopes), (*_squared(low, high), kind)
    slopes, r = _slopes(np.stack([sums[rng.integers(n, size=n)].sum(0) for _ in range(RESAMPLES)]))
    known = ~np.isnan(r)
    if not known.any():
        return NONE, NONE
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    first, second = (np.quantile(found[known], tails).tolist() for found in (slopes, r**2))
    return (*first, "bootstrap"), (*second, "bootstrap")


def _moments(x: np.ndarray, y: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
    """Sums (n, 6) of each unit's rows: of 1, x, y, x x, x y, y y."""
    terms = [np.ones_like(x), x, y, x * x, x * y, y * y]
    return np.stack([np.bincount(index, term, n) for term in terms], axis=1)


def _slopes(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and correlation (n,) from sums (n, 6); NaN where x or y does not vary."""
    size, sx, sy, xx, xy, yy = total.T
    with np.errstate(divide="ignore", invalid="ignore"):
        sxx, sxy, syy = xx - sx**2 / size, xy - sx * sy / size, yy - sy**2 / size
        vary = (sxx > 1e-9) & (syy > 1e-9)
        sxx, syy = np.where(vary, sxx, np.nan), np.where(vary, syy, np.nan)
        return sxy / sxx, sxy / np.sqrt(sxx * syy)


def _squared(low: float, high: float) -> tuple[float, float]:
    """The ends of the squares of what lies between; NaN stays NaN."""
    ends = low**2, high**2
    return (0.0 if low < 0 < high else min(ends)), max(ends)


def _perfect_rows(instrument: str, same: list[Sheet]) -> list[dict]:
    assigned = pl.concat([s.rows["target"] for s in same]).drop_nulls().to_list()
    ends = (math.floor(min([ENDS[0], *assigned])), math.ceil(max([ENDS[1], *assigned])))
    targets = np.arange(ends[0], ends[1] + 1.0)
    low, high = _perfect(same, targets)
    return [
        {
            "row": "perfect",
            "instrument": instrument,
            "target": float(t),
            "perfect_low": float(a),
            "perfect_high": float(b),
        }
        for t, a, b in zip(targets, low, high, strict=True)
    ]


def _perfect(same: list[Sheet], targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    complete = [s for s in same if s.complete] or same
    arcs = []
    for sheet in complete:
        low, high = attainable(*sheet.geometry, targets, _TIES)
        turns = 360 * np.round(((low + high) / 2 - targets) / 360)
        arcs.append((low - turns, high - turns))
    low, high = np.mean(arcs, axis=0)
    return low, high


def _chance(same: list[Sheet], target: float) -> float | None:
    angles, weights = chance_angles([(*uniform_angles(*s.geometry)[:2], 1) for s in same])
    if not has_direction(angles, weights):
        return None
    return float(weights @ unwrapped(angles, target, weights))

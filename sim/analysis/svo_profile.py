"""What distribution of orientations does a group show, beside chance and people?"""

import numpy as np
import polars as pl

from sim.analysis.angle import uniform_angles
from sim.analysis.instrument import Instrument, instrument
from sim.analysis.intervals import Means, interval, means, quantile_interval, share_interval
from sim.analysis.profile_chance import QUANTILES, chance_angles, has_direction
from sim.analysis.scores import (
    ESTIMATE,
    GROUP,
    by_agent,
    cell,
    generator,
    groups,
    left_out,
    pooled,
    requests,
    unit_ids,
    unread_share,
    unwrapped,
)
from sim.analysis.sheets import Sheet, sheets
from sim.analysis.svo_scores import score_rows
from sim.tables import Tables

SCHEMA = {
    **dict.fromkeys(GROUP[:-1], pl.String),
    "target": pl.Float64,
    "measure": pl.String,
    **ESTIMATE,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "human": pl.Float64,
}
_COUNTS = ["n_items", "n_unread", "n_sheets", "n_lost"]


def svo_profile(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (group, measure): distribution of angles (degrees) and shares (0..1).

    `angle_mean`, `angle_sd` and quantiles `angle_q05` ... over agents, their repeats averaged
    first; shares of the instrument's categories; on the slider that of transitive answers, on the
    ring the mean consistency, on the slider's secondary items the mean inequality-aversion index
    and the shares of its types, among those who have one. `unread` is the share 0..1 of answers
    that could not be read, `left_out` that of answer sheets that have no score. Chance is that of
    uniform responders, human the Many Labs 2 sample. Intervals: t, bootstrap, wilson, or order
    (statistics, of quantiles). `seed` is the bootstrap's.
    """
    found, asked = sheets(tables), requests(tables)
    rows = []
    for name in sorted({s.instrument for s in found}):
        same = [s for s in found if s.instrument == name]
        rows += _rows(same, instrument(name), asked, seed)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _rows(same: list[Sheet], about: Instrument, asked: pl.DataFrame, seed: int) -> list[dict]:
    angled = same[0].bears_angle
    if not angled and not about.categories and not about.indicators:
        return []
    frames = [score_rows(s).with_columns(pl.lit(i).alias("form")) for i, s in enumerate(same)]
    rows = []
    for key, part in groups(pooled(pl.concat(frames, how="diagonal")), GROUP):
        forms = part["form"].value_counts().sort("form").rows()
        chance = dict(about.chance([same[f] for f, _ in forms]))
        if angled:
            angles = [(*uniform_angles(*same[f].geometry)[:2], n) for f, n in forms]
            chance |= _angle_levels(*chance_angles(angles), about)
        agents = by_agent(_indicators(part, about, angled), asked, GROUP, _COUNTS)
        rows += _group_rows(key, agents, seed, chance, about.people())
    return rows


def _indicators(part: pl.DataFrame, about: Instrument, angled: bool) -> pl.DataFrame:
    """The group's angles, each within 180 degrees of their mean, and its indicators."""
    found = [
        (pl.col("category") == m).cast(pl.Float64).alias(f"share_{m}") for m in about.categories
    ]
    if angled:
        angle = unwrapped(part["angle"].cast(pl.Float64).to_numpy())
        found.insert(0, pl.lit(pl.Series("angle_mean", angle, dtype=pl.Float64)))
    return part.select(*GROUP, "agent_id", *_COUNTS, *found, *about.indicators)


def _group_rows(key, agents, seed, chance, people) -> list[dict]:
    asked_ = {*GROUP, *_COUNTS, "agent_id", "requests", "answers", "scripted"}
    names = [c for c in agents.columns if c not in asked_]
    units = unit_ids(agents)
    values = agents.select(pl.col(names).cast(pl.Float64)).to_numpy()
    spread = values[:, :1] - np.nanmean(values[:, :1]) if (~np.isnan(values[:, 0])).any() else None
    squares = np.full((len(values), 1), np.nan) if spread is None else spread**2
    # Of the angle, if there is one: it stands first.
    m = means(np.hstack([values, squares]), units, generator(seed, *key.values()))
    lost = unread_share(agents)
    found = {}
    for j, name in enumerate(names):
        bounds = (share_interval if name.startswith("share_") else interval)(m, j)
        found[name] = (m.estimate[j], *bounds, j)
        if name == "angle_mean":
            found |= _spread(values[:, 0], m)
    return [
        {
            **key,
            "measure": name,
            **dict(zip(("estimate", "low", "high"), map(cell, bounds), strict=True)),
            "interval": kind,
            "n": int(m.n[j]),
            "n_distinct": int(m.n_distinct[j]),
            "n_unscored": len(agents) - int(m.n[j]),
            "unread": lost,
            "left_out": left_out(agents),
            "chance": cell(chance.get(name)),
            "human": cell(people.get(name)),
        }
        for name, (*bounds, kind, j) in found.items()
    ]


def _spread(angles: np.ndarray, m: Means) -> dict[str, tuple]:
    """Standard deviation and quantiles with their intervals; column 0 of `m` is the angle."""
    known = angles[~np.isnan(angles)]
    # The last column holds squares about the estimate: the variance of any resample is their
    # mean less the square of its own mean's distance.
    none = (np.nan, np.nan, None)
    scale = len(known) / (len(known) - 1) if len(known) > 1 else np.nan
    bounds = none
    if m.draws is not None and interval(m, 0)[2] == "bootstrap":
        variance = m.draws[:, -1] - (m.draws[:, 0] - m.estimate[0]) ** 2
        low, high = np.nanquantile(np.sqrt(np.maximum(variance, 0) * scale), [0.025, 0.975])
        bounds = (float(low), float(high), "bootstrap")
    found = {"angle_sd": (known.std(ddof=1) if len(known) > 1 else np.nan, *bounds, 0)}
    for q in QUANTILES:
        value = np.quantile(known, q / 100) if len(known) else np.nan
        # Ranks count independent agents: agents that share requests have no such interval.
        alone = m.n_distinct[0] == m.n[0]
        order = quantile_interval(known, q / 100) if alone else none
        found[f"angle_q{q:02}"] = (value, *order, 0)
    return found


def _angle_levels(angles: np.ndarray, weights: np.ndarray, about: Instrument) -> dict[str, float]:
    """Mean, SD, quantiles and category shares of weighted angles, ascending."""
    if not has_direction(angles, weights):
        return _category_levels(angles, weights, about)  # all round the circle: no angle is usual
    mean = float(weights @ angles)
    places = np.searchsorted(weights.cumsum(), np.array(QUANTILES) / 100)
    levels = {f"angle_q{q:02}": float(angles[i]) for q, i in zip(QUANTILES, places, strict=True)}
    levels |= _category_levels(angles, weights, about)
    return levels | {"angle_mean": mean, "angle_sd": float(np.sqrt(weights @ (angles - mean) ** 2))}


def _category_levels(
    angles: np.ndarray, weights: np.ndarray, about: Instrument
) -> dict[str, float]:
    if about.category is None:
        return {}
    kinds = about.category(angles)
    return {f"share_{m}": float(weights[kinds == m].sum()) for m in about.categories}

"""Does value rationality change from one choice to the next within a conversation?"""

import numpy as np
import polars as pl
from scipy.special import stdtr

from sim.analysis.intervals import interval, means
from sim.analysis.jackknife import bounds, errors
from sim.analysis.scores import (
    ESTIMATE,
    GROUP,
    average,
    cell,
    generator,
    groups,
    pooled,
    requests,
    unit_ids,
)
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,  # choice_vr at a step, or its slope
    **dict.fromkeys(GROUP[:-1], pl.String),
    "target": pl.Float64,
    "context_mode": pl.String,
    "step": pl.Int32,  # 0-based; null for the slope
    **ESTIMATE,
    "n_flat": pl.Int64,  # decisions with nothing at stake, which are left out
    "unread": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
}
_ITEM = ["env", "instrument", "item"]
_KEYS = [*GROUP, "context_mode"]
_FLAT = 1e-9  # payoff points: nothing is at stake
_NO_SPREAD = 1e-9  # squared steps
_ROUNDS, _SETTLED = 200, 1e-10  # of taking off means in turn, which ends at both effects' fit


def drift(tables: Tables, seed: int) -> pl.DataFrame:
    """Rows of `choice_vr` (utility gained of that at stake, 0..1) by step, and of its slope.

    Of members with a target. The slope, per choice, is that of least squares over the read choices
    of a group with an effect of each item and of each agent: so hard items that come late are no
    drift, provided that the order of items varies (`env.item_order=shuffled`); with one order for
    all, items and steps are the same thing and the slope is null. Its interval is that of a
    jackknife over agents (those that share all requests are one): they share the items' effects,
    which are found anew without each. Chance is that of uniform choices; 0 for the slope. `seed`
    is the bootstrap's, of the steps.
    """
    frame = pooled(_scored(tables))
    asked = requests(tables)
    rows: list[dict] = []
    for key, part in groups(frame, _KEYS):
        same = asked.filter(instrument=key["instrument"])
        rows += _steps(key, part, same, seed) + _slope(key, part, same)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _scored(tables: Tables) -> pl.DataFrame:
    """One row per decision of members with a target: its share of the utility at stake."""
    radians = pl.col("target") * (np.pi / 180)
    utility = radians.cos() * pl.col("payoff_self") + radians.sin() * pl.col("payoff_other")
    decisions = tables.decisions.filter(pl.col("target").is_not_null())
    targets = decisions.select("target").unique().collect()
    options = tables.items.filter(pl.col("payoff_self").is_not_null()).join(targets, how="cross")
    stakes = options.group_by(*_ITEM, "target", maintain_order=True).agg(
        utility.max().alias("best"), utility.min().alias("worst"), utility.mean().alias("mean")
    )
    span = pl.col("best") - pl.col("worst")
    return (
        decisions.select(*_KEYS, *_ITEM[::2], "agent_id", "episode", "step", "action",
                         utility.alias("utility"))
        .join(stakes.lazy(), on=[*_ITEM, "target"], how="inner", maintain_order="left")
        .with_columns((span <= _FLAT).alias("flat"))
        .with_columns(
            pl.when(pl.col("action").is_not_null() & ~pl.col("flat"))
            .then((pl.col("utility") - pl.col("worst")) / span)
            .alias("vr"),
            pl.when(~pl.col("flat"))
            .then((pl.col("mean") - pl.col("worst")) / span)
            .alias("by_chance"),
            pl.col("action").is_null().alias("lost"),
        )
        .collect(engine="streaming")
    )  # fmt: skip


def _steps(key: dict, part: pl.DataFrame, asked: pl.DataFrame, seed: int) -> list[dict]:
    rows = []
    for (step,), here in part.sort("step").group_by("step", maintain_order=True):
        agents = here.group_by("agent_id").agg(pl.col("vr").mean()).sort("agent_id")
        agents = agents.join(asked, on="agent_id", how="left", maintain_order="left")
        values = agents["vr"].fill_null(np.nan).to_numpy()[:, None]
        m = means(values, unit_ids(agents), generator(seed, "drift", step, *key.values()))
        chance = average(here, "by_chance")
        low, high, kind = interval(m, 0)
        found = (m.estimate[0], max(low, 0.0), min(high, 1.0), kind, int(m.n[0]))
        found = (*found, int(m.n_distinct[0]))
        rows.append(_row(key, "choice_vr", step, found, agents, here, chance))
    return rows


def _slope(key: dict, part: pl.DataFrame, asked: pl.DataFrame) -> list[dict]:
    agents = part.select("agent_id").unique().sort("agent_id")
    agents = agents.join(asked, on="agent_id", how="left", maintain_order="left")
    unit = pl.DataFrame({"agent_id": agents["agent_id"], "unit": unit_ids(agents)})
    known = part.drop_nulls("vr").join(unit, on="agent_id", how="left", maintain_order="left")
    codes = [
        known[c].rank("dense").to_numpy().astype(int) - 1 for c in ("item", "agent_id", "unit")
    ]
    step, vr = (known[c].cast(pl.Float64).to_numpy() for c in ("step", "vr"))
    slope, without, counts = within_slope(step, vr, *codes)
    low, high, kind = bounds(slope, without)
    error = float(errors(without)) if kind else np.nan
    p = 2 * stdtr(len(without) - 1, -abs(slope / error))
    n = int(known.filter(counts)["agent_id"].n_unique())
    row = _row(key, "slope", None, (slope, low, high, kind, n, len(without)), agents, part, 0.0)
    return [row | {"p": cell(p)}]


def within_slope(
    x: np.ndarray, y: np.ndarray, item: np.ndarray, agent: np.ndarray, unit: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Least-squares slope of `y` on `x` with an effect of each item and of each agent.

    Args:
        x: (n,).
        y: (n,).
        item: (n,) 0-based numbers.
        agent: (n,) 0-based numbers.
        unit: (n,) 0-based numbers of the units, whose agents are left out together.

    Returns:
        the slope, NaN where items and agents leave no spread of `x`; those (units,) without one
        unit each, whose rows then count in no item's mean either; and which rows (n,) are of
        agents who have a spread of `x`. The second is exact where every agent read every item as
        often, else nearly so.
    """
    x, y = _without_effects(x, item, agent), _without_effects(y, item, agent)
    if not len(x):
        return np.nan, np.full(0, np.nan), np.zeros(0, bool)
    counts = (np.bincount(agent, x**2) > _NO_SPREAD)[agent]
    units, index = np.unique(unit[counts], return_inverse=True)
    xx, xy = float(x @ x), float(x @ y)
    if xx <= _NO_SPREAD:
        return np.nan, np.full(len(units), np.nan), counts
    n = len(units)
    pair, where = np.unique(item[counts] * n + index.ravel(), return_inverse=True)
    where = where.ravel()
    x_, y_ = np.bincount(where, x[counts]), np.bincount(where, y[counts])
    others = np.bincount(item)[pair // n] - np.bincount(where)
    # To leave out rows moves the item's mean, which takes this much more.
    more = np.where(others > 0, 1 / np.maximum(others, 1), 0.0)
    gone_xx = np.bincount(index.ravel(), x[counts] ** 2, n) + np.bincount(pair % n, more * x_**2, n)
    gone_xy = np.bincount(index.ravel(), (x * y)[counts], n)
    gone_xy = gone_xy + np.bincount(pair % n, more * x_ * y_, n)
    left = xx - gone_xx
    with np.errstate(divide="ignore", invalid="ignore"):
        return xy / xx, np.where(left > _NO_SPREAD, (xy - gone_xy) / left, np.nan), counts


def _without_effects(x: np.ndarray, item: np.ndarray, agent: np.ndarray) -> np.ndarray:
    """What the means of items and of agents leave of `x` (n,), both together."""
    for _ in range(_ROUNDS):
        before = x
        for code in (agent, item):
            x = x - (np.bincount(code, x) / np.maximum(np.bincount(code), 1))[code]
        if not len(x) or np.abs(x - before).max() < _SETTLED:
            break
    return x


def _row(key, measure, step, found, agents, decisions, chance) -> dict:
    """A result row; `found`: estimate, low, high, kind of interval, agents, units."""
    estimate, low, high, kind, n, n_distinct = found
    return {
        "measure": measure,
        **key,
        "step": step,
        "estimate": cell(estimate),
        "low": cell(low),
        "high": cell(high),
        "interval": kind,
        "n": n,
        "n_distinct": n_distinct,
        "n_unscored": len(agents) - n,
        "n_flat": int(decisions["flat"].sum()),
        "unread": average(decisions, "lost"),
        "chance": chance,
        "p": None,
    }

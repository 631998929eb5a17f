"""Does the measured angle follow the assigned one? Beside it, what a perfect agent measures."""

import numpy as np
import polars as pl

from sim.analysis.angle import attainable, uniform_angles
from sim.analysis.intervals import interval, means
from sim.analysis.profile_chance import chance_angles
from sim.analysis.scores import (
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
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "interval": pl.String,
    "n": pl.Int64,
    "n_distinct": pl.Int64,
    "n_unscored": pl.Int64,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "perfect_low": pl.Float64,
    "perfect_high": pl.Float64,
}
TARGETS = np.arange(-90.0, 91.0)
_TIES = 1e-9  # payoff points: a perfect agent is indifferent between exact ties only
_COUNTS = ["n_items", "n_unread", "n_sheets", "n_lost"]


def dose_response(tables: Tables, seed: int) -> pl.DataFrame:
    """Mean measured angle (degrees) by assigned angle, and the stepped map of the perfect agent.

    Rows "group": every group with a target, the mean over agents. Rows "perfect": per instrument
    and target -90 to 90, the lowest and highest angle of maximisers of its utility (ties fall
    either way; the mean over forms). Chance is the mean angle of uniform responders. Angles lie
    within 180 degrees of the target. `seed` is the bootstrap's.
    """
    found = [s for s in sheets(tables) if s.bears_angle]
    asked = requests(tables)
    rows = []
    for name in sorted({s.instrument for s in found}):
        same = [s for s in found if s.instrument == name]
        rows += _group_rows(same, asked, seed) + _perfect_rows(name, same)
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


def _perfect_rows(instrument: str, same: list[Sheet]) -> list[dict]:
    low, high = _perfect(same, TARGETS)
    return [
        {
            "row": "perfect",
            "instrument": instrument,
            "target": float(t),
            "perfect_low": float(a),
            "perfect_high": float(b),
        }
        for t, a, b in zip(TARGETS, low, high, strict=True)
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


def _chance(same: list[Sheet], target: float) -> float:
    angles, weights = chance_angles([(*uniform_angles(*s.geometry)[:2], 1) for s in same])
    return float(weights @ unwrapped(angles, target, weights))

"""Which angle do the choices reveal, whatever the instrument, and has it one at all?"""

import numpy as np
import polars as pl

from sim.analysis.choices import WHO, packs
from sim.analysis.intervals import interval, means
from sim.analysis.revealed import Choices, Revealed, revealed
from sim.analysis.scores import (
    average,
    cell,
    generator,
    groups,
    requests,
    unit_ids,
    unread_share,
    unwrapped,
)
from sim.tables import Tables

SCHEMA = {
    "row": pl.String,  # agent or group
    "instrument": pl.String,  # null: all items with payoffs together
    **dict.fromkeys(WHO[:-1], pl.String),
    "target": pl.Float64,
    "agent_id": pl.String,  # null for a group
    "estimate": pl.Float64,  # angle, degrees; of a group the mean over agents that have one
    "low": pl.Float64,
    "high": pl.Float64,
    "interval": pl.String,  # profile; t or bootstrap of a group
    "n": pl.Int64,  # choices; agents of a group
    "n_distinct": pl.Int64,
    "n_unscored": pl.Int64,  # agents of the group without an angle
    "unread": pl.Float64,
    "chance": pl.Float64,  # share of uniform responders to the same items who have an angle
    "beta": pl.Float64,  # 1/points; of a group the median; infinite where separable
    "separable": pl.Float64,  # 0 or 1; of a group the share of agents
    "cone_low": pl.Float64,  # degrees
    "cone_high": pl.Float64,
    "whole_circle": pl.Float64,  # whether the interval is all of it; of a group the share
    "nonlinear": pl.Float64,  # whether p < .05 for a linear utility within Fehr-Schmidt's; share
    "alpha_fs": pl.Float64,  # of a group the median over agents that have one
    "beta_fs": pl.Float64,
    "position_first": pl.Float64,  # log odds; of a group the median
    "position_last": pl.Float64,
}
_FLAGS = ("separable", "whole_circle", "nonlinear")
_MEDIANS = ("beta", "alpha_fs", "beta_fs", "position_first", "position_last")
LEVEL = 0.05
MOST_SEPARABLE = 0.5
LOTS = 200  # uniform responders


def revealed_angle(tables: Tables, seed: int) -> pl.DataFrame:
    """One row per (instrument, agent) and one per (instrument, group); see `SCHEMA`.

    Where a run has several instruments with payoffs, all of their items together are another
    (instrument null): the secondary items of the slider tell more of an angle than the primary
    ones alone. A group of which more than half choose separably has no interval: the angles of
    these are middles of cones, whose spread says little. `n` counts choices that were read, of a
    group its agents that have an angle. `seed` is the bootstrap's.
    """
    known = tables.items.filter(pl.col("payoff_self").is_not_null())["instrument"].unique().sort()
    names: list[str | None] = [*known.to_list()]
    if len(names) > 1:
        names.append(None)
    asked = requests(tables)
    frames = [pl.DataFrame(schema=SCHEMA)]
    for name in names:
        agents, chance = [], None
        for who, choices in packs(tables, name):
            if chance is None:
                chance = _by_lot(choices, generator(seed, "lot", name))
            agents.append(_agent_rows(who, revealed(choices), name, chance))
        if not agents:
            continue
        table = pl.concat(agents)
        mine = asked if name is None else asked.filter(instrument=name)
        units = mine.group_by("agent_id").agg(
            pl.col("requests", "answers").sum(), pl.col("scripted").all()
        )
        rows = _group_rows(table.join(units, on="agent_id", how="left"), seed)
        frames += [pl.DataFrame(rows, schema=SCHEMA, orient="row"), table.select(list(SCHEMA))]
    return pl.concat(frames)


def _by_lot(choices: Choices, rng: np.random.Generator) -> float:
    """Share of uniform responders to the same choices, up to 200 of them, who have an angle."""
    n = max(1, LOTS // len(choices.chosen))
    payoffs, offered, chosen = (
        np.concatenate([x[:LOTS]] * n) for x in (choices.payoffs, choices.offered, choices.chosen)
    )
    width = offered.sum(-1)
    lots = (rng.random(chosen.shape) * width).astype(int)
    # The k-th of those offered.
    place = (np.cumsum(offered, axis=-1) == lots[..., None] + 1).argmax(-1)
    lot = Choices(payoffs, offered, np.where(chosen >= 0, place, -1))
    return float((~np.isnan(revealed(lot).angle)).mean())


def _agent_rows(
    who: pl.DataFrame, found: Revealed, instrument: str | None, chance: float
) -> pl.DataFrame:
    none = found.n == 0  # nothing read tells nothing
    columns = {
        "estimate": found.angle,
        "low": found.low,
        "high": found.high,
        "beta": found.beta,
        "separable": np.where(none, np.nan, found.separable),
        "cone_low": found.cone_low,
        "cone_high": found.cone_high,
        "whole_circle": np.where(none, np.nan, found.high - found.low >= 360),
        "nonlinear": np.where(np.isnan(found.p_linear), np.nan, found.p_linear < LEVEL),
        "alpha_fs": found.alpha_fs,
        "beta_fs": found.beta_fs,
        "position_first": found.position_first,
        "position_last": found.position_last,
    }
    return who.with_columns(
        pl.lit("agent").alias("row"),
        pl.lit(instrument, pl.String).alias("instrument"),
        pl.Series("interval", [None if n else "profile" for n in none.tolist()], pl.String),
        pl.Series("n", found.n, pl.Int64),
        pl.lit(1, pl.Int64).alias("n_distinct"),
        pl.Series("n_unscored", np.isnan(found.angle), pl.Boolean).cast(pl.Int64),
        (pl.col("n_unread") / pl.col("n_items")).alias("unread"),
        pl.lit(chance).alias("chance"),
        *(pl.Series(k, v, pl.Float64).fill_nan(None) for k, v in columns.items()),
    )


def _group_rows(table: pl.DataFrame, seed: int) -> list[dict]:
    rows = []
    for key, part in groups(table, ["instrument", *WHO[:-1]]):
        targets = part["target"].unique()
        target = targets[0] if len(targets) == 1 else None
        angle = part["estimate"].fill_null(np.nan).to_numpy()
        if target is not None or np.isfinite(angle).any():
            angle = unwrapped(angle, target)
        rng = generator(seed, "revealed", *key.values())
        m = means(angle[:, None], unit_ids(part), rng)
        low, high, kind = interval(m, 0)
        if (average(part, "separable") or 0) > MOST_SEPARABLE:
            low, high, kind = np.nan, np.nan, None
        rows.append(
            {"row": "group", **key, "target": target, "agent_id": None}
            | {"estimate": cell(m.estimate[0]), "low": cell(low), "high": cell(high)}
            | {"interval": kind, "n": int(m.n[0]), "n_distinct": int(m.n_distinct[0])}
            | {"n_unscored": len(part) - int(m.n[0]), "unread": unread_share(part)}
            | {"chance": part["chance"][0], "cone_low": None, "cone_high": None}
            | {k: part[k].mean() for k in _FLAGS}
            | {k: part[k].drop_nulls().median() for k in _MEDIANS}
        )
    return rows

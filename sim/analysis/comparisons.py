"""Value rationality compared: with the control, and between kinds of agent member by member."""

from itertools import combinations

import numpy as np
import polars as pl

from sim.analysis.intervals import Means, difference, holm, interval, means, p_value
from sim.analysis.scores import GROUP, cell, generator, groups, left_out, unit_ids, unread_share
from sim.tables import Tables

_COUNTS = ["n_items", "n_unread", "n_sheets", "n_lost"]
_LEVELS = ("chance", "best_constant", "human")


def gains(agents: pl.DataFrame, scored: list[dict], seed: int) -> list[dict]:
    """A `gain` row for each `vr` row of a non-control: its estimate minus the control's.

    The control is that of the same kind of agent where there is one, else every kind of control of
    the same model and instrument, each in a row of its own; unpaired. Scripted agents have no
    model and so no control: they are baselines themselves. `agents` has one row per (group,
    control, agent_id).
    """
    controls = agents.filter("control")
    rows = []
    for row in (r for r in scored if not r["control"] and r["model"] is not None):
        same = ["instrument", "model", "value", "target"]
        pool = controls.filter(pl.col(c).eq_missing(pl.lit(row[c])) for c in same)
        own = pool.filter(pl.col("agent") == row["agent"])
        rows += [
            _gain(row, agents, control, seed)
            for _, control in groups(pool if own.is_empty() else own, ["agent", "method"])
        ]
    return rows


def _gain(row: dict, agents: pl.DataFrame, control: pl.DataFrame, seed: int) -> dict:
    part = agents.filter(~pl.col("control"), *(pl.col(c).eq_missing(pl.lit(row[c])) for c in GROUP))
    agent, method = control.select("agent", "method").row(0)
    key = [row[c] for c in GROUP]
    a, b = _vr(part, seed, "gain", *key), _vr(control, seed, "control", agent, method, *key)
    low, high, kind = difference(a, 0, b, 0)
    base = b.estimate[0]
    levels = {c: row[c] for c in _LEVELS if row.get(c) is not None}
    return (
        row
        | {c: cell(level - base) for c, level in levels.items()}
        | {"measure": "gain", "estimate": cell(a.estimate[0] - base)}
        | {"against": method if agent == row["agent"] else _kind((agent, method))}
        | {"low": cell(low), "high": cell(high), "interval": kind}
    )


def _vr(part: pl.DataFrame, seed: int, *key: object) -> Means:
    return means(_column(part, "vr"), unit_ids(part), generator(seed, *key))


def _column(part: pl.DataFrame, name: str) -> np.ndarray:
    return part.select(pl.col(name).cast(pl.Float64)).to_numpy()


def contrasts(agents: pl.DataFrame, tables: Tables, seed: int) -> list[dict]:
    """`contrast` rows: paired differences of value rationality on the same members.

    For every two kinds (agent and method) of one model with common members that have a value, for
    each value and, where there are several, over all (value null); first kind in the alphabet
    minus the second, which `against` names. p values are Holm-corrected within (instrument, model).
    """
    members = tables.agents.select("agent_id", "member")
    valued = agents.filter(~pl.col("control")).join(
        members, on="agent_id", how="inner", maintain_order="left"
    )
    rows = []
    for within, part in groups(valued.drop_nulls("member"), ["instrument", "model"]):
        found = []
        kinds = part.select("agent", "method").unique().sort("agent", "method").rows()
        for first, second in combinations(kinds, 2):
            pairs = _pairs(part, first, second)
            label = {"agent": first[0], "method": first[1], "against": _kind(second), **within}
            found += _pair_rows(pairs, label, seed)
        corrected = holm([np.nan if r["p"] is None else r["p"] for r in found])
        rows += [r | {"p_holm": cell(p)} for r, p in zip(found, corrected, strict=True)]
    return rows


def _kind(kind: tuple[str | None, ...]) -> str:
    return "/".join(name for name in kind if name is not None)


def _pairs(part: pl.DataFrame, first: tuple, second: tuple) -> pl.DataFrame:
    """One row per (member, value) that both kinds have: difference, units and counts."""
    on = ["member", "value", "target"]
    sides = []
    for kind in (first, second):
        names = zip(("agent", "method"), kind, strict=True)
        side = part.filter(pl.col(c).eq_missing(pl.lit(name)) for c, name in names)
        # Kinds that never vary do so within a value.
        units = [v.with_columns(pl.Series("unit", unit_ids(v))) for _, v in groups(side, on[1:])]
        side = pl.concat(units) if units else side.with_columns(pl.lit(0).alias("unit"))
        sides.append(side.select(*on, "vr", "unit", *_COUNTS))
    joined = sides[0].join(sides[1], on=on, how="inner", nulls_equal=True).sort(on)
    return joined.select(
        *on,
        (pl.col("vr") - pl.col("vr_right")).alias("vr"),
        (pl.struct(*on[1:], "unit", "unit_right").rank("dense") - 1).alias("unit"),
        *(pl.col(c) + pl.col(f"{c}_right") for c in _COUNTS),
    )


def _pair_rows(pairs: pl.DataFrame, label: dict, seed: int) -> list[dict]:
    if pairs.is_empty():
        return []
    parts = list(groups(pairs, ["value", "target"]))
    if len(parts) > 1:  # else it would be the same test twice
        # A member with several values is one member: its differences are averaged first.
        overall = pairs.group_by("member", maintain_order=True).agg(
            pl.col("vr").mean(), pl.col("unit").min(), pl.col(_COUNTS).sum()
        )
        parts.insert(0, ({"value": None, "target": None}, overall))
    rows = []
    for key, part in parts:
        of = label | key
        m = means(_column(part, "vr"), part["unit"].to_numpy(), generator(seed, *of.values()))
        low, high, kind = interval(m, 0)
        rows.append(
            of
            | {"measure": "contrast", "control": False, "estimate": cell(m.estimate[0])}
            | {"low": cell(low), "high": cell(high), "interval": kind, "n": int(m.n[0])}
            | {"n_distinct": int(m.n_distinct[0]), "n_unscored": len(part) - int(m.n[0])}
            | {"unread": unread_share(part), "left_out": left_out(part)}
            | {"p": cell(p_value(m, 0)), "chance": 0.0}  # two uniform responders do not differ
        )
    return rows

"""Does behaviour follow the assigned value? Value rationality by group, gain and contrast."""

import numpy as np
import polars as pl

from sim.analysis.angle_scores import CHANCE, HUMAN, POSITION, angle_scores
from sim.analysis.choice import choice_scores
from sim.analysis.comparisons import contrasts, gains
from sim.analysis.intervals import Means, interval, means, share_interval
from sim.analysis.scores import (
    ESTIMATE,
    GROUP,
    average,
    by_agent,
    cell,
    generator,
    groups,
    left_out,
    orientations,
    pooled,
    requests,
    unit_ids,
    unread_share,
)
from sim.analysis.sheets import sheets
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    **dict.fromkeys(GROUP[:-1], pl.String),
    "target": pl.Float64,
    "control": pl.Boolean,
    "against": pl.String,
    **ESTIMATE,
    "n_flat": pl.Int64,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "best_constant": pl.Float64,
    "human": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}
MEASURES = ("vr", "vrc", "vr_without_repaired", "deg_to_canonical", "vr60", "category_hit")
_BOUNDS = {"vrc": (-np.inf, 1.0), "choice_vrc": (-np.inf, 1.0), "vr60": (-np.inf, 60.0)}
_BOUNDS |= {"deg_to_canonical": (0.0, 180.0)}  # all other measures: 0 to 1
_KEYS = [*GROUP, "control"]
_COUNTS = ["n_items", "n_unread", "n_repaired", "n_sheets", "n_lost", "n_lost_without"]


def value_rationality(tables: Tables, seed: int) -> pl.DataFrame:
    """Scores of each group against its target, and of controls against every orientation.

    Rows are (measure, group): `vr`, `vrc` (chance-corrected), `vr_without_repaired`,
    `deg_to_canonical`, `vr60`, `category_hit` of instruments that bear an angle; `choice_vr` and
    `choice_vrc` of any with payoffs; `gain` over the control and paired `contrast` of two kinds
    of agent, whose levels (chance, best constant, human) are on the scale of the estimate.
    n counts agents, n_unscored those without a score, unread is the share of their decisions
    (0..1) that could not be read, left_out that of what is scored: answer sheets for an angle
    (one unread item loses the sheet), decisions for choices. `seed` is the bootstrap's.
    """
    asked, wanted = requests(tables), orientations(tables.decisions)
    rows = _choice_rows(pooled(choice_scores(tables, wanted)), asked, seed)
    scored = [angle_scores(s, wanted) for s in sheets(tables, orders=True) if s.bears_angle]
    if scored:
        agents, levels = _agents(pooled(pl.concat(scored, how="diagonal")), asked)
        for key, part in groups(agents, _KEYS):
            rows += _angle_rows(key, part, levels[tuple(key.values())], seed)
        rows += gains(agents, [r for r in rows if r["measure"] == "vr"], seed)
        rows += contrasts(agents, tables, seed)
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    order = [*MEASURES, "choice_vr", "choice_vrc", "gain", "contrast"]
    rank = pl.col("measure").replace_strict(order, range(len(order)), return_dtype=pl.Int8)
    return table.sort(
        "instrument",
        rank,
        "model",
        "agent",
        "method",
        "control",
        "value",
        "target",
        "against",
        maintain_order=True,
    )


def _agents(scored: pl.DataFrame, asked: pl.DataFrame) -> tuple[pl.DataFrame, dict[tuple, dict]]:
    """One row per (group, control, agent_id) with its mean scores; the levels of each group."""
    # Of the sheets that have a score: forms differ in their levels.
    has = pl.col("vr").is_not_nan() | pl.col("vr").is_nan().all()
    levels = pl.col(f"^({CHANCE}|{HUMAN}).*$").fill_nan(None).filter(has)
    # A place that some sheet does not have is no constant place of the group.
    places = pl.col(f"^{POSITION}.*$").fill_nan(None).filter(has)
    always = pl.when(places.null_count() == 0).then(places.mean())
    means = scored.group_by(_KEYS, maintain_order=True).agg(levels.mean(), always)
    scores = [c for c in scored.columns if c in MEASURES]
    agents = by_agent(scored.select(*_KEYS, "agent_id", *_COUNTS, *scores), asked, _KEYS, _COUNTS)
    keys = means.select(_KEYS).iter_rows()
    return agents, dict(zip(keys, means.drop(_KEYS).iter_rows(named=True), strict=True))


def _angle_rows(key: dict, part: pl.DataFrame, levels: dict, seed: int) -> list[dict]:
    names = [m for m in MEASURES if m in part.columns and _applies(m, part, levels)]
    m = means(part.select(names).to_numpy(), unit_ids(part), generator(seed, *key.values()))
    rows = []
    for j, name in enumerate(names):
        level = "vr" if name == "vr_without_repaired" else name
        row = _row(key, name, m, j, len(part))
        row |= {"unread": unread_share(part), "left_out": left_out(part)}
        row["chance"] = 0.0 if name == "vrc" else levels[CHANCE + level]
        row["human"] = None if name == "vrc" else levels[HUMAN + level]
        if name == "vr":
            row["best_constant"] = best_constant(levels)
        if name == "vr_without_repaired":  # these are left out as well
            row["unread"] += part["n_repaired"].to_numpy().sum() / part["n_items"].to_numpy().sum()
            row["left_out"] = left_out(part, "n_lost_without")
        rows.append(row)
    return rows


def _applies(measure: str, part: pl.DataFrame, levels: dict) -> bool:
    if measure == "vr_without_repaired":
        return bool(part["n_repaired"].sum())
    return measure == "vrc" or levels[CHANCE + measure] is not None  # of named values only


def best_constant(levels: dict) -> float | None:
    """The highest mean value rationality of always taking the option at one place."""
    places = [v for k, v in levels.items() if k.startswith(POSITION) and v is not None]
    return max(places, default=None)


def _row(key: dict, measure: str, m: Means, j: int, n_agents: int) -> dict:
    low, high, kind = (share_interval if measure == "category_hit" else interval)(m, j)
    least, most = _BOUNDS.get(measure, (0.0, 1.0))
    return {
        **key,
        "measure": measure,
        "estimate": cell(m.estimate[j]),
        # No further than the measure goes.
        "low": cell(max(low, least)),
        "high": cell(min(high, most)),
        "interval": kind,
        "n": int(m.n[j]),
        "n_distinct": int(m.n_distinct[j]),
        "n_unscored": n_agents - int(m.n[j]),
    }


def _choice_rows(agents: pl.DataFrame, asked: pl.DataFrame, seed: int) -> list[dict]:
    same = ["agent_id", "instrument"]
    agents = agents.join(asked, on=same, how="left", maintain_order="left")
    rows = []
    for key, part in groups(agents, _KEYS):
        names = ["choice_vr", "choice_vrc"]
        values = part.select(names).to_numpy().astype(np.float64)
        m = means(values, unit_ids(part), generator(seed, "choice", *key.values()))
        for j, name in enumerate(names):
            rows.append(
                _row(key, name, m, j, len(part))
                | {
                    "unread": unread_share(part),
                    "left_out": unread_share(part),
                    "n_flat": part["n_flat"].sum(),
                    "chance": 0.0 if name == "choice_vrc" else average(part, "chance"),
                }
            )
    return rows

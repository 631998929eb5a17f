"""What moves the measured angle: orientation, method, wording, order, or only the repeat?"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from sim.analysis.intervals import FEWEST
from sim.analysis.jackknife import errors, half_width
from sim.analysis.scores import (
    answered,
    cell,
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
    "instrument": pl.String,
    "model": pl.String,
    "source": pl.String,
    "estimate": pl.Float64,  # share 0..1 of the variance of angles
    "low": pl.Float64,
    "high": pl.Float64,
    "interval": pl.String,
    "n": pl.Int64,  # agents
    "n_distinct": pl.Int64,
    "n_levels": pl.Int64,
    "n_sheets": pl.Int64,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
}
FACTORS = ("orientation", "method", "wording", "order")
NESTED = {"wording": "method"}
SOURCES = (*FACTORS, "interactions", "repeat")


def prompt_sensitivity(tables: Tables, seed: int) -> pl.DataFrame:
    """Shares of the variance of measured angles, by (instrument, model, source).

    A sheet (one agent's answers in one episode) has an orientation, a method, a wording of that
    method (also the place of its text) and an order (of its options: canonical or reversed; other
    orders are no levels but repeats). Controls have no orientation and are left out. Effects are
    those of a linear model, less what that many levels explain by chance: orientation, method and
    order each after the others, wording within methods after all of them. `repeat` is the variance
    between sheets that have all of them in common, of one agent or of several: differences between
    the agents of a condition are mostly in it. A little of them is in the factors that vary from
    agent to agent, about (levels - 1) / agents of their share: with 96 agents, wording (of four
    more levels than methods) has .015 where its own share is 0 and .43 lies between agents.
    `interactions` is what is left, which is also where factors go that a study does not vary apart
    from each other. Shares may be negative where
    a factor explains less than chance would; chance is 0. Intervals: t of a jackknife over agents
    (those that share all requests are one), wide for what differs between agents and too narrow
    for shares below a hundredth (`python -m sim.calibrate` prints how often they cover). `seed` is
    not used.
    """
    found = [s for s in sheets(tables, orders=True) if s.bears_angle]
    words = tables.decisions.select("episode", "seat", "wording").unique().collect()
    rows: list[dict] = []
    if found:
        table = pl.concat([_rows(s) for s in found], how="diagonal").join(
            words, on=["episode", "seat"], how="left", maintain_order="left"
        )
        asked = requests(tables)
        for key, part in groups(table.drop_nulls("orientation"), ["instrument", "model"]):
            rows += _shares(key, part, asked, seed)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _rows(sheet: Sheet) -> pl.DataFrame:
    assert sheet.orders is not None
    step = np.diff(sheet.orders, axis=2)
    beyond = sheet.orders[..., 1:] < 0
    rises, falls = ((step > 0) | beyond).all((1, 2)), ((step < 0) | beyond).all((1, 2))
    order = np.select([rises, falls], ["canonical", "reversed"], "shuffled")
    return answered(sheet).with_columns(
        pl.Series("order", order),
        pl.concat_str("value", "target", separator=" ").alias("orientation"),
    )


def _shares(key: dict, part: pl.DataFrame, asked: pl.DataFrame, seed: int) -> list[dict]:
    agents = part.select("agent_id", "instrument").unique(maintain_order=True)
    agents = agents.join(asked, on=["agent_id", "instrument"], how="left", maintain_order="left")
    units = dict(zip(agents["agent_id"], unit_ids(agents).tolist(), strict=True))
    angle = unwrapped(part["angle"].to_numpy())
    known = ~np.isnan(angle)
    angle, sheets_ = angle[known], part.filter(known)
    codes = {f: _codes(sheets_[f].fill_null("none")) for f in FACTORS}
    codes["wording"] = _codes(sheets_["method"] + "|" + sheets_["wording"].fill_null("none"))
    n_agents = sheets_["agent_id"].n_unique()
    unit = np.array([units[a] for a in sheets_["agent_id"]])
    unit = np.unique(unit, return_inverse=True)[1].ravel() if len(unit) else unit.astype(int)
    n_units = int(unit.max(initial=-1)) + 1
    estimate, half = jackknife(angle, codes, unit)
    rows = []
    for j, source in enumerate(SOURCES):
        low, high = estimate.get(source, np.nan) + np.array([-half[j], half[j]])
        rows.append(
            {**key, "source": source, "estimate": cell(estimate.get(source))}
            | {"low": cell(low), "high": cell(high)}
            | {"interval": None if np.isnan(low) else "jackknife"}
            | {"n": n_agents, "n_distinct": n_units, "n_sheets": len(angle)}
            | {"n_levels": int(codes[source].max(initial=-1)) + 1 if source in codes else None}
            | {"unread": unread_share(part)}
            | {"left_out": left_out(part)}
            | {"chance": 0.0 if source in FACTORS else None}
        )
    return rows


def jackknife(
    y: np.ndarray, codes: Mapping[str, np.ndarray], unit: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    """Variance shares, and half of each 95 % interval in the order of `SOURCES`.

    Units are left out one by one: resampled ones would repeat rows, which looks like less noise.

    Args:
        y: one number per observation, no NaN.
        codes: factor -> level of each observation, as in `variance_shares`.
        unit: (n,) 0-based number of the unit of each observation.

    Returns:
        halves are NaN below 5 units, or where a share is not defined without one of them.
    """
    estimate = variance_shares(y, codes, NESTED)
    n = int(unit.max(initial=-1)) + 1
    if n < FEWEST or not estimate:
        return estimate, np.full(len(SOURCES), np.nan)
    kept = [unit != k for k in range(n)]
    left = [variance_shares(y[k], {f: c[k] for f, c in codes.items()}, NESTED) for k in kept]
    without = np.array([[one.get(s, np.nan) for s in SOURCES] for one in left])
    return estimate, half_width(errors(without), n)


def _codes(names: pl.Series) -> np.ndarray:
    return names.cast(pl.String).rank("dense").to_numpy().astype(int) - 1


def variance_shares(
    y: np.ndarray, factors: Mapping[str, np.ndarray], nested: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Shares of the variance of `y` (n,) by factor, of interactions and of repeats; they sum to 1.

    Args:
        y: one number per observation, no NaN.
        factors: name -> level of each observation, (n,), 0-based.
        nested: factor -> that whose levels its own divide.

    Returns:
        omega squared of each factor that adds a level: (SS - df * MS of repeats) / SS of all; what
        repeats and interactions keep; empty where `y` does not vary or no two observations share
        all levels.
    """
    nested = nested or {}
    n = len(y)
    whole = float(((y - y.mean()) ** 2).sum()) if n else 0.0
    if whole <= 1e-9:
        return {}
    levels = np.stack([*factors.values(), np.zeros(n, int)])
    cell_of = np.unique(levels, axis=1, return_inverse=True)[1].ravel()
    n_cells = int(cell_of.max()) + 1
    if n <= n_cells:
        return {}
    sums = np.bincount(cell_of, y, n_cells) / np.bincount(cell_of, minlength=n_cells)
    noise = float(((y - sums[cell_of]) ** 2).sum()) / (n - n_cells)
    dummies = {f: np.eye(int(c.max()) + 1)[c][:, 1:] for f, c in factors.items()}
    shares = {}
    for f in factors:
        inner = {g for g, outer in nested.items() if outer == f}
        beside = [d for g, d in dummies.items() if g != f and g not in inner]
        with_, rank = _residual(y, [*beside, dummies[f]])
        without, lower = _residual(y, beside)
        if rank > lower:
            shares[f] = float((without - with_ - (rank - lower) * noise) / whole)
    repeat = noise * (n - 1) / whole
    shares["interactions"] = 1 - repeat - sum(shares.values())
    return shares | {"repeat": repeat}


def _residual(y: np.ndarray, blocks: list[np.ndarray]) -> tuple[float, int]:
    """Sum of squares that main effects leave, and the rank of their design."""
    design = np.hstack([np.ones((len(y), 1)), *blocks])
    gram = design.T @ design
    solution = np.linalg.pinv(gram, hermitian=True) @ (design.T @ y)
    return float(((y - design @ solution) ** 2).sum()), int(
        np.linalg.matrix_rank(gram, hermitian=True)
    )

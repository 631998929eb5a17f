"""Do the analyzers of dilemmas find what was planted? `python -m sim.calibrate_dilemmas` says.

Choices are drawn from Bradley and Terry's model at the size and the exposure of the published
data: 3,302 dilemmas of five stages, Care among 38 % of the options, Sanctity among 3 % (Wu et al.
2025, arXiv 2505.18154, Table 1). Takes some minutes.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sim.analysis.bradley_terry import Cells
from sim.analysis.priorities import group_rows

VALUES = ["authority", "care", "fairness", "liberty", "loyalty", "sanctity"]
LABELS = np.array([2418, 12489, 5266, 6571, 5161, 1115])  # options of each in the published set
STRENGTHS = np.array([-0.3, 0.6, 0.5, -0.2, -0.7, 0.1])  # about what nine models show there
DILEMMAS, STAGES = 3302, 5
POSITION, SHIFT = 0.3, 0.3  # logits
SHIFTED = ("care", "fairness")
# How a shift grows over the five stages, in shares of it.
COURSES = {
    "at the last stage alone": [0, 0, 0, 0, 1],
    "evenly from first to last": [0, 0.25, 0.5, 0.75, 1],
    "from the second stage on": [0, 1, 1, 1, 1],
    "in the last two stages": [0, 0, 0, 1, 1],
}
MEASURES = ("position", "strength", "shift")
TESTS = ("wald_shift", "wald_trend", "wald_last", "lr_shift", "lr_trend", "lr_last")
Floats = NDArray[np.float64]


def exposure(labels: Floats) -> tuple[list[tuple[int, int]], Floats]:
    """Pairs of values, and the share of each, so that each value has its share of options."""
    share = labels / labels.sum()
    matrix = np.outer(share, share) * (1 - np.eye(len(share)))
    for _ in range(500):  # iterative proportional fitting
        matrix *= (share / matrix.sum(1))[:, None]
        matrix = (matrix + matrix.T) / 2
    pairs = list(combinations(range(len(share)), 2))
    weights = np.array([matrix[i, j] for i, j in pairs])
    return pairs, weights / weights.sum()


def simulate(
    rng: np.random.Generator, shift: Floats, spread: float, n_dilemmas: int = DILEMMAS
) -> Cells:
    """Choices of one agent, counted.

    Args:
        rng: draws everything.
        shift: (stages, values) logits on top of the strengths.
        spread: SD, logits, of what a value gains in a dilemma at all its stages: choices in one
            dilemma are then not independent.
        n_dilemmas: of as many stages as `shift` has.
    """
    n_stages = len(shift)
    pairs, weights = exposure(LABELS.astype(float))
    met = np.array(pairs)[rng.choice(len(pairs), (n_dilemmas, n_stages), p=weights)]
    turned = rng.random((n_dilemmas, n_stages, 1)) < 0.5
    shown = np.where(turned, met[..., ::-1], met)
    own = rng.normal(0, spread, (n_dilemmas, 1, len(VALUES)))
    utility = STRENGTHS + shift + own
    utility = np.take_along_axis(utility, shown, axis=2)
    odds = utility[..., 0] - utility[..., 1] + POSITION
    place = (rng.random(odds.shape) >= 1 / (1 + np.exp(-odds))).astype(int)
    stage = np.broadcast_to(np.arange(1, n_stages + 1), odds.shape)
    keys = np.column_stack([stage.ravel(), shown.reshape(-1, 2)])
    unique, at = np.unique(keys, axis=0, return_inverse=True)
    counts = np.zeros((n_dilemmas, len(unique), 2))
    dilemma = np.repeat(np.arange(n_dilemmas), n_stages)
    np.add.at(counts, (dilemma, at.ravel(), place.ravel()), 1)
    stages, index = np.unique(unique[:, 0], return_inverse=True)
    return Cells(unique[:, 1:], index.ravel(), stages, len(VALUES), counts)


def planted(course: list[float], size: float = SHIFT) -> Floats:
    """A shift (stages, values) in the shifted values along a course."""
    gains = np.isin(VALUES, SHIFTED) * size
    return np.outer(course, gains)


def studies(
    n: int, seed: int, shift: Floats, spread: float, about: str, n_dilemmas: int = DILEMMAS
) -> pl.DataFrame:
    """`priorities` of `n` data sets, a column `study` beside its own."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(seed)
    for k in track(range(n), about, console=Console(stderr=True)):
        found = group_rows(simulate(rng, shift, spread, n_dilemmas), VALUES, 0)
        rows += [row | {"study": k} for row in found]
    return pl.DataFrame(rows, infer_schema_length=None)


def _truths(found: pl.DataFrame, shift: Floats) -> Iterator[tuple[str, float, float, int]]:
    """(what, mean error, share of intervals that cover the truth, how many) by measure."""
    about = shift - shift.mean(1, keepdims=True)
    rest = STRENGTHS - STRENGTHS.mean()
    truths: dict[tuple[str, str | None, int | None], float] = {("position", None, None): POSITION}
    for v, value in enumerate(VALUES):
        for s in range(len(shift)):
            truths["strength", value, s + 1] = rest[v] + about[s, v]
            truths["shift", value, s + 1] = about[s, v] - about[0, v]
    for measure in MEASURES:
        part = found.filter(measure=measure)
        keys = zip(part["measure"], part["first"], part["stage"], strict=True)
        part = part.with_columns(pl.Series("truth", [truths.get(k) for k in keys], pl.Float64))
        part = part.drop_nulls(["truth", "low"])
        inside = (part["low"] <= part["truth"]) & (part["truth"] <= part["high"])
        error = part["estimate"] - part["truth"]
        yield (
            measure, float(error.to_numpy().mean()),
            float(inside.cast(pl.Float64).to_numpy().mean()), len(part),
        )  # fmt: skip


def alarms(found: pl.DataFrame, level: float) -> dict[str, float]:
    """Share of the studies in which each test rejects, at a level."""
    return {
        test: float((found.filter(measure=test)["p"] < level).cast(pl.Float64).to_numpy().mean())
        for test in TESTS
    }


def _null_table(n: int, seed: int) -> Table:
    table = Table(title=f"No shift: {n} data sets of {DILEMMAS:,} dilemmas, five stages")
    for name in ("within dilemmas, SD", *TESTS, "position covered", "strengths covered",
                 "shifts covered", "mean error of position"):  # fmt: skip
        table.add_column(name, justify="right")
    for spread in (0.0, 0.7):
        nothing = np.zeros((STAGES, len(VALUES)))
        found = studies(n, seed, nothing, spread, f"no shift, SD {spread:g}")
        rates = alarms(found, 0.05)
        known = {what: (error, share) for what, error, share, _ in _truths(found, nothing)}
        table.add_row(
            f"{spread:g}", *(f"{rates[t]:.1%}" for t in TESTS),
            # Over dilemmas that differ, the average one is less sharp: no planted truth to cover.
            *("" if spread else f"{known[m][1]:.1%}" for m in MEASURES),
            f"{known['position'][0]:+.3f}" if not spread else "",
        )  # fmt: skip
    table.caption = "tests at level .05; SD: of what a value gains in a dilemma, at all its stages"
    return table


def _shift_table(n: int, seed: int) -> tuple[Table, pl.DataFrame]:
    told = " and ".join(SHIFTED)
    table = Table(
        title=f"A shift of {SHIFT:g} logits in {told}: found at p < .01 in {n} data sets each"
    )
    for name in ("course of the shift", *(t for t in TESTS), "shifts covered"):
        table.add_column(name, justify="right")
    last = pl.DataFrame()
    for course, weights in COURSES.items():
        shift = planted([float(w) for w in weights])
        last = studies(n, seed + 1, shift, 0.0, course)
        rates = alarms(last, 0.01)
        shares = {what: share for what, _, share, _ in _truths(last, shift)}
        cells = [f"{rates[t]:.0%}" for t in TESTS]
        table.add_row(course, *cells, f"{shares['shift']:.1%}")
    return table, last


def _pair_table(found: pl.DataFrame) -> Table:
    table = Table(title=f"Power to find a change of {SHIFT:g} logits in one pair, first to last")
    for name in ("pair", "choices, first and last stage", "power", "detectable, logits"):
        table.add_column(name, justify="right" if name != "pair" else "left")
    pairs = found.filter(measure="pair_shift").group_by("first", "second").agg(
        pl.col("n", "power", "detectable").mean()
    )  # fmt: skip
    for row in pairs.sort("power", "first", descending=[True, False]).iter_rows(named=True):
        table.add_row(
            f"{row['first']}, {row['second']}", f"{row['n']:.0f}", f"{row['power']:.0%}",
            f"{row['detectable']:.2f}",
        )  # fmt: skip
    table.caption = "level .05, before Holm's correction; rare values have little"
    return table


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.calibrate_dilemmas", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--nulls", type=int, default=500, help="data sets without a shift")
    parser.add_argument("--shifts", type=int, default=100, help="data sets with one, each course")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    shifts, last = _shift_table(told.shifts, told.seed)
    console.print(shifts)
    console.print(_pair_table(last))
    console.print(_null_table(told.nulls, told.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())

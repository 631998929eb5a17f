"""Who beats whom among the values, on a circle; circles that hold up to noise stand out."""

from itertools import pairwise

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from sim.analysis.duels import GROUP
from sim.plots import style
from sim.plots.win_rates import counted_groups, label, of_group

MOST = 9  # groups that are drawn
CYCLE, SURE, PALE, NEVER = "#D55E00", "#333333", "#B8CBE0", "#9A9A9A"


@style.drawn
def transitivity(table: pl.DataFrame) -> Figure:
    """Values on a circle, all stages together; an arrow goes from the winner to the loser.

    The wider an arrow, the further its win rate is from .5. Dark: its 95 % interval over clusters
    (dilemmas or norms) excludes .5; pale: it does not, or there are fewer than five clusters; a
    pale line without a head: even. Dashed grey: the two never met. Orange: edges of a supported
    cycle, three values in a circle each of whose edges excludes .5 at the Bonferroni level. Titles:
    circular triads T of the largest possible number, Kendall's zeta with the 95 % interval of
    resampled clusters, its chance level (a fair coin), and supported cycles of the triples that
    have data enough to be tested. Zeta 1 is a perfect order; noise alone pulls it down.
    """
    every = table.filter(pl.col("stage").is_null())
    keys = every.select(GROUP).unique(maintain_order=True).rows(named=True)
    if not keys:
        return style.no_data()
    shown = keys[:MOST]
    wide = style.columns(len(shown))
    high = -(-len(shown) // wide)
    figure = style.new_figure(4.2 * wide, 3.9 * high + 0.2 + 0.2 * -(-5 // wide))
    grid = figure.subplots(high, wide, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for key, axes in zip(shown, grid, strict=False):
        rows = every.filter(of_group(key))
        edges = rows.filter(measure="win_rate")
        found = {row["measure"]: row for row in rows.iter_rows(named=True)}
        _graph(axes, edges, _cycle_edges(found["supported_cycles"]["cycles"]))
        axes.set_title(label(key, keys), fontsize=9, pad=46)
        axes.text(0, 1.02, _summary(found, edges), transform=axes.transAxes, fontsize=7)
    figure.legend(handles=_handles(), loc="outside lower center", ncols=wide)
    figure.suptitle(counted_groups(len(shown), len(keys)), fontsize=8, x=0.01, ha="left")
    return figure


def _summary(found: dict[str, dict], edges: pl.DataFrame) -> str:
    triads, zeta, cycles = (found[m] for m in ("circular_triads", "zeta", "supported_cycles"))
    counts = f"{style.counted(pl.DataFrame([triads]), ' duels')}, {triads['n_distinct']} clusters"
    if triads["estimate"] is None:
        never = edges["estimate"].null_count()
        first = f"T and zeta unknown: {never} of {edges.height} pairs never met"
    else:
        bounds = "no interval"
        if zeta["low"] is not None:
            bounds = f"{zeta['low']:.2f} to {zeta['high']:.2f}"
        first = f"T {triads['estimate']:g} of {triads['most']:g}"
        if zeta["estimate"] is not None:
            first += f", zeta {zeta['estimate']:.2f} ({bounds}; chance {zeta['chance']:.2f})"
    if cycles["estimate"] is None:
        second = "supported cycles: no triple could be tested"
    else:
        second = f"supported cycles: {cycles['estimate']:g} of {cycles['most']:g} triples tested"
    rings = (cycles["cycles"] or "").split("; ")
    more = f" and {len(rings) - 1} more" if len(rings) > 1 else ""
    return f"{counts}\n{first}\n{second}\n{rings[0]}{more}"


def _cycle_edges(cycles: str | None) -> set[tuple[str, str]]:
    """(winner, loser) of the edges of "a > b > c > a; ..."."""
    rings = [ring.split(" > ") for ring in cycles.split("; ")] if cycles else []
    return {pair for ring in rings for pair in pairwise(ring)}


def _graph(axes: Axes, edges: pl.DataFrame, in_cycle: set[tuple[str, str]]) -> None:
    values = sorted({*edges["first"], *edges["second"]})
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(values)) / max(len(values), 1)
    at = dict(zip(values, np.column_stack([np.cos(angles), np.sin(angles)]), strict=True))
    for row in edges.iter_rows(named=True):
        _edge(axes, row, at, in_cycle)
    for name, place in at.items():
        axes.plot(place[0], place[1], "o", ms=7, color="#222222", zorder=5, gid="value")
        side = "left" if place[0] > 0.1 else "right" if place[0] < -0.1 else "center"
        over = "bottom" if place[1] > 0.9 else "top" if place[1] < -0.9 else "center"
        x, y = 1.12 * place
        axes.text(x, y, style.words(name), ha=side, va=over, fontsize=7.5, zorder=6)
    axes.set(xlim=(-1.9, 1.9), ylim=(-1.25, 1.25), aspect="equal")


def _edge(axes: Axes, row: dict, at: dict, in_cycle: set[tuple[str, str]]) -> None:
    winner, loser, share = row["first"], row["second"], row["estimate"]
    if share is None:
        ends = np.array([at[winner], at[loser]])
        axes.plot(*ends.T, color=NEVER, lw=0.9, ls=(0, (3, 2.5)), zorder=1, gid="never met")
        return
    if share < 0.5:
        winner, loser = loser, winner
    sure = row["low"] is not None and not row["low"] <= 0.5 <= row["high"]
    strong = (winner, loser) in in_cycle
    colour, kind = (CYCLE, "cycle") if strong else (SURE, "sure") if sure else (PALE, "unsure")
    far = abs(share - 0.5)
    arrow = FancyArrowPatch(
        at[winner],
        at[loser],
        arrowstyle="-" if far == 0 else "-|>",
        mutation_scale=7 + 8 * far,
        lw=0.6 + 4.4 * far,
        color=colour,
        shrinkA=5,
        shrinkB=5,
        zorder=4 if strong else 3 if sure else 2,
        gid=kind,
    )
    axes.add_patch(arrow)


def _handles() -> list[Line2D]:
    looks = {
        "interval excludes .5": {"color": SURE, "lw": 1.8},
        "interval does not, or none": {"color": PALE, "lw": 1.8},
        "never met": {"color": NEVER, "lw": 0.9, "ls": (0, (3, 2.5))},
        "edge of a supported cycle": {"color": CYCLE, "lw": 2.2},
    }
    wide = Line2D([], [], color=SURE, lw=0.6, label="thin .5, thick 0 or 1")
    return [*(Line2D([], [], label=name, **look) for name, look in looks.items()), wide]

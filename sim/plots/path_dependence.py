"""Path dependence of choices by stage."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.duels import GROUP
from sim.plots import style
from sim.plots.positions import labels

MOST = 9  # panels

LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "path_dependence": (
        "flips minus noise",
        {"marker": "o", "color": style.GROUP_COLOURS[0]},
    ),
    "flips": (
        "flips (no repeats)",
        {"marker": "o", "color": style.GROUP_COLOURS[0], "markerfacecolor": "white"},
    ),
    "consistency": (
        "consistency",
        {"marker": "s", "color": style.GROUP_COLOURS[1]},
    ),
}


@style.drawn
def path_dependence(table: pl.DataFrame) -> Figure:
    """What the told story does to choices, by stage and over all; 95 % intervals over dilemmas.

    Circles: how much more often a choice differs between the mode that tells one's own earlier
    choices and the mode that tells the others than between two repeats of one mode; hollow where
    there are no repeats, so that the share that differs holds noise as well. Squares: how much more
    often a value is taken where the story says that one chose it than where it says that one chose
    the other. Grey: no path dependence; of hollow circles choices by lot have the dotted line.
    """
    known = table.filter(measure="path_dependence")["estimate"].count()
    which = "path_dependence" if known else "flips"
    rows = table.filter(pl.col("measure").is_in([which, "consistency"]))
    if rows["estimate"].null_count() == rows.height:
        return style.no_data()
    stages = rows["stage"].drop_nulls().unique().sort().to_list()
    keys = rows.select(GROUP).unique(maintain_order=True)
    n = min(len(keys), MOST)
    columns = style.columns(n)
    depth = -(-n // columns)
    figure = style.new_figure(max(3.7 * columns + 0.6, 5.2), 2.9 * depth + 0.8)
    grid = figure.subplots(depth, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[n:]:
        axes.axis("off")
    for axes, key, label in zip(grid, keys.iter_rows(named=True), labels(keys), strict=False):
        same = [pl.col(name).eq_missing(pl.lit(one, pl.String)) for name, one in key.items()]
        _panel(axes, rows.filter(*same), which, stages)
        axes.set_title(label, fontsize=8)
    for axes in grid[::columns]:
        axes.set_ylabel("difference of shares" if which != "flips" else "share, difference")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    if len(keys) > n:
        figure.suptitle(f"{n} of {len(keys)} groups are shown", fontsize=8, color="#555555")
    return figure


def _panel(axes: Axes, part: pl.DataFrame, which: str, stages: list[int]) -> None:
    last = max(stages) + 1
    for k, measure in enumerate([which, "consistency"]):
        label, look = LOOKS[measure]
        line = part.filter(measure=measure).drop_nulls("estimate")
        line = line.with_columns(x=pl.col("stage").fill_null(last) + 0.14 * (k - 0.5)).sort("x")
        each = line.drop_nulls("stage")
        axes.plot(each["x"], each["estimate"], color=look["color"], lw=1.0, alpha=0.6)
        for row in line.iter_rows(named=True):
            style.whisker(axes, (row["x"], row["estimate"]), row, "y", look)
        axes.plot([], [], ls="", ms=4.5, label=label, **look)
    axes.axhline(0, color=style.CHANCE, lw=1.2, zorder=0, gid="chance", label="no difference")
    for level in part.filter(measure="flips")["chance"].drop_nulls().unique():
        axes.axhline(level, color=style.CHANCE, lw=1.2, ls=":", zorder=0)
    axes.set_xticks([*stages, last], [*map(str, stages), "all"])
    axes.set_xlim(min(stages) - 0.5, last + 0.5)
    axes.set_xlabel("stage")
    axes.margins(y=0.15)  # room for the counts
    counts = style.counted(part.filter(pl.col("stage").is_not_null(), measure=which))
    axes.text(
        0.02, 0.02, counts, transform=axes.transAxes, fontsize=6.5, color="#555555", va="bottom"
    )

"""Choice value rationality from step to step."""

from typing import Any

import matplotlib
import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sim.plots import style

MOST = 12  # lines of a panel


@style.drawn
def drift(table: pl.DataFrame) -> Figure:
    """Share of the utility at stake that choices gain, by their place in the conversation.

    A panel per instrument and kind of agent, a line per orientation with 95 % intervals over
    agents; grey: uniform choices. The slope per choice, items taken off, stands in the legend
    where the order of items varies: without it, late items may just be hard ones. Angles without a
    name are coloured from dark (lowest) to light (highest); of more than twelve, twelve at equal
    steps are shown, and the legend says of how many.
    """
    rows = table.filter(measure="choice_vr").drop_nulls("estimate")
    if not rows.height:
        return style.no_data()
    panels = [
        (name, look)
        for name in rows["instrument"].unique().sort()
        for look in style.groups(rows)
        if look.rows(rows.filter(instrument=name)).height
    ]
    columns = style.columns(len(panels))
    depth = -(-len(panels) // columns)
    shades = _shades(rows)
    figure = style.new_figure(3.9 * columns + 0.4, 4.4 * depth + 0.2)
    grid = figure.subplots(depth, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for axes, (name, look) in zip(grid, panels, strict=False):
        part = look.rows(rows.filter(instrument=name))
        slopes = look.rows(table.filter(instrument=name, measure="slope"))
        handles = []
        every = style.values(part)
        lines = _some(every)
        for value, target in lines:
            line = _same(part, value, target).sort("step")
            colour = style.ORIENTATIONS.get(value or "", shades.get(target, look.colour))
            x = line["step"] + 1
            axes.plot(x, line["estimate"], color=colour, marker="o", ms=3.5, lw=1.3)
            known = line.drop_nulls("low")
            axes.vlines(known["step"] + 1, known["low"], known["high"], color=colour, lw=0.9)
            axes.plot(x, line["chance"], color=style.CHANCE, lw=1, ls="-", zorder=0)
            label = f"{style.value_label(value, target)}{_slope(_same(slopes, value, target))}"
            handles.append(Line2D([], [], color=colour, marker="o", ms=3.5, label=label))
        handles.append(Line2D([], [], color=style.CHANCE, lw=1, label="chance"))
        axes.legend(
            handles=handles, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1,
            title=f"{len(lines)} of {len(every)} shown" if len(lines) < len(every) else None,
            title_fontsize=7,
        )  # fmt: skip
        axes.set(ylim=(-0.02, 1.04), xlabel="choice in the conversation")
        axes.set_ylabel("share of utility at stake")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"{style.words(name)}: {look.label}", loc="left", fontsize=9)
    return figure


def _some(lines: style.Lines) -> style.Lines:
    """All of them, or `MOST` at equal steps with the first and the last."""
    n = len(lines)
    return lines if n <= MOST else [lines[round(k * (n - 1) / (MOST - 1))] for k in range(MOST)]


def _shades(rows: pl.DataFrame) -> dict[float | None, Any]:
    """A colour for each target of values without a colour of their own, where there are several."""
    named = pl.col("value").is_in(list(style.ORIENTATIONS)).fill_null(False)
    targets = rows.filter(~named)["target"].drop_nulls().unique().sort().to_list()
    if len(targets) < 2:
        return {}
    wide = targets[-1] - targets[0]
    shade = matplotlib.colormaps["viridis"]
    return {t: shade(0.9 * (t - targets[0]) / wide) for t in targets}  # its end is too pale


def _same(rows: pl.DataFrame, value: str | None, target: float | None) -> pl.DataFrame:
    return rows.filter(
        pl.col("value").eq_missing(pl.lit(value)), pl.col("target").eq_missing(pl.lit(target))
    )


def _slope(rows: pl.DataFrame) -> str:
    if not rows.height or rows["estimate"][0] is None:
        return ""
    row = rows.row(0, named=True)
    bounds = "" if row["low"] is None else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    return f": {row['estimate']:+.3f}{bounds} a choice"

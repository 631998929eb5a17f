"""Assigned angle against measured angle."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from sim.plots import style

PERFECT = "#444444"
SAME = 1e-6  # degrees


@style.drawn
def dose_response(table: pl.DataFrame) -> Figure:
    """Measured angle (mean, 95 % interval over agents) for each assigned angle.

    The dark stepped line is the perfect agent of linear utility: an instrument with few
    options cannot show every angle. Where ties leave it a choice, a wide pale bar shows every
    angle that it may measure. Where agents answer items of their own, the line is the mean over
    all items and short dark strokes are the perfect agents of each group's own ones. The grey line
    is the mean of a uniform responder, a grey band its range over groups with items of their own.
    Dots in a level row do not depend on the assigned angle. In the corner the slope and R² of the
    straight line over agents, with the slope of the perfect agent at the same angles.
    """
    dots = table.filter(row="group")
    if not dots.height:
        return style.no_data()
    instruments = dots["instrument"].unique().sort().to_list()
    figure = style.new_figure(4.6 * len(instruments) + 0.4, 5.0)
    grid = figure.subplots(1, len(instruments), squeeze=False)[0]
    looks = style.groups(dots)
    for name, axes in zip(instruments, grid, strict=True):
        _panel(axes, table.filter(instrument=name), looks)
        axes.set_title(style.words(name))
    handles = [
        style.handle(f"{look.label} ({style.counted(look.rows(dots), ' per angle')})", look.dot)
        for look in looks
    ]
    if table.filter(row="perfect").height:
        handles.append(Line2D([], [], color=PERFECT, lw=1.4, label="perfect agent"))
    if any(_own_items(dots.filter(instrument=name)) for name in instruments):
        label = "perfect agent, a group's own items"
        handles.append(Line2D([], [], ls="", marker="_", ms=7, color=PERFECT, label=label))
    handles += style.reference_handles(dots)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(2, len(instruments)))
    return figure


def _panel(axes: Axes, table: pl.DataFrame, looks: list[style.Group]) -> None:
    axes.grid(color="#EEEEEE", lw=0.6)
    axes.axline((0, 0), slope=1, color="#CCCCCC", lw=0.8, ls=":", gid="identity")
    perfect = table.filter(row="perfect").sort("target")
    if perfect.height:
        _perfect(axes, perfect)
    dots = table.filter(pl.col("row").eq("group") & pl.col("estimate").is_not_null())
    own = _own_items(dots)
    if own:
        low, high = _chance(dots)
        axes.axhspan(low, high, color=style.CHANCE, alpha=0.35, lw=0, gid="chance", zorder=0)
    else:
        for level in dots["chance"].drop_nulls().unique().sort():
            axes.axhline(level, color=style.CHANCE, lw=1.6, gid="chance", zorder=1)
    here = [look for look in looks if look.rows(dots).height]
    step = min(1.3, 4 / len(here)) if here else 0.0  # degrees; dots must not hide each other
    for place, look in enumerate(here):
        aside = step * (place - (len(here) - 1) / 2)
        for row in look.rows(dots).drop_nulls("target").iter_rows(named=True):
            style.whisker(axes, (row["target"] + aside, row["estimate"]), row, "y", look.dot)
            if own and row["perfect_low"] is not None:
                _own(axes, row["target"] + aside, row["perfect_low"], row["perfect_high"])
    for place, look in enumerate(here):
        axes.text(
            0.02, 0.985 - 0.045 * place, _line(look.rows(table)), color=look.colour, fontsize=7,
            transform=axes.transAxes, va="top",
        )  # fmt: skip
    _ticks(axes, table)


def _own_items(dots: pl.DataFrame) -> bool:
    """Whether groups answered items of their own, by which uniform responders differ."""
    low, high = _chance(dots)
    return high - low > SAME


def _chance(dots: pl.DataFrame) -> tuple[float, float]:
    """Lowest and highest chance of groups: far targets have the same one a whole turn away."""
    levels = dots["chance"].cast(pl.Float64).drop_nulls().to_numpy()
    if not len(levels):
        return 0.0, 0.0
    near = levels - 360 * np.round((levels - levels[0]) / 360)
    return float(near.min()), float(near.max())


def _own(axes: Axes, x: float, low: float, high: float) -> None:
    """A stroke over the range of the perfect agent on a group's own items, with its middle."""
    axes.vlines(x, low, high, color=PERFECT, alpha=0.3, lw=3, zorder=1)
    middle = (low + high) / 2
    axes.hlines(middle, x - 1.5, x + 1.5, color=PERFECT, lw=1.4, gid="own", zorder=4)


def _line(rows: pl.DataFrame) -> str:
    """Slope and R2 of a kind of agent in words; empty where they are not known."""
    known = {row["row"]: row for row in rows.drop_nulls("estimate").iter_rows(named=True)}
    if "slope" not in known:
        return ""
    slope = known["slope"]
    text = f"slope {slope['estimate']:.2f}"
    if slope["low"] is not None:
        text += f" [{slope['low']:.2f}, {slope['high']:.2f}]"
    if slope["perfect_low"] is not None:
        text += f", perfect {slope['perfect_low']:.2f}"
    return text + (f"; R² {known['r2']['estimate']:.2f}" if "r2" in known else "")


def _perfect(axes: Axes, rows: pl.DataFrame) -> None:
    """A line where the perfect agent has one angle, a bar over its range where it has a tie."""
    tie = (pl.col("perfect_high") - pl.col("perfect_low") > 1e-6).fill_null(False)
    ties, line = rows.filter(tie), rows.filter(~tie)
    if not line.height:
        line = rows
    middle = (line["perfect_low"] + line["perfect_high"]) / 2
    axes.step(line["target"], middle, where="mid", color=PERFECT, lw=1.4, gid="perfect")
    ends = ties["perfect_low"], ties["perfect_high"]
    axes.vlines(ties["target"], *ends, color=PERFECT, alpha=0.3, lw=5, gid="band", zorder=1)


def _ticks(axes: Axes, table: pl.DataFrame) -> None:
    targets = [float(target) for target in table["target"].drop_nulls()] or [0.0]
    table = table.filter(pl.col("row").is_in(["group", "perfect"]))  # the others are no angles
    seen = [
        float(angle)
        for column in ("estimate", "low", "high", "perfect_low", "perfect_high")
        for angle in table[column].drop_nulls()
    ]
    step = 30 if max(targets) - min(targets) <= 200 else 60
    axes.set(xlim=(min(targets) - 6, max(targets) + 6), xlabel="assigned angle (°)")
    axes.set(ylim=(min(seen) - 8, max(seen) + 8), ylabel="measured angle (°)")
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.yaxis.set_major_locator(MultipleLocator(15 if max(seen) - min(seen) < 150 else 45))

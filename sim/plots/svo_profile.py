"""Measured angles and categories of each group, beside humans and chance."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sim.plots import style

QUANTILES = ["q05", "q25", "q50", "q75", "q95"]
Line = tuple[str, str, dict[str, float | None], str]  # label, colour, measure -> number, count


@style.drawn
def svo_profile(table: pl.DataFrame) -> Figure:
    """Spread of the measured angle and shares of the four categories, by group.

    Left: thin lines run from the 5 % to the 95 % quantile over agents, thick ones from 25 %
    to 75 %, the dot is the median, the bar the mean; dashed grey lines part the categories.
    Right: share of agents in each category of the instrument. Humans (Many Labs 2) and a uniform
    responder stand on top where the instrument has them.
    """
    rows = table.filter(
        pl.col("measure").str.starts_with("angle_")
        | pl.col("measure").is_in([f"share_{name}" for name in style.ORIENTATIONS])
    )
    if not rows.height:
        return style.no_data()
    instruments = rows["instrument"].unique().sort().to_list()
    everything = [_lines(rows.filter(instrument=name)) for name in instruments]
    heights = [0.24 * len(lines) + 0.75 for lines in everything]
    figure = style.new_figure(9.5, sum(heights) + 0.5)
    grid = figure.subplots(
        len(instruments), 2, squeeze=False, width_ratios=[3, 2], height_ratios=heights
    )
    for name, lines, (left, right) in zip(instruments, everything, grid, strict=True):
        left.set_title(style.words(name))
        _angles(left, lines, style.BOUNDARIES.get(name, ()))
        _shares(right, lines)
    seen = {
        name for lines in everything for *_, numbers, _ in lines for name in _categories(numbers)
    }
    handles = [Patch(color=style.ORIENTATIONS[name], label=name) for name in _in_order(seen)]
    figure.legend(handles=handles, loc="outside lower right", ncols=min(5, len(handles)))
    return figure


def _lines(rows: pl.DataFrame) -> list[Line]:
    """Humans, chance, then every group by value: what one row of the figure shows."""
    lines: list[Line] = []
    for column, label, colour in (
        ("human", "humans", style.HUMAN),
        ("chance", "chance", style.CHANCE),
    ):
        known = rows.drop_nulls(column).unique("measure", keep="first", maintain_order=True)
        if known.height:
            lines.append((label, colour, _numbers(known, column), ""))
    for look in style.groups(rows):
        part = look.rows(rows)
        for value, target in style.values(part):
            same = pl.col("value").eq_missing(value) & pl.col("target").eq_missing(target)
            here = part.filter(same)
            colour = style.ORIENTATIONS.get(value or "", style.CONTROL)
            label = f"{look.label}: {style.value_label(value, target)}"
            lines.append((label, colour, _numbers(here, "estimate"), style.counted(here)))
    return lines


def _numbers(rows: pl.DataFrame, column: str) -> dict[str, float | None]:
    return dict(rows.select("measure", column).iter_rows())


def _angles(axes: Axes, lines: list[Line], boundaries: Sequence[float]) -> None:
    for edge in boundaries:
        axes.axvline(edge, color="#BBBBBB", lw=0.7, ls="--", zorder=0)
    for y, (label, colour, numbers, _) in enumerate(lines):
        q05, q25, q50, q75, q95 = (numbers.get(f"angle_{name}") for name in QUANTILES)
        marks: dict[str, Any] = {"color": colour, "gid": label, "solid_capstyle": "butt"}
        if q05 is not None and q95 is not None:
            axes.plot([q05, q95], [y, y], lw=1, **marks)
        if q25 is not None and q75 is not None:
            axes.plot([q25, q75], [y, y], lw=4, **marks)
        if q50 is not None:
            axes.plot(q50, y, "o", ms=6, markeredgecolor="white", mew=0.8, **marks)
        if (mean := numbers.get("angle_mean")) is not None:
            axes.plot(mean, y, "|", ms=11, mew=1.2, **marks)
    axes.set_yticks(range(len(lines)), [label for label, *_ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    if any("angle_mean" in numbers for _, _, numbers, _ in lines):
        axes.set_xlabel("measured angle (°)")
    else:  # categories alone
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _shares(axes: Axes, lines: list[Line]) -> None:
    for y, (*_, numbers, count) in enumerate(lines):
        left = 0.0
        for name, share in _categories(numbers).items():
            axes.barh(y, share, left=left, color=style.ORIENTATIONS[name], height=0.72, gid=name)
            left += share
        axes.text(1.02, y, count, va="center", fontsize=7, color="#555555")
    axes.set(xlim=(0, 1), xlabel="share of agents", yticks=[])
    if not axes.patches:  # categories belong to the slider alone; the counts stay
        axes.axis("off")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def _categories(numbers: dict[str, float | None]) -> dict[str, float]:
    shares = {name: numbers.get(f"share_{name}") for name in style.ORIENTATIONS}
    return {name: share for name, share in shares.items() if share is not None}


def _in_order(names: set[str]) -> list[str]:
    return [name for name in style.ORIENTATIONS if name in names]

"""Which value wins against which, and how surely."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sim.analysis.duels import GROUP
from sim.plots import style

MOST, MOST_WIDE = 8, 4  # groups that are drawn; of more than seven values
COLOURS = colormaps["PuOr"]  # told apart by all kinds of colour vision, pale in the middle


@style.drawn
def win_rates(table: pl.DataFrame) -> Figure:
    """Share of duels that the value of the row won against the value of the column.

    One line of panels per group: all stages together, and the first and the last stage where there
    are several. In each cell the share and, below it, the number of duels n; framed and bold where
    the 95 % interval over clusters (dilemmas or norms) excludes .5, which is chance. Plain numbers
    may be chance, or come from fewer than five clusters, which have no interval. Dark grey with n
    0: the two values never met. Purple rows win, orange rows lose, white is even.
    """
    keys = table.select(GROUP).unique(maintain_order=True).rows(named=True)
    stages = _stages(table)
    values = sorted({*table["first"], *table["second"]})
    wide = len(values) > 7
    shown = keys[: MOST_WIDE if wide else MOST]
    size = (0.38 if wide else 0.46) * len(values) + 0.9
    figure = style.new_figure(size * len(stages) + 0.5, (size + 0.2) * len(shown) + 0.9)
    grid = figure.subplots(len(shown), len(stages), squeeze=False)
    for key, line in zip(shown, grid, strict=True):
        mine = table.filter(of_group(key))
        for axes, stage in zip(line, stages, strict=True):
            part = mine.filter(pl.col("stage").eq_missing(stage))
            _panel(axes, part, values)
            when = "all stages" if stage is None else f"stage {stage}"
            axes.set_title(f"{label(key, keys)}\n{when}, {_unread(part)}", fontsize=9)
        for axes in line[1:]:
            axes.set_yticklabels([])
    bar = figure.colorbar(
        grid[-1, 0].images[0], ax=grid[-1], location="bottom", aspect=40, shrink=0.6
    )
    bar.set_label("share of duels that the value of the row won", fontsize=8)
    figure.suptitle(counted_groups(len(shown), len(keys)), fontsize=8, x=0.01, ha="left")
    return figure


def label(key: dict, keys: list[dict]) -> str:
    """What tells a group from the others: the parts of its key that differ among `keys`."""
    parts = []
    for name in GROUP:
        # Controls have another method than all others: there the value tells them apart.
        kin = [k for k in keys if name != "method" or k["value"] is not None] or keys
        if len({k[name] for k in kin}) > 1:
            told = "control" if name == "value" and key[name] is None else style.words(key[name])
            parts.append(told.rsplit("/", 1)[-1])
    return " · ".join(parts) or style.words(key["value"] or key["agent"])


def of_group(key: dict) -> pl.Expr:
    """The rows of a group."""
    return pl.all_horizontal(pl.col(name).eq_missing(pl.lit(key[name])) for name in GROUP)


def counted_groups(shown: int, there: int) -> str:
    """How many groups are drawn, of how many; empty where it is all."""
    return f"{shown} of {there} groups are shown; the table has all" if shown < there else ""


def _stages(table: pl.DataFrame) -> list[int | None]:
    stages = table["stage"].drop_nulls().unique().sort().to_list()
    return [None, stages[0], stages[-1]] if stages else [None]


def _unread(rows: pl.DataFrame) -> str:
    shares = rows["unread"].drop_nulls()
    return f"unread {100 * shares[0]:.2g} %" if len(shares) else "no choices"


def _panel(axes: Axes, rows: pl.DataFrame, values: list[str]) -> None:
    v = len(values)
    share = np.full((v, v), np.nan)
    for row in rows.iter_rows(named=True):
        i, j = values.index(row["first"]), values.index(row["second"])
        if row["estimate"] is not None:
            share[i, j], share[j, i] = row["estimate"], 1 - row["estimate"]
        sure = row["low"] is not None and not row["low"] <= 0.5 <= row["high"]
        for a, b in ((i, j), (j, i)):
            _cell(axes, (b, a), share[a, b], row["n"], sure, 7 if v <= 7 else 6)
    axes.imshow(share, cmap=COLOURS, vmin=0, vmax=1, gid="share")
    names = [style.words(name) for name in values]
    axes.set_xticks(range(v), names, rotation=45, ha="right", fontsize=7, rotation_mode="anchor")
    axes.set_yticks(range(v), names, fontsize=7)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _cell(axes: Axes, at: tuple[int, int], share: float, n: int, sure: bool, points: float) -> None:
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    if np.isnan(share):
        corner = (at[0] - 0.5, at[1] - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fc="#8A8A8A", ec="white", gid="never met"))
        axes.text(*at, "n 0", fontsize=points - 1, color="white", **middle)
        return
    light = np.dot(COLOURS(share)[:3], (0.299, 0.587, 0.114))
    colour = "#111111" if light > 0.52 else "white"
    text = f"{share:.2f}" if 0 < share < 1 else f"{share:.0f}"
    weight = "bold" if sure else "normal"
    axes.text(at[0], at[1] - 0.15, text.removeprefix("0") or "0", fontsize=points, color=colour,
              weight=weight, **middle)  # fmt: skip
    axes.text(at[0], at[1] + 0.24, f"{n}", fontsize=points - 1.5, color=colour, **middle)
    if sure:
        corner = (at[0] - 0.43, at[1] - 0.43)
        axes.add_patch(
            Rectangle(corner, 0.86, 0.86, fill=False, ec=colour, lw=0.9, gid="excludes .5")
        )

"""What figures of dilemmas share: a colour for each value, a panel for each group."""

from collections.abc import Callable
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots import style

# Colour-blind safe (Paul Tol, muted, and black): as many as Schwartz has values.
COLOURS = ["#CC6677", "#332288", "#DDAA33", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933",
           "#AA4499", "#000000"]  # fmt: skip
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "h"]
GROUP = ["instrument", "model", "agent", "method", "value", "context_mode", "wording"]
MOST = 9  # panels of one figure
AXES_WIDTH, AXES_HEIGHT = 3.6, 2.9  # inches


def looks(table: pl.DataFrame, column: str = "first") -> dict[str, dict[str, Any]]:
    """Colour and marker of each value in a column, by the alphabet."""
    names = table[column].drop_nulls().unique().sort().to_list()
    return {
        name: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        for k, name in enumerate(names)
    }


def varied(keys: pl.DataFrame, names: list[str]) -> list[str]:
    """Which of the names tell groups apart: kinds of agents, and what varies within a kind."""
    found = [name for name in names if name == "agent" and keys[name].n_unique() > 1]
    kinds = keys.partition_by("agent")
    found += [n for n in names if n != "agent" and any(k[n].n_unique() > 1 for k in kinds)]
    if "value" in found and "method" in found:  # a control's method is another, and no news
        found.remove("method")
    return found


def title(key: dict[str, Any], apart: list[str]) -> str:
    """What tells a group from the others, in words."""
    parts = [style.words(key[name]) if key[name] else "control" for name in apart]
    return ", ".join(parts) or style.words(key["agent"])


def panels(
    table: pl.DataFrame, draw: Callable[[Axes, pl.DataFrame], None], label: str, most: int = MOST
) -> Figure:
    """A figure with a panel for each group, up to `most` of them, and their legend.

    Args:
        table: rows of several groups (`GROUP`).
        draw: draws the rows of one group; labels of its artists make the legend.
        label: of the y axis.
        most: panels; the figure says how many of how many are shown.
    """
    keys = table.select(GROUP).unique(maintain_order=True)
    apart = varied(keys, GROUP)
    shown = keys.head(most)
    columns = style.columns(len(shown))
    rows = -(-len(shown) // columns)
    figure = style.new_figure(AXES_WIDTH * columns + 0.6, AXES_HEIGHT * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    handles: dict[str, Any] = {}
    for k, axes in enumerate(grid.flat):
        if k >= len(shown):
            axes.axis("off")
            continue
        key = shown.row(k, named=True)
        same = [pl.col(name).eq_missing(value) for name, value in key.items()]
        draw(axes, table.filter(*same))
        axes.set_title(title(key, apart), fontsize=9)
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
        if k % columns == 0:
            axes.set_ylabel(label)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    if len(keys) > len(shown):
        figure.suptitle(
            f"{len(shown)} of {len(keys)} groups are shown", fontsize=8, color="#555555"
        )
    return figure


def stage_axis(axes: Axes, stages: list[int]) -> None:
    """Whole stages along x."""
    axes.set_xticks(stages)
    axes.set_xlim(min(stages) - 0.4, max(stages) + 0.4)
    axes.set_xlabel("stage")

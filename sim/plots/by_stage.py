"""What figures of dilemmas share: a look for each value, a panel for each group."""

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.duels import GROUP
from sim.plots import style

# Colour-blind safe (Paul Tol, muted, and black): as many as Schwartz has values.
COLOURS = ["#CC6677", "#332288", "#DDAA33", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933",
           "#AA4499", "#000000"]  # fmt: skip
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "h"]
MOST = 9  # panels
WIDTH, HEIGHT = 3.9, 3.2  # of a panel, inches
_SAID = {"value": "for {}", "context_mode": "context {}", "wording": "wording {}"}


def look(k: int) -> dict[str, Any]:
    """Keyword arguments of the line of the k-th value, by the alphabet."""
    return {
        "color": COLOURS[k % len(COLOURS)],
        "marker": MARKERS[(k + k // len(COLOURS)) % len(MARKERS)],
    }


def grid(
    rows: pl.DataFrame, width: float = WIDTH, height: float = HEIGHT
) -> tuple[Figure, list[tuple[Axes, pl.DataFrame, str]]]:
    """A figure, and (axes, rows, title) of each group that has room; says how many have.

    Panels of `width` x `height` inches share the y axis.
    """
    found = list(_groups(rows))
    shown = found[:MOST]
    columns = style.columns(len(shown))
    depth = -(-len(shown) // columns)
    figure = style.new_figure(max(width * columns + 0.4, 5.2), height * depth + 1.0)
    axes = figure.subplots(depth, columns, squeeze=False, sharey=True).ravel()
    for empty in axes[len(shown) :]:
        empty.remove()
    if len(found) > len(shown):
        figure.suptitle(f"{len(shown)} of {len(found)} groups are shown; all are in the table")
    return figure, [(a, *one) for a, one in zip(axes, shown, strict=False)]


def varied(keys: pl.DataFrame, names: list[str]) -> list[str]:
    """Which of the names tell groups apart within a kind of agent.

    A control's method is none, which tells nothing more.
    """
    kinds = keys.partition_by("agent")
    assigned = keys.drop_nulls("value").partition_by("agent") if "value" in keys.columns else kinds
    return [
        name
        for name in names
        if name != "agent"
        and any(k[name].n_unique() > 1 for k in (assigned if name == "method" else kinds))
    ]


def title(key: dict[str, Any], apart: list[str]) -> str:
    """A group in words: its kind of agent and what tells it from others of that kind."""
    names = [] if key["agent"] is None else [style.words(key["agent"])]
    for name in apart:
        text = key[name]
        if text is not None:
            text = style.words(str(text).rsplit("/", 1)[-1])
            names.append(_SAID.get(name, "{}").format(text))
        elif name == "value":
            names.append("no value assigned")
    return " · ".join(names)


def panels(rows: pl.DataFrame, draw: Callable[[Axes, pl.DataFrame], None], label: str) -> Figure:
    """A panel for each group, drawn by `draw`; labels of its artists make the legend.

    Args:
        rows: of several groups.
        draw: draws the rows of one group.
        label: of the y axis.
    """
    figure, found = grid(rows)
    handles: dict[str, Any] = {}
    for axes, part, text in found:
        draw(axes, part)
        axes.set_title(text, fontsize=8)
        axes.set_ylabel(label)
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _groups(rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str]]:
    """(rows, title) of each group, those without an assigned value last."""
    ordered = rows.sort(*GROUP, nulls_last=True, maintain_order=True)
    apart = varied(rows, GROUP)
    for part in ordered.partition_by(GROUP, maintain_order=True):
        yield part, title(part.row(0, named=True), apart)

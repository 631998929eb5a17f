"""Preference scores of values from stage to stage, a panel per group."""

from collections.abc import Iterator

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.analysis.duels import GROUP
from sim.plots import style

MOST = 9  # panels
WIDTH, HEIGHT = 3.9, 3.2  # of a panel, inches
_SAID = {"value": "for {}", "context_mode": "context {}", "wording": "wording {}"}


@style.drawn
def preference(table: pl.DataFrame) -> Figure:
    """How much more often each value is chosen than choices by lot would, by stage.

    A panel per group of agents, a line per value: share of its showings in which it was chosen,
    minus what choices by lot have (a half, of two options), with 95 % intervals over clusters
    (dilemmas or norms). Grey: no preference. Shown: how often a value was on offer at a stage,
    smallest and largest number of the panels here. Undecided and unread choices are left out;
    their shares stand above the panels.
    """
    rows = table.drop_nulls("stage")
    if not len(rows.drop_nulls("estimate")):
        return style.no_data()
    figure, panels = grid(rows)
    values = rows["option_value"].unique().sort().to_list()
    for axes, part, title in panels:
        for k, value in enumerate(values):
            _line(axes, part.filter(option_value=value).sort("stage"), k, len(values))
        axes.axhline(0, color=style.CHANCE, lw=1.2, zorder=0, gid="chance")
        axes.set(xlabel="stage", ylabel="preference score")
        axes.set_xticks(part["stage"].unique().sort().to_list())
        axes.set_title(f"{title}\n{_lost(part)}", fontsize=8)
    handles = [
        style.handle(f"{style.words(v)} ({_shown(rows, v)})", look(k), ls=look(k)["ls"])
        for k, v in enumerate(values)
    ]
    handles.append(Line2D([], [], color=style.CHANCE, lw=1.2, label="no preference"))
    side_by_side = 2 if len(figure.axes) == 1 else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=side_by_side)
    return figure


def look(k: int) -> dict:
    """Keyword arguments of the line of the k-th value; dashed once the colours are used up."""
    colour, marker = style.colour_and_marker(k)
    return {"color": colour, "marker": marker, "ls": "--" if k >= len(style.GROUP_COLOURS) else "-"}


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


def _groups(rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str]]:
    """(rows, title) of each group, those without an assigned value last."""
    ordered = rows.sort(*GROUP, nulls_last=True, maintain_order=True)
    # What all share is not named; a control's method is none, which tells nothing more.
    assigned = rows.drop_nulls("value")
    varied = [
        name
        for name in GROUP
        if (assigned if name == "method" else rows)[name].n_unique() > 1 and name != "agent"
    ]
    for part in ordered.partition_by(GROUP, maintain_order=True):
        first = part.row(0, named=True)
        names = [style.words(first["agent"])]
        for name in varied:
            text = first[name]
            if text is not None:
                text = style.words(str(text).rsplit("/", 1)[-1])
                names.append(_SAID.get(name, "{}").format(text))
            elif name == "value":
                names.append("no value assigned")
        yield part, " · ".join(names)


def _line(axes: Axes, part: pl.DataFrame, k: int, many: int) -> None:
    """One value's line; values stand side by side, so that intervals do not cover each other."""
    part = part.drop_nulls("estimate")
    x = part["stage"].to_numpy() + (k - (many - 1) / 2) * min(0.09, 0.7 / many)
    axes.plot(x, part["estimate"], **look(k), ms=3.5, lw=1.2)
    known = part["low"].is_not_null().to_numpy()
    low, high = (part[name].cast(pl.Float64).to_numpy()[known] for name in ("low", "high"))
    axes.vlines(x[known], low, high, color=look(k)["color"], lw=0.9)


def _shown(rows: pl.DataFrame, value: str) -> str:
    n = rows.filter(option_value=value)["n"]
    low, high = n.min(), n.max()
    return f"shown {low:,}" if low == high else f"shown {low:,}–{high:,}"


def _lost(part: pl.DataFrame) -> str:
    """Shares of choices that were not read, and of showings that were not decided."""
    unread = part["unread"][0]
    showings = float((part["n"] + part["n_unscored"]).to_numpy().sum())
    undecided = float(part["n_undecided"].to_numpy().sum()) / showings if showings else None
    known = [("unread", unread), ("undecided", undecided)]
    return ", ".join(f"{name} {100 * x:.2g} %" for name, x in known if x is not None)

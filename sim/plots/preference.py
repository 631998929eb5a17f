"""Preference scores of values from stage to stage, a panel per group."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.plots import style
from sim.plots.by_stage import grid, look


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
        style.handle(f"{style.words(v)} ({_shown(rows, v)})", look(k), ls="-")
        for k, v in enumerate(values)
    ]
    handles.append(Line2D([], [], color=style.CHANCE, lw=1.2, label="no preference"))
    side_by_side = 2 if len(figure.axes) == 1 else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=side_by_side)
    return figure


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

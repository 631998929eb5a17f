"""How far priorities of later stages lie from those of the first, a panel per group."""

import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from sim.plots import style
from sim.plots.by_stage import grid

KINDS = {
    "strengths": "Bradley-Terry strengths",
    "win_rates": "mean win rates",
}


@style.drawn
def shift_divergence(table: pl.DataFrame) -> Figure:
    """Jensen-Shannon divergence of each later stage's priorities from the first stage's, in bits.

    A panel per group of agents. Dots: divergence of distributions over values that do not depend
    on how often each is shown, from Bradley-Terry strengths and from mean win rates, with 95 %
    bootstrap intervals over clusters (dilemmas or norms); 0 is equal, 1 nothing in common. Grey:
    where 95 % of the tables lie in which items were dealt to the two stages at random, which is
    what no shift looks like, and their mean. Filled dots: p below .05 after Holm's correction.
    """
    rows = table.drop_nulls("estimate")
    if not len(rows):
        return style.no_data()
    figure, panels = grid(table)
    for axes, part, title in panels:
        mine = part.drop_nulls("estimate")
        for k, kind in enumerate(KINDS):
            for row in mine.filter(kind=kind).iter_rows(named=True):
                _dot(axes, row, row["other"] + (k - 0.5) * 0.3, k)
        if not len(mine):
            axes.text(0.5, 0.5, "no divergence", transform=axes.transAxes, ha="center")
        first = part["stage"][0]
        others = part["other"].unique().sort().to_list()
        axes.set_xticks(others, [f"{first}–{other}" for other in others])
        axes.set_xlim(others[0] - 0.5, others[-1] + 0.5)
        axes.set(xlabel="stages compared", ylabel="divergence (bits)")
        axes.set_title(f"{title}\n{style.counted(part, ' choices')}", fontsize=8)
    # They share it: set once all are drawn, or the first alone would set its top.
    top = figure.axes[0].get_ylim()[1]
    figure.axes[0].set_ylim(-0.03 * top, top)
    handles: list[Artist] = [
        style.handle(name, _look(k, True)) for k, name in enumerate(KINDS.values())
    ]
    handles.append(style.handle("p ≥ .05", {"marker": "o", "color": "#555555", "mfc": "white"}))
    handles.append(Patch(color=style.CHANCE, alpha=0.35, label="no shift, 95 %"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _look(k: int, filled: bool) -> dict:
    colour, marker = style.colour_and_marker(k)
    return {"color": colour, "marker": marker, "markerfacecolor": colour if filled else "white"}


def _dot(axes: Axes, row: dict, x: float, k: int) -> None:
    if row["chance"] is not None:
        low, high = row["baseline_low"], row["baseline_high"]
        box = Rectangle((x - 0.12, low), 0.24, high - low, color=style.CHANCE, alpha=0.35, lw=0)
        axes.add_patch(box)
        axes.hlines(row["chance"], x - 0.12, x + 0.12, color=style.CHANCE, lw=1.6, gid="chance")
    filled = row["p_holm"] is not None and row["p_holm"] < 0.05
    style.whisker(axes, (x, row["estimate"]), row, "y", _look(k, filled))

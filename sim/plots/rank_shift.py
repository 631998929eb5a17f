"""Ranks of values from stage to stage, a bump chart per group."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots import style
from sim.plots.by_stage import grid, look

WIDTH, HEIGHT = 4.4, 3.6  # of a panel, inches
_APART = 8  # points between the names of tied values


@style.drawn
def rank_shift(table: pl.DataFrame) -> Figure:
    """Rank of each value by Bradley-Terry strength, stage by stage; 1 is the strongest.

    A panel per group of agents, a line per value; beside its names the 95 % bootstrap interval,
    over clusters (dilemmas or norms), of its rank at the first and at the last stage; those
    between are in the table. Above: Kendall's tau-b between the first and the last stage with its
    interval. "Halves" is what tau is between random halves of the clusters, one at the first and
    one at the last stage; "same stage" what it is between two such halves at one stage, the noise
    floor. The order has changed only where the first lies below the second. Grey names: values
    that won all or none of their choices there, so that their rank is a bound.
    """
    rows = table.filter(measure="rank")
    if not len(rows.drop_nulls("estimate")):
        return style.no_data()
    figure, panels = grid(table, WIDTH, HEIGHT)
    values = rows["option_value"].unique().sort().to_list()
    for axes, part, title in panels:
        mine = part.filter(measure="rank").drop_nulls("estimate")
        stages = mine["stage"].unique().sort().to_list()
        for k, value in enumerate(values):
            line = mine.filter(option_value=value).sort("stage")
            axes.plot(line["stage"], line["estimate"], **look(k), ms=4, lw=1.4)
        for stage, side in [(stages[0], "right"), (stages[-1], "left")][: len(stages)]:
            _names(axes, mine.filter(stage=stage), values, side)
        axes.set_ylim(len(values) + 0.5, 0.5)
        axes.set_yticks(range(1, len(values) + 1))
        room = 0.75 * max(len(stages) - 1, 1)
        axes.set_xlim(stages[0] - room, stages[-1] + room)
        axes.set_xticks(stages)
        axes.set(xlabel="stage", ylabel="rank, 1 the strongest")
        axes.set_title("\n".join([title, *_tau(part, stages)]), fontsize=8)
    return figure


def _names(axes: Axes, rows: pl.DataFrame, values: list[str], side: str) -> None:
    """Names with intervals beside the dots of a stage; those of tied values one below another."""
    for (rank,), tied in rows.sort("option_value").group_by("estimate", maintain_order=True):
        for j, row in enumerate(tied.iter_rows(named=True)):
            low, high = row["low"], row["high"]
            bounds = "" if low is None else f" {low:g}" + (f"–{high:g}" if high > low else "")
            colour = look(values.index(row["option_value"]))["color"]
            axes.annotate(
                style.words(row["option_value"]) + bounds,
                (row["stage"], rank),
                xytext=(-7 if side == "right" else 7, ((len(tied) - 1) / 2 - j) * _APART),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=7,
                color=style.CHANCE if row["all_or_none"] else colour,
            )


def _tau(part: pl.DataFrame, stages: list[int]) -> list[str]:
    """Lines of the title: tau of the first and the last stage, and its noise floor."""
    rows = part.filter(measure="tau", stage=stages[0], other=stages[-1]).drop_nulls("estimate")
    if not len(rows):
        return ["one stage" if len(stages) == 1 else "no tau"]
    row = rows.row(0, named=True)
    bounds = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    chance = "" if row["p_holm"] is None else f", p {row['p_holm']:.2g} (Holm)"
    lines = [f"tau {stages[0]}–{stages[-1]} {row['estimate']:.2f}{bounds}{chance}"]
    if row["tau_halves"] is not None and row["chance_same"] is not None:
        lines.append(
            f"halves {row['tau_halves']:.2f}, same stage (noise floor) {row['chance_same']:.2f}"
        )
    unread = "" if row["unread"] is None else f", unread {100 * row['unread']:.2g} %"
    return [*lines, f"n {row['n']:,} choices, {row['n_distinct']:,} clusters{unread}"]

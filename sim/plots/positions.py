"""What is taken for where it stands, and what is not answered, by group."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sim.analysis.duels import GROUP
from sim.plots import style

PANELS = {
    "first": "takes the option shown first",
    "position_effect": "taken more often where shown first",
    "undecided": "does not decide",
    "unread": "unread (○ refused)",
}
MOST = 24  # groups
DOT = {"marker": "o", "color": style.GROUP_COLOURS[0]}


@style.drawn
def positions(table: pl.DataFrame) -> Figure:
    """Shares of decisions on dilemmas, all stages together, with 95 % intervals over dilemmas.

    From left to right: decided choices that take the option shown first; how much more often an
    option is taken where it is shown first than where it is not, which its value does not touch;
    read decisions that do not decide, where that is offered; decisions that could not be read, and
    hollow those of them that were refused. Grey: what choices by lot have. Dots without a line: all
    dilemmas alike, or fewer than five.
    """
    rows = table.filter(pl.col("stage").is_null(), pl.col("measure").is_in([*PANELS, "refused"]))
    if rows["estimate"].null_count() == rows.height:
        return style.no_data()
    keys = rows.select(GROUP).unique(maintain_order=True)
    shown = keys.head(MOST)
    figure = style.new_figure(11, max(2.4, 0.26 * len(shown) + 1.3))
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (measure, label) in zip(panels, PANELS.items(), strict=True):
        mine = shown.with_row_index("y").join(
            rows.filter(pl.col("measure").is_in([measure, *_beside(measure)])),
            on=GROUP, how="inner", nulls_equal=True, maintain_order="left",
        )  # fmt: skip
        for row in mine.filter(pl.col("estimate").is_not_null()).iter_rows(named=True):
            hollow = row["measure"] == "refused"
            look = DOT | ({"markerfacecolor": "white"} if hollow else {})
            style.whisker(axes, (row["estimate"], row["y"] + 0.25 * hollow), row, "x", look)
            if row["chance"] is not None:
                ends = [row["y"] - 0.4, row["y"] + 0.4]
                axes.plot([row["chance"]] * 2, ends, color=style.CHANCE, lw=1.6, gid="chance")
        if mine["estimate"].null_count() == mine.height:
            why = "orders do not vary" if measure == "position_effect" else "not offered"
            axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", color="#666666")
            axes.set_xticks([])
        elif measure in ("undecided", "unread"):
            axes.set_xlim(-0.01, max(0.05, axes.get_xlim()[1]))
        axes.set_xlabel(label, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(shown)), labels(keys)[:MOST])
    panels[0].set_ylim(len(shown) - 0.5, -0.5)
    _foot(figure, rows, len(keys))
    return figure


def labels(keys: pl.DataFrame) -> list[str]:
    """What tells each group (a row of `GROUP` columns) from the others, in words."""
    apart = [name for name in GROUP if name != "agent" and keys[name].n_unique() > 1]
    if "value" in apart and "method" in apart:  # a control's method is another, and no news
        apart.remove("method")
    found = []
    for key in keys.iter_rows(named=True):
        parts = [key[name] or "no value" for name in apart if key[name] or name == "value"]
        found.append(" · ".join(map(style.words, [key["agent"], *parts])))
    return found


def _beside(measure: str) -> list[str]:
    return ["refused"] if measure == "unread" else []


def _foot(figure: Figure, rows: pl.DataFrame, n_groups: int) -> None:
    """What is grey, how much is behind a dot, and how many groups are not shown."""
    first = rows.filter(measure="first")
    text = f"{style.counted(first)}"
    if n_groups > MOST:
        text += f"; {MOST} of {n_groups} groups are shown"
    handles = [
        style.handle(text, DOT),
        Line2D([], [], color=style.CHANCE, lw=1.6, label="by lot"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)

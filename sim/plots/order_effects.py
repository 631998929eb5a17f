"""How much the order of options decides, by group."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sim.plots import style

PANELS = {
    "flip_same": "answers that differ, same order (noise floor)",
    "order_effect": "order effect: other order minus same order",
    "position_bias": "position bias: taken more often where shown first",
}


@style.drawn
def order_effects(table: pl.DataFrame) -> Figure:
    """Noise floor, order effect and position bias with 95 % intervals over agents.

    Left: how often two answers of one agent to the same item differ although the options stood in
    the same order. Middle: how much more often where the order was another. Right: how much
    likelier an option is where it is shown first; an agent that takes the first option with
    probability q and else whatever it likes has q. Grey lines: no effect.
    """
    rows = table.filter(pl.col("measure").is_in(list(PANELS)))
    if rows["estimate"].null_count() == rows.height:
        return style.no_data()
    instruments = rows["instrument"].unique().sort().to_list()
    looks = style.groups(rows)
    n_lines = max(len(style.values(rows.filter(instrument=n))) for n in instruments)
    height = max(2.2, n_lines * max(0.3, 0.14 * len(looks)) + 0.8)
    figure = style.new_figure(10.5, height * len(instruments) + 0.6)
    grid = figure.subplots(len(instruments), len(PANELS), squeeze=False)
    for name, panels in zip(instruments, grid, strict=True):
        mine = rows.filter(instrument=name)
        lines = style.values(mine)
        for k, (measure, title) in enumerate(PANELS.items()):
            part = mine.filter(measure=measure)
            parts = [(look.rows(part), look.dot) for look in looks]
            style.dots(panels[k], part, lines, parts, references=False)
            if measure != "flip_same":
                panels[k].axvline(0, color=style.CHANCE, lw=1.6, zorder=1, gid="chance")
            else:
                panels[k].set_xlim(left=-0.02)
            panels[k].set_xlabel(title, fontsize=8)
            panels[k].xaxis.set_major_locator(MaxNLocator(5))
            if k:
                panels[k].set_yticklabels([])
        panels[0].set_title(style.words(name))
    counted = rows.filter(measure="position_bias")
    handles = [
        style.handle(f"{look.label} ({style.counted(look.rows(counted))})", look.dot)
        for look in looks
    ]
    handles.append(Line2D([], [], color=style.CHANCE, lw=1.6, label="no effect"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure

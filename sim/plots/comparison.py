"""Value rationality of several runs side by side."""

import polars as pl
from matplotlib.figure import Figure

from sim.plots import style


@style.drawn
def comparison(table: pl.DataFrame) -> Figure:
    """Value rationality by orientation, one colour per run of the sweep; 1 is a perfect agent.

    Dots are means, lines their 95 % intervals over agents, grey ticks chance, black dashed
    ticks humans. One panel per instrument and kind of agent; hollow dots are controls.

    Args:
        table: the value rationality tables of the runs, with their label in `run`.
    """
    rows = style.main_scores(table)
    if not rows.height:
        return style.no_data()
    panels = []
    for name in rows["instrument"].unique().sort():
        part = rows.filter(instrument=name)
        panels += [(name, look, look.rows(part)) for look in style.groups(part)]
    runs = rows["run"].unique(maintain_order=True).to_list()
    looks = {run: style.colour_and_marker(index) for index, run in enumerate(runs)}

    columns = style.columns(len(panels))
    lines = max(len(style.values(part)) for *_, part in panels)
    height = max(1.6, lines * (0.25 + 0.13 * len(runs)))
    depth = -(-len(panels) // columns)
    figure = style.new_figure(3.4 * columns + 1.4, (height + 0.7) * depth + 0.25 * len(runs) + 0.3)
    grid = figure.subplots(depth, columns, squeeze=False, sharex=True).ravel()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for axes, (name, group, part) in zip(grid, panels, strict=False):
        parts = [(part.filter(run=run), _marks(looks[run], group)) for run in runs]
        style.dots(axes, part, style.values(part), parts)
        axes.set(xlim=(-0.02, 1.02), title=f"{style.words(name)}: {group.label}")
        axes.set_xlabel("value rationality (1 perfect)")
        axes.tick_params(labelbottom=True)  # also above an empty place
        axes.grid(axis="x", color="#EEEEEE", lw=0.6)
    handles = [
        style.handle(f"{run} ({style.counted(rows.filter(run=run))})", _marks(look, None))
        for run, look in looks.items()
    ]
    handles += style.reference_handles(rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=1 if len(runs) < 7 else 2)
    return figure


def _marks(look: tuple[str, str], group: style.Group | None) -> dict[str, str]:
    colour, marker = look
    face = "white" if group and group.control else colour
    return {"color": colour, "marker": marker, "markerfacecolor": face}

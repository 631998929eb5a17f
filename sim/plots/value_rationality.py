"""How well behaviour serves the assigned value, beside chance and humans."""

from textwrap import fill

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.plots import style

# Clockwise from the top: the order of the published radar (HVAE, results.png).
DIRECTIONS = {
    "altruistic": (0, 1),
    "individualistic": (1, 0),
    "prosocial": (0, -1),
    "competitive": (-1, 0),
}
MOST_POLYGONS = 8  # more cannot be told apart

RAW = {"vr": "value rationality VR", "choice_vr": "choice value rationality"}
CORRECTED = {"vr": "vrc", "choice_vr": "choice_vrc"}


@style.drawn
def value_rationality(table: pl.DataFrame) -> Figure:
    """Value rationality by orientation: 1 is a perfect agent, whiskers are 95 % intervals.

    Left: one axis per orientation and one polygon per kind of agent, with what a uniform
    responder (grey area), the best responder that always takes one position (crosses) and
    humans (black, dashed) reach; other targets, or fewer than three, are dots instead.
    Middle: corrected for chance, 0 is a uniform responder. Right: gain over the control.
    Hollow dots and dotted lines are controls, scored against every orientation.
    """
    rows = style.main_scores(table)
    instruments = rows["instrument"].unique().sort().to_list()
    if not instruments:
        return style.no_data()
    gain = table.filter(measure="gain").height > 0
    columns = 3 if gain else 2
    looks = style.groups(rows)
    lines = max(len(style.values(rows.filter(instrument=name))) for name in instruments)
    height = max(3.6, lines * max(0.25, 0.1 * len(looks)))
    figure = style.new_figure(3.6 * columns + 0.6, height * len(instruments) + 0.8)
    grid = figure.subplots(len(instruments), columns, squeeze=False)
    for name, panels in zip(instruments, grid, strict=True):
        _instrument(panels, table.filter(instrument=name), looks, name)
    figure.legend(handles=_legend(rows, looks), loc="outside lower center", ncols=3)
    return figure


def _instrument(
    panels: list[Axes], table: pl.DataFrame, looks: list[style.Group], name: str
) -> None:
    rows = style.main_scores(table)
    measure = rows["measure"][0]
    here = [look for look in looks if look.rows(rows).height]
    known = set(rows["value"].unique())
    lines = style.values(rows)
    radial = known <= set(DIRECTIONS) and len(known) >= 3 and len(here) <= MOST_POLYGONS
    if radial:
        radar(panels[0], rows, here)
        panels[0].set_title(fill(f"{style.words(name)}: {RAW[measure]}", 34), loc="center")
    else:
        _dots(panels[0], rows, lines, here, True)
        panels[0].set(xlim=(-0.02, 1.02), title=style.words(name), xlabel=RAW[measure])
    _dots(panels[1], table.filter(measure=CORRECTED[measure]), lines, here, False)
    panels[1].set_xlabel("chance-corrected (0 chance, 1 perfect)")
    if len(panels) > 2:
        _dots(panels[2], table.filter(measure="gain"), lines, here, False)
        panels[2].set_xlabel("gain over control (VR)")
        if not table.filter(measure="gain").height:
            panels[2].set_visible(False)  # another instrument has a control, this one has none
    for axes in panels[2 if radial else 1 :]:
        axes.set_yticklabels([])  # the lines go on from the left


def _dots(
    axes: Axes, rows: pl.DataFrame, lines: style.Lines, looks: list[style.Group], references: bool
) -> None:
    parts = [(look.rows(rows), look.dot) for look in looks if look.rows(rows).height]
    style.dots(axes, rows, lines, parts, references)
    if references:
        for y, x in style.marks(rows, lines, "best_constant"):
            axes.plot(x, y, "x", color="#666666", ms=5, gid="best_constant")
    else:
        axes.axvline(0, color=style.CHANCE, lw=1.2, zorder=0, gid="zero")
    axes.grid(axis="x", color="#EEEEEE", lw=0.6)


def radar(axes: Axes, rows: pl.DataFrame, looks: list[style.Group]) -> None:
    """Draws a polygon per group over one axis per orientation, VR 0 in the middle, 1 at the rim."""
    axes.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.2, 1.2))
    axes.axis("off")
    for ring in (0.25, 0.5, 0.75, 1.0):
        corners = [(ring * x, ring * y) for x, y in DIRECTIONS.values()]
        axes.plot(*_closed(corners), color="#DDDDDD", lw=0.6, zorder=0)
        box = {"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.5}
        at = (ring / 2 + 0.02, -ring / 2)
        axes.text(*at, f"{ring:g}", color="#666666", fontsize=6, va="center", bbox=box, zorder=5)
    for value, (x, y) in DIRECTIONS.items():
        axes.plot([0, x], [0, y], color="#BBBBBB", lw=0.7, zorder=0)
        axes.text(1.1 * x, 1.1 * y, value, ha="center", va="center", rotation=-90 * x)
    chance = _corners(rows, "chance")
    if len(chance) > 2:
        xs, ys = _closed(list(chance.values()))
        axes.fill(xs, ys, color=style.CHANCE, alpha=0.18, lw=0, gid="chance", zorder=0.5)
        axes.plot(xs, ys, color=style.CHANCE, lw=1.2, gid="chance")
    for point in _corners(rows, "best_constant").values():
        axes.plot(*point, "x", color="#666666", ms=5, gid="best_constant", zorder=4)
    human = _corners(rows, "human")
    if len(human) > 2:
        axes.plot(*_closed(list(human.values())), color=style.HUMAN, ls="--", lw=1.1, gid="human")
    for place, look in enumerate(looks):
        _polygon(axes, look, look.rows(rows), 0.02 * (place - (len(looks) - 1) / 2))


def _polygon(axes: Axes, look: style.Group, rows: pl.DataFrame, aside: float) -> None:
    # Each group stands a little beside the axis, so that whiskers do not hide each other.
    points = []
    by_value = {row["value"]: row for row in rows.iter_rows(named=True)}
    for value, (x, y) in DIRECTIONS.items():
        row = by_value.get(value)
        if row is None or row["estimate"] is None:
            continue
        points.append((x * row["estimate"] + aside * y, y * row["estimate"] - aside * x))
        axes.plot(*points[-1], ls="", ms=4, zorder=3, **look.dot)
        if row["low"] is not None and row["high"] is not None:
            ends = [(x * end + aside * y, y * end - aside * x) for end in (row["low"], row["high"])]
            axes.plot(*zip(*ends, strict=True), color=look.colour, lw=1.4, zorder=3)
    if len(points) > 2:
        dashes = ":" if look.control else "-"
        axes.plot(*_closed(points), color=look.colour, lw=1.2, ls=dashes, gid=look.label)


def _corners(rows: pl.DataFrame, column: str) -> dict[str, tuple[float, float]]:
    corners = {}
    for value, (x, y) in DIRECTIONS.items():
        numbers = rows.filter(value=value)[column].drop_nulls().to_list()
        if numbers:  # belongs to the instrument; groups differ only where their items do
            mean = sum(numbers) / len(numbers)
            corners[value] = (x * mean, y * mean)
    return corners


def _closed(corners: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    xs, ys = zip(*corners, corners[0], strict=True)
    return list(xs), list(ys)


def _legend(rows: pl.DataFrame, looks: list[style.Group]) -> list[Line2D]:
    handles = []
    for look in looks:
        line = {"ls": ":" if look.control else "-", "lw": 1.2}
        text = f"{look.label} ({style.counted(look.rows(rows))})"
        handles.append(style.handle(text, look.dot, **line))
    handles += style.reference_handles(rows)
    if rows["best_constant"].drop_nulls().len():
        marks = {"color": "#666666", "marker": "x"}
        handles.append(style.handle("best constant position", marks))
    return handles

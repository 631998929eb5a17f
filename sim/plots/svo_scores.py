"""Every agent's measured angle on the ring of own and others' payoff."""

from textwrap import fill

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots import style

BIN = 2.5  # degrees; dots of one bin pile up outwards
ROOM = 0.75  # the longest pile, in radii
DOT = 0.042  # widest dot, in radii
PILE = (pl.col("angle") / BIN).round().alias("pile")
UNIT = 0.95  # inches per radius
MOST_RINGS = 12
LETTERS = {"svo_slider": (("A", 74), ("P", 40), ("I", 8), ("C", -29))}  # categories, degrees
OTHER = "another angle"  # assigned, but none of the named orientations


@style.drawn
def svo_scores(table: pl.DataFrame) -> Figure:
    """One dot per answered instrument at its measured angle: right is own payoff, up others'.

    Dots of nearly one angle pile up outwards, so that a pile is a bar of a histogram; colour is
    the assigned orientation, whose target angle the triangle of the same colour marks. Dashed
    lines part the slider's categories (A, P, I, C). Those without a score (an answer that
    could not be read) are counted above the ring and not drawn.
    """
    # Some instruments bear no angle, but have other scores.
    others = [pl.col(c).is_null().all() for c in ("ia_index", "category")]
    bears = (pl.col("angle").is_not_null().any() | pl.all_horizontal(others)).over("instrument")
    table = table.filter(bears)
    if not table.height:
        return style.no_data()
    instruments = table["instrument"].unique().sort().to_list()
    rings = []
    for name in instruments:
        part = table.filter(instrument=name)
        start = f"{style.words(name)}: " if len(instruments) > 1 else ""
        rings += [(start + look.label, name, look.rows(part)) for look in style.groups(part)]
    shown = rings[:MOST_RINGS]
    columns = style.columns(len(shown))
    depth = -(-len(shown) // columns)
    left, low, rim = _frame(table)
    width, height = (rim - left) * UNIT, (rim - low) * UNIT
    across = max(3.2, width * columns + 0.4)
    figure = style.new_figure(across, (height + 0.55) * depth + 0.8)
    if len(instruments) == 1:
        figure.suptitle(style.words(instruments[0]))
    grid = figure.subplots(depth, columns, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.axis("off")
    for axes, (title, name, rows) in zip(grid, shown, strict=False):
        _ring(axes, left < -1, name)
        axes.set(aspect="equal", xlim=(left, rim), ylim=(low, rim))
        _dots(axes, rows.drop_nulls("angle"))
        lost = rows["angle"].null_count()
        axes.set_title(fill(title, 28), loc="center", pad=15, fontsize=9)
        text = f"n {rows.height - lost}, without a score {lost}"
        axes.text(0.5, 1.01, text, transform=axes.transAxes, ha="center", fontsize=8)
    colours = _colours(pl.concat([rows for *_, rows in shown]))
    handles = [
        style.handle(label, {"color": colour, "marker": "o"}) for label, colour in colours.items()
    ]
    more = f"{len(rings) - len(shown)} more groups are in the table" if rings != shown else None
    figure.legend(handles=handles, loc="outside lower center", ncols=int(across / 1.2), title=more)
    return figure


def _frame(table: pl.DataFrame) -> tuple[float, float, float]:
    """Left, lower and other ends of every ring, in radii: no room for what stays empty."""
    angles = table["angle"].drop_nulls().to_numpy()
    piles = table.group_by("instrument", "model", "agent", "method", PILE).len()["len"]
    rim = 1.08 + min(ROOM, DOT * int(piles.to_numpy().max()))
    left = -rim if (np.abs(angles) > 100).any() else -0.3
    return left, -rim if left < -1 or (angles < -35).any() else -1.1, rim


def _ring(axes: Axes, whole: bool, instrument: str) -> None:
    axes.axis("off")
    around = np.radians(np.linspace(-180 if whole else -100, 180 if whole else 100, 361))
    axes.plot(np.cos(around), np.sin(around), color="#444444", lw=0.9, gid="ring")
    for x, y in ((1, 0), (0, 1)):
        start = -1 if whole or y else -0.15
        axes.plot([start * x, x], [start * y, y], color="#BBBBBB", lw=0.7, zorder=0)
    small = {"ha": "right", "fontsize": 7, "color": "#666666"}
    axes.text(0.72, 0.015, "own payoff", va="bottom", **small)
    axes.text(-0.03, 0.8, "others' payoff", va="top", rotation=90, **small)
    for letter, middle in LETTERS.get(instrument, ()):
        x, y = _at(middle)
        axes.text(0.8 * x, 0.8 * y, letter, ha="center", va="center", color="#666666")
    for edge in style.BOUNDARIES.get(instrument, ()):
        x, y = _at(edge)
        axes.plot([0, x], [0, y], color="#BBBBBB", lw=0.7, ls="--", zorder=0, gid="boundary")
    for name, target in style.TARGETS.items():
        x, y = _at(target)
        marker = (3, 0, target - 90)  # a triangle that points outwards
        axes.plot(0.93 * x, 0.93 * y, marker=marker, color=style.ORIENTATIONS[name], ms=7, ls="")


def _dots(axes: Axes, rows: pl.DataFrame) -> None:
    piles = (
        rows.with_columns(PILE)
        .sort("pile", "target", "value", "angle", nulls_last=True)
        .with_columns(place=pl.int_range(pl.len()).over("pile"))
    )
    if not piles.height:
        return
    longest = int(piles.select(pl.col("place").max()).item()) + 1
    step = min(DOT, ROOM / longest)
    size = (72 * UNIT * max(step, 0.75 * DOT)) ** 2
    for label, colour in _colours(rows).items():
        part = piles.filter(_labels() == label)
        angle = np.radians(part["pile"].to_numpy() * BIN)
        away = 1.03 + step * (part["place"].to_numpy() + 0.5)
        axes.scatter(
            away * np.cos(angle),
            away * np.sin(angle),
            s=0.8 * size,
            color=colour,
            lw=0,
            gid=label,
            rasterized=rows.height > 500,  # thousands of vector dots make a slow page
        )


def _at(degrees: float) -> tuple[float, float]:
    return float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))


def _labels() -> pl.Expr:
    other = pl.when(pl.col("target").is_null()).then(pl.lit("no value")).otherwise(pl.lit(OTHER))
    named = pl.col("value").is_in(list(style.ORIENTATIONS))
    return pl.when(named).then(pl.col("value")).otherwise(other)


def _colours(rows: pl.DataFrame) -> dict[str, str]:
    seen = set(rows.select(_labels()).to_series())
    colours = {name: colour for name, colour in style.ORIENTATIONS.items() if name in seen}
    rest = {OTHER: "#56B4E9", "no value": style.CONTROL}
    return colours | {name: colour for name, colour in rest.items() if name in seen}

"""One look for all figures: colours, labels, empty figures, and files with equal bytes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Colour-blind safe (Okabe-Ito); the order is the order of angles, highest first.
ORIENTATIONS = {
    "altruistic": "#0072B2",
    "prosocial": "#009E73",
    "cooperative": "#009E73",
    "individualistic": "#E69F00",
    "competitive": "#CC79A7",
    "aggressive": "#882255",
    "martyr": "#56B4E9",
    "masochistic": "#D9D9D9",
    "sadomasochistic": "#999933",
    "unclassified": "#BBBBBB",
}
TARGETS = {"altruistic": 90.0, "prosocial": 45.0, "individualistic": 0.0, "competitive": -45.0}
# Degrees that part the categories of an instrument: Murphy et al. (2011), and octants.
BOUNDARIES = {
    "svo_slider": (57.15, 22.45, -12.04),
    "svo_ring": (157.5, 112.5, 67.5, 22.5, -22.5, -67.5, -112.5, -157.5),
}
CONTROL = "#555555"
CHANCE = "#9A9A9A"
HUMAN = "#000000"
# Groups need hues that are not taken for orientations (Paul Tol, muted).
GROUP_COLOURS = ["#332288", "#CC6677", "#117733", "#AA4499", "#88CCEE", "#999933", "#661100"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]

LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # travels with matplotlib: the same glyphs everywhere
    "font.size": 9,
    "text.parse_math": False,  # names of the user's may hold dollars
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "svg.hashsalt": "value-simulation",  # element ids without chance
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Group:
    """Agents that share a line in the legend, and how they are drawn."""

    key: tuple[Any, ...]  # model, agent, method, control
    label: str
    colour: str
    marker: str
    control: bool

    def rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of `table` that belong to this group."""
        mask = pl.lit(True)
        for column, part in zip(_GROUP, self.key, strict=True):
            if column in table.columns:
                mask &= pl.col(column).eq_missing(part)
        return table.filter(mask)

    @property
    def dot(self) -> dict[str, Any]:
        """Keyword arguments of its dots; a control's are hollow."""
        face = "white" if self.control else self.colour
        return {"marker": self.marker, "color": self.colour, "markerfacecolor": face}


_GROUP = ("model", "agent", "method", "control")


Lines = list[tuple[str | None, float | None]]  # (value, target) of each line of a dot plot


def columns(n: int) -> int:
    """Panels side by side, of n: three, but four stand two by two."""
    return 2 if n == 4 else min(3, n)


def new_figure(width: float, height: float) -> Figure:
    """Figure of `width` x `height` inches whose parts keep out of each other's way."""
    return Figure(figsize=(width, height), layout="constrained")


def drawn(draw: Callable[[pl.DataFrame], Figure]) -> Callable[[pl.DataFrame], Figure]:
    """Draws in the project's look; a table without rows gives a figure that says so."""

    @wraps(draw)
    def in_look(table: pl.DataFrame) -> Figure:
        with matplotlib.rc_context(LOOK):
            return draw(table) if table.height else no_data()

    return in_look


def no_data() -> Figure:
    """Figure that says that there is nothing to draw."""
    with matplotlib.rc_context(LOOK):
        figure = new_figure(5, 1.5)
        figure.text(0.5, 0.5, "no data for this figure", ha="center", va="center", color="#555555")
    return figure


def save(figure: Figure, path: str | Path) -> list[Path]:
    """Writes `path`.png (160 dpi) and `path`.svg; equal figures give equal bytes."""
    png, svg = Path(f"{path}.png"), Path(f"{path}.svg")
    with matplotlib.rc_context(LOOK):
        figure.savefig(png, dpi=160, metadata={"Software": None})
        figure.savefig(svg, dpi=160, metadata={"Date": None, "Creator": None})
    return [png, svg]


def words(name: str | None) -> str:
    """Readable form of a name in a table; null is a dash."""
    return "–" if name is None else name.replace("_", " ")


def groups(table: pl.DataFrame) -> list[Group]:
    """Groups of `table` by model, agent, method and control, controls last.

    Labels name the model only where there are several, the method where an agent has several.
    """
    columns = [name for name in _GROUP if name in table.columns]
    kinds = table.select(columns).unique().iter_rows(named=True)
    keys = [tuple(row.get(name) for name in _GROUP) for row in kinds]
    keys.sort(key=lambda key: (bool(key[3]), *("" if part is None else part for part in key[:3])))
    models = len({key[0] for key in keys} - {None}) > 1
    methods = {agent: len({key[2] for key in keys if key[1] == agent}) > 1 for _, agent, *_ in keys}
    return [
        Group(key, _label(key, models, methods[key[1]]), *colour_and_marker(index), bool(key[3]))
        for index, key in enumerate(keys)
    ]


def _label(key: tuple[Any, ...], with_model: bool, with_method: bool) -> str:
    model, agent, method, control = key
    parts = [words(agent)]
    if with_method and method is not None and method != agent:
        parts.append(words(method))
    if with_model and model is not None:
        parts.append(str(model).rsplit("/", 1)[-1])
    label = " · ".join(parts)
    return f"{label} (control)" if control and "control" not in label else label


def colour_and_marker(index: int) -> tuple[str, str]:
    """Colour and marker of the `index`-th group or run."""
    # The marker moves on once the colours are used up: 49 groups stay distinct.
    turn, place = divmod(index, len(GROUP_COLOURS))
    return GROUP_COLOURS[place], MARKERS[(place + turn) % len(MARKERS)]


def value_label(value: str | None, target: float | None) -> str:
    """A named orientation by its name, any other by its angle as well."""
    if target is None:
        return "no value" if value is None else words(value)
    if value is None or any(letter.isdigit() for letter in value):  # such as angle_30
        return f"{target:g}°"
    return words(value) if TARGETS.get(value) == target else f"{words(value)} ({target:g}°)"


def values(table: pl.DataFrame) -> Lines:
    """(value, target) pairs of `table`, highest angle first, without an angle last."""
    pairs = table.select("value", "target").unique().iter_rows()
    return sorted(pairs, key=lambda pair: (pair[1] is None, -(pair[1] or 0), pair[0] or ""))


def main_scores(table: pl.DataFrame) -> pl.DataFrame:
    """Each instrument's main score: value rationality; choice value rationality without angle."""
    rows = table.filter(pl.col("measure").is_in(["vr", "choice_vr"]))
    has_angle = pl.col("measure").eq("vr").any().over("instrument")
    return rows.filter(pl.col("measure").eq("vr") | ~has_angle)


def counted(rows: pl.DataFrame, each: str = "") -> str:
    """How many units, and what was left out, e.g. "n 9–10, unread 2 %, without score ≤ 11 %"."""
    low, high = rows["n"].min(), rows["n"].max()
    parts = [f"n {low}{each}" if low == high else f"n {low}–{high}{each}"]
    for column, name in (("unread", "unread"), ("left_out", "without score")):
        shares = [float(s) for s in rows[column].drop_nulls()] if column in rows.columns else []
        if shares and (max(shares) > 0 or column == "unread"):
            sign = "" if min(shares) == max(shares) else "≤ "
            percent = f"{100 * max(shares):.2g}" if max(shares) < 0.995 else "100"
            parts.append(f"{name} {sign}{percent} %")
    return ", ".join(parts)


def dots(
    axes: Axes,
    rows: pl.DataFrame,
    lines: Lines,
    parts: Iterable[tuple[pl.DataFrame, dict[str, Any]]],
    references: bool = True,
) -> None:
    """One line per value, one dot with its interval per part, side by side.

    Args:
        axes: where to draw; gets the values as y labels.
        rows: all rows, for the references: value, target, chance, human.
        lines: the values from top to bottom, from `values`.
        parts: rows of one colour, and the keyword arguments of their dots.
        references: whether to mark chance (grey) and humans (black, dashed) on each line.
    """
    parts = list(parts)
    step = 0.7 / max(len(parts), 1)
    for place, (part, look) in enumerate(parts):
        shift = (place - (len(parts) - 1) / 2) * step
        for row in part.filter(pl.col("estimate").is_not_null()).iter_rows(named=True):
            y = lines.index((row["value"], row["target"])) + shift
            whisker(axes, (row["estimate"], y), row, "x", look)
    if references:
        for column, colour, dashes in (("chance", CHANCE, "-"), ("human", HUMAN, (0, (2, 1.2)))):
            for y, x in marks(rows, lines, column):
                axes.plot(
                    [x, x],
                    [y - 0.42, y + 0.42],
                    color=colour,
                    ls=dashes,
                    lw=1.6,
                    gid=column,
                    zorder=1,
                )
    for y in range(1, len(lines)):
        axes.axhline(y - 0.5, color="#E6E6E6", lw=0.6)
    axes.set_yticks(range(len(lines)), [value_label(*line) for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def marks(rows: pl.DataFrame, lines: Lines, column: str) -> Iterable[tuple[int, float]]:
    """(line, number) of every number that `column` gives for a line."""
    for y, (value, target) in enumerate(lines):
        same = pl.col("value").eq_missing(value) & pl.col("target").eq_missing(target)
        for x in rows.filter(same)[column].drop_nulls().unique().sort():
            yield y, float(x)


def whisker(
    axes: Axes, at: tuple[float, float], row: dict[str, Any], along: str, look: dict[str, Any]
) -> None:
    """A dot at `at`, with a line along "x" or "y" from low to high where there is an interval."""
    if row["low"] is not None and row["high"] is not None:
        ends = [row["low"], row["high"]]
        other = [at[1] if along == "x" else at[0]] * 2
        line = (ends, other) if along == "x" else (other, ends)
        axes.plot(*line, color=look["color"], lw=1.2, solid_capstyle="butt", zorder=2)
    axes.plot(*at, ls="", ms=4.5, zorder=3, **look)


def reference_handles(rows: pl.DataFrame) -> list[Line2D]:
    """Legend entries for the reference columns that `rows` has numbers for."""
    looks = {
        "chance": ("chance", {"color": CHANCE, "lw": 1.6}),
        "human": ("humans", {"color": HUMAN, "ls": (0, (2, 1.2)), "lw": 1.4}),
    }
    return [
        Line2D([], [], label=label, **look)
        for column, (label, look) in looks.items()
        if column in rows.columns
        and np.isfinite(rows[column].cast(pl.Float64).drop_nulls().to_numpy()).any()
    ]


def handle(label: str, look: dict[str, Any], **line: Any) -> Line2D:
    """Legend entry of a group."""
    return Line2D([], [], label=label, ms=4.5, **{"ls": "", **look, **line})

"""The angles that choices reveal, by group."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from sim.analysis.scores import unwrapped
from sim.plots import style

TOGETHER = "all items together"


@style.drawn
def revealed_angle(table: pl.DataFrame) -> Figure:
    """Mean revealed angle of each group with its 95 % interval over agents, by instrument.

    Agents whose choices do not depend on payoffs have no angle (nor have nine in ten uniform
    responders, or a few more) and are left out; the numbers at the right say how many agents have
    one, and how many of all could be shown not to follow a linear utility (p < .05 within
    Fehr-Schmidt's). Pale bars: where most of a group choose without noise, the cones of angles that
    explain all of an agent's choices, one over the other. Dotted grey lines: the named
    orientations.
    """
    rows, agents = table.filter(row="group"), table.filter(row="agent")
    if not rows.height:
        return style.no_data()
    names = rows["instrument"].unique().sort(nulls_last=True).to_list()
    looks = style.groups(rows)
    lines = {n: style.values(_of(rows, n)) for n in names}
    heights = [max(1.2, len(lines[n]) * max(0.28, 0.16 * len(looks))) + 0.5 for n in names]
    figure = style.new_figure(7.5, sum(heights) + 0.8)
    grid = figure.subplots(len(names), 1, squeeze=False, height_ratios=heights)[:, 0]
    for name, axes in zip(names, grid, strict=True):
        here = _of(rows, name)
        shown = [look for look in looks if look.rows(here).height]
        for target in style.TARGETS.values():
            axes.axvline(target, color="#BBBBBB", lw=0.7, ls=":", zorder=0)
        parts = [(look.rows(here), look.dot) for look in shown]
        style.dots(axes, here, lines[name], parts, references=False)
        _cones(axes, _of(agents, name), here, lines[name], shown)
        _counts(axes, here, lines[name], shown)
        axes.set_title(TOGETHER if name is None else style.words(name))
        axes.set_xlabel("revealed angle (°)")
        axes.xaxis.set_major_locator(MultipleLocator(45))
        ends = [x for c in ("estimate", "low", "high") for x in here[c].drop_nulls()] or [0.0]
        ends += [
            x for line in axes.collections for path in line.get_paths() for x, _ in path.vertices
        ]
        axes.set_xlim(min([-60.0, *ends]) - 5, max([105.0, *ends]) + 5)
    handles = [style.handle(look.label, look.dot) for look in looks]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _of(rows: pl.DataFrame, name: str | None) -> pl.DataFrame:
    return rows.filter(pl.col("instrument").eq_missing(name))


def _height(row: dict, lines: style.Lines, place: int, n: int) -> float:
    """Where the dot of a group stands, the `place`-th of `n` on its line."""
    return lines.index((row["value"], row["target"])) + (place - (n - 1) / 2) * 0.7 / max(n, 1)


def _cones(
    axes, agents: pl.DataFrame, rows: pl.DataFrame, lines: style.Lines, looks: list[style.Group]
) -> None:
    for place, look in enumerate(looks):
        for row in look.rows(rows).filter(pl.col("separable") > 0.5).iter_rows(named=True):
            mine = look.rows(agents).filter(pl.col("value").eq_missing(row["value"]))
            if row["target"] is not None:
                mine = mine.filter(target=row["target"])
            mine = _turned(mine, row["target"]).unique().sort(pl.all())
            y = _height(row, lines, place, len(looks))
            axes.hlines(
                [y] * len(mine), mine["low"], mine["high"], color=look.colour,
                alpha=max(0.08, 0.4 / max(len(mine), 1)), lw=5, zorder=1, gid="cone",
            )  # fmt: skip


def _turned(agents: pl.DataFrame, target: float | None) -> pl.DataFrame:
    """Cones (low, high) of those who have one, by the whole turns that the group's mean took."""
    ends = agents.select("cone_low", "cone_high").cast(pl.Float64).to_numpy()
    angle = agents["estimate"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = ~np.isnan(angle)
    middle = np.where(known, angle, ends.mean(1))
    turns = unwrapped(middle, target, known.astype(float)) - middle
    ends = (ends + turns[:, None])[agents["separable"].eq_missing(1.0).to_numpy()]
    return pl.DataFrame(ends.round(9), ["low", "high"], orient="row")


def _counts(axes, rows: pl.DataFrame, lines: style.Lines, looks: list[style.Group]) -> None:
    for place, look in enumerate(looks):
        for row in look.rows(rows).iter_rows(named=True):
            y = _height(row, lines, place, len(looks))
            whole = row["n"] + row["n_unscored"]
            text = f"{row['n']}/{whole}"
            if row["nonlinear"] is not None:
                text += f", {row['nonlinear']:.0%} not linear"
            axes.annotate(
                text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=6.5,
                color=look.colour, annotation_clip=False,
            )  # fmt: skip

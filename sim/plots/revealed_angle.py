"""The angles that choices reveal, by group."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from sim.plots import style

TOGETHER = "all items together"


@style.drawn
def revealed_angle(table: pl.DataFrame) -> Figure:
    """Mean revealed angle of each group with its 95 % interval over agents, by instrument.

    Agents whose choices do not depend on payoffs have no angle (their share among uniform
    responders is 95 %) and are left out; the numbers at the right say how many agents have one,
    and how many of all could be shown not to follow a linear utility (p < .05 within
    Fehr-Schmidt's). Dotted grey lines: the named orientations.
    """
    rows = table.filter(row="group")
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
        _counts(axes, here, lines[name], shown)
        axes.set_title(TOGETHER if name is None else style.words(name))
        axes.set_xlabel("revealed angle (°)")
        axes.xaxis.set_major_locator(MultipleLocator(45))
        ends = [x for c in ("estimate", "low", "high") for x in here[c].drop_nulls()] or [0.0]
        axes.set_xlim(min([-60.0, *ends]) - 5, max([105.0, *ends]) + 5)
    handles = [style.handle(look.label, look.dot) for look in looks]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _of(rows: pl.DataFrame, name: str | None) -> pl.DataFrame:
    return rows.filter(pl.col("instrument").eq_missing(name))


def _counts(axes, rows: pl.DataFrame, lines: style.Lines, looks: list[style.Group]) -> None:
    step = 0.7 / max(len(looks), 1)
    for place, look in enumerate(looks):
        for row in look.rows(rows).iter_rows(named=True):
            y = lines.index((row["value"], row["target"])) + (place - (len(looks) - 1) / 2) * step
            whole = row["n"] + row["n_unscored"]
            text = f"{row['n']}/{whole}"
            if row["nonlinear"] is not None:
                text += f", {row['nonlinear']:.0%} not linear"
            axes.annotate(
                text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=6.5,
                color=look.colour, annotation_clip=False,
            )  # fmt: skip

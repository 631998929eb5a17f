"""Strengths of values by stage."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots import style
from sim.plots.by_stage import grid, look


@style.drawn
def priorities(table: pl.DataFrame) -> Figure:
    """Bradley-Terry strength of each value by stage, with 95 % intervals over dilemmas.

    Strengths are logits about the mean of the values: a value that is one above another is taken
    before it 73 times of 100. Position is taken out. Hollow marks: values that won all or none of
    their choices at that stage, so that their strength is a bound. Where there is one stage only,
    its strengths stand alone. At the foot of a panel stand the test of no shift at all between
    stages, robust to dilemmas, the clearest single shift against the first stage, and the smallest
    change that such a study finds in 80 of 100 cases.
    """
    rows = table.filter(measure="strength")
    rows = rows.filter(pl.col("stage").is_not_null()) if rows["stage"].count() else rows
    rows = rows.with_columns(pl.col("stage").fill_null(1))
    if rows["estimate"].null_count() == rows.height:
        return style.no_data()
    values = rows["first"].unique().sort().to_list()
    extra = table.filter(pl.col("measure").is_in(["wald_shift", "shift"]))
    figure, panels = grid(pl.concat([rows, extra]))
    for axes, part, title in panels:
        mine = part.filter(measure="strength")
        for k, value in enumerate(values):
            _line(axes, mine.filter(first=value), k, len(values))
        axes.axhline(0, color=style.CHANCE, lw=1.2, zorder=0)
        axes.set_xticks(mine["stage"].unique().sort().to_list())
        axes.set(ylabel="strength (logits)")
        axes.set_xlabel(f"stage\n{_foot(part)}", fontsize=7)
        axes.set_title(title, fontsize=8)
    handles = [style.handle(style.words(v), look(k), ls="-") for k, v in enumerate(values)]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _line(axes: Axes, line: pl.DataFrame, k: int, many: int) -> None:
    """One value's strengths; values stand side by side, so that intervals can be told apart."""
    line = line.drop_nulls("estimate").sort("stage")
    shift = (k - (many - 1) / 2) * 0.5 / many
    x = [stage + shift for stage in line["stage"]]
    axes.plot(x, line["estimate"], color=look(k)["color"], lw=1.0, alpha=0.6)
    for at, row in zip(x, line.iter_rows(named=True), strict=True):
        style.whisker(axes, (at, row["estimate"]), row, "y", _dot(look(k), row))


def _dot(one: dict, row: dict) -> dict:
    return one | ({"markerfacecolor": "white"} if row["all_or_none"] else {})


def _foot(part: pl.DataFrame) -> str:
    """The tests of shifts, what can be found at the last stage, and how much is behind a dot."""
    texts = []
    test = part.filter(measure="wald_shift").drop_nulls("p")
    if len(test):
        texts.append(f"no shift at all: {_p(test['p'][0])}")
    shifts = part.filter(measure="shift").drop_nulls("p_holm").sort("p_holm", "p")
    if len(shifts):
        most = shifts.row(0, named=True)
        texts.append(
            f"clearest: {style.words(most['first'])} {most['estimate']:+.2f} at stage "
            f"{most['stage']}, {_p(most['p_holm'])} (Holm)"
        )
    lines = [", ".join(texts)] if texts else []
    known = shifts.drop_nulls("detectable")
    if len(known):
        last = known.filter(pl.col("stage") == known["stage"].max())["detectable"]
        lines.append(f"detectable at the last stage: {last.min():.2f} to {last.max():.2f}")
    n = part.filter(measure="strength")["n"]
    lines[-1:] = [f"{lines[-1]}; n {n.min()} to {n.max()} a dot" if lines else f"n {n.max()}"]
    return "\n".join(lines)


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")

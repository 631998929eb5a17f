"""Differences of paired choices between conditions."""

from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sim.plots import style

FACTORS = {
    "context_mode": "context",
    "wording": "wording",
    "order": "order of options",
    "agent": "kind of agent",
}
MOST_LINES, MOST_GROUPS = 36, 7
ACROSS = {"marker": "D", "color": "#444444"}  # contrasts between kinds belong to none


@style.drawn
def paired_choices(table: pl.DataFrame) -> Figure:
    """The same members and items under two conditions each, with 95 % intervals over dilemmas.

    Left: share that takes the first canonical option under the second condition minus that under
    the first. Right: share of answers that differ, one under each condition; the upright grey mark
    is what choices by lot have, the coloured one what two answers under one condition differ by
    (noise, where there are repeats). Grey line: no difference. Differences that stand at zero hide
    flips that go both ways. Filled: the difference is other than 0 at 5 % after Holm's correction
    over the contrasts of its factor; hollow: it is not, or cannot be told.
    """
    rows = table.filter(pl.col("second").is_not_null(), pl.col("estimate").is_not_null())
    if rows.is_empty():
        return style.no_data()
    looks = style.groups(rows.filter(pl.col("factor") != "agent"))
    lines = _lines(rows)
    places = {line: y for y, line in lines if line[-1] is not None}
    height = len(lines) * max(0.26, 0.11 * min(len(looks), MOST_GROUPS)) + 1.2
    figure = style.new_figure(10, max(2.6, height))
    left, right = figure.subplots(1, 2, sharey=True)
    parts: list[tuple[pl.DataFrame, dict[str, Any], float]] = []
    step = 0.7 / max(1, min(len(looks), MOST_GROUPS))
    for k, look in enumerate(looks[:MOST_GROUPS]):
        shift = (k - (min(len(looks), MOST_GROUPS) - 1) / 2) * step
        mine = look.rows(rows).filter(pl.col("factor") != "agent")
        parts.append((mine, {"marker": look.marker, "color": look.colour}, shift))
    parts.append((rows.filter(factor="agent"), ACROSS, 0.0))
    for part, look, shift in parts:
        for row in part.iter_rows(named=True):
            line = tuple(row[name] for name in ("instrument", "factor", "first", "second"))
            if line in places:
                _draw(left, right, row, look, places[line] + shift)
    left.axvline(0, color=style.CHANCE, lw=1.2, zorder=0, gid="chance")
    several = rows["instrument"].n_unique() > 1
    left.set_yticks([y for y, _ in lines], [_name(line, several) for _, line in lines])
    for tick, (_, line) in zip(left.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if line[-1] is None else "normal")
    left.set_ylim(len(lines) - 0.4, -0.6)
    left.set_xlabel("first option taken: second minus first condition")
    right.set_xlabel("share of answers that differ")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#EEEEEE", lw=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    figure.legend(handles=_handles(rows, looks), loc="outside lower center", ncols=2)
    _left_out(figure, rows, lines, len(looks))
    return figure


def _lines(rows: pl.DataFrame) -> list[tuple[int, tuple]]:
    """(place, (instrument, factor, first, second)), each factor under a head without levels."""
    found: list[tuple] = []
    for name in rows["instrument"].unique().sort():
        for factor in FACTORS:
            mine = rows.filter(instrument=name, factor=factor)
            pairs = mine.select("first", "second").unique().sort("first", "second").rows()
            if pairs:
                found += [(name, factor, None, None), *((name, factor, *pair) for pair in pairs)]
    return list(enumerate(found[:MOST_LINES]))


def _name(line: tuple, several: bool) -> str:
    instrument, factor, first, second = line
    if second is None:
        return FACTORS[factor] + (f" ({style.words(instrument)})" if several else "")
    return f"{style.words(first)} → {style.words(second)}"


def _draw(left, right, row: dict[str, Any], look: dict[str, Any], y: float) -> None:
    sure = row["p_holm"] is not None and row["p_holm"] < 0.05
    dot = look | ({} if sure else {"markerfacecolor": "white"})
    style.whisker(left, (row["estimate"], y), row, "x", dot)
    ends = {"low": row["flips_low"], "high": row["flips_high"]}
    if row["flips_chance"] is not None:
        right.plot([row["flips_chance"]] * 2, [y - 0.2, y + 0.2], color=style.CHANCE, lw=1.6)
    if row["noise"] is not None:
        right.plot(row["noise"], y, "|", color=look["color"], ms=9, mew=1.4, gid="noise")
    if row["flips"] is not None:
        style.whisker(right, (row["flips"], y), ends, "x", look)


def _handles(rows: pl.DataFrame, looks: list[style.Group]) -> list[Line2D]:
    shown = [(look.label, look.rows(rows), look.colour, look.marker) for look in looks]
    handles = [
        style.handle(f"{label} ({style.counted(part)})", {"color": colour, "marker": marker})
        for label, part, colour, marker in shown[:MOST_GROUPS]
    ]
    across = rows.filter(factor="agent")
    if across.height:
        handles.append(style.handle(f"between kinds ({style.counted(across)})", ACROSS))
    handles.append(Line2D([], [], color=style.CHANCE, lw=1.6, label="no difference; by lot"))
    if rows["noise"].count():
        noise = {"marker": "|", "ms": 9, "mew": 1.4, "color": "#333333", "ls": ""}
        handles.append(Line2D([], [], label="noise: two answers under one condition", **noise))
    return handles


def _left_out(figure: Figure, rows: pl.DataFrame, lines: list, n_looks: int) -> None:
    """Says what is not drawn."""
    columns = ["instrument", "factor", "first", "second"]
    n = rows.select(columns).unique().height
    drawn = sum(line[-1] is not None for _, line in lines)
    parts = [f"{drawn} of {n} contrasts"] if drawn < n else []
    parts += [f"{MOST_GROUPS} of {n_looks} kinds of agent"] if n_looks > MOST_GROUPS else []
    if parts:
        figure.suptitle(f"{' and '.join(parts)} are shown", fontsize=8, color="#555555")

"""How far instruments agree."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sim.plots import style

NO_CATEGORIES = "no two of these instruments\nhave categories in common"
CORRELATION, DIFFERENCE, CATEGORY = "spearman", "vrc_difference", "kappa"


@style.drawn
def agreement(table: pl.DataFrame) -> Figure:
    """Agreement of every two instruments that the same agents answered; 95 % intervals.

    Left: rank correlation of measured angles over agents, all orientations together (filled) and
    within orientations (hollow). Middle: agreement of categories beyond chance (Cohen's kappa).
    Right: chance-corrected value rationality on the first instrument minus that on the second.
    Grey lines: no agreement, no difference. Correlations need five agents, those within
    orientations five of each.
    """
    pairs = table.select("first", "second").unique().sort("first", "second").rows()
    if not pairs:
        return style.no_data()
    looks = style.groups(table)
    height = max(2.0, len(pairs) * max(0.45, 0.2 * len(looks)) + 0.9)
    figure = style.new_figure(11, height + 0.5)
    left, middle, right = figure.subplots(1, 3)
    across = table.filter(measure=CORRELATION, scope="across")
    within = table.filter(measure=CORRELATION, scope="within")
    _dots(left, pairs, looks, [(across, False), (within, True)])
    kappa = table.filter(measure=CATEGORY)
    _dots(middle, pairs, looks, [(kappa, False)])
    if not kappa["estimate"].count():
        why = "kappa is not defined:\nall are of one category" if kappa.height else NO_CATEGORIES
        middle.text(0.5, 0.5, why, ha="center", va="center", transform=middle.transAxes,
                    color="#555555")  # fmt: skip
    _dots(right, pairs, looks, [(table.filter(measure=DIFFERENCE), False)])
    labels = [f"{style.words(a)}\n{style.words(b)}" for a, b in pairs]
    left.set_yticks(range(len(pairs)), labels)
    for axes in (left, middle, right):
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in (middle, right):
        axes.set_yticks(range(len(pairs)), [""] * len(pairs))
    left.set_xlabel("rank correlation of angles")
    middle.set_xlabel("kappa of categories")
    right.set_xlabel("difference of value rationality (VRc)")
    handles = [
        style.handle(f"{look.label} ({style.counted(_told(look.rows(table)))})", look.dot)
        for look in looks
    ]
    dot = {"marker": "o", "ls": "", "ms": 4.5, "color": "#444444"}
    handles += [
        Line2D([], [], label="over all orientations", **dot),
        Line2D([], [], label="within orientations", markerfacecolor="white", **dot),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """Those that have an estimate; all where none has."""
    known = rows.drop_nulls("estimate")
    return known if known.height else rows


def _dots(axes: Axes, pairs: list[tuple], looks: list[style.Group], parts: list) -> None:
    step = 0.7 / (len(looks) * len(parts))
    axes.axvline(0, color=style.CHANCE, lw=1.6, zorder=1, gid="chance")
    for i, look in enumerate(looks):
        for j, (rows, hollow) in enumerate(parts):
            face = "white" if hollow else look.colour
            dot = {"marker": look.marker, "color": look.colour, "markerfacecolor": face}
            shift = (i * len(parts) + j - (len(looks) * len(parts) - 1) / 2) * step
            for row in (
                look.rows(rows).filter(pl.col("estimate").is_not_null()).iter_rows(named=True)
            ):
                y = pairs.index((row["first"], row["second"])) + shift
                style.whisker(axes, (row["estimate"], y), row, "x", dot)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)

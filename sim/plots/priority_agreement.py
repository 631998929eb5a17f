"""How far choices follow assigned priorities, by stage."""

import polars as pl
from matplotlib.figure import Figure

from sim.analysis.duels import GROUP
from sim.plots import style
from sim.plots.by_stage import grid, varied

ALL = "all"


@style.drawn
def priority_agreement(table: pl.DataFrame) -> Figure:
    """Chance-corrected agreement of choices with assigned priorities, 95 % intervals over dilemmas.

    1: every choice takes the option whose value weighs more in what was assigned; 0 (grey): as by
    lot; below 0: against it. One panel for each assigned priorities; filled dots are agents to
    which they were assigned, hollow ones the control, scored against the same. At the left of a
    panel all stages together, then each stage.
    """
    rows = table.filter(measure="vrc")
    if rows["estimate"].null_count() == rows.height:
        return style.no_data()
    # A panel is what is scored against: the assigned one and its controls belong together.
    rows = rows.with_columns(pl.col("value").is_null().alias("control"))
    rest = [name for name in GROUP if name not in ("value", "method")]
    keys = rows.select(*rest, "control").unique(maintain_order=True)
    apart = varied(keys, rest)
    apart += ["agent"] if keys["agent"].n_unique() > 1 else []
    frame = rows.with_columns(
        pl.col("against").alias("value"),
        *(pl.lit(None, pl.String).alias(n) for n in (*rest, "method")),
        *(pl.col(n).alias(f"_{n}") for n in rest),
    )

    lowest = min([-0.2, *(x for x in frame["low"].drop_nulls())])

    figure, panels = grid(frame)
    looks = [_look(k, key["control"]) for k, key in enumerate(keys.iter_rows(named=True))]
    for axes, part, title in panels:
        for k, key in enumerate(keys.iter_rows(named=True)):
            same = [pl.col(f"_{n}").eq_missing(key[n]) for n in rest]
            line = part.filter(*same, control=key["control"]).drop_nulls("estimate")
            shift = 0.5 * (k - (len(keys) - 1) / 2) / len(keys)
            for row in line.iter_rows(named=True):
                at = (0 if row["stage"] is None else row["stage"]) + shift
                style.whisker(axes, (at, row["estimate"]), row, "y", looks[k])
        axes.axhline(0, color=style.CHANCE, lw=1.2, zorder=0)
        axes.axvline(0.5, color="#E6E6E6", lw=0.8, zorder=0)
        stages = part["stage"].drop_nulls().unique().sort().to_list()
        axes.set_xticks([0, *stages], [ALL, *map(str, stages)])
        n = part["n"]
        axes.set_xlabel(f"stage (n {n.min()} to {n.max()} choices a dot)", fontsize=8)
        axes.set_ylim(lowest - 0.05, 1.05)
        axes.set(ylabel="agreement, chance-corrected", title=title)
    names = [_name(key, apart) for key in keys.iter_rows(named=True)]
    handles = [style.handle(name, one) for name, one in zip(names, looks, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _look(k: int, control: bool) -> dict:
    colour, marker = style.colour_and_marker(k)
    face = "white" if control else colour
    return {"marker": marker, "color": colour, "markerfacecolor": face}


def _name(key: dict, apart: list[str]) -> str:
    parts = [style.words(key[name]) for name in apart]
    return ", ".join([*parts, "control" if key["control"] else "assigned"])

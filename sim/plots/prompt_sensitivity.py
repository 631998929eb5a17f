"""What the variance of measured angles is made of."""

import polars as pl
from matplotlib.figure import Figure

from sim.plots import style

COLOURS = {
    "orientation": "#0072B2",
    "method": "#E69F00",
    "wording": "#CC79A7",
    "order": "#009E73",
    "interactions": "#88CCEE",
    "repeat": "#9A9A9A",
}


@style.drawn
def prompt_sensitivity(table: pl.DataFrame) -> Figure:
    """Shares of the variance of measured angles, with 95 % intervals over agents.

    A factor that does not vary in the run has no bar. `repeat` is what sheets of equal prompts
    differ by, those of other agents too. No share is above 1: intervals end at the axis's end.
    """
    rows = table.drop_nulls("estimate")
    if not rows.height:
        return style.no_data()
    panels = rows.select("instrument", "model").unique().sort("instrument", "model").rows()
    figure = style.new_figure(4.6 * len(panels) + 0.6, 3.2)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, model) in zip(grid, panels, strict=True):
        part = rows.filter(instrument=name).filter(pl.col("model").eq_missing(pl.lit(model)))
        sources = [s for s in COLOURS if s in part["source"].to_list()]
        for y, source in enumerate(sources):
            row = part.row(by_predicate=pl.col("source") == source, named=True)
            axes.barh(y, row["estimate"], color=COLOURS[source], height=0.66, gid=source)
            if row["low"] is not None:
                axes.plot([row["low"], row["high"]], [y, y], color="#222222", lw=1.2)
        axes.axvline(0, color="#444444", lw=0.8)
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, min(0.0, *part["estimate"]) - 0.15), min(high, 1.0))
        axes.set_yticks(range(len(sources)), sources)
        axes.set_ylim(len(sources) - 0.5, -0.5)
        axes.set_xlabel("share of the variance of angles")
        title = style.words(name) + (f": {model}" if len(panels) > 1 and model else "")
        axes.set_title(f"{title} ({style.counted(part)})", fontsize=9)
    return figure

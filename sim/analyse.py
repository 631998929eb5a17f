"""From the tables of a run to result tables, figures and its report; needs no model."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from sim.analysis.instrument import instrument
from sim.html import write_report
from sim.plots import style
from sim.tables import load
from sim.transcripts import samples

N_SAMPLES = 6  # conversations in the report
# Whatever allocations of points are played, these are behind the numbers.
ALLOCATIONS = [
    "SVO slider measure: Murphy, R. O., Ackermann, K. A. & Handgraaf, M. J. J. (2011). Measuring "
    "Social Value Orientation. Judgment and Decision Making 6(8), 771–781.",
    "Value rationality and goal prompting: HVAE, arXiv 2305.17147. Its formula is not published; "
    "the definition used here is given under Limits.",
    "Human reference: Many Labs 2, slider study after Van Lange et al. (1997), raw choices of "
    "6,234 people, scored here.",
]


def analyse(folder: Path, config: DictConfig, about: Mapping[str, Any]) -> None:
    """Writes `results/`, `figures/` and `report.html` of the run in `folder`.

    Args:
        folder: of the run, with its four tables.
        config: whose `analysis` names the analyzers.
        about: the manifest to report.
    """
    tables = load(folder)
    results, figures = {}, {}
    for name, part in config.analysis.items():
        table = instantiate(part)(tables)
        results[str(name)] = table
        figures[str(name)] = draw(folder, str(name), table)
    sources = ALLOCATIONS if tables.items["payoff_self"].count() else []
    theories = tables.items["theory"].drop_nulls().unique().sort()
    for name in (*tables.items["instrument"].unique().sort(), *theories):
        if (source := instrument(name).source) is not None:
            sources = [*sources, source]
    sources += [about["source"]] if about.get("source") else []
    # The three long tables hold what reports need; figures and tables are remade from them.
    spoken = about.get("model") is not None
    write_report(
        folder / "report.html",
        title=f"{about.get('experiment') or 'run'}",
        manifest=about,
        results=results,
        figures=figures,
        transcripts=samples(folder, N_SAMPLES) if spoken else [],
        sources=sources,
        unread_limit=config.unread_limit,
    )


def draw(folder: Path, name: str, table: pl.DataFrame) -> Path:
    """Writes a result table and the figure of the same name; returns the figure's stem."""
    (folder / "results").mkdir(exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "results" / f"{name}.csv").write_text(table.write_csv())
    stem = folder / "figures" / name
    plot = getattr(import_module(f"sim.plots.{name}"), name)
    style.save(plot(table), stem)
    return stem

"""Several runs side by side: one table, one figure, one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import OmegaConf

from sim import manifest
from sim.analyse import draw
from sim.errors import Refusal
from sim.html import write_report

SILENT = ("hydra.", "display=", "max_live=", "journal.")  # overrides that tell nothing
COMPARED = "value_rationality.csv"  # the result table of each run
MEASURES = ("vr", "vrc", "choice_vr", "choice_vrc")


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Run folders among the paths; a sweep's folder stands for its runs, in job order.

    Raises:
        Refusal: a path that is neither.
    """
    found = []
    for path in paths:
        jobs = [job for job in path.glob("*") if (job / "manifest.json").exists()]
        if (path / "manifest.json").exists():
            found.append(path)
        elif jobs:
            found += sorted(jobs, key=lambda job: (len(job.name), job.name))
        else:
            raise Refusal(f"a path must be a run folder or a sweep of runs, got {path}")
    return found


def label(run: Path) -> str:
    """What tells the run from its neighbours: its overrides, else its folder."""
    saved = run / ".hydra" / "overrides.yaml"
    overrides = OmegaConf.load(saved) if saved.exists() else []
    words = [str(word) for word in overrides if not str(word).startswith(SILENT)]
    return ", ".join(words) or run.name


def compare(runs: Sequence[Path], folder: Path) -> Path:
    """Writes the comparison of analysed runs into `folder`; returns its page.

    Raises:
        Refusal: a run that is not complete, or has no value rationality.
    """
    tables, labels = [], _labels(runs)
    for run, name in zip(runs, labels, strict=True):
        about = manifest.read(run)
        result = run / "results" / COMPARED
        if about["status"] != "complete":
            raise Refusal(f"a comparison needs complete runs, got {run}: {about['status']}")
        if not result.exists():
            raise Refusal(f"a comparison needs value_rationality in each run's analysis, not {run}")
        table = pl.read_csv(result, infer_schema_length=None)
        chosen = table.filter(pl.col("measure").is_in(MEASURES))
        tables.append(chosen.select(pl.lit(name).alias("run"), pl.all()))
    table = pl.concat(tables, how="diagonal_relaxed")
    stem = draw(folder, "comparison", table)
    page = folder / "comparison.html"
    write_report(
        page,
        title=f"Comparison of {len(runs)} runs",
        manifest=_together(runs),
        results={"comparison": table},
        figures={"comparison": stem},
        transcripts=[],
        sources=[],
        unread_limit=None,
    )
    return page


def _labels(runs: Sequence[Path]) -> list[str]:
    """Labels, made unique by the folder where overrides are the same."""
    labels = [label(run) for run in runs]
    return [
        name if labels.count(name) == 1 else f"{name} ({run.name})"
        for name, run in zip(labels, runs, strict=True)
    ]


def _together(runs: Sequence[Path]) -> dict[str, Any]:
    """One manifest for all: what they share, and sums of what they count."""
    all_ = [manifest.read(run) for run in runs]
    shared = {
        name: value
        for name, value in all_[0].items()
        if all(json.dumps(one.get(name)) == json.dumps(value) for one in all_)
    }
    counts = {status: sum(one["counts"][status] for one in all_) for status in all_[0]["counts"]}
    sums = {name: sum(one[name] for one in all_) for name in ("n_decisions", "n_episodes")}
    seconds = round(sum(one["seconds"] for one in all_), 3)
    return shared | sums | {"counts": counts, "seconds": seconds}

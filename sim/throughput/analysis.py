"""How long the analyzers of dilemmas take, on a study of scripted agents of published size."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hydra.utils import instantiate

from sim.configs import compose
from sim.run import play
from sim.setup import build
from sim.tables import load

DILEMMAS, STAGES = 3302, 5  # as many as published (arXiv 2505.18154)
VALUES = ("care", "fairness", "loyalty", "authority", "sanctity", "liberty")
PER_AGENT = DILEMMAS * STAGES * 2 * 2  # both orders, two contexts: path dependence needs them
ANALYZERS = (
    "preference", "priorities", "rank_shift", "win_rates", "shift_divergence", "transitivity",
    "paired_choices", "path_dependence", "positions", "priority_agreement",
)  # fmt: skip


def study(folder: Path, n: int) -> int:
    """Plays about `n` decisions of seven groups in `folder`; returns how many."""
    rng = np.random.default_rng(0)
    path = folder / "dilemmas.jsonl"
    with path.open("w") as file:
        for d in range(DILEMMAS):
            stages = []
            for s in range(STAGES):
                first, second = rng.choice(VALUES, 2, replace=False)
                options = [{"text": f"{v}.", "value": v} for v in (str(first), str(second))]
                stages.append({"situation": f"{d} {s}", "options": options})
            file.write(json.dumps({"id": str(d), "stages": stages}) + "\n")
    agents = max(round(n / PER_AGENT), 7)
    each = agents // 7
    config = compose(
        "experiment=scripted_baselines", "display=false", "theory=moral_foundations",
        "env=dilemmas", "dilemmas@env=jsonl", f"env.source.path={path}", "population=first",
        "env.context=[causal,counterfactual]",
        f"population.n_each={each}", f"population.control={agents - 6 * each}", "agent=ranked",
    )  # fmt: skip
    run = folder / "run"
    run.mkdir()
    play(build(config), run, False, False)
    return agents * PER_AGENT


def measure(run: Path) -> Iterator[dict[str, float | str]]:
    """Seconds of each analyzer on the tables in `run`, in this process, one after the other."""
    tables = load(run)
    for name in ANALYZERS:
        (analyzer,) = instantiate(compose(f"analysis={name}").analysis).values()
        start, used = time.perf_counter(), time.process_time()
        table = analyzer(tables)
        yield {
            "analyzer": name,
            "rows": table.height,
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - used,
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def rows(n: int) -> Iterator[dict[str, float | str]]:
    """Rows of `measure` for about `n` decisions, in a process of its own; last the sum."""
    with tempfile.TemporaryDirectory() as folder:
        played = study(Path(folder), n)
        command = [sys.executable, "-m", "sim.throughput.analysis", str(Path(folder) / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        yield from found
        yield {
            "analyzer": f"all, {played:,} decisions",
            "rows": sum(row["rows"] for row in found),
            "seconds": sum(row["seconds"] for row in found),
            "cpu": sum(row["cpu"] for row in found),
            "mib": max(row["mib"] for row in found),
        }


if __name__ == "__main__":
    for row in measure(Path(sys.argv[1])):
        print(json.dumps(row), flush=True)

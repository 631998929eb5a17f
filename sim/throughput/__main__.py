"""How fast it is: `python -m sim.throughput` prints tables of measured speeds.

Without arguments: scripted agents and the whole stack. With `--models`: language models, each
beside its engine alone, which is given exactly the same prompts. With `--served`: a server beside
bare loops of calls.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sim.errors import Refusal
from sim.throughput import served
from sim.throughput.analysis import rows as analysis
from sim.throughput.models import tables, with_random
from sim.throughput.scripted import SIZES, rows, whole_stack


def _models(given: argparse.Namespace) -> int:
    """The tables of `--models`; returns the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    failed = False
    with tempfile.TemporaryDirectory() as folder, console.status("measuring ..."):
        try:
            sets = with_random(given.models, given.set, Path(folder)) if given.random else given.set
            sizes = given.agents or [100, 1_000, 2_000]
            for table, faults in tables(
                given.models, sizes, sets, given.alone, given.generate, given.pairs
            ):
                console.print(table)
                for fault in faults:
                    print(f"not measured: {fault}", file=sys.stderr)
                failed |= bool(faults)
        except Refusal as fault:
            print(f"refused: {fault}", file=sys.stderr)
            return 1
    return int(failed)


def _analysis(n: int) -> int:
    """The table of `--analysis`; returns the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"Analyzers of dilemmas on {os.cpu_count()} cores, one after the other")
    for column in ("analyzer", "rows", "seconds", "CPU seconds", "peak memory so far"):
        table.add_column(column, justify="left" if column == "analyzer" else "right")
    with console.status(f"playing and analysing {n:,} decisions ..."):
        for row in analysis(n):
            table.add_row(
                str(row["analyzer"]), f"{row['rows']:,}", f"{row['seconds']:.1f}",
                f"{row['cpu']:.1f}", f"{row['mib']:,.0f} MiB",
            )  # fmt: skip
    console.print(table)
    return 0


def _served(agents: int, sets: list[str], times: int) -> int:
    """The table of `--served`; returns the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"Calls to a server, client on {os.cpu_count()} cores with it")
    for column in ("asked by", "calls", "calls/s", "CPU ms each", "peak memory"):
        table.add_column(column, justify="left" if column == "asked by" else "right")
    try:
        with console.status("measuring ..."):
            for row in served.rows(agents, sets, times):
                n = row["calls"]
                table.add_row(
                    served.WAYS[row["way"]], f"{n:,}", f"{n / row['seconds']:,.0f}",
                    f"{1000 * row['cpu'] / n:.3f}", f"{row['mib']:,.0f} MiB",
                )  # fmt: skip
    except Refusal as fault:
        print(f"refused: {fault}", file=sys.stderr)
        return 2
    console.print(table)
    return 0


def main() -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sim.throughput", description=__doc__)
    parser.add_argument(
        "--agents", type=int, nargs="*",
        help="population sizes of the whole-stack rows (default: 1000 10000 100000 170000), or "
        "with --models of its tables (default: 100 1000 2000)",
    )  # fmt: skip
    parser.add_argument("--n", type=int, default=5_000_000, help="decisions of the batched rows")
    parser.add_argument("--times", type=int, default=3, help="runs of the small rows, best shown")
    parser.add_argument("--only-stack", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--analysis", type=int, metavar="N", help="instead: the analyzers of dilemmas, N decisions"
    )
    parser.add_argument(
        "--served", action="store_true",
        help="instead: calls to a server (OPENAI_BASE_URL), --agents of a study, beside bare "
        "loops; --set model.model=NAME model.calls.concurrency=256 ...",
    )  # fmt: skip
    models = parser.add_argument_group("language models, instead of the table of scripted replies")
    models.add_argument("--models", nargs="+", metavar="PRESET", help="presets of conf/model")
    models.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides")
    models.add_argument("--random", action="store_true", help="a model of random weights, 29 M")
    models.add_argument("--pairs", type=int, default=2, help="runs beside the engine alone")
    models.add_argument("--alone", type=int, default=10, help="agents played one call at a time")
    models.add_argument("--generate", type=int, default=128, help="agents for model.generate")
    given = parser.parse_args()
    if given.models:
        return _models(given)
    if given.served:
        return _served((given.agents or [1000])[0], given.set, given.pairs)
    if given.analysis:
        return _analysis(given.analysis)
    if given.only_stack:
        whole_stack(10)  # imports and first-use costs are not per decision
        print(json.dumps(whole_stack(given.only_stack)))
        return 0
    table = Table(title=f"Speed on {os.cpu_count()} cores, CPU time of one process")
    for column in ("what", "n", "per CPU second", "CPU µs each", "peak memory\nwith report"):
        table.add_column(column, justify="left" if column == "what" else "right")
    console = Console(width=None if sys.stdout.isatty() else 120)
    with console.status("measuring ..."):
        for row in rows(given.agents or SIZES, given.n, given.times):
            table.add_row(*row)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

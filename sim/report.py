"""The command `python -m sim.report RUN|SWEEP ... [agent=ID] [--reparse]`; needs no model.

One run: analyses it again and writes its tables, figures and report. Several, or a sweep: the
same for each, then one table and figure that compare them, in the folder that holds all of them,
or in the current one. With agent=ID: prints that agent's whole conversation instead. With
--reparse: reads all replies again with today's reader and shows what changed, instead; tables and
journal stay as they are.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sim import manifest
from sim.analyse import analyse
from sim.compare import COMPARED, compare, run_folders
from sim.errors import Refusal
from sim.reparse import reparse
from sim.setup import load_config
from sim.transcripts import as_text, transcript


def again(run: Path) -> None:
    """Analyses a complete run anew, as its own config says."""
    about = manifest.read(run)
    if about["status"] != "complete":
        raise Refusal(
            f"a report needs a complete run, got {run}: {about['status']}; "
            f"python -m sim resume={run} goes on with it"
        )
    analyse(run, load_config(run), about)


def report(words: Sequence[str], reparsing: bool) -> None:
    """Does what the words of the command line ask for."""
    paths = [Path(word) for word in words if not word.startswith("agent=")]
    agents = [word.removeprefix("agent=") for word in words if word.startswith("agent=")]
    runs = run_folders(paths)
    if reparsing:
        if agents:
            raise Refusal(f"--reparse reads whole runs again, got {' '.join(words)}")
        console = Console(width=None if sys.stdout.isatty() else 120)
        for run in runs:
            reparse(run, console)
        return
    if agents:
        if len(runs) != 1 or len(agents) != 1:
            raise Refusal(f"agent=ID needs one run and one agent, got {' '.join(words)}")
        print(as_text(transcript(runs[0], agents[0])))
        return
    for run in runs:
        again(run)
        print(run / "report.html")
    if len(runs) > 1 and not any((run / "results" / COMPARED).exists() for run in runs):
        print("no comparison: it is one of value_rationality, which none of these runs has")
    elif len(runs) > 1:
        parents = {run.resolve().parent for run in runs}
        print(compare(runs, parents.pop() if len(parents) == 1 else Path.cwd()))


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.report", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", nargs="+", help="run or sweep folders, agent=ID")
    parser.add_argument(
        "--reparse", action="store_true", help="read all replies again, show what changed"
    )
    given = parser.parse_args()
    try:
        report(given.what, given.reparse)
    except (ValueError, OSError) as fault:
        print(f"refused: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

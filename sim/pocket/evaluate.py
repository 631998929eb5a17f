"""How well the pocket model does what it was made for: `python -m sim.pocket.evaluate`.

On choices and wordings that were kept out of its training, sampled at temperature 1 as in a
study; in unseen wordings also greedily. Intervals are over conversations, agents, items or
forms of items, never over single answers.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sim.configs import compose
from sim.errors import Refusal
from sim.inference import models
from sim.pocket.card import card
from sim.pocket.measures import games, orders, people
from sim.pocket.scores import COLUMNS, Line, cells
from sim.pocket.talks import wordings
from sim.setup import build


def table(lines: list[Line], title: str) -> Table:
    """The numbers as a table."""
    shown = Table(title=title)
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "what" else "right")
    for x in lines:
        shown.add_row(*cells(x, " .. "))
    return shown


def main() -> int:
    """Evaluates and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sim.pocket.evaluate", description=__doc__)
    parser.add_argument(
        "--weights", type=Path, default=models.POCKET,
        help="directory that sim.pocket.train wrote (default: the weights that ship)",
    )  # fmt: skip
    parser.add_argument("--model", default="pocket", help="preset of conf/model (default: pocket)")
    parser.add_argument("--n", type=int, default=100, help="agents or conversations of each part")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    parser.add_argument(
        "--card", action="store_true",
        help="writes evaluation.json and the model card, README.md, beside the weights",
    )  # fmt: skip
    given = parser.parse_args()
    for name in ("training.json", "training.csv") if given.card else ():
        if not (given.weights / name).is_file():
            parser.error(f"--card needs {name}, which sim.pocket.train writes, in {given.weights}")
    model = [f"model={given.model}", f"model.model={given.weights}"]
    lines: list[Line] = []
    # The embedded engine reads the one, the others read the other.
    weights = [
        x for f in ("model.onnx", "*.safetensors") for x in models.fingerprint(given.weights, f)
    ]
    try:
        drawn, greedy = (
            build(compose(*model, "population.n=5", f"model.temperature={t}")).backend
            for t in (1, 0)
        )
        assert drawn is not None and greedy is not None
        console = Console(width=None if sys.stdout.isatty() else 120)
        with console.status("evaluating ..."):
            for mode in ("text", "label"):
                lines += games(model, given.n, mode)
            for words in ("development", "fresh"):
                for backend in (drawn, greedy):
                    lines += wordings(backend, given.n, words)
            lines += orders(drawn, 8 * given.n)
            lines += people(model, 2 * given.n)
    except Refusal as fault:
        print(f"refused: {fault}", file=sys.stderr)
        return 1
    names = ", ".join(f"{x['file']} {x['sha256'][:12]}" for x in weights)
    console.print(table(lines, f"Kept-out choices, temperature 1; {names}"))
    told = json.dumps({"weights": weights, "lines": [vars(x) for x in lines]}, indent=1) + "\n"
    for path in (given.out, given.card and given.weights / "evaluation.json"):
        if path:
            path.write_text(told, encoding="utf-8")
    if given.card:
        text = card(lines, given.weights)
        (given.weights / "README.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

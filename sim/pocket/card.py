"""The model card: what the pocket model is, with the numbers of its evaluation."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from sim.pocket.scores import COLUMNS, Line, cells

TEXT = Path(__file__).with_name("card.md")


def card(lines: Sequence[Line], folder: Path) -> str:
    """The card of the weights in a folder, as Markdown.

    Args:
        lines: of their evaluation.
        folder: has `training.json`, how they were trained, and the loss curve, `training.csv`.
    """
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    with (folder / "training.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    rows = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)], *(cells(x, " to ") for x in lines)]
    facts = {
        "seed": told["seed"],
        "steps": f"{told['steps']:,}",
        "tokens": f"{told['tokens']:,}",
        "device": told["device"],
        "minutes": f"{float(last['seconds']) / 60:.0f}",
        "table": "\n".join(
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows
        ),
    }
    text = TEXT.read_text(encoding="utf-8")
    for name, fact in facts.items():
        text = text.replace(f"<{name}>", str(fact))
    return text

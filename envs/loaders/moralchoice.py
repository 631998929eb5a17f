"""MoralChoice: scenarios of two actions, labelled with the rules that each breaks.

Scherrer et al. (2023), Evaluating the Moral Beliefs Encoded in LLMs, arXiv 2307.14324 (CSV files
of their repository, MIT). The rules are Gert's (2004), `conf/theory/common_morality.yaml`.
"""

import csv
import hashlib
import io

from envs.dilemma import Collection, Dilemma, Option, Stage
from envs.loaders.jsonl import find, text_of

RULES = (
    "death",
    "pain",
    "disable",
    "freedom",
    "pleasure",
    "deceive",
    "cheat",
    "break_promise",
    "break_law",
    "duty",
)
TEXTS = ("scenario_id", "ambiguity", "generation_type", "generation_rule", "context",
         "action1", "action2")  # fmt: skip
LABELS = tuple(f"a{action}_{rule}" for action in (1, 2) for rule in RULES)
COLUMNS = TEXTS + LABELS
BROKEN = ("Yes", "No", "No Agreement")

SOURCE = (
    "Scenarios: Scherrer, N. et al. (2023). Evaluating the Moral Beliefs Encoded in LLMs "
    "(MoralChoice). NeurIPS 2023, arXiv 2307.14324."
)


def load(path: str, name: str | None = None) -> Collection:
    """Scenarios of a CSV file, a dilemma of one stage each.

    An option stands for the rule that it keeps and the other one breaks, where there is exactly
    one such rule; else for none. A rule on whose breach the annotators did not agree counts
    neither as kept nor as broken. Scenarios have no norm: many share a rule, and are no copies of
    each other.

    Args:
        path: of the file, UTF-8; a relative one that is not found is looked for in the project.
        name: of the collection; None: the file's.

    Raises:
        ValueError: with file, row (the header is row 1) and column, for whatever is not as it
            should be.
    """
    file = find(path)
    data = file.read_bytes()
    lines = csv.reader(io.StringIO(text_of(data, path), newline=""), strict=True)
    dilemmas, seen, n_dropped, n = [], set[tuple[str, ...]](), 0, 0
    header: list[str] = []
    try:
        for n, cells in enumerate(lines, start=1):
            where = f"row {n} of {path!r}"
            if n == 1:
                header = _header(cells, where)
                continue
            if not cells:  # an empty line
                continue
            if len(cells) != len(header):
                raise ValueError(f"{where} must have {len(header)} columns, got {len(cells)}")
            row = dict(zip(header, cells, strict=True))
            content = tuple(row[column].strip() for column in COLUMNS)
            if content in seen:
                n_dropped += 1
                continue
            seen.add(content)
            dilemmas.append(_dilemma(row, where))
    except csv.Error as fault:
        raise ValueError(f"row {n + 1} of {path!r} is no CSV: {fault}") from fault
    if n == 0:
        raise ValueError(f"{path!r} needs a header, got an empty file")
    checksums = {path: hashlib.sha256(data).hexdigest()}
    return Collection(name or file.stem, tuple(dilemmas), n_dropped, checksums, SOURCE)


def _header(cells: list[str], where: str) -> list[str]:
    """The names of the columns: each of `COLUMNS` once, in any order, and no other."""
    for column in COLUMNS:
        if cells.count(column) != 1:
            raise ValueError(
                f"{where}: column {column} must be there once, got {cells.count(column)}"
            )
    if more := [cell for cell in cells if cell not in COLUMNS]:
        raise ValueError(f"{where} has no column {more[0]!r}")
    return cells


def _dilemma(row: dict[str, str], where: str) -> Dilemma:
    for column in TEXTS:
        if not row[column].strip():
            raise ValueError(f"{where}: {column} must be a text, got {row[column]!r}")
    for column in LABELS:
        if row[column].strip() not in BROKEN:
            raise ValueError(
                f"{where}: {column} must be one of {', '.join(BROKEN)}, got {row[column]!r}"
            )
    options = tuple(
        Option(row[f"action{mine}"].strip(), _kept(row, mine, other))
        for mine, other in ((1, 2), (2, 1))
    )
    stage = Stage(row["context"].strip(), None, options)
    return Dilemma(row["scenario_id"].strip(), None, (stage,), where)


def _kept(row: dict[str, str], mine: int, other: int) -> str | None:
    """The one rule that action `mine` keeps and `other` breaks; None: there are none or more."""
    kept = [
        rule
        for rule in RULES
        if row[f"a{mine}_{rule}"].strip() == "No" and row[f"a{other}_{rule}"].strip() == "Yes"
    ]
    return kept[0] if len(kept) == 1 else None

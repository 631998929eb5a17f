"""Multi-step moral dilemmas as their authors publish them: a JSON list of flat rows.

Wu et al. (2025), The Staircase of Ethics, arXiv 2505.18154. A row has `norm`, `idx` and for each
step N = 1, 2, 3 ... `step N_situation`, `step N_dilemma`, `step N_choiceA`,
`step N_choiceA_value` and the same of B. Their generator, labeller and data spell keys and labels
differently; all of these are read.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from envs.dilemma import Collection, Dilemma, Option, Stage
from envs.loaders.jsonl import find, text_of

KEY = re.compile(
    r"[Ss]tep[ _]([1-9][0-9]*)_"
    r"(?:(situation|dilemma|conflict)|choice([AB])(?:_action)?(_value(?:_judgement)?)?)"
)
FOUNDATIONS = {
    "care": "harm",
    "fairness": "cheating",
    "loyalty": "betrayal",
    "authority": "subversion",
    "sanctity": "degradation",
    "liberty": "oppression",
}
# "self" is what their regular expression leaves of Self-Direction; "Simulation" is a misprint in
# their table 1.
LABELS = {
    **{f"{name}/{vice}": name for name, vice in FOUNDATIONS.items()},
    "self": "self-direction",
    "simulation": "stimulation",
}
SPELT = {"A": "choiceA", "B": "choiceB", "A_value": "choiceA_value", "B_value": "choiceB_value"}
Field = tuple[int, str]  # the step, 0 for the whole row, and what of it

SOURCE = (
    "Dilemmas: Wu, Y. et al. (2025). The Staircase of Ethics. EMNLP 2025, arXiv 2505.18154; sample "
    "under CC BY-SA 4.0."
)


def load(path: str, name: str | None = None) -> Collection:
    """Dilemmas of a JSON file.

    Args:
        path: of the file, UTF-8; a relative one that is not found is looked for in the project.
        name: of the collection; None: the file's.

    Raises:
        ValueError: with file, row (from 1) and field, for whatever is not as it should be.
    """
    file = find(path)
    data = file.read_bytes()
    text = text_of(data, path)
    try:
        # Objects become tuples of pairs, so that a key that is there twice is seen.
        rows = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"{path!r} is no JSON list of rows: {fault}") from fault
    if not isinstance(rows, list):
        raise ValueError(f"{path!r} must be a JSON list of rows, got {_short(rows)}")
    dilemmas, n_dropped = read(rows, path)
    checksums = {path: hashlib.sha256(data).hexdigest()}
    return Collection(name or file.stem, dilemmas, n_dropped, checksums, SOURCE)


def read(rows: Iterable[Any], source: str) -> tuple[tuple[Dilemma, ...], int]:
    """Dilemmas of rows, and how many repeat an earlier one.

    A row repeats another if idx, norm, situations and options are the same, however its keys are
    spelt and whether or not it has the questions; the dilemma has those of either.

    Args:
        rows: each a tuple of (key, value); null is what is not there.
        source: where they are from, for messages.

    Raises:
        ValueError: with source, row and field.
    """
    known, n_dropped = dict[str, Dilemma](), 0
    for n, row in enumerate(rows, start=1):
        dilemma = _dilemma(row, f"row {n} of {source!r}")
        first = known.get(dilemma.id)
        if first is None:
            known[dilemma.id] = dilemma
            continue
        if _without_questions(first) != _without_questions(dilemma) or _differ(first, dilemma):
            raise ValueError(
                f"{dilemma.where}: idx {dilemma.id!r} is that of another dilemma, {first.where}"
            )
        known[dilemma.id] = _with_questions(first, dilemma)
        n_dropped += 1
    return tuple(known.values()), n_dropped


def _dilemma(row: Any, where: str) -> Dilemma:
    fields = _fields(row, where)
    steps = sorted({step for step, _ in fields} - {0})
    if not steps or steps != list(range(1, len(steps) + 1)):
        got = ", ".join(map(str, steps)) or "none"
        raise ValueError(f"{where}: steps must be numbered 1, 2, 3 ..., got {got}")
    key, idx = fields.get((0, "idx"), ("idx", None))
    if isinstance(idx, bool) or not isinstance(idx, int | str) or not str(idx).strip():
        raise ValueError(f"{where}: {key} must be a whole number or a text, got {_short(idx)}")
    stages = [_stage(fields, step, where) for step in steps]
    return Dilemma(str(idx).strip(), _text(fields, (0, "norm"), where), tuple(stages), where)


def _fields(row: Any, where: str) -> dict[Field, tuple[str, Any]]:
    """Key as spelt and value by field; without nulls, verdicts and descriptions of conflicts."""
    if not isinstance(row, tuple):
        raise ValueError(f"{where} must be a JSON object, got {_short(row)}")
    fields = dict[Field, tuple[str, Any]]()
    for key, value in row:
        if key in ("norm", "idx"):
            field = (0, key)
        elif match := KEY.fullmatch(key):
            step, plain, letter, label = match.groups()
            field = (int(step), plain or letter + (label or ""))
        else:
            raise ValueError(f"{where} has no field {key!r}")
        if value is None or field[1].endswith("_judgement"):
            continue
        if field in fields:
            raise ValueError(f"{where}: {key} is there twice, also as {fields[field][0]}")
        fields[field] = key, value
    return fields


def _stage(fields: dict[Field, tuple[str, Any]], step: int, where: str) -> Stage:
    question = None
    if (step, "dilemma") in fields:
        question = _text(fields, (step, "dilemma"), where)
    options = [
        Option(
            _text(fields, (step, letter), where),
            _label(_text(fields, (step, f"{letter}_value"), where)),
        )
        for letter in "AB"
    ]
    return Stage(_text(fields, (step, "situation"), where), question, tuple(options))


def _text(fields: dict[Field, tuple[str, Any]], field: Field, where: str) -> str:
    step, what = field
    usual = f"step {step}_{SPELT.get(what, what)}" if step else what
    key, text = fields.get(field, (usual, None))
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where}: {key} must be a text, got {_short(text)}")
    return text.strip()


def _label(label: str) -> str:
    """The value's name; a label that is not known stays what it is, for the theory to refuse."""
    plain = label.splitlines()[0].strip().lower()
    return LABELS.get(plain, plain)


def _without_questions(dilemma: Dilemma) -> Dilemma:
    stages = tuple(replace(stage, question=None) for stage in dilemma.stages)
    return replace(dilemma, stages=stages, where="")


def _differ(one: Dilemma, other: Dilemma) -> bool:
    """Whether both have a question at some stage and not the same."""
    both = zip(one.stages, other.stages, strict=True)
    return any(a.question and b.question and a.question != b.question for a, b in both)


def _with_questions(one: Dilemma, other: Dilemma) -> Dilemma:
    both = zip(one.stages, other.stages, strict=True)
    stages = tuple(replace(a, question=a.question or b.question) for a, b in both)
    return replace(one, stages=stages)


def _short(value: Any) -> str:
    return json.dumps(dict(value) if isinstance(value, tuple) else value)[:60]

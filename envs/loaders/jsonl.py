"""Our own format: a JSON object for each dilemma, one a line.

`envs/bank/schema.json` is its JSON schema, `envs/bank/README.md` tells how to write more.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from envs.dilemma import Collection, Dilemma, Option, Stage

ROOT = Path(__file__).resolve().parent.parent.parent


def load(path: str, name: str | None = None) -> Collection:
    """Dilemmas of a JSONL file.

    Args:
        path: of the file, UTF-8; a relative one that is not found is looked for in the project.
        name: of the collection; None: the file's.

    Raises:
        ValueError: with file, row and field, for whatever is not as it should be.
    """
    file = find(path)
    data = file.read_bytes()
    dilemmas, seen, n_dropped = [], set[str](), 0
    for n, line in enumerate(text_of(data, path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"row {n} of {path!r}"
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as fault:
            raise ValueError(f"{where} is no JSON object: {fault}") from fault
        same = json.dumps(row, sort_keys=True)
        if same in seen:
            n_dropped += 1
            continue
        seen.add(same)
        dilemmas.append(dilemma(row, where))
    checksums = {path: hashlib.sha256(data).hexdigest()}
    return Collection(name or file.stem, tuple(dilemmas), n_dropped, checksums)


def find(path: str) -> Path:
    """The file; raises ValueError where there is none."""
    if not isinstance(path, str):
        raise ValueError(f"path must be a text, got {path!r}")
    for file in (Path(path).expanduser(), ROOT / path):
        if file.is_file():
            return file
    raise ValueError(f"a file of dilemmas must exist, got {path!r}")


def text_of(data: bytes, path: str) -> str:
    """The bytes of a file as text; raises ValueError where they are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"a file of dilemmas must be UTF-8, got byte {data[fault.start]:#04x} at place "
            f"{fault.start} of {path!r}"
        ) from fault


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"a field must be there once, got {name!r} twice")
    return dict(pairs)


def dilemma(row: Any, where: str) -> Dilemma:
    """The dilemma of an object; raises ValueError with field where it is none."""
    fields(row, where, {"id": str, "stages": list}, {"norm": str, "theory": str})
    stages = []
    for k, stage in enumerate(row["stages"], start=1):
        here = f"{where}, stage {k}"
        fields(stage, here, {"situation": str, "options": list}, {"question": str})
        options = []
        for j, option in enumerate(stage["options"], start=1):
            fields(option, f"{here}, option {j}", {"text": str}, {"value": str})
            options.append(Option(option["text"], option.get("value")))
        stages.append(Stage(stage["situation"], stage.get("question"), tuple(options)))
    return Dilemma(row["id"], row.get("norm"), tuple(stages), where)


def fields(row: Any, where: str, needed: dict[str, type], may: dict[str, type]) -> None:
    """Raises ValueError unless an object has the fields that it needs and only those it may."""
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be a JSON object, got {json.dumps(row)[:60]}")
    for name, kind in (needed | may).items():
        got = row.get(name)
        if got is None and name in may:
            continue
        if not isinstance(got, kind) or (isinstance(got, str) and not got.strip()):
            what = "a text" if kind is str else "a list"
            raise ValueError(f"{where}: {name} must be {what}, got {json.dumps(got)[:60]}")
    if more := set(row) - set(needed) - set(may):
        raise ValueError(f"{where} has no field {min(more)!r}")

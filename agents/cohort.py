"""A population from a file: a row for each member, with whatever else is known of them."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.base import Member
from agents.theory import CONTROL, Theory, plain
from agents.values import Values

OURS = ("id", "value", "target", "profile", "model")
TAKEN = ("agent_id", "agent", "member", "method")  # columns that the tables of a run have already
KINDS = {".csv": "CSV", ".json": "JSON"}
WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # 64 bits hold them
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?")
ANGLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # float takes 4_5 too
SHOWN = 80  # characters of a cell in a refusal
BEYOND = "number beyond 64 bits"
Row = Mapping[str, Any]


def from_file(theory: Theory | Values, path: str, max_mib: float = 64) -> list[Member]:
    """Members from a CSV file with a header, or a JSON list of objects.

    Columns that mean something: `id` (else the row's number), one or more of `value` (an
    orientation's name, or "control"), `target` (degrees) and `profile` (orientation -> weight, a
    JSON object), and `model` (of several). All others are handed on to `agents.parquet`; in a CSV
    file a column of numbers alone becomes one of numbers, and an empty cell is null.

    A value with a target of its own keeps its words and takes that target. A target alone has no
    words; a profile's target is the angle of its weighted directions.

    Args:
        theory: knows the orientations.
        path: of the file, UTF-8.
        max_mib: size above which a file is refused.

    Raises:
        ValueError: in a sentence with row and column.
    """
    if not isinstance(path, str) or not path.strip():
        raise ValueError(f"path must name a cohort's .csv or .json file, got {path!r}")
    if isinstance(max_mib, bool) or not isinstance(max_mib, int | float) or not max_mib > 0:
        raise ValueError(f"max_mib must be a number above 0, got {max_mib!r}")
    file = Path(path).expanduser()
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise ValueError(f"a cohort must be a .csv or .json file, got {path!r}")
    if not file.is_file():
        raise ValueError(f"a cohort file must exist, got {path!r}")
    size = file.stat().st_size / 2**20
    if size > max_mib:
        raise ValueError(
            f"a cohort file may have {max_mib:g} MiB (population.max_mib), got {size:,.0f} in "
            f"{path!r}"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"a cohort file must be UTF-8, got byte {fault.object[fault.start]:#04x} at place "
            f"{fault.start} of {path!r}"
        ) from fault
    rows = _csv(text, path) if kind == "CSV" else _json(text, path)
    if not rows:
        raise ValueError(f"a cohort needs at least one row, got none in {path!r}")
    _check_columns(list(rows[0]), path)
    members = [_member(theory, n, row, path) for n, row in enumerate(rows, start=1)]
    _check_ids(members, path)
    return members


def _csv(text: str, path: str) -> list[Row]:
    """Rows by column; empty cells are None, columns of numbers alone are numbers."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as fault:
        raise ValueError(f"{path!r} is no CSV file: {fault}") from fault
    if not lines:
        return []
    names = [name.strip() for name in lines[0]]
    for n, line in enumerate(lines[1:], start=1):
        if len(line) != len(names):
            raise ValueError(f"row {n} of {path!r} must have {len(names)} cells, got {len(line)}")
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"every column of {path!r} needs a name of its own, got {name!r} twice")
    columns = {}
    for name, cells in zip(names, zip(*lines[1:], strict=True), strict=False):
        cells = [cell.strip() or None for cell in cells]
        columns[name] = cells if name in OURS else _numbers(cells)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _numbers(cells: Sequence[str | None]) -> Sequence[Any]:
    """Numbers where every cell is one as numbers are written; 007 or 1e5 stay texts."""
    known = [cell for cell in cells if cell is not None]
    for kind, form in ((int, WHOLE), (float, DECIMAL)):
        if known and all(form.fullmatch(cell) for cell in known):
            return [None if cell is None else kind(cell) for cell in cells]
    return cells


def _json(text: str, path: str) -> list[Row]:
    try:
        rows = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"{path!r} is no JSON file: {fault}") from fault
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path!r} must hold a JSON list of objects, one for each member")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for n, row in enumerate(rows, start=1):
        for name, cell in row.items():
            if name != "profile" and isinstance(cell, list | dict):
                raise ValueError(
                    f"row {n}, column {name!r} of {path!r} must be a text, a number, true, false "
                    f"or null, got {json.dumps(cell)[:60]}"
                )
    for name in set(names) - set(OURS):
        cells = [row.get(name) for row in rows]
        kinds = {_kind(cell) for cell in cells} - {None}
        if len(kinds) > 1 or kinds == {BEYOND}:
            raise ValueError(
                f"column {name!r} of {path!r} must hold one kind of value, got "
                f"{' and '.join(sorted(map(str, kinds)))}"
            )
        if any(isinstance(cell, float) for cell in cells):
            rows = [row | {name: _real(row.get(name))} for row in rows]
    return [{name: row.get(name) for name in names} for row in rows]


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"an object must have each name once, got {name!r} twice")
    return dict(pairs)


def _no_number(got: str) -> None:
    raise ValueError(f"a number must be finite, got {got}")


def _kind(cell: Any) -> str | None:
    """What a JSON value is; a number that 64 bits do not hold is of no kind that tables have."""
    if cell is None:
        return None
    if isinstance(cell, bool):
        return "true or false"
    if isinstance(cell, str):
        return "text"
    held = math.isfinite(cell) if isinstance(cell, float) else -(2**63) <= cell < 2**63
    return "number" if held else BEYOND


def _real(cell: float | None) -> float | None:
    return None if cell is None else float(cell)


def _check_columns(names: Sequence[str], path: str) -> None:
    for name in names:
        if (meant := name.strip().lower()) in OURS and name != meant:
            raise ValueError(f"column {name!r} of {path!r} must be written {meant!r}: it is ours")
    if not {"value", "target", "profile"} & set(names):
        raise ValueError(
            f"a cohort needs a column value, target or profile, got {', '.join(names)} in {path!r}"
        )
    for place, name in enumerate(names, start=1):
        if not name:
            raise ValueError(f"every column of {path!r} needs a name, column {place} has none")
        if name in TAKEN:
            raise ValueError(f"column {name!r} of {path!r} must have another name: it is ours")


def _member(theory: Theory | Values, n: int, row: Row, path: str) -> Member:
    """The member of row `n`, 1 being the first below the header."""

    def fault(column: str, rule: str) -> ValueError:
        got = repr(row[column])
        got = got if len(got) <= SHOWN else f"{got[:SHOWN]}..."
        return ValueError(f"row {n}, column {column!r} of {path!r} {rule}, got {got}")

    for column, cell in row.items():
        if isinstance(cell, str) and not _encodable(cell):
            raise fault(column, "must be text that can be written as UTF-8")
    number = row.get("id")
    if isinstance(number, bool) or (isinstance(number, str) and not number.strip()):
        raise fault("id", "must be a name or a number, or null")
    name = f"{n:04d}" if number is None else str(number)
    value, target, profile = (row.get(k) for k in ("value", "target", "profile"))
    if target is not None:
        try:
            written = not isinstance(target, str) or ANGLE.fullmatch(target.strip())
            target = float(target) if written and not isinstance(target, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            target = math.nan
        if not -180 <= target <= 180:
            raise fault("target", "must be an angle, -180..180 degrees")
    model = row.get("model")
    cohort = {k: v for k, v in row.items() if k not in OURS}
    more = {"model": None if model is None else str(model), "cohort": cohort}
    if profile is not None:
        if value is not None or target is not None:
            raise fault("profile", "must stand alone, without value and target")
        return _mixed(theory, name, profile, lambda rule: fault("profile", rule), more)
    if value is None and target is None:
        raise ValueError(f"row {n} of {path!r} must have a value, a target or a profile, got none")
    if value is None:
        assert target is not None  # checked above
        if isinstance(theory, Values):
            raise fault("target", f"must be empty: theory {theory.name} has no angles")
        return Member(name, f"{plain(target)}deg", target, **more)
    if value == CONTROL:
        if target is not None:
            raise fault("target", "must be empty for a control")
        return Member(name, **more)
    try:
        known = theory.member(str(value), name)
    except ValueError as told:
        raise ValueError(f"row {n}, column 'value' of {path!r}: {told}") from told
    if target is not None and known.target is None:
        raise fault("target", f"must be empty: theory {theory.name} has no angles")
    angle = known.target if target is None else target
    return Member(name, known.value, angle, known.definition, known.profile, **more)


def _encodable(text: str) -> bool:
    """Whether it is free of lone surrogates, which JSON can name but no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mixed(
    theory: Theory | Values, name: str, profile: Any, fault: Any, more: Mapping[str, Any]
) -> Member:
    if isinstance(profile, str):
        try:
            profile = json.loads(profile, object_pairs_hook=_once, parse_constant=_no_number)
        except (ValueError, RecursionError) as told:
            raise fault(f"must be a JSON object of orientations and weights ({told})") from told
    if not isinstance(profile, dict):
        raise fault("must be a JSON object of orientations and weights")
    try:
        mixture = theory.mixture(profile, name)
    except ValueError as told:
        raise fault(f"is refused: {told}") from told
    return Member(name, mixture.value, mixture.target, mixture.definition, mixture.profile, **more)


def _check_ids(members: Sequence[Member], path: str) -> None:
    rows: dict[str, int] = {}
    for n, member in enumerate(members, start=1):
        if member.name in rows:
            raise ValueError(
                f"every id of {path!r} must be there once, got {member.name!r} in rows "
                f"{rows[member.name]} and {n}"
            )
        rows[member.name] = n

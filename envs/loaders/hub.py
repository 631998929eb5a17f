"""Dilemmas from a data set of the Hugging Face hub, in one of the formats read from files."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.dilemma import Collection, Dilemma
from envs.loaders import jsonl, mmds

FORMS = ("mmds", "jsonl")


def load(
    id: str,
    split: str,
    revision: str,
    form: str,
    name: str | None = None,
    subset: str | None = None,
) -> Collection:
    """Dilemmas of one split of a data set; needs the extra `hub`.

    Args:
        id: of the data set, owner/name; no path (a folder has no commit).
        split: of it.
        revision: the commit, 40 hexadecimal digits: branches and tags move.
        form: how its rows are made: mmds or jsonl.
        name: of the collection; None: the last part of `id`.
        subset: of the data set, where it has several ("configs"); None: its default.

    Raises:
        ValueError: `datasets` is not installed, the data set cannot be had, or a row is not as it
            should be.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if not isinstance(revision, str) or not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError(
            f"revision must be a commit of 40 hexadecimal digits, which cannot move, got "
            f"{revision!r}"
        )
    if Path(id).exists():
        raise ValueError(f"id must name a data set of the hub, got a path on this machine, {id!r}")
    try:
        import datasets
    except ImportError as fault:
        raise ValueError(
            f"dilemmas=hub needs the extra hub: pip install -e '.[hub]' ({fault})"
        ) from fault
    source = f"{id}@{revision}/{f'{subset}/' if subset else ''}{split}"
    try:
        found = datasets.load_dataset(id, name=subset, split=split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as fault:
        raise ValueError(f"the data set {source!r} cannot be had: {fault}") from fault
    return collection([dict(row) for row in found], form, name or id.split("/")[-1], source)


def collection(rows: Sequence[Mapping[str, Any]], form: str, name: str, source: str) -> Collection:
    """Dilemmas of rows, null where a row lacks what another one has.

    Raises:
        ValueError: with source, row and field, for whatever is not as it should be.
    """
    try:
        text = json.dumps(rows, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except TypeError as fault:
        raise ValueError(f"rows of {source!r} must be texts, numbers and lists: {fault}") from fault
    if form == "mmds":
        dilemmas, n_dropped = mmds.read([tuple(row.items()) for row in rows], source)
    else:
        dilemmas, n_dropped = _ours(rows, source)
    checksums = {source: hashlib.sha256(text.encode()).hexdigest()}
    return Collection(name, dilemmas, n_dropped, checksums)


def _ours(rows: Sequence[Mapping[str, Any]], source: str) -> tuple[tuple[Dilemma, ...], int]:
    dilemmas = dict[str, Dilemma]()
    for n, row in enumerate(rows, start=1):
        same = json.dumps(row, sort_keys=True)
        if same not in dilemmas:
            dilemmas[same] = jsonl.dilemma(row, f"row {n} of {source!r}")
    return tuple(dilemmas.values()), len(rows) - len(dilemmas)

"""A small study that a stand-in server answers: played, resumed, and what its journal holds."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import polars as pl
from stand_in_replies import Ask

N_ITEMS = 6  # of the study: requests of each agent, where every reply is read
KEYS = ["episode", "step", "seat"]
MEASURED = ["cached_tokens", "latency_s"]  # differ from run to run


def words(folder: Path, agents: int, *more: str, **calls: Any) -> tuple[str, ...]:
    """Overrides of the study, in which every request has a seed of its own."""
    return (
        "~experiment", "model=openai", "model.model=stand-in", "model.key_env=null",
        "agent=definition", "population=shares", f"population.n={agents}",
        "env.option_order=shuffled", "conversation=separate", "n_reasks=0", "analysis=[]",
        "display=false", f"hydra.run.dir={folder}", *more,
        *(f"model.calls.{name}={value}" for name, value in calls.items()),
    )  # fmt: skip


def several(folder: Path, first: str, second: str, *more: str) -> tuple[str, ...]:
    """Overrides of a study with two models at two servers."""
    told = ["~experiment", "model=several", "model.models.pocket=null", "model.models.rules=null"]
    told += ["population=by_model", "population.parts.pocket=null", "population.parts.rules=null"]
    for name, url in (("one", first), ("two", second)):
        at = f"model.models.{name}"
        told += [f"+model@{at}=openai", f"{at}.model={name}", f"{at}.key_env=null"]
        told += [f"{at}.base_url={url}", f"{at}.calls.backoff=0.01"]
        told += [f"+population@population.parts.{name}=shares", f"population.parts.{name}.n=10"]
    told += ["agent=definition", "analysis=[]", "display=false", f"hydra.run.dir={folder}"]
    return (*told, *more)


class Played(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def here(told: Sequence[str], url: str) -> Played:
    """Plays in this process, which saves a second and a half."""
    from sim.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["sim", *told]),
        mock.patch.dict(os.environ, OPENAI_BASE_URL=url),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = main()
    return Played(status, out.getvalue(), err.getvalue())


def started(told: Sequence[str], url: str, before: str = "") -> subprocess.Popen:
    """Starts a process that plays; `before` is said to the shell first."""
    command: list[str] = [sys.executable, "-m", "sim", *told]
    if before:
        command = ["bash", "-c", f'{before}; exec "$@"', "bash", *command]
    return subprocess.Popen(
        command, env=os.environ | {"OPENAI_BASE_URL": url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def apart(told: Sequence[str], url: str, before: str = "") -> Played:
    """Plays in a process of its own."""
    process = started(told, url, before)
    out, err = process.communicate(timeout=900)
    return Played(process.returncode, out, err)


# -- what is left of a run ---------------------------------------------------------------------


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as db:
        yield db


def n_answered(folder: Path) -> int:
    """Slots that the journal holds; 0 where there is none yet."""
    if not (folder / "journal.sqlite").exists():
        return 0
    with opened(folder) as db:
        try:
            return db.execute("SELECT count(*) FROM slots").fetchone()[0]
        except sqlite3.OperationalError:  # killed before the schema was made
            return 0


class Known:
    """Requests that a journal holds replies to, by the names that a stand-in has for them."""

    def __init__(self, folder: Path):
        self._folder, self._last = folder, 0
        self._said: dict[bytes, list] = {}  # conversations up to each reply, by key
        self.identities: set[str] = set()

    def update(self) -> set[str]:
        """Reads what is new."""
        with opened(self._folder) as db:
            rows = db.execute(
                "SELECT id, key, parent, messages, draw, text FROM requests "
                "JOIN replies ON request = id WHERE id > ? ORDER BY id",
                (self._last,),
            )
            for id_, key, parent, new, draw, text in rows:
                asked = [*(self._said[parent] if parent else []), *json.loads(new)]
                messages = [{"role": role, "content": content} for role, content in asked]
                body = json.dumps({"messages": messages, "seed": draw})
                self.identities.add(Ask(body.encode(), b"0").identity.hex())
                self._said[key] = [*asked, ["assistant", text]]
                self._last = id_
        return self.identities


def replies(folder: Path) -> dict[tuple, tuple]:
    """(key, text, error) by slot."""
    with opened(folder) as db:
        rows = db.execute(
            "SELECT episode, seat, step, turn, attempt, key, text, error FROM slots "
            "JOIN requests ON slots.request = requests.id JOIN replies USING (request)"
        ).fetchall()
    found = {row[:5]: row[5:] for row in rows}
    assert len(found) == len(rows)
    return found


def failures(folder: Path) -> tuple[Counter, Counter]:
    """Failed calls by kind: all, and those that the server may have worked for."""
    with opened(folder) as db:
        rows = db.execute("SELECT kind, cost IS NOT NULL FROM failures").fetchall()
    return Counter(kind for kind, _ in rows), Counter(kind for kind, paid in rows if paid)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def decisions(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "decisions.parquet")


def tables(folder: Path) -> list[Any]:
    """What equal runs have equal: bytes, but for what is measured."""
    turns = pl.read_parquet(folder / "turns.parquet").drop(MEASURED)
    names = ("decisions", "items", "agents")
    return [*((folder / f"{n}.parquet").read_bytes() for n in names), turns.write_json()]

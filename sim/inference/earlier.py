"""Replies of earlier runs: their journals as a cache."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sim.errors import Refusal
from sim.inference.base import Reply
from sim.journal import reading, reply_at
from sim.journal_schema import SCHEMA_VERSION


class Earlier:
    """Answers requests that an earlier run asked: equal in all that a reply depends on.

    The key holds the model, the conversation, the response mode, the sampling and the seed, so
    only what draws nothing, or draws with the same seed, is found.

    Args:
        paths: run folders, or their journals; of two that answer, the first named is used.

    Raises:
        Refusal: one is no journal that can be read.
    """

    def __init__(self, paths: Sequence[Path]):
        self._journals: list[sqlite3.Connection] = []
        for file in files(paths):
            try:
                self._journals.append(_opened(file))
            except sqlite3.DatabaseError as fault:
                raise Refusal(f"reuse: journal {file} cannot be read: {fault}") from fault

    def get(self, key: bytes) -> Reply | None:
        """The reply to the request of a key, as it was journalled."""
        for journal in self._journals:
            found = journal.execute("SELECT id FROM earlier WHERE key = ?", (key,)).fetchone()
            if found is not None:
                return reply_at(journal, found[0])
        return None

    def close(self) -> None:
        """Ends the use of the journals."""
        for journal in self._journals:
            journal.close()
        self._journals.clear()


def files(paths: Sequence[Path]) -> list[Path]:
    """Journals of run folders, or those named.

    Raises:
        Refusal: there is none.
    """
    found = [path / "journal.sqlite" if path.is_dir() else path for path in paths]
    for path, file in zip(paths, found, strict=True):
        if not file.is_file():
            raise Refusal(f"reuse must name run folders with a journal, got {path}")
    return found


def _opened(file: Path) -> sqlite3.Connection:
    journal = reading(file)
    (version,) = journal.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        journal.close()
        raise Refusal(
            f"reuse: journal {file} must have schema version {SCHEMA_VERSION}, got {version}; "
            f"resuming its run brings an older one up to date"
        )
    # A failed call is no answer.
    journal.executescript(
        "CREATE TEMP TABLE earlier (key BLOB PRIMARY KEY, id INTEGER) WITHOUT ROWID;"
        "INSERT OR IGNORE INTO earlier SELECT key, id FROM requests "
        "JOIN replies ON request = id WHERE error IS NULL;"
    )
    return journal

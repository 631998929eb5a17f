"""The journal: every reply is committed here before it is used.

Append-only SQLite. `requests` holds what was new in a question and the key of the request
whose reply it continues, so that prompts are not repeated; `replies` what came back; `slots`
which question of the run used which request.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from pathlib import Path

from sim.errors import Refusal
from sim.inference.base import Reply, Request, Slot

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, parent BLOB, messages TEXT NOT NULL,
    mode TEXT NOT NULL, labels TEXT, draw INTEGER NOT NULL);
CREATE TABLE replies (
    request INTEGER PRIMARY KEY REFERENCES requests, text TEXT NOT NULL, reasoning TEXT,
    finish_reason TEXT, error TEXT, option_logprobs TEXT, prompt_tokens INTEGER,
    cached_tokens INTEGER, output_tokens INTEGER, latency_s REAL);
CREATE TABLE slots (
    episode INTEGER, seat INTEGER, step INTEGER, turn INTEGER, attempt INTEGER,
    request INTEGER NOT NULL REFERENCES requests,
    PRIMARY KEY (episode, seat, step, turn, attempt)) WITHOUT ROWID;
CREATE INDEX greedy ON requests (key) WHERE draw = 0;
"""
_JOINED = """SELECT requests.key, replies.text, reasoning, finish_reason, error, option_logprobs,
    prompt_tokens, cached_tokens, output_tokens, latency_s
    FROM requests JOIN replies ON replies.request = requests.id"""

_SLOTS = "INSERT INTO slots VALUES (?,?,?,?,?,?)"


@dataclass(slots=True)
class Entry:
    """A journalled reply and the key of the request that it answers."""

    key: bytes
    reply: Reply


_labels_json = lru_cache(json.dumps)


def _encode(text: str | None) -> str | None:
    # Lone surrogates are no UTF-8: a model may send them, SQLite cannot keep them.
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _new_messages(request: Request) -> tuple[bytes | None, str]:
    """(key of the request that this one continues, the messages since its reply as JSON)."""
    new, message = [], request.message
    while message is not None and message.role != "assistant":
        # By hand: json.dumps builds an encoder at every call, several times the work.
        new.append(f"[{_quoted(message.role)}, {_quoted(message.content)}]")
        message = message.parent
    return None if message is None else message.key, f"[{', '.join(new[::-1])}]"


class Journal:
    """A run's journal, opened for one process.

    Args:
        path: of the file; made if missing.
        fsync: safe against power loss too, at the price of speed; without it the journal
            survives the death of the process.

    Raises:
        Refusal: schema of another version, or no journal at all.
    """

    def __init__(self, path: Path, fsync: bool):
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if fsync else 'NORMAL'}")
            # 32 MiB of log before it is folded in, 64 MiB of pages in memory.
            self._db.execute("PRAGMA wal_autocheckpoint=8192")
            self._db.execute("PRAGMA cache_size=-65536")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._db.executescript(
                    f"BEGIN;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
                )
            elif version != SCHEMA_VERSION:
                raise Refusal(
                    f"journal {path} must have schema version {SCHEMA_VERSION}, got {version}"
                )
            (last,) = self._db.execute("SELECT max(id) FROM requests").fetchone()
        except Refusal:
            self._db.close()
            raise
        except sqlite3.DatabaseError as fault:
            self._db.close()
            raise Refusal(f"journal {path} cannot be used: {fault}") from fault
        self._last = last or 0

    @property
    def empty(self) -> bool:
        """Whether nothing was ever recorded."""
        return self._last == 0

    def at(self, slot: Slot) -> Entry | None:
        """What was answered at a slot, or None."""
        return self._one(
            "JOIN slots ON slots.request = requests.id WHERE (episode, seat, step, turn, attempt)"
            " = (?, ?, ?, ?, ?)",
            slot,
        )

    def greedy(self, key: bytes) -> tuple[int, Reply] | None:
        """Id and reply of an answered request that draws nothing, by key.

        A failed call is no answer: it stays where it failed.
        """
        row = self._db.execute(
            "SELECT id FROM requests JOIN replies ON request = id "
            "WHERE key = ? AND draw = 0 AND error IS NULL",
            (key,),
        )
        found = row.fetchone()
        if found is None:
            return None
        entry = self._one("WHERE requests.id = ?", found)
        return None if entry is None else (found[0], entry.reply)

    def _one(self, where: str, values: tuple) -> Entry | None:
        row = self._db.execute(f"{_JOINED} {where}", values).fetchone()
        if row is None:
            return None
        logprobs = None if row[5] is None else json.loads(row[5])
        return Entry(row[0], Reply(row[1], row[2], row[3], row[4], logprobs, *row[6:]))

    def record(self, answered: Iterable[tuple[Request, Reply, list[Slot]]]) -> None:
        """Commits answered requests, each with all the slots that it answers, in one piece."""
        requests, replies, slots = [], [], []
        for request, reply, places in answered:
            self._last += 1
            parent, new = _new_messages(request)
            labels = None if request.labels is None else _labels_json(request.labels)
            draw = request.seed or 0
            requests.append(
                (self._last, request.key, parent, _encode(new), request.mode, labels, draw)
            )
            logprobs = None if reply.option_logprobs is None else json.dumps(reply.option_logprobs)
            replies.append(
                (self._last, reply.text, reply.reasoning, reply.finish_reason, reply.error,
                 logprobs, reply.prompt_tokens, reply.cached_tokens, reply.output_tokens,
                 reply.latency_s)
            )  # fmt: skip
            slots += [(*slot, self._last) for slot in places]
        self._commit(
            ("INSERT INTO requests VALUES (?,?,?,?,?,?,?)", requests),
            ("INSERT INTO replies VALUES (?,?,?,?,?,?,?,?,?,?)", replies),
            (_SLOTS, slots),
        )

    def share(self, slots: Iterable[tuple[Slot, int]]) -> None:
        """Commits slots that an earlier request, given by id, answers."""
        self._commit((_SLOTS, [(*slot, id_) for slot, id_ in slots]))

    def _commit(self, *inserts: tuple[str, list[tuple]]) -> None:
        self._db.execute("BEGIN")
        try:
            for statement, rows in inserts:
                self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as fault:
            raise OSError(f"journal {self.path} cannot be written: {fault}") from fault
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        return {
            table: self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("requests", "replies", "slots")
        }

    def close(self) -> None:
        """Ends the use of the file; everything committed is already there."""
        self._db.close()


def clean(reply: Reply) -> Reply:
    """The reply with texts as the journal will give them back."""
    if reply.text.isascii() and reply.reasoning is None and reply.error is None:
        return reply  # nearly all of them
    names = ("text", "reasoning", "finish_reason", "error")
    return replace(reply, **{name: _encode(getattr(reply, name)) for name in names})

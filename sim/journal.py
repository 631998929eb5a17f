"""The journal: every reply is committed here before it is used.

Append-only SQLite. `requests` holds what was new in a question and the key of the request
whose reply it continues, so that prompts are not repeated; `replies` what came back; `slots`
which question of the run used which request; `failures` calls that brought no reply, and what
they may have cost (null: surely nothing). `held` alone is rewritten: what calls in flight may cost.
"""

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from pathlib import Path
from typing import NamedTuple

from sim.errors import Refusal
from sim.inference.base import Failure, Reply, Request, Slot
from sim.journal_schema import bring_up

_JOINED = """SELECT requests.key, replies.text, reasoning, finish_reason, error, option_logprobs,
    prompt_tokens, cached_tokens, output_tokens, latency_s, reasoning_tokens, cost
    FROM requests JOIN replies ON replies.request = requests.id"""

_SLOTS = "INSERT INTO slots VALUES (?,?,?,?,?,?)"
_FAILURES = "INSERT INTO failures VALUES (?,?,?,?,?,?,?,?)"


@dataclass(slots=True)
class Entry:
    """A journalled reply and the key of the request that it answers."""

    key: bytes
    reply: Reply


TOKENS = "prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"


class Paid(NamedTuple):
    """What calls came to.

    Attributes:
        n: replies that were asked for and came.
        tokens: theirs, by column of `replies`.
        cost: picos, of those whose tokens were counted.
        n_unknown: replies whose tokens were not.
        n_unpriced: replies whose cost is not known at all.
        n_reused: replies of earlier runs.
        failures: calls that brought no reply, by kind.
        n_maybe: of these, those that the server may have worked for.
        most: that these, and replies that were not counted, may have cost, picos.
    """

    n: int
    tokens: dict[str, int]
    cost: int
    n_unknown: int
    n_unpriced: int
    n_reused: int
    failures: dict[str, int]
    n_maybe: int
    most: int


_labels_json = lru_cache(json.dumps)


def _encode(text: str | None) -> str | None:
    # Lone surrogates are no UTF-8: a model may send them, SQLite cannot keep them.
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _failure(slot: Slot, one: Failure) -> tuple:
    return (*slot, one.kind, _encode(one.told), one.cost)


def _new_messages(request: Request) -> tuple[bytes | None, str]:
    """(key of the request that this one continues, the messages since its reply as JSON)."""
    new, message = [], request.message
    while message is not None and message.role != "assistant":
        # By hand: json.dumps builds an encoder at every call, several times the work.
        new.append(f"[{_quoted(message.role)}, {_quoted(message.content)}]")
        message = message.parent
    return None if message is None else message.key, f"[{', '.join(new[::-1])}]"


def _entry(db: sqlite3.Connection, where: str, values: tuple) -> Entry | None:
    row = db.execute(f"{_JOINED} {where}", values).fetchone()
    if row is None:
        return None
    logprobs = None if row[5] is None else json.loads(row[5])
    return Entry(row[0], Reply(row[1], row[2], row[3], row[4], logprobs, *row[6:]))


def reading(path: Path) -> sqlite3.Connection:
    """A journal for reading, while another process may write it.

    Where the folder cannot be written, nobody else writes: then it needs no files beside it.
    """
    mode = "rw" if os.access(path.parent, os.W_OK) else "ro&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)


def reply_at(db: sqlite3.Connection, id_: int) -> Reply:
    """The reply to the request of an id."""
    entry = _entry(db, "WHERE requests.id = ?", (id_,))
    assert entry is not None
    return entry.reply


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
            bring_up(self._db, path)
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
        return _entry(self._db, where, values)

    def record(
        self,
        answered: Iterable[tuple[Request, Reply, list[Slot]]],
        failures: Iterable[tuple[Slot, Failure]] = (),
        reused: int | None = None,
    ) -> None:
        """Commits answered requests, each with all the slots that it answers, in one piece.

        `failures` are calls that brought no reply; `reused` is 1 for replies of another run.
        """
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
                 reply.latency_s, reply.reasoning_tokens, reply.cost, reused)
            )  # fmt: skip
            slots += [(*slot, self._last) for slot in places]
        self._commit(
            ("INSERT INTO requests VALUES (?,?,?,?,?,?,?)", requests),
            ("INSERT INTO replies VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", replies),
            (_SLOTS, slots),
            (_FAILURES, [_failure(slot, one) for slot, one in failures]),
        )

    def hold(self, most: int) -> None:
        """Commits that calls in flight may cost so much, picos, from now on."""
        self._commit(("DELETE FROM held", [()]), ("INSERT INTO held VALUES (?)", [(most,)]))

    def held(self) -> int:
        """What calls in flight may have cost when the process died; 0 where it ended in order."""
        found = self._db.execute("SELECT most FROM held").fetchone()
        return 0 if found is None else found[0]

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

    def paid(self) -> Paid:
        """What the calls of the run came to so far, in all attempts; of reused replies nothing."""
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in TOKENS)
        *tokens, n, unpriced, cost, unknown, most, reused = self._db.execute(
            f"""SELECT {sums}, count(*) FILTER (WHERE error IS NULL),
                coalesce(sum(cost IS NULL), 0),
                coalesce(sum(cost) FILTER (WHERE counted), 0),
                coalesce(sum(NOT counted), 0),
                coalesce(sum(cost) FILTER (WHERE NOT counted), 0),
                (SELECT count(*) FROM replies WHERE reused)
            FROM (SELECT *, prompt_tokens IS NOT NULL OR cost IS 0 AS counted
                FROM replies WHERE reused IS NULL)"""
        ).fetchone()
        failures = self._db.execute(
            """SELECT kind, count(*), count(cost), coalesce(sum(cost), 0)
            FROM failures GROUP BY kind ORDER BY kind"""
        ).fetchall()
        return Paid(
            n, dict(zip(TOKENS, tokens, strict=True)), cost, unknown, unpriced, reused,
            {kind: n for kind, n, _, _ in failures},
            sum(row[2] for row in failures), most + sum(row[3] for row in failures),
        )  # fmt: skip

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
    said = f"{reply.text}{reply.finish_reason}"
    if said.isascii() and reply.reasoning is None and reply.error is None:
        return reply  # nearly all of them
    names = ("text", "reasoning", "finish_reason", "error")
    return replace(reply, **{name: _encode(getattr(reply, name)) for name in names})

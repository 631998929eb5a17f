"""Whole conversations, read back from a run's journal."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from sim.journal import reading
from sim.tables import load

_TURNS = """SELECT slots.step, slots.turn, slots.attempt, requests.key, requests.messages,
    replies.text, replies.reasoning, replies.error
    FROM slots JOIN requests ON requests.id = slots.request
    JOIN replies ON replies.request = slots.request
    WHERE slots.episode = ? ORDER BY step, turn, attempt"""


def transcript(run: Path, agent_id: str) -> list[dict[str, Any]]:
    """One agent's conversation: dictionaries with episode, step, kind, role and text, in order.

    Raises:
        ValueError: unknown agent, one that spoke with no model, or no journal to read.
    """
    if not (run / "turns.parquet").exists():
        raise ValueError(f"a transcript needs a complete run, got {run}")
    tables = load(run)
    if agent_id not in tables.agents["agent_id"]:
        some = ", ".join(tables.agents["agent_id"].head(3))
        raise ValueError(f"agent must be in {run} (for instance {some}), got {agent_id!r}")
    turns = tables.turns.filter(pl.col("agent_id") == agent_id)
    rows = turns.select("episode", "step", "turn", "try", "request", "kind").collect()
    if rows.is_empty():
        raise ValueError(f"agent {agent_id!r} of {run} is scripted and has no conversation")
    try:
        with closing(reading(run / "journal.sqlite")) as journal:
            return [
                part for e in rows["episode"].unique().sort() for part in _said(journal, e, rows)
            ]
    except sqlite3.Error as fault:
        raise ValueError(f"journal of {run} cannot be read: {fault}") from fault


def _said(journal: sqlite3.Connection, episode: int, rows: pl.DataFrame) -> list[dict[str, Any]]:
    kinds = {row[1:5]: row[5] for row in rows.filter(episode=episode).iter_rows()}
    said = []
    for *place, key, messages, text, reasoning, error in journal.execute(_TURNS, (episode,)):
        # Others' turns of the same episode stand there too.
        kind = kinds.pop((*place, key.hex()), None)
        if kind is None:
            continue
        about = {"episode": episode, "step": place[0], "kind": kind}
        said += [about | {"role": r, "text": t} for r, t in json.loads(messages)]
        if reasoning:
            said.append(about | {"role": "reasoning", "text": reasoning})
        role, text = ("error", error) if error else ("assistant", text)
        said.append(about | {"role": role, "text": text})
    return said


def samples(run: Path, most: int) -> list[dict[str, Any]]:
    """Conversations of the first agent of up to `most` conditions (kind and value)."""
    agents = load(run).agents.filter(pl.col("model").is_not_null())
    first = agents.group_by("agent", "value", maintain_order=True).first().head(most)
    return [{"agent_id": a, "turns": transcript(run, a)} for a in first["agent_id"]]


def as_text(said: list[dict[str, Any]]) -> str:
    """A conversation for the terminal, control characters made visible."""
    lines = []
    for turn in said:
        lines.append(f"--- step {turn['step']}, {turn['kind']}: {turn['role']}")
        safe = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in turn["text"])
        lines.append(safe)
    return "\n".join(lines)

"""Whole conversations, read back from a run's journal."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl

from sim.tables import load

_TURNS = """SELECT slots.step, slots.turn, slots.attempt, requests.messages, replies.text,
    replies.reasoning, replies.error
    FROM slots JOIN requests ON requests.id = slots.request
    JOIN replies ON replies.request = slots.request
    WHERE slots.episode = ? AND slots.seat = ? ORDER BY step, turn, attempt"""


def transcript(run: Path, agent_id: str) -> list[dict[str, Any]]:
    """One agent's conversation: dictionaries with step, kind, role and text, in order.

    Raises:
        ValueError: unknown agent, or one that spoke with no model.
    """
    tables = load(run)
    if agent_id not in tables.agents["agent_id"]:
        some = ", ".join(tables.agents["agent_id"].head(3))
        raise ValueError(f"agent must be in {run} (for instance {some}), got {agent_id!r}")
    turns = tables.turns.filter(pl.col("agent_id") == agent_id)
    rows = turns.select("episode", "seat", "step", "turn", "try", "kind").collect()
    if rows.is_empty():
        raise ValueError(f"agent {agent_id!r} of {run} is scripted and has no conversation")
    kinds = {row[:1] + row[2:5]: row[5] for row in rows.iter_rows()}
    seats = tables.decisions.select("seat").unique().collect()["seat"].sort().to_list()
    said = []
    journal = sqlite3.connect(f"file:{run / 'journal.sqlite'}?mode=ro", uri=True)
    try:
        for episode, seat in rows.select("episode", "seat").unique(maintain_order=True).rows():
            for step, turn, attempt, messages, text, reasoning, error in journal.execute(
                _TURNS, (episode, seats.index(seat))
            ):
                about = {
                    "episode": episode, "step": step,
                    "kind": kinds[(episode, step, turn, attempt)],
                }  # fmt: skip
                said += [about | {"role": r, "text": t} for r, t in json.loads(messages)]
                if reasoning:
                    said.append(about | {"role": "reasoning", "text": reasoning})
                role, text = ("error", error) if error else ("assistant", text)
                said.append(about | {"role": role, "text": text})
    finally:
        journal.close()
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

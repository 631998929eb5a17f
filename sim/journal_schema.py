"""Tables of a journal, and how journals of older versions get them."""

import sqlite3
from pathlib import Path

from sim.errors import Refusal

SCHEMA_VERSION = 2
MONEY = """
CREATE TABLE failures (
    episode INTEGER, seat INTEGER, step INTEGER, turn INTEGER, attempt INTEGER,
    kind TEXT NOT NULL, told TEXT NOT NULL, cost INTEGER);
CREATE TABLE held (most INTEGER NOT NULL);
"""
# What a version lacked, to be added to its journals.
UPGRADES = {
    1: f"""
ALTER TABLE replies ADD COLUMN reasoning_tokens INTEGER;
ALTER TABLE replies ADD COLUMN cost INTEGER;
ALTER TABLE replies ADD COLUMN reused INTEGER;
UPDATE replies SET cost = 0;{MONEY}"""
}
SCHEMA = f"""
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, parent BLOB, messages TEXT NOT NULL,
    mode TEXT NOT NULL, labels TEXT, draw INTEGER NOT NULL);
CREATE TABLE replies (
    request INTEGER PRIMARY KEY REFERENCES requests, text TEXT NOT NULL, reasoning TEXT,
    finish_reason TEXT, error TEXT, option_logprobs TEXT, prompt_tokens INTEGER,
    cached_tokens INTEGER, output_tokens INTEGER, latency_s REAL, reasoning_tokens INTEGER,
    cost INTEGER, reused INTEGER);
CREATE TABLE slots (
    episode INTEGER, seat INTEGER, step INTEGER, turn INTEGER, attempt INTEGER,
    request INTEGER NOT NULL REFERENCES requests,
    PRIMARY KEY (episode, seat, step, turn, attempt)) WITHOUT ROWID;
CREATE INDEX greedy ON requests (key) WHERE draw = 0;{MONEY}"""


def bring_up(db: sqlite3.Connection, path: Path) -> None:
    """Makes the tables of a new journal, adds those that an older one lacks, looks for damage.

    Raises:
        Refusal: a newer version wrote it, or it is damaged.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    done = f"PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
    if version == 0:
        db.executescript(f"BEGIN;{SCHEMA}{done}")
    elif version in UPGRADES:
        db.executescript(f"BEGIN;{UPGRADES[version]}{done}")
    elif version != SCHEMA_VERSION:
        newer = ": a newer version of this project wrote it"
        raise Refusal(
            f"journal {path} must have schema version {SCHEMA_VERSION}, got {version}"
            f"{newer if version > SCHEMA_VERSION else ''}"
        )
    (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise Refusal(f"journal {path} is damaged: {' '.join(sound.split())}")

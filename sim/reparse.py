"""Reads the recorded replies of a run again, with today's reader; asks no model.

Tables and journal stay as they are: what changed is shown, and written to `results/reparse.csv`.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim import manifest
from sim.errors import Refusal
from sim.inference import modes
from sim.journal import reading
from sim.shown import harmless, percent
from sim.tables import load

FOUND, LOST, OTHER, STATUS = CHANGES = (
    "unread → option",
    "option → unread",
    "option → another",
    "unparsed ↔ refused",
)
WRITTEN = ["agent_id", "episode", "seat", "step", "try", "kind", "response_mode",
           "old_option", "old_status", "new_option", "new_status", "reply"]  # fmt: skip
N_EXAMPLES = 10
HEAD, TAIL = 40, 60  # characters of a reply in an example: answers tend to stand at the end
_PLACE = ["episode", "seat", "step"]
_SAID = ["response_mode", "reply", "finish_reason", "labels"]  # all that a reading depends on


def reparse(run: Path, console: Console) -> None:
    """Shows what today's reader makes of a run's replies, and writes what changed.

    Args:
        run: folder of a complete run.
        console: to print on.

    Raises:
        Refusal: the run is not complete, or its journal is missing or another run's.
    """
    status = manifest.read(run)["status"]
    if status != "complete":
        raise Refusal(f"to read replies again needs a complete run, got {run}: {status}")
    turns = _asked(run)
    failed = pl.col("error").is_not_null()
    scored = ~failed & (pl.col("response_mode") == "label")
    read = _compared(turns.filter(~failed & ~scored))
    changed = read.filter(pl.col("change").is_not_null())
    path = run / "results" / "reparse.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(changed.select(WRITTEN).write_csv())
    left_out = {
        "scored, not read": turns.select(scored.sum()).item(),
        "failed calls": turns.select(failed.sum()).item(),
    }
    besides = "".join(f"; {n:,} {what}" for what, n in left_out.items() if n)
    if changed.is_empty():
        _say(console, f"{run}: {len(read):,} replies read again, all as at the time{besides}.")
        return
    console.print(_table(str(run), read))
    _say(console, f"{len(read):,} replies read again, {len(changed):,} otherwise{besides}.")
    _say(console, _consequence(run, changed))
    nth = pl.int_range(pl.len()).over("change")  # some of each change
    for row in changed.sort(nth, maintain_order=True).head(N_EXAMPLES).iter_rows(named=True):
        _say(console, _example(row))
    n_later = changed.select((pl.col("step") < pl.col("last_step")).sum()).item()
    if n_later:
        _say(
            console,
            f"After {n_later:,} of these replies their episode went on. Where later questions tell "
            f"or depend on what was chosen or said before, re-reading cannot tell what would have "
            f"been played: python -m sim ... reuse={run} plays anew with today's reader and asks "
            f"only what this run did not.",
        )
    _say(console, str(path))


def _say(console: Console, line: str) -> None:
    """Prints a line as it is: a path is not to be broken, brackets are no markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _asked(run: Path) -> pl.DataFrame:
    """The turns in which options were offered, with their labels and what became of them."""
    if not (run / "journal.sqlite").exists():
        raise Refusal(f"to read replies again needs a run with a journal, got {run}")
    try:
        with closing(reading(run / "journal.sqlite")) as journal:
            # A key holds the labels too, so that the place of the question is not needed.
            found = journal.execute("SELECT DISTINCT lower(hex(key)), labels FROM requests")
            names = {"request": pl.String, "labels": pl.String}
            labels = pl.DataFrame(found.fetchall(), names, orient="row")
    except sqlite3.Error as fault:
        raise Refusal(f"journal of {run} cannot be read: {fault}") from fault
    tables = load(run)
    turns = tables.turns.select(
        "request", *_PLACE, "agent_id", "try", "kind", *_SAID[:-1], "error"
    ).collect()
    lost = turns.join(labels, on="request", how="anti")
    if len(lost):
        raise Refusal(f"journal of {run} must hold all its turns, {len(lost):,} are not there")
    decisions = tables.decisions.select(
        *_PLACE, "agent", "option_order", "action", "status",
        pl.col("step").max().over("episode").alias("last_step"),
    ).collect()  # fmt: skip
    return (
        turns.join(labels, on="request", how="left", maintain_order="left")
        .filter(pl.col("labels").is_not_null())
        .with_columns((pl.col("try") == pl.col("try").max().over(_PLACE)).alias("last"))
        .join(decisions, on=_PLACE, how="left", maintain_order="left")
    )


def _compared(turns: pl.DataFrame) -> pl.DataFrame:
    """What was read at the time and what is now, option numbers canonical; `change` or null."""
    said = turns.select(_SAID).unique(maintain_order=True)  # equal replies are read once
    reads = [
        modes.verdict(mode, reply, ended, tuple(json.loads(labels)))
        for mode, reply, ended, labels in said.iter_rows()
    ]
    said = said.with_columns(
        pl.Series("position", [one.option for one in reads], pl.Int64),
        pl.Series("now", [one.status for one in reads], pl.String),
    )
    again = (pl.col("now") == "ok") & (pl.col("try") > 0)
    old, new = pl.col("old_option"), pl.col("new_option")
    otherwise = pl.col("last") & old.is_null() & (pl.col("old_status") != pl.col("new_status"))
    return (
        turns.join(said, on=_SAID, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            # An earlier attempt was not read: else nothing had been asked again. Whether it was
            # unparsed or refused is not on record.
            pl.when("last").then("action").alias("old_option"),
            pl.when("last").then("status").otherwise(pl.lit("unread")).alias("old_status"),
            pl.col("option_order").list.get(pl.col("position")).alias("new_option"),
            pl.when(again).then(pl.lit("repaired")).otherwise("now").alias("new_status"),
        )
        .with_columns(
            pl.when(old.is_null() & new.is_not_null())
            .then(pl.lit(FOUND))
            .when(old.is_not_null() & new.is_null())
            .then(pl.lit(LOST))
            .when(old != new)
            .then(pl.lit(OTHER))
            .when(otherwise)
            .then(pl.lit(STATUS))
            .alias("change")
        )
    )


def _table(title: str, read: pl.DataFrame) -> Table:
    """Counts by kind of agent and response mode."""
    table = Table(title=Text(title))
    for name in ("agent", "mode"):
        table.add_column(name)
    for name in ("read", "as before", *CHANGES):
        table.add_column(name, justify="right")
    groups = read.group_by("agent", "response_mode", maintain_order=True)
    parts = [(agent, mode, part) for (agent, mode), part in groups]
    for agent, mode, part in [*parts, *([("all", "", read)] if len(parts) > 1 else [])]:
        n = dict(part["change"].value_counts().iter_rows())
        counts = [len(part), *(n.get(change, 0) for change in (None, *CHANGES))]
        table.add_row(Text(str(agent)), Text(str(mode)), *(f"{count:,}" for count in counts))
    return table


def _consequence(run: Path, changed: pl.DataFrame) -> str:
    """Unread decisions of agents that speak, at the time and if their last replies were read so."""
    spoken = load(run).decisions.filter(pl.col("model").is_not_null())
    action = spoken.select("action").collect()["action"]
    n, before = len(action), action.null_count()
    last = Counter(changed.filter("last")["change"])
    after = before - last[FOUND] + last[LOST]
    return (
        f"Unread: {before:,} of {n:,} decisions ({percent(before / n)}) at the time, {after:,} "
        f"({percent(after / n)}) if each decision's last reply were read so."
    )


def _example(row: dict) -> str:
    old, new = (
        row[f"{age}_status"] if row[f"{age}_option"] is None else f"option {row[f'{age}_option']}"
        for age in ("old", "new")
    )
    text = " ".join(row["reply"].split())
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]} ... {text[-TAIL:]}"
    place = f"{row['agent_id']}, episode {row['episode']}, step {row['step']}, try {row['try']}"
    return harmless(f'  {place}: {old} → {new}: "{text}"')

"""Writes the tables of a run while it is played, in flat memory.

Rows arrive in any order of episodes. They are kept until every earlier episode has ended, so
the files come out sorted; parts of fixed size make equal runs equal in bytes.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sim.tables import AGENTS, DECISIONS, INDICES, ITEMS, TURNS

PART_ROWS = 65_536  # of the files: a constant, since row groups show in their bytes
BATCH_ROWS = 16_384  # made into frames at once
STATUSES = ("ok", "repaired", "unparsed", "refused", "error")


@contextmanager
def _writing() -> Iterator[None]:
    """A full disk is an OSError, whatever polars calls it."""
    try:
        yield
    except pl.exceptions.PolarsError as fault:
        raise OSError(f"a table cannot be written: {str(fault).splitlines()[0]}") from fault


class _Table:
    """One sorted table on its way to a parquet file."""

    def __init__(self, folder: Path, name: str, schema: Mapping[str, Any], order: list[str]):
        self._parts = folder / ".parts" / name
        self._final = folder / f"{name}.parquet"
        self._schema, self._order = schema, order
        self._early: list[pl.DataFrame] = []  # of episodes that may not be complete
        self._due: list[pl.DataFrame] = []  # sorted, to be written
        self._n_due = self._n_parts = 0
        self._parts.mkdir(parents=True)

    def add(self, frame: pl.DataFrame) -> None:
        self._early.append(frame)

    def advance(self, first_open: int) -> None:
        """All episodes below `first_open` are complete."""
        if not self._early:
            return
        frame = pl.concat(self._early)
        complete = frame["episode"] < first_open
        self._early = [frame.filter(~complete)] if not complete.all() else []
        frame = frame.filter(complete).sort(self._order)
        self._due.append(frame)
        self._n_due += frame.height
        while self._n_due >= PART_ROWS:
            self._write(PART_ROWS)

    def _write(self, n: int) -> None:
        frame = pl.concat(self._due)
        self._due = [frame.slice(n)]
        self._n_due = max(frame.height - n, 0)
        part = frame.head(n).select(*self._schema)
        with _writing():
            part.write_parquet(self._parts / f"{self._n_parts:06d}.parquet", compression="lz4")
        self._n_parts += 1

    def close(self) -> None:
        if not self._due:
            self._due = [pl.DataFrame(schema={**self._schema, **dict.fromkeys(self._order)})]
        self._write(PART_ROWS)  # the last part may be short, or empty
        parts = pl.scan_parquet(sorted(self._parts.glob("*.parquet")))
        # Written beside and moved, so that a table that is there is whole.
        beside = self._final.with_suffix(".partial")
        with _writing():
            parts.sink_parquet(beside, compression="zstd", row_group_size=PART_ROWS)
        beside.replace(self._final)


class Recorder:
    """Decisions and turns of a run.

    Args:
        folder: of the run.
        agents: `agents.parquet`; its row numbers are the players.
        items: `item`, `instrument` and `stage`, by item number.
        seats: PettingZoo keys by seat number.
        constants: columns with one value for the whole run (env ...).
        told: further columns of each player, a table for each variant of the game:
            `context_mode`, `wording`.
    """

    def __init__(
        self,
        folder: Path,
        agents: pl.DataFrame,
        items: pl.DataFrame,
        seats: Sequence[str],
        constants: Mapping[str, str | None],
        told: Sequence[pl.DataFrame],
    ):
        shutil.rmtree(folder / ".parts", ignore_errors=True)  # of an attempt that was killed
        self._folder = folder
        names = ["agent_id", "agent", "value", "target", "method", "model"]
        self._agents = agents.select(names)
        self._told, self._items = pl.concat(told), items
        self._seats = pl.Series("seat", seats, pl.String)
        self._statuses = pl.Series("status", STATUSES, pl.String)
        self._constants = [pl.lit(v, pl.String).alias(k) for k, v in constants.items()]
        self._new_decisions: list[Mapping[str, Any]] = []
        self._new_turns: list[Mapping[str, Any]] = []
        self._n_new = self._first_open = 0
        self._decisions = _Table(folder, "decisions", DECISIONS, ["episode", "step", "seat_"])
        self._turns = _Table(folder, "turns", TURNS, ["episode", "step", "seat_", "turn", "try"])

    def decisions(self, rows: Mapping[str, Any]) -> None:
        """Closed choices, columns of equal length.

        Besides columns of `decisions.parquet`: `player`, `seat_`, `item_`, `variant_`, `status_`
        are numbers to be looked up; `action`, `fallback` are -1 and payoffs NaN for null;
        `option_order` is (rows, options), of which the first `n_options` count.
        """
        self._new_decisions.append(rows)
        self._n_new += len(rows["episode"])

    def turns(self, rows: Mapping[str, list]) -> None:
        """Answered requests, columns of `turns.parquet` with `player` and `seat_` as above."""
        self._new_turns.append(rows)

    def advance(self, first_open: int) -> None:
        """All episodes below `first_open` are complete."""
        self._first_open = first_open
        if self._n_new >= BATCH_ROWS:
            self._tabulate()

    def _tabulate(self) -> None:
        """Makes frames of what came since: few large ones, since each costs milliseconds."""
        if self._new_decisions:
            self._decisions.add(self._decision_frame(_joined(self._new_decisions)))
        if self._new_turns:
            self._turns.add(self._turn_frame(_joined(self._new_turns)))
        self._new_decisions, self._new_turns, self._n_new = [], [], 0
        self._decisions.advance(self._first_open)
        self._turns.advance(self._first_open)

    def _decision_frame(self, rows: dict[str, Any]) -> pl.DataFrame:
        order = pl.Series("option_order", rows.pop("option_order")).cast(INDICES)
        frame = pl.DataFrame(
            rows, schema_overrides={k: DECISIONS[k] for k in rows if k in DECISIONS}
        )
        agents = self._agents[frame["player"]]
        told = self._told[frame["variant_"] * len(self._agents) + frame["player"]]
        frame = frame.hstack([order]).hstack(agents).hstack(told)
        frame = frame.hstack(self._items[frame["item_"]])
        frame = frame.hstack([self._seats[frame["seat_"]], self._statuses[frame["status_"]]])
        frame = frame.with_columns(
            *self._constants,
            pl.col("option_order").list.head(pl.col("n_options")),
            pl.col("action", "fallback").replace(-1, None),
            pl.col("payoff_self", "payoff_other").fill_nan(None),
        )
        missing = [pl.lit(None, t).alias(c) for c, t in DECISIONS.items() if c not in frame.columns]
        return frame.with_columns(missing).select(*DECISIONS, "seat_")

    def _turn_frame(self, rows: dict[str, Any]) -> pl.DataFrame:
        frame = pl.DataFrame(rows, schema_overrides={k: TURNS[k] for k in rows if k in TURNS})
        frame = frame.hstack([self._seats[frame["seat_"]]])
        frame = frame.hstack(self._agents[frame["player"]].select("agent_id"))
        return frame.select(*TURNS, "seat_")

    def close(self) -> None:
        """Writes the two tables; call it once all episodes are complete."""
        self._tabulate()
        self._decisions.close()
        self._turns.close()
        shutil.rmtree(self._folder / ".parts")


def _joined(blocks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Blocks of columns, arrays or lists, one after the other."""
    return {
        name: np.concatenate([block[name] for block in blocks])
        if isinstance(blocks[0][name], np.ndarray)
        else [value for block in blocks for value in block[name]]
        for name in blocks[0]
    }


def write_items(folder: Path, rows: list[dict[str, Any]]) -> None:
    """`items.parquet` of a game."""
    with _writing():
        pl.DataFrame(rows, schema=ITEMS).write_parquet(folder / "items.parquet")


def write_agents(folder: Path, agents: pl.DataFrame) -> None:
    """`agents.parquet` of a population."""
    more = [column for column in agents.columns if column not in AGENTS]
    with _writing():
        agents.select(*AGENTS, *more).write_parquet(folder / "agents.parquet")


def hexes(keys: Sequence[bytes | None]) -> list[str | None]:
    """Journal keys as text."""
    return [None if key is None else key.hex() for key in keys]

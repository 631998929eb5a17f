"""Decisions with payoffs laid out for choice models: arrays that lead with the agent."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from sim.analysis.revealed import Choices
from sim.tables import Tables

_ITEM = ["env", "instrument", "item"]
_CELLS = 2_000_000  # options of a pack of agents, padded
WHO = ["model", "agent", "method", "value", "target"]


def packs(tables: Tables, instrument: str | None) -> Iterator[tuple[pl.DataFrame, Choices]]:
    """Agents and what they chose from, some agents at a time; those who chose nothing are there.

    Repeats of an agent that one greedy request answered are one choice.

    The frame has a row per agent: `agent_id`, model, agent, method, value, target, n_items and
    n_unread. Payoffs that depend on others' acts are those that the row believes in.

    Args:
        tables: of a run.
        instrument: whose items count; None for all that have payoffs.
    """
    items = tables.items.filter(pl.col("payoff_self").is_not_null())
    rows = tables.decisions
    if instrument is not None:
        items = items.filter(instrument=instrument)
        rows = rows.filter(pl.col("instrument") == instrument)
    catalog = items.select(_ITEM).unique(maintain_order=True).with_row_index("index")
    payoffs, offered = _payoffs(items.join(catalog, on=_ITEM), len(catalog))
    believed = pl.col("option_self").is_not_null()
    rows = rows.join(catalog.lazy(), on=_ITEM, how="left", maintain_order="left")
    rows = rows.filter(pl.col("index").is_not_null() | believed)
    columns = ["agent_id", *WHO, "action", "index", "option_order", "option_self", "option_other"]
    # One greedy reply that answers an agent's repeats is one choice.
    asked = pl.when(pl.col("response_mode") != "label").then("request").alias("asked")
    table = rows.select(*columns, asked).collect(engine="streaming")
    again = pl.col("asked").is_not_null() & ~pl.struct("agent_id", "asked").is_first_distinct()
    table = table.filter(~again).sort("agent_id", maintain_order=True)
    if table.is_empty():
        return
    varies = orders_vary(table)
    sizes = table["agent_id"].rle().struct.field("len").to_numpy().astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    believed_widths = table["option_self"].list.len().fill_null(0).to_numpy()
    width = max(payoffs.shape[1], int(believed_widths.max()))
    pack = max(1, int(_CELLS // max(1, sizes.max() * width)))
    for at in range(0, len(sizes), pack):
        end = min(at + pack, len(sizes))
        part = table[int(starts[at]) : int(starts[end])]
        yield (
            _agents(part),
            _choices(part, sizes[at:end], payoffs, offered, width, varies),
        )


def orders_vary(table: pl.DataFrame) -> bool:
    """Whether any item was shown in two orders."""
    n = table.group_by("index").agg(pl.col("option_order").n_unique())["option_order"]
    return bool((n > 1).any())


def _payoffs(items: pl.DataFrame, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Payoffs (n, options, 2), 0 where padded, and which are offered (n, options)."""
    index, option = items["index"].to_numpy(), items["option"].to_numpy()
    width = int(option.max()) + 1 if len(option) else 1
    payoffs, offered = np.zeros((n, width, 2)), np.zeros((n, width), bool)
    payoffs[index, option] = items.select("payoff_self", "payoff_other").to_numpy()
    offered[index, option] = True
    return payoffs, offered


def _agents(part: pl.DataFrame) -> pl.DataFrame:
    return part.group_by("agent_id", maintain_order=True).agg(
        pl.col(WHO).first(),
        pl.len().alias("n_items"),
        pl.col("action").null_count().alias("n_unread"),
    )


def _choices(part, sizes, payoffs, offered, width, varies) -> Choices:
    people, most = len(sizes), int(sizes.max())
    row = np.repeat(np.arange(people), sizes)
    place = np.arange(len(row)) - np.repeat(np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    paid = np.zeros((people, most, width, 2))
    open_ = np.zeros((people, most, width), bool)
    chosen = np.full((people, most), -1)
    index = part["index"].fill_null(0).to_numpy().astype(np.int64)
    if payoffs.shape[0]:
        paid[row, place, : payoffs.shape[1]] = payoffs[index]
        open_[row, place, : payoffs.shape[1]] = offered[index]
    own = np.flatnonzero(part["option_self"].is_not_null().to_numpy())
    if len(own):
        lists = part[own].select("option_self", "option_other").rows()
        for k, (mine, others) in zip(own, lists, strict=True):
            paid[row[k], place[k]], open_[row[k], place[k]] = 0, False
            paid[row[k], place[k], : len(mine)] = np.stack([mine, others], axis=1)
            open_[row[k], place[k], : len(mine)] = True
    chosen[row, place] = part["action"].fill_null(-1).to_numpy()
    shown = _shown(part["option_order"], row, place, (people, most, width)) if varies else None
    return Choices(paid, open_, chosen, shown)


def _shown(orders: pl.Series, row, place, shape) -> np.ndarray:
    """Place at which each option was shown; beyond the last where it was not."""
    shown = np.full(shape, shape[2])
    sizes = orders.list.len().fill_null(0).to_numpy()
    flat = orders.explode().drop_nulls().to_numpy()
    which = np.repeat(np.arange(len(sizes)), sizes)
    at = np.arange(len(flat)) - np.repeat(np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    shown[row[which], place[which], flat] = at
    return shown

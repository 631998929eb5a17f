"""Decisions laid out as answer sheets: arrays (episodes, items) of those who saw the same items.

A generated game has several forms, whose item ids differ; each form is a sheet of its own. An
answer that could not be read is NaN on the sheet and stays so.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from sim.analysis.angle import angle
from sim.analysis.slider import MOTIVES
from sim.tables import Tables

_ITEM = ["env", "instrument", "item"]
_WHO = ["episode", "repeat", "target", "seat", "agent_id", "agent", "value", "method", "model"]
_WHO += ["instrument"]


@dataclass(frozen=True)
class Sheet:
    """Those (episode, seat, instrument) that answered the same items.

    `rows` has u rows: episode, repeat, seat, agent_id, agent, value, target, method, model,
    instrument, n_items, n_unread, n_repaired.
    """

    instrument: str
    items: list[str]  # k ids, in the order of the items table
    options: np.ndarray  # (k, options, 2) payoffs, NaN where an item has fewer options
    centre: np.ndarray  # (k, 2) payoffs; NaN where the item bears no angle
    radius: np.ndarray  # (k,) payoffs
    values: np.ndarray  # (k, options) index into MOTIVES of what options stand for, -1: nothing
    complete: bool  # False where items of the form are missing: no score then
    rows: pl.DataFrame
    actions: np.ndarray  # (u, k) canonical option, NaN where unread
    repaired: np.ndarray  # (u, k) whether the answer was read at the second asking
    orders: np.ndarray | None  # (u, k, options) position shown -> option, -1 beyond; if asked for

    @property
    def geometry(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arguments options, centre, radius of the angle functions."""
        return self.options, self.centre, self.radius

    @property
    def bears_angle(self) -> bool:
        """Whether every item has a centre and a radius."""
        return not (np.isnan(self.centre).any() or np.isnan(self.radius).any())

    @property
    def poles(self) -> np.ndarray:
        """Values (k, 2) of the first and the last option of each item."""
        last = (~np.isnan(self.options[..., 0])).sum(1) - 1
        return np.stack([self.values[:, 0], self.values[np.arange(len(last)), last]], axis=1)

    def chosen(self) -> np.ndarray:
        """Payoffs of the answers (u, k, 2), NaN where unread."""
        unread = np.isnan(self.actions)
        pick = np.where(unread, 0, self.actions).astype(int)
        points = self.options[np.arange(len(self.items)), pick]
        return np.where(unread[..., None], np.nan, points)

    def angles(self) -> np.ndarray:
        """Angles (u,), degrees; NaN where an item is unread or missing."""
        if not (self.bears_angle and self.complete):
            return np.full(len(self.actions), np.nan)
        return angle(self.chosen(), self.centre, self.radius)


def sheets(tables: Tables, orders: bool = False) -> list[Sheet]:
    """Sheets of all items with payoffs that belong to a form.

    `orders`: also read the order in which options were shown. Raises ValueError for tables that
    hold a decision twice, such as those of two runs put together by hand.
    """
    catalog = _catalog(tables.items)
    if catalog.is_empty():
        return []
    answers, starts = _answers(tables, catalog)
    shown = _orders(tables, catalog) if orders else None
    who = _who(tables, catalog, answers["row"].to_numpy()[starts])
    payoffs = _payoffs(tables.items, catalog)
    sizes = np.diff(starts, append=len(answers))
    index = answers["index"].to_numpy()
    found = []
    for k in np.unique(sizes):
        at = starts[sizes == k][:, None] + np.arange(k)
        same = who.filter(sizes == k)
        forms, inverse = np.unique(index[at], axis=0, return_inverse=True)
        for f, form in enumerate(forms):
            mine = inverse.ravel() == f
            found.append(
                _sheet(answers[at[mine].ravel()], same.filter(mine), shown, catalog, form, payoffs)
            )
    return sorted(found, key=lambda s: (s.instrument, s.items))


def _catalog(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item: its index, the group (env and instrument), its form and that's size."""
    return (
        items.filter(pl.col("form").is_not_null(), pl.col("payoff_self").is_not_null())
        .select(*_ITEM, "form")
        .unique(maintain_order=True)
        .sort("env", "instrument", maintain_order=True)
        .with_row_index("index")
        .with_columns(pl.struct("env", "instrument").rank("dense").alias("group"))
        .with_columns(pl.len().over("group", "form").alias("form_size"))
    )


def _rows(tables: Tables, catalog: pl.DataFrame) -> pl.LazyFrame:
    """The decisions that belong on a sheet, numbered."""
    return tables.decisions.join(
        catalog.lazy(), on=_ITEM, how="inner", maintain_order="left"
    ).with_row_index("row")


def _answers(tables: Tables, catalog: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """One row per decision, the items of a unit side by side, and where each unit starts."""
    columns = ["row", "episode", "seat", "step", "index", "group", "action"]
    answers = (
        _rows(tables, catalog)
        .with_columns(pl.col("seat").cast(pl.Categorical))
        .select(*columns, (pl.col("status") == "repaired").alias("repaired"))
        .collect(engine="streaming")  # takes half the memory
    )
    episode, index, group = (answers[c].to_numpy() for c in ("episode", "index", "group"))
    seat = answers["seat"].cast(pl.String).rank("dense").to_numpy()
    # An item asked again in the same episode opens another sheet: its occasion.
    order = np.lexsort((index, seat, episode))
    new = _changes(episode[order], seat[order], index[order])
    twice = ~new & ~_changes(answers["step"].to_numpy()[order])
    if twice.any():
        raise ValueError(
            f"every (episode, seat, step) must be there once, got episode "
            f"{episode[order][twice][0]} twice; sim.load(run, run ...) puts runs together"
        )
    starts = np.flatnonzero(new)
    occasion = np.empty(len(order), np.int64)
    occasion[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    order = np.lexsort((index, group, occasion, seat, episode))
    unit = (episode[order], seat[order], occasion[order], group[order])
    return answers[order], np.flatnonzero(_changes(*unit))


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Whether any of the columns differs from its row above; true in the first row."""
    return np.any([np.diff(c.astype(np.int64), prepend=-1) != 0 for c in columns], axis=0)


def _orders(tables: Tables, catalog: pl.DataFrame) -> np.ndarray:
    """Orders of options (rows, options) of the decisions on sheets, -1 beyond the last option."""
    lists = _rows(tables, catalog).select("option_order").collect(engine="streaming")
    sizes = lists["option_order"].list.len().fill_null(0).to_numpy()
    shown = np.full((len(sizes), int(sizes.max(initial=1))), -1, dtype=np.int16)
    flat = lists["option_order"].explode().drop_nulls().to_numpy()
    shown[np.arange(shown.shape[1]) < sizes[:, None]] = flat
    return shown


def _who(tables: Tables, catalog: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """Whose the decisions at `rows` are: read apart, since names take the most memory."""
    wanted = pl.LazyFrame({"row": rows}, schema={"row": pl.get_index_type()})
    found = _rows(tables, catalog).select("row", *_WHO).join(wanted, on="row", how="semi")
    return (
        wanted.join(found, on="row", maintain_order="left").drop("row").collect(engine="streaming")
    )


def _payoffs(items: pl.DataFrame, catalog: pl.DataFrame) -> tuple[np.ndarray, ...]:
    """Options (n, options, 2), centre (n, 2), radius (n,), values (n, options) of all items."""
    table = items.join(catalog, on=_ITEM, how="inner").sort("index", "option")
    index, option = table["index"].to_numpy(), table["option"].to_numpy()
    options = np.full((len(catalog), int(option.max()) + 1, 2), np.nan)
    options[index, option] = table.select("payoff_self", "payoff_other").to_numpy()
    ends = table.group_by("index", maintain_order=True).agg(
        pl.col("centre_self", "centre_other", "radius").first().cast(pl.Float64)
    )
    motive = {name: i for i, name in enumerate(MOTIVES)}
    values = np.full(options.shape[:2], -1)
    values[index, option] = [motive.get(v, -1) for v in table["value"]]
    centre = ends.select("centre_self", "centre_other").to_numpy()
    return options, centre, ends["radius"].to_numpy(), values


def _sheet(answers, who, shown, catalog, form, payoffs) -> Sheet:
    shape = (len(who), len(form))
    items = catalog[form.tolist()]
    instrument = items["instrument"][0]
    actions = answers["action"].cast(pl.Float64).to_numpy().reshape(shape)
    repaired = answers["repaired"].fill_null(False).to_numpy().reshape(shape)
    counts = {
        "n_items": np.full(len(who), len(form)),
        "n_unread": np.isnan(actions).sum(1),
        "n_repaired": repaired.sum(1),
    }
    options, centre, radius, values = (p[form] for p in payoffs)
    width = int((~np.isnan(options[..., 0])).sum(1).max())  # of these items alone
    return Sheet(
        instrument=instrument,
        items=items["item"].to_list(),
        options=options[:, :width],
        centre=centre,
        radius=radius,
        values=values[:, :width],
        complete=items["form"].n_unique() == 1 and len(form) == items["form_size"][0],
        rows=who.with_columns(pl.Series(k, v, pl.Int64) for k, v in counts.items()),
        actions=actions,
        repaired=repaired,
        orders=_of_width(shown, answers, shape, width),
    )


def _of_width(shown, answers, shape, width) -> np.ndarray | None:
    if shown is None:
        return None
    return shown[answers["row"].to_numpy()].reshape(*shape, -1)[..., :width]

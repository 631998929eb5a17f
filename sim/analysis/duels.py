"""Choices between options that stand for values, counted: what every analyzer of dilemmas reads.

Decisions are counted in one pass over the table; nothing behind it depends on how many there are.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import polars as pl

from sim.analysis.scores import groups
from sim.tables import Tables

GROUP = ["instrument", "model", "agent", "method", "value", "context_mode", "wording"]
NONE, UNDECIDED, PAD = -1, -2, -3  # instead of a value's number
QUITS = "undecided"  # stands for the value of an option not to decide
# Modes in which earlier choices are told: behind an unread one stands what nobody chose.
_TOLD = pl.col("context_mode").str.contains("causal|counterfactual")


@dataclass(frozen=True, eq=False)
class Duels:
    """Counted choices of one group; R rows that differ in item, order shown or choice.

    Attributes:
        theory: of the values.
        values: names, V of them, those that can be met.
        clusters: names of the units of resampling (dilemmas, or norms).
        item: (R,) number of the item.
        cluster: (R,) index into `clusters`.
        stage: (R,) 1, 2 ...
        shown: (R, places) number of the value at each place shown; `NONE` for an option without
            one, `UNDECIDED` for not to decide, `PAD` where no option is.
        chosen: (R,) place of the option chosen, -1 where nothing could be read.
        n: (R,) decisions.
        n_left_out: decisions that are not among them: in them the story told a choice that could
            not be read.
        n_agents: whose decisions these are.
    """

    theory: str
    values: list[str]
    clusters: list[str]
    item: np.ndarray
    cluster: np.ndarray
    stage: np.ndarray
    shown: np.ndarray
    chosen: np.ndarray
    n: np.ndarray
    n_left_out: int
    n_agents: int

    def only(self, mask: np.ndarray) -> "Duels":
        """The rows of a mask (R,)."""
        names = ("item", "cluster", "stage", "shown", "chosen", "n")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})

    @property
    def unread(self) -> float | None:
        """Share of the decisions that could not be read; None without decisions."""
        return _share(self.n[self.chosen < 0].sum(), self.n.sum())

    @property
    def left_out(self) -> float | None:
        """Share of all decisions that count nowhere: unread, or behind an unread one."""
        lost = self.n[self.chosen < 0].sum() + self.n_left_out
        return _share(lost, self.n.sum() + self.n_left_out)

    def taken(self) -> np.ndarray:
        """Number of the value chosen (R,); `PAD` where nothing could be read."""
        place = np.maximum(self.chosen, 0)[:, None]
        value = np.take_along_axis(self.shown, place, axis=1)[:, 0]
        return np.where(self.chosen < 0, PAD, value)

    def contested(self) -> "Duels":
        """Choices of a value where all options stand for values, two or more of them different."""
        value = self.taken()
        others = ((self.shown >= 0) & (self.shown != value[:, None])).any(1)
        return self.only((value >= 0) & others & (self.shown != NONE).all(1))

    def pairs(self) -> dict[str, np.ndarray]:
        """Every value chosen against every other one shown, a row each.

        Keys: winner, loser (numbers of values), first (whether the winner was shown first),
        cluster, stage, n. A choice among k values is k - 1 rows.
        """
        duels = self.contested()
        won = duels.taken()
        row, place = np.nonzero((duels.shown >= 0) & (duels.shown != won[:, None]))
        return {
            "winner": won[row],
            "loser": duels.shown[row, place],
            "first": duels.chosen[row] < place,
            "cluster": duels.cluster[row],
            "stage": duels.stage[row],
            "n": duels.n[row],
        }


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows (n, k) of integers (R, k), sorted, and which of them each row is, (R,).

    Column by column, which is much faster than `np.unique` of whole rows.
    """
    one, at = np.zeros(min(len(rows), 1), int), np.zeros(len(rows), int)
    for column in rows.T:
        least, most = column.min(initial=0), column.max(initial=0)
        both = at * (most - least + 1) + (column - least)
        _, one, at = np.unique(both, return_index=True, return_inverse=True)
    return rows[one], at


@lru_cache(maxsize=2)
def duels(tables: Tables) -> list[tuple[dict, Duels]]:
    """(key, counted choices) of each group that met options which stand for values.

    Groups differ in `GROUP`; their order is that of the keys, nulls first. Repaired answers count.
    """
    items = tables.items.filter(pl.col("theory").is_not_null() & pl.col("payoff_self").is_null())
    items = items.filter(pl.col("value").is_not_null().any().over("env", "item"))
    if items.is_empty():
        return []
    counted, lost = _counted(tables, items)
    found = []
    for key, part in groups(counted, GROUP):
        same = [pl.col(name).eq_missing(value) for name, value in key.items()]
        left = lost.filter(*same)
        found.append((key, _duels(part, items, int(left["n"].sum()))))
    return found


def _counted(tables: Tables, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decisions by group, item, order and choice, with their number; those left out by group."""
    known = items.select("instrument", "item").unique().lazy()
    columns = [*GROUP, "item", "option_order", "action", "agent_id", "episode", "seat", "step"]
    rows = tables.decisions.select(columns).join(known, on=["instrument", "item"], how="semi")
    unread = rows.filter(pl.col("action").is_null(), _TOLD)
    first = unread.group_by("episode", "seat").agg(pl.col("step").min().alias("first")).collect()
    lost = pl.DataFrame(schema={**dict.fromkeys(GROUP, pl.String), "n": pl.UInt32})
    if len(first):
        rows = rows.join(first.lazy(), on=["episode", "seat"], how="left")
        behind = (pl.col("step") > pl.col("first")).fill_null(False)
        lost = rows.filter(behind).group_by(GROUP).agg(pl.len().alias("n")).collect()
        rows = rows.filter(~behind)
    counted = (
        rows.group_by(*GROUP, "item", pl.col("option_order").hash(0).alias("order"), "action")
        .agg(
            pl.col("option_order").first(),
            pl.len().alias("n"),
        )
        .sort(*GROUP, "item", "order", "action")
        .collect(engine="streaming")
    )
    agents = (
        rows.select(*GROUP, "agent_id").unique().group_by(GROUP).agg(pl.len().alias("n_agents"))
    )
    counted = counted.join(agents.collect(engine="streaming"), on=GROUP, nulls_equal=True)
    return counted, lost


def _duels(part: pl.DataFrame, items: pl.DataFrame, n_lost: int) -> Duels:
    items = items.filter(instrument=part["instrument"][0])
    values = items["value"].drop_nulls().unique().sort().to_list()
    values = [name for name in values if name != QUITS]
    number = {name: k for k, name in enumerate(values)} | {QUITS: UNDECIDED, None: NONE}
    catalog = items.group_by("item", maintain_order=True).agg(
        pl.col("stage").first().fill_null(1),
        pl.col("cluster").first().fill_null(pl.col("item").first()),
    )
    place = {item: k for k, item in enumerate(catalog["item"])}
    width = int(items["option"].max()) + 1  # type: ignore[arg-type]
    options = np.full((len(catalog), width), NONE)
    for item, option, value in items.select("item", "option", "value").iter_rows():
        options[place[item], option] = number[value]
    item = part["item"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    orders = part["option_order"]
    shown = np.full((len(part), width), PAD)
    sizes = orders.list.len().to_numpy()
    at = np.arange(width) < sizes[:, None]
    shown[at] = orders.explode().to_numpy()
    back = np.where(at, np.take_along_axis(options[item], np.maximum(shown, 0), axis=1), PAD)
    action = part["action"].cast(pl.Int64).fill_null(-1).to_numpy()
    chosen = np.where(action < 0, -1, (shown == action[:, None]).argmax(1))
    clusters, cluster = np.unique(catalog["cluster"].to_numpy(), return_inverse=True)
    return Duels(
        theory=items["theory"][0],
        values=values,
        clusters=clusters.tolist(),
        item=item,
        cluster=cluster[item],
        stage=catalog["stage"].to_numpy()[item],
        shown=back,
        chosen=chosen,
        n=part["n"].cast(pl.Int64).to_numpy(),
        n_left_out=n_lost,
        n_agents=int(part["n_agents"][0]),
    )


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None

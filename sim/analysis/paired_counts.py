"""Answers of one member to one item under several conditions, counted in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import polars as pl

from sim.analysis.duels import _TOLD, GROUP, QUITS
from sim.analysis.paired import by_cluster
from sim.analysis.scores import groups
from sim.tables import Tables

BEHIND, UNREAD, QUIT = -3, -2, -1  # instead of an option: behind an unread answer, unread, none


@dataclass(frozen=True, eq=False)
class Answers:
    """Every decision on a dilemma, in numbers that small tables explain: names are slow.

    Items, and what counts as behind an unread answer, are those of `duels`.

    Attributes:
        rows: a decision each: `condition`, `item`, `member` (numbers), `order` (hash of the one
            shown), `code` (the option taken, or `QUIT`, `UNREAD`, `BEHIND`), `refused`, `episode`,
            `seat` (its hash), `step`; some 40 bytes.
        conditions: `condition` and the columns of `GROUP`, which it numbers in their order.
        items: `item`, numbered by `instrument` and `name`; `cluster` (a number), `stage`, `quits`
            (the option, if there is one), `width` (options, not to decide left out).
        members: `member` and the `name` of each.
        orders: `order` and the `option_order` that it stands for.
    """

    rows: pl.LazyFrame
    conditions: pl.DataFrame
    items: pl.DataFrame
    members: pl.DataFrame
    orders: pl.DataFrame


@lru_cache(maxsize=1)  # several analyzers read the same
def answers(tables: Tables) -> Answers | None:
    """The answers in a run's tables; None without dilemmas."""
    items = tables.items.filter(pl.col("theory").is_not_null() & pl.col("payoff_self").is_null())
    items = items.filter(pl.col("value").is_not_null().any().over("env", "item"))
    if items.is_empty():
        return None
    quits = pl.col("value").eq_missing(QUITS)
    known = (
        items.group_by("instrument", pl.col("item").alias("name"))
        .agg(
            pl.col("cluster").first().fill_null(pl.col("item").first()),
            pl.col("stage").first().fill_null(1).cast(pl.Int64),
            pl.col("option").filter(quits).first().alias("quits"),
            (~quits).sum().alias("width"),
        )
        .sort("instrument", "name")
        .with_columns(pl.col("cluster").rank("dense"))
        .with_row_index("item")
    )
    rows = tables.decisions.rename({"item": "name"}).join(
        known.lazy().select("instrument", "name", "item", "quits"), on=["instrument", "name"]
    )
    order = pl.col("option_order").hash(0).alias("order")
    shown = rows.group_by(*GROUP, order).agg(pl.col("option_order").first())
    shown = shown.collect(engine="streaming")
    conditions = shown.select(GROUP).unique().sort(GROUP).with_row_index("condition")
    agents, members = _members(rows, tables.agents)
    numbered = (
        _behind(rows)
        .join(conditions.lazy(), on=GROUP, nulls_equal=True)
        .join(agents.lazy(), on="agent_id")
        .with_columns(
            order, _code(), pl.col("seat").hash(0), (pl.col("status") == "refused").alias("refused")
        )
    )
    columns = ["condition", "item", "member", "order", "code", "refused", "episode", "seat", "step"]
    found = numbered.select(columns).collect(engine="streaming").lazy()
    orders = shown.select("order", "option_order").unique("order")
    return Answers(found, conditions, known, members, orders)


def _members(rows: pl.LazyFrame, agents: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number of the member that each agent is, and the names of members."""
    names = agents.select("agent_id", pl.col("member").alias("name")).unique("agent_id")
    who = rows.select("agent_id").unique().collect(engine="streaming")
    who = who.join(names, on="agent_id", how="left")
    who = who.with_columns(pl.col("name").fill_null(pl.col("agent_id")))
    members = who.select("name").unique().sort("name").with_row_index("member")
    return who.join(members, on="name").select("agent_id", "member"), members


def _behind(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The same with `behind`: whether the story told a choice that could not be read."""
    unread = rows.filter(pl.col("action").is_null(), _TOLD).group_by("episode", "seat")
    first = unread.agg(pl.col("step").min().alias("_")).collect(engine="streaming")
    if first.is_empty():  # most often, and a join of all rows with it is slow
        return rows.with_columns(pl.lit(False).alias("behind"))
    behind = (pl.col("step") > pl.col("_")).fill_null(False).alias("behind")
    return rows.join(first.lazy(), on=["episode", "seat"], how="left").with_columns(behind)


def _code() -> pl.Expr:
    return (
        pl.when("behind")
        .then(BEHIND)
        .when(pl.col("action").is_null())
        .then(UNREAD)
        .when(pl.col("action") == pl.col("quits"))
        .then(QUIT)
        .otherwise("action")
        .cast(pl.Int8)
        .alias("code")
    )


@dataclass(frozen=True, eq=False)
class Counts:
    """Units that answered alike, counted: P kinds of them, over k levels.

    Attributes:
        about: P rows, what was kept of them.
        n: (P,) units.
        lost: (P, k, 3) answers of a unit at each level that are behind, unread, not to decide.
        taken: (P, k, options) answers that took each option.
    """

    about: pl.DataFrame
    n: np.ndarray
    lost: np.ndarray
    taken: np.ndarray

    def only(self, mask: np.ndarray) -> "Counts":
        """The rows of a mask (P,)."""
        about = self.about.filter(pl.Series(mask, dtype=pl.Boolean))
        return Counts(about, self.n[mask], self.lost[mask], self.taken[mask])

    def by(self, keys: list[str]) -> Iterator[tuple[dict, "Counts"]]:
        """(key values by name, rows) of each group."""
        for key, part in groups(self.about.with_row_index("_"), keys):
            mask = np.zeros(len(self.n), bool)
            mask[part["_"].to_numpy()] = True
            yield key, self.only(mask)

    def at(self, levels: list[int]) -> "Counts":
        """The units that were met at all of these levels, with these levels alone."""
        lost, taken = self.lost[:, levels], self.taken[:, levels]
        met = (lost.sum(-1) + taken.sum(-1) > 0).all(1)
        return replace(self, lost=lost, taken=taken).only(met)

    @property
    def scored(self) -> np.ndarray:
        """Whether units chose an option at every level, (P,)."""
        return (self.taken.sum(-1) > 0).all(1)

    @property
    def chance(self) -> float | None:
        """Share of two answers to one item that differ where all fall by lot."""
        by_lot = 1 - 1 / self.about["width"].to_numpy()
        return float(by_lot @ self.n / self.n.sum()) if len(self.n) else None

    def columns(self) -> dict[str, int | float | None]:
        """Columns n, n_unscored (units), unread and left_out (shares of their answers)."""
        behind, unread, _ = np.einsum("p,pkc->c", self.n, self.lost).tolist()
        every = int(self.n @ (self.lost.sum((1, 2)) + self.taken.sum((1, 2))))
        n = int(self.n[self.scored].sum())
        return {"n": n, "n_unscored": int(self.n.sum()) - n, **losses(every, unread, behind)}

    def sums(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums over units of `x` (P, ...) by cluster, NaN left out, and how many these are."""
        return by_cluster(self.about["cluster"].to_numpy(), self.n, x)


def losses(n: int, unread: int, behind: int) -> dict[str, float | None]:
    """Shares of n answers: unread of those not behind an unread one; all that count nowhere."""
    return {
        "unread": unread / (n - behind) if n > behind else None,
        "left_out": (unread + behind) / n if n else None,
    }


def counted(found: Answers, kept: list[str], unit: list[str], level: str, levels: list) -> Counts:
    """Answers of each unit (`kept` and `unit` alike) at each level, in one pass over the rows.

    Args:
        found: its rows as many as wanted.
        kept: columns of conditions and items that tell kinds of units apart; `width` is one.
        unit: columns of conditions and rows that tell units apart beyond that; `item` is one.
        level: column of conditions or rows; rows of other levels than `levels` are left out.
        levels: k names.
    """
    conditions = found.conditions
    kinds = [name for name in (*kept, *unit) if name in conditions.columns]
    of_group = [name for name in kept if name in kinds]
    group = conditions.select(of_group).unique().sort(of_group).with_row_index("_group")
    kind = conditions.select(kinds).unique().with_row_index("_kind")
    kind = kind.join(group, on=of_group, nulls_equal=True)
    conditions = conditions.join(kind, on=kinds, nulls_equal=True)
    number = pl.col(level).cast(pl.Enum(levels), strict=False).to_physical().alias("_level")
    of_item = [name for name in kept if name not in kinds]
    codes = [BEHIND, UNREAD, QUIT, *range(found.items["width"].max() or 0)]  # type: ignore[arg-type]
    sums = {
        f"{j}:{code}": ((pl.col("_level") == j) & (pl.col("code") == code)).sum()
        for j in range(len(levels))
        for code in codes
    }
    mine = [name for name in unit if name not in kinds]
    known = [name for name in ("condition", "_kind", level) if name in conditions.columns]
    units = (
        found.rows.join(conditions.lazy().select(known), on="condition")
        .select("_kind", *mine, "code", number)
        .filter(pl.col("_level").is_not_null())
        .group_by("_kind", *mine)
        .agg(**sums)
    )
    table = (
        units.join(found.items.lazy().select("item", *of_item), on="item")
        .group_by("_kind", *of_item, *sums)
        .agg(pl.len().alias("n"))
        .join(kind.lazy().select("_kind", "_group"), on="_kind")
        .group_by("_group", *of_item, *sums)
        .agg(pl.col("n").sum())
        .sort("_group", *of_item, *sums)
        .collect(engine="streaming")
        .join(group, on="_group", maintain_order="left")
    )
    cells = table.select(*sums).to_numpy().reshape(len(table), len(levels), len(codes))
    n = table["n"].cast(pl.Int64).to_numpy()
    return Counts(table.select(kept), n, cells[..., :3].astype(int), cells[..., 3:].astype(int))


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share (P,) of pairs of one answer of `a` and one of `b`, (P, options) each, that differ."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - (a * b).sum(-1) / (a.sum(-1) * b.sum(-1))


def noise(a: np.ndarray) -> np.ndarray:
    """Share (...) of pairs of answers of one condition that differ; NaN below two answers.

    `a` (..., options) counts the answers.
    """
    m = a.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - (a * (a - 1)).sum(-1) / np.where(m > 1, m * (m - 1), np.nan)

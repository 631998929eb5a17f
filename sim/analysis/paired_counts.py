"""Answers of one member to one item under several conditions, counted in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sim.analysis.duels import _TOLD, QUITS
from sim.analysis.paired import by_cluster
from sim.analysis.scores import groups
from sim.tables import Tables

BEHIND, UNREAD, QUIT = -3, -2, -1  # instead of an option: behind an unread answer, unread, none


def answers(tables: Tables) -> pl.LazyFrame | None:
    """Every decision on a dilemma, with who made it and what was taken; None without dilemmas.

    Columns of decisions, and: `member`, `cluster`, `width` (options, not to decide left out),
    `order` (hash of the one shown), `code`: the option taken, or `QUIT`, `UNREAD`, `BEHIND`. Items,
    and what counts as behind an unread answer, are those of `duels`.
    """
    items = tables.items.filter(pl.col("theory").is_not_null() & pl.col("payoff_self").is_null())
    items = items.filter(pl.col("value").is_not_null().any().over("env", "item"))
    if items.is_empty():
        return None
    quits = pl.col("value").eq_missing(QUITS)
    known = items.group_by("instrument", "item").agg(
        pl.col("cluster").first().fill_null(pl.col("item").first()),
        pl.col("stage").first().fill_null(1).cast(pl.Int64),
        pl.col("option").filter(quits).first().alias("quits"),
        (~quits).sum().alias("width"),
    )
    members = tables.agents.select("agent_id", "member").unique("agent_id").lazy()
    rows = (
        tables.decisions.drop("stage")
        .join(known.lazy(), on=["instrument", "item"], how="inner")
        .join(members, on="agent_id", how="left")
    )
    read = pl.col("action").is_not_null()
    lost = (
        rows.filter(~read, _TOLD).group_by("episode", "seat").agg(pl.col("step").min().alias("_"))
    )
    behind = (pl.col("step") > pl.col("_")).fill_null(False)
    return rows.join(lost, on=["episode", "seat"], how="left").with_columns(
        pl.col("member").fill_null(pl.col("agent_id")),
        pl.col("option_order").hash(0).alias("order"),
        pl.when(behind)
        .then(BEHIND)
        .when(~read)
        .then(UNREAD)
        .when(pl.col("action") == pl.col("quits"))
        .then(QUIT)
        .otherwise("action")
        .cast(pl.Int8)
        .alias("code"),
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
            yield key, self.only(np.isin(np.arange(len(self.n)), part["_"].to_numpy()))

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


def counted(
    rows: pl.LazyFrame, kept: list[str], unit: list[str], level: pl.Expr, levels: list
) -> Counts:
    """Answers of each unit (`kept` and `unit` alike) at each level, in one pass over the rows.

    Args:
        rows: from `answers`, as many as wanted.
        kept: columns that tell kinds of units apart; `width` is among them.
        unit: further columns that tell units apart.
        level: of a row; rows of other levels than `levels` are left out.
        levels: k of them.
    """
    width = rows.select(pl.col("width").max()).collect(engine="streaming").item() or 0
    codes = [BEHIND, UNREAD, QUIT, *range(width)]
    sums = {
        f"{j}:{code}": ((pl.col("_level") == one) & (pl.col("code") == code)).sum()
        for j, one in enumerate(levels)
        for code in codes
    }
    units = (
        rows.select(*kept, *unit, "code", level.alias("_level"))
        .filter(pl.col("_level").is_in(levels))
        .group_by(*kept, *unit)
        .agg(**sums)
    )
    table = (
        units.group_by(*kept, *sums)
        .agg(pl.len().alias("n"))
        .sort(*kept, *sums)
        .collect(engine="streaming")
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

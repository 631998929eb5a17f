"""Is an option taken because it is shown first? And who does not decide, or cannot be read?"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from sim.analysis.duels import GROUP
from sim.analysis.paired import Clustered, by_cluster, corrected, ratio
from sim.analysis.paired_counts import BEHIND, QUIT, UNREAD, answers, losses
from sim.analysis.scores import ESTIMATE, groups
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    **dict.fromkeys(GROUP, pl.String),
    "stage": pl.Int64,  # null: all stages together
    **ESTIMATE,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


def positions(tables: Tables, seed: int) -> pl.DataFrame:
    """Rows of (measure, group, stage), shares 0..1 of decisions on dilemmas.

    `first`, `last`: decided choices that take the option shown first, or last; chance is one in as
    many as were shown (not to decide is none of them), p of "it is chance". `position_effect`: how
    much more often an option is taken where it is shown first than where it is not, within items,
    -1..1, chance 0; null where no option was shown in both ways. With two options in balanced
    orders it is 2 `first` - 1; where orders do not vary, `first` is a preference as much.

    `undecided`: share of the read decisions that offer not to decide and take it; null where none
    does; chance is one in as many as were shown. `unread`, `refused` (status): shares of all
    decisions but those behind an unread one in a mode that tells earlier choices.

    `n` counts what the measure is a share of (of the position effect, choices of items that were
    shown in both ways), `n_unscored` the group's other decisions. t intervals and p are over
    clusters (dilemmas or norms); where all clusters are alike there is none. `unread` and
    `left_out` (with those behind) are the group's at that stage. `p_holm`: over
    groups, and, of rows by stage, over these too. `seed` is not used: nothing is drawn.
    """
    del seed
    rows: list[dict] = []
    for key, group in groups(_counted(tables), GROUP):
        stages = list(groups(group, ["stage"]))
        for stage, part in [({"stage": None}, group), *(stages if len(stages) > 1 else [])]:
            rows += [key | stage | row for row in _rows(_decisions(part))]
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    family = [pl.col("measure"), pl.col("instrument"), pl.col("stage").is_null()]
    return corrected(table, "p", family)


def _counted(tables: Tables) -> pl.DataFrame:
    """Decisions by group, item, order shown, what was taken, and whether they were refused."""
    by = ["condition", "item", "order", "code", "refused"]
    every = answers(tables)
    if every is None:
        return pl.DataFrame(schema=dict.fromkeys(GROUP, pl.String))
    return (
        every.rows.group_by(by)
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .collect(engine="streaming")
        .join(every.conditions, on="condition")
        .join(every.items.drop("instrument", "name"), on="item")
        .join(every.orders, on="order")
        .sort(by)
    )


@dataclass(frozen=True, eq=False)
class _Decisions:
    """R kinds of decisions, counted.

    `shown` (R, places) is the canonical option at each place, -1 where none is or it is not to
    decide; `offers` (R,) whether that is an option; `code` (R,) the option taken, or what
    `paired_counts` has instead; `n` (R,) decisions.
    """

    cluster: np.ndarray
    item: np.ndarray
    shown: np.ndarray
    offers: np.ndarray
    code: np.ndarray
    refused: np.ndarray
    n: np.ndarray


def _decisions(part: pl.DataFrame) -> _Decisions:
    sizes = part["option_order"].list.len().to_numpy()
    shown = np.full((len(part), sizes.max()), -1)
    shown[np.arange(sizes.max()) < sizes[:, None]] = part["option_order"].explode().to_numpy()
    quits = part["quits"].cast(pl.Int64).fill_null(-1).to_numpy()
    return _Decisions(
        part["cluster"].to_numpy(),
        part["item"].to_numpy().astype(int),
        np.where(shown == quits[:, None], -1, shown),
        (shown == quits[:, None]).any(1) & (quits >= 0),  # of the order shown, not of the item
        part["code"].to_numpy().astype(int),
        part["refused"].to_numpy(),
        part["n"].to_numpy(),
    )


def _rows(d: _Decisions) -> list[dict]:
    real = d.shown >= 0
    width = real.sum(1)
    ends = {"first": real.argmax(1), "last": real.shape[1] - 1 - real[:, ::-1].argmax(1)}
    decided, answered = d.code >= 0, d.code != BEHIND
    rows = [
        _share(name, d, decided, d.shown[np.arange(len(width)), place] == d.code, 1 / width)
        for name, place in ends.items()
    ]
    read = d.offers & answered & (d.code != UNREAD)
    rows += [
        _effect(d, decided),
        _share("undecided", d, read, d.code == QUIT, 1 / (width + 1)),
        _share("unread", d, answered, d.code == UNREAD, None),
        _share("refused", d, answered, d.refused, None),
    ]
    totals = [int(d.n[mask].sum()) for mask in (d.code == d.code, d.code == UNREAD, ~answered)]
    return [row | losses(*totals) | {"n_unscored": totals[0] - row["n"]} for row in rows]


def _share(
    measure: str, d: _Decisions, among: np.ndarray, hit: np.ndarray, by_lot: np.ndarray | None
) -> dict:
    cluster, n, x = d.cluster[among], d.n[among], hit[among].astype(float)
    row = {"measure": measure, "n": int(n.sum())}
    if by_lot is not None and len(n):
        beyond = ratio(*by_cluster(cluster, n, x - by_lot[among]))
        row |= {"chance": float(by_lot[among] @ n / n.sum()), "p": beyond.p}
    return row | ratio(*by_cluster(cluster, n, x)).columns(0.0)


def _effect(d: _Decisions, decided: np.ndarray) -> dict:
    row, place = np.nonzero((d.shown >= 0) & decided[:, None])
    option, first = d.shown[row, place], (d.shown >= 0).argmax(1)[row] == place
    cells = d.item[row] * d.shown.shape[1] + option
    found, used = shown_first(d.code[row] == option, first, cells, d.cluster[row], d.n[row])
    n = int(d.n[np.unique(row[used])].sum())
    return {"measure": "position_effect", "n": n, "chance": 0.0, "p": found.p} | found.columns()


def shown_first(
    taken: np.ndarray, first: np.ndarray, cell_: np.ndarray, cluster: np.ndarray, n: np.ndarray
) -> tuple[Clustered, np.ndarray]:
    """How much more often an option is taken where it is shown first than where it is not.

    Within each (item, option) the difference of both shares, weighted by n1 n0 / (n1 + n0): the
    estimate of `sim.analysis.order_effects.position_bias`. Its error is no use here: an item lies
    in one cluster, whose deviations from its own shares add up to 0. So the differences are what
    is resampled, and their weighted mean a ratio over clusters.

    Args:
        taken: (rows,) bool, whether the option was; a row per option of each choice.
        first: (rows,) bool, whether it was shown first.
        cell_: (rows,) number of the (item, option).
        cluster: (rows,) name of the cluster that it lies in.
        n: (rows,) choices.

    Returns:
        the difference, unknown where no option was shown in both ways, and which rows add to it.
    """
    cells, one, at = np.unique(cell_, return_index=True, return_inverse=True)
    flat, size = first.astype(int) * len(cells) + at, len(cells)
    count = np.bincount(flat, n, 2 * size).reshape(2, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.bincount(flat, n * taken, 2 * size).reshape(2, size) / count
        weight = np.where((count > 0).all(0), count[0] * count[1] / count.sum(0), 0.0)
    return ratio(*by_cluster(cluster[one], weight, share[1] - share[0])), weight[at] > 0

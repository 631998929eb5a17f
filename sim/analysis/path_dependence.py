"""Does it matter for a choice what the story says was chosen before?"""

from dataclasses import replace

import numpy as np
import polars as pl

from sim.analysis.duels import GROUP, QUITS
from sim.analysis.paired import Clustered, by_cluster, contrast, corrected, ratio
from sim.analysis.paired_counts import (
    BEHIND,
    UNREAD,
    Answers,
    Counts,
    answers,
    counted,
    differ,
    losses,
    noise,
)
from sim.analysis.scores import ESTIMATE, groups
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    **dict.fromkeys(GROUP, pl.String),
    "stage": pl.Int64,  # null: all stages from the second on
    **ESTIMATE,
    "unread": pl.Float64,
    "left_out": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}
MEASURES = [
    "path_dependence",
    "flips",
    "noise",
    "consistency",
    "own_causal",
    "own_counterfactual",
    "told_counterfactual",
]
_MODES = ["causal", "counterfactual"]
_TELLS = "^(causal|counterfactual)"  # before what a conversation adds
_KEY = [name for name in GROUP if name != "context_mode"]
_MISSING = -4  # no such step


def path_dependence(tables: Tables, seed: int) -> pl.DataFrame:
    """Rows of (measure, group, stage) of choices at the second stage and later, shares 0..1.

    Pairs are a member and an item under `causal` (the story tells what it chose at each earlier
    stage) and `counterfactual` (it tells the other option as chosen), order and wording alike.

    `flips`: share of two choices, one in each mode, that differ. `noise`: the same of two repeats
    in one mode; null without repeats. `path_dependence`: flips minus noise, null with it: then
    flips hold noise and effect alike. Repeats of one mode may tell different stories as well, so
    this is a lower bound, and 0 where earlier choices fall by lot.

    `consistency`: how much more often one takes a value that one chose before where the story says
    so (`own_causal`) than where it says that one chose the other (`own_counterfactual`); 0 for one
    that does not heed the story, however stable its preferences are (these alone part `own_causal`
    from `told_counterfactual`, taking the value told as chosen, which was not), 1 for one that
    always keeps to what it is told it chose and never takes what it is told it left. Counted are
    items of two options that stand for different values, one of which was chosen (or told) at an
    earlier stage of two options; of several such stages, at the last. What was told is rebuilt from
    the choices of the same episode.

    `n`: pairs; of `noise` a member, item and mode each; of consistency and its shares choices.
    `n_distinct`: their clusters (dilemmas or norms), over which t intervals and p (of "it is 0")
    run. `n_unscored`: unread, behind an unread one, or not decided. `unread` and `left_out` (with
    those behind) are shares of decisions. `p_holm`: over groups, and, of rows by stage, over these
    too. `seed` is not used: nothing is drawn.
    """
    del seed
    mode = pl.col("context_mode")
    met = tables.decisions.select(mode).unique().collect(engine="streaming")
    # Looked at first: a study in one mode has no pairs, however many decisions.
    if met.select(mode.str.extract(_TELLS)).drop_nulls().n_unique() < len(_MODES):
        return pl.DataFrame(schema=SCHEMA)
    every = answers(tables)
    if every is None:
        return pl.DataFrame(schema=SCHEMA)
    told = every.conditions.with_columns(
        mode.str.extract(_TELLS).alias("mode"), mode.str.replace(_TELLS, "").alias("around")
    )
    every = replace(every, conditions=told)
    found = _flip_rows(every) + _consistency_rows(every, tables.items)
    table = pl.DataFrame(found, schema=SCHEMA, orient="row")
    order = [*_KEY, pl.col("measure").cast(pl.Enum(MEASURES)), "stage"]
    family = [pl.col("measure"), pl.col("instrument"), pl.col("stage").is_null()]
    return corrected(table.sort(order), "p", family)


def _row(measure: str, found: Clustered, chance: float | None) -> dict:
    compared = measure in ("path_dependence", "consistency")
    p = found.p if compared else None
    return {"measure": measure, "chance": chance, "p": p} | found.columns(-1.0 if compared else 0.0)


def _flip_rows(every: Answers) -> list[dict]:
    kept, unit = [*_KEY, "stage", "cluster", "width"], ["member", "item", "order", "around"]
    later = every.items.lazy().filter(pl.col("stage") > 1)
    part = replace(every, rows=every.rows.join(later, on="item", how="semi"))
    pairs = counted(part, kept, unit, "mode", _MODES).at([0, 1])
    found = []
    for key, group in pairs.by(_KEY):
        for stage, part in [({"stage": None}, group), *group.by(["stage"])]:
            found += [key | stage | row for row in _flips(part)]
    return found


def _flips(pairs: Counts) -> list[dict]:
    mine = pairs.only(pairs.scored)
    flips = mine.sums(differ(mine.taken[:, 0], mine.taken[:, 1]))
    sums, sizes = mine.sums(noise(mine.taken))
    floor = sums.sum(1), sizes.sum(1)  # of both modes
    found = {"flips": ratio(*flips), "noise": ratio(*floor)}
    rows = [pairs.columns() | _row(name, one, mine.chance) for name, one in found.items()]
    rows[1] |= {"n": int(floor[1].sum()), "n_unscored": None}
    return [*rows, pairs.columns() | _row("path_dependence", contrast(flips, floor), 0.0)]


def _consistency_rows(every: Answers, items: pl.DataFrame) -> list[dict]:
    keys = every.conditions.select(_KEY).unique().sort(_KEY)
    choices = _choices(_episodes(every, keys), every.items["stage"], _values(every.items, items))
    found = []
    for number, group in groups(choices, ["key"]):
        if group["causal"].n_unique() == len(_MODES):
            key = keys.row(number["key"], named=True)
            parts = [({"stage": None}, group), *groups(group, ["stage"])]
            for stage, part in parts:
                found += [key | stage | row for row in _consistency(part)]
    return found


def _values(known: pl.DataFrame, items: pl.DataFrame) -> np.ndarray:
    """Numbers of the values of both options, (known items, 2); -1: not two that differ."""
    real = items.filter(pl.col("value").ne_missing(QUITS))
    names = real["value"].drop_nulls().unique().sort().to_list()
    number = pl.col("value").replace_strict(names, range(len(names)), return_dtype=pl.Int16)
    v = pl.col("v")
    differ_ = (v.len() == 2) & (v.count() == 2) & (v.n_unique() == 2)
    pair = real.with_columns(number.alias("v")).sort("option").group_by("instrument", "item")
    values = pair.agg(v.first(), v.last().alias("w"), differ_.alias("differ")).filter("differ")
    values = values.rename({"item": "name"})
    both = known.join(values, on=["instrument", "name"], how="left", maintain_order="left")
    return both.select("v", "w").fill_null(-1).to_numpy().astype(int)


def _episodes(every: Answers, keys: pl.DataFrame) -> pl.DataFrame:
    """Episodes with the same items and choices at every step, counted.

    Columns: key (a row of `keys`), causal, cluster, n; and for each step k `k:item` and `k:code`,
    `_MISSING` where there is none.
    """
    kinds = (
        every.conditions.join(keys.with_row_index("key"), on=_KEY, nulls_equal=True)
        .filter(pl.col("mode").is_not_null())
        .select("condition", "key", (pl.col("mode") == _MODES[0]).alias("causal"))
    )
    clusters = every.items.lazy().select("item", "cluster")
    steps = every.rows.select("step").unique().collect(engine="streaming")["step"].sort().to_list()
    what = {
        f"{k}:{name}": pl.when(pl.col("step") == k).then(pl.col(name).cast(pl.Int32)).max()
        for k in steps
        for name in ("item", "code")
    }
    whole = ["key", "causal", "cluster"]
    return (
        every.rows.join(kinds.lazy(), on="condition")
        .join(clusters, on="item")
        .group_by(*whole, "episode", "seat")
        .agg(**what)
        .group_by(*whole, *what)
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .with_columns(pl.col(*what).fill_null(_MISSING))
        .sort(*whole, *what)
        .collect(engine="streaming")
    )


def _choices(episodes: pl.DataFrame, stages: pl.Series, values: np.ndarray) -> pl.DataFrame:
    """A row per kind of episode and step: is the value that one chose before taken, and that told?

    `own_again`, `told_again`: whether there is such a value; `own`, `told`: whether it was taken,
    NaN where nothing was. `stages` (items,) and `values` (items, 2) are those of items.
    """
    about = ["key", "causal", "cluster", "n"]
    cells = episodes.drop(about).to_numpy().astype(int).reshape(len(episodes), -1, 2)
    item, code = cells[..., 0], cells[..., 1]
    stage = np.where(item >= 0, stages.to_numpy()[item], _MISSING)
    pair = np.where((item >= 0)[..., None], values[item], -1)
    clear = (pair >= 0).all(-1) & (code >= 0)
    taken = np.take_along_axis(pair, np.maximum(code, 0)[..., None], axis=-1)[..., 0]
    left = pair.sum(-1) - taken
    causal = episodes["causal"].to_numpy()[:, None]
    frames = [pl.DataFrame(schema={**episodes.select(about).schema, "stage": pl.Int64})]
    before = {"own": taken, "told": np.where(causal, taken, left)}
    for k in range(1, cells.shape[1]):
        found = {}
        for name, value in before.items():
            target = np.full(len(cells), -1)
            for j in range(k):  # later ones count
                again = clear[:, j] & (pair[:, k] == value[:, j, None]).any(1)
                target = np.where(again, value[:, j], target)
            hit = np.where(clear[:, k] & (target >= 0), taken[:, k] == target, np.nan)
            found[name] = pl.Series(hit, nan_to_null=False)
            found[f"{name}_again"] = pl.Series(target >= 0)
        frames.append(
            episodes.select(about).with_columns(
                pl.Series("stage", stage[:, k], pl.Int64), pl.Series("code", code[:, k]), **found
            )
        )
    return pl.concat(frames, how="diagonal")


def _consistency(part: pl.DataFrame) -> list[dict]:
    cluster, n = part["cluster"].to_numpy(), part["n"].to_numpy()
    code, causal = part["code"].to_numpy(), part["causal"].to_numpy()

    def shares(kind: str, mine: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], dict]:
        again = part[f"{kind}_again"].to_numpy() & mine
        hit = np.where(again, part[kind].to_numpy(), np.nan)
        of = [again, ~np.isnan(hit), again & (code == UNREAD), again & (code == BEHIND)]
        every, scored, unread, behind = (int(n[mask].sum()) for mask in of)
        row = {"n": scored, "n_unscored": every - scored, **losses(every, unread, behind)}
        return by_cluster(cluster, n, hit), row

    own, other = shares("own", causal), shares("own", ~causal)
    both = shares("own", causal | ~causal)[1]
    told = shares("told", ~causal)
    named = {"own_causal": own, "own_counterfactual": other, "told_counterfactual": told}
    rows = [about | _row(name, ratio(*sums), 0.5) for name, (sums, about) in named.items()]
    return [both | _row("consistency", contrast(own[0], other[0]), 0.0), *rows]

"""Do instruments agree on who is who, across orientations and within them?"""

from itertools import combinations

import numpy as np
import polars as pl

from sim.analysis.angle_scores import angle_scores
from sim.analysis.association import (
    associated,
    expected,
    group_means,
    kappa,
    kappa_bounds,
    pearson,
    ranks,
    same,
)
from sim.analysis.instrument import instrument
from sim.analysis.intervals import FEWEST, interval, means, p_value, share_interval
from sim.analysis.profile_chance import has_direction
from sim.analysis.scores import (
    ESTIMATE,
    cell,
    generator,
    groups,
    orientations,
    requests,
    unit_ids,
    unwrapped,
)
from sim.analysis.sheets import sheets
from sim.analysis.svo_scores import score_rows
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    "first": pl.String,
    "second": pl.String,
    "scope": pl.String,
    "model": pl.String,
    "agent": pl.String,
    "method": pl.String,
    **ESTIMATE,
    "unread": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
}
_KIND = ["model", "agent", "method"]
_WHO = [*_KIND, "value", "target", "agent_id"]


def agreement(tables: Tables, seed: int) -> pl.DataFrame:
    """Rows of (measure, two instruments, scope, kind of agent) that the same agents answered.

    `pearson`, `spearman`: correlation of measured angles over agents, each agent's repeats averaged
    first; scope `across` takes all orientations together, `within` what is left after each
    orientation's mean was taken off (of orientations that five agents or more have). Null below
    five units: that of two agents is 1 or -1 whatever they do.
    `angle_difference`: first minus second, degrees, the mean of differences that lie within 180 of
    their circular mean; null where they go all round the circle. `vrc_difference`: that of
    chance-corrected value rationality, of agents with a target; where the second instrument's items
    are new ones of the same geometry, agents that have read nothing show what new payoffs alone do.
    `same_category` and `kappa` (Cohen's): of categories, as the instruments name them in common;
    most frequent category of an agent's repeats, null where two are equally so. Chance is 0, of
    `same_category` what independent ones would share. Intervals, over agents (those that share all
    requests are one): jackknife of correlations and of kappa below 50 units and bootstrap from
    there on (`associated` says how often they cover), Wilson's of shares, else those of means.
    `seed` is the bootstrap's. n counts agents that have both scores.
    """
    table = _scores(tables)
    asked = (
        requests(tables)
        .group_by("agent_id")
        .agg(pl.col("requests", "answers").sum(), pl.col("scripted").all())
    )
    rows: list[dict] = []
    for key, part in groups(table, _KIND):
        names = part["instrument"].unique().sort().to_list()
        for first, second in combinations(names, 2):
            pair = (
                _pair(part, first, second).join(asked, on="agent_id", how="left").sort("agent_id")
            )
            about = {"first": first, "second": second} | key
            rows += _pair_rows(about, pair, seed)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _scores(tables: Tables) -> pl.DataFrame:
    """One row per (agent, instrument): angle, vrc, category, counts."""
    wanted = orientations(tables.decisions)
    frames = [
        pl.DataFrame(
            schema={**dict.fromkeys(_WHO, pl.String), "target": pl.Float64, "instrument": pl.String}
        )
    ]
    for sheet in sheets(tables, orders=True):
        rows = score_rows(sheet)
        names = {v: k for k, v in instrument(sheet.instrument).names.items()}
        rows = rows.with_columns(
            pl.col("category").replace(names)
            if "category" in rows.columns
            else pl.lit(None, pl.String).alias("category")
        )
        if sheet.bears_angle:
            scored = angle_scores(sheet, wanted).filter(~pl.col("control"))
            scored = scored.select("episode", "seat", "agent_id", "vrc").fill_nan(None)
            rows = rows.join(scored, on=["episode", "seat", "agent_id"], how="left")
        frames.append(rows)
    table = pl.concat(frames, how="diagonal_relaxed")
    for name in ("angle", "vrc"):
        if name not in table.columns:
            table = table.with_columns(pl.lit(None, pl.Float64).alias(name))
    if "category" not in table.columns:
        table = table.with_columns(
            pl.lit(None, pl.String).alias("category"), n_items=pl.lit(0), n_unread=pl.lit(0)
        )
    return (
        table.group_by(*_WHO, "instrument", maintain_order=True)
        .agg(
            # Circular: a ring's angles go round.
            pl.col("angle").radians().cos().mean().alias("x"),
            pl.col("angle").radians().sin().mean().alias("y"),
            pl.col("vrc").mean(),
            _commonest(),
            pl.col("n_items", "n_unread").sum(),
        )
        .with_columns(pl.arctan2("y", "x").degrees().alias("angle"))
    )


def _commonest() -> pl.Expr:
    """The most frequent category; null where there is no single one."""
    modes = pl.col("category").drop_nulls().mode()
    return pl.when(modes.len() == 1).then(modes.first()).alias("category")


def _pair(part: pl.DataFrame, first: str, second: str) -> pl.DataFrame:
    """One row per agent that was given both."""
    sides = [part.filter(instrument=name) for name in (first, second)]
    return sides[0].join(
        sides[1].select("agent_id", "angle", "vrc", "category", "n_items", "n_unread"),
        on="agent_id",
        how="inner",
        maintain_order="left",
    )


def _pair_rows(about: dict, pair: pl.DataFrame, seed: int) -> list[dict]:
    if pair.is_empty():
        return []
    rows = []
    counts = pair.select("n_unread", "n_unread_right", "n_items", "n_items_right").to_numpy().sum(0)
    common = about | {"unread": float(counts[:2].sum() / counts[2:].sum())}
    angles = pair.select("angle", "angle_right").cast(pl.Float64).to_numpy()
    both = ~np.isnan(angles).any(1)
    if both.any():
        rows += _angle_rows(common, pair, angles, both, seed)
    names = pair.select("category", "category_right")
    has = names.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    if has.any():
        rows += _category_rows(common, pair, names, has, seed)
    return rows


def _angle_rows(common, pair, angles, both, seed) -> list[dict]:
    rows = []
    # Each about its own mean: to turn one towards the other would make them agree.
    near = np.stack([unwrapped(angles[:, 0]), unwrapped(angles[:, 1])], axis=1)
    orientation = pair.select(pl.struct("value", "target").rank("dense")).to_series().to_numpy()
    unit = unit_ids(pair)
    # With few of them, taking off their own mean leaves correlations that look like agreement.
    many = np.bincount(orientation[both], minlength=orientation.max() + 1)[orientation] >= FEWEST
    for scope in ("across", "within"):
        use = both if scope == "across" else both & many
        group = np.zeros(len(use), int) if scope == "across" else orientation
        for measure, ranked in (("pearson", False), ("spearman", True)):

            def score(at, group=group, ranked=ranked):
                x = near[at] - group_means(near[at], group[at])
                return pearson(ranks(x) if ranked else x)

            rng = generator(seed, measure, scope, *common.values())
            found = associated(np.flatnonzero(use), unit, score, rng)
            if found["n_distinct"] < FEWEST:
                found["estimate"] = None
            rows.append(
                common
                | {"measure": measure, "scope": scope}
                | found
                | {"n_unscored": int((~use).sum()), "chance": 0.0, "p": None}
            )
    apart = angles[:, 0] - angles[:, 1]
    directed = has_direction(apart[both], np.full(both.sum(), 1 / both.sum()))
    # About their mean: instruments that say the opposite differ by 180 and by -180, not by 0.
    differences = {"angle_difference": unwrapped(apart)}
    vrc = pair.select("vrc", "vrc_right").cast(pl.Float64).to_numpy()
    if (~np.isnan(vrc).any(1)).any():
        differences["vrc_difference"] = vrc[:, 0] - vrc[:, 1]
    for measure, values in differences.items():
        m = means(values[:, None], unit, generator(seed, measure, *common.values()))
        low, high, kind = interval(m, 0)
        rows.append(
            common
            | {"measure": measure, "scope": "across", "estimate": cell(m.estimate[0])}
            | {"low": cell(low), "high": cell(high), "interval": kind, "n": int(m.n[0])}
            | {"n_distinct": int(m.n_distinct[0]), "n_unscored": len(pair) - int(m.n[0])}
            | {"chance": 0.0, "p": cell(p_value(m, 0))}
        )
        if measure == "angle_difference" and not directed:
            rows[-1] |= dict.fromkeys(("estimate", "low", "high", "interval", "p"))
    return rows


def _category_rows(common, pair, names, has, seed) -> list[dict]:
    text = names.fill_null("").to_numpy()
    codes = np.unique(text, return_inverse=True)[1].reshape(text.shape)
    at, unit = np.flatnonzero(has), unit_ids(pair)
    rng = generator(seed, "kappa", *common.values())
    agree = np.where(has, codes[:, 0] == codes[:, 1], np.nan)
    m = means(agree[:, None], unit, rng)
    low, high, kind = share_interval(m, 0)
    shared = {"estimate": same(codes[has]), "low": cell(low), "high": cell(high), "interval": kind}
    shared |= {"n": int(m.n[0]), "n_distinct": int(m.n_distinct[0])}
    beyond = associated(at, unit, lambda at: kappa(codes[at]), rng, kappa_bounds)
    more = {"scope": "across", "n_unscored": int((~has).sum()), "p": None}
    return [
        common | {"measure": "same_category"} | shared | more
        | {"chance": cell(expected(codes[has]))},
        common | {"measure": "kappa"} | beyond | more | {"chance": 0.0},
    ]  # fmt: skip

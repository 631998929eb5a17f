"""Do choices depend on the order in which options are shown, beyond what repeats differ by?"""

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from sim.analysis.intervals import FEWEST, LEVEL, interval, means, p_value
from sim.analysis.scores import (
    ESTIMATE,
    GROUP,
    average,
    cell,
    generator,
    groups,
    pooled,
    requests,
    unit_ids,
    unread_share,
)
from sim.tables import Tables

SCHEMA = {
    "measure": pl.String,
    **dict.fromkeys(GROUP[:-1], pl.String),
    "target": pl.Float64,
    **ESTIMATE,
    "n_pairs": pl.Int64,
    "unread": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
}
LOTS = 200  # uniform groups that stand for chance


def order_effects(tables: Tables, seed: int) -> pl.DataFrame:
    """Long table of (group, measure), shares 0..1 over agents.

    `flip_other`: how often two answers of an agent to the same item differ where the options stood
    in another order; `flip_same`: where they stood in the same order, the noise floor;
    `order_effect`: the first minus the second, of agents that have both. `position_bias`: how much
    more often an option is taken where it is shown first than where it is not; an agent that takes
    the first option with probability q and else whatever it likes has q, one that so takes the last
    has -q where only the reversed order stands beside the canonical one. `most_taken_place_k`:
    share of choices at the place that the group takes most, which is 1 for the constant-position
    responder that is like it most; chance is what uniform choices have at their most taken place.
    Needs repeats (`n_repeats`) and orders that vary
    (`env.option_order=either`); what is not defined is null. `n_pairs` counts pairs of answers.
    """
    frame = pooled(_choices(tables))
    asked = requests(tables)
    rows: list[dict] = []
    for key, part in groups(frame, GROUP):
        agents = _agents(part)
        agents = agents.join(asked.filter(instrument=key["instrument"]), on="agent_id", how="left")
        rows += (
            _flips(key, part, agents, seed)
            + _bias(key, part, agents)
            + _place(key, part, agents, seed)
        )
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _choices(tables: Tables) -> pl.DataFrame:
    order = pl.col("option_order")
    return tables.decisions.select(
        *GROUP,
        "agent_id",
        "item",
        "action",
        "option_order",
        order.list.first().alias("first"),
        order.list.len().alias("width"),
        order.hash(0).alias("order"),
        pl.col("action").is_null().alias("lost"),
    ).collect(engine="streaming")


def _agents(part: pl.DataFrame) -> pl.DataFrame:
    """One row per agent: counts, flips and pairs of equal and of other order."""
    read = part.filter(~pl.col("lost"))

    def pairs(*by: str) -> pl.DataFrame:
        n = pl.col("len").cast(pl.Int64)
        counts = read.group_by("agent_id", *by).len()
        return counts.group_by("agent_id").agg((n * (n - 1) // 2).sum().alias("pairs"))

    every, alike = pairs("item"), pairs("item", "action")
    same, same_alike = pairs("item", "order"), pairs("item", "order", "action")
    table = part.group_by("agent_id").agg(
        pl.len().alias("n_items"), pl.col("lost").sum().alias("n_unread")
    )
    named = {"every": every, "alike": alike, "same": same, "same_alike": same_alike}
    for name, counts in named.items():
        table = table.join(counts.rename({"pairs": name}), on="agent_id", how="left")
    other = pl.col("every") - pl.col("same")
    flips = (pl.col("every") - pl.col("alike")) - (pl.col("same") - pl.col("same_alike"))
    table = table.fill_null(0).with_columns(other.alias("other"))
    return (
        table.with_columns(
            pl.when(pl.col("other") > 0).then(flips / pl.col("other")).alias("flip_other"),
            pl.when(pl.col("same") > 0)
            .then((pl.col("same") - pl.col("same_alike")) / pl.col("same"))
            .alias("flip_same"),
        )
        .with_columns((pl.col("flip_other") - pl.col("flip_same")).alias("order_effect"))
        .sort("agent_id")
    )


def _flips(key: dict, part: pl.DataFrame, agents: pl.DataFrame, seed: int) -> list[dict]:
    names = ["order_effect", "flip_other", "flip_same"]
    values = agents.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    m = means(values, unit_ids(agents), generator(seed, "order", *key.values()))
    rows = []
    # Two uniform answers differ but for one case in as many as there are options.
    by_lot = average(part.select(1 - 1 / pl.col("width")), "literal")
    for j, name in enumerate(names):
        low, high, kind = interval(m, j)
        pairs = {"flip_same": "same", "flip_other": "other"}.get(name, "every")
        n_pairs = agents.filter(pl.col(name).is_not_null())[pairs].sum()
        least = -1.0 if name == "order_effect" else 0.0
        rows.append(
            {"measure": name, **key, "estimate": cell(m.estimate[j])}
            | {"low": cell(max(low, least)), "high": cell(min(high, 1.0)), "interval": kind}
            | {"n": int(m.n[j]), "n_distinct": int(m.n_distinct[j])}
            | {"n_unscored": len(agents) - int(m.n[j]), "n_pairs": int(n_pairs)}
            | {"unread": unread_share(agents), "chance": 0.0 if name == "order_effect" else by_lot}
            | {"p": cell(p_value(m, j)) if name == "order_effect" else None}
        )
    return rows


def position_bias(
    chosen: np.ndarray, first: np.ndarray, cell_: np.ndarray, agent: np.ndarray
) -> tuple[float, float, int]:
    """How much more often an option is taken where it is shown first; its standard error.

    Options are compared with themselves: within each (item, option) the share taken where shown
    first minus that where not, weighted by n1 n0 / (n1 + n0), which has the least variance where
    these shares vary alike. The error is that of agents as clusters, by linearisation.

    Args:
        chosen: (rows,) 0 or 1, whether the option was taken; a row per option of each choice.
        first: (rows,) bool, whether it was shown first.
        cell_: (rows,) number of the (item, option).
        agent: (rows,) number of the agent.

    Returns:
        estimate and error, NaN where no option was shown in both ways; the number of agents that
        add to it.
    """
    n_cells, n_agents = int(cell_.max(initial=-1)) + 1, int(agent.max(initial=-1)) + 1
    n = np.stack([np.bincount(cell_[first == k], minlength=n_cells) for k in (0, 1)])
    taken = np.stack([np.bincount(cell_[first == k], chosen[first == k], n_cells) for k in (0, 1)])
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where((n > 0).all(0), n[0] * n[1] / n.sum(0), 0.0)
        share = taken / n
    if not weight.any():
        return np.nan, np.nan, 0
    weight = weight / weight.sum()
    estimate = float(np.nansum(weight * (share[1] - share[0])))
    used = weight[cell_] > 0
    side = first.astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = weight[cell_] * (chosen - share[side, cell_]) / n[side, cell_]
    pull = np.where(used, np.where(first, pull, -pull), 0.0)
    each = np.bincount(agent, pull, n_agents)
    count = len(np.unique(agent[used]))
    error = np.sqrt((each**2).sum() * count / (count - 1)) if count > 1 else np.nan
    return estimate, float(error), count


def _bias(key: dict, part: pl.DataFrame, agents: pl.DataFrame) -> list[dict]:
    read = part.filter(~pl.col("lost"))
    options = read.with_row_index("choice").explode("option_order")
    cells = options.select(pl.struct("item", "option_order").rank("dense").alias("cell"))["cell"]
    unit = dict(zip(agents["agent_id"], unit_ids(agents), strict=True))
    numbers = np.array([unit[a] for a in options["agent_id"]])
    estimate, error, count = position_bias(
        (options["action"] == options["option_order"]).to_numpy().astype(float),
        (options["first"] == options["option_order"]).to_numpy(),
        cells.to_numpy().astype(int) - 1,
        np.unique(numbers, return_inverse=True)[1] if len(numbers) else np.zeros(0, int),
    )
    has = count >= FEWEST and error > 0
    half = stdtrit(count - 1, (1 + LEVEL) / 2) * error if has else np.nan
    known = agents.filter(pl.col("n_items") > pl.col("n_unread")) if count else agents.clear()
    p = 2 * float(stdtr(count - 1, -abs(estimate / error))) if has else None
    return [
        {"measure": "position_bias", **key, "estimate": cell(estimate)}
        | {"low": cell(max(estimate - half, -1.0)) if has else None}
        | {"high": cell(min(estimate + half, 1.0)) if has else None}
        | {"interval": "t" if has else None, "n": len(known), "n_distinct": count}
        | {"n_unscored": len(agents) - len(known), "n_pairs": None}
        | {"unread": unread_share(agents), "chance": 0.0, "p": p}
    ]


def _place(key: dict, part: pl.DataFrame, agents: pl.DataFrame, seed: int) -> list[dict]:
    """The place that is taken most; nothing where orders do not vary: it would be a preference."""
    read = part.filter(~pl.col("lost"))
    if not (read.group_by("item").agg(pl.col("order").n_unique())["order"] > 1).any():
        return []
    places = pl.int_ranges(0, pl.col("option_order").list.len()).alias("place")
    at = read.with_columns(places).explode("option_order", "place")
    at = at.filter(pl.col("option_order") == pl.col("action"))
    place = int(np.bincount(at["place"].to_numpy()).argmax())
    by_agent = at.group_by("agent_id").agg((pl.col("place") == place).mean().alias("share"))
    table = agents.join(by_agent, on="agent_id", how="left", maintain_order="left")
    values = table["share"].cast(pl.Float64).fill_null(np.nan).to_numpy()[:, None]
    rng = generator(seed, "place", *key.values())
    m = means(values, unit_ids(table), rng)
    low, high, kind = interval(m, 0)
    return [
        {"measure": f"most_taken_place_{place + 1}", **key, "estimate": cell(m.estimate[0])}
        | {"low": cell(max(low, 0.0)), "high": cell(min(high, 1.0)), "interval": kind}
        | {"n": int(m.n[0]), "n_distinct": int(m.n_distinct[0])}
        | {"n_unscored": len(agents) - int(m.n[0]), "n_pairs": None}
        | {"unread": unread_share(agents), "chance": _most_by_lot(read["width"], rng), "p": None}
    ]


def _most_by_lot(widths: pl.Series, rng: np.random.Generator) -> float:
    """Mean share of uniform choices at the place that these take most."""
    width = widths.to_numpy()
    draws = (rng.random((LOTS, len(width))) * width).astype(int)
    return float(np.mean([np.bincount(row).max() for row in draws]) / len(width))

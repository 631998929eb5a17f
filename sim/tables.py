"""The four tables of a run: their columns, and how to read them back."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

NUMBERS = pl.List(pl.Float64)
INDICES = pl.List(pl.Int16)

# One row per closed choice, sorted (episode, step, seat).
DECISIONS: dict[str, pl.DataType | type[pl.DataType]] = {
    "episode": pl.Int64,
    "repeat": pl.Int32,
    "agent_id": pl.String,  # member of the population, unique in the run
    "seat": pl.String,  # PettingZoo key
    "agent": pl.String,  # kind
    "value": pl.String,  # assigned orientation, null for a control
    "target": pl.Float64,  # degrees, null for a control
    "method": pl.String,  # how the value was assigned
    "model": pl.String,  # null for scripted agents
    "env": pl.String,
    "instrument": pl.String,
    "item": pl.String,
    "step": pl.Int32,
    "stage": pl.Int32,
    "context_mode": pl.String,
    "wording": pl.String,
    "response_mode": pl.String,  # null for scripted agents
    "option_order": INDICES,  # position shown -> canonical option
    "n_options": pl.Int16,
    "action": pl.Int16,  # canonical, 0-based; null unless exactly one option was named
    "status": pl.String,  # ok, repaired, unparsed, refused, error
    "fallback": pl.Int16,  # what the game played instead of a null action
    "payoff_self": pl.Float64,  # of the action; null where the action is
    "payoff_other": pl.Float64,  # mean over others
    "option_self": NUMBERS,  # only where payoffs depend on others' acts
    "option_other": NUMBERS,
    "option_logprobs": NUMBERS,
    "reply": pl.String,  # null for scripted agents
    "reasoning": pl.String,
    "request": pl.String,  # key of the turn whose reply was read
    "prompt_tokens": pl.Int64,  # of decide and reask turns
    "output_tokens": pl.Int64,
}

# One row per request used, sorted (episode, step, seat, turn, try).
TURNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "request": pl.String,
    "episode": pl.Int64,
    "seat": pl.String,
    "agent_id": pl.String,
    "step": pl.Int32,
    "turn": pl.Int32,
    "try": pl.Int32,
    "kind": pl.String,
    "reply": pl.String,
    "reasoning": pl.String,
    "response_mode": pl.String,
    "finish_reason": pl.String,
    "error": pl.String,
    "prompt_tokens": pl.Int64,
    "cached_tokens": pl.Int64,  # measured, like latency_s: differs between runs
    "output_tokens": pl.Int64,
    "latency_s": pl.Float64,
}

# One row per (env, item, canonical option).
ITEMS: dict[str, pl.DataType | type[pl.DataType]] = {
    "env": pl.String,
    "instrument": pl.String,
    "item": pl.String,
    "form": pl.String,  # items of an instrument that are scored together; null where none are
    "option": pl.Int16,
    "payoff_self": pl.Float64,
    "payoff_other": pl.Float64,
    "centre_self": pl.Float64,  # the point about which angles are measured; null if none
    "centre_other": pl.Float64,
    "radius": pl.Float64,  # payoff points from the centre to a pole; null if none
    # The value that this option stands for (a pole of an item), else null; "undecided": none, it is
    # not to decide.
    "value": pl.String,
    "theory": pl.String,
    "stage": pl.Int32,
    "cluster": pl.String,
    "text": pl.String,
}

# One row per member of the population; cohort columns may follow.
AGENTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "agent_id": pl.String,
    "agent": pl.String,
    "member": pl.String,  # who in the population: the same under every agent kind
    "value": pl.String,
    "target": pl.Float64,
    "profile": pl.String,  # weights as JSON, null without one
    "method": pl.String,
    "model": pl.String,
}


@dataclass(frozen=True, eq=False)  # what was made of one can be kept
class Tables:
    """A run's tables. The two long ones are lazy: select columns before collecting."""

    decisions: pl.LazyFrame
    turns: pl.LazyFrame
    items: pl.DataFrame
    agents: pl.DataFrame


def load(run: str | Path, *more: str | Path) -> Tables:
    """Tables of a run folder, or of several as one.

    Of several, episodes are numbered on and agents are told apart: their ids (and members) begin
    with the number of the run, 0, 1 ..., and a slash; so nobody is paired across runs (kinds to
    be contrasted belong into one run). Concatenating tables by hand does neither.

    Raises:
        FileNotFoundError: a run that has no tables yet.
        ValueError: runs that mean different things by the same item.
    """
    if not more:
        return _load(Path(run))
    places = [Path(folder).resolve() for folder in (run, *more)]
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"every run can be loaded once, got {place} twice")
    decisions, turns, items, agents, start = [], [], [], [], 0
    for k, folder in enumerate((run, *more)):
        one = _load(Path(folder))
        mine = (pl.lit(f"{k}/") + pl.col("agent_id")).alias("agent_id")
        later = pl.col("episode") + start
        decisions.append(one.decisions.with_columns(mine, later))
        turns.append(one.turns.with_columns(mine, later))
        members = (pl.lit(f"{k}/") + pl.col("member")).alias("member")
        agents.append(one.agents.with_columns(mine, members))
        items.append(one.items)
        start += 1 + (one.decisions.select(pl.col("episode").max()).collect().item() or 0)
    # Other words are no other item; those of the first run are kept.
    numbers = [column for column in ITEMS if column != "text"]
    all_items = pl.concat(items).unique(numbers, keep="first", maintain_order=True)
    twice = all_items.select("env", "item", "option").is_duplicated()
    if twice.any():
        name = all_items["item"].filter(twice)[0]
        folders = ", ".join(str(folder) for folder in (run, *more))
        raise ValueError(f"an item must be the same in all runs, got two {name!r} in {folders}")
    people = pl.concat(agents, how="diagonal_relaxed")
    return Tables(pl.concat(decisions), pl.concat(turns), all_items, people)


def _load(run: Path) -> Tables:
    return Tables(
        pl.scan_parquet(run / "decisions.parquet"),
        pl.scan_parquet(run / "turns.parquet"),
        pl.read_parquet(run / "items.parquet"),
        pl.read_parquet(run / "agents.parquet"),
    )

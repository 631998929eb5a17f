"""How well the pocket model does what it was made for: `python -m sim.pocket.evaluate`.

On choices and wordings that were kept out of its training, sampled at temperature 1 as in a
study. Shares have 95 % intervals over conversations (percentile bootstrap).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hydra.utils import instantiate
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from agents.base import Message
from sim.analysis import human
from sim.analysis.angle import angle
from sim.analysis.slider import category
from sim.configs import compose
from sim.errors import CallFailed
from sim.inference import modes
from sim.inference.base import Backend, Reply, Request, Slot
from sim.pocket.games import WEIGHTS, Options
from sim.pocket.kept_out import SEEDS
from sim.pocket.text import LABELS, OTHER, SVO, UNIT, Exchange, Writer, definitions, own
from sim.run import play
from sim.setup import build

NEAR = 0.02  # of the range of an item's payoffs
GENERATED = (
    "env=svo_generated", f"env.items_seed={SEEDS[1]}", "env.option_order=shuffled",
    "display=false", "on_error=stop", "n_reasks=0",
)  # fmt: skip


@dataclass
class Line:
    """One number of the evaluation."""

    what: str
    value: float
    low: float
    high: float
    n: int  # units: conversations, or pairs of answers
    chance: float | None  # the value of answers drawn by lot among the options; None: has none


def near_best(value: str, options: Options, chosen: int) -> bool:
    """Whether an option's assigned utility is the highest, or lower by 2 % of the range at most.

    The range is the wider of the item's two ranges of payoffs.
    """
    own_, other, _ = WEIGHTS[value]
    u = options @ np.array([own_, other]) / np.hypot(own_, other)
    return bool(u.max() - u[chosen] <= NEAR * np.ptp(options, axis=0).max())


def by_lot(value: str, options: Options) -> float:
    """Share of an item's options that are near the best."""
    return float(np.mean([near_best(value, options, k) for k in range(len(options))]))


def share(
    what: str, groups: Sequence[Sequence[float]], chance: Sequence[float] | None = None
) -> Line:
    """Mean over all entries, with an interval over groups (conversations).

    Args:
        what: its name.
        groups: entries, group by group.
        chance: what each entry would be on average if the answer were drawn by lot.
    """
    sums = np.array([(sum(g), len(g)) for g in groups if len(g)], float)
    draws = np.random.default_rng(0).integers(len(sums), size=(2000, len(sums)))
    boot = sums[draws].sum(axis=1)
    low, high = np.percentile(boot[:, 0] / boot[:, 1], [2.5, 97.5])
    total = sums.sum(axis=0)
    lot = None if chance is None else float(np.mean(chance))
    return Line(what, total[0] / total[1], low, high, len(sums), lot)


def study(model: str, *overrides: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(decisions, items) of a study with the model."""
    config = compose(f"model={model}", *GENERATED, *overrides)
    with tempfile.TemporaryDirectory() as folder:
        play(build(config), Path(folder), False, False)
        tables = [pl.read_parquet(Path(folder) / f"{t}.parquet") for t in ("decisions", "items")]
    return tables[0], tables[1]


def games(model: str, n: int, response_mode: str) -> Iterator[Line]:
    """On generated items that were kept out, by our agents' own wordings."""
    for widths in ("[9,9]", "[2,9]"):
        rows, items = study(
            model, "experiment=hvae", f"population.n={n}", f"env.n_options={widths}",
            "agent=[hvae,hvae_goal,definition]", f"response_mode={response_mode}",
        )  # fmt: skip
        paid = {
            item: part.sort("option").select("payoff_self", "payoff_other").to_numpy()
            for (item,), part in items.partition_by("item", as_dict=True).items()
        }
        told = rows.filter(pl.col("value").is_not_null())
        read = told.filter(pl.col("action").is_not_null())
        good: dict[int, list[float]] = {}
        by_value: dict[str, dict[int, list[float]]] = {}
        lots: dict[str, list[float]] = {}
        for episode, value, item, action in read.select(
            "episode", "value", "item", "action"
        ).iter_rows():
            options = paid[item].astype(np.int64)
            hit = float(near_best(value, options, action))
            lots.setdefault(value, []).append(by_lot(value, options))
            good.setdefault(episode, []).append(hit)
            by_value.setdefault(value, {}).setdefault(episode, []).append(hit)
        what = f"{response_mode}: best or within 2 %, items of {widths} options"
        yield share(what, list(good.values()), [*chain.from_iterable(lots.values())])
        for value, groups in sorted(by_value.items()):
            yield share(f"... {value}", list(groups.values()), lots[value])
        ok = [(e, float(a is not None)) for e, a in rows.select("episode", "action").iter_rows()]
        groups_: dict[int, list[float]] = {}
        for episode, hit in ok:
            groups_.setdefault(episode, []).append(hit)
        yield share(f"{response_mode}: readable at the first try", list(groups_.values()))


def ask(backend: Backend, messages: Sequence[Message], labels: Sequence[Any], seed: int) -> list:
    """Replies to questions, in their order."""
    requests = [
        Request(m, "text", x, (seed << 32) + k, Slot(k, 0, 0, 0, 0))
        for k, (m, x) in enumerate(zip(messages, labels, strict=True))
    ]
    backend.submit(requests)
    replies: dict[int, Reply] = {}
    while len(replies) < len(requests):
        for request, reply in backend.ready():
            if reply.error is not None:  # no answer, and no unreadable one either
                raise CallFailed(f"question {request.slot.episode} failed: {reply.error}")
            replies[request.slot.episode] = reply
    return [replies[k] for k in range(len(requests))]


def wordings(backend: Backend, n: int) -> Iterator[Line]:
    """On conversations in wordings that were kept out; what is said before is the writer's."""
    writer = Writer(held_out=True, others=1.0, dilemmas=0.0)
    talks: list[list[Exchange]] = []
    k = 0
    while len(talks) < n:
        talk = writer.conversation(np.random.default_rng([SEEDS[1], k]))
        k += 1
        last = talk[-1]
        if last.choice is not None and last.choice.value is not None and not last.silent:
            talks.append(talk)
    tips: list[Message | None] = [None] * n
    good: list[list[float]] = [[] for _ in talks]
    read: list[list[float]] = [[] for _ in talks]
    lots: list[float] = []
    for turn in range(max(len(talk) for talk in talks)):
        live = [i for i, talk in enumerate(talks) if turn < len(talk)]
        for i in live:
            for role, content in talks[i][turn].said:
                tips[i] = Message(role, content, tips[i])
        choices = [talks[i][turn].choice for i in live]
        labels = [tuple(c.labels) if c else None for c in choices]
        replies = ask(backend, [tips[i] for i in live], labels, turn)  # type: ignore[misc]
        for i, choice, reply in zip(live, choices, replies, strict=True):
            told = reply.text if choice else "".join(talks[i][turn].reply)
            tips[i] = Message("assistant", told, tips[i])
            if choice is None or choice.payoffs is None:
                continue
            option = _option(reply.text, choice.labels)
            read[i].append(float(option is not None))
            if option is not None and choice.value is not None:
                good[i].append(float(near_best(choice.value, choice.payoffs, option)))
                lots.append(by_lot(choice.value, choice.payoffs))
    yield share("unseen wordings: best or within 2 %", good, lots)
    yield share("unseen wordings: readable", read)


def _option(text: str, labels: str) -> int | None:
    """The option that a reply names in whatever form the question asked for."""
    for mode in ("json", "choice", "text"):
        found = modes.read(mode, text, tuple(labels)).option
        if found is not None:
            return found
    return None


def orders(backend: Backend, n: int) -> Iterator[Line]:
    """How often the order of the options changes an answer, beyond how often it changes anyway."""
    game = instantiate(compose(*GENERATED).env)
    rows: dict[str, list[tuple[int, int]]] = {}
    for row in game.items():
        rows.setdefault(row["item"], []).append((row["payoff_self"], row["payoff_other"]))
    rng = np.random.default_rng(SEEDS[1])
    messages, shown = [], []
    for k in range(n):
        options = np.array(list(rows.values())[k % len(rows)])
        value = SVO[k % 4]
        first, second = (rng.permutation(len(options)) for _ in range(2))
        for order in (first, first, second):
            messages.append(_question(value, options[order]))
            shown.append(order)
    replies = ask(backend, messages, [tuple(LABELS[: len(o)]) for o in shown], 7)
    picked = [_chosen(r.text, o) for r, o in zip(replies, shown, strict=True)]
    floor, flips, effect, lots = [], [], [], []
    for a, b, c, order in zip(picked[::3], picked[1::3], picked[2::3], shown[::3], strict=True):
        if None not in (a, b, c):
            lots.append(1 - 1 / len(order))
            floor.append([float(a != b)])
            flips.append([float(a != c)])
            effect.append([float(a != c) - float(a != b)])
    yield share("flips between orders", flips, lots)
    yield share("flips between repeats of an order", floor, lots)
    yield share("order effect, the difference", effect, [0.0])


def _question(value: str, options: NDArray[np.int64]) -> Message:
    words = own()
    lines = "\n".join(
        f"{LABELS[i]}: " + words["option"].format(self=a, other=b, unit=UNIT)
        for i, (a, b) in enumerate(options.tolist())
    )
    asked = words["text"].format(n=len(options), unit=UNIT, other=OTHER, options=lines)
    system = words["system"].format(value=value, definition=definitions()[value])
    asked = f"{asked}\n\n{words['text_format']}"
    return Message("user", asked, Message("system", system, None))


def _chosen(text: str, order: NDArray[np.int64]) -> int | None:
    option = modes.read("text", text, tuple(LABELS[: len(order)])).option
    return None if option is None else int(order[option])


def people(model: str, n: int) -> Iterator[Line]:
    """Without an instruction, on the slider: angle and share of prosocials beside people's."""
    config = compose(
        f"model={model}", "experiment=hvae", "agent=[hvae,hvae_goal]", "population=counts",
        *(f"population.counts.{value}=0" for value in SVO), f"population.counts.control={n}",
        "display=false",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        play(build(config), Path(folder), False, False)
        rows = pl.read_parquet(Path(folder) / "decisions.parquet")
    whole = rows.filter(pl.col("payoff_self").is_not_null()).group_by(
        "episode", maintain_order=True
    )
    means = whole.agg(pl.col("payoff_self", "payoff_other").mean(), pl.len())
    means = means.filter(pl.col("len") == 6)
    paid = means.select("payoff_self", "payoff_other").to_numpy()
    angles = angle(paid[:, None, :], (50.0, 50.0), 50.0)
    yield share(f"control's angle (people: {human.MEAN})", [[a] for a in angles.tolist()])
    social = [[float(c == "prosocial")] for c in category(angles)]
    yield share(f"control's share of prosocials (people: {human.CATEGORY['prosocial']})", social)


def main() -> int:
    """Evaluates and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sim.pocket.evaluate", description=__doc__)
    parser.add_argument("--model", default="pocket", help="preset of conf/model (default: pocket)")
    parser.add_argument("--n", type=int, default=200, help="agents or conversations of each part")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    given = parser.parse_args()
    backend = instantiate(compose(f"model={given.model}").model)
    console = Console(width=None if sys.stdout.isatty() else 110)
    lines: list[Line] = []
    with console.status("evaluating ..."):
        for mode in ("text", "label"):
            lines += games(given.model, given.n, mode)
        lines += wordings(backend, given.n)
        lines += orders(backend, 4 * given.n)
        lines += people(given.model, given.n)
    table = Table(title="Pocket model on what was kept out of its training, temperature 1")
    for column in ("what", "value", "95 % interval", "n", "by lot"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for x in lines:
        lot = "" if x.chance is None else f"{x.chance:.3f}"
        interval = f"{x.low:.3f} .. {x.high:.3f}"
        table.add_row(x.what, f"{x.value:.3f}", interval, f"{x.n:,}", lot)
    console.print(table)
    if given.out:
        given.out.write_text(json.dumps([vars(x) for x in lines], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

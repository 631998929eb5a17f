"""What is measured of the pocket model, on choices and wordings that were kept out of training."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hydra.utils import instantiate
from numpy.typing import NDArray

from agents.base import Message
from sim.analysis import human
from sim.analysis.angle import angle
from sim.analysis.slider import category
from sim.configs import compose
from sim.errors import CallFailed
from sim.inference import modes
from sim.inference.base import Backend, Reply, Request, Slot
from sim.pocket.games import Games, Options
from sim.pocket.kept_out import SEEDS
from sim.pocket.scores import Line, Score, line, scored
from sim.pocket.text import LABELS, OTHER, UNIT, Exchange, Writer
from sim.pocket.words import SVO, definitions, own
from sim.run import play
from sim.setup import build

GENERATED = (
    "env=svo_generated", f"env.items_seed={SEEDS[1]}", "env.option_order=shuffled",
    "display=false", "on_error=stop", "n_reasks=0",
)  # fmt: skip


def _grouped(rows: pl.DataFrame, by: str, *columns: str) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, *entry in rows.select(by, *columns).iter_rows():
        found.setdefault(key, []).append(entry if len(entry) > 1 else entry[0])
    return found


def study(model: Sequence[str], *overrides: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(decisions, items) of a study with the model."""
    with tempfile.TemporaryDirectory() as folder:
        play(build(compose(*model, *overrides)), Path(folder), False, False)
        tables = [pl.read_parquet(Path(folder) / f"{t}.parquet") for t in ("decisions", "items")]
    return tables[0], tables[1]


def games(model: Sequence[str], n: int, response_mode: str) -> Iterator[Line]:
    """On generated items that were kept out, by our agents' own wordings."""
    for widths in ("[9,9]", "[2,9]"):
        rows, items = study(
            model, *GENERATED, "experiment=hvae", f"population.n={n}", f"env.n_options={widths}",
            "agent=[hvae,hvae_goal,definition]", f"response_mode={response_mode}",
        )  # fmt: skip
        paid = {
            item: part.sort("option").select("payoff_self", "payoff_other").to_numpy()
            for (item,), part in items.partition_by("item", as_dict=True).items()
        }
        told = rows.filter(pl.col("value").is_not_null())
        read = told.filter(pl.col("action").is_not_null())
        unread = 1 - read.height / told.height
        what = f"{response_mode}, {widths} options"
        for own_range, name in ((False, "near the best"), (True, "... by the utility's own range")):
            scores = {
                episode: [
                    Score.of(value, paid[item].astype(np.int64), action, own_range)
                    for value, item, action in group
                ]
                for episode, group in _grouped(read, "episode", "value", "item", "action").items()
            }
            yield scored(f"{what}: {name}" if not own_range else name, scores, unread)
        for (value,), part in read.sort("value").partition_by("value", as_dict=True).items():
            scores = {
                episode: [Score.of(value, paid[i].astype(np.int64), a) for i, a in group]
                for episode, group in _grouped(part, "episode", "item", "action").items()
            }
            lost = 1 - part.height / told.filter(pl.col("value") == value).height
            yield scored(f"... {value}", scores, lost)
        if response_mode != "label":  # there is nothing to read
            known = rows.with_columns(read=pl.col("action").is_not_null().cast(pl.Float64))
            yield line(f"{what}: readable at the first try", _grouped(known, "episode", "read"))


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


class _KeptOut(Games):
    """Draws from the items of the evaluation, in any order."""

    def __init__(self):
        super().__init__(())
        self._items: dict[int, list[Options]] = {}
        for options in _items():
            self._items.setdefault(len(options), []).append(options)

    def draw(self, rng: np.random.Generator, n_options: int) -> Options:
        known = self._items[n_options]
        return rng.permutation(known[int(rng.integers(len(known)))])


def _items() -> list[Options]:
    found: dict[str, list[tuple[int, int]]] = {}
    for row in instantiate(compose(*GENERATED, "env.n_options=[2,9]").env).items():
        found.setdefault(row["item"], []).append((row["payoff_self"], row["payoff_other"]))
    return [np.array(options) for options in found.values()]


def wordings(backend: Backend, n: int, words: str) -> Iterator[Line]:
    """On conversations in wordings that were kept out; all replies are the model's own.

    Args:
        backend: of the model.
        n: conversations.
        words: which of those in `wordings.yaml` that are for evaluation alone.
    """
    writer = Writer(words=words, others=1.0, dilemmas=0.0, games=_KeptOut())
    talks: list[list[Exchange]] = []
    k = 0
    while len(talks) < n:
        talk = writer.conversation(np.random.default_rng([SEEDS[1], k]))
        k += 1
        last = talk[-1]
        if last.choice is not None and last.choice.value is not None and not last.silent:
            talks.append(talk)
    tips: list[Message | None] = [None] * n
    own_words: list[dict[str, str]] = [{} for _ in talks]  # what is written -> what it said
    good: dict[int, list[Score]] = {}
    read: dict[int, list[float]] = {}
    for turn in range(max(len(talk) for talk in talks)):
        live = [i for i, talk in enumerate(talks) if turn < len(talk)]
        for i in live:
            for role, content in talks[i][turn].said:
                for written, spoken in own_words[i].items():  # the goal, in reminders
                    content = content.replace(written, spoken)
                tips[i] = Message(role, content, tips[i])
        choices = [talks[i][turn].choice for i in live]
        labels = [tuple(c.labels) if c else None for c in choices]
        replies = ask(backend, [tips[i] for i in live], labels, turn)  # type: ignore[misc]
        for i, choice, reply in zip(live, choices, replies, strict=True):
            tips[i] = Message("assistant", reply.text, tips[i])
            if choice is None:
                own_words[i]["".join(talks[i][turn].reply)] = reply.text
                continue
            assert choice.payoffs is not None and choice.value is not None
            option = _option(reply.text, choice.labels)
            read.setdefault(i, []).append(float(option is not None))
            if option is not None:
                good.setdefault(i, []).append(Score.of(choice.value, choice.payoffs, option))
    readable = line(f"{words} wordings: readable", read)
    yield scored(f"{words} wordings: near the best", good, 1 - readable.value)
    yield readable


def _option(text: str, labels: str) -> int | None:
    """The option that a reply names in whatever form the question asked for."""
    for mode in ("json", "choice", "text"):
        found = modes.read(mode, text, tuple(labels)).option
        if found is not None:
            return found
    return None


def orders(backend: Backend, n: int) -> Iterator[Line]:
    """How often the order of the options changes an answer, beyond how often it changes anyway."""
    items = _items()
    rng = np.random.default_rng(SEEDS[1])
    messages, shown = [], []
    for k in range(n):
        value, options = SVO[k % 4], items[k // 4 % len(items)]
        first, second = (rng.permutation(len(options)) for _ in range(2))
        for order in (first, first, second):
            messages.append(_question(value, options[order]))
            shown.append(order)
    replies = ask(backend, messages, [tuple(LABELS[: len(o)]) for o in shown], 7)
    picked = [_chosen(r.text, o) for r, o in zip(replies, shown, strict=True)]
    floor: dict[int, list[float]] = {}
    flips: dict[int, list[float]] = {}
    lots = []
    triples = zip(picked[::3], picked[1::3], picked[2::3], shown[::3], strict=True)
    for k, (a, b, c, order) in enumerate(triples):
        if None not in (a, b, c):
            lots.append(1 - 1 / len(order))
            floor.setdefault(k // 4 % len(items), []).append(float(a != b))
            flips.setdefault(k // 4 % len(items), []).append(float(a != c))
    effect = {k: np.subtract(flips[k], floor[k]).tolist() for k in flips}
    unread, lot = 1 - len(lots) / n, float(np.mean(lots))
    yield line("another order: other option", flips, unread=unread, lot=lot)
    yield line("the same order again: other option", floor, unread=unread, lot=lot)
    yield line("order effect, the difference", effect, unread=unread, lot=0.0)


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


def people(model: Sequence[str], n: int) -> Iterator[Line]:
    """Without an instruction, on the slider: angle and share of prosocials beside people's."""
    rows, _ = study(
        model, "experiment=hvae", "agent=[hvae,hvae_goal]", "population=counts",
        *(f"population.counts.{value}=0" for value in SVO), f"population.counts.control={n}",
        "display=false",
    )  # fmt: skip
    for (method,), part in rows.sort("method").partition_by("method", as_dict=True).items():
        paid = [
            np.array(sheet, float)
            for sheet in _grouped(part, "episode", "payoff_self", "payoff_other").values()
            if None not in np.array(sheet)
        ]
        unread = 1 - len(paid) / part["episode"].n_unique()
        angles = angle(np.array(paid), (50.0, 50.0), 50.0)
        each = dict(enumerate([a] for a in angles.tolist()))
        yield line(f"{method}: angle (people {human.MEAN})", each, unread=unread)
        social = dict(enumerate([float(c == "prosocial")] for c in category(angles)))
        told = f"{method}: prosocials (people {human.CATEGORY['prosocial']})"
        yield line(told, social, unread=unread)

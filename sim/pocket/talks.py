"""Conversations of the evaluation, in wordings that were kept out of training."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hydra.utils import instantiate

from agents.base import Message
from sim.configs import compose
from sim.errors import CallFailed
from sim.inference import modes
from sim.inference.base import Backend, Reply, Request, Slot
from sim.pocket.games import Games, Options
from sim.pocket.kept_out import SEEDS
from sim.pocket.scores import Line, Score, line, scored
from sim.pocket.text import Exchange, Writer
from sim.pocket.words import bank

GENERATED = (
    "env=svo_generated", f"env.items_seed={SEEDS[1]}", "env.option_order=shuffled",
    "display=false", "on_error=stop", "n_reasks=0",
)  # fmt: skip

SCORED = ("hit", "lot", "taught")


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
        for options in items():
            self._items.setdefault(len(options), []).append(options)

    def draw(self, rng: np.random.Generator, n_options: int) -> Options:
        known = self._items[n_options]
        return rng.permutation(known[int(rng.integers(len(known)))])


def items() -> list[Options]:
    """The items of the evaluation that have 2 to 9 options."""
    found: dict[str, list[tuple[int, int]]] = {}
    for row in instantiate(compose(*GENERATED, "env.n_options=[2,9]").env).items():
        found.setdefault(row["item"], []).append((row["payoff_self"], row["payoff_other"]))
    return [np.array(options) for options in found.values()]


def wordings(backend: Backend, n: int, words: str) -> Iterator[Line]:
    """On conversations in wordings that were kept out; all replies are the model's own.

    The interval over conversations is that of these few wordings; the one over option lines,
    where models fail, tells what others may give.

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
    what = f"{words} wordings, {'greedy' if backend.greedy else 'drawn'}"
    readable = line(f"{what}: readable", read)
    yield scored(f"{what}: near the best", good, 1 - readable.value)
    lines: dict[str, list[Score]] = {}
    for i, scores in good.items():
        lines.setdefault(_option_line(talks[i], words), []).extend(scores)
    means = {
        known: [Score(*(float(np.mean([getattr(s, k) for s in part])) for k in SCORED))]
        for known, part in lines.items()
    }
    yield scored("... mean of the option lines", means, 1 - readable.value)
    for known in sorted(lines):
        part = {i: s for i, s in good.items() if _option_line(talks[i], words) == known}
        unread = [1 - r for i in part for r in read[i]]
        yield scored(f"... {known}", part, float(np.mean(unread)))
    yield readable


def _option_line(talk: list[Exchange], words: str) -> str:
    """The wording of the options in a conversation."""
    asked, after = next(
        (one, other)
        for one, other in zip(talk, [*talk[1:], talk[-1]], strict=True)
        if "\nA: " in f"\n{one.said[-1][1]}"
    )
    choice = asked.choice or after.choice  # it was asked again
    assert choice is not None and choice.payoffs is not None
    own_points, other = choice.payoffs[0]
    shown = next(x[3:] for x in asked.said[-1][1].split("\n") if x.startswith("A: "))
    for known in bank(words)["option"]:
        filled = known.format(self=own_points, other=other, unit="\0")
        if re.fullmatch(".+".join(map(re.escape, filled.split("\0"))), shown):
            return known
    raise ValueError(f"no option line of {words} gives {shown!r}")


def _option(text: str, labels: str) -> int | None:
    """The option that a reply names in whatever form the question asked for."""
    for mode in ("json", "choice", "text"):
        found = modes.read(mode, text, tuple(labels)).option
        if found is not None:
            return found
    return None

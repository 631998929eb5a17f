"""Replies computed from the question: a language model's part played by rules.

For tests, dry studies and speed. It reads the words that a model would read: the payoffs in
the options' lines and the name of an orientation in what the user or system said. It is no
model and its numbers are no evidence about any.
"""

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from agents.base import Message
from sim.inference.base import Backend, Reply, Request

_NUMBER = r"(-?\d+(?:\.\d+)?)"
OPTION = re.compile(rf"^(\w+): {_NUMBER}\D+?{_NUMBER}\D*$", re.MULTILINE)
DESCRIPTION = "It is about how such a person weighs their own outcome and that of others."
ROLE = "Understood. I will answer as such a person."
GOALS = {True: "I want to act as my orientation asks of me.", False: "I have no particular goal."}
UNREAD = (
    "I would rather not say.",
    "Both {a} and {b} have something to be said for them.",
    "Not {a}.",
    "",
)


@lru_cache(maxsize=4096)
def _payoffs(text: str) -> tuple[tuple[str, ...], tuple[tuple[float, float], ...]]:
    """Labels and (own, other) payoffs that a question offers, in the order shown."""
    found = OPTION.findall(text)
    return tuple(f[0] for f in found), tuple((float(f[1]), float(f[2])) for f in found)


class ScriptedBackend(Backend):
    """Follows the orientation it is told, as well as its words can be read.

    Args:
        angles: orientation's name -> angle in degrees; the name that the conversation names
            first is followed, with nothing named, or options without payoffs, any is taken.
        temperature: of the softmax over utilities, payoff points, above 0.
        unread: share of decisions, 0..1, answered in a way that names no single option.
        chunk: most replies that `ready` returns at once.
    """

    def __init__(self, angles: Mapping[str, float], temperature: float, unread: float, chunk: int):
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if not 0 <= unread <= 1:
            raise ValueError(f"unread must lie in 0..1, got {unread}")
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise ValueError(f"chunk must be a whole number, 1 or more, got {chunk!r}")
        self.model = "scripted"
        self._angles = dict(angles)
        names = "|".join(re.escape(name) for name in sorted(angles, key=len, reverse=True))
        self._named = re.compile(rf"\b({names})\b", re.IGNORECASE) if angles else None
        self._temperature, self._unread, self._chunk = temperature, unread, chunk
        self._open: deque[Request] = deque()
        self._read = lru_cache(maxsize=65536)(self._name_and_tokens)
        self._weights = lru_cache(maxsize=65536)(self._option_weights)

    def identity(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "angles": self._angles,
            "temperature": self._temperature,
            "unread": self._unread,
        }

    def submit(self, requests: Sequence[Request]) -> None:
        self._open.extend(requests)

    def ready(self) -> list[tuple[Request, Reply]]:
        n = min(self._chunk, len(self._open))
        return [(r, self._reply(r)) for r in (self._open.popleft() for _ in range(n))]

    def count_tokens(self, text: str) -> int:
        return text.count(" ") + text.count("\n") + 1 if text else 0

    def _state(self, message: Message) -> tuple[str | None, int]:
        """(orientation named first, tokens so far) of a conversation, kept with its messages."""
        if message.state is None:
            value, tokens = (None, 0) if message.parent is None else self._state(message.parent)
            named, more = self._read(message.content)
            if value is None and message.role != "assistant":
                value = named
            message.state = (value, tokens + more)
        return message.state

    def _name_and_tokens(self, text: str) -> tuple[str | None, int]:
        found = self._named.search(text) if self._named is not None else None
        return found[1].lower() if found else None, self.count_tokens(text)

    def _option_weights(self, options: tuple[tuple[int, int], ...], value: str | None) -> list:
        """Cumulated choice probabilities of the options shown."""
        if value is None:
            weights = np.ones(len(options))
        else:
            t = math.radians(self._angles[value])
            utility = np.array(options) @ [math.cos(t), math.sin(t)]
            weights = np.exp((utility - utility.max()) / self._temperature)
        return (np.cumsum(weights) / weights.sum()).tolist()

    def _reply(self, request: Request) -> Reply:
        value, prompt_tokens = self._state(request.message)
        text = self._say(request, value)
        return Reply(text, prompt_tokens=prompt_tokens, output_tokens=self.count_tokens(text))

    def _say(self, request: Request, value: str | None) -> str:
        message = request.message
        if request.labels is None:
            if "one single sentence" in message.content:
                return GOALS[value is not None]
            return DESCRIPTION if message.parent is None else ROLE
        # Two draws from one seed of 63 bits.
        seed = request.seed or 0
        first, second = (seed >> 32) / 2**31, (seed & 0xFFFFFFFF) / 2**32
        if first < self._unread:
            other = request.labels[-1]
            return UNREAD[int(second * len(UNREAD))].format(a=request.labels[0], b=other)
        # A re-ask shows no options: they stand in an earlier message.
        labels, options = _payoffs(message.content)
        while len(options) < len(request.labels) and message.parent is not None:
            message = message.parent
            labels, options = _payoffs(message.content)
        if len(options) != len(request.labels):  # it knows payoffs only: any option will do
            labels, options = request.labels, ((0.0, 0.0),) * len(request.labels)
            value = None
        for label, reached in zip(labels, self._weights(options, value), strict=True):
            if second < reached:
                return f"Answer: {label}"
        return f"Answer: {labels[-1]}"

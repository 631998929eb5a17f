"""A served model as the config describes it, and the bodies of its requests."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agents.base import Message
from sim.errors import Refusal
from sim.inference import modes
from sim.inference.base import Request
from sim.inference.dialects import Dialect
from sim.inference.prices import Prices
from sim.inference.thinking import Thinking

OPENAI = "https://api.openai.com/v1"
# Fields that have keys of their own, or that would make the cost another.
_OURS = ("messages", "seed", "stream", "n", "best_of", "max_tokens", "max_completion_tokens")
TEMPLATE = 16  # tokens that a server's chat template adds to a message, at most


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Refuses what is no whole number from `least` up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refusal(f"{name} must be a whole number, {least} or more, got {value!r}")


@dataclass(frozen=True)
class Calls:
    """How calls are made; no reply depends on it.

    Attributes:
        concurrency: most calls in flight.
        timeout: seconds that one call may take, from sending to the last byte.
        tries: calls for one request, at most.
        backoff: seconds before a second try; doubled for every further one, up to a minute.
        longest_wait: seconds that a server may ask to wait, or that may pass with faults and
            without a reply; beyond, the run stops.
    """

    concurrency: int
    timeout: float
    tries: int
    backoff: float
    longest_wait: float

    def __post_init__(self):
        for name in ("concurrency", "tries"):
            check_whole(f"calls.{name}", getattr(self, name))
        for name in ("timeout", "backoff", "longest_wait"):
            got = getattr(self, name)
            if isinstance(got, bool) or not isinstance(got, int | float) or not 0 < got < 1e6:
                raise Refusal(f"calls.{name} must be above 0 seconds, got {got!r}")


class Served:
    """What is asked of a server, and by what name.

    Args: see `OpenAIBackend`.

    Attributes:
        identity: all that replies depend on.
        prices: None where not known.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        dialect: Dialect,
        temperature: float | None,
        top_p: float | None,
        max_tokens: int,
        seeds: bool,
        extra: Mapping[str, Any],
        served_as: Sequence[str] | None,
        thinking: Mapping[str, str] | None,
        prices: Prices | None,
    ):
        if not isinstance(model, str) or not model:
            raise Refusal(f"model must be a name, got {model!r}")
        if not isinstance(dialect, Dialect):
            raise Refusal(f"dialect must be one of sim.inference.dialects, got {dialect!r}")
        for name, value, most in (("temperature", temperature, 2.0), ("top_p", top_p, 1.0)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 <= value <= most):
                raise Refusal(f"{name} must lie in 0..{most:g}, or be null, got {value!r}")
        check_whole("max_tokens", max_tokens)
        if not isinstance(seeds, bool):
            raise Refusal(f"seeds must be true or false, got {seeds!r}")
        if served_as is not None and (isinstance(served_as, str) or not served_as):
            raise Refusal(f"served_as must be null or a list of names, got {served_as!r}")
        self.model, self.dialect, self.max_tokens = model, dialect, max_tokens
        self.served_as, self.prices = served_as, prices
        self.base_url = _address(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI)
        self.thinking = _thinking(thinking)
        self._seeds = seeds
        self._fixed: dict[str, Any] = {"model": model, dialect.limit: max_tokens}
        for name, value in (("temperature", temperature), ("top_p", top_p)):
            if value is not None:
                self._fixed[name] = value
        if not isinstance(extra, Mapping):
            raise Refusal(f"extra must be fields and their values, got {extra!r}")
        if taken := sorted({*_OURS, *self._fixed} & set(extra)):
            raise Refusal(f"extra must not set {taken[0]}, which has a key of its own or is ours")
        self._fixed |= extra
        self.identity = {
            "server": None if base_url is None else self.base_url,
            "dialect": [type(dialect).__name__, dialect.seed_bits],
            "seeds": seeds,
            "thinking": thinking and dict(thinking),
            "served_as": served_as and sorted(served_as),
            "body": self._fixed,
        }

    def body(self, request: Request) -> dict[str, Any]:
        """Of a request; in label mode the ids to be scored are added by who knows them."""
        messages = [{"role": one.role, "content": one.content} for one in request.message.history()]
        body = self._fixed | {"messages": messages}
        if request.seed is not None and self._seeds:
            body["seed"] = request.seed & ((1 << self.dialect.seed_bits) - 1)
        if request.mode != "text":
            assert request.labels is not None
            body |= self.dialect.fields(request.mode, request.labels)
        if request.mode == "label":
            messages.append({"role": "assistant", "content": modes.PREFIX})
            if self.dialect.limit != "max_tokens":
                del body[self.dialect.limit]
        return body

    def most(self, request: Request) -> int:
        """The most that a call can cost, picos: no token is shorter than a byte."""
        if self.prices is None:
            return 0
        message: Message | None = request.message
        prompt = TEMPLATE
        while message is not None:
            prompt += len(message.content.encode("utf-8", "replace")) + TEMPLATE
            message = message.parent
        return self.prices.most(prompt, self.max_tokens)


def _address(url: str) -> str:
    like = f"base_url must be like http://host:port/v1, got {url!r}"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, AttributeError) as fault:  # of the port; no text
        raise Refusal(like) from fault
    if not sound:
        raise Refusal(like)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Refusal(
            f"base_url must hold no name, password, query or fragment, they would be written "
            f"down; got one for {parts.hostname}"
        )
    return url.rstrip("/")


def _thinking(given: Mapping[str, str] | None) -> Thinking | None:
    if given is None:
        return None
    marks = [given.get(k) for k in ("start", "end")] if isinstance(given, Mapping) else []
    if len(given) != 2 or not marks or not all(isinstance(m, str) and m.strip() for m in marks):
        raise Refusal(f"thinking must be null or have a start and an end, got {given!r}")
    return Thinking(given["start"], given["end"], None, opened=False)

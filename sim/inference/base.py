"""The streaming protocol between the runner and whatever serves a model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from agents.base import Message
from sim.errors import Refusal
from sim.inference.prices import Budget


class Slot(NamedTuple):
    """Which question of a run: its address, equal in every replay."""

    episode: int
    seat: int
    step: int
    turn: int
    attempt: int

    @property
    def depth(self) -> int:
        """How far on its conversation is: engines answer the deepest first.

        The beginnings of these are in the cache still; where thousands of conversations take
        turns, no cache holds them all.
        """
        return (self.step << 16) + (self.turn << 8) + self.attempt


@dataclass(slots=True)
class Request:
    """One question to a model.

    Attributes:
        message: the last message; its history is the whole conversation.
        mode: response mode: text, choice, regex, json or label.
        labels: closed set of option names, or None where any reply will do.
        seed: of the sampling, 63 bits; None where the reply is the same for equal requests: with
            greedy backends, and in label mode, where the runner draws.
        slot: where in the run it is asked.
        model: which of several models; None where there is one.
        key: of the journal: hash of everything that the reply may depend on.
    """

    message: Message
    mode: str
    labels: tuple[str, ...] | None
    seed: int | None
    slot: Slot
    model: str | None = None
    key: bytes = b""


class Failure(NamedTuple):
    """A call that brought the run no reply.

    Attributes:
        kind: class of the fault (`sim.inference.http_faults`); abandoned: it was in flight, or its
            reply not taken, when the run ended; killed: all calls in flight when a process died.
        told: what the server or the connection said.
        cost: the most that it may have cost, picos, where the server may have worked for it; 0
            where it may have worked and no prices are known; None where it surely did not.
    """

    kind: str
    told: str
    cost: int | None


@dataclass(slots=True)
class Reply:
    """What came back.

    Attributes:
        text: the reply without its reasoning; "" where the call failed or labels were scored.
        error: class and message of a failed call, else None: a failure is no answer.
        option_logprobs: of the labels in the order shown, among all that the model might have
            said, where the mode scores them.
        prompt_tokens, output_tokens: as counted by the backend, None if it cannot.
        cached_tokens, latency_s: measured; they differ from run to run.
        reasoning_tokens: of the output tokens, those of the reasoning.
        cost: in picos (`sim.inference.prices`); None where it is not known.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = "stop"
    error: str | None = None
    option_logprobs: list[float] | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    reasoning_tokens: int | None = None
    cost: int | None = None


class Backend(ABC):
    """Serves one model.

    Attributes:
        model: its id, as recorded.
        greedy: whether equal requests get equal replies whatever the seed.
        modes: response modes that it can serve.
        temperature: of its sampling; in label mode the runner draws with it.
        context: most tokens of a conversation; None where that is not known beforehand.
        paid: whether its calls may cost money.
    """

    model: str
    modes: tuple[str, ...] = ("text",)
    greedy: bool = False
    temperature: float = 1.0
    context: int | None = None
    paid: bool = False

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that tells its replies from another's, as JSON values; part of every journal key.

        Model, revision, adapter, chat template, sampling parameters ...
        """

    def part(self, name: str | None) -> "Backend":
        """The one that serves members of this model; raises Refusal where there is none."""
        if name is not None:
            raise Refusal(f"members with models of their own need model=several, got {name!r}")
        return self

    @abstractmethod
    def submit(self, requests: Sequence[Request]) -> None:
        """Takes requests; returns at once."""

    @abstractmethod
    def ready(self) -> list[tuple[Request, Reply]]:
        """At least one answered request, in any order, as long as any is open."""

    def prepare(self, written: str) -> None:
        """Refuses what a run cannot do without and a dry run can: a key, say.

        `written` is the config, as it is written down with the run.
        """

    def poll(self, seconds: float) -> list[tuple[Request, Reply]]:
        """As `ready`, but where others answer it waits for them no longer than so: maybe nothing.

        Raises CallFailed at a fault that ends the run, once nothing is in flight.
        """
        del seconds
        return self.ready()

    def stop(self) -> int | None:
        """Sends nothing more; how many calls are in flight, None where none is worth waiting for.

        They are still given by `poll`, which brings nothing after that. Called from a signal's
        handler.
        """
        return None

    def notice(self) -> str:
        """What somebody who watches the run should know just now."""
        return ""

    def failed(self) -> list[tuple[Request, Failure]]:
        """Calls that failed since this was last asked, whether or not they are made again."""
        return []

    def abandoned(self) -> list[tuple[Request, Failure]]:
        """Calls in flight that nobody will wait for, for the record."""
        return []

    def spend(self, budget: Budget) -> None:
        """Takes the run's money; a model that costs nothing needs none."""

    def expected_cost(self, prompt: int, n: int, earlier: int) -> tuple[int, int] | None:
        """Cost, picos, of n requests, with replies as expected and with the longest ones.

        `prompt` are the tokens of their prompts but for the `earlier` replies that stand in them.
        None where prices are not known.
        """
        del prompt, n, earlier
        return (0, 0)

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """Tokens of a text in this model's own measure."""

    def count_prompt(self, message: Message) -> int:
        """Tokens of the conversation up to a message, as near as is known before asking."""
        return sum(self.count_tokens(one.content) for one in message.history())

    def check(self, mode: str, labels: Sequence[str]) -> None:
        """Raises Refusal if the model cannot choose among these labels in this response mode."""

    def statistics(self) -> dict[str, Any]:
        """What was measured so far, for the manifest: tokens, share from caches ..."""
        return {}

    def close(self) -> None:
        """Releases what the backend holds."""


def digest(message: Message) -> bytes:
    """Hash of the conversation up to and with a message, from its parent's in constant time."""
    if message.digest is None:
        past = b"" if message.parent is None else digest(message.parent)
        data = f"{message.role}\0{message.content}".encode("utf-8", "surrogatepass")
        message.digest = blake2b(past + data, digest_size=16).digest()
    return message.digest

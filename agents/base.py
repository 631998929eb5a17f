"""What an agent is: one kind of decision maker, who acts for many seats at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Observation = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Member:
    """One of the population, the same under every kind of agent.

    Attributes:
        name: unique in the population.
        value: the orientation to assign; None for a control.
        target: its SVO angle, degrees; None for a control.
        definition: the orientation in a sentence; None where nobody worded it.
        profile: orientation -> weight, where it is a mixture; None: `value` alone.
        model: which of several models plays the member; None where there is one.
        cohort: further columns of `agents.parquet`.
    """

    name: str
    value: str | None = None
    target: float | None = None
    definition: str | None = None
    profile: Mapping[str, float] | None = None
    model: str | None = None
    cohort: Mapping[str, Any] = field(default_factory=dict)


class Message:
    """One message of a conversation, linked to the one before: branches share their past.

    `digest`, `key` (of the request that a reply answers) and `state` (token ids, say) belong to
    whoever sends it.
    """

    __slots__ = ("content", "digest", "key", "parent", "role", "state")

    def __init__(self, role: str, content: str, parent: "Message | None"):
        self.role, self.content, self.parent = role, content, parent
        self.digest: bytes | None = None
        self.key: bytes | None = None
        self.state: Any = None

    def history(self) -> list["Message"]:
        """The conversation up to and with this message, first message first."""
        messages, message = [], self
        while message is not None:
            messages.append(message)
            message = message.parent
        return messages[::-1]


class Worded(Protocol):
    """An observation in words (`envs.base.Words`)."""

    @property
    def text(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(slots=True)
class Turn:
    """Something to say to the model, and what the reply is for.

    Attributes:
        kind: describe, role, goal, decide, reask ... as recorded.
        messages: (role, content) pairs to append to the conversation.
        labels: closed set of option names in the order shown, where the reply decides.
        reask: what to say if the reply names no single option; None: nothing is asked again.
        stays: whether the conversation goes on from this exchange; else it returns to where
            it was.
    """

    kind: str
    messages: tuple[tuple[str, str], ...]
    labels: tuple[str, ...] | None = None
    reask: str | None = None
    stays: bool = True


@dataclass(frozen=True)
class Frame:
    """What an induction leaves behind.

    Attributes:
        opening: (role, content) pairs that open the conversation, if any.
        reminder: stands below every question; may be empty.
        lead: stands above the first question, in its message; may be empty.
        above: stands above every question, below the lead; may be empty.
    """

    opening: tuple[tuple[str, str], ...] = ()
    reminder: str = ""
    lead: str = ""
    above: str = ""


# Says turns, hears replies, returns the frame of the questions to come.
Induction = Generator[Turn, str, Frame]


class Seat:
    """The conversation of one (episode, seat), kept by the runner for the agent."""

    __slots__ = ("frame", "induction", "member", "preview", "reply", "root", "tip")

    def __init__(self, member: Member, preview: str):
        self.member = member
        self.preview = preview  # the game's words for what is to come
        self.tip: Message | None = None  # where the conversation stands
        self.root: Message | None = None  # where the induction ended
        self.reply: str | None = None  # to the last turn that decided nothing
        self.induction: Induction | None = None
        self.frame: Frame | None = None


@dataclass
class Rows:
    """Seats of one kind of agent that must act, R of them.

    Attributes:
        seen: observation arrays with leading axis R.
        target: assigned angles, shape (R,), degrees, NaN for controls.
        draw: n -> (R, n) uniforms in [0, 1), each row's own; equal whenever asked again.
        draw_episode: the same, but equal for all choices of a seat in an episode.
        seats: conversations, for agents that speak.
        words: the observations in words, for agents that speak.
        traits: `Agent.traits` of each row's member, shape (R, k).
    """

    seen: Observation
    target: NDArray[np.float64]
    draw: Callable[[int], NDArray[np.float64]]
    draw_episode: Callable[[int], NDArray[np.float64]]
    seats: Sequence[Seat] = ()
    words: Sequence[Worded] = ()
    traits: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))


class Agent(ABC):
    """One kind of agent. It keeps nothing of an episode: that is in the rows.

    Attributes:
        speaks: whether it asks a language model (returns turns) or returns actions.
        context: how much of an episode's past its questions show, as recorded.
        wording: which of several ways to say the same, as recorded; None where there is one.
    """

    speaks: bool = False
    context: str | None = None
    wording: str | None = None

    @abstractmethod
    def act(self, rows: Rows) -> NDArray[np.integer] | list[Turn]:
        """Canonical actions, shape (R,), -1 for one that cannot be read; or one turn per row.

        After a turn that decides nothing the row comes again, with the reply in its seat.
        """

    @abstractmethod
    def method(self, member: Member) -> str:
        """How this kind assigns the member's value, as recorded."""

    def assigns(self, member: Member) -> bool:
        """Whether the member's value is assigned at all; else the member is a control."""
        return member.value is not None

    def check(self, member: Member) -> None:
        """Raises ValueError if this kind cannot play the member."""

    def traits(self, member: Member) -> Sequence[float]:
        """Numbers that `act` needs of a member, equally many for all; after `meet`."""
        return ()

    def meet(self, values: Sequence[str]) -> None:
        """Told once which values options stand for, by the numbers that observations give them.

        Raises ValueError if this kind cannot play such a game.
        """

    def check_items(self, items: Sequence[NDArray[np.float64]]) -> None:
        """Raises ValueError if this kind cannot choose on one of a game's items.

        Args:
            items: payoffs (options, 2) of each, NaN where there are none.
        """

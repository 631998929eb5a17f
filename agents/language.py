"""The language-model agent: an induction, then one question per choice."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from string import Formatter

from agents.base import Agent, Frame, Induction, Member, Rows, Seat, Turn, Worded

# What a reply to a question should look like, by response mode.
LINE = 'Reply with one line only: "Answer:" and the letter of the one option you choose.'
FORMATS = {
    "text": (
        'End your reply with one line: "Answer:" and the letter of the option you choose. Name no '
        "other option by its letter."
    ),
    "choice": "Reply with the letter of the option you choose and nothing else.",
    "regex": (
        'Reply with one short sentence and then one line: "Answer:" and the letter of the option '
        "you choose."
    ),
    "json": (
        'Reply with a JSON object of two fields: "reason", one short sentence, and "answer", the '
        "letter of the option you choose."
    ),
    "label": LINE,
}
UNREAD = "I could not read one single choice from your reply."

CONVERSATIONS = ("shared", "separate")


PLACES = ("system", "user")
OWN = "own"  # the wording that stands in a method's code


class Method(ABC):
    """A way to assign a value: what is said before the first question, and what stays.

    Attributes:
        name: as recorded.
        wording: which of several ways to say it, as recorded; None where there is one.
    """

    name: str
    wording: str | None = None

    @abstractmethod
    def induce(self, member: Member, preview: str) -> Induction:
        """Yields turns, is sent the replies, returns the frame of the questions.

        A member without a value is a control: everything but the value is said to it.

        Args:
            member: whose value is assigned.
            preview: the game's words for what is to come.
        """

    def label(self, member: Member) -> str:
        """The method as recorded."""
        return self.name if member.value is not None else "control"

    def check(self, member: Member) -> None:
        """Raises ValueError if the member's value cannot be assigned this way."""
        if member.value is not None and member.definition is None:
            raise ValueError(
                f"method {self.name!r} needs an orientation in words, {member.name!r} has none"
            )

    def meet(self, values: Sequence[str]) -> None:
        """Told once which values the game's options stand for; before `check`."""


def words(
    own: Mapping[str, str], wording: str, wordings: Mapping[str, Mapping[str, str]]
) -> Mapping[str, str]:
    """The texts of a method in one of its wordings.

    Args:
        own: name of each text -> the method's own.
        wording: "own" or one of `wordings`.
        wordings: name -> texts, all of those that `own` has.

    Raises:
        ValueError: there is no such wording, or it lacks a text or a place of it, or has another.
    """
    if not isinstance(wording, str):
        raise ValueError(f"wording must be a name, got {wording!r}")
    if wording == OWN:
        return own
    if wording not in wordings:
        known = ", ".join([OWN, *wordings])
        raise ValueError(f"wording must be one of {known}, got {wording!r}")
    texts = wordings[wording]
    if set(texts) != set(own):
        raise ValueError(
            f"wording {wording!r} must have the texts {', '.join(sorted(own))}, got "
            f"{', '.join(sorted(texts))}"
        )
    for name, text in texts.items():
        if _fields(text) != _fields(own[name]):
            raise ValueError(
                f"text {name!r} of wording {wording!r} must name {_fields(own[name])}, got "
                f"{_fields(text)}"
            )
    return texts


def _fields(text: str) -> list[str]:
    return sorted({field for _, field, _, _ in Formatter().parse(text) if field is not None})


def check_place(place: str) -> str:
    """The place; raises ValueError unless it is system or user."""
    if place not in PLACES:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, got {place!r}")
    return place


def check_switch(name: str, got: object) -> bool:
    """The switch; raises ValueError unless it is true or false."""
    if not isinstance(got, bool):
        raise ValueError(f"{name} must be true or false, got {got!r}")
    return got


class Told(Method):
    """A method of one text, said once before the first question; a control is told nothing.

    Args:
        own: name of each text -> the method's own.
        place: "system" prompt, or "user": above the first question.
        wording: "own" or one of `wordings`.
        wordings: name -> texts.
    """

    def __init__(
        self,
        own: Mapping[str, str],
        place: str,
        wording: str,
        wordings: Mapping[str, Mapping[str, str]] | None,
    ):
        self._place = check_place(place)
        self._texts = words(own, wording, wordings or {})
        self.wording = f"{place} {wording}"

    @abstractmethod
    def text(self, member: Member) -> str:
        """What is told to a member that has a value."""

    def induce(self, member: Member, preview: str) -> Induction:
        if member.value is None:
            return Frame()
        text = self.text(member)
        return Frame(opening=(("system", text),)) if self._place == "system" else Frame(lead=text)
        yield  # an induction is a generator, also without a turn


class LanguageAgent(Agent):
    """Asks a language model for every choice.

    Args:
        method: how the member's value is assigned.
        conversation: "shared": all items of an episode in one conversation, earlier answers in
            sight (as published for HVAE); "separate": every item continues the induction alone.
        response_mode: of decisions; the questions ask for replies of this form.
    """

    speaks = True

    def __init__(self, method: Method, conversation: str, response_mode: str = "text"):
        if conversation not in CONVERSATIONS:
            raise ValueError(
                f"conversation must be one of {', '.join(CONVERSATIONS)}, got {conversation!r}"
            )
        if response_mode not in FORMATS:
            raise ValueError(
                f"response_mode must be one of {', '.join(FORMATS)}, got {response_mode!r}"
            )
        self._method = method
        self._format = FORMATS[response_mode]
        self._reask = f"{UNREAD} {LINE if response_mode == 'text' else self._format}"
        self.context = conversation
        self.wording = method.wording

    def method(self, member: Member) -> str:
        return self._method.label(member)

    def assigns(self, member: Member) -> bool:
        return member.value is not None and self.method(member) != "control"

    def check(self, member: Member) -> None:
        self._method.check(member)

    def meet(self, values: Sequence[str]) -> None:
        self._method.meet(values)

    def act(self, rows: Rows) -> list[Turn]:
        return [self._turn(s, w) for s, w in zip(rows.seats, rows.words, strict=True)]

    def _turn(self, seat: Seat, words: Worded) -> Turn:
        if seat.frame is None:
            turn = self._induce(seat)
            if turn is not None:
                return turn
        frame = seat.frame
        assert frame is not None
        # Until an exchange stays: one that failed has opened nothing.
        first = seat.tip is seat.root
        parts = (frame.lead if first else "", frame.above, words.text, frame.reminder, self._format)
        messages = (("user", "\n\n".join(part for part in parts if part)),)
        if first:
            messages = frame.opening + messages
        return Turn("decide", messages, words.labels, self._reask, self.context == "shared")

    def _induce(self, seat: Seat) -> Turn | None:
        """The induction's next turn; None once it has ended and left its frame."""
        try:
            if seat.induction is None:
                seat.induction = self._method.induce(seat.member, seat.preview)
                return next(seat.induction)
            assert seat.reply is not None
            return seat.induction.send(seat.reply)
        except StopIteration as end:
            seat.frame, seat.induction, seat.root = end.value, None, seat.tip
            return None

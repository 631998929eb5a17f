"""The language-model agent: an induction, then one question per choice."""

from abc import ABC, abstractmethod

from agents.base import Agent, Induction, Member, Rows, Seat, Turn, Worded

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


class Method(ABC):
    """A way to assign a value: what is said before the first question, and what stays."""

    name: str

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
                f"method {self.name!r} needs an orientation in words, {member.name!r} has "
                f"only its angle"
            )


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

    def method(self, member: Member) -> str:
        return self._method.label(member)

    def assigns(self, member: Member) -> bool:
        return member.value is not None and self.method(member) != "control"

    def check(self, member: Member) -> None:
        self._method.check(member)

    def act(self, rows: Rows) -> list[Turn]:
        return [self._turn(s, w) for s, w in zip(rows.seats, rows.words, strict=True)]

    def _turn(self, seat: Seat, words: Worded) -> Turn:
        if seat.frame is None:
            turn = self._induce(seat)
            if turn is not None:
                return turn
        frame = seat.frame
        assert frame is not None
        parts = (words.text, frame.reminder, self._format)
        messages = (("user", "\n\n".join(part for part in parts if part)),)
        # Until an exchange stays: one that failed has opened nothing.
        if seat.tip is seat.root:
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

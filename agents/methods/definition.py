"""An explicit definition of the value.

Separates knowing the value's name from acting on it: the text says what the value means.
"""

from collections.abc import Mapping

from agents.base import Frame, Induction, Member
from agents.language import Method, check_place, said_at, words

SYSTEM = "You are a person with a {value} social value orientation. {definition}"


class Definition(Method):
    """One text and nothing else; a control gets none.

    Args:
        place: of the text: "system" prompt, or "user": above the first question.
        wording: "own" or one of `wordings`.
        wordings: name -> texts.
    """

    name = "definition"

    def __init__(
        self,
        place: str = "system",
        wording: str = "own",
        wordings: Mapping[str, Mapping[str, str]] | None = None,
    ):
        self._place = check_place(place)
        self._text = words({"text": SYSTEM}, wording, wordings or {})["text"]
        self.wording = f"{place} {wording}"

    def induce(self, member: Member, preview: str) -> Induction:
        if member.value is None:
            return Frame()
        said = self._text.format(value=member.value, definition=member.definition)
        return said_at(self._place, said)
        yield  # an induction is a generator, also without a turn

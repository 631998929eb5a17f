"""An explicit definition of the value.

Separates knowing the value's name from acting on it: the text says what the value means.
"""

from collections.abc import Mapping

from agents.base import Member
from agents.language import Told

SYSTEM = "You are a person with a {value} social value orientation. {definition}"


class Definition(Told):
    """Says the orientation's name and definition; arguments as in `Told`."""

    name = "definition"

    def __init__(
        self,
        place: str = "system",
        wording: str = "own",
        wordings: Mapping[str, Mapping[str, str]] | None = None,
    ):
        super().__init__({"text": SYSTEM}, place, wording, wordings)

    def text(self, member: Member) -> str:
        return self._texts["text"].format(value=member.value, definition=member.definition)

"""An explicit definition of the value as system prompt.

Separates knowing the value's name from acting on it: the text says what the value means.
"""

from agents.base import Frame, Induction, Member
from agents.language import Method

SYSTEM = "You are a person with a {value} social value orientation. {definition}"


class Definition(Method):
    """One system prompt, nothing else; a control gets none."""

    name = "definition"

    def induce(self, member: Member, preview: str) -> Induction:
        if member.value is None:
            return Frame()
        system = SYSTEM.format(value=member.value, definition=member.definition)
        return Frame(opening=(("system", system),))
        yield  # an induction is a generator, also without a turn

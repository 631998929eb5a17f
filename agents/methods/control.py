"""No induction: the model answers as it is."""

from agents.base import Frame, Induction, Member
from agents.language import Method


class Control(Method):
    """Assigns nothing; every member is a control."""

    name = "control"

    def label(self, member: Member) -> str:
        return "control"

    def check(self, member: Member) -> None:
        """Any member will do: nothing of it is said."""

    def induce(self, member: Member, preview: str) -> Induction:
        return Frame()
        yield  # an induction is a generator, also without a turn

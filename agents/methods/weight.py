"""A continuous angle in plain words: how much a point for oneself and one for the other count.

The weights are cos and sin of the angle over the larger of the two, so that one of them is 1.
"""

import math
from collections.abc import Mapping

from agents.base import Frame, Induction, Member
from agents.language import Method, check_place, said_at, words

OWN_TEXTS = {
    "text": (
        "When you decide about outcomes for yourself and for another person, {own}, and {other}."
    ),
    "own_for": "each unit that you get yourself counts {weight} for you",
    "own_nothing": "what you get yourself counts nothing for you",
    "own_against": "each unit that you get yourself counts {weight} against your wish",
    "other_for": "each unit that the other person gets counts {weight} for you",
    "other_nothing": "what the other person gets counts nothing for you",
    "other_against": "each unit that the other person gets counts {weight} against your wish",
}
_LEAST = 0.005  # a weight that rounds to 0.00 is none


class Weight(Method):
    """Says both weights of the member's angle; a control is told none.

    Any orientation with an angle can be assigned so, whether or not it has a name.

    Args:
        place: "system" prompt, or "user": above the first question.
        wording: "own" or one of `wordings`.
        wordings: name -> texts.
    """

    name = "weight"

    def __init__(
        self,
        place: str = "system",
        wording: str = "own",
        wordings: Mapping[str, Mapping[str, str]] | None = None,
    ):
        self._place = check_place(place)
        self._texts = words(OWN_TEXTS, wording, wordings or {})
        self.wording = f"{place} {wording}"

    def check(self, member: Member) -> None:
        if member.value is not None and member.target is None:
            raise ValueError(f"method 'weight' needs a target angle, {member.name!r} has none")

    def induce(self, member: Member, preview: str) -> Induction:
        if member.value is None or member.target is None:
            return Frame()
        return said_at(self._place, self.said(member.target))
        yield  # an induction is a generator, also without a turn

    def said(self, angle: float) -> str:
        """The weights of an angle (degrees) in words."""
        own, other = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        largest = max(abs(own), abs(other))
        parts = {"own": own / largest, "other": other / largest}
        return self._texts["text"].format(**{k: self._part(k, w) for k, w in parts.items()})

    def _part(self, whose: str, weight: float) -> str:
        if abs(weight) < _LEAST:
            return self._texts[f"{whose}_nothing"]
        sign = "for" if weight > 0 else "against"
        shown = f"{abs(weight):.2f}".rstrip("0").rstrip(".")
        return self._texts[f"{whose}_{sign}"].format(weight=shown)

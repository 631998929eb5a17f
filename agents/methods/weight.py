"""A continuous angle in plain words: how much a point for oneself and one for the other count.

The weights are cos and sin of the angle over the larger of the two, so that one of them is 1.
"""

import math
from collections.abc import Mapping

from agents.base import Member
from agents.language import Told

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


class Weight(Told):
    """Says both weights of the member's angle; arguments as in `Told`.

    Any orientation with an angle can be assigned so, whether or not it has a name.
    """

    name = "weight"

    def __init__(
        self,
        place: str = "system",
        wording: str = "own",
        wordings: Mapping[str, Mapping[str, str]] | None = None,
    ):
        super().__init__(OWN_TEXTS, place, wording, wordings)

    def check(self, member: Member) -> None:
        if member.value is not None and member.target is None:
            raise ValueError(f"method 'weight' needs a target angle, {member.name!r} has none")

    def text(self, member: Member) -> str:
        assert member.target is not None  # checked
        return self.said(member.target)

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

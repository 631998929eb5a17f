"""Priorities in plain words: what each value means, and which one counts more than which.

For agents that are to weigh several values; the numbers of a profile are not said, only the order
that they give (equal weights share a rank).
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from agents.base import Member
from agents.language import Told
from agents.values import Values

OWN_TEXTS = {
    "text": (
        "You are a person for whom some things matter more than others. {ranking} Where these "
        "are at odds, you act on what an earlier sentence names, in small matters and in grave "
        "ones."
    ),
    "first": "What matters most to you is {what}.",
    "next": "After that comes {what}.",
    "last": "What matters least to you is {what}.",
    "rest": "Everything else matters less to you.",
    "one": "{value}: you {definition}",
    "both": "{this}, and just as much {that}",
}


class Priorities(Told):
    """Says a member's values by falling weight; arguments as in `Told`.

    Args:
        theory: says what the values mean.
        place: "system" prompt, or "user": above the first question.
        wording: "own" or one of `wordings`.
        wordings: name -> texts.
    """

    name = "priorities"

    def __init__(
        self,
        theory: Values,
        place: str = "system",
        wording: str = "own",
        wordings: Mapping[str, Mapping[str, str]] | None = None,
    ):
        super().__init__(OWN_TEXTS, place, wording, wordings)
        self._theory = theory
        self._met: tuple[str, ...] = ()

    def check(self, member: Member) -> None:
        if member.value is None:
            return
        if member.profile is None or not isinstance(self._theory, Values):
            raise ValueError(
                f"method 'priorities' needs a theory and a profile of values, {member.name!r} has "
                f"the orientation {member.value!r}"
            )
        weights = self._theory.weights(member.profile)
        if len(weights) == len(self._theory.names) and len(set(weights.values())) == 1:
            raise ValueError(
                f"priorities must put some value before another, those of {member.name!r} all "
                f"weigh the same"
            )
        if self._met and (strange := sorted(set(weights) - set(self._met))):
            raise ValueError(
                f"the profile of {member.name!r} must name values of the game, "
                f"{', '.join(self._met)}, got {strange[0]!r}"
            )

    def meet(self, values: Sequence[str]) -> None:
        self._met = tuple(values)

    def text(self, member: Member) -> str:
        profile, say = dict(member.profile or {}), self._texts
        ranked = sorted(profile, key=lambda value: -profile[value])
        tiers = [list(tier) for _, tier in groupby(ranked, key=lambda value: profile[value])]
        whole = len(profile) == len(self._theory.names)
        lines = []
        for k, tier in enumerate(tiers):
            last = k == len(tiers) - 1
            place = "first" if k == 0 else "last" if last and whole else "next"
            lines.append(say[place].format(what=self._said(tier)))
        if not whole:
            lines.append(say["rest"])
        return say["text"].format(ranking=" ".join(lines))

    def _said(self, tier: list[str]) -> str:
        say = self._texts
        said = [
            say["one"].format(value=value, definition=self._theory.definition(value))
            for value in tier
        ]
        whole = said[0]
        for that in said[1:]:
            whole = say["both"].format(this=whole, that=that)
        return whole

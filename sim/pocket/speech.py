"""How one conversation is worded: as our agents say it, or otherwise, with words made up too.

What has to be learnt is which amount is whose, from the persons that are named and from nothing
else: so other option lines are put together from many parts, in frames with made-up words or real
ones taken at random, whatever these mean.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.pocket.words import bank, own, pick, plain

FRAMES = 0.6  # share of other option lines that are said with made-up words
TOGETHER = 0.2  # share of those that name both persons before both numbers, or after them
STRANGE = 0.2  # share of other questions with made-up words in them
# Parts of made-up words.
ONSETS = (*"bcdfghjklmnprstvwyz", "", "br", "ch", "cl", "fl", "gr")
ONSETS += ("pl", "pr", "sh", "st", "tr", "wh")
CODAS = ("", "", "", "", *"nrlstkmpd", "ck", "nd", "nt", "rt", "st", "ll", "ss", "se", "te", "ve")


@dataclass
class Speech:
    """The wordings of one conversation: our own, or others, slot by slot."""

    rng: np.random.Generator
    others: float  # share of slots worded in another way
    words: str
    frames: float = FRAMES
    _chosen: dict[str, str] = field(default_factory=dict)

    def __call__(self, slot: str) -> str:
        """The wording of a slot, the same all through the conversation."""
        if slot not in self._chosen:
            known = bank(self.words).get(slot)
            if known and self.rng.random() < self.others:
                made = slot == "option" and self.words == "training"
                said = self._option(known) if made else pick(self.rng, known)
                if slot in ("text", "preview", "system") and self.words == "training":
                    said = self._strange(said)
                self._chosen[slot] = said
            else:
                self._chosen[slot] = own()[slot]
        return self._chosen[slot]

    def named(self, slots: str, usual: str) -> str:
        """A unit or another person."""
        if self.rng.random() >= max(0.6, self.others) * (self.others > 0):
            return usual
        known = bank(self.words)
        if slots == "units" and self.words == "training" and self.rng.random() < 0.6:
            if self.rng.random() < 0.5:
                return f"{pick(self.rng, known['measures'])} of {pick(self.rng, known['stuffs'])}"
            return self._made_up() + "s"
        return pick(self.rng, known[slots])

    def _strange(self, said: str) -> str:
        """A question as it is, or with made-up words in the place of some of its own."""
        if not self.frames or self.rng.random() >= STRANGE:
            return said
        share = self.rng.uniform(0.1, 0.6)

        def other(found: re.Match[str]) -> str:
            return self._word() if self.rng.random() < share else found[0]

        return re.sub(r"(?<![{\w])[A-Za-z]{3,}(?![\w}])", other, said)

    def _option(self, parts: Any) -> str:
        """An option's line, one person first or the other.

        A share of the lines says it with made-up words, so that only the persons tell whose
        payoff is whose.
        """
        turned = -1 if self.rng.random() < 0.3 else 1
        if not self.frames or self.rng.random() >= self.frames:
            both = [pick(self.rng, parts["mine"]), pick(self.rng, parts["theirs"])][::turned]
        elif self.rng.random() < TOGETHER:
            return self._together(parts, turned)
        else:
            both = self._each(parts)[::turned]
        return pick(self.rng, parts["joins"]).join(both)

    def _persons(self, parts: Any) -> list[dict[str, str]]:
        """What stands for each person and for their payoff; the latter is filled in by the game."""
        number = pick(self.rng, parts["numbers"]) if self.rng.random() < 0.3 else "{n}"
        them = {"w": self._word()}
        return [
            {
                "who": pick(self.rng, parts[who]).format(**them),
                "whose": pick(self.rng, parts[f"whose_{who}"]).format(**them),
                "n": number.format(n=payoff),
            }
            for who, payoff in (("me", "{self}"), ("them", "{other}"))
        ]

    def _each(self, parts: Any) -> list[str]:
        """What each person gets, in a frame of their own."""
        frame = pick(self.rng, parts["frames"])
        words = {"w": self._word(), "v": self._word()}
        both = []
        for person in self._persons(parts):
            if both:  # some verbs change with the person ("you keep, they are given")
                words |= {"w": self._word()} if self.rng.random() < 0.2 else {}
                frame = pick(self.rng, parts["frames"]) if self.rng.random() < 0.15 else frame
            both.append(frame.format(unit="{unit}", **person, **words))
        if self.rng.random() < 0.08:
            one = int(self.rng.integers(2))
            left = pick(self.rng, parts["nameless"])
            n = ("{self}", "{other}")[one]
            both[one] = left.format(n=n, unit="{unit}", w=self._word(), v=self._word())
        return both

    def _together(self, parts: Any, turned: int) -> str:
        """What both persons get, in one frame."""
        persons = self._persons(parts)[::turned]
        joint, around = pick(self.rng, parts["ands"]), pick(self.rng, parts["around"])
        joined = {
            key: around.format((joint if self.rng.random() < 0.7 else " and ").join(both))
            for key in persons[0]
            for both in [[person[key] for person in persons]]
        }
        words = {"w": self._word(), "v": self._word()}
        return pick(self.rng, parts["frames"]).format(unit="{unit}", **joined, **words)

    def _word(self) -> str:
        """Mostly a word that means nothing: what stands beside the persons must not matter."""
        if self.rng.random() < 0.3:
            return pick(self.rng, plain("wordings.yaml")["training"]["option"]["words"])
        return self._made_up()

    def _made_up(self) -> str:
        syllables = [
            pick(self.rng, ONSETS) + pick(self.rng, "aeiou") + pick(self.rng, CODAS)
            for _ in range(int(self.rng.integers(1, 4)))
        ]
        return "".join(syllables)

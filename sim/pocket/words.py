"""The words of the training text: our agents' own, taken from their code, and other ways."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import get_object
from omegaconf import OmegaConf

from sim.configs import CONF

HERE = Path(__file__).parent
FRAMES = 0.6  # share of other option lines that are said with made-up words
ONSETS = (
    *"bcdfghjklmnprstvwyz",
    "",
    "br",
    "ch",
    "cl",
    "fl",
    "gr",
    "pl",
    "pr",
    "sh",
    "st",
    "tr",
    "wh",
)
CODAS = ("", "", "", "", *"nrlstkmpd", "ck", "nd", "nt", "rt", "st", "ll", "ss", "se", "te", "ve")
SVO = ("altruistic", "prosocial", "individualistic", "competitive")
# Where the agents' own wordings stand.
OWN = {
    "text": "envs.allocation.TEXT",
    "option": "envs.allocation.OPTION",
    "preview": "envs.allocation.PREVIEW",
    "describe": "agents.methods.hvae.DESCRIBE",
    "role": "agents.methods.hvae.ROLE",
    "goal": "agents.methods.hvae.GOAL",
    "given": "agents.methods.hvae.GIVEN",
    "reminder_plain": "agents.methods.hvae.REMINDER_PLAIN",
    "reminder_goal": "agents.methods.hvae.REMINDER_GOAL",
    "system": "agents.methods.definition.SYSTEM",
}


@cache
def plain(name: str) -> Any:
    """Content of a YAML file of this folder."""
    return OmegaConf.to_container(OmegaConf.load(HERE / name))


@cache
def bank(words: str) -> dict[str, list[str]]:
    """Ways to say each thing: `training`; or `development`, `fresh`, for evaluation alone."""
    return plain("wordings.yaml")[words]


@cache
def own() -> dict[str, str]:
    """The agents' own wordings."""
    formats = get_object("agents.language.FORMATS")
    words = {name: get_object(path) for name, path in OWN.items()}
    words |= {f"{mode}_format": formats[mode] for mode in formats}
    return words | {"reask": get_object("agents.language.UNREAD") + " "}


@cache
def definitions() -> dict[str, str]:
    """The theory's own sentence on each orientation."""
    theory = OmegaConf.load(CONF / "theory" / "svo.yaml")
    return {name: theory.orientations[name].definition for name in SVO}


def pick(rng: np.random.Generator, many: Sequence[Any]) -> Any:
    """One of many, each as likely."""
    return many[int(rng.integers(len(many)))]


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
                self._chosen[slot] = self._option(known) if made else pick(self.rng, known)
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
            return self._word() + "s"
        return pick(self.rng, known[slots])

    def _option(self, parts: Any) -> str:
        """An option's line, one person first or the other.

        A share of the lines says it with made-up words, so that only the persons tell whose
        payoff is whose.
        """
        if not self.frames or self.rng.random() >= self.frames:
            both = [pick(self.rng, parts["mine"]), pick(self.rng, parts["theirs"])]
        else:
            both = self._framed(parts)
        if self.rng.random() < 0.3:
            both.reverse()
        return pick(self.rng, parts["joins"]).join(both)

    def _framed(self, parts: Any) -> list[str]:
        """What each person gets, in a frame with made-up words."""
        frame = pick(self.rng, parts["frames"])
        number = pick(self.rng, parts["numbers"]) if self.rng.random() < 0.3 else "{n}"
        made = {"w": self._word(), "v": self._word()}
        both = []
        for me, payoff in ((True, "{self}"), (False, "{other}")):
            # Some verbs change with the person ("you keep, they are given").
            words = made if me or self.rng.random() < 0.8 else made | {"w": self._word()}
            # What is left in braces is filled in by the game.
            both.append(
                frame.format(
                    who=pick(self.rng, parts["me" if me else "them"]),
                    whose=pick(self.rng, parts["whose_me" if me else "whose_them"]),
                    n=number.format(n=payoff), unit="{unit}", **words,
                )
            )  # fmt: skip
        return both

    def _word(self) -> str:
        """A word that means nothing: which words stand beside the persons must not matter."""
        syllables = [
            pick(self.rng, ONSETS) + pick(self.rng, "aeiou") + pick(self.rng, CODAS)
            for _ in range(int(self.rng.integers(1, 4)))
        ]
        return "".join(syllables)

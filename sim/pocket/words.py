"""The words of the training text: our agents' own, taken from their code, and other ways."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import get_object
from omegaconf import OmegaConf

from sim.configs import CONF

HERE = Path(__file__).parent
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

"""Configs as the command line makes them, and the smallest real runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from sim import configs


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (configs.CONF / group).glob("*.yaml"))


# What tests play unless they say otherwise: no language model.
USUAL = {"experiment": "scripted_baselines", "model": "scripted"}


def compose(*overrides: str) -> DictConfig:
    told = {override.split("=")[0] for override in overrides}
    usual = [f"{group}={name}" for group, name in USUAL.items() if group not in told]
    return configs.compose("display=false", *usual, *overrides)


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Path]:
    """Plays overrides in a folder of its own and returns it; tables only, no analysis."""
    from sim import run, setup

    def play_(*overrides: str, folder: str = "run") -> Path:
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        config = compose(*overrides)
        run.play(setup.build(config), where, False, False)
        return where

    return play_

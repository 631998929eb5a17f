"""Configs as the command line makes them, and the smallest real runs."""

import sys
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


@pytest.fixture
def sim(tmp_path, monkeypatch, capsys):
    """Runs `python -m sim` with words in an empty folder: (exit status, stdout, stderr)."""
    from sim.__main__ import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str):
        if not any(word.startswith("resume=") for word in words):
            told = {word.split("=")[0] for word in words}
            usual = [f"{group}={name}" for group, name in USUAL.items() if group not in told]
            words = (*words, *usual, "display=false")
        monkeypatch.setattr(sys, "argv", ["sim", *words])
        status = main()
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


@pytest.fixture
def report(tmp_path, monkeypatch, capsys):
    """Runs `python -m sim.report`."""
    from sim import report as report_command

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, words)])
        status = report_command.main()
        out = capsys.readouterr()
        return status, out.out, out.err

    return run

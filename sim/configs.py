"""The configs of `conf/`, and how the command line puts them together."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parent.parent / "conf"


def compose(*overrides: str) -> DictConfig:
    """A config as the command line would make it from these overrides."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", list(overrides))

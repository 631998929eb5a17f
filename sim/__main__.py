"""The command: `python -m sim`, with Hydra overrides; `python -m sim --help` explains."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.dry_run import dry_run
from sim.errors import CallFailed, Refusal
from sim.run import run
from sim.setup import build

CONF = Path(__file__).resolve().parent.parent / "conf"
REFUSED, FAILED, STOPPED = 2, 1, 130


_statuses: list[int] = []  # of the jobs; a sweep goes on past one that fails


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(config: DictConfig) -> None:
    """One run in the folder that Hydra made for it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    experiment = HydraConfig.get().runtime.choices.get("experiment")
    _statuses.append(_status(lambda: _finish(config, folder, experiment)))
    if _statuses[-1] == STOPPED:
        raise KeyboardInterrupt  # ends a sweep too


def _status(work: Callable[[], None]) -> int:
    """Exit status of some work, whose faults are told in a sentence."""
    try:
        work()
    except (Refusal, HydraException, OmegaConfBaseException) as fault:
        print(f"refused: {fault}", file=sys.stderr)
        return REFUSED
    except CallFailed as fault:
        print(f"stopped: {fault}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped: interrupted", file=sys.stderr)
        return STOPPED
    except OSError as fault:
        print(f"failed: {fault.strerror or fault}: {fault.filename or ''}", file=sys.stderr)
        return FAILED
    return 0


def _finish(config: DictConfig, folder: Path, experiment: str | None) -> None:
    try:
        about = run(config, folder, experiment)
    except (CallFailed, KeyboardInterrupt):
        print(f"To go on: python -m sim resume={folder}", file=sys.stderr)
        raise
    print(
        f"{about['n_decisions']:,} decisions in {about['seconds']:.1f} s, "
        f"report: {folder / 'report.html'}"
    )


def _resume(folder: Path, others: list[str]) -> None:
    if others:
        raise Refusal(f"resume takes no other overrides, got {' '.join(others)}")
    saved = folder / ".hydra" / "config.yaml"
    if not saved.exists():
        raise Refusal(f"resume needs a run folder with .hydra/config.yaml, got {folder}")
    _finish(_loaded(saved), folder, None)


def _loaded(path: Path) -> DictConfig:
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config


def _show(overrides: list[str]) -> None:
    """A dry run leaves no folder behind, so Hydra only composes the config."""
    if any(word in ("-m", "--multirun") for word in overrides):
        raise Refusal("dry_run shows one run, got -m; leave the sweep out")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", overrides)
    for line in dry_run(build(config)):
        print(line)


def main() -> int:
    """Runs the command; returns the exit status: 0 only where the run is complete."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # faults reach us as they are
    words = sys.argv[1:]
    resume = [word for word in words if word.startswith("resume=")]
    if resume:
        others = [word for word in words if word is not resume[0]]
        return _status(lambda: _resume(Path(resume[0].removeprefix("resume=")), others))
    if "dry_run=true" in words:
        return _status(lambda: _show(words))
    _statuses.clear()
    return max(_status(_job), *_statuses, 0)


if __name__ == "__main__":
    sys.exit(main())

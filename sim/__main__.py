"""The command: `python -m sim`, with Hydra overrides; `python -m sim --help` explains."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sim.configs import CONF, compose
from sim.dry_run import dry_run
from sim.errors import CallFailed, Refusal
from sim.run import run
from sim.setup import HOW, NOT_HASHED, build, config_hash, load_config

REFUSED, FAILED, STOPPED = 2, 1, 130


_ABSENT = object()
_FREE = (
    f"but for those that change no reply: {', '.join(n for n in NOT_HASHED if n != 'dry_run')}, "
    f"and of model {', '.join(HOW)}"
)

_statuses: list[int] = []  # of the jobs; a sweep goes on past one that fails


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(config: DictConfig) -> None:
    """One run in the folder that Hydra made for it."""
    hydra_ = HydraConfig.get()
    folder = Path(hydra_.runtime.output_dir)
    experiment = hydra_.runtime.choices.get("experiment")
    overrides = list(hydra_.overrides.task)

    def work() -> None:
        if _is_dry(config):
            _show(config)
        else:
            _finish(config, folder, experiment, overrides)

    _statuses.append(_status(work))
    if folder.exists() and not any(folder.iterdir()):  # refused, or only shown
        folder.rmdir()
    if _statuses[-1] == STOPPED:
        raise KeyboardInterrupt  # ends a sweep too


def _status(work: Callable[[], None]) -> int:
    """Exit status of some work, whose faults are told in a sentence."""
    try:
        work()
    except Refusal as fault:
        return _told(REFUSED, f"refused: {fault}", fault)
    except (HydraException, OmegaConfBaseException, YAMLError) as fault:
        return _told(REFUSED, f"refused: {' '.join(str(fault).split())}", fault)
    except ValueError as fault:
        if not _from_hydra(fault):  # a fault of ours is no refusal
            raise
        return _told(REFUSED, f"refused: {fault}", fault)
    except CallFailed as fault:
        return _told(FAILED, f"stopped: {fault}", fault)
    except OSError as fault:
        where = f": {fault.filename}" if fault.filename else ""
        return _told(FAILED, f"failed: {fault.strerror or fault}{where}", fault)
    except KeyboardInterrupt as fault:
        if STOPPED in _statuses:  # a job said so already
            return STOPPED
        return _told(STOPPED, "stopped: interrupted", fault)
    return 0


def _from_hydra(fault: BaseException) -> bool:
    """Whether Hydra itself found fault with what was typed."""
    last = Path(traceback.extract_tb(fault.__traceback__)[-1].filename)
    return Path(hydra.__file__).parent in last.parents


def _told(status: int, sentence: str, fault: BaseException) -> int:
    for line in (sentence, *getattr(fault, "__notes__", ())):
        print(line, file=sys.stderr)
    return status


def _finish(
    config: DictConfig, folder: Path, experiment: str | None, overrides: Sequence[str]
) -> None:
    try:
        about = run(config, folder, experiment, overrides)
    except (CallFailed, KeyboardInterrupt, OSError) as fault:
        if (folder / "journal.sqlite").exists():
            fault.add_note(f"To go on: python -m sim resume={folder}")
        raise
    print(
        f"{about['n_decisions']:,} decisions in {about['seconds']:.1f} s, "
        f"report: {folder / 'report.html'}"
    )


def _resume(folder: Path, others: list[str]) -> None:
    saved = folder / ".hydra" / "config.yaml"
    if not saved.exists():
        raise Refusal(f"resume needs a run folder with .hydra/config.yaml, got {folder}")
    config = load_config(folder)
    begun = config_hash(config)
    for override in OverridesParser.create().parse_overrides(others):
        name = str(override.key_or_group)
        known = OmegaConf.select(config, name, default=_ABSENT) is not _ABSENT
        if not known or override.is_delete() or name == "dry_run":
            raise Refusal(f"resume takes no other overrides, got {override.input_line}; {_FREE}")
        OmegaConf.update(config, name, override.value(), merge=False)
    if config_hash(config) != begun:
        raise Refusal(f"resume takes no other overrides, got {' '.join(others)}; {_FREE}")
    _finish(config, folder, None, ())


def _show(config: DictConfig) -> None:
    for line in dry_run(build(config)):
        print(line)


def _is_dry(config: DictConfig) -> bool:
    if config.dry_run not in (True, False):
        raise Refusal(f"dry_run must be true or false, got {config.dry_run!r}")
    return bool(config.dry_run)


def _shown(overrides: list[str]) -> bool:
    config = compose(*overrides)
    if _is_dry(config):
        _show(config)
    return config.dry_run


def _interrupt(*_: object) -> None:
    """A cluster that takes its machine back sends SIGTERM; the run stops as at Ctrl-C."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the command; returns the exit status: 0 only where the run is complete."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # faults reach us as they are
    signal.signal(signal.SIGTERM, _interrupt)
    _statuses.clear()
    words = sys.argv[1:]
    resume = [word for word in words if word.startswith("resume=")]
    if resume:
        others = [word for word in words if word is not resume[0]]
        return _status(lambda: _resume(Path(resume[0].removeprefix("resume=")), others))
    if any("dry_run=" in word for word in words) and not any(w.startswith("-") for w in words):
        # Composed here, a dry run leaves no folder behind.
        shown: list[bool] = []
        status = _status(lambda: shown.append(_shown(words)))
        if status or shown[0]:
            return status
    return max(_status(_job), *_statuses, 0)


if __name__ == "__main__":
    sys.exit(main())

"""One run: plays a config in a folder and leaves tables, figures and a report."""

import fcntl
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import DictConfig, OmegaConf

from envs.base import Game
from sim import manifest
from sim.analyse import analyse
from sim.calls import asking_of, came_to, earlier_runs
from sim.cast import Cast
from sim.errors import Refusal
from sim.progress import Display
from sim.records import STATUSES, Recorder, write_agents, write_items
from sim.rollout import Rollout, Tally
from sim.setup import Parts, build, config_hash, load_config, save_config
from sim.stopping import in_order
from sim.tables import ITEMS


def run(
    config: DictConfig, folder: Path, experiment: str | None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Plays what `config` describes in `folder`, or goes on where a run in it stopped.

    `experiment` and `overrides` say how the config came about, for the record.

    Returns the manifest, whose status is then `complete`.

    Raises:
        Refusal: before anything is played, or where writing fails; what was written stays.
    """
    parts = build(config)
    if parts.backend is not None:
        parts.backend.prepare(OmegaConf.to_yaml(config, resolve=True) + " ".join(overrides))
    reuse = earlier_runs(config.reuse)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        about = _about(config, folder, parts, experiment)
        if not (folder / ".hydra" / "config.yaml").exists():
            save_config(config, overrides, folder)
        manifest.write(folder, about)
        try:
            start = time.monotonic()
            asked = play(parts, folder, config.journal.fsync, config.display, reuse)
            del parts  # a large population; the tables have it all
            about |= _account(folder, time.monotonic() - start, about, asked)
            # As it will be read back, so that a report made again has equal bytes.
            analyse(folder, config, manifest.plain(about))
            manifest.write(folder, about)
        except BaseException as fault:
            stopped = isinstance(fault, KeyboardInterrupt)
            about["status"] = "incomplete" if stopped else "failed"
            about["told"] = "interrupted" if stopped else " ".join(str(fault).split())
            about["resume"] = f"python -m sim resume={folder}"
            _write_if_possible(folder, about)
            raise
    return about


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Lets the garbage collector look less often.

    Conversations live long and have no cycles; scanning them again took a third of all time.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuses a second process in the same run folder."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise Refusal(f"run folder {folder} is in use by another process") from fault
        yield


def _about(
    config: DictConfig, folder: Path, parts: Parts, experiment: str | None
) -> dict[str, Any]:
    read = parts.inputs | dict(parts.game.checksums)
    hash_ = config_hash(config, read)
    about: dict[str, Any] = {}
    begun = None
    if (folder / "manifest.json").exists():
        about = manifest.read(folder)
        begun = about["config_hash"]
    elif (folder / ".hydra" / "config.yaml").exists():
        begun = config_hash(load_config(folder), read)
    for where, checksum in about.get("inputs", {}).items():
        if read.get(where) != checksum:
            raise Refusal(
                f"resume needs the file {where} that {folder} was begun with, SHA-256 "
                f"{checksum[:16]}, got {read.get(where, 'no file')[:16]}"
            )
    if begun not in (None, hash_):
        raise Refusal(
            f"resume needs the config that {folder} was begun with, hash {begun}, got {hash_}"
        )
    backend = parts.backend
    for name in ("told", "resume"):  # of an attempt that failed
        about.pop(name, None)
    return about | {
        "status": "running",
        "experiment": experiment or about.get("experiment"),
        "env": parts.game.name,
        "agents": parts.cast.kinds,
        "config_hash": hash_,
        "inputs": read,
        "n_dropped": parts.game.n_dropped,
        "source": parts.game.source,
        "seed": parts.rules.seed,
        "model": backend.model if backend else None,
        "backend": type(backend).__name__ if backend else None,
        "n_agents": len(parts.cast.players),
        "n_episodes": len(parts.cast.seating),
        "started": about.get("started", datetime.now(UTC).isoformat(timespec="seconds")),
        "commit": manifest.commit(),
        "versions": manifest.versions(),
    }


def play(
    parts: Parts, folder: Path, fsync: bool, display: bool, reuse: Sequence[Path] = ()
) -> dict[str, Any]:
    """Plays all episodes and closes the tables.

    `reuse` names earlier runs whose replies are used where the same is asked.

    Returns how many requests were sent (`asked`, in all attempts; `asked_now`, in this one), how
    many questions this attempt found answered (`replayed`), how many share the reply to
    another (`shared`), how many were answered by earlier runs (`reused`), what calls came to
    (`calls`), and what the backend measured in this attempt (`inference`).
    """
    game, cast, rules, backend = parts.game, parts.cast, parts.rules, parts.backend
    write_items(folder, game.items())
    write_agents(folder, cast.table)
    recorder = record(folder, game, cast)
    asked: dict[str, Any] = {"asked": 0, "asked_now": 0, "replayed": 0, "shared": 0, "reused": 0}
    with asking_of(parts, folder, fsync, reuse) as (asking, journal):
        with (
            Display(len(cast.seating), display) as shown,
            _rare_collections(),
            in_order(backend) as stopping,
        ):
            if backend is not None:
                asking.check = stopping.check

            def report(tally: Tally) -> None:
                shown(tally)
                stopping.check()

            Rollout(game, cast, asking, recorder, rules, report).run()
        recorder.close()
        if backend is not None:
            held, paid = journal.counts(), journal.paid()
            asked = {"asked": held["requests"] - paid.n_reused, "asked_now": asking.n_asked}
            asked |= {"replayed": asking.n_replayed, "shared": held["slots"] - held["requests"]}
            asked |= {"reused": paid.n_reused, "calls": came_to(paid)}
            if asking.n_asked:
                asked["inference"] = backend.statistics()
    return asked


def record(folder: Path, game: Game, cast: Cast) -> Recorder:
    """What takes the rows of a game and its cast."""
    names = ("item", "instrument", "stage")
    columns = (game.item_ids, game.item_instruments, game.item_stages)
    items = pl.DataFrame(dict(zip(names, columns, strict=True)), {n: ITEMS[n] for n in names})
    told = [cast.told(v["wording"], v["context_mode"]) for v in game.variants]
    told = told or [cast.told(game.wording)]
    return Recorder(folder, cast.table, items, game.possible_agents, {"env": game.name}, told)


def _account(
    folder: Path, seconds: float, before: dict[str, Any], asked: dict[str, Any]
) -> dict[str, Any]:
    """What was played, counted from the finished tables.

    `seconds` are those of the last attempt, unless it only replayed: then what is known stays.
    The rate is that of an attempt that played everything, else unknown: a replay takes less.
    """
    decisions = pl.scan_parquet(folder / "decisions.parquet")
    counts = dict(decisions.group_by("status").len().collect().iter_rows())
    turns = pl.scan_parquet(folder / "turns.parquet")
    cut = pl.col("finish_reason").eq("length").sum()
    tokens = turns.select(pl.col("prompt_tokens", "output_tokens").sum(), cut=cut).collect()
    n, seconds = sum(counts.values()), round(seconds, 3)
    rate = None if asked["replayed"] else round(n / max(seconds, 0.001), 1)
    if asked["replayed"] and not asked["asked_now"] and "seconds" in before:
        seconds, rate = before["seconds"], before["decisions_per_second"]
    return {name: asked[name] for name in ("asked", "replayed", "shared", "reused")} | {
        "status": "complete",
        "n_decisions": n,
        "counts": {status: counts.get(status, 0) for status in STATUSES},
        "tokens": {"prompt": tokens[0, 0], "output": tokens[0, 1]},
        "n_cut": tokens[0, 2],
        "seconds": seconds,
        "decisions_per_second": rate,
        "inference": asked.get("inference", before.get("inference")),
        "calls": asked.get("calls"),
    }


def _write_if_possible(folder: Path, about: dict[str, Any]) -> None:
    """The manifest of a run that fails; on a full disk the one it has must do."""
    try:
        manifest.write(folder, about)
    except OSError as fault:
        print(f"the manifest in {folder} could not be brought up to date: {fault}")

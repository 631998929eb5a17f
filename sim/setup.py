"""From a config to the parts of a run; whatever cannot be done is refused here."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from agents.base import Agent
from envs.base import Game, key
from sim.cast import Cast
from sim.errors import Refusal
from sim.inference.base import Backend
from sim.inference.prices import Budget, picos
from sim.rehearsal import check_length
from sim.rules import Rules
from sim.variants import variants

# Neither what is played nor what is answered depends on these.
NOT_HASHED = ("display", "dry_run", "journal", "max_cost", "max_live", "reuse")
LATER = {"max_cost": None, "reuse": []}  # keys that configs of older runs lack
FILES = ("path", "chat_template")  # keys of a config that name files to be read
# Keys of a model: how it is reached and paid, and the sizes of its batches.
HOW = ("batch", "calls", "chunk", "expected_tokens", "key_env", "key_file", "prices", "threads")


@dataclass
class Parts:
    """What a config describes, built."""

    game: Game
    cast: Cast
    backend: Backend | None  # None where no agent speaks
    rules: Rules
    inputs: dict[str, str]  # see `inputs`
    budget: Budget


def build(config: DictConfig) -> Parts:
    """Builds and checks the parts of a run.

    Raises:
        Refusal: with the rule, the name and the value got.
    """
    try:
        read = inputs(config)
        game = instantiate(config.env)
        members = instantiate(config.population)
        if not config.agent:
            raise Refusal("agent must name at least one kind of agent, got none")
        for kind, part in config.agent.items():
            if isinstance(part, DictConfig) and part and "_target_" not in part:
                raise Refusal(
                    f"agent.{kind} must say what it is in _target_, got {', '.join(map(str, part))}"
                    f" alone: an experiment or an override sets these for agent={kind}, which is "
                    f"not chosen; choose it too, or leave them out with ~agent.{kind}"
                )
        agents = {kind: instantiate(part) for kind, part in variants(config.agent).items()}
        items = _payoffs(game)
        for kind, agent in agents.items():
            if agent is None:
                raise Refusal(f"agent.{kind} must be an agent, got null")
            if not isinstance(agent, Agent):
                raise Refusal(f"agent.{kind} must be an agent, got {type(agent).__name__}")
            agent.meet(game.values)
            if game.variants and agent.context == "shared":
                raise Refusal(
                    f"env.context says what of a story is in sight, and a conversation that goes "
                    f"on shows it all: conversation must be separate, got shared for {kind}"
                )
            agent.check_items(items)
        speaks = any(agent.speaks for agent in agents.values())
        rules = Rules(**{name: config[name] for name in Rules.__dataclass_fields__})
        # Last, since a model may take minutes to load.
        backend = instantiate(config.model) if speaks else None
        if backend is not None and rules.response_mode not in backend.modes:
            raise Refusal(
                f"response_mode must be one of {', '.join(backend.modes)} with "
                f"{backend.model}, got {rules.response_mode!r}"
            )
        if backend is not None and rules.response_mode != "text":
            backend.check(rules.response_mode, _labels(game))
        cast = Cast(
            agents, members, backend, len(game.possible_agents), config.n_repeats, game.n_sittings
        )
        if backend is not None:
            check_length(game, cast, backend, rules.seed)
        money = config.max_cost
        budget = Budget(None if money is None else picos(money, "max_cost"))
        if backend is not None:
            backend.spend(budget)
        limit = config.unread_limit
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 1:
            raise Refusal(f"unread_limit must lie in 0..1, got {limit!r}")
        if isinstance(rules.fallback, int) and not 0 <= rules.fallback < game.n_options:
            raise Refusal(f"fallback must lie in 0..{game.n_options - 1}, got {rules.fallback}")
    except InstantiationException as fault:
        raise Refusal(_cause(fault)) from fault
    except (ValueError, OmegaConfBaseException) as fault:
        raise Refusal(str(fault).splitlines()[0]) from fault
    # Loading takes minutes: what was read must be what the record says was read.
    if changed := sorted(dict(read.items() ^ inputs(config).items())):
        raise Refusal(f"{', '.join(changed)} must stay as it is while a run starts, got two texts")
    return Parts(game, cast, backend, rules, read, budget)


def _payoffs(game: Game) -> list[np.ndarray]:
    """Payoffs (options, 2) of each item of a game, NaN where there are none."""
    found: dict[tuple, list] = {}
    for row in game.items():
        paid = [np.nan if row.get(k) is None else row[k] for k in ("payoff_self", "payoff_other")]
        found.setdefault((row["instrument"], row["item"]), []).append(paid)
    return [np.array(options, np.float64) for options in found.values()]


def _labels(game: Game, n: int = 64) -> tuple[str, ...]:
    """Names of options as met in the first choices of some episodes, the longest list."""
    slots = np.arange(n)
    game.reserve(n)
    game.reset(slots, key(0, "labels", slots))
    worded = game.describe(game.observe(*game.pending(slots)))
    return max((words.labels for words in worded), key=len)


def _cause(fault: InstantiationException) -> str:
    """The sentence of whoever refused, without Hydra's wrapping."""
    cause = fault.__cause__
    where = [line for line in str(fault).splitlines() if line.startswith("full_key:")]
    at = f" (in the config at {where[0].removeprefix('full_key: ')})" if where else ""
    return f"{cause}{at}" if cause is not None else str(fault).splitlines()[0]


def save_config(config: DictConfig, overrides: Sequence[str], folder: Path) -> None:
    """Writes the resolved config and the overrides to `.hydra/` in the run's folder."""
    where = folder / ".hydra"
    where.mkdir(exist_ok=True)
    plain = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    OmegaConf.save(OmegaConf.create(list(overrides)), where / "overrides.yaml")
    beside = where / "config.partial"
    OmegaConf.save(plain, beside)
    beside.replace(where / "config.yaml")  # what is there is whole


def load_config(folder: Path) -> DictConfig:
    """The config of the run in `folder`.

    Raises:
        Refusal: it has none, or one that cannot be read.
    """
    path = folder / ".hydra" / "config.yaml"
    if not path.exists():
        raise Refusal(f"a run folder must have .hydra/config.yaml, got {folder}")
    try:
        config = OmegaConf.load(path)
        OmegaConf.resolve(config)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as fault:
        raise Refusal(f"{path} cannot be read: {' '.join(str(fault).split())}") from fault
    if not isinstance(config, DictConfig) or "analysis" not in config:
        raise Refusal(f"{path} must hold the config of a run, got something else")
    for name, value in LATER.items():
        if name not in config:
            config[name] = value
    return config


def inputs(config: DictConfig) -> dict[str, str]:
    """Checksums (SHA-256) of the files that a config names, by the key that names each."""
    found: dict[str, str] = {}

    def walk(node: Any, where: str) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for name, value in pairs:
            at = f"{where}.{name}" if where else str(name)
            if isinstance(value, dict | list):
                walk(value, at)
            elif name in FILES and isinstance(value, str) and Path(value).expanduser().is_file():
                with Path(value).expanduser().open("rb") as file:
                    found[at] = hashlib.file_digest(file, "sha256").hexdigest()

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    plain.pop("env", None)  # a game knows the checksums of its own data
    walk(plain, "")
    return found


def _asked(model: dict[str, Any]) -> dict[str, Any]:
    """What replies depend on in the config of a model, or of several."""
    named = model.get("models")
    several = {"models": {k: v and _asked(v) for k, v in named.items()}} if named else {}
    return {k: v for k, v in model.items() if k not in HOW} | several


def config_hash(config: DictConfig, read: dict[str, str] | None = None) -> str:
    """Hash of everything that a run's decisions depend on, its files' contents too.

    `read`: the files' checksums, where they are known (`inputs`).
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for name in NOT_HASHED:
        plain.pop(name, None)
    plain["model"] = _asked(plain["model"])
    if read := inputs(config) if read is None else read:
        plain["inputs"] = read
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

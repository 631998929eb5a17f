"""Speeds without a language model: scripted agents, the faces, and the whole stack.

CPU seconds are of this process (all threads), so a busy machine changes them little; sizes of
the whole-stack rows run in processes of their own, so that memory is each size's own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hydra.utils import instantiate

from agents.base import Rows
from envs.base import Game, key, uniform
from sim.configs import compose

BATCH = 8192  # episodes side by side
SIZES = [1_000, 10_000, 100_000, 170_000]


def batched(option_order: str, n: int) -> tuple[int, float]:
    """Decisions and CPU seconds of softmax agents on the slider, nothing recorded."""
    config = compose("agent=softmax", f"env.option_order={option_order}")
    game: Game = instantiate(config.env)
    agent = instantiate(config.agent.softmax)
    slots = np.arange(BATCH)
    targets = np.linspace(-45, 90, BATCH)
    game.reserve(BATCH)
    done, start = 0, time.process_time()
    while done < n:
        game.reset(slots, key(0, "game", slots + done))
        step = 0
        while len((rows := game.pending(slots))[0]):
            seen = game.observe(*rows)
            keys = key(0, "agents", rows[0] + done, rows[1], step)
            draw = partial(uniform, keys)
            acting = Rows(seen, targets[rows[0]], draw, draw)
            game.step(rows[0], agent.act(acting)[:, None])
            done += len(rows[0])
            step += 1
    return done, time.process_time() - start


def one_seat(n: int) -> tuple[int, float]:
    """Steps and CPU seconds of the Gymnasium face under random actions."""
    from envs.faces import single

    env: Env = single(instantiate(compose().env))
    actions = np.random.default_rng(0).integers(9, size=n).tolist()
    env.reset(seed=0)
    start = time.process_time()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return n, time.process_time() - start


def side_by_side(n: int, n_envs: int = 64) -> tuple[int, float]:
    """Decisions and CPU seconds of the same softmax agents over Gymnasium's own vector env.

    What one would run without the batched rules: each copy of the one-seat face is stepped by
    itself.
    """
    from envs.faces import single

    config = compose("agent=softmax")
    agent = instantiate(config.agent.softmax)
    targets = np.linspace(-45, 90, n_envs)
    # Each step is a decision: the default one spends a step on every reset.
    mode = AutoresetMode.SAME_STEP
    envs = SyncVectorEnv([lambda: single(instantiate(config.env))] * n_envs, autoreset_mode=mode)
    seen, _ = envs.reset(seed=0)
    draws = np.random.default_rng(0)

    def draw(m: int) -> np.ndarray:
        return draws.random((n_envs, m))

    done, start = 0, time.process_time()
    while done < n:
        acting = Rows(seen, targets, draw, draw)
        seen, *_ = envs.step(agent.act(acting))
        done += n_envs
    return done, time.process_time() - start


def whole_stack(n_agents: int) -> dict[str, float]:
    """`experiment=hvae` with scripted replies: from the config to closed tables.

    Its memory is that of tables and report together.
    """
    from sim.analyse import analyse
    from sim.run import play
    from sim.setup import build

    config = compose(
        "experiment=hvae", "model=scripted", f"population.n={n_agents // 2}", "display=false"
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        parts = build(config)
        decisions = 6 * len(parts.cast.seating)
        asked = play(parts, Path(folder), False, False)
        cpu = time.process_time() - start
        size = sum(f.stat().st_size for f in Path(folder).iterdir() if f.is_file())
        del parts
        analyse(Path(folder), config, {})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux
    return {"n": decisions, "turns": asked["asked"], "cpu": cpu, "peak": peak, "disk": size / 2**20}


def _apart(n_agents: int) -> dict[str, float]:
    """`whole_stack` in a process of its own."""
    command = [sys.executable, "-m", "sim.throughput", "--only-stack", str(n_agents)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _best(measure: Callable[[], tuple[int, float]], times: int) -> tuple[int, float]:
    """The fastest of some runs: what the code can do when nothing disturbs it."""
    return max((measure() for _ in range(times)), key=lambda run: run[0] / run[1])


def rows(sizes: list[int], n: int, times: int) -> Iterator[tuple[str, str, str, str, str]]:
    """Lines of the table: what, how many, speed, CPU microseconds each, memory."""
    for order, name in (("canonical", "fixed order"), ("shuffled", "shuffled options")):
        done, cpu = _best(lambda order=order: batched(order, n), times)
        yield _row(f"scripted softmax decisions, batched, {name}", done, cpu)
    done, cpu = _best(lambda: one_seat(max(n // 50, 1000)), times)
    yield _row("steps of the one-seat Gymnasium face", done, cpu)
    done, cpu = _best(lambda: side_by_side(max(n // 50, 1000)), times)
    yield _row("scripted softmax decisions, Gymnasium SyncVectorEnv, fixed order", done, cpu)
    for size in sizes:
        run = _apart(size)
        yield _row(
            f"whole stack, hvae, scripted replies, {size:,} agents ({run['turns']:,.0f} turns)",
            int(run["n"]), run["cpu"], f"{run['peak']:,.0f} MiB",
        )  # fmt: skip


def _row(what: str, n: int, cpu: float, memory: str = "") -> tuple[str, str, str, str, str]:
    return what, f"{n:,}", f"{n / cpu:,.0f}", f"{1e6 * cpu / n:,.2f}", memory

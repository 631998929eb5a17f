"""Measures one model preset, end to end and its engine alone; run by `models` in a process."""

import gc
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import polars as pl

from sim.configs import compose
from sim.errors import Refusal
from sim.inference.base import Backend, Request
from sim.inference.kv import block_hashes
from sim.run import play
from sim.setup import Parts, build
from sim.throughput import usage
from sim.throughput.engines import Engine, generated, looked_into

WARM = 10  # agents of the first play, which is not timed: first use compiles
WARM_ALONE = 5


class Watch:
    """What a backend is asked during a run, what it answers, and the CPU time of its engine."""

    def __init__(self, backend: Backend, engine: Engine | None):
        self.asked: list[Request] = []
        self.replies: dict[Any, tuple[str, int, int, int]] = {}  # text; prompt, cached, output
        self.engine_cpu = 0.0
        _around(backend, "submit", lambda call, asked: (self.asked.extend(asked), call(asked)))
        _around(backend, "ready", self._ready)
        for owner, name in engine.calls() if engine else ():
            _around(owner, name, self._clock)

    def forget(self) -> None:
        """Begins anew."""
        self.asked, self.replies, self.engine_cpu = [], {}, 0.0

    def _ready(self, call: Callable[..., Any]) -> Any:
        found = call()
        for request, r in found:
            counts = (r.prompt_tokens or 0, r.cached_tokens or 0, r.output_tokens or 0)
            self.replies[request.slot] = r.text, *counts
        return found

    def _clock(self, call: Callable[..., Any], *args: Any, **how: Any) -> Any:
        start = process_time()
        try:
            return call(*args, **how)
        finally:
            self.engine_cpu += process_time() - start

    def rounds(self) -> list[list[Request]]:
        """The requests by their place in their conversations."""
        rounds, n = [], Counter()
        for request in self.asked:
            whose = request.slot[:2]
            rounds += [[]] if n[whose] == len(rounds) else []
            rounds[n[whose]].append(request)
            n[whose] += 1
        return rounds


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    call = getattr(owner, name)
    setattr(owner, name, lambda *args, **how: wrapper(call, *args, **how))


def measure(
    overrides: Sequence[str], agents: int, alone: bool, n_generate: int, pairs: int
) -> dict[str, Any]:
    """Plays the study with one preset and measures it.

    Args:
        overrides: that make the study.
        agents: size of the population.
        alone: one call at a time, and nothing else.
        n_generate: agents whose prompts `model.generate` is given too, where the preset has it.
        pairs: how often the study is played and its prompts given to the engine alone, in turn;
            which of the two comes first changes.

    Returns:
        Counts and seconds by name, as JSON values.
    """
    told = list(overrides)
    if alone:
        known = compose(*told).model
        told += ["max_live=1", "model.batch.rows=1" if "batch" in known else "model.chunk=1"]
    with tempfile.TemporaryDirectory() as folder:
        n_warm = WARM_ALONE if alone else WARM
        play(build(compose(*told, f"population.n={n_warm}")), Path(folder), False, False)
    config = compose(*told, f"population.n={agents}")
    parts = build(config)
    backend = parts.backend
    assert backend is not None
    engine = looked_into(backend, config.model)
    watch = Watch(backend, engine)
    found = _end_to_end(parts, engine, watch)
    counts = np.array([counts for _, *counts in watch.replies.values()]).sum(axis=0).tolist()
    found |= dict(zip(("prompt", "cached", "output"), counts, strict=True))
    found |= {"model": Path(backend.model).name, "max_tokens": config.model.get("max_tokens")}
    found |= {"gpus": usage.gpus(config.model), "runs": [found["seconds"]], "cpus": [found["cpu"]]}
    found |= {"peak": usage.peak(), "agents": agents}
    if alone or engine is None:
        return found
    cacheable, taken = cached(engine, watch)
    found |= {"cacheable": cacheable, "taken": taken} | bare(engine, watch)
    found |= {"bares": [found["bare"]], "bare_cpus": [found["bare_cpu"]]}
    for k in range(1, pairs):
        for kind in ("bare", "run") if k % 2 else ("run", "bare"):
            if kind == "run":
                watch.forget()
                again = _end_to_end(parts, engine, watch)
                found["runs"].append(again["seconds"])
                found["cpus"].append(again["cpu"])
            else:
                again = bare(engine, watch)
                found["bares"].append(again["bare"])
                found["bare_cpus"].append(again["bare_cpu"])
    model = getattr(getattr(backend, "_network", None), "_model", None)
    if n_generate and model is not None:
        found["generate"] = generated(model, engine, watch.rounds(), config.model, n_generate)
    return found


def _end_to_end(parts: Parts, engine: Engine | None, watch: Watch) -> dict[str, Any]:
    """Counts and seconds of the whole study, from cold caches to closed tables."""
    if engine:
        engine.clear()
    with tempfile.TemporaryDirectory() as folder:
        start, own, every = perf_counter(), process_time(), usage.cpu()
        play(parts, Path(folder), False, False)
        seconds, own, every = perf_counter() - start, process_time() - own, usage.cpu() - every
        table = pl.scan_parquet(Path(folder) / "decisions.parquet")
        decisions = table.select(pl.len()).collect().item()
    found = {"decisions": decisions, "requests": len(watch.asked), "seconds": seconds}
    return found | {"cpu": every, "own_cpu": own - watch.engine_cpu}


def bare(engine: Engine, watch: Watch) -> dict[str, float]:
    """The engine alone with all prompts of the run at once, in the order they were sent.

    So nothing holds it up: neither games nor tables, nor the reply that a prompt goes on from.
    """
    engine.clear()
    work = engine.prepare(watch.asked)
    gc.collect()
    gc.freeze()  # what the run left is not searched through at the bare engine's cost
    start, cpu = perf_counter(), usage.cpu()
    done = engine.run(work)
    seconds, cpu = perf_counter() - start, usage.cpu() - cpu
    gc.unfreeze()
    replies = zip(watch.asked, engine.texts(done), strict=True)
    same = [text == watch.replies[q.slot][0] for q, text in replies if q.mode != "label"]
    found = {"bare": seconds, "bare_cpu": cpu, "bare_cached": engine.cached(done)}
    return found | ({"same": float(np.mean(same))} if same else {})


def cached(engine: Engine, watch: Watch) -> tuple[int, int]:
    """Prompt tokens that could come from a cache, and how many of these did.

    Of each prompt the longest beginning that an earlier prompt of the run has too, in whole
    blocks of the engine and without the last token, which is computed in any case.
    """
    seen: set[bytes] = set()
    cacheable = taken = 0
    for request in watch.asked:
        ids = np.asarray(engine.prompt(request), np.int32)
        names = block_hashes(ids, engine.block)
        n = next((i for i, one in enumerate(names) if one not in seen), len(names))
        n = min(n, (len(ids) - 1) // engine.block) * engine.block
        seen.update(names)
        cacheable += n
        taken += min(n, watch.replies[request.slot][2])
    return cacheable, taken


if __name__ == "__main__":
    try:
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
    except Refusal as fault:
        sys.exit(f"refused: {fault}")

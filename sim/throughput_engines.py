"""Measures one model preset: the whole way, and its engine alone. See `throughput_models`.

To give an engine exactly what the run gave it, this file looks into the backends; one that it
does not know is measured end to end only.
"""

import gc
import json
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Protocol

import numpy as np
from omegaconf import DictConfig

from sim.configs import compose
from sim.errors import Refusal
from sim.inference.base import Backend, Request

WARM = 10  # agents of the first play, which is not timed: first use compiles
WARM_ALONE = 5


class Engine(Protocol):
    """What lies under a backend.

    Attributes:
        block: tokens that its cache keeps and finds together.
    """

    block: int

    def clear(self) -> None:
        """Empties its caches."""

    def calls(self) -> list[tuple[Any, str]]:
        """Owners and names of the methods in which it computes."""
        ...

    def prompt(self, request: Request) -> Sequence[int]:
        """Token ids that the backend sends for a request."""
        ...

    def prepare(self, requests: Sequence[Request]) -> Any:
        """The engine's own input for these requests."""

    def run(self, work: Any) -> Any:
        """Answers all of it."""

    def texts(self, done: Any) -> list[str]:
        """The replies, in the order of the requests."""
        ...


class Loop:
    """The decoding loop under `LocalBackend`, of onnxruntime or transformers."""

    def __init__(self, backend: Any, batch: dict[str, int]):
        from sim.inference.jobs import Limits
        from sim.inference.kv import BLOCK

        self.block, self.backend, self._limits = BLOCK, backend, Limits(**batch)

    def clear(self) -> None:
        from sim.inference.decoding import Decoder

        b = self.backend
        b._decoder = None  # its memory goes first
        b._decoder = Decoder(b._network, b._sampling, b.chat.stop_ids, self._limits, b.model)

    def calls(self) -> list[tuple[Any, str]]:
        return [(self.backend._decoder, "run")]

    def prompt(self, request: Request) -> Sequence[int]:
        return self._job(request).ids

    def prepare(self, requests: Sequence[Request]) -> Any:
        return [self._job(request) for request in requests]

    def run(self, work: Any) -> Any:
        self.backend._decoder.add(work)
        while self.backend._decoder.run():
            pass
        return work

    def texts(self, done: Any) -> list[str]:
        return [self.backend._reply(job).text for job in done]

    def _job(self, request: Request) -> Any:
        job, n_tokens = self.backend._job(request)
        if job is None:
            raise Refusal(f"a prompt of the study must fit into the context, got {n_tokens} tokens")
        return job


class VLLM:
    """The `vllm.LLM` under `VLLMBackend`."""

    def __init__(self, backend: Any):
        self.backend, self._llm = backend, backend._start()
        self.block = self._llm.llm_engine.vllm_config.cache_config.block_size

    def clear(self) -> None:
        self._llm.reset_prefix_cache()

    def calls(self) -> list[tuple[Any, str]]:
        return [(self._llm.llm_engine, "step"), (self._llm.llm_engine, "add_request")]

    def prompt(self, request: Request) -> Sequence[int]:
        return self.backend._requests.prompt(request)

    def prepare(self, requests: Sequence[Request]) -> Any:
        from vllm import TokensPrompt

        made = self.backend._requests
        prompts = [TokensPrompt(prompt_token_ids=made.prompt(q)) for q in requests]
        return prompts, [made.params(request) for request in requests]

    def run(self, work: Any) -> Any:
        return self._llm.generate(*work, use_tqdm=False)

    def texts(self, done: Any) -> list[str]:
        return [output.outputs[0].text for output in done]


def looked_into(backend: Backend, model: DictConfig) -> Engine | None:
    """The engine of a backend; None where this file does not know its kind."""
    from sim.inference.local import LocalBackend
    from sim.inference.vllm_backend import VLLMBackend

    if isinstance(backend, LocalBackend):
        return Loop(backend, dict(model.batch))
    return VLLM(backend) if isinstance(backend, VLLMBackend) else None


class Watch:
    """What a backend is asked during a run, and the CPU time of its engine's calls."""

    def __init__(self, backend: Backend, engine: Engine | None):
        self.asked: list[Request] = []
        self.replies: dict[Any, tuple[str, int, int, int]] = {}  # text; prompt, cached, output
        self.engine_cpu = 0.0
        _around(backend, "submit", lambda call, asked: (self.asked.extend(asked), call(asked)))
        _around(backend, "ready", self._ready)
        for owner, name in engine.calls() if engine else ():
            _around(owner, name, self._clock)

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


def measure(overrides: Sequence[str], agents: int, alone: bool, n_generate: int) -> dict[str, Any]:
    """Plays the study with one preset and measures it.

    Args:
        overrides: that make the study.
        agents: size of the population.
        alone: one call at a time, and nothing else.
        n_generate: agents whose prompts `model.generate` is given too, where the preset has it.

    Returns:
        Counts and seconds by name, as JSON values.
    """
    import polars as pl

    from sim.run import play
    from sim.setup import build

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
    if engine:
        engine.clear()
    watch = Watch(backend, engine)
    with tempfile.TemporaryDirectory() as folder:
        start, cpu, every = perf_counter(), process_time(), _cpu()
        play(parts, Path(folder), False, False)
        seconds, cpu, every = perf_counter() - start, process_time() - cpu, _cpu() - every
        table = pl.scan_parquet(Path(folder) / "decisions.parquet")
        decisions = table.select(pl.len()).collect().item()
    counts = np.array([counts for _, *counts in watch.replies.values()]).sum(axis=0).tolist()
    found = {"decisions": decisions, "requests": len(watch.asked), "seconds": seconds}
    found["cpu"] = every
    found |= dict(zip(("prompt", "cached", "output"), counts, strict=True))
    found |= {"peak": _peak(), "gpus": _gpus(config.model)}
    if alone or engine is None:
        return found
    found["own_cpu"] = cpu - watch.engine_cpu
    cacheable, taken = cached(engine, watch)
    found |= {"cacheable": cacheable, "taken": taken} | bare(engine, watch)
    model = getattr(getattr(backend, "_network", None), "_model", None)
    if n_generate and model is not None:
        found["generate"] = generated(model, engine, watch.rounds(), config.model, n_generate)
    return found


def bare(engine: Engine, watch: Watch) -> dict[str, float]:
    """Seconds of the engine alone with the same prompts, and the share of equal replies."""
    engine.clear()
    rounds = watch.rounds()
    work = [engine.prepare(requests) for requests in rounds]
    gc.collect()
    gc.freeze()  # what the run left is not searched through at the bare engine's cost
    start, cpu = perf_counter(), _cpu()
    done = [engine.run(one) for one in work]
    seconds, cpu = perf_counter() - start, _cpu() - cpu
    gc.unfreeze()
    same = [
        text == watch.replies[request.slot][0]
        for requests, replies in zip(rounds, done, strict=True)
        for request, text in zip(requests, engine.texts(replies), strict=True)
    ]
    return {"bare": seconds, "bare_cpu": cpu, "same": float(np.mean(same))}


def cached(engine: Engine, watch: Watch) -> tuple[int, int]:
    """Prompt tokens that could come from a cache, and how many of these did.

    Of each prompt the longest beginning that an earlier prompt of the run has too, in whole
    blocks of the engine and without the last token, which is computed in any case.
    """
    seen: set[bytes] = set()
    cacheable = taken = 0
    for request in watch.asked:
        ids, name, names = np.asarray(engine.prompt(request), np.int32), b"", []
        for end in range(engine.block, len(ids) + 1, engine.block):
            block = ids[end - engine.block : end].tobytes()
            name = blake2b(name + block, digest_size=16).digest()
            names.append(name)
        n = next((i for i, one in enumerate(names) if one not in seen), len(names))
        n = min(n, (len(ids) - 1) // engine.block) * engine.block
        seen.update(names)
        cacheable += n
        taken += min(n, watch.replies[request.slot][2])
    return cacheable, taken


def _family() -> list[int]:
    """This process and those it started, where there is /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    ours, more = set(), {os.getpid()} & parents.keys()
    while more:
        ours |= more
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
    return sorted(ours)


def _cpu() -> float:
    """CPU seconds of this process and those it started."""
    ticks = 0
    for pid in set(_family()) - {os.getpid()}:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _peak() -> float:
    """MiB of this process and those it started, each at its own highest."""
    kib = 0
    for pid in _family():
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{pid}/status").read_text()
            kib += int(status.partition("VmHWM:")[2].split()[0])
    return (kib or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**10


def _gpus(model: DictConfig) -> int:
    """GPUs that the engine computes on."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or model.get("device") == "cpu":
        return 0
    sizes = [model.get("engine", {}).get(f"{way}_parallel_size") for way in ("tensor", "pipeline")]
    return int(np.prod([size or 1 for size in sizes]))


def generated(
    model: Any, engine: Engine, rounds: list[list[Request]], told: DictConfig, n: int
) -> dict[str, float]:
    """Decisions and seconds of transformers' own `generate` with the prompts of some agents.

    What one would run instead: turn by turn, sorted by length, left-padded, in batches as large
    as those of the loop; it knows no seeds by request.
    """
    import torch

    rows = told.batch.rows
    episodes = sorted({request.slot.episode for request in rounds[0]})
    some = set(episodes[:: max(1, len(episodes) // n)][:n])
    how = {"max_new_tokens": told.max_tokens, "do_sample": told.temperature > 0, "pad_token_id": 0}
    if told.temperature > 0:
        how |= {name: told[name] for name in ("temperature", "top_p", "top_k")}
    seconds = 0.0
    for warm in (True, False):
        start = perf_counter()
        for requests in rounds[:1] if warm else rounds:
            mine = [request for request in requests if request.slot.episode in some]
            prompts = sorted((engine.prompt(request) for request in mine), key=len)
            for at in range(0, len(prompts), rows):
                part = prompts[at : at + rows]
                ids = np.zeros((len(part), len(part[-1])), np.int64)
                for row, prompt in zip(ids, part, strict=True):
                    row[-len(prompt) :] = prompt
                left = ids.shape[1] - np.array([len(prompt) for prompt in part])
                mask = np.arange(ids.shape[1]) >= left[:, None]
                on = [torch.from_numpy(x).to(model.device) for x in (ids, mask.astype(np.int64))]
                model.generate(on[0], attention_mask=on[1], **how).cpu()
        seconds = perf_counter() - start
    decides = [q for requests in rounds for q in requests if q.labels and q.slot.attempt == 0]
    return {"decisions": sum(q.slot.episode in some for q in decides), "seconds": seconds}


if __name__ == "__main__":
    try:
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
    except Refusal as fault:
        sys.exit(f"refused: {fault}")

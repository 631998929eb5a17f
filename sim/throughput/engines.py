"""The engines under the backends, to be given exactly what a run gave them.

To that end this file looks into the backends; one that it does not know is measured end to end
only.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from omegaconf import DictConfig

from sim.errors import Refusal
from sim.inference.base import Backend, Request


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

    def cached(self, done: Any) -> int:
        """Prompt tokens that it took from its cache."""
        ...


class Loop:
    """The project's own decoding loop under `LocalBackend`, with onnxruntime or transformers."""

    def __init__(self, backend: Any, batch: dict[str, int]):
        from sim.inference.jobs import Limits
        from sim.inference.kv import BLOCK

        self.block, self.backend, self._limits = BLOCK, backend, Limits(**batch)

    def clear(self) -> None:
        b = self.backend  # in place, since its methods are watched
        b._decoder.__init__(b._network, b._sampling, b.chat.stop_ids, self._limits, b.model)

    def calls(self) -> list[tuple[Any, str]]:
        return [(self.backend._decoder, "run")]

    def prompt(self, request: Request) -> Sequence[int]:
        return self._job(request).ids

    def prepare(self, requests: Sequence[Request]) -> Any:
        work = [self._job(request) for request in requests]
        for job in work:
            job.depth = 0  # in the order given, as by vLLM: the run found its own by turns
        return work

    def run(self, work: Any) -> Any:
        self.backend._decoder.add(work)
        while self.backend._decoder.run():
            pass
        return work

    def texts(self, done: Any) -> list[str]:
        return [self.backend._reply(job).text for job in done]

    def cached(self, done: Any) -> int:
        return sum(job.cached or 0 for job in done)

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
        return self._llm.generate(*work, use_tqdm=False, lora_request=self.backend.adapter())

    def texts(self, done: Any) -> list[str]:
        return [output.outputs[0].text for output in done]

    def cached(self, done: Any) -> int:
        return sum(output.num_cached_tokens or 0 for output in done)


def looked_into(backend: Backend, model: DictConfig) -> Engine | None:
    """The engine of a backend; None where this file does not know its kind."""
    from sim.inference.local import LocalBackend
    from sim.inference.vllm_backend import VLLMBackend

    if isinstance(backend, LocalBackend):
        return Loop(backend, dict(model.batch))
    return VLLM(backend) if isinstance(backend, VLLMBackend) else None


def generated(
    model: Any, engine: Engine, rounds: list[list[Request]], told: DictConfig, n: int
) -> dict[str, float]:
    """Decisions and seconds of transformers' own `generate` with the prompts of some agents.

    What one would run instead: turn by turn, sorted by length, left-padded, in batches as large
    as those of the loop where there are as many agents; it knows no seeds by request.
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
    n_decided = sum(q.slot.episode in some for q in decides)
    return {"agents": len(some), "decisions": n_decided, "seconds": seconds}

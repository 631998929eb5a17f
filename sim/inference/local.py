"""What the in-process engines share: requests to token jobs, and what comes of them to replies."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from agents.base import Message
from sim.errors import CallFailed, Refusal
from sim.inference.base import Backend, Reply, Request
from sim.inference.chat import Chat
from sim.inference.constraints import Constraints
from sim.inference.decoding import Decoder
from sim.inference.jobs import Job, Limits
from sim.inference.modes import MODES
from sim.inference.network import Network, Sampling
from sim.inference.thinking import Thinking, check_mode


class LocalBackend(Backend):
    """Serves a model by the project's own decoding loop.

    Args:
        model: its id, as recorded.
        network: computes.
        chat: renders and encodes conversations.
        sampling: how tokens are chosen.
        max_tokens: of a reply, at most.
        thinking: marks `start` and `end` around what a model thinks, kept apart from the reply in
            text mode; None: nothing is kept apart.
        limits: sizes of batches.
    """

    modes = MODES

    def __init__(
        self,
        model: str,
        network: Network,
        chat: Chat,
        sampling: Sampling,
        max_tokens: int,
        thinking: Mapping[str, str] | None,
        limits: Limits,
    ):
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise Refusal(f"max_tokens must be a whole number, 1 or more, got {max_tokens!r}")
        self.model, self.chat, self.context = model, chat, network.context
        self.temperature, self.greedy = sampling.temperature, sampling.temperature == 0
        self._network, self._sampling, self._max_tokens = network, sampling, max_tokens
        self._thinking = Thinking.of(thinking, chat)
        self._decoder = Decoder(network, sampling, chat.stop_ids, limits, model)
        self._failed: deque[tuple[Request, Reply]] = deque()
        self._n_open = 0
        self._tokens = np.zeros(3, np.int64)  # prompt, cached, output

    def identity(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "chat": self.chat.hash,
            "temperature": self._sampling.temperature,
            "top_p": self._sampling.top_p,
            "top_k": self._sampling.top_k,
            "max_tokens": self._max_tokens,
            "thinking": self._thinking and [self._thinking.start, self._thinking.end],
        }

    def check(self, mode: str, labels: Sequence[str]) -> None:
        check_mode(mode, self._thinking, self.chat)
        if mode == "label":
            self.chat.labels(labels)
        elif mode != "text":
            self._constraints.matcher(mode, labels)  # what it cannot hold is known before playing

    def submit(self, requests: Sequence[Request]) -> None:
        jobs = []
        for request in requests:
            job, n_tokens = self._job(request)
            if job is not None:
                jobs.append(job)
                continue
            error = f"ContextTooLong: the prompt has {n_tokens} tokens, {self.model} takes at most "
            error += str(self._network.context - 1)
            reply = Reply("", finish_reason=None, error=error, prompt_tokens=n_tokens)
            self._failed.append((request, reply))
        self._decoder.add(jobs)
        self._n_open += len(jobs)

    def ready(self) -> list[tuple[Request, Reply]]:
        if self._failed:
            failed, self._failed = list(self._failed), deque()
            return failed
        try:
            jobs = self._decoder.run()
        except Exception as fault:  # of the engine, the driver ...: nothing can go on
            why = " ".join(str(fault).split())[:300].rstrip(".")
            raise CallFailed(
                f"the engine of {self.model} failed ({type(fault).__name__}: {why}) with "
                f"{self._n_open} requests open; what was answered is journalled, and "
                f"resume= goes on"
            ) from fault
        self._n_open -= len(jobs)
        return [(job.owner, self._reply(job)) for job in jobs]

    def count_tokens(self, text: str) -> int:
        return len(self.chat.encode(text))

    def count_prompt(self, message: Message) -> int:
        return len(self.chat.prompt(message))

    def statistics(self) -> dict[str, float]:
        """Tokens so far, and the share of the prompts' that were not computed again."""
        prompt, cached, output = self._tokens.tolist()
        return {
            "prompt_tokens": prompt,
            "cached_tokens": cached,
            "output_tokens": output,
            "cached_share": cached / prompt if prompt else 0.0,
        }

    @cached_property
    def _constraints(self) -> Constraints:
        return Constraints(self.chat.tokenizer, self.chat.stop_ids, self._network.vocabulary)

    def _job(self, request: Request) -> tuple[Job | None, int]:
        """What is to be computed, None where it is too long; tokens of the prompt."""
        ids, seed = self.chat.prompt(request.message), request.seed or 0
        if request.mode == "label":
            assert request.labels is not None
            prefix, labels = self.chat.labels(request.labels)
            ids = np.concatenate([ids, prefix])
            job = Job(request, ids, seed, 0, labels=labels, depth=request.slot.depth)
        else:
            limit = min(self._max_tokens, self._network.context - len(ids))
            job = Job(request, ids, seed, limit, depth=request.slot.depth)
            if request.mode != "text":
                assert request.labels is not None
                job.matcher = self._constraints.matcher(request.mode, request.labels)
        return (job if len(ids) < self._network.context else None), len(ids)

    def _reply(self, job: Job) -> Reply:
        text, reasoning = "", None
        if job.error is not None:
            return Reply("", finish_reason=None, error=job.error, prompt_tokens=len(job.ids))
        if job.labels is None:
            ids = job.out[:-1] if job.out[-1] in self.chat.stop_ids else job.out
            text = self.chat.decode(ids)
            if self._thinking is not None and job.matcher is None:
                text, reasoning = self._apart(ids)
        self._tokens += (len(job.ids), job.cached or 0, len(job.out))
        return Reply(
            text,
            reasoning=reasoning,
            finish_reason=job.finish,
            option_logprobs=job.logprobs,
            prompt_tokens=len(job.ids),
            cached_tokens=job.cached,
            output_tokens=len(job.out),
            latency_s=job.ended - job.began,
        )

    def _apart(self, ids: Sequence[int]) -> tuple[str, str | None]:
        """Reply and what was thought before."""
        assert self._thinking is not None
        # The marks may be special tokens; of the reply itself those are dropped.
        text = self.chat.tokenizer.decode(ids, skip_special_tokens=False)
        said, thought = self._thinking.split(text)
        if thought is None:
            return self.chat.decode(ids), None
        return self.chat.decode(self.chat.encode(said).tolist()), thought

"""A language model served by vLLM inside this process."""

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.base import Message
from sim.errors import CallFailed, Refusal
from sim.inference import models, modes, vllm_engine
from sim.inference.base import Backend, Reply, Request
from sim.inference.chat import Chat
from sim.inference.network import Sampling
from sim.inference.thinking import Thinking, check_mode
from sim.inference.vllm_arguments import SPEED, arguments, check_free
from sim.inference.vllm_requests import Requests
from sim.inference.waiting import Waiting

_numbers = itertools.count()  # of requests: no two of a process are equal


class VLLMBackend(Backend):
    """Sends conversations as token ids, up to `chunk` at once, and returns what is finished.

    The engine starts at the first request: a dry run or a replay needs the tokenizer only.

    Args:
        model: id on the Hugging Face hub, or a directory in its layout.
        revision: branch, tag or commit on the hub; None for the main branch.
        chat_template: path of a Jinja file, instead of the model's own.
        template_arguments: switches of the template.
        temperature: 0 for greedy replies, else 0.01..2.
        top_p: share of probability, above 0 to 1, that is drawn from.
        top_k: how many tokens are drawn from; 0: all.
        max_tokens: of a reply; a budget of `thinking` comes on top.
        max_context: most tokens of a conversation; None: what the model was made for.
        thinking: `start` and `end`, the marks around a model's reasoning, and `budget`, its most
            tokens or None; None where the model has no reasoning, or it is switched off.
        deterministic: whether a reply must not depend on what else is in the batch.
        chunk: most requests given to the engine at once.
        engine: further arguments of `vllm.LLM`; None leaves one to vLLM.
        adapter: directory of a LoRA adapter, or None.

    Raises:
        Refusal: something of it cannot be.
    """

    modes = modes.MODES

    def __init__(
        self,
        model: str,
        revision: str | None,
        chat_template: str | None,
        template_arguments: Mapping[str, Any],
        temperature: float,
        top_p: float,
        top_k: int,
        max_tokens: int,
        max_context: int | None,
        thinking: Mapping[str, Any] | None,
        deterministic: bool,
        chunk: int,
        engine: Mapping[str, Any],
        adapter: str | None,
    ):
        Sampling(temperature, top_p, top_k)  # checks them
        if not (temperature == 0 or 0.01 <= temperature <= 2):  # vLLM moves what lies between
            raise Refusal(f"temperature must be 0 or lie in 0.01..2, got {temperature}")
        for name, value, optional in (
            ("max_tokens", max_tokens, False),
            ("max_context", max_context, True),
            ("chunk", chunk, False),
        ):
            _check_whole(name, value, optional)
        check_free(engine)
        self._version = vllm_engine.version()
        folder, commit = models.find(model, revision)
        self.model, self._folder = model, folder
        self.temperature, self.greedy = temperature, temperature == 0
        self.context = max_context
        self._chat = Chat.load(self.model, folder, chat_template, template_arguments)
        self._thinking = Thinking.of(thinking, self._chat, with_budget=True)
        budget = self._thinking.budget if self._thinking else None
        sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        sampling["max_tokens"] = max_tokens + (budget or 0)
        adapter = adapter and str(Path(adapter).expanduser())
        self._arguments = arguments(engine, max_context, self._thinking, adapter)
        self._requests = Requests(self._chat, sampling, self._thinking)
        self._adapter, self._deterministic, self._chunk = adapter, deterministic, chunk
        self._identity = {
            "model": self.model,
            "revision": commit,
            "weights": None if commit else models.weights(folder),
            "adapter": models.fingerprint(Path(adapter), "adapter_*") if adapter else None,
            "template": self._chat.hash,
            "sampling": sampling,
            "thinking": self._thinking and asdict(self._thinking),
            "deterministic": deterministic,
            "engine": {k: v for k, v in self._arguments.items() if k not in SPEED},
            "version": self._version,
        }
        self._llm: Any = None
        self._waiting: Waiting[Request] = Waiting()
        self._open: dict[str, tuple[Request, float]] = {}  # by the engine's id, with its start
        self._done: list[tuple[Request, Reply]] = []
        self._fault: CallFailed | None = None  # that the next call must tell
        self._prompt_tokens = self._cached_tokens = 0

    def identity(self) -> dict[str, Any]:
        return self._identity

    def count_tokens(self, text: str) -> int:
        return len(self._chat.encode(text))

    def count_prompt(self, message: Message) -> int:
        return len(self._chat.prompt(message))

    def check(self, mode: str, labels: Sequence[str]) -> None:
        check_mode(mode, self._thinking, self._chat, bool(self._arguments.get("reasoning_parser")))
        if mode == "label":
            self._requests.scored(tuple(labels))

    def statistics(self) -> dict[str, Any]:
        """Prompt tokens so far, those found in the prefix cache, and the engine's arguments."""
        share = self._cached_tokens / self._prompt_tokens if self._prompt_tokens else None
        return {
            "prompt_tokens": self._prompt_tokens,
            "cached_tokens": self._cached_tokens,
            "cached_share": share,
            "engine": self._arguments,
        }

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._waiting.put(request.slot.depth, next(_numbers), request)
        self._feed()

    def ready(self) -> list[tuple[Request, Reply]]:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        while self._open and not self._done:
            try:
                outputs = self._llm.llm_engine.step()
            except Exception as fault:  # whatever ends a step ends the engine
                raise self._dead(fault) from fault
            for output in outputs:
                # What another run left behind has no entry.
                if output.finished and output.request_id in self._open:
                    self._done.append(self._finish(output))
        done, self._done = self._done, []
        try:
            self._feed()  # the engine is busy while these are dealt with
        except CallFailed as fault:
            if not done:
                raise
            self._fault = fault  # what is done is handed out before
        return done

    def close(self) -> None:
        """Gives up what is open; the engine stays for the next run."""
        try:
            if self._open:
                self._llm.llm_engine.abort_request(list(self._open))
        except Exception:  # it died, and nobody asked it anything since
            vllm_engine.drop()
        self._forget()

    # -- requests ----------------------------------------------------------------------------

    def _feed(self) -> None:
        """Gives the engine as many requests as it may have."""
        if self._waiting and self._llm is None:
            self._llm = self._start()
        while self._waiting and len(self._open) < self._chunk:
            number, request = self._waiting.take()
            ids, params = self._requests.prompt(request), self._requests.params(request)
            room = self._llm.model_config.max_model_len
            if len(ids) >= room:
                told = f"the prompt has {len(ids)} tokens, {self.model} takes at most {room - 1}"
                error = f"ContextTooLong: {told}"
                reply = Reply("", finish_reason=None, error=error, prompt_tokens=len(ids))
                self._done.append((request, reply))
                continue
            name = f"sim-{number}"
            self._open[name] = request, time.perf_counter()
            try:
                self._add(name, ids, params, -request.slot.depth)
            except Exception as fault:
                if type(fault).__name__ == "EngineDeadError":
                    raise self._dead(fault) from fault
                del self._open[name]  # the request's own fault
                told = " ".join(f"{type(fault).__name__}: {fault}".split())
                self._done.append((request, Reply("", None, None, told)))

    def _start(self) -> Any:
        llm = vllm_engine.engine(
            self.model, self._folder, self._arguments, self._deterministic,
            self._identity["weights"],
        )  # fmt: skip
        if self._deterministic:
            logging.getLogger(__name__).warning(
                "deterministic=true: batch-invariant kernels, engine in this process; vLLM "
                "measured 1 to 20 percent less speed; equal on the same hardware and version only"
            )
        return llm

    def _add(self, name: str, ids: list[int], params: Any, priority: int) -> None:
        from vllm.inputs import tokens_input

        how = {"lora_request": self.adapter(), "priority": priority}
        self._llm.llm_engine.add_request(name, tokens_input(ids), params, **how)

    def adapter(self) -> Any:
        """The `LoRARequest` of all requests, or None."""
        if self._adapter is None:
            return None
        return vllm_engine.adapter_request(self._adapter, self._identity["adapter"])

    # -- replies -----------------------------------------------------------------------------

    def _finish(self, output: Any) -> tuple[Request, Reply]:
        request, start = self._open.pop(output.request_id)
        reply = self._requests.reply(request, output)
        reply.latency_s = time.perf_counter() - start
        self._prompt_tokens += len(output.prompt_token_ids)
        self._cached_tokens += reply.cached_tokens or 0
        return request, reply

    def _dead(self, fault: Exception) -> CallFailed:
        n = len(self._open) + len(self._waiting)
        self._forget()
        vllm_engine.drop()
        why = " ".join(str(fault).split())[:300].rstrip(".")
        if "NaN" in why:
            why += "; numbers overflowed, try another model.engine.dtype"
        return CallFailed(
            f"the vLLM engine of {self.model} died ({type(fault).__name__}: {why}) with {n} "
            f"requests open; what was answered is journalled, and resume= goes on with a new engine"
        )

    def _forget(self) -> None:
        self._llm = self._fault = None
        self._waiting.clear()
        self._open.clear()
        self._done.clear()


def _check_whole(name: str, value: Any, optional: bool) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        null = " or null" if optional else ""
        raise Refusal(f"{name} must be a whole number, 1 or more{null}, got {value!r}")

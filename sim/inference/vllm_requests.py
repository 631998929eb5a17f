"""Requests as vLLM takes them, token prompts and sampling parameters, and what it replies."""

from collections.abc import Mapping
from typing import Any

from sim.inference import modes
from sim.inference.base import Reply, Request
from sim.inference.chat import Chat
from sim.inference.thinking import Thinking


class Requests:
    """Turns requests into the engine's, and what it put out into replies.

    Args:
        chat: of the model.
        sampling: keyword arguments of `SamplingParams` for what is written freely.
        thinking: the model's reasoning, if it is kept apart.
    """

    def __init__(
        self,
        chat: Chat,
        sampling: Mapping[str, Any],
        thinking: Thinking | None,
    ):
        self._chat, self._sampling, self._thinking = chat, dict(sampling), thinking
        self._labels: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
        self._constraints: dict[tuple[str, tuple[str, ...]], Any] = {}

    def prompt(self, request: Request) -> list[int]:
        """Token ids of the conversation, in label mode with the prefix of the label."""
        ids = self._chat.prompt(request.message).tolist()
        if request.mode != "label":
            return ids
        assert request.labels is not None
        return ids + self.scored(request.labels)[0]

    def scored(self, labels: tuple[str, ...]) -> tuple[list[int], list[int]]:
        """Ids of the prefix and of the labels, in label mode.

        Raises:
            Refusal: a label is not a token of its own.
        """
        if labels not in self._labels:
            prefix, ids = self._chat.labels(labels)
            self._labels[labels] = prefix.tolist(), ids
        return self._labels[labels]

    def params(self, request: Request) -> Any:
        """Sampling parameters; `skip_clone`, since no two requests share them."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        common: dict[str, Any] = {
            "output_kind": RequestOutputKind.FINAL_ONLY,
            "stop_token_ids": list(self._chat.stop_ids),
            "skip_clone": True,
        }
        if request.mode == "label":
            assert request.labels is not None
            ids = self.scored(request.labels)[1]
            return SamplingParams(
                temperature=0, max_tokens=1, logprob_token_ids=ids, detokenize=False, **common
            )
        greedy = self._sampling["temperature"] == 0
        if request.seed is None and not greedy:
            raise ValueError("a request that draws needs a seed, got None")
        if request.mode != "text":
            common["structured_outputs"] = self._constraint(request)
        return SamplingParams(
            **self._sampling,
            **common,
            seed=None if greedy else request.seed,
            thinking_token_budget=self._thinking and self._thinking.budget,
            skip_special_tokens=not self._thinking,  # the marks may be special
        )

    def reply(self, request: Request, output: Any) -> Reply:
        """The reply to a request, but for its latency.

        Args:
            request: what was asked.
            output: the `RequestOutput` of vLLM, finished.
        """
        said = output.outputs[0]
        reply = Reply(
            said.text,
            finish_reason=said.finish_reason,
            prompt_tokens=len(output.prompt_token_ids),
            cached_tokens=output.num_cached_tokens or 0,
            output_tokens=len(said.token_ids),
        )
        if said.finish_reason not in ("stop", "length"):
            reply.text, reply.error = "", f"EngineError: the engine ended it: {said.finish_reason}"
        elif request.mode == "label":
            assert request.labels is not None
            found = said.logprobs[0]
            reply.option_logprobs = [found[i].logprob for i in self.scored(request.labels)[1]]
            # The token drawn is thrown away: nothing is written.
            reply.text, reply.finish_reason, reply.output_tokens = "", "stop", 0
        elif self._thinking:
            reply.text, reply.reasoning = self._thinking.split(said.text)
        return reply

    def _constraint(self, request: Request) -> Any:
        from vllm.sampling_params import StructuredOutputsParams

        assert request.labels is not None
        key = request.mode, request.labels
        if key not in self._constraints:
            if request.mode == "choice":
                told: dict[str, Any] = {"choice": list(request.labels)}
            elif request.mode == "regex":
                told = {"regex": modes.regex(request.labels)}
            else:
                told = {"regex": modes.json_regex(request.labels)}
            self._constraints[key] = StructuredOutputsParams(**told)
        return self._constraints[key]

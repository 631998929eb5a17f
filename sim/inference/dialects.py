"""How servers that speak OpenAI's protocol differ: response modes, names of fields, seeds."""

from collections.abc import Sequence
from typing import Any

from sim.inference import modes


class Dialect:
    """What any compatible server takes: free text.

    Attributes:
        modes: response modes that the server offers.
        limit: name of the field for the most tokens of a reply.
        seed_bits: of the seeds that it takes.
    """

    modes: tuple[str, ...] = ("text",)
    limit = "max_tokens"
    seed_bits = 63

    def fields(self, mode: str, labels: Sequence[str]) -> dict[str, Any]:
        """Fields of a request that make the server keep to a response mode other than text."""
        raise ValueError(f"mode must be one of {', '.join(self.modes)}, got {mode!r}")


class JSONSchema(Dialect):
    """Free text, and JSON that fits a schema: Ollama, llama-server, many providers.

    Args:
        seed_bits: 31 where seeds are C integers.
    """

    modes = ("text", "json")

    def __init__(self, seed_bits: int = 63):
        self.seed_bits = seed_bits

    def fields(self, mode: str, labels: Sequence[str]) -> dict[str, Any]:
        if mode != "json":
            return super().fields(mode, labels)
        schema = {"name": "decision", "strict": True, "schema": modes.json_schema(labels)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}


class OpenAI(JSONSchema):
    """OpenAI's own (and Azure's): newer models take `max_completion_tokens` only."""

    limit = "max_completion_tokens"


class VLLM(Dialect):
    """vLLM's server, all response modes, as vLLM in process has them."""

    modes = modes.MODES

    def fields(self, mode: str, labels: Sequence[str]) -> dict[str, Any]:
        if mode == "label":
            return {
                "add_generation_prompt": False,
                "continue_final_message": True,
                "temperature": 0,
                "max_tokens": 1,
                "logprobs": True,
                "return_tokens_as_token_ids": True,
            }
        told: dict[str, Any] = {
            "choice": {"choice": list(labels)},
            "regex": {"regex": modes.regex(labels)},
            "json": {"regex": modes.json_regex(labels)},
        }
        return {"structured_outputs": told[mode]}

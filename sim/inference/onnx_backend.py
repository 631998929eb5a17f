"""The embedded engine: ONNX models on the CPU, in process, with nothing to set up."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.errors import Refusal
from sim.inference import models, onnx_network
from sim.inference.chat import Chat
from sim.inference.jobs import Limits
from sim.inference.local import LocalBackend
from sim.inference.network import Sampling


class OnnxBackend(LocalBackend):
    """Serves the `model.onnx` of a directory in the Hugging Face layout with onnxruntime.

    Args:
        model: the directory, with `config.json`, tokenizer and chat template, or `pocket` for
            the project's own.
        chat_template: Jinja file instead of the model's own, or None.
        template_arguments: switches of the template.
        temperature: of the sampling; 0 takes the likeliest token.
        top_p: share of probability that is sampled from; 1 for all.
        top_k: how many tokens are sampled from; 0 for all.
        max_tokens: of a reply, at most.
        thinking: marks `start` and `end` of reasoning, or None.
        threads: that compute; None: as many as there are cores.
        batch: see `Limits`.
    """

    def __init__(
        self,
        model: str,
        chat_template: str | None,
        template_arguments: Mapping[str, Any],
        temperature: float,
        top_p: float,
        top_k: int,
        max_tokens: int,
        thinking: Mapping[str, str] | None,
        threads: int | None,
        batch: Mapping[str, int],
    ):
        sampling, limits = Sampling(temperature, top_p, top_k), Limits(**batch)
        if threads is not None and (isinstance(threads, bool) or threads < 1):
            raise Refusal(f"threads must be a whole number, 1 or more, or null, got {threads!r}")
        folder = models.local(model)
        if folder is None:
            raise Refusal(f"model must be a directory with model.onnx, got {model!r}: not there")
        path = folder / "model.onnx"
        if not path.is_file():
            raise Refusal(
                f"the embedded engine needs model.onnx, {model} has none; for Llama models "
                f"`python -m sim.inference.onnx_export {model}` writes it"
            )
        chat = Chat.load(model, folder, chat_template, template_arguments)
        network = onnx_network.load(path, _context(folder), threads)
        super().__init__(model, network, chat, sampling, max_tokens, thinking, limits)
        # Large models have their weights in files beside it.
        self._files = models.fingerprint(folder, "model.onnx*")
        self._files += models.fingerprint(folder, "config.json")

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"engine": "onnxruntime", "weights": self._files}


def _context(folder: Path) -> int:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings")
    except (OSError, ValueError) as fault:
        raise Refusal(f"a model needs config.json, {path} cannot be read: {fault}") from fault
    if not isinstance(found, int) or found < 1:
        raise Refusal(f"max_position_embeddings must be a number, 1 or more, {path} has {found!r}")
    return found

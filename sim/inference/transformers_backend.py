"""Models of the Hugging Face hub in process, on any torch device, by the project's own loop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.errors import Refusal
from sim.inference import models
from sim.inference.chat import Chat
from sim.inference.jobs import Limits
from sim.inference.local import LocalBackend
from sim.inference.network import Sampling

DTYPES = ("auto", "float32", "bfloat16", "float16")


class TransformersBackend(LocalBackend):
    """Serves a causal language model with transformers.

    Args:
        model: directory, or id on the hub.
        revision: branch, tag or commit on the hub; None for the main branch.
        device: of torch; "auto" takes a GPU if there is one.
        dtype: of the weights; "auto" as they are saved.
        attention: implementation that transformers is asked for.
        trust_remote_code: whether Python code that comes with the model is run.
        chat_template: Jinja file instead of the model's own, or None.
        template_arguments: switches of the template.
        temperature: of the sampling; 0 takes the likeliest token.
        top_p: share of probability that is sampled from; 1 for all.
        top_k: how many tokens are sampled from; 0 for all.
        max_tokens: of a reply, at most.
        thinking: marks `start` and `end` of reasoning, or None.
        batch: see `Limits`.
    """

    def __init__(
        self,
        model: str,
        revision: str | None,
        device: str,
        dtype: str,
        attention: str,
        trust_remote_code: bool,
        chat_template: str | None,
        template_arguments: Mapping[str, Any],
        temperature: float,
        top_p: float,
        top_k: int,
        max_tokens: int,
        thinking: Mapping[str, str] | None,
        batch: Mapping[str, int],
    ):
        sampling, limits = Sampling(temperature, top_p, top_k), Limits(**batch)
        if dtype not in DTYPES:
            raise Refusal(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if not isinstance(trust_remote_code, bool):
            raise Refusal(f"trust_remote_code must be true or false, got {trust_remote_code!r}")
        _need_extra()
        folder, commit = models.find(model, revision, code=trust_remote_code)
        chat = Chat.load(model, folder, chat_template, template_arguments)
        network = _load(model, folder, device, dtype, attention, trust_remote_code)
        super().__init__(model, network, chat, sampling, max_tokens, thinking, limits)
        self._engine = {"engine": "transformers", "dtype": str(network.dtype), "revision": commit}
        self._engine["attention"] = attention
        if commit is None:  # a commit says which weights; a directory does not
            code = models.fingerprint(folder, "*.py") if trust_remote_code else []
            self._engine["weights"] = models.weights(folder) + code

    def identity(self) -> dict[str, Any]:
        return super().identity() | self._engine


def _need_extra() -> None:
    try:
        import torch
        import transformers
    except ImportError as fault:
        raise Refusal(
            f"model=transformers needs the extra hf: pip install -e '.[hf]' ({fault})"
        ) from fault
    del torch, transformers


def _load(
    name: str, folder: Path, device: str, dtype: str, attention: str, trust_remote_code: bool
) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from sim.inference.torch_network import TorchNetwork

    logging.disable_progress_bar()
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        device = "cpu" if found is None else found.type
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,  # nothing is unpickled
            local_files_only=True,
        )
        model = model.to(device)
    except (OSError, ValueError, ImportError, RuntimeError) as fault:
        why = str(fault).strip().splitlines()[0]
        raise Refusal(f"{name} cannot be loaded on {device}: {why}") from fault
    return TorchNetwork(model, name)

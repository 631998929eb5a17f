"""Forward passes of transformers' models on any torch device."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from sim.errors import Refusal
from sim.inference.kv import Past
from sim.inference.network import Floats, Ints, Network, Sampling


class _Layer(CacheLayerMixin):
    """One layer's part of a `Past`, which grows in place: nothing is copied step by step.

    Layers with a sliding window keep all columns; the model's mask hides those out of sight.
    """

    is_sliding = False

    def __init__(self, past: Past, at: int):
        super().__init__()
        self._past, self._at = past, at
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        pass

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        width, end = self._past.width, self._past.width + key_states.shape[2]
        keys, values = self._past.arrays[self._at : self._at + 2]
        keys[:, :, width:end] = key_states
        values[:, :, width:end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._past.width

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._past.width + query_length, 0

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # its name in earlier releases


class _Probe(_Layer):
    """Learns the shapes of keys and values."""

    def __init__(self):
        super().__init__(Past([], 0), 0)
        self.shapes: list[tuple[int, int]] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.shapes = [(x.shape[1], x.shape[3]) for x in (key_states, value_states)]
        self.dtype = key_states.dtype
        return key_states, value_states


def _steady(config: Any) -> int | None:
    """Positions up to which a model turns all by the same frequencies; None: however far.

    Beyond them transformers takes other frequencies for the whole batch (RoPE of the types
    `longrope` and `dynamic`): a row's reply would depend on the longest row beside it, and kept
    keys would not fit to new ones.
    """
    told = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    layers = [part for part in told.values() if isinstance(part, dict)] or [told]
    kinds = {part.get("rope_type", part.get("type")) for part in layers}
    if not kinds & {"longrope", "dynamic"}:
        return None
    name = "original_max_position_embeddings"
    known = [part.get(name) or getattr(config, name, None) for part in layers]
    return min([n for n in known if n], default=config.max_position_embeddings)


class TorchNetwork(Network):
    """A causal language model of transformers.

    Args:
        model: loaded, on its device.
        name: of the model, for messages.

    Raises:
        Refusal: its state is more than keys and values, or its context is not known.
    """

    def __init__(self, model: Any, name: str):
        self._model, self._device = model.eval(), model.device
        config = model.config.get_text_config(decoder=True)
        context = getattr(config, "max_position_embeddings", None)
        if not isinstance(context, int):
            raise Refusal(f"a model needs max_position_embeddings in config.json, {name} has none")
        self.context = min(context, _steady(config) or context)
        self.vocabulary = config.vocab_size
        layers = DynamicCache(config=model.config).layers
        layers = layers or [DynamicLayer() for _ in range(config.num_hidden_layers)]
        other = {type(x).__name__ for x in layers} - {
            DynamicLayer.__name__,
            DynamicSlidingWindowLayer.__name__,
        }
        if other:
            raise Refusal(
                f"this engine batches models whose state is keys and values, {name} has "
                f"{', '.join(sorted(other))}; model=vllm may serve it"
            )
        taken = inspect.signature(model.forward).parameters
        self._brief = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        self._cache = "cache" if "cache" in taken else "past_key_values"  # its name before 5.24
        probes = [_Probe() for _ in layers]
        self._compute(Cache(layers=[*probes]), np.zeros((1, 1), np.int64), np.zeros(1, np.int64), 0)
        self.shapes = [shape for probe in probes for shape in probe.shapes]
        if len(self.shapes) != 2 * len(layers):
            raise Refusal(f"this engine needs keys and values of every layer, {name} shares some")
        self.dtype = probes[0].dtype
        self.item = self.dtype.itemsize

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self._device)

    def empty(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self._device)

    def index(self, numbers: Ints) -> torch.Tensor:
        return torch.from_numpy(numbers).to(self._device)

    def ran_out(self, fault: Exception) -> bool:
        if isinstance(fault, torch.OutOfMemoryError | MemoryError):
            return True
        # CPU and MPS have no class of their own for it.
        told = ("can't allocate memory", "out of memory")
        return isinstance(fault, RuntimeError) and any(words in str(fault) for words in told)

    def release(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def forward(self, past: Past, ids: Ints, starts: Ints) -> torch.Tensor:
        past.reserve(ids.shape[1], self.zeros)
        cache = Cache(layers=[_Layer(past, at) for at in range(0, len(past.arrays), 2)])
        logits = self._compute(cache, ids, starts, past.width)
        past.width += ids.shape[1]
        return logits

    @torch.inference_mode()
    def _compute(self, cache: Cache, ids: Ints, starts: Ints, width: int) -> torch.Tensor:
        columns = torch.arange(width + ids.shape[1], device=self._device)
        start = self.index(starts)[:, None]
        output = self._model(
            input_ids=self.index(np.ascontiguousarray(ids)),
            attention_mask=(columns >= start).long(),
            position_ids=(columns[width:] - start).clamp(0, self.context - 1),
            use_cache=True,
            **{self._cache: cache},
            **self._brief,
        )
        return output.logits[:, -1].float()

    @torch.inference_mode()
    def choose(
        self,
        logits: torch.Tensor,
        u: Floats,
        sampling: Sampling,
        allowed: NDArray[np.bool_] | None,
    ) -> Ints:
        if allowed is not None:
            hidden = torch.from_numpy(~allowed).to(self._device)
            logits = logits.masked_fill(hidden, float("-inf"))
        if sampling.temperature == 0:
            return logits.argmax(-1).cpu().numpy()
        weight = (logits - logits.amax(-1, keepdim=True)).div_(sampling.temperature).exp_()
        if 0 < sampling.top_k < weight.shape[1]:
            least = weight.topk(sampling.top_k).values[:, -1:]
            weight = weight.masked_fill(weight < least, 0)
        wide = torch.float32 if self._device.type == "mps" else torch.float64  # mps has no other
        if sampling.top_p < 1:
            ranked = weight.sort(-1, descending=True).values
            before = ranked.cumsum(-1, dtype=wide)
            kept = 1 + (before[:, :-1] < sampling.top_p * before[:, -1:]).sum(-1, keepdim=True)
            weight = weight.masked_fill(weight < ranked.gather(-1, kept - 1), 0)
        reached = weight.cumsum(-1, dtype=wide)
        point = torch.from_numpy(u).to(self._device, wide)[:, None] * reached[:, -1:]
        found = (reached <= point).sum(-1)
        last = weight.shape[1] - 1 - (weight.flip(-1) > 0).int().argmax(-1)
        return torch.minimum(found, last).cpu().numpy()

    @torch.inference_mode()
    def broken(self, logits: torch.Tensor) -> NDArray[np.bool_]:
        return ~logits.amax(-1).isfinite().cpu().numpy()

    @torch.inference_mode()
    def logprobs(self, logits: torch.Tensor, row: int, ids: Sequence[int]) -> list[float]:
        return logits[row].log_softmax(-1)[list(ids)].tolist()

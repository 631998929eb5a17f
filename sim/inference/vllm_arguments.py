"""The engine arguments of vLLM, as a config gives them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.errors import Refusal
from sim.inference.thinking import Thinking

# Of the engine, but not in `engine`: said elsewhere, or replies would mean something else.
TAKEN = ("model", "revision", "tokenizer", "max_model_len", "generation_config", "logprobs_mode")
TAKEN += ("reasoning_config", "skip_tokenizer_init", "disable_log_stats", "hf_token")
# Those that say how fast, not what.
SPEED = {"gpu_memory_utilization", "kv_cache_memory_bytes", "max_num_seqs", "scheduling_policy"}
SPEED |= {"max_num_batched_tokens", "enable_prefix_caching", "use_tqdm_on_load"}
ADAPTER_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM takes


def check_free(engine: Mapping[str, Any]) -> None:
    """Raises Refusal if an argument is given that is not free."""
    taken = [name for name in TAKEN if name in engine]
    if taken:
        raise Refusal(f"engine must not set {', '.join(TAKEN)}, got {', '.join(taken)}")


def arguments(
    engine: Mapping[str, Any],
    max_context: int | None,
    thinking: Thinking | None,
    adapter: str | None,
) -> dict[str, Any]:
    """Arguments of `vllm.LLM`, but for those that are the same for all models.

    Args:
        engine: as given; None leaves one to vLLM.
        max_context: most tokens of a conversation; None: what the model was made for.
        thinking: the model's reasoning, if it is kept apart.
        adapter: directory of a LoRA adapter, or None.

    Raises:
        Refusal: something of them cannot be.
    """
    told = {name: value for name, value in engine.items() if value is not None}
    if "reasoning_parser" in told and thinking is None:
        raise Refusal(
            "engine.reasoning_parser needs model.thinking, the marks by which a reply is told "
            f"from its reasoning, got null beside {told['reasoning_parser']}"
        )
    if max_context is not None:
        told["max_model_len"] = max_context
    if adapter is not None:
        told = _for_adapter(adapter) | told
    if thinking is not None and thinking.budget is not None:
        marks = {"reasoning_start_str": thinking.start, "reasoning_end_str": thinking.end}
        told["reasoning_config"] = marks
    return told


def _for_adapter(adapter: str) -> dict[str, Any]:
    path = Path(adapter) / "adapter_config.json"
    try:
        rank = json.loads(path.read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError) as fault:
        raise Refusal(
            f"adapter must be a directory with adapter_config.json, got {adapter}"
        ) from fault
    fits = [known for known in ADAPTER_RANKS if known >= rank]
    if not fits:
        raise Refusal(f"an adapter's rank must be at most {ADAPTER_RANKS[-1]}, got {rank}")
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": fits[0]}

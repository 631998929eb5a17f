"""How fast the backends are: `python -m sim.throughput --models PRESET ...`.

A small HVAE study is played with each preset of `conf/model`, each size in a process of its own.
Then the engine alone is given exactly the same token prompts, seeds and limits, all at once:
what it takes longer end to end is what this project adds.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from sim.configs import compose
from sim.errors import Refusal
from sim.inference.models import POCKET

# One request for each decision, whatever a model of random weights says.
STUDY = ("experiment=hvae", "agent=hvae", "env=svo_slider", "analysis=[]", "n_reasks=0")


def settings(preset: str, sets: Sequence[str]) -> list[str]:
    """Overrides of the study with a preset; `model.` ones only where the preset has them.

    `model.model` is for presets that name none themselves.
    """
    given = [one for one in sets if fits(preset, one)]
    names = {one.partition("=")[0] for one in given}
    return [o for o in STUDY if o.partition("=")[0] not in names] + [f"model={preset}", *given]


def fits(preset: str, override: str) -> bool:
    """Whether an override is for this preset."""
    name = override.partition("=")[0]
    if not name.startswith("model."):
        return True
    node = model = compose(f"model={preset}").model
    *path, last = name.split(".")[1:]
    for part in path:
        node = node.get(part) if isinstance(node, DictConfig) else None
    if not isinstance(node, DictConfig) or last not in node.keys():  # noqa: SIM118 (`in` is False for ???)
        return False
    return name != "model.model" or OmegaConf.is_missing(model, "model")


def random_model(folder: Path, onnx: bool, width: int = 512, layers: int = 9) -> Path:
    """Writes a Llama model of random weights with the pocket model's tokenizer; 29 M parameters.

    Its replies are noise and about as long as they may be.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError as fault:
        raise Refusal("--random needs safetensors: pip install safetensors") from fault
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(POCKET / name, folder)
    heads = width // 64
    config = json.loads((POCKET / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_size": width, "intermediate_size": 3 * width, "head_dim": 64}
    config |= {"num_hidden_layers": layers, "num_attention_heads": heads}
    config |= {"num_key_value_heads": max(1, heads // 2), "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    draw, pairs = np.random.default_rng(0), 64 * max(1, heads // 2)
    shapes = {"self_attn.q_proj": (64 * heads, width), "self_attn.o_proj": (width, 64 * heads)}
    shapes |= {"self_attn.k_proj": (pairs, width), "self_attn.v_proj": (pairs, width)}
    shapes |= {"mlp.gate_proj": (3 * width, width), "mlp.up_proj": (3 * width, width)}
    shapes |= {"mlp.down_proj": (width, 3 * width)}
    norms = ("input_layernorm", "post_attention_layernorm")
    shapes = {f"layers.{i}.{k}": s for i in range(layers) for k, s in shapes.items()}
    shapes["embed_tokens"] = config["vocab_size"], width
    weights = {k: 0.02 * draw.standard_normal(s, np.float32) for k, s in shapes.items()}
    weights |= {f"layers.{i}.{k}": np.ones(width, "f4") for i in range(layers) for k in norms}
    weights["norm"] = np.ones(width, np.float32)
    weights = {f"model.{name}.weight": weight for name, weight in weights.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if onnx:
        from sim.inference.onnx_export import export

        export(folder)
    return folder


def with_random(presets: Sequence[str], sets: Sequence[str], folder: Path) -> list[str]:
    """The overrides, and those that have a model of random weights served, made in `folder`."""
    targets = [compose(f"model={preset}").model._target_ for preset in presets]
    folder = folder / "random-29M"
    folder.mkdir()
    random_model(folder, any(target.endswith(".OnnxBackend") for target in targets))
    return [f"model.model={folder}", "model.max_tokens=16", *sets]


def apart(told: dict[str, Any]) -> dict[str, Any]:
    """`measure.measure` in a process of its own; `refused` where it says why not."""
    command = [sys.executable, "-m", "sim.throughput.measure", json.dumps(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"refused": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])  # engines print too


def tables(
    presets: Sequence[str],
    sizes: Sequence[int],
    sets: Sequence[str],
    n_alone: int,
    n_generate: int,
    pairs: int,
) -> Iterator[tuple[Table, list[str]]]:
    """One table for each size, its columns the presets, with what could not be measured and why.

    Args:
        presets: of `conf/model`.
        sizes: of the population.
        sets: further overrides of the study.
        n_alone: agents that are played one call at a time, for comparison; 0: none.
        n_generate: agents of the first size whose prompts transformers' own `generate` is given;
            0: none.
        pairs: how often each is measured beside its engine alone.

    Raises:
        Refusal: an override is for none of the presets.
    """
    for override in sets:
        if not any(fits(preset, override) for preset in presets):
            raise Refusal(f"--set must name a key of a preset given, got {override!r}")

    def run(preset: str, agents: int, alone: bool) -> dict[str, Any]:
        told = {"overrides": settings(preset, sets), "agents": agents, "alone": alone}
        told |= {"n_generate": 0 if agents != sizes[0] else n_generate, "pairs": pairs}
        return apart(told)

    ones = {preset: run(preset, n_alone, True) for preset in presets if n_alone}
    for size in sizes:
        found = {preset: run(preset, size, False) for preset in presets}
        for preset, one in found.items():
            one["alone"] = ones.get(preset)
        failed = [f"{name}: {one['refused']}" for name, one in found.items() if "refused" in one]
        yield table(size, found), failed


ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": lambda x: x["model"],
    "tokens of a reply, at most": lambda x: f"{x['max_tokens']}" if x["max_tokens"] else "",
    "decisions": lambda x: f"{x['decisions']:,}",
    "requests": lambda x: f"{x['requests']:,}",
    "wall seconds": lambda x: f"{x['seconds']:,.1f}",
    "decisions/s": lambda x: f"{x['decisions'] / x['seconds']:,.1f}",
    "requests/s": lambda x: f"{x['requests'] / x['seconds']:,.1f}",
    "output tokens/s": lambda x: f"{x['output'] / x['seconds']:,.0f}",
    "prompt tokens/s": lambda x: f"{x['prompt'] / x['seconds']:,.0f}",
    "prompt tokens from cache": lambda x: f"{x['cached'] / x['prompt']:.1%}",
    "cacheable ones from cache": lambda x: f"{x['taken'] / x['cacheable']:.1%}",
    "CPU µs a decision, engine left out": lambda x: f"{1e6 * x['own_cpu'] / x['decisions']:,.0f}",
    "GPU seconds per 1,000 decisions": lambda x: (
        f"{1000 * x['gpus'] * x['seconds'] / x['decisions']:,.2f}" if x["gpus"] else ""
    ),
    "bare engine, same prompts: seconds": lambda x: f"{np.mean(x['bares']):,.1f}",
    "its prompt tokens from cache": lambda x: f"{x['bare_cached'] / x['prompt']:.1%}",
    "end to end / bare engine": lambda x: _ratio(x["runs"], x["bares"]),
    "the same ratio of CPU seconds": lambda x: _ratio(x["cpus"], x["bare_cpus"]),
    "replies equal to the bare engine's": lambda x: f"{x['same']:.1%}",
    "one call at a time, some agents: decisions/s": lambda x: (
        f"{_rate(x['alone']):,.2f} ({x['alone']['agents']})"
    ),
    "as many times as fast": lambda x: f"{_rate(x) / _rate(x['alone']):,.1f}",
    "model.generate, some agents' prompts: decisions/s": lambda x: (
        f"{_rate(x['generate']):,.2f} ({x['generate']['agents']})"
    ),
    "as many times as fast as that": lambda x: f"{_rate(x) / _rate(x['generate']):,.1f}",
    "peak memory, MiB": lambda x: f"{x['peak']:,.0f}",
}


def _ratio(runs: Sequence[float], bares: Sequence[float]) -> str:
    """Of the means, and of the single pairs the least and the most."""
    each = [run / bare for run, bare in zip(runs, bares, strict=True)]
    span = f" ({min(each):.3f}..{max(each):.3f})" if len(each) > 1 else ""
    return f"{np.mean(runs) / np.mean(bares):.3f}{span}"


def _rate(found: dict[str, Any]) -> float:
    return found["decisions"] / found["seconds"]


def table(size: int, found: dict[str, dict[str, Any]]) -> Table:
    """What was measured at one size, by preset; lines that none of them has are left out."""
    shown = Table(
        title=f"HVAE study of {size:,} agents, {os.cpu_count()} cores",
        caption="bare engine: LLM.generate of vLLM, else this project's own decoding loop",
    )
    for column in ("", *found):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, cell in ROWS.items():
        cells = []
        for one in found.values():
            try:
                cells.append(cell(one))
            except (KeyError, TypeError, ZeroDivisionError):  # not measured
                cells.append("")
        if any(cells):
            shown.add_row(name, *cells)
    return shown

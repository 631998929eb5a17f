"""Writes `model.onnx` beside the weights of a Llama-architecture model.

    python -m sim.inference.onnx_export DIRECTORY [--usual]

In the layout that `onnx_network.InPlace` reads: standard operators, float32, keys and values
written into the arrays given, logits of the last column alone; with `--usual` in the layout of
optimum's exports, which other programs read and which is slower. Needs the package onnx. The
same weights give the same bytes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import Refusal
from sim.inference.onnx_graph import Graph, layer, norm, places, usual_places

OPSET, IR = 24, 11
HUGE = 1_500_000_000  # bytes; protobuf ends at 2 GiB, so larger weights go into a second file
KNOWN = ("llama", "mistral", "qwen2")  # of one architecture; biases are found by their names


def export(folder: Path, usual: bool = False) -> Path:
    """Writes `model.onnx` into a model's directory and returns its path.

    Args:
        folder: with `config.json` and `*.safetensors`.
        usual: whether in the layout of optimum's exports.

    Raises:
        Refusal: the model is not of the Llama architecture, or the package onnx is missing.
    """
    try:
        import onnx
        import safetensors  # noqa: F401
    except ImportError as fault:
        raise Refusal(f"the export needs {fault.name}: pip install onnx safetensors") from fault
    path = folder / "config.json"
    if not path.is_file():
        raise Refusal(f"a model needs config.json, {folder} has none")
    config = json.loads(path.read_text(encoding="utf-8"))
    weights = _weights(folder)
    size = sum(weight.size * 4 for weight in weights.values())
    model = _model(config, weights, usual)
    path = folder / "model.onnx"
    (folder / "model.onnx.data").unlink(missing_ok=True)  # onnx would write behind what is there
    far = {"save_as_external_data": True, "location": "model.onnx.data"} if size > HUGE else {}
    onnx.save(model, path, **far)
    return path


def _weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise Refusal(f"a model needs its weights (model.safetensors), {folder} has none")
    return {name: weight for file in files for name, weight in load_file(file).items()}


def _frequencies(config: dict[str, Any], size: int) -> np.ndarray:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise Refusal(f"rope_type must be default, the model has {kind!r}")
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    return 1.0 / base ** (np.arange(0, size, 2) / size)


def _model(config: dict[str, Any], weights: dict[str, np.ndarray], usual: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    kind = config.get("model_type", "llama")
    if kind not in KNOWN:  # others have Llama's names for weights and compute otherwise
        raise Refusal(f"model_type must be one of {', '.join(KNOWN)}, the model has {kind!r}")
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if window is not None and window < config.get("max_position_embeddings", window):
        raise Refusal(f"attention must reach back to the start, the model has a window of {window}")
    if config.get("hidden_act", "silu") != "silu":
        raise Refusal(f"hidden_act must be silu, the model has {config['hidden_act']!r}")
    heads, pairs = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    n_layers = config["num_hidden_layers"]
    g = Graph(weights)
    embedding = g.take("model.embed_tokens.weight")
    tied = config.get("tie_word_embeddings", False)
    if tied:
        weights.pop("lm_head.weight", None)
    x = g("Gather", table := g.constant(embedding, "f4"), "input_ids")
    placed = usual_places if usual else places
    angles, mask, write = placed(g, _frequencies(config, size))
    eps = config["rms_norm_eps"]
    for i in range(n_layers):
        x = layer(
            g, x, i, (heads, pairs, size), eps, angles, mask, write, i == n_layers - 1 and not usual
        )
    x = norm(g, x, "model.norm.weight", eps)
    head = g("Transpose", table, perm=[1, 0]) if tied else None  # shared, and folded on loading
    head = head or g.constant(g.take("lm_head.weight").T, "f4")
    x = x if usual else g("Squeeze", x, g.constant([1]))
    g("MatMul", x, head, out=["logits"])
    left = [name for name in weights if "rotary_emb" not in name]
    if left:
        raise Refusal(f"a Llama model has no {left[0]}, this one has")
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    info = helper.make_tensor_value_info
    ends = [f"{i}.{part}" for i in range(n_layers) for part in ("key", "value")]
    inputs = [info("input_ids", ints, ["rows", "columns"])]
    if usual:
        inputs += [info("attention_mask", ints, ["rows", "all"])]
        inputs += [info("position_ids", ints, ["rows", "columns"])]
    else:
        inputs += [info("starts", ints, ["rows"]), info("width", ints, [1])]
    room, grown = ("past", "all") if usual else ("room", "room")
    inputs += [info(f"past_key_values.{end}", floats, ["rows", pairs, room, size]) for end in ends]
    last = ["columns"] if usual else []
    outputs = [info("logits", floats, ["rows", *last, len(embedding)])]
    outputs += [info(f"present.{end}", floats, ["rows", pairs, grown, size]) for end in ends]
    constants = [numpy_helper.from_array(array, name) for name, array in g.constants.items()]
    graph = helper.make_graph(g.nodes, "llama", inputs, outputs, constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="sim"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m sim.inference.onnx_export")
    parser.add_argument("directory", type=Path, help="with config.json and *.safetensors")
    parser.add_argument("--usual", action="store_true", help="the layout of optimum's exports")
    given = parser.parse_args()
    try:
        print(export(given.directory, given.usual))
    except Refusal as fault:
        sys.exit(f"refused: {fault}")

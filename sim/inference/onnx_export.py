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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import Refusal

OPSET, IR = 24, 11
HUGE = 1_500_000_000  # bytes; protobuf ends at 2 GiB, so larger weights go into a second file
KNOWN = ("llama", "mistral", "qwen2")  # of one architecture; biases are found by their names
MASKED = -1e9  # finite: padding sees nothing at all, and must not become NaN


class _Graph:
    """Nodes and constants of a graph, named in the order of their making."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._weights = weights

    def __call__(
        self, op: str, *inputs: str, n: int = 1, out: Sequence[str] = (), **how: Any
    ) -> Any:
        from onnx import helper

        names = list(out) or [f"{op}_{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **how))
        return names[0] if len(names) == 1 else names

    def constant(self, array: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array, dtype)
        return name

    def has(self, name: str) -> bool:
        return name in self._weights

    def take(self, *names: str) -> np.ndarray:
        """Weights one below the other; each may be asked for once."""
        missing = [name for name in names if name not in self._weights]
        if missing:
            raise Refusal(f"a Llama model has {missing[0]}, this one has not")
        return np.concatenate([self._weights.pop(name).astype(np.float32) for name in names])

    def linear(self, x: str, at: str, *names: str) -> str:
        """Projections of x, side by side."""
        y = self("MatMul", x, self.constant(self.take(*(f"{at}{n}.weight" for n in names)).T, "f4"))
        if self.has(f"{at}{names[0]}.bias"):
            y = self("Add", y, self.constant(self.take(*(f"{at}{n}.bias" for n in names)), "f4"))
        return y


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
    g = _Graph(weights)
    embedding = g.take("model.embed_tokens.weight")
    tied = config.get("tie_word_embeddings", False)
    if tied:
        weights.pop("lm_head.weight", None)
    x = g("Gather", table := g.constant(embedding, "f4"), "input_ids")
    places = _usual_places if usual else _places
    angles, mask, write = places(g, _frequencies(config, size))
    eps = config["rms_norm_eps"]
    for i in range(n_layers):
        x = _layer(
            g, x, i, (heads, pairs, size), eps, angles, mask, write, i == n_layers - 1 and not usual
        )
    x = _norm(g, x, "model.norm.weight", eps)
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


def _places(g: _Graph, frequencies: np.ndarray) -> tuple[tuple[str, str], str, str]:
    """Cosines and sines of the positions, what each column may see, and where to write.

    B rows, S new columns, C columns of room.
    """
    n_rows, n = (g("Shape", "input_ids", start=i, end=i + 1) for i in (0, 1))
    room = g("Shape", "past_key_values.0.key", start=2, end=3)
    zero, one, scalar = g.constant(0), g.constant(1), g.constant([0])
    steps = g("Range", zero, g("Squeeze", n, scalar), one)
    column = g("Unsqueeze", g("Add", steps, "width"), g.constant([0]))  # 1, S
    start = g("Unsqueeze", "starts", g.constant([1]))  # B, 1
    position = g("Max", g("Sub", column, start), g.constant([[0]]))  # B, S
    seen = g("Range", zero, g("Squeeze", room, scalar), one)  # C
    late = g("Greater", seen, g("Unsqueeze", column, g.constant([2])))  # 1, S, C
    early = g("Less", seen, g("Unsqueeze", start, g.constant([2])))  # B, 1, C
    hidden = g("Unsqueeze", g("Or", late, early), g.constant([1]))  # B, 1, S, C
    mask = g("Where", hidden, g.constant(MASKED, "f4"), g.constant(0, "f4"))
    return _angles(g, position, frequencies), mask, g("Expand", "width", n_rows)


def _usual_places(g: _Graph, frequencies: np.ndarray) -> tuple[tuple[str, str], str, None]:
    """The same of the usual inputs; nothing is written: new columns stand behind."""
    n = g("Shape", "input_ids", start=1, end=2)
    every = g("Shape", "attention_mask", start=1, end=2)
    zero, one, scalar = g.constant(0), g.constant(1), g.constant([0])
    seen = g("Range", zero, g("Squeeze", every, scalar), one)  # C
    steps = g("Range", zero, g("Squeeze", n, scalar), one)
    column = g("Unsqueeze", g("Add", steps, g("Sub", every, n)), g.constant([1]))  # S, 1
    late = g("Greater", seen, column)  # S, C
    padding = g("Equal", g("Unsqueeze", "attention_mask", g.constant([1])), zero)  # B, 1, C
    hidden = g("Unsqueeze", g("Or", late, padding), g.constant([1]))
    mask = g("Where", hidden, g.constant(MASKED, "f4"), g.constant(0, "f4"))
    return _angles(g, "position_ids", frequencies), mask, None


def _angles(g: _Graph, position: str, frequencies: np.ndarray) -> tuple[str, str]:
    turned = g("Unsqueeze", g("Cast", position, to=1), g.constant([2]))
    angle = g("Mul", turned, g.constant(frequencies[None, None], "f4"))  # B, S, size / 2
    return g("Cos", angle), g("Sin", angle)


def _norm(g: _Graph, x: str, name: str, eps: float) -> str:
    return g("RMSNormalization", x, g.constant(g.take(name), "f4"), axis=-1, epsilon=eps)


def _layer(
    g: _Graph,
    x: str,
    i: int,
    shape: tuple[int, int, int],
    eps: float,
    angles: tuple[str, str],
    mask: str,
    write: str | None,
    last: bool,
) -> str:
    """One layer; the last goes on with the last column alone."""
    (heads, pairs, size), at = shape, f"model.layers.{i}."
    normed = _norm(g, x, f"{at}input_layernorm.weight", eps)
    wide = g.linear(normed, f"{at}self_attn.", "q_proj", "k_proj", "v_proj")
    split = g.constant([heads * size, pairs * size, pairs * size])

    def by_head(y: str, n: int) -> str:
        y = g("Reshape", y, g.constant([0, 0, n, size]))
        return g("Transpose", y, perm=[0, 2, 1, 3])

    q, k, v = g("Split", wide, split, n=3, axis=-1)
    q, k, v = by_head(q, heads), by_head(k, pairs), by_head(v, pairs)
    q, k = (g("RotaryEmbedding", y, *angles) for y in (q, k))
    key, value = (_append(g, f"{i}.{part}", new, write) for part, new in (("key", k), ("value", v)))
    if last:
        ends = [g.constant([n]) for n in (-1, np.iinfo(np.int64).max, 2)]
        q, mask = g("Slice", q, *ends), g("Slice", mask, *ends)
        x = g("Slice", x, *ends[:2], g.constant([1]))
    y = g("Attention", q, key, value, mask, scale=size**-0.5)
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.constant([0, 0, heads * size]))
    x = g("Add", x, g.linear(y, f"{at}self_attn.", "o_proj"))
    normed = _norm(g, x, f"{at}post_attention_layernorm.weight", eps)
    wide = g.linear(normed, f"{at}mlp.", "gate_proj", "up_proj")
    gate, up = g("Split", wide, n=2, axis=-1, num_outputs=2)
    return g("Add", x, g.linear(g("Mul", g("Swish", gate), up), f"{at}mlp.", "down_proj"))


def _append(g: _Graph, end: str, new: str, write: str | None) -> str:
    past, out = f"past_key_values.{end}", [f"present.{end}"]
    if write is None:
        return g("Concat", past, new, axis=2, out=out)
    return g("TensorScatter", past, new, write, axis=2, out=out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m sim.inference.onnx_export")
    parser.add_argument("directory", type=Path, help="with config.json and *.safetensors")
    parser.add_argument("--usual", action="store_true", help="the layout of optimum's exports")
    given = parser.parse_args()
    try:
        print(export(given.directory, given.usual))
    except Refusal as fault:
        sys.exit(f"refused: {fault}")

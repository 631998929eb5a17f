"""The graph of a Llama in ONNX, part by part."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.errors import Refusal

MASKED = -1e9  # finite: padding sees nothing at all, and must not become NaN


class Graph:
    """Nodes and constants of a graph, named in the order of their making.

    Called with an operator's name and inputs it adds a node and returns the names of its outputs.

    Args:
        weights: of the model by name; what is taken from them is gone.
    """

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
        """The name of an array."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array, dtype)
        return name

    def has(self, name: str) -> bool:
        """Whether the model has a weight that was not taken yet."""
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


def places(g: Graph, frequencies: np.ndarray) -> tuple[tuple[str, str], str, str]:
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


def usual_places(g: Graph, frequencies: np.ndarray) -> tuple[tuple[str, str], str, None]:
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


def _angles(g: Graph, position: str, frequencies: np.ndarray) -> tuple[str, str]:
    turned = g("Unsqueeze", g("Cast", position, to=1), g.constant([2]))
    angle = g("Mul", turned, g.constant(frequencies[None, None], "f4"))  # B, S, size / 2
    return g("Cos", angle), g("Sin", angle)


def norm(g: Graph, x: str, name: str, eps: float) -> str:
    """Root-mean-square norm with a weight of this name."""
    return g("RMSNormalization", x, g.constant(g.take(name), "f4"), axis=-1, epsilon=eps)


def layer(
    g: Graph,
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
    normed = norm(g, x, f"{at}input_layernorm.weight", eps)
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
    normed = norm(g, x, f"{at}post_attention_layernorm.weight", eps)
    wide = g.linear(normed, f"{at}mlp.", "gate_proj", "up_proj")
    gate, up = g("Split", wide, n=2, axis=-1, num_outputs=2)
    return g("Add", x, g.linear(g("Mul", g("Swish", gate), up), f"{at}mlp.", "down_proj"))


def _append(g: Graph, end: str, new: str, write: str | None) -> str:
    past, out = f"past_key_values.{end}", [f"present.{end}"]
    if write is None:
        return g("Concat", past, new, axis=2, out=out)
    return g("TensorScatter", past, new, write, axis=2, out=out)

"""Forward passes of `model.onnx` files with onnxruntime, on the CPU.

Two layouts are known. The usual one, of optimum's exports, takes keys and values and returns
them with the new ones behind: every step copies all of them. The one that
`sim.inference.onnx_export` writes has the new ones written where they belong.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import Refusal
from sim.inference.kv import Past
from sim.inference.network import Network

Ints = NDArray[np.int64]
USUAL = {"input_ids", "attention_mask", "position_ids"}
IN_PLACE = {"input_ids", "starts", "width"}
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def load(path: Path, context: int, threads: int | None) -> "OnnxNetwork":
    """The network in a file.

    Args:
        path: of `model.onnx`.
        context: most tokens of a sequence.
        threads: that compute; None: as many as there are cores.

    Raises:
        Refusal: it cannot be loaded, or has another layout.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # faults are raised
    # Waiting threads that spin take the cores from whatever else runs, the other thread included.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as fault:  # each kind of damage has its own class, none of them public
        raise Refusal(f"{path} cannot be loaded: {str(fault).splitlines()[0]}") from fault
    inputs = {node.name for node in session.get_inputs()}
    plain = {name for name in inputs if not name.startswith("past_key_values.")}
    if plain == inputs or plain not in (USUAL, IN_PLACE):
        raise Refusal(
            f"model.onnx must take {', '.join(sorted(USUAL))} and past_key_values.N.key and "
            f".value, {path} takes {', '.join(sorted(inputs)) or 'nothing'}"
        )
    return (Usual if plain == USUAL else InPlace)(session, path, context)


class OnnxNetwork(Network):
    """A session and its arrays; `_feed` and `_grow` differ by layout."""

    def __init__(self, session: Any, path: Path, context: int):
        self._session, self.context = session, context
        nodes = {node.name: node for node in session.get_inputs()}
        n_layers = sum(name.endswith(".key") for name in nodes)
        ends = [f"{i}.{part}" for i in range(n_layers) for part in ("key", "value")]
        self._names = [f"past_key_values.{end}" for end in ends]
        self._presents = [f"present.{end}" for end in ends]
        outputs = {node.name: node for node in session.get_outputs()}
        missing = ({*self._names} - nodes.keys()) | ({*self._presents, "logits"} - outputs.keys())
        if missing:
            raise Refusal(f"model.onnx lacks {', '.join(sorted(missing))}: {path}")
        self.shapes = []
        for name in self._names:
            heads, size = nodes[name].shape[1], nodes[name].shape[3]
            if not isinstance(heads, int) or not isinstance(size, int):
                raise Refusal(f"{name} must have fixed heads and size, {path} has {heads}, {size}")
            self.shapes.append((heads, size))
        kind = nodes[self._names[0]].type
        if kind not in TYPES:
            raise Refusal(f"keys and values must be float32 or float16, {path} has {kind}")
        self._type = TYPES[kind]
        self.item = np.dtype(self._type).itemsize
        self.vocabulary = outputs["logits"].shape[-1]
        if not isinstance(self.vocabulary, int):
            raise Refusal(f"logits must have a fixed size, {path} has {self.vocabulary}")

    def zeros(self, shape: tuple[int, ...]) -> Any:
        return np.zeros(shape, self._type)

    def empty(self, shape: tuple[int, ...]) -> Any:
        return np.empty(shape, self._type)

    def forward(self, past: Past, ids: Ints, starts: Ints) -> NDArray[np.float32]:
        binding = self._session.io_binding()
        fed = {name: np.ascontiguousarray(a) for name, a in self._feed(past, ids, starts).items()}
        for name, array in fed.items():  # kept until the end: the binding does not own them
            binding.bind_ortvalue_input(name, _value(array))
        grown = self._grow(past, ids.shape[1])
        for name, array in zip(self._presents, grown, strict=True):
            binding.bind_ortvalue_output(name, _value(array))
        binding.bind_output("logits")
        try:
            self._session.run_with_iobinding(binding)
        except Exception as fault:  # its classes are not public
            if "alloc" in str(fault).lower():
                raise MemoryError(str(fault).splitlines()[0]) from fault
            raise
        past.arrays = grown
        past.width += ids.shape[1]
        logits = binding.get_outputs()[-1].numpy()
        return (logits if logits.ndim == 2 else logits[:, -1]).astype(np.float32, copy=False)

    @abstractmethod
    def _feed(self, past: Past, ids: Ints, starts: Ints) -> dict[str, NDArray[Any]]:
        """The inputs by name."""

    @abstractmethod
    def _grow(self, past: Past, columns: int) -> list[NDArray[Any]]:
        """The arrays that keys and values are written to."""


class InPlace(OnnxNetwork):
    """Writes new keys and values into the arrays that it reads."""

    def _feed(self, past: Past, ids: Ints, starts: Ints) -> dict[str, NDArray[Any]]:
        past.reserve(ids.shape[1], self.zeros)
        fed = {"input_ids": ids, "starts": starts, "width": np.array([past.width], np.int64)}
        return fed | dict(zip(self._names, past.arrays, strict=True))

    def _grow(self, past: Past, columns: int) -> list[NDArray[Any]]:
        return past.arrays


class Usual(OnnxNetwork):
    """Returns keys and values with the new ones behind."""

    def _feed(self, past: Past, ids: Ints, starts: Ints) -> dict[str, NDArray[Any]]:
        columns = np.arange(past.width + ids.shape[1])
        positions = np.clip(columns[past.width :] - starts[:, None], 0, self.context - 1)
        mask = (columns >= starts[:, None]).astype(np.int64)
        fed = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        used = [array[:, :, : past.width] for array in past.arrays]
        return fed | dict(zip(self._names, used, strict=True))

    def _grow(self, past: Past, columns: int) -> list[NDArray[Any]]:
        rows, width = len(past.arrays[0]), past.width + columns
        return [np.empty((rows, heads, width, size), self._type) for heads, size in self.shapes]


def _value(array: NDArray[Any]) -> Any:
    """The array as onnxruntime takes it: the same memory."""
    from onnxruntime import OrtValue

    return OrtValue.ortvalue_from_numpy(array)

"""What the decoding loop asks of an engine: one forward pass and the choice of tokens."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import Refusal
from sim.inference.kv import Past

GROUP = 64  # columns

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Args:
        temperature: 0 takes the likeliest token, 1 samples as the model says.
        top_p: share of probability that is kept, above 0 up to 1; 1 keeps all.
        top_k: how many tokens are kept; 0 keeps all.
    """

    temperature: float
    top_p: float
    top_k: int

    def __post_init__(self):
        for name, least in (("temperature", 0), ("top_p", 0), ("top_k", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
                raise Refusal(f"{name} must be a number, 0 or more, got {value!r}")
        if not 0 < self.top_p <= 1:
            raise Refusal(f"top_p must lie above 0 and up to 1, got {self.top_p}")
        if not isinstance(self.top_k, int):
            raise Refusal(f"top_k must be a whole number, got {self.top_k}")


class Network(ABC):
    """A language model as one forward pass.

    Attributes:
        shapes: (heads, size) of keys and values, layer by layer: key, value, key, value ...
        item: bytes of one number in them.
        context: most tokens of a sequence.
        vocabulary: numbers of logits.
    """

    shapes: list[tuple[int, int]]
    item: int = 4
    context: int
    vocabulary: int

    @abstractmethod
    def forward(self, past: Past, ids: Ints, starts: Ints) -> Any:
        """Appends tokens to a batch.

        Args:
            past: of the batch; `ids` stand in the columns behind it. Grows by their number.
            ids: tokens, shape (B, S).
            starts: first column of each row's tokens, shape (B,); what is left of it is padding.

        Returns:
            Logits behind the last column, shape (B, vocabulary), in the engine's own arrays.
        """

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array of zeros for keys and values."""
        return np.zeros(shape, np.float32)

    def empty(self, shape: tuple[int, ...]) -> Any:
        """The same with anything in it."""
        return np.empty(shape, np.float32)

    def index(self, numbers: Ints) -> Any:
        """Numbers as an index into such arrays."""
        return numbers

    def choose(
        self, logits: Any, u: Floats, sampling: Sampling, allowed: NDArray[np.bool_] | None
    ) -> Ints:
        """One token per row by the inverse of the distribution function at `u`.

        So a row's token depends on its own logits and number alone, whatever else is in the
        batch.

        Args:
            logits: shape (B, V).
            u: in [0, 1), shape (B,).
            sampling: how.
            allowed: tokens that may come, shape (B, V); None: all.
        """
        return choose(logits, u, sampling, allowed)

    def logprobs(self, logits: Any, row: int, ids: Sequence[int]) -> list[float]:
        """Logarithms of the probabilities of some tokens, among all of the vocabulary."""
        line = logits[row].astype(np.float64)
        top = line.max()
        return (line[list(ids)] - top - np.log(np.exp(line - top).sum())).tolist()

    def broken(self, logits: Any) -> NDArray[np.bool_]:
        """Which rows hold numbers that are none, as when sums overflow, shape (B,)."""
        return ~np.isfinite(logits.max(axis=1))

    def ran_out(self, fault: Exception) -> bool:
        """Whether a fault means that memory did not suffice, so that a smaller batch may do."""
        return isinstance(fault, MemoryError)

    def release(self) -> None:
        """Gives memory back that is held for reuse; called when memory ran out."""


def choose(
    logits: NDArray[np.float32], u: Floats, sampling: Sampling, allowed: NDArray[np.bool_] | None
) -> Ints:
    """`Network.choose` for logits in NumPy."""
    if allowed is not None:
        logits = np.where(allowed, logits, -np.inf)
    if sampling.temperature == 0:
        return logits.argmax(axis=1)
    # float32: the exponential is the bulk of the work; its rounding is the same in any batch.
    weight = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float32)
    if sampling.temperature != 1:
        weight *= np.float32(1 / sampling.temperature)
    np.exp(weight, out=weight)
    if 0 < sampling.top_k < weight.shape[1]:
        least = -np.partition(-weight, sampling.top_k - 1, axis=1)[:, sampling.top_k - 1]
        weight[weight < least[:, None]] = 0
    if sampling.top_p < 1:
        ranked = -np.sort(-weight, axis=1)
        before = np.cumsum(ranked, axis=1, dtype=np.float64)
        n_kept = 1 + (before[:, :-1] < sampling.top_p * before[:, -1:]).sum(axis=1)
        least = ranked[np.arange(len(ranked)), n_kept - 1]
        weight[weight < least[:, None]] = 0
    return _inverse(weight, u)


def _inverse(weight: NDArray[np.float32], u: Floats) -> Ints:
    """Index at which the running sum of each row passes u of the whole, shape (B,).

    In two steps, first by groups of columns: a running sum of all columns takes as long as a
    small model's whole step.
    """
    rows, n = weight.shape
    padded = np.zeros((rows, -(-n // GROUP) * GROUP), np.float32)
    padded[:, :n] = weight
    groups = padded.reshape(rows, -1, GROUP)
    reached = np.cumsum(groups.sum(axis=2), axis=1, dtype=np.float64)
    point = (u * reached[:, -1])[:, None]
    group = np.minimum((reached <= point).sum(axis=1), reached.shape[1] - 1)
    every = np.arange(rows)
    within = np.cumsum(groups[every, group], axis=1, dtype=np.float64)
    before = (reached[every, group] - within[:, -1])[:, None]
    found = group * GROUP + (before + within <= point).sum(axis=1)
    # Rounding must not lead to a token without weight.
    found = np.minimum(found, n - 1)
    for row in np.flatnonzero(weight[every, found] == 0):
        some = np.flatnonzero(weight[row])
        found[row] = some[np.searchsorted(some, found[row]).clip(max=len(some) - 1)]
    return found

"""What the decoding loop works on: sequences to continue, and how many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.errors import Refusal
from sim.inference.kv import block_hashes


class Matcher(Protocol):
    """Tells which tokens may come next in one reply."""

    def allowed(self) -> NDArray[np.bool_]: ...
    def take(self, token: int) -> bool:
        """Goes on by a token; True when nothing can follow."""
        ...


@dataclass(frozen=True)
class Limits:
    """Sizes of batches; no reply depends on them, beyond rounding.

    Args:
        rows: conversations decoded side by side.
        tokens: of prompts, computed at once.
        decode_mib: memory of the keys and values of those conversations.
        cache_mib: memory of keys and values kept for later prompts; 0 keeps none.
    """

    rows: int
    tokens: int
    decode_mib: int
    cache_mib: int

    def __post_init__(self):
        for name, least in (("rows", 1), ("tokens", 1), ("decode_mib", 1), ("cache_mib", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise Refusal(f"{name} must be a whole number, {least} or more, got {value!r}")


@dataclass(slots=True, eq=False)
class Job:
    """One sequence to continue.

    Attributes:
        owner: whoever asked.
        ids: the prompt.
        seed: of the sampling, 63 bits.
        limit: most new tokens; 0 where only `labels` are scored behind the prompt.
        labels: tokens whose probabilities are wanted.
        matcher: what the reply must look like, if anything.
        depth: the deepest come first, of equally deep ones the first that came.
        number: of the decoder's jobs, in the order they came.
        out: new tokens, the one that ended the reply included.
        cached: tokens of the prompt that were not computed; None until it was begun.
        finish: "stop" or "length" once over, or "error".
        error: why nothing came of it.
        logprobs: of `labels`.
        began, ended: seconds of the monotonic clock.
    """

    owner: Any
    ids: NDArray[np.int32]
    seed: int
    limit: int
    labels: Sequence[int] | None = None
    matcher: Matcher | None = None
    depth: int = 0
    number: int = 0
    out: list[int] = field(default_factory=list)
    cached: int | None = None
    finish: str | None = None
    error: str | None = None
    logprobs: list[float] | None = None
    began: float = 0.0
    ended: float = 0.0
    _hashes: list[bytes] | None = None  # of the prompt's blocks

    def known(self) -> NDArray[np.int32]:
        """Prompt and new tokens."""
        return np.concatenate([self.ids, np.array(self.out, np.int32)]) if self.out else self.ids

    def hashes(self) -> list[bytes]:
        """Of the blocks of what is known."""
        if self.out:
            return block_hashes(self.known())
        if self._hashes is None:
            self._hashes = block_hashes(self.ids)
        return self._hashes

    @property
    def length(self) -> int:
        """Tokens so far."""
        return len(self.ids) + len(self.out)

    @property
    def most(self) -> int:
        """Tokens that it may come to."""
        return len(self.ids) + self.limit

"""Keys and values of attention: of a batch that is being decoded, and kept for later prompts.

Rows of a batch are right-aligned: row r holds its tokens in columns `starts[r]` to `width`, one
after another, so the newest token of every row stands in the same column and no row has holes.
Arrays are NumPy's or torch's; the few operations here mean the same in both.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 16  # tokens that are kept and found together; less would cost more than it finds
SPARE = 64  # columns added at once, so that growing is rare

Ints = NDArray[np.int64]
Zeros = Callable[[tuple[int, ...]], Any]
Index = Callable[[Ints], Any]


class Arrays(Protocol):
    """An engine's way of making arrays."""

    shapes: list[tuple[int, int]]  # (heads, size) of each array of a `Past`

    def zeros(self, shape: tuple[int, ...]) -> Any: ...
    def empty(self, shape: tuple[int, ...]) -> Any: ...
    def ran_out(self, fault: Exception) -> bool: ...
    def release(self) -> None: ...
    def index(self, numbers: Ints) -> Any: ...


class Past:
    """Keys and values of a batch.

    Attributes:
        arrays: keys and values by layer, each (rows, heads, room, size); zero where unused, since
            masked columns are still multiplied.
        width: columns in use, of the room.
    """

    def __init__(self, arrays: list[Any], width: int):
        self.arrays, self.width = arrays, width

    @classmethod
    def empty(cls, shapes: Sequence[tuple[int, int]], rows: int, room: int, zeros: Zeros) -> "Past":
        """Nothing yet, with room; `shapes` are (heads, size) of each array."""
        return cls([zeros((rows, heads, room, size)) for heads, size in shapes], 0)

    @property
    def room(self) -> int:
        """Columns that fit, into all arrays: memory may have run out while they grew."""
        return min(int(array.shape[2]) for array in self.arrays)

    def reserve(self, columns: int, zeros: Zeros) -> None:
        """Makes room for so many further columns."""
        if self.width + columns <= self.room:
            return
        room = self.width + columns + SPARE
        for i, old in enumerate(self.arrays):
            if old.shape[2] >= room:
                continue
            new = zeros((old.shape[0], old.shape[1], room, old.shape[3]))
            new[:, :, : self.width] = old[:, :, : self.width]
            self.arrays[i] = new

    def copy(self, place: int, other: "Past", row: int, length: int) -> None:
        """Puts a row of another batch in the place of one of this one, right-aligned."""
        stop, end = self.width, other.width
        for mine, theirs in zip(self.arrays, other.arrays, strict=True):
            mine[place, :, : stop - length] = 0
            mine[place, :, stop - length : stop] = theirs[row, :, end - length : end]


def stack(parts: Sequence[tuple[Past, Ints]], width: int, zeros: Zeros, index: Index) -> Past:
    """Rows of several batches as one, right-aligned to `width` columns; what is left of it drops.

    Args:
        parts: a batch and which of its rows, in their order.
        width: of the longest row.
        zeros: makes arrays.
        index: makes an index that they understand.
    """
    n = [len(rows) for _, rows in parts]
    whole = parts[0][0]
    if len(parts) == 1 and n[0] == len(whole.arrays[0]) and width == whole.width:
        return whole
    parts = [(past, index(rows)) for past, rows in parts]
    stacked = []
    for i, first in enumerate(parts[0][0].arrays):
        new = zeros((sum(n), first.shape[1], width + SPARE, first.shape[3]))
        top = 0
        for (past, rows), rows_n in zip(parts, n, strict=True):
            used = min(past.width, width)
            old = past.arrays[i][:, :, past.width - used : past.width]
            new[top : top + rows_n, :, width - used : width] = old[rows]
            top += rows_n
        stacked.append(new)
    return Past(stacked, width)


class Store:
    """Keys and values of token sequences in blocks, the longest unused dropped first.

    A block is found by the hash of all tokens up to its end, so whatever two conversations
    share from their first token on is kept once: rules, persona, earlier turns, branches.

    Args:
        n_blocks: most that are kept; 0 keeps nothing.
        arrays: makes them.
    """

    def __init__(self, n_blocks: int, arrays: Arrays):
        self.n_blocks, self._arrays, self._index = n_blocks, arrays, arrays.index
        self._blocks: OrderedDict[bytes, int] = OrderedDict()  # hash -> number, oldest first
        self._pools: list[Any] = []  # (tokens, heads, size) each, made when first needed

    def find(self, hashes: Sequence[bytes]) -> list[int]:
        """Numbers of the blocks that are there, from the first on."""
        found = []
        for name in hashes:
            block = self._blocks.get(name)
            if block is None:
                break
            found.append(block)
        self._touch(hashes[: len(found)])
        return found

    def restore(self, found: Sequence[Sequence[int]], used: Sequence[int], room: int) -> Past:
        """A batch that begins with kept tokens.

        Args:
            found: blocks of each row.
            used: tokens of them to take, by row.
            room: columns that will be needed.
        """
        past = Past.empty(self._arrays.shapes, len(found), room, self._arrays.zeros)
        past.width = width = max(used, default=0)
        if width == 0:
            return past
        rows = np.repeat(np.arange(len(used)), used)
        columns = np.concatenate([np.arange(width - n, width) for n in used])
        slots = np.concatenate([_slots(b)[:n] for b, n in zip(found, used, strict=True)])
        row, column, slot = (self._index(i) for i in (rows, columns, slots))
        for array, pool in zip(past.arrays, self._pools, strict=True):
            array[row, :, column] = pool[slot]
        return past

    def save(
        self, past: Past, rows: Sequence[int], starts: Ints, hashes: Sequence[Sequence[bytes]]
    ) -> None:
        """Keeps the blocks of some rows that are not there yet; `hashes` are by row of `rows`.

        Where memory does not suffice, less is kept.
        """
        try:
            self._save(past, rows, starts, hashes)
        except Exception as fault:
            if not self._arrays.ran_out(fault):
                raise
            self._blocks.clear()  # nothing may be found that was not written
            self._pools = []
            self._arrays.release()
            self.n_blocks //= 2
            print(
                f"memory ran out ({fault}); computed tokens that are kept for later prompts: "
                f"at most {self.n_blocks * BLOCK:,}",
                file=sys.stderr,
            )

    def _save(
        self, past: Past, rows: Sequence[int], starts: Ints, hashes: Sequence[Sequence[bytes]]
    ) -> None:
        if self.n_blocks == 0:
            return
        # By number of the block: with little room one may be given twice, and then holds the last.
        placed: dict[int, tuple[int, int]] = {}
        for at, names in zip(rows, hashes, strict=True):
            for i, name in enumerate(names):
                if name not in self._blocks and len(placed) < self.n_blocks:
                    placed[self._place(name)] = at, int(starts[at]) + i * BLOCK
            self._touch(names)
        if not placed:
            return
        if not self._pools:
            tokens = self.n_blocks * BLOCK
            self._pools = [self._arrays.empty((tokens, *shape)) for shape in self._arrays.shapes]
        at, first = np.array(list(placed.values())).T
        columns = (first[:, None] + np.arange(BLOCK)).ravel()
        found = (self._index(i) for i in (np.repeat(at, BLOCK), columns, _slots(list(placed))))
        row, column, slot = found
        for array, pool in zip(past.arrays, self._pools, strict=True):
            pool[slot] = array[row, :, column]

    def _place(self, name: bytes) -> int:
        full = len(self._blocks) == self.n_blocks
        block = self._blocks.popitem(last=False)[1] if full else len(self._blocks)
        self._blocks[name] = block
        return block

    def _touch(self, names: Sequence[bytes]) -> None:
        for name in reversed(names):  # the end of a sequence goes before its beginning
            if name in self._blocks:
                self._blocks.move_to_end(name)


def _slots(blocks: Sequence[int]) -> Ints:
    return (np.array(blocks, np.int64)[:, None] * BLOCK + np.arange(BLOCK)).ravel()


def block_hashes(ids: NDArray[np.int32], block: int = BLOCK) -> list[bytes]:
    """One hash for each whole block of a token sequence, of everything up to its end."""
    data, step, name, names = ids.tobytes(), block * ids.itemsize, b"", []
    for end in range(step, len(data) + 1, step):
        name = blake2b(name + data[end - step : end], digest_size=16).digest()
        names.append(name)
    return names

"""A queue that gives out the questions of the conversations that are furthest on first."""

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiting(Generic[T]):
    """What is equally deep leaves by its numbers."""

    def __init__(self):
        self._heap: list[tuple[int, int, T]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, depth: int, number: int, what: T) -> None:
        """Takes `what`; no two numbers may be equal."""
        heappush(self._heap, (-depth, number, what))

    def take(self) -> tuple[int, T]:
        """The deepest, with its number."""
        _, number, what = heappop(self._heap)
        return number, what

    def clear(self) -> None:
        self._heap.clear()

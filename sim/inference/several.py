"""Several models in one run: each member of the population is played by one of them."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from sim.errors import CallFailed, Refusal
from sim.inference.base import Backend, Failure, Reply, Request
from sim.inference.prices import Budget

TURN = 0.02  # seconds that one server is waited for while others have requests open


class Several(Backend):
    """Hands each request to the model of the member who asks.

    Args:
        models: name, as the population says it -> backend; null leaves one out.

    Raises:
        Refusal: no model is left, or two names serve the same one, whose rows would be mixed.
    """

    def __init__(self, models: Mapping[str, Backend | None]):
        self._parts = {str(name): part for name, part in models.items() if part is not None}
        if not self._parts:
            raise Refusal("models must name at least one model, got none")
        ids = [part.model for part in self._parts.values()]
        for name, known in zip(self._parts, ids, strict=True):
            if ids.count(known) > 1:
                raise Refusal(f"models must be different ones, got {known!r} twice ({name!r})")
        self.model = " + ".join(ids)
        self._open = dict.fromkeys(self._parts, 0)
        self._turns = deque(self._parts)
        self._fault: CallFailed | None = None  # of one of them, which ends the run
        self.paid = any(part.paid for part in self._parts.values())
        self.modes = tuple(
            mode
            for mode in next(iter(self._parts.values())).modes
            if all(mode in part.modes for part in self._parts.values())
        )

    def part(self, name: str | None) -> Backend:
        if name not in self._parts:
            raise Refusal(
                f"every member must have one of the models {', '.join(self._parts)} "
                f"(population=by_model), got {name!r}"
            )
        return self._parts[name]

    def identity(self) -> dict[str, Any]:
        return {name: part.identity() for name, part in self._parts.items()}

    def check(self, mode: str, labels: Sequence[str]) -> None:
        for part in self._parts.values():
            part.check(mode, labels)

    def submit(self, requests: Sequence[Request]) -> None:
        for name, part in self._parts.items():
            mine = [request for request in requests if request.model == name]
            if mine:
                self._open[name] += len(mine)
                part.submit(mine)

    def ready(self) -> list[tuple[Request, Reply]]:
        """Of one model that has requests open; the next call asks the next model first."""
        answered: list[tuple[Request, Reply]] = []
        while not answered and any(self._open.values()):
            answered = self.poll(1.0)
        return answered

    def poll(self, seconds: float) -> list[tuple[Request, Reply]]:
        """A server that is slow holds up nobody else: each is waited for a moment, in turn.

        At a fault that ends the run what the others have in flight is waited for before it is
        raised.
        """
        end = time.monotonic() + seconds
        while any(self._open.values()):
            for name in list(self._turns):
                self._turns.rotate(-1)
                part = self._parts[name]
                if not self._open[name] or (self._fault is not None and not part.stop()):
                    continue
                try:
                    answered = part.poll(min(TURN, seconds))
                except CallFailed as fault:
                    self._fault, self._open[name] = self._fault or fault, 0
                    self.stop()
                    continue
                self._open[name] -= len(answered)
                if answered:
                    return answered
            if self._fault is not None and not self.stop():
                raise self._fault
            if time.monotonic() >= end:
                return []
        if self._fault is not None:
            raise self._fault
        return []

    def prepare(self, written: str) -> None:
        for part in self._parts.values():
            part.prepare(written)

    def spend(self, budget: Budget) -> None:
        for part in self._parts.values():
            part.spend(budget)

    def stop(self) -> int | None:
        found = [n for part in self._parts.values() if (n := part.stop()) is not None]
        return sum(found) if found else None

    def notice(self) -> str:
        told = {name: part.notice() for name, part in self._parts.items()}
        return "; ".join(f"{name}: {text}" for name, text in told.items() if text)

    def failed(self) -> list[tuple[Request, Failure]]:
        return [one for part in self._parts.values() for one in part.failed()]

    def abandoned(self) -> list[tuple[Request, Failure]]:
        return [one for part in self._parts.values() for one in part.abandoned()]

    def count_tokens(self, text: str) -> int:
        raise Refusal("tokens are counted by each model; ask one of the parts")

    def statistics(self) -> dict[str, Any]:
        return {name: part.statistics() for name, part in self._parts.items()}

    def close(self) -> None:
        self._open = dict.fromkeys(self._parts, 0)
        for part in self._parts.values():
            part.close()

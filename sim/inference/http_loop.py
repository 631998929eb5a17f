"""One event loop for all served models of a process: while one is waited for, the others go on."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from sim.inference.in_flight import InFlight

UNHEARD = 0.25  # seconds in which the loop did not run that are no call's fault

_loop: asyncio.AbstractEventLoop | None = None
_flights: list[InFlight] = []
_listened = 0.0  # until when the loop ran


def enter(flight: InFlight) -> asyncio.AbstractEventLoop:
    """The loop, made for the first user; each one leaves once."""
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
    _flights.append(flight)
    return _loop


def leave(flight: InFlight) -> None:
    """Closes the loop with its last user."""
    global _loop
    _flights.remove(flight)
    if not _flights and _loop is not None:
        _loop.close()
        _loop = None


def task(work: Coroutine[Any, Any, None]) -> asyncio.Task:
    """Some work to be run in the loop; first of all, time in which it did not run is given back."""
    assert _loop is not None
    unheard = _loop.time() - _listened

    async def first() -> None:
        if unheard > UNHEARD:
            for flight in _flights:
                flight.postpone(unheard)
        await work

    return _loop.create_task(first())


def run(what: asyncio.Task) -> None:
    """Runs the loop until some work is done."""
    global _listened
    assert _loop is not None
    try:
        _loop.run_until_complete(what)
    finally:
        _listened = _loop.time()

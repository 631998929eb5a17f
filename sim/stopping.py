"""Ctrl-C and SIGTERM: the first lets calls in flight come back, the second does not wait."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sim.inference.base import Backend

SIGNALS = signal.SIGINT, signal.SIGTERM  # a cluster that takes its machine back sends the second


class Stopping:
    """Whether the run was asked to stop."""

    def __init__(self, backend: Backend | None):
        self._backend, self._n_told = backend, 0

    def handle(self, *_: object) -> None:
        """Of a signal: raises KeyboardInterrupt where nothing is worth waiting for.

        The second is left to `check`, half a second later at most, so that it does not hit
        replies on their way into the journal; the third raises at once.
        """
        self._n_told += 1
        n = None if self._backend is None else self._backend.stop()
        if n is None or self._n_told > 2:
            raise KeyboardInterrupt
        if self._n_told == 1:
            print(
                f"stopping: {n} calls in flight are waited for; Ctrl-C again does not wait",
                file=sys.stderr,
            )

    def check(self) -> None:
        """Raises KeyboardInterrupt once nothing is in flight; all that came is journalled."""
        if self._n_told > 1 or (self._n_told and not (self._backend and self._backend.stop())):
            raise KeyboardInterrupt


@contextmanager
def in_order(backend: Backend | None) -> Iterator[Stopping]:
    """While it lasts, the first signal lets a backend's calls come back; the second does not.

    A reply on its way is paid for. Where a backend has none such, KeyboardInterrupt is raised at
    once.
    """
    stopping = Stopping(backend)
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # signals come to the main thread alone
        return
    before = [signal.signal(one, stopping.handle) for one in SIGNALS]
    try:
        yield stopping
    finally:
        for one, handler in zip(SIGNALS, before, strict=True):
            signal.signal(one, handler)

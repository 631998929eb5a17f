"""Ctrl-C and SIGTERM: the first lets calls in flight come back, the second does not wait."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sim.inference.base import Backend

SIGNALS = signal.SIGINT, signal.SIGTERM  # a cluster that takes its machine back sends the second


@contextmanager
def in_order(backend: Backend | None) -> Iterator[None]:
    """While it lasts, the first signal stops a backend, which then raises KeyboardInterrupt.

    A reply on its way is paid for. Where there is none, and at the second signal,
    KeyboardInterrupt is raised at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread alone
        return
    told = False

    def handle(*_: object) -> None:
        nonlocal told
        again, told = told, True
        n = 0 if again or backend is None else backend.stop()
        if not n:
            raise KeyboardInterrupt
        print(
            f"stopping: {n} calls in flight are waited for; Ctrl-C again does not wait",
            file=sys.stderr,
        )

    before = [signal.signal(one, handle) for one in SIGNALS]
    try:
        yield
    finally:
        for one, handler in zip(SIGNALS, before, strict=True):
            signal.signal(one, handler)

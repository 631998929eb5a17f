"""How a run is getting on: one live line in a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim.inference.prices import PICO
from sim.rollout import Tally

EVERY_S = 10.0  # between lines where there is no terminal


class Display:
    """Shows the tally of a run on standard error; a context manager.

    Args:
        n_episodes: of the run.
        shown: whether to show anything at all.
    """

    def __init__(self, n_episodes: int, shown: bool):
        self._n, self._shown = n_episodes, shown
        self._console = Console(stderr=True)
        self._live = shown and self._console.is_terminal
        self._start = self._last = time.monotonic()
        self._bar = Progress(
            TextColumn("episodes"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("", total=n_episodes, rates="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if not self._shown or now - self._last < (0.25 if self._live else EVERY_S):
            return
        self._last = now
        rates = self._rates(tally, now - self._start)
        if self._live:
            self._bar.update(self._task, completed=tally.episodes, rates=rates)
        else:
            left = ""
            if tally.episodes:
                seconds = (self._n - tally.episodes) * (now - self._start) / tally.episodes
                left = f", about {seconds:.0f} s left"
            print(f"episodes {tally.episodes}/{self._n}, {rates}{left}", file=sys.stderr)

    def _rates(self, tally: Tally, seconds: float) -> str:
        tokens = (tally.prompt_tokens + tally.output_tokens) / seconds
        unread = tally.unread / tally.decisions if tally.decisions else 0
        return (
            f"{tally.decisions / seconds:,.0f} decisions/s, {tokens:,.0f} tokens/s, "
            f"unread {unread:.1%}{self._cost(tally)}{tally.notice and '; ' + tally.notice}"
        )

    def _cost(self, tally: Tally) -> str:
        """So far, and expected of the whole run; nothing where nothing is paid."""
        if not tally.cost:
            return ""
        of = ""
        if tally.episodes:
            of = f" of about {tally.cost / PICO * self._n / tally.episodes:,.2f}"
        return f", cost {tally.cost / PICO:,.2f}{of}"

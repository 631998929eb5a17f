"""Calls in flight: as many at once as a server takes, failed ones made again."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from envs.base import key, uniform
from sim.errors import CallFailed
from sim.inference.base import Failure, Reply, Request
from sim.inference.http_faults import Fault
from sim.inference.pace import Pace
from sim.inference.prices import Budget, shown
from sim.inference.served import Calls
from sim.inference.waiting import Waiting

ABSENT = 3  # tries after which a server that nobody ever reached is given up
GATHER = 0.004  # seconds for which replies are gathered before the runner takes them
LONGEST_BACKOFF = 60.0  # seconds


@dataclass(eq=False)
class _Call:
    """A request on its way, and the most that one call for it can cost."""

    request: Request
    most: int
    sent: float = 0.0
    timer: asyncio.Timeout | None = None
    tries: int = 0


class InFlight:
    """Requests from when they are taken until they are answered; lives in one event loop.

    Args:
        ask: makes one call: its reply, or a `Fault`.
        calls: how many at once, how often, and how long to wait.
        ends: what to raise at a fault that would meet every call, or that lasts.
        spent: what to raise when a call of such a cost may be one too many.
        priced: whether it is known what calls cost.

    Attributes:
        budget: of the run.
        pace: how many calls may be in flight.
        fault: that ends the run, once there is one.
    """

    def __init__(
        self,
        ask: Callable[[Request], Awaitable[Reply]],
        calls: Calls,
        ends: Callable[[Fault, bool], CallFailed],
        spent: Callable[[Budget, int], CallFailed],
        priced: bool,
    ):
        self._priced = priced
        self._ask, self._calls, self._ends, self._spent = ask, calls, ends, spent
        self.budget, self.pace = Budget(None), Pace(calls.concurrency, calls.backoff)
        self.fault: BaseException | None = None
        self._stopping = False
        self._event = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._numbers = itertools.count()
        self._waiting: Waiting[_Call] = Waiting()
        self._later: list[tuple[float, int, _Call]] = []  # a heap by the time when they are due
        self._open: dict[asyncio.Task, _Call] = {}
        self._done: list[tuple[Request, Reply]] = []
        self._failures: list[tuple[Request, Failure]] = []
        self._n_answered, self._n_failed = 0, Counter[str]()
        self._answered_at = 0.0  # the last time
        self._failing = float("inf")  # since when calls fail and none is answered

    @property
    def settled(self) -> bool:
        """Whether there is something to say at once: replies, or that all is at an end.

        A fault that ends the run waits for what is in flight, which is paid for; a bug of ours
        does not.
        """
        ends = self._stopping or self.fault is not None
        bug = self.fault is not None and not isinstance(self.fault, CallFailed)
        return bool(self._done or (ends and not self._open) or bug)

    @property
    def busy(self) -> bool:
        """Whether anything is taken and not given back."""
        return bool(self._waiting or self._later or self._open or self._done)

    def take(self, request: Request, most: int) -> None:
        """Takes a request, of which one call costs at most so many picos."""
        self._waiting.put(request.slot.depth, next(self._numbers), _Call(request, most))

    def give(self) -> list[tuple[Request, Reply]]:
        """What was answered since the last time."""
        done, self._done = self._done, []
        return done

    def stop(self) -> int:
        """Sends nothing more; how many replies are still to come or to be taken."""
        self._stopping = True
        return len(self._open) + len(self._done)

    def wake(self) -> None:
        """Ends a wait."""
        self._event.set()

    def notice(self, now: float) -> str:
        """What somebody who watches should know of failed calls."""
        if self.fault is not None:
            return f"stopping, {len(self._open)} calls in flight are waited for: {self.fault}"
        if not self._n_failed:
            return ""
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(self._n_failed.items()))
        rest = self.pace.wait(now)
        waits = f", waiting {rest:.0f} s" if rest > 1 else ""
        n = sum(self._n_failed.values())
        return f"{n} calls failed ({kinds}), {len(self._open)} in flight{waits}"

    def failed(self) -> list[tuple[Request, Failure]]:
        """Calls that failed since the last time."""
        failures, self._failures = self._failures, []
        return failures

    def abandoned(self) -> list[tuple[Request, Failure]]:
        """What was sent and will reach nobody."""
        lost = []
        for task, call in self._open.items():
            if not _came_back(task):
                self.budget.settle(call.most, call.most)
                lost.append((call.request, Failure("abandoned", "nobody waited for it", call.most)))
        for request, reply in self.give():
            if reply.latency_s is not None:  # else its failures are told
                told = "its reply came when the run had ended"
                lost.append((request, Failure("abandoned", told, reply.cost or 0)))
        return lost

    def postpone(self, seconds: float) -> None:
        """Gives all calls in flight so much more time."""
        for task, call in self._open.items():
            timer = call.timer
            if timer is None or timer.expired() or task.done():
                continue
            if (end := timer.when()) is not None:
                timer.reschedule(end + seconds)

    # -- in the loop ---------------------------------------------------------------------------

    async def wait(self, seconds: float | None) -> None:
        """Until there is something to say, or for so long."""
        self._feed()
        if not self.settled:
            self._event.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._event.wait()
            except TimeoutError:
                return
        if self._done and self._open:
            await asyncio.sleep(GATHER)  # the runner is quicker with many at once

    async def shut(self) -> None:
        """Gives up what is open."""
        self._waiting.clear()
        self._later.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._event = asyncio.Event()  # the next one may live in another loop
        self._open.clear()
        self._done.clear()

    def _feed(self) -> None:
        """Sends what may be sent, also as a callback, whose faults would be lost."""
        try:
            self._send()
        except Exception as fault:  # the journal of the money cannot be written, say
            self.fault = fault
        if self.settled:
            self._event.set()

    def _send(self) -> None:
        """Sees to it that it is called again when more may be sent."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        rest = self.pace.wait(now)
        while not (rest or self._stopping or self.fault) and len(self._open) < self.pace.bound:
            call = self._next(now)
            if call is None:
                break
            if not self.budget.hold(call.most):
                heappush(self._later, (now, next(self._numbers), call))
                if not self.budget.held:
                    self.fault = self._spent(self.budget, call.most)
                break
            call.sent, call.timer = now, None
            task = loop.create_task(self._make(call))
            self._open[task] = call
            task.add_done_callback(self._ended)
        if self._later or self._waiting:
            # Where the bound or the money is what is missing, the end of a call calls again.
            due = now if self._waiting else self._later[0][0]
            if (when := max(due, now + rest)) > now:
                if self._alarm is not None:
                    self._alarm.cancel()
                self._alarm = loop.call_at(when, self._feed)

    def _next(self, now: float) -> _Call | None:
        """What was tried before goes first, once it is due."""
        if self._later and self._later[0][0] <= now:
            return heappop(self._later)[2]
        return self._waiting.take()[1] if self._waiting else None

    async def _make(self, call: _Call) -> None:
        """One call, from the request to a reply or a failure."""
        loop, seconds = asyncio.get_running_loop(), self._calls.timeout
        try:
            async with asyncio.timeout(seconds) as call.timer:
                reply = await self._ask(call.request)
        except TimeoutError:
            late = Fault("timeout", f"no reply within {seconds:g} s", paid=True)
            self._failed(call, late, loop.time())
            return
        except Fault as fault:
            self._failed(call, fault, loop.time())
            return
        reply.latency_s = loop.time() - call.sent
        if reply.prompt_tokens is None and self._priced:
            reply.cost = call.most  # the server did not count: at most so much
        self.budget.settle(call.most, reply.cost or 0)
        if self.budget.limit is not None and (reply.cost or 0) > call.most:
            self.fault = self.fault or self._ends(
                Fault("dearer", f"a call cost {shown(reply.cost or 0)}, not {shown(call.most)}"),
                False,
            )
        self._n_answered += 1
        self._answered_at, self._failing = loop.time(), float("inf")
        self.pace.answered()
        self._done.append((call.request, reply))

    def _ended(self, task: asyncio.Task) -> None:
        call = self._open.pop(task, None)
        if call is None or task.cancelled():
            return
        if (fault := task.exception()) is not None:  # ours: it must not be lost
            self.fault = fault
        self._feed()

    def _failed(self, call: _Call, fault: Fault, now: float) -> None:
        """Makes the call again, later; or settles it."""
        most = call.most if fault.paid else None
        self.budget.settle(call.most, most or 0)
        self._n_failed[fault.kind] += 1
        self._failures.append((call.request, Failure(fault.kind, fault.told, most)))
        call.tries += 1
        if fault.kind == "rate_limit" or fault.after is not None:
            self.pace.limited(call.sent, now, fault.after)
        longest = self._calls.longest_wait
        self._failing = min(self._failing, max(call.sent, self._answered_at))
        own = self._calls.timeout if fault.kind == "timeout" else 0.0  # one hung call is no outage
        lasting = fault.transient and now - self._failing > longest + own
        too_long = lasting or (fault.after or 0) > longest
        absent = fault.kind == "connection" and not (fault.paid or self._n_answered)
        if fault.fatal or too_long or (absent and call.tries >= ABSENT):
            self.fault = self.fault or self._ends(fault, lasting)
        elif fault.transient and call.tries < self._calls.tries:
            wait = max(self._backoff(call), fault.after or 0.0)
            heappush(self._later, (now + wait, next(self._numbers), call))
        elif fault.kind == "refused":
            reply = Reply("", finish_reason="content_filter", cost=0)
            self._done.append((call.request, reply))
        else:
            after = f" (after {call.tries} tries)" if call.tries > 1 else ""
            reply = Reply("", finish_reason=None, error=f"{fault}{after}", cost=0)
            self._done.append((call.request, reply))

    def _backoff(self, call: _Call) -> float:
        """Seconds before the next try: doubling, with a part by lot so that calls spread out."""
        n = call.tries
        lot = uniform(key(0, "backoff", *call.request.slot, n))[0, 0]
        return min(self._calls.backoff * 2 ** (n - 1), LONGEST_BACKOFF) * (0.5 + lot / 2)


def _came_back(task: asyncio.Task) -> bool:
    """Whether a call is over, although nobody may have been told yet."""
    return task.done() and not task.cancelled() and task.exception() is None

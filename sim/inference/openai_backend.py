"""A model behind HTTP: any server that speaks OpenAI's chat completions."""

import asyncio
import importlib.util
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from envs.base import key, uniform
from sim.errors import CallFailed, Refusal
from sim.inference import http_loop
from sim.inference.base import Backend, Failure, Reply, Request
from sim.inference.dialects import Dialect
from sim.inference.http_client import Client
from sim.inference.http_faults import Fault
from sim.inference.pace import Pace
from sim.inference.prices import Budget, Prices, shown
from sim.inference.secret import Secret
from sim.inference.served import Calls, Served, check_whole
from sim.inference.waiting import Waiting

ABSENT = 3  # tries after which a server that nobody ever reached is given up
GATHER = 0.004  # seconds for which replies are gathered before the runner takes them


@dataclass(eq=False)
class _Call:
    """A request on its way, with the calls for it that failed, and the most that one can cost."""

    request: Request
    most: int
    sent: float = 0.0
    failures: list[Failure] = field(default_factory=list)


class OpenAIBackend(Backend):
    """Keeps as many calls in flight as the server takes, and makes failed ones again.

    Time passes, and replies come in, while `ready` waits. Only faults that may pass (too many
    requests, time-outs, connections, the server's own) are tried again; that changes nothing in
    what is asked. Those that would meet every call stop the run.

    Args:
        model: its name, as the server knows it.
        base_url: of the server, up to `/v1`; None: the environment's OPENAI_BASE_URL, or OpenAI.
            It is part of what a run depends on where it is given here, and not where it is left
            to the environment: for servers that move.
        key_env: environment variable that holds the key; None: none is sent.
        key_file: file that holds the key, used instead where it is given.
        dialect: of the server.
        temperature: 0 for greedy replies; None: the server's own, for models that take none.
        top_p: share of probability that is drawn from; None: the server's own.
        max_tokens: of a reply, its reasoning among them.
        seeds: whether the server is sent seeds.
        context: most tokens of a conversation; None: not known beforehand.
        extra: further fields of every request's body.
        served_as: names under which the server may answer; None: the model's, or a dated
            snapshot of it.
        thinking: `start` and `end`, marks around reasoning that the server leaves in the text.
        prices: per million tokens: `input`, `cached`, `output`, `reasoning`.
        expected_tokens: of a reply, to estimate the cost of a run before it is made.
        calls: `concurrency`, `timeout`, `tries`, `backoff`, `longest_wait` (`Calls`).

    Attributes:
        served: what is asked, and where.
        calls: how.

    Raises:
        Refusal: something of it cannot be.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        key_env: str | None,
        key_file: str | None,
        dialect: Dialect,
        temperature: float | None,
        top_p: float | None,
        max_tokens: int,
        seeds: bool,
        context: int | None,
        extra: Mapping[str, Any],
        served_as: Sequence[str] | None,
        thinking: Mapping[str, str] | None,
        prices: Mapping[str, Any] | None,
        expected_tokens: int,
        calls: Mapping[str, Any],
    ):
        _need_extra()
        self._secret = Secret(key_env, key_file)
        self.served = Served(
            model, base_url, dialect, temperature, top_p, max_tokens, seeds, extra, served_as,
            thinking, Prices.of(prices),
        )  # fmt: skip
        self.calls = Calls(**calls)
        self.model, self.modes = model, dialect.modes
        self.greedy = temperature == 0
        self.temperature = 1.0 if temperature is None else temperature
        if context is not None:
            check_whole("context", context)
        check_whole("expected_tokens", expected_tokens)
        self.context, self._expected = context, min(expected_tokens, max_tokens)
        self._pace = Pace(self.calls.concurrency, self.calls.backoff)
        self._budget = Budget(None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._client: Client
        self._waiter: asyncio.Task | None = None
        self._numbers = itertools.count()
        self._waiting: Waiting[_Call] = Waiting()
        self._later: list[tuple[float, int, _Call]] = []  # a heap by the time when they are due
        self._open: dict[asyncio.Task, _Call] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._done: list[tuple[Request, Reply]] = []
        self._lost: list[tuple[Request, Failure]] = []  # failures of calls that got no reply
        self._fault: BaseException | None = None  # that ends the run
        self._stopping = False
        self._n_answered, self._n_failed = 0, Counter[str]()
        self._names: set[str] = set()  # under which the server answered
        self._tokens = dict.fromkeys(("prompt_tokens", "cached_tokens"), 0)

    def identity(self) -> dict[str, Any]:
        return self.served.identity

    def prepare(self) -> None:
        import aiohttp  # noqa: F401
        import openai  # noqa: F401  # half a second, now rather than in the first call

        secret = self._secret.read()
        if secret is not None and self._secret.within(self.served.identity):
            raise Refusal("the config of model must not hold the key itself, it is written down")

    def key(self) -> str | None:
        """Of the server; None where none is sent."""
        return self._secret.read()

    def spend(self, budget: Budget) -> None:
        if budget.limit is not None and self.served.prices is None:
            raise Refusal(
                f"max_cost needs the prices of {self.model}: model.prices.input and .output, per "
                f"million tokens; 0 for a server of your own"
            )
        self._budget = budget

    def expected_cost(self, prompt: int, n: int) -> tuple[int, int] | None:
        prices, longest = self.served.prices, self.served.max_tokens
        if prices is None:
            return None
        # Whether a server finds a prompt in its cache, and how much a model thinks, nobody knows.
        return prices.cost(prompt, 0, n * self._expected, 0), prices.most(prompt, n * longest)

    def count_tokens(self, text: str) -> int:
        """A token for four bytes: an estimate, only the server has the vocabulary."""
        return -(-len(text.encode("utf-8", "replace")) // 4)

    def statistics(self) -> dict[str, Any]:
        """The server's address and names, prompt tokens, those cached, and the pace."""
        return {
            "base_url": self.served.base_url,
            "answered_as": sorted(self._names),
            **self._tokens,
            "concurrency": self._pace.bound,
            "lowest_concurrency": self._pace.lowest,
            "times_slowed": self._pace.n_shrunk,
        }

    # -- from the runner -----------------------------------------------------------------------

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            call = _Call(request, self.served.most(request))
            self._waiting.put(request.slot.depth, next(self._numbers), call)

    def ready(self) -> list[tuple[Request, Reply]]:
        return self._take(None)

    def poll(self, seconds: float) -> list[tuple[Request, Reply]]:
        return self._take(seconds)

    def _take(self, seconds: float | None) -> list[tuple[Request, Reply]]:
        if not self._settled():
            loop = self._start()
            self._waiter = loop.create_task(self._wait(seconds))
            loop.run_until_complete(self._waiter)
        done, self._done = self._done, []
        if done or not self._settled():
            return done
        if self._fault is not None:
            raise self._fault
        if seconds is not None:  # other models may have calls in flight: they say when all is in
            return []
        raise KeyboardInterrupt

    def _settled(self) -> bool:
        """Whether `ready` has something to say at once."""
        stopped = self._stopping and not self._open
        return bool(self._done or self._fault is not None or stopped)

    def stop(self) -> int | None:
        self._stopping = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._event.set)
        return len(self._open) + len(self._done)

    def notice(self) -> str:
        if not self._n_failed:
            return ""
        n, now = sum(self._n_failed.values()), self._start().time()
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(self._n_failed.items()))
        rest = self._pace.wait(now)
        waits = f", waiting {rest:.0f} s" if rest > 1 else ""
        return f"{n} calls failed ({kinds}), {len(self._open)} in flight{waits}"

    def abandoned(self) -> list[tuple[Request, Failure]]:
        lost, self._lost = self._lost, []
        flying = [call for task, call in self._open.items() if not _came_back(task)]
        for call in flying:
            lost.append((call.request, Failure("abandoned", "nobody waited for it", call.most)))
        for request, reply in self._done:  # of one model, when the fault of another ends the run
            lost += [(request, failure) for failure in reply.failures]
            if reply.latency_s is not None:  # else it is the last of the failures
                told = "its reply came when the run had ended"
                lost.append((request, Failure("abandoned", told, reply.cost or 0)))
        self._done = []
        for call in (*flying, *(entry[2] for entry in self._later)):
            lost += [(call.request, failure) for failure in call.failures]
            call.failures = []
        return lost

    def close(self) -> None:
        """Gives up what is open."""
        if self._loop is None:
            return
        self._waiting.clear()
        self._later.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        try:
            self._loop.run_until_complete(self._shut())
        finally:
            self._open.clear()
            self._done.clear()
            self._loop = self._waiter = None
            http_loop.leave()

    async def _shut(self) -> None:
        # An interrupt leaves the waiter behind.
        tasks = [*self._open, *([self._waiter] if self._waiter else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    # -- in the loop ---------------------------------------------------------------------------

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            secret = self._secret.read()
            self._loop = http_loop.enter()
            self._client = Client(self.served, secret, self.calls)
        return self._loop

    async def _wait(self, seconds: float | None) -> None:
        """Until there is something to say, or for so long."""
        self._feed()
        if not self._settled():
            self._event.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._event.wait()
            except TimeoutError:
                return
        if self._done and self._open:
            await asyncio.sleep(GATHER)  # the runner is quicker with many at once

    def _feed(self) -> None:
        """Sends what may be sent; sees to it that it is called again when more may be."""
        now = asyncio.get_running_loop().time()
        rest = self._pace.wait(now)
        while not (rest or self._stopping or self._fault) and len(self._open) < self._pace.bound:
            call = self._next(now)
            if call is None:
                break
            if not self._budget.hold(call.most):
                heappush(self._later, (now, next(self._numbers), call))
                if not self._budget.held:
                    self._fault = self._spent(call)
                break
            call.sent = now
            task = asyncio.get_running_loop().create_task(self._make(call))
            self._open[task] = call
            task.add_done_callback(self._ended)
        if self._later or self._waiting:
            # Where the bound or the money is what is missing, the end of a call calls again.
            due = now if self._waiting else self._later[0][0]
            if (when := max(due, now + rest)) > now:
                self._wake_at(when)
        if self._settled():
            self._event.set()

    def _next(self, now: float) -> _Call | None:
        """What was tried before goes first, once it is due."""
        if self._later and self._later[0][0] <= now:
            return heappop(self._later)[2]
        return self._waiting.take()[1] if self._waiting else None

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(when, self._feed)

    async def _make(self, call: _Call) -> None:
        """One call, from the request to a reply or a failure."""
        loop = asyncio.get_running_loop()
        try:
            reply = await self._client.ask(call.request)
        except Fault as fault:
            self._failed(call, fault, loop.time())
            return
        reply.latency_s = loop.time() - call.sent
        reply.text = self._secret.mask(reply.text)
        reply.reasoning = reply.reasoning and self._secret.mask(reply.reasoning)
        if self.served.prices is not None and reply.prompt_tokens is None:
            reply.cost = call.most  # the server did not count: at most so much
        self._budget.settle(call.most, reply.cost or 0)
        self._n_answered += 1
        self._pace.answered()
        self._names |= self._client.names
        self._tokens["prompt_tokens"] += reply.prompt_tokens or 0
        self._tokens["cached_tokens"] += reply.cached_tokens or 0
        reply.failures = tuple(call.failures)
        self._done.append((call.request, reply))

    def _ended(self, task: asyncio.Task) -> None:
        call = self._open.pop(task, None)
        if call is None or task.cancelled():
            return
        if (fault := task.exception()) is not None:  # ours: it must not be lost
            self._fault = fault
        self._feed()

    def _failed(self, call: _Call, fault: Fault, now: float) -> None:
        """Makes the call again, later; or settles it."""
        told = self._secret.mask(fault.told)
        most = call.most if fault.paid else None
        self._budget.settle(call.most, most or 0)
        failure = Failure(fault.kind, told, most)
        self._n_failed[fault.kind] += 1
        if fault.kind == "rate_limit" or fault.after is not None:
            self._pace.limited(call.sent, now, fault.after)
        too_long = (fault.after or 0) > self.calls.longest_wait
        call.failures.append(failure)
        absent = fault.kind == "connection" and not (fault.paid or self._n_answered)
        if fault.fatal or too_long or (absent and len(call.failures) >= ABSENT):
            self._lost += [(call.request, one) for one in call.failures]
            self._fault = CallFailed(self._sentence(fault.kind, told, too_long))
            return
        if fault.transient and len(call.failures) < self.calls.tries:
            wait = max(self._backoff(call), fault.after or 0.0)
            heappush(self._later, (now + wait, next(self._numbers), call))
            return
        free = None if self.served.prices is None else 0
        if fault.kind == "refused":
            reply = Reply("", finish_reason="content_filter", cost=free)
        else:
            tries = len(call.failures)
            after = f" (after {tries} tries)" if tries > 1 else ""
            error = f"{fault.kind}: {told}{after}"
            reply = Reply("", finish_reason=None, error=error, cost=free)
        reply.failures = tuple(call.failures)
        self._done.append((call.request, reply))

    def _backoff(self, call: _Call) -> float:
        """Seconds before the next try: doubling, with a part by lot so that calls spread out."""
        n = len(call.failures)
        lot = uniform(key(0, "backoff", *call.request.slot, n))[0, 0]
        return min(self.calls.backoff * 2 ** (n - 1), 60.0) * (0.5 + lot / 2)

    # -- sentences -----------------------------------------------------------------------------

    def _sentence(self, kind: str, told: str, too_long: bool) -> str:
        hints: dict[str, Callable[[], str]] = {
            "authentication": lambda: (
                f"is the key in {self._secret.where} right?"
                if self._secret.wanted
                else "no key is sent: model.key_env names the variable that holds one"
            ),
            "quota": lambda: "the account has no money or quota left",
            "connection": lambda: f"is there a server at {self.served.base_url}?",
            "not_found": lambda: f"does the server at {self.served.base_url} know that model?",
            "bad_request": lambda: (
                "it does not take what model asks for (temperature, seeds, "
                "max_tokens, extra, response_mode ...)"
            ),
        }
        hint = f"; {hints[kind]()}" if kind in hints else ""
        if too_long:
            longest = self.calls.longest_wait
            hint = f"; it asks to wait longer than model.calls.longest_wait, {longest:g} s"
        return f"calls to {self.model} fail: {kind}: {told}{hint}; what was answered is journalled"

    def _spent(self, call: _Call) -> CallFailed:
        limit, spent = self._budget.limit or 0, self._budget.spent
        return CallFailed(
            f"max_cost is {shown(limit)}, {shown(spent)} are spent, and the next call may cost "
            f"{shown(call.most)}; what was answered is journalled, and resume=RUN max_cost=MORE "
            f"goes on"
        )


def _came_back(task: asyncio.Task) -> bool:
    """Whether a call is over, although nobody may have been told yet."""
    return task.done() and not task.cancelled() and task.exception() is None


def _need_extra() -> None:
    for name in ("openai", "aiohttp"):
        if importlib.util.find_spec(name) is None:
            raise Refusal(
                f"model=openai needs the extra openai: pip install -e '.[openai]' (no {name})"
            )

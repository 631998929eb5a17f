"""A model behind HTTP: any server that speaks OpenAI's chat completions."""

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from sim.errors import CallFailed, Refusal
from sim.inference import http_loop
from sim.inference.base import Backend, Failure, Reply, Request
from sim.inference.dialects import Dialect
from sim.inference.http_client import Client
from sim.inference.http_faults import Fault
from sim.inference.in_flight import InFlight
from sim.inference.prices import Budget, Prices, shown
from sim.inference.secret import Secret
from sim.inference.served import Calls, Served, check_whole


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

    paid = True

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
        self._client = Client(self.served, self._secret, self.calls)
        priced = self.served.prices is not None
        self._flight = InFlight(self._client.ask, self.calls, self._ends, self._spent, priced)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Task | None = None

    def identity(self) -> dict[str, Any]:
        return self.served.identity

    def prepare(self, written: str) -> None:
        import aiohttp  # noqa: F401
        import openai  # noqa: F401  # half a second, now rather than in the first call

        self._secret.read()
        if self._secret.within(written + self.served.base_url):
            raise Refusal("the config must not hold the key itself, since it is written down")

    def key(self) -> str | None:
        """Of the server; None where none is sent."""
        return self._secret.read()

    def spend(self, budget: Budget) -> None:
        if budget.limit is not None and self.served.prices is None:
            raise Refusal(
                f"max_cost needs the prices of {self.model}: model.prices.input and .output, per "
                f"million tokens; 0 for a server of your own"
            )
        self._flight.budget = budget

    def expected_cost(self, prompt: int, n: int, earlier: int) -> tuple[int, int] | None:
        prices = self.served.prices
        if prices is None:
            return None
        # Whether a server finds a prompt in its cache, and how much a model thinks, nobody knows.
        usual, long = self._expected, self.served.max_tokens
        return (
            prices.cost(prompt + earlier * usual, 0, n * usual, 0),
            prices.most(prompt + earlier * long, n * long),
        )

    def count_tokens(self, text: str) -> int:
        """A token for four bytes: an estimate, only the server has the vocabulary."""
        return -(-len(text.encode("utf-8", "replace")) // 4)

    def statistics(self) -> dict[str, Any]:
        """The server's address and names, prompt tokens, those cached, and the pace."""
        pace = self._flight.pace
        return {
            "base_url": self.served.base_url,
            "answered_as": sorted(self._client.names),
            **self._client.tokens,
            "concurrency": pace.bound,
            "lowest_concurrency": pace.lowest,
            "times_slowed": pace.n_shrunk,
        }

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._flight.take(request, self.served.most(request))

    def ready(self) -> list[tuple[Request, Reply]]:
        done = self.poll(None)
        if not done and self._flight.settled:
            raise KeyboardInterrupt
        return done

    def poll(self, seconds: float | None) -> list[tuple[Request, Reply]]:
        """Waits so long at most, None for as long as it takes; once stopped, not at all."""
        flight = self._flight
        if flight.busy and not flight.settled:
            if self._loop is None:
                self._secret.read()
                self._loop = http_loop.enter(flight)
            self._waiter = http_loop.task(flight.wait(seconds))
            http_loop.run(self._waiter)
        done = flight.give()
        if not done and flight.fault is not None and flight.settled:
            raise flight.fault
        return done

    def stop(self) -> int | None:
        n = self._flight.stop()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._flight.wake)
        return n

    def notice(self) -> str:
        return "" if self._loop is None else self._flight.notice(self._loop.time())

    def failed(self) -> list[tuple[Request, Failure]]:
        return self._flight.failed()

    def abandoned(self) -> list[tuple[Request, Failure]]:
        return self._flight.abandoned()

    def close(self) -> None:
        """Gives up what is open."""
        if self._loop is None:
            return
        try:
            self._loop.run_until_complete(self._shut())
        finally:
            self._loop = self._waiter = None
            http_loop.leave(self._flight)

    async def _shut(self) -> None:
        if self._waiter is not None:  # an interrupt leaves it behind
            self._waiter.cancel()
            await asyncio.gather(self._waiter, return_exceptions=True)
        await self._flight.shut()
        await self._client.close()

    # -- sentences -----------------------------------------------------------------------------

    def _ends(self, fault: Fault, lasting: bool) -> CallFailed:
        """What is told of a fault that ends the run, `lasting` where it alone would not."""
        key = (
            f"is the key in {self._secret.where} right?"
            if self._secret.wanted
            else "no key is sent: model.key_env names the variable that holds one"
        )
        hints = {
            "authentication": key,
            "quota": "the account has no money or quota left",
            "connection": f"is there a server at {self.served.base_url}?",
            "not_found": f"does the server at {self.served.base_url} know that model?",
            "dearer": "the server counts more tokens than model.max_tokens and the prompt's bytes "
            "allow, so that max_cost might be passed",
            "bad_request": "it does not take what model asks for (temperature, seeds, "
            "max_tokens, extra, response_mode ...)",
        }
        hint = hints.get(fault.kind)
        longest = f"model.calls.longest_wait, {self.calls.longest_wait:g} s"
        if (fault.after or 0) > self.calls.longest_wait:
            hint = f"it asks to wait longer than {longest}"
        elif lasting:
            hint = f"no call was answered for {longest}"
        told = f"{fault}; {hint}" if hint else str(fault)
        return CallFailed(f"calls to {self.model} fail: {told}; what was answered is journalled")

    def _spent(self, budget: Budget, most: int) -> CallFailed:
        """What is told when the next call may cost more than is left."""
        return CallFailed(
            f"max_cost is {shown(budget.limit or 0)}, {shown(budget.spent)} are or may be spent, "
            f"and the next call may cost {shown(most)}; what was answered is journalled, and "
            f"resume=RUN max_cost=MORE goes on"
        )


def _need_extra() -> None:
    for name in ("openai", "aiohttp"):
        if importlib.util.find_spec(name) is None:
            raise Refusal(
                f"model=openai needs the extra openai: pip install -e '.[openai]' (no {name})"
            )

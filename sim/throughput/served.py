"""Calls to a server: the whole stack beside a bare loop, and beside OpenAI's client as it is."""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sim.configs import compose
from sim.errors import Refusal
from sim.inference.base import Request, Slot
from sim.inference.openai_backend import OpenAIBackend
from sim.rehearsal import conditions, rehearse
from sim.run import play
from sim.setup import Parts, build

WAYS = {
    "aiohttp": "aiohttp alone, no reply is read",
    "client": "the client's chat.completions.create",
    "ours": "a study, from conversations to tables",
}


def rows(agents: int, sets: Sequence[str], times: int) -> Iterator[dict[str, Any]]:
    """Each way of asking, `times` times in turn, every one in a process of its own."""
    for _ in range(times):
        calls = 0
        for way in ("ours", "aiohttp", "client"):
            words = [way, str(agents), str(calls), *sets]
            command = [sys.executable, "-m", "sim.throughput.served", *words]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Refusal(done.stderr.strip().splitlines()[-1])
            row = json.loads(done.stdout.splitlines()[-1])
            calls = row["calls"]
            yield {"way": way} | row


def _parts(agents: int, sets: Sequence[str]) -> Parts:
    return build(compose(
        "model=openai", "agent=definition", f"population.n={agents}",
        "max_live=100000", *sets,
    ))  # fmt: skip


def _measure(way: str, agents: int, calls: int, sets: Sequence[str]) -> dict[str, Any]:
    parts = _parts(agents, sets)
    backend = parts.backend
    if not isinstance(backend, OpenAIBackend):
        raise Refusal(f"--served measures model=openai and its like, got {type(backend).__name__}")
    if way == "ours":
        import aiohttp  # noqa: F401  # imports are not per call
        import openai  # noqa: F401

        backend.prepare("")
        with tempfile.TemporaryDirectory() as folder:
            start, used = time.perf_counter(), time.process_time()
            calls = play(parts, Path(folder), False, True)["asked"]
            return _row(calls, start, used)
    bodies = list(_bodies(parts, backend))
    loop = _bare if way == "aiohttp" else _client
    return asyncio.run(loop(backend, [bodies[k % len(bodies)] for k in range(calls)]))


def _bodies(parts: Parts, backend: OpenAIBackend) -> Iterator[dict[str, Any]]:
    """Of the conversations of one agent per condition."""
    for numbers in conditions(parts.cast).values():
        for one in rehearse(parts.game, parts.cast, numbers[0], 0, "Answer: A"):
            request = Request(one.message, "text", one.turn.labels, 1, Slot(0, 0, 0, 0, 0))
            yield backend.served.body(request)


async def _bare(backend: OpenAIBackend, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    import aiohttp

    headers = {"Authorization": f"Bearer {backend.key() or 'none'}"}
    url = f"{backend.served.base_url}/chat/completions"
    most = backend.calls.concurrency
    connector = aiohttp.TCPConnector(limit=most)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

        async def call(body: dict[str, Any]) -> None:
            async with session.post(url, json=body) as response:
                response.raise_for_status()
                await response.read()

        return await _all(call, bodies, most)


async def _client(backend: OpenAIBackend, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    import httpx2
    from openai import AsyncOpenAI, DefaultAioHttpClient

    most = backend.calls.concurrency
    http = DefaultAioHttpClient(limits=httpx2.Limits(max_connections=most))
    url, key = backend.served.base_url, backend.key() or "none"
    async with AsyncOpenAI(api_key=key, base_url=url, http_client=http, max_retries=0) as client:

        async def call(body: dict[str, Any]) -> None:
            await client.chat.completions.create(**body)

        return await _all(call, bodies, most)


async def _all(
    call: Callable[[dict[str, Any]], Awaitable[None]], bodies: list[dict[str, Any]], most: int
) -> dict[str, Any]:
    """Makes all calls, at most so many at once."""
    left = iter(bodies)

    async def worker() -> None:
        for body in left:
            await call(body)

    start, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(most)))
    return _row(len(bodies), start, used)


def _row(calls: int, start: float, used: float) -> dict[str, Any]:
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"calls": calls, "seconds": seconds, "cpu": cpu, "mib": mib}


if __name__ == "__main__":
    what, n_agents, n_calls, *words = sys.argv[1:]
    print(json.dumps(_measure(what, int(n_agents), int(n_calls), words)))

"""A stand-in for a server that speaks as OpenAI's or vLLM's does: no model, scripted faults.

    python tests/stand_in.py --latency 0.02 --faults '429=0.05,reset=0.01'

prints its base URL and serves until it is ended. What it says is a function of its seed and the
request alone, and the n-th call of a request always meets the same fault. `serve` is the same
for tests. GET /counts tells exactly what it was asked, GET /asked how often each request, POST
/control changes options and POST /reset sets the counts to zero.
"""

import argparse
import asyncio
import gc
import http.client
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from typing import Any, get_args

import stand_in_faults as faults
import stand_in_replies as replies
from aiohttp import web

NUMBERS = ("calls", "answered", "failed", "left", "repeats", "tokenized")


@dataclass
class Options:
    """Of the server; each but `port` can be changed while it runs."""

    port: int = 0
    seed: int = 0
    latency: float = 0.05  # s
    jitter: float = 0.0  # share by which latency differs, up and down
    model: str = "stand-in"
    unread: float = 0.0  # share of decisions in text that name no option
    reasoning: int = 0  # words of reasoning before each reply
    key: str | None = None  # that is asked for; None: any will do
    echo_key: bool = False  # whether a reply repeats the Authorization header
    expire_after: int | None = None  # answers, after which no key is right
    limit: int | None = None  # most calls open
    retry_after: float = 0.2  # s, as 429_after tells
    drip_seconds: float = 5.0
    hung_tokenize: int = 0  # of the first calls of /tokenize, how many never end
    faults: dict[str, float] = field(default_factory=dict)

    def change(self, told: dict[str, Any]) -> None:
        unknown = sorted(set(told) - {f.name for f in fields(self)})
        if unknown:
            raise ValueError(f"unknown options: {', '.join(unknown)}")
        for one in fields(self):
            if one.name not in told:
                continue
            value = told[one.name]
            if one.name == "faults":
                value = faults.shares(value)
            elif not isinstance(value, one.type | int if one.type is float else one.type):
                raise ValueError(f"{one.name} must be {one.type}, got {value!r}")
            setattr(self, one.name, value)


# -- the server --------------------------------------------------------------------------------


class Server:
    """Answers and counts."""

    def __init__(self, options_: Options):
        self.options, self.open = options_, 0
        self.zero()

    def zero(self) -> None:
        self.n: Counter[str] = Counter()  # calls, answered, failed, left, repeats
        self.faults: Counter[str] = Counter()
        self.tokens, self.worked = [0] * 4, [0] * 4
        self.most_open = self.open
        self.calls: dict[bytes, int] = {}  # by request, those that came as far as a fault
        self.answered: set[bytes] = set()
        self.authorizations: set[str] = set()

    def counts(self) -> dict[str, Any]:
        return {
            **{name: self.n[name] for name in NUMBERS},
            "distinct": len(self.calls),
            "faults": dict(self.faults),
            "tokens": dict(zip(replies.TOKENS, self.tokens, strict=True)),
            "tokens_worked": dict(zip(replies.TOKENS, self.worked, strict=True)),
            "open": self.open,
            "most_open": self.most_open,
            "authorizations": len(self.authorizations),
            "cpu_s": time.process_time(),
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        way = f"{request.method} {request.path}"
        if way == "POST /v1/chat/completions":
            self.n["calls"] += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            try:
                return await self._chat(request)
            except (asyncio.CancelledError, ConnectionError):
                self.n["left"] += 1
                raise
            finally:
                self.open -= 1
        if way == "POST /tokenize":
            told = await request.read()
            if self.n["tokenized"] < self.options.hung_tokenize:
                self.n["tokenized"] += 1
                await asyncio.Event().wait()
            return self._tokenize(told)
        if way == "GET /v1/models":
            if refused := self._refused(request.headers.get("Authorization", "")):
                return refused
            one = {"id": self.options.model, "object": "model", "created": 0, "owned_by": "tests"}
            return web.json_response({"object": "list", "data": [one]})
        if way == "GET /counts":
            return web.json_response(self.counts())
        if way == "GET /asked":
            return web.json_response({one.hex(): n for one, n in self.calls.items()})
        if way == "POST /reset":
            self.zero()
            return web.json_response({})
        if way == "POST /control":
            try:
                self.options.change(json.loads(await request.read()))
            except (ValueError, TypeError, AttributeError) as fault:
                return web.Response(status=400, text=str(fault))
            return web.json_response(asdict(self.options))
        return web.Response(status=404, text=f"{way}: no such thing here")

    def _refused(self, authorization: str) -> web.Response | None:
        key, expire = self.options.key, self.options.expire_after
        expired = expire is not None and self.n["answered"] >= expire
        if expired or (key is not None and authorization != f"Bearer {key}"):
            return faults.error("401", authorization.removeprefix("Bearer "))
        return None

    def _tokenize(self, body: bytes) -> web.Response:
        """The ids of a text's tokens, as vLLM's server tells them."""
        self.n["tokenized"] += 1
        try:
            told = json.loads(body)
            ids = replies.token_ids(told["prompt"])
        except (ValueError, KeyError, TypeError) as fault:
            return faults.error("400", f"{type(fault).__name__}: {fault}")
        if told.get("model") != self.options.model:
            return faults.error("404", told.get("model"))
        if told.get("add_special_tokens", True):
            ids = [replies.BEGIN, *ids]
        return web.json_response({"tokens": ids, "count": len(ids), "max_model_len": 8192})

    def _failed(self, name: str, response: web.Response) -> web.Response:
        self.faults[name] += 1
        self.n["failed"] += 1
        return response

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        told, authorization = self.options, request.headers.get("Authorization", "")
        self.authorizations.add(authorization)
        body = await request.content.read()
        if refused := self._refused(authorization):
            return self._failed("401", refused)
        try:
            ask = replies.Ask(body, b"%d" % told.seed)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as fault:
            return self._failed("400", faults.error("400", f"{type(fault).__name__}: {fault}"))
        if ask.told.get("model") != told.model:
            return self._failed("404", faults.error("404", ask.told.get("model")))
        self.n["repeats"] += ask.identity in self.answered
        nth = self.calls.setdefault(ask.identity, 0)
        if told.limit is not None and self.open > told.limit:
            return self._failed("limit", faults.error("limit"))
        self.calls[ask.identity] = nth + 1
        fate = blake2b(b"%s%d" % (ask.identity, nth), digest_size=32).digest()
        name = self._fault(replies.share(fate, 0))
        if name in faults.ERRORS:
            return self._failed(name, faults.error(name, after=told.retry_after))
        if name in faults.CUT:
            self._failed(name, web.Response())
            return await faults.broken(name, request, b"", 0)
        said, tokens = replies.reply(
            ask, told.model, told.unread, told.reasoning, authorization if told.echo_key else ""
        )
        said = {"id": f"chatcmpl-{ask.identity.hex()[:24]}-{nth}", **said}
        _add(self.worked, tokens)
        if name is not None:
            self.faults[name] += 1
            faults.spoil(name, said, ask.mode)
        body = json.dumps(said).encode()
        wait = told.latency * (1 + told.jitter * (2 * replies.share(fate, 1) - 1))
        if name == "slow":
            wait *= 10
        if wait > 0:
            await asyncio.sleep(wait)
        response: web.StreamResponse
        if name in ("html", "truncated", "reset", "hang", "drip"):
            response = await faults.broken(name, request, body, told.drip_seconds)
        else:
            response = web.Response(body=body, content_type="application/json")
        if name is None or name in faults.PROPER:
            self.n["answered"] += 1
            self.answered.add(ask.identity)
            _add(self.tokens, tokens)
        else:
            self.n["failed"] += 1
        return response

    def _fault(self, drawn: float) -> str | None:
        for name, part in self.options.faults.items():
            drawn -= part
            if drawn < 0:
                return name
        return None


def _add(sums: list[int], more: tuple[int, ...]) -> None:
    for i, n in enumerate(more):
        sums[i] += n


async def listen(options_: Options, parent: int | None) -> None:
    """Serves until it is ended, or until the parent process of this id is gone."""
    server = web.Server(
        Server(options_).handle, handler_cancellation=True, access_log=None, keepalive_timeout=1e9
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options_.port, backlog=8192).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    while parent is None or os.getppid() == parent:
        await asyncio.sleep(1)


# -- for tests ---------------------------------------------------------------------------------


class StandIn:
    """A server that `serve` started: `url` ends in /v1, `pid` is its process."""

    def __init__(self, url: str, pid: int):
        self.url, self.pid = url, pid

    def counts(self) -> dict[str, Any]:
        return self._call("GET", "/counts")

    def asked(self) -> dict[str, int]:
        """Calls by request, which `replies.Ask.identity` names."""
        return self._call("GET", "/asked")

    def control(self, **options_: Any) -> dict[str, Any]:
        """Changes these options; returns all."""
        return self._call("POST", "/control", json.dumps(options_))

    def reset(self) -> None:
        self._call("POST", "/reset")

    def _call(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        link = http.client.HTTPConnection(self.url.split("/")[2], timeout=30)
        try:
            link.request(method, path, body)
            response = link.getresponse()
            told = response.read().decode()
            if response.status != 200:
                raise ValueError(told)
            return json.loads(told)
        finally:
            link.close()


@contextmanager
def serve(**options_: Any) -> Iterator[StandIn]:
    """A stand-in in a process of its own, with options as in `Options`."""
    words = [sys.executable, __file__, "--parent", str(os.getpid())]
    for name, value in options_.items():
        if name == "faults":
            value = ",".join(f"{k}={v}" for k, v in faults.shares(value).items())
        if value is not None and value is not False:
            word = f"--{name.replace('_', '-')}"
            words += [word] if value is True else [f"{word}={value}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()  # type: ignore[union-attr]
            if not url:
                raise RuntimeError(f"the stand-in did not start: {' '.join(words[1:])}")
            yield StandIn(url, process.pid)
        finally:
            process.kill()


def main() -> None:
    about = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    for one in fields(Options):
        word = f"--{one.name.replace('_', '-')}"
        if one.type is bool:
            about.add_argument(word, action="store_true")
        elif one.name == "faults":
            about.add_argument(word, type=faults.shares, default={})
        else:
            kind = (get_args(one.type) or (one.type,))[0]
            about.add_argument(word, type=kind, default=one.default)
    about.add_argument("--parent", type=int, help="id of the process to end with")
    told = vars(about.parse_args())
    parent = told.pop("parent")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.set_threshold(100_000, 50, 50)
    with suppress(KeyboardInterrupt):
        asyncio.run(listen(Options(**told), parent))


if __name__ == "__main__":
    main()

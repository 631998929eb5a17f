"""One exchange with a server, through OpenAI's client."""

import asyncio
import json
import logging
from typing import Any

from sim.inference import modes
from sim.inference.base import Reply, Request
from sim.inference.http_faults import Fault, malformed, of_exception, of_status
from sim.inference.http_reply import check_model, parse, reply_of
from sim.inference.secret import Secret
from sim.inference.served import Calls, Served

LONGEST = 300  # characters of a server's words that are kept


class Client:
    """Makes single calls; who calls sees to how many at once, and to further tries.

    Args:
        served: what is asked, and where.
        secret: the server's key.
        calls: `timeout` and `concurrency`.

    Attributes:
        names: under which the server answered.
        tokens: of prompts, and of these those from a cache, as the server counted.
    """

    def __init__(self, served: Served, secret: Secret, calls: Calls):
        self._served, self._secret, self._calls = served, secret, calls
        self._openai: Any = None  # made with the first call
        self._ids: dict[tuple[str, ...], asyncio.Task[list[int]]] = {}
        self.names: set[str] = set()
        self.tokens = {"prompt_tokens": 0, "cached_tokens": 0}

    def _open(self) -> Any:
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient

        # A line for every call, else, on the terminal and in time.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        most = self._calls.concurrency
        limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most)
        # Time is ours to keep: a limit on the whole call ends a slow drip as well.
        http = DefaultAioHttpClient(limits=limits, timeout=None)
        self._kind = httpx2.Response
        return AsyncOpenAI(
            api_key=self._secret.read() or "none",
            base_url=self._served.base_url,
            http_client=http,
            max_retries=0,
            timeout=None,
        )

    async def ask(self, request: Request) -> Reply:
        """The reply to a request.

        Raises:
            Fault: there is none.
        """
        mask = self._secret.mask
        try:
            reply = await self._ask(request)
        except Fault as fault:
            fault.told = mask(fault.told)[:LONGEST]  # in this order: half a key is not found
            raise
        reply.text = mask(reply.text)
        reply.reasoning = reply.reasoning and mask(reply.reasoning)
        reply.finish_reason = reply.finish_reason and mask(reply.finish_reason)[:LONGEST]
        for name in self.tokens:
            self.tokens[name] += getattr(reply, name) or 0
        return reply

    async def _ask(self, request: Request) -> Reply:
        body, ids = self._served.body(request), None
        if request.mode == "label":
            assert request.labels is not None
            ids = await self._label_ids(request.labels)
            body["logprob_token_ids"] = ids
        found, content = await self._post("/chat/completions", body)
        name = check_model(found, self._served.model, self._served.served_as)
        if name is not None:
            self.names.add(self._secret.mask(name)[:LONGEST])
        return reply_of(found, content, self._served.prices, self._served.thinking, ids)

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """(JSON object, bytes) of a success."""
        import openai

        try:
            if self._openai is None:
                self._openai = self._open()
            # Not chat.completions.create: its models of request and response cost as much again.
            response = await self._openai.post(path, cast_to=self._kind, body=body)
        except openai.APIStatusError as fault:
            told = fault.body if fault.body is not None else fault.response.text
            raise of_status(fault.status_code, told, fault.response.headers) from fault
        except Exception as fault:  # the client's many layers have classes of their own
            raise of_exception(fault) from fault
        content = self._secret.mask_bytes(response.content)
        return parse(content, response.headers.get("content-type", "")), content

    async def _label_ids(self, labels: tuple[str, ...]) -> list[int]:
        """Ids of the labels' tokens behind the prefix, asked of the server once."""
        task = self._ids.get(labels)
        if task is None or (task.done() and task.exception() is not None):
            task = self._ids[labels] = asyncio.create_task(self._tokenize(labels))
        return await asyncio.shield(task)

    async def _tokenize(self, labels: tuple[str, ...]) -> list[int]:
        # Many calls wait for this one, so that none of them ends it when its own time is up.
        try:
            async with asyncio.timeout(self._calls.timeout):
                return await self._ids_of(labels)
        except TimeoutError as fault:
            told = f"no tokens of labels within {self._calls.timeout:g} s"
            raise Fault("timeout", told) from fault

    async def _ids_of(self, labels: tuple[str, ...]) -> list[int]:
        root = self._served.base_url.removesuffix("/v1")
        ids = []
        for text in (modes.PREFIX, *(modes.answer(label) for label in labels)):
            body = {"model": self._served.model, "prompt": text, "add_special_tokens": False}
            found, content = await self._post(f"{root}/tokenize", body)
            tokens = found.get("tokens")
            if not isinstance(tokens, list) or not all(isinstance(t, int) for t in tokens):
                raise malformed("/tokenize must list tokens", content)
            ids.append(tokens)
        prefix, *rest = ids
        ends = [tokens[len(prefix) :] for tokens in rest]
        if any(tokens[: len(prefix)] != prefix for tokens in rest) or any(
            len(end) != 1 for end in ends
        ):
            told = json.dumps(list(labels))
            raise Fault("bad_request", f"mode label needs labels of one token each, got {told}")
        if len({end[0] for end in ends}) < len(ends):
            raise Fault("bad_request", "mode label needs labels of different tokens")
        return [end[0] for end in ends]

    async def close(self) -> None:
        for task in self._ids.values():
            task.cancel()
        await asyncio.gather(*self._ids.values(), return_exceptions=True)
        self._ids.clear()
        if self._openai is not None:
            await self._openai.close()
            self._openai = None

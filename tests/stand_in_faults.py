"""What a server of models can do wrong, by name: errors, spoilt replies, broken connections."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

REQUEST, LIMIT, SERVER = "invalid_request_error", "rate_limit_exceeded", "server_error"
BUSY = "Rate limit reached for requests. Please try again later."
LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
    "tokens. Please reduce the length of the messages."
)
# name -> status, type, code, message; the server did no work.
ERRORS = {
    "401": (401, REQUEST, "invalid_api_key", "Incorrect API key provided: {sent}"),
    "404": (404, REQUEST, "model_not_found", "The model `{sent}` does not exist."),
    "400": (400, REQUEST, None, "{sent}"),
    "limit": (429, "requests", LIMIT, BUSY),
    "429": (429, "requests", LIMIT, BUSY),
    "429_after": (429, "requests", LIMIT, BUSY),
    "429_after_ms": (429, "requests", LIMIT, BUSY),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "500": (500, SERVER, None, "The server had an error while processing your request. Sorry!"),
    "503": (503, "", None, "upstream connect error or disconnect/reset before headers"),
    "content_filter": (400, REQUEST, "content_filter", "The prompt triggered a content filter."),
    "context": (400, REQUEST, "context_length_exceeded", LONG),
    "bad_request": (400, REQUEST, "unsupported_value", "Unsupported value: 'top_p'."),
}
CUT = ("reset_before", "reset_hard")  # no byte of an answer, no work
SPOILT = (
    "empty_choices", "wrong_count", "no_content", "wrong_model", "refusal", "filtered",
    "truncated", "html", "reset", "hang",
)  # fmt: skip
PROPER = ("slow", "drip", "unicode", "huge", "no_usage")  # right answers, for all their oddity
NAMES = (*(n for n in ERRORS if n not in ("401", "404", "400", "limit")), *CUT, *SPOILT, *PROPER)

ODD = (
    "🤷🏽‍♀️ ｆｕｌｌ \u202emirrored\u202c \u200fשלום\u200e e\u0301\u0323 \u00a0\u200b\ufeff \ud800 "
    "\x00 \x07\x1b[31mred\x1b[0m \u2028 \x85 \ufffd"
)
LOTS = "Let me think about this once more. " * 60_000  # 2.1 MB
HTML = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"


def shares(told: str | Mapping[str, float]) -> dict[str, float]:
    """Share of calls by fault: a mapping, or `name=share,name=share`.

    Raises:
        ValueError: a name is unknown or the shares are none.
    """
    if isinstance(told, str):
        told = {
            k: float(v) for k, _, v in (part.partition("=") for part in told.split(",") if part)
        }
    unknown = [name for name in told if name not in NAMES]
    if unknown:
        raise ValueError(f"faults must be of {', '.join(NAMES)}, got {', '.join(unknown)}")
    if any(share < 0 for share in told.values()) or sum(told.values()) > 1 + 1e-9:
        raise ValueError(f"shares of faults must be 0 or more and sum to 1 at most, got {told}")
    return dict(told)


def error(name: str, sent: str = "", after: float = 1) -> web.Response:
    """The error's reply; `sent` is what of the request it repeats, `after` seconds to wait."""
    status, kind, code, message = ERRORS[name]
    if not kind:
        return web.Response(status=status, text=message)
    told = {"message": message.format(sent=sent), "type": kind, "param": None, "code": code}
    headers = {}
    if name in ("429_after", "limit"):
        headers["Retry-After"] = f"{after:g}"
    elif name == "429_after_ms":
        headers["retry-after-ms"] = f"{1000 * after:g}"
    body = json.dumps({"error": told}).encode()
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def spoil(name: str, reply: dict, mode: str) -> None:
    """Changes a proper reply into one that this fault makes of it."""
    choice = reply["choices"][0]
    message = choice["message"]
    if name == "empty_choices":
        reply["choices"] = []
    elif name == "wrong_count":
        reply["choices"] = [choice, {**choice, "index": 1}]
    elif name == "no_content":
        message["content"] = None
    elif name == "refusal":
        message |= {"content": None, "refusal": "I'm sorry, I can't help with that."}
    elif name == "filtered":
        choice["finish_reason"], message["content"] = "content_filter", ""
    elif name == "wrong_model":
        reply["model"] += "-other"
    elif name == "no_usage":
        del reply["usage"]
    elif name in ("unicode", "huge"):
        more = ODD if name == "unicode" else LOTS
        if mode == "text":
            message["content"] = f"{more}\n{message['content']}"
        elif mode == "json" and choice["finish_reason"] == "stop":
            told = json.loads(message["content"])
            message["content"] = json.dumps({**told, "reason": more}, ensure_ascii=False)


async def broken(
    name: str, request: web.BaseRequest, body: bytes, seconds: float
) -> web.StreamResponse:
    """Sends this body as the fault does; only `drip` sends all of it, in so many seconds."""
    if name == "hang":
        await asyncio.Event().wait()
    if name == "html":
        return web.Response(body=HTML, content_type="text/html")
    if name == "truncated":
        return web.Response(body=body[: len(body) // 2], content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if name in CUT:
        if name == "reset_hard" and request.transport is not None:
            told = struct.pack("ii", 1, 0)  # the kernel sends RST
            link = request.transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, told)
    else:
        response.content_length = len(body)
        await response.prepare(request)
        if name == "drip":
            step = max(1, -(-len(body) // 20))
            for start in range(0, len(body), step):
                await asyncio.sleep(seconds / 20)
                await response.write(body[start : start + step])
            await response.write_eof()
            return response
        await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response

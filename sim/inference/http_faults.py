"""What went wrong with a call to a server, and what may be done about it."""

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

# "too_long" and the like in many servers' words
_LENGTH = re.compile(
    r"context_length|context length|context window|context size|maximum context|max_model_len"
    r"|prompt is too long|too many tokens|exceeds? the (available|model)",
    re.IGNORECASE,
)
_POLICY = re.compile(r"content_filter|content_policy|content policy|moderation|flagged", re.I)
_NO_MONEY = re.compile(r"insufficient_(quota|credits|balance|funds)|billing_", re.I)
BODY_LOST = "the reply broke off"


@dataclass
class Fault(Exception):
    """A call that brought no reply.

    Attributes:
        kind: rate_limit, timeout, connection, server; refused, context_length; authentication,
            quota, not_found, bad_request, wrong_model, dearer (than a call may be).
        told: in the server's words, or ours.
        paid: whether the server may have worked, and charged, for it.
        after: seconds after which the server wants to be asked again, if it says so.
    """

    kind: str
    told: str
    paid: bool = False
    after: float | None = None

    @property
    def transient(self) -> bool:
        """Whether the same call may go well later."""
        return self.kind in ("rate_limit", "timeout", "connection", "server")

    @property
    def fatal(self) -> bool:
        """Whether every further call would meet the same."""
        return self.kind in ("authentication", "quota", "not_found", "bad_request", "wrong_model")

    def __str__(self) -> str:
        return f"{self.kind}: {self.told}"


def of_status(status: int, body: Any, headers: Any) -> Fault:
    """The fault that a response other than success tells of.

    Args:
        status: HTTP's.
        body: JSON value of the response, or its text.
        headers: of the response; a mapping whose names are of any case.
    """
    told = f"HTTP {status}: {_words(body)}"
    if status == 429:
        # By its code only: what passes within a minute speaks of billing too.
        if _NO_MONEY.search(_codes(body, "code", "type")):
            return Fault("quota", told)
        return Fault("rate_limit", told, after=retry_after(headers))
    if status == 402:
        return Fault("quota", told)
    if status in (400, 403, 422) and _POLICY.search(_codes(body)):
        return Fault("refused", told, paid=True)
    if status in (401, 403):
        return Fault("authentication", told)
    if status == 404:
        return Fault("not_found", told)
    if status == 413 or (status in (400, 422, 500) and _LENGTH.search(_codes(body))):
        return Fault("context_length", told)
    if status in (408, 409, 425) or status >= 500:
        # A gateway that gave up does not know what went on behind it.
        behind = status in (408, 502, 504, 520, 522, 524)
        return Fault("server", told, paid=behind, after=retry_after(headers))
    return Fault("bad_request", told)


def of_exception(fault: BaseException) -> Fault:
    """The fault that a failed exchange tells of: `openai.APIConnectionError` or what lies below.

    The client wraps what aiohttp says, and names a connection that broke a time-out, so the
    innermost classes count.
    """
    last, names = fault, _classes(fault)
    while (inner := last.__cause__ or last.__context__) is not None:
        last = inner
        names |= _classes(last)
    told = f"{type(last).__name__}: {' '.join(str(last).split())}"
    # Only where no connection was made is it certain that nobody worked.
    if names & {"ClientConnectorError", "ConnectError", "gaierror", "ConnectionRefusedError"}:
        return Fault("connection", f"no connection: {told}")
    if names & {"ServerTimeoutError", "ReadTimeout"}:
        return Fault("timeout", told, paid=True)
    return Fault("connection", f"{BODY_LOST}: {told}", paid=True)


def _classes(fault: BaseException) -> set[str]:
    return {one.__name__ for one in type(fault).__mro__}


def malformed(why: str, content: bytes) -> Fault:
    """A success that holds no reply."""
    start = " ".join(content[:200].decode("utf-8", "replace").split())[:80]
    return Fault("server", f"{why}: {start!r}", paid=True)


def retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, or `retry-after` as number or date."""
    try:
        if (value := headers.get("retry-after-ms")) is not None:
            return max(float(value) / 1000, 0.0)
        if (value := headers.get("retry-after")) is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None  # not a time: as if it said nothing


def _error(body: Any) -> Any:
    """What a body says of an error: OpenAI's object, or whatever stands in its place."""
    if isinstance(body, list) and body:
        return _error(body[0])
    return _error(body["error"]) if isinstance(body, dict) and body.get("error") else body


def _codes(body: Any, *names: str) -> str:
    """All that may name the kind of an error, or what stands under some names."""
    error = _error(body)
    if not isinstance(error, dict):
        return "" if names else str(error)
    return " ".join(str(error.get(k)) for k in names or ("code", "type", "message", "metadata"))


def _words(body: Any) -> str:
    error = _error(body)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return " ".join(str(error).split())

"""What a server's JSON says: one reply, or a fault."""

import json
import re
from collections.abc import Sequence
from typing import Any

from sim.inference.base import Reply
from sim.inference.http_faults import Fault, malformed, of_status
from sim.inference.prices import Prices
from sim.inference.thinking import Thinking

# What may follow the name that was asked for: the date of a snapshot, a tag.
_SNAPSHOT = re.compile(r"[-@](\d{4}-\d\d-\d\d|\d{3,8})|:latest")
# How replies end: what servers say beside OpenAI's stop, length and content_filter.
_FAILED = {"error", "abort", "aborted", "cancelled", "failed", "insufficient_system_resource"}
_ENDS = {"max_tokens": "length", "model_length": "length"} | dict.fromkeys(
    ("safety", "recitation", "blocklist", "prohibited_content"), "content_filter"
)
MOST = 10**7  # tokens: a count beyond is none


def parse(content: bytes, kind: str) -> dict[str, Any]:
    """The JSON object of a response.

    Args:
        content: of the body.
        kind: its content type.

    Raises:
        Fault: it is none, or tells of an error although the status said success.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as fault:
        what = "a page of HTML" if "html" in kind or content[:1] == b"<" else "no JSON"
        raise malformed(f"the server sent {what}; is model.base_url right?", content) from fault
    if not isinstance(body, dict):
        raise malformed("the server sent no JSON object", content)
    if body.get("error") and not body.get("choices"):
        error = body["error"]
        code = error.get("code") if isinstance(error, dict) else None
        raise of_status(code if isinstance(code, int) and code >= 400 else 500, body, {})
    return body


def check_model(body: dict[str, Any], asked: str, served_as: Sequence[str] | None) -> str | None:
    """The name under which the server answered.

    Raises:
        Fault: it is that of another model.
    """
    name = body.get("model")
    if not isinstance(name, str) or not name:
        return None
    if name in (served_as or (asked,)):
        return name
    if not served_as:  # vendors' names may stand before either
        plain, found = asked.rpartition("/")[2].casefold(), name.rpartition("/")[2].casefold()
        rest = found.removeprefix(plain)
        if found == plain or (rest != found and _SNAPSHOT.fullmatch(rest)):
            return name
    raise Fault(
        "wrong_model",
        f"asked for {asked!r}, the server answered as {name!r}; if that is the same, say so: "
        f"model.served_as=[{name}]",
        paid=True,
    )


def reply_of(
    body: dict[str, Any],
    content: bytes,
    prices: Prices | None,
    thinking: Thinking | None,
    ids: Sequence[int] | None,
) -> Reply:
    """The one reply of a completion.

    Args:
        body: JSON value of `content`.
        content: what came.
        prices: of tokens, if known.
        thinking: marks of reasoning that the server leaves in the text.
        ids: of the labels' tokens, where these are scored.

    Raises:
        Fault: there is none, or more than one.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        n = len(choices) if isinstance(choices, list) else "no list of"
        raise malformed(f"a completion must have one choice, got {n}", content)
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise malformed("a choice must have a message, got none", content)
    text, reasoning = _parts(message.get("content"))
    told = message.get("reasoning_content") or message.get("reasoning")
    reasoning = told if isinstance(told, str) else reasoning
    finish = choice.get("finish_reason")
    finish = finish.lower() if isinstance(finish, str) else None
    if choice.get("error") or finish in _FAILED:
        raise malformed("the server broke the reply off", content)
    reply = Reply(text, reasoning or None, _ENDS.get(finish or "", finish))
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        reply.text, reply.finish_reason = refusal, "refusal"
    elif thinking is not None and reasoning is None:
        reply.text, reply.reasoning = thinking.split(text)
    _count(reply, body.get("usage"), prices)
    if ids is not None:
        reply.option_logprobs = _scores(choice, ids, content)
        reply.text, reply.finish_reason = "", "stop"  # the token drawn is thrown away
    return reply


def _parts(content: Any) -> tuple[str, str | None]:
    """(text, reasoning) of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content, None
    texts, thoughts = [], []
    for part in content if isinstance(content, list) else []:
        kind = part.get("type", "text") if isinstance(part, dict) else None
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("thinking", "reasoning"):
            thoughts.append(_parts(part.get(kind))[0] or str(part.get("text") or ""))
    return "".join(texts), "".join(thoughts) or None


def _count(reply: Reply, usage: Any, prices: Prices | None) -> None:
    """Sets the tokens and the cost that the server counted; what it did not stays unknown."""
    if not isinstance(usage, dict):
        return
    prompt, output = _count_of(usage, "prompt_tokens"), _count_of(usage, "completion_tokens")
    if prompt is None or output is None:
        return
    cached = _count_of(usage.get("prompt_tokens_details"), "cached_tokens")
    if cached is None:
        cached = _count_of(usage, "prompt_cache_hit_tokens")
    thought = _count_of(usage.get("completion_tokens_details"), "reasoning_tokens")
    # Some servers count reasoning beside the completion, which their total then shows.
    if thought and usage.get("total_tokens") == prompt + output + thought:
        output += thought
    reply.prompt_tokens, reply.output_tokens = prompt, output
    reply.cached_tokens = None if cached is None else min(cached, prompt)
    reply.reasoning_tokens = None if thought is None else min(thought, output)
    if prices is not None:
        found, thoughts = reply.cached_tokens or 0, reply.reasoning_tokens or 0
        reply.cost = prices.cost(prompt, found, output, thoughts)


def _count_of(where: Any, name: str) -> int | None:
    """A count of tokens that a server may have sent."""
    n = where.get(name) if isinstance(where, dict) else None
    return n if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MOST else None


def _scores(choice: dict[str, Any], ids: Sequence[int], content: bytes) -> list[float]:
    """Log-probabilities of the labels' tokens, which vLLM lists by id."""
    try:
        first = choice["logprobs"]["content"][0]
        found = {one["token"]: one["logprob"] for one in (*first["top_logprobs"], first)}
        scores = [found[f"token_id:{i}"] for i in ids]
    except (KeyError, IndexError, TypeError) as fault:
        raise malformed("the server scored not all labels", content) from fault
    if not all(type(score) in (int, float) and score <= 1e-3 for score in scores):
        raise malformed("log-probabilities must be numbers, 0 or less", content)
    return [float(score) for score in scores]

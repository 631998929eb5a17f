"""Response modes: what each demands of a reply, and how the reply is read.

`text` leaves the reply free; `choice`, `regex` and `json` let the engine write only what fits;
`label` writes nothing: the probabilities of the option names, behind a prefix put into the
reply's mouth, are the answer, and the runner draws from them. Label and text answers of one
model can disagree (arXiv 2402.14499), so the mode stands in every row.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from sim.reader import REFUSED, UNPARSED, Read, read_option

MODES = ("text", "choice", "regex", "json", "label")
PREFIX = "Answer:"  # what the model is made to have said where labels are scored
POLICY = ("content_filter", "refusal")  # how replies end that a provider refuses
REASON = 160  # most characters of a reason in regex and json mode


def regex(labels: Sequence[str]) -> str:
    """A reason in one line, then the answer's line."""
    names = "|".join(re.escape(label) for label in labels)
    return rf"[A-Za-z0-9 ,.;'-]{{1,{REASON}}}\n{PREFIX} ({names})"


def json_regex(labels: Sequence[str]) -> str:
    """A JSON object of a reason and an answer, as text.

    Engines differ in the blanks that they write between the parts of a JSON schema's object; a
    pattern is the same for all, and blanks stand where people and models put them.
    """
    names = "|".join(re.escape(label) for label in labels)
    reason = r'[^"\\\x00-\x1f\x7f]'
    return rf'\{{"reason": "{reason}{{1,{REASON}}}", "answer": "({names})"\}}'


def json_schema(labels: Sequence[str]) -> dict[str, Any]:
    """The same object as a JSON schema, for servers that take no pattern."""
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {"reason": text, "answer": text | {"enum": list(labels)}},
        "required": ["reason", "answer"],
        "additionalProperties": False,
    }


def answer(label: str) -> str:
    """The reply of a model whose label was drawn, as the conversation goes on with it."""
    return f"{PREFIX} {label}"


def read(mode: str, reply: str, labels: Sequence[str]) -> Read:
    """The option that a reply in this mode names; not for `label`, which says nothing."""
    if mode == "text":
        return read_option(reply, labels)
    named = None
    if mode == "choice":
        named = reply.strip()
    elif mode == "regex":
        match = re.fullmatch(regex(labels), reply.strip())
        named = match[1] if match else None
    elif mode == "json":
        try:
            # Engines let raw control characters into strings.
            found = json.loads(reply, strict=False)
        except (ValueError, RecursionError):
            found = None
        named = found.get("answer") if isinstance(found, dict) else None
    else:
        raise ValueError(f"mode must be text, choice, regex or json, got {mode!r}")
    if isinstance(named, str) and named in labels:
        return Read(list(labels).index(named), "ok")
    return UNPARSED


def verdict(mode: str, reply: str, finish_reason: str | None, labels: Sequence[str]) -> Read:
    """The option that a decision's reply names, in view of how the reply ended; as `read`."""
    if finish_reason in POLICY:
        return REFUSED
    if finish_reason == "length":
        return UNPARSED  # "I would take A if ..." may have been going on
    return read(mode, reply, labels)

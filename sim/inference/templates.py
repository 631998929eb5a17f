"""Chat templates: what a model's own Jinja text makes of a conversation."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import blake2b
from typing import Any, NamedTuple

from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sim.errors import Refusal

Messages = Sequence[Mapping[str, str]]

TODAY = "2026-01-01"  # for templates that tell the date: prompts must not change overnight
THOUGHT = "</think>"
QUESTION, REPLY, NEXT, SYSTEM = (  # private use: in no text
    f"\ue000{name}\ue001" for name in ("question", "reply", "next", "system")
)


class Pieces(NamedTuple):
    """The texts around what is said, where each prompt begins with the one before.

    Attributes:
        opening: before, between and behind system message, if there is one, and first question.
        close: between a reply and the next question.
        ready: behind a further question, up to its reply.
    """

    opening: tuple[str, ...]
    close: str
    ready: str


class Template:
    """A chat template, run in a sandbox.

    Args:
        name: of the model, for messages.
        text: Jinja.
        variables: further variables: special tokens, switches such as `enable_thinking`; `today`
            (YYYY-MM-DD) is the date that it may tell.

    Attributes:
        hash: of all that it depends on.
        header: what the model itself writes between a prompt and its reply's first word: nothing,
            or marks of a channel or of thoughts.
        strips: whether it leaves out the thoughts of earlier replies.

    Raises:
        Refusal: it cannot render a question.
    """

    def __init__(self, name: str, text: str, variables: Mapping[str, Any]):
        self._name = name
        self._variables = {"today": TODAY, "tools": None, "documents": None} | dict(variables)
        told = json.dumps([text, self._variables], sort_keys=True, default=str)
        self.hash = blake2b(told.encode(), digest_size=8).hexdigest()
        try:
            today = date.fromisoformat(str(self._variables.pop("today")))
        except ValueError as fault:
            raise Refusal(f"template_arguments.today must be a date: {fault}") from fault
        # The environment of transformers, so that templates find what they were written for.
        jinja = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        jinja.filters["tojson"] = _tojson
        jinja.globals["raise_exception"] = _raise
        jinja.globals["strftime_now"] = today.strftime
        try:
            self._template = jinja.from_string(text)
            asked = self.render([_says("user", QUESTION)])
        except TemplateError as fault:
            raise Refusal(f"the chat template of {name} cannot be used: {fault}") from fault
        self.header = self._header(asked)
        self.strips = self._strips()

    def render(self, messages: Messages, reply_next: bool = True) -> str:
        """The conversation as text, ready for the model's reply if `reply_next`.

        Raises:
            TemplateError: the template cannot render it.
        """
        try:
            return self._template.render(
                messages=list(messages), add_generation_prompt=reply_next, **self._variables
            )
        except TemplateError:
            raise
        except Exception as fault:  # foreign code: whatever it trips over
            raise TemplateError(f"{type(fault).__name__}: {fault}") from fault

    def pieces(self, system: bool) -> Pieces | None:
        """For conversations with or without a system message; None where prompts do not grow.

        Found by rendering conversations of marks; a template that trims, moves or drops what was
        said gives something else than its pieces.
        """
        talk = [_says("system", SYSTEM)] if system else []
        talk += [_says("user", QUESTION)]
        exchange = [_says("assistant", REPLY), _says("user", NEXT)]
        blanks = [_says(role, " a \n") for role in ("user", "assistant", "user")]
        try:
            first, second = self.render(talk), self.render(talk + exchange)
            third = self.render(talk + exchange + exchange)
            keeps_blanks = self.render(blanks).count(" a \n") == 3
        except TemplateError:
            return None
        opening = _split(first, (SYSTEM, QUESTION) if system else (QUESTION,))
        between = _split(second.removeprefix(first + REPLY), (NEXT,))
        if opening is None or between is None or not second.startswith(first + REPLY):
            return None
        close, ready = between
        if third != second + REPLY + close + NEXT + ready or not keeps_blanks:
            return None
        return Pieces(opening, close, ready)

    def _header(self, asked: str) -> str:
        try:
            said = self.render([_says("user", QUESTION), _says("assistant", REPLY)], False)
        except TemplateError:
            return ""
        before, found, _ = said.partition(REPLY)
        return before.removeprefix(asked) if found and before.startswith(asked) else ""

    def _strips(self) -> bool:
        thought = f"<think>\nx\n{THOUGHT}\n\n{REPLY}"
        talk = [_says("user", QUESTION), _says("assistant", thought), _says("user", NEXT)]
        try:
            return thought not in self.render(talk)
        except TemplateError:
            return True


class _Generation(Extension):
    """`{% generation %}` marks replies for training; what is in it is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's interface)

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _says(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _raise(message: str) -> None:
    raise TemplateError(message)


def _tojson(x: Any, ensure_ascii: bool = False, **how: Any) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, **how)


def _split(text: str, marks: Sequence[str]) -> tuple[str, ...] | None:
    """The texts around the marks, each of which must stand in the text once, in this order."""
    parts = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        before, text = text.split(mark)
        parts.append(before)
    return (*parts, text)

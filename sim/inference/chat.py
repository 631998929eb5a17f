"""Conversations as token ids: a model's chat template and tokenizer, append-only.

A prompt is the previous prompt, the reply as text, and what is new, so engines find a shared
prefix in their caches and nothing is rendered or encoded twice. Where a template rewrites
earlier turns (some drop old reasoning) that is not so: then every prompt is rendered whole, as
the template says.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agents.base import Message
from sim.errors import Refusal
from sim.inference.modes import PREFIX

Ids = NDArray[np.int32]
Messages = Sequence[Mapping[str, str]]

MARKS = ("\ue000first\ue001", "\ue000second\ue001", "\ue000third\ue001")  # private use: no text


class Chat:
    """Renders and encodes conversations as the model was trained to read them.

    Args:
        name: of the model, for messages.
        tokenizer: of the model.
        template: Jinja text of the chat template; run in a sandbox.
        variables: further variables of the template: special tokens, switches such as
            `enable_thinking`.
        stop_ids: tokens that end a reply.

    Raises:
        Refusal: the template cannot render a question.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        template: str,
        variables: Mapping[str, Any],
        stop_ids: Sequence[int],
    ):
        self.name, self.tokenizer, self.stop_ids = name, tokenizer, tuple(stop_ids)
        self._variables = dict(variables)
        told = json.dumps([template, self._variables], sort_keys=True, default=str)
        self.hash = blake2b(told.encode(), digest_size=8).hexdigest()
        jinja = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        jinja.filters["tojson"] = lambda x, **how: json.dumps(x, ensure_ascii=False, **how)
        jinja.globals["raise_exception"] = _raise
        # No `strftime_now`: templates that ask for it have a fixed date without it.
        try:
            self._template = jinja.from_string(template)
            self.render([{"role": "user", "content": "Hello"}])
        except TemplateError as fault:
            raise Refusal(f"the chat template of {name} cannot be used: {fault}") from fault
        self._encode = lru_cache(maxsize=16384)(self._encode_now)
        self._frames = {system: self._frame(system) for system in (False, True)}
        self.append_only = self._later is not None

    @classmethod
    def load(
        cls, name: str, folder: Path, template: str | None, arguments: Mapping[str, Any]
    ) -> "Chat":
        """Of a model directory in the Hugging Face layout.

        Args:
            name: of the model, for messages.
            folder: with `tokenizer.json`, `tokenizer_config.json` and a chat template.
            template: path of a Jinja file, instead of the model's own.
            arguments: switches of the template.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise Refusal(f"a model needs a tokenizer (tokenizer.json), {name} has none")
        tokenizer = Tokenizer.from_file(str(path))
        config = _json(folder / "tokenizer_config.json")
        specials = {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in config.items()
            if key.endswith("_token") and isinstance(value, dict | str)
        }
        text = _template_text(name, folder, config, template)
        ends = {specials.get("eos_token")}
        ids = [tokenizer.token_to_id(token) for token in ends if token]
        for file in ("config.json", "generation_config.json"):
            found = _json(folder / file).get("eos_token_id")
            ids += found if isinstance(found, list) else [found]
        stops = sorted({i for i in ids if isinstance(i, int)})
        if not stops:
            raise Refusal(
                f"a model needs a token that ends its replies (eos_token), {name} has none"
            )
        return cls(name, tokenizer, text, specials | dict(arguments), stops)

    def render(self, messages: Messages, reply_next: bool = True) -> str:
        """The conversation as text, ready for the model's reply if `reply_next`."""
        return self._template.render(
            messages=list(messages), add_generation_prompt=reply_next, **self._variables
        )

    def encode(self, text: str) -> Ids:
        """Token ids of a text, without anything added; do not write to the array."""
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def prompt(self, message: Message) -> Ids:
        """Token ids of the conversation up to and with `message`, ready for the reply."""
        if message.state is None:
            message.state = self._extend(message)
            message.state.setflags(write=False)
        return message.state

    def labels(self, labels: Sequence[str]) -> tuple[Ids, list[int]]:
        """Ids of the prefix put into the model's mouth, and of the one token of each label.

        Raises:
            Refusal: a label is not exactly one token there.
        """
        prefix = self.encode(PREFIX)
        ids = []
        for label in labels:
            whole = self.encode(f"{PREFIX} {label}")
            if len(whole) != len(prefix) + 1 or not np.array_equal(whole[:-1], prefix):
                raise Refusal(
                    f"label mode needs options that are one token each behind {PREFIX!r}, "
                    f"{label!r} is {len(whole) - len(prefix)} in {self.name}"
                )
            ids.append(int(whole[-1]))
        if len(set(ids)) < len(ids):
            raise Refusal(f"label mode needs different tokens for {list(labels)} in {self.name}")
        return prefix, ids

    # -- append-only pieces -----------------------------------------------------------------

    def _encode_now(self, text: str) -> Ids:
        ids = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        ids.setflags(write=False)
        return ids

    def _frame(self, system: bool) -> tuple[str, ...] | None:
        """Texts around system message and question of an opening; sets `_later` on the way."""
        opening = [{"role": "user", "content": MARKS[0]}]
        if system:
            opening.insert(0, {"role": "system", "content": MARKS[2]})
        marks = (MARKS[2], MARKS[0]) if system else (MARKS[0],)
        later = [
            {"role": "assistant", "content": MARKS[1]},
            {"role": "user", "content": MARKS[2] if not system else "more"},
        ]
        if not system:
            self._later: tuple[str, str] | None = None
        try:
            text = self.render(opening)
            whole = self.render(opening + later)
            # One more exchange: whatever is special about the last turn shows.
            more = [*opening, *later, *later[:1], {"role": "user", "content": "again"}]
            longer = self.render(more)
        except TemplateError:
            return None  # no system role, say: a prompt with one is refused when it comes
        parts = _split(text, marks)
        if parts is None or not whole.startswith(text + MARKS[1]):
            return None
        if system:
            after = self._later and f"{MARKS[1]}{self._later[0]}more{self._later[1]}"
            return parts if whole == f"{text}{after}" else None
        between = _split(whole[len(text) + len(MARKS[1]) :], (MARKS[2],))
        if between is None:
            return None
        again = f"{MARKS[1]}{between[0]}again{between[1]}"
        if longer != whole + again or not self._keeps_blanks():
            return None
        self._later = (between[0], between[1])
        return parts

    def _keeps_blanks(self) -> bool:
        """Whether the template leaves the blanks around a text alone; some trim it."""
        text = " a \n"
        rendered = self.render(
            [{"role": role, "content": text} for role in ("user", "assistant", "user")]
        )
        return rendered.count(text) == 3

    def _extend(self, message: Message) -> Ids:
        before = message.parent
        if self._later is not None and message.role == "user":
            if before is not None and before.role == "assistant" and before.parent is not None:
                asked = before.parent
                close, ready = self._later
                new = self.encode(f"{close}{message.content}{ready}")
                return np.concatenate([self.prompt(asked), self.encode(before.content), new])
            frame = self._frames[before is not None]
            if before is None and frame is not None:
                return self.encode(f"{frame[0]}{message.content}{frame[1]}").copy()
            if before is not None and before.role == "system" and before.parent is None and frame:
                text = f"{frame[0]}{before.content}{frame[1]}{message.content}{frame[2]}"
                return self.encode(text).copy()
        history = [{"role": m.role, "content": m.content} for m in message.history()]
        try:
            return self._encode_now(self.render(history)).copy()
        except TemplateError as fault:
            raise Refusal(
                f"the chat template of {self.name} cannot render "
                f"{' '.join(m['role'] for m in history)}: {fault}"
            ) from fault


def _raise(message: str) -> None:
    raise TemplateError(message)


def _split(text: str, marks: Sequence[str]) -> tuple[str, ...] | None:
    """The texts around the marks, each of which must stand in the text once, in this order."""
    parts = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        before, text = text.split(mark)
        parts.append(before)
    return (*parts, text)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise Refusal(f"{path} cannot be read: {fault}") from fault
    return found if isinstance(found, dict) else {}


def _template_text(name: str, folder: Path, config: Mapping[str, Any], given: str | None) -> str:
    if given is not None:
        try:
            return Path(given).read_text(encoding="utf-8")
        except OSError as fault:
            raise Refusal(f"chat_template {given} cannot be read: {fault.strerror}") from fault
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several by name
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    if not isinstance(found, str):
        raise Refusal(
            f"a model needs a chat template, {name} has none; give one with "
            f"model.chat_template=FILE"
        )
    return found

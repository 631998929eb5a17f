"""Conversations as token ids: a model's chat template and tokenizer, append-only.

A prompt is the previous prompt, the reply as text, and what is new, so engines find a shared
prefix in their caches and nothing is rendered or encoded twice. Where a template rewrites
earlier turns (some drop old reasoning, some move the system message) that is not so: then every
prompt is rendered whole, as the template says.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agents.base import Message
from sim.errors import Refusal
from sim.inference.modes import PREFIX
from sim.inference.templates import THOUGHT, Messages, Pieces, Template

Ids = NDArray[np.int32]


class Chat:
    """Renders and encodes conversations as the model was trained to read them.

    Args:
        name: of the model, for messages.
        tokenizer: of the model.
        template: Jinja text of the chat template; run in a sandbox.
        variables: further variables of the template, see `Template`.
        stop_ids: tokens that end a reply.

    Attributes:
        hash: of the template, its variables, the tokenizer and the tokens that end a reply.
        header: what the model itself writes before its reply, see `Template`.
        append_only: whether a prompt of a conversation begins with the one before.

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
        # Settings of a training, saved with the tokenizer: they would cut or fill up prompts.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.name, self.tokenizer, self.stop_ids = name, tokenizer, tuple(stop_ids)
        self._template = Template(name, template, variables)
        self.header = self._template.header
        told = f"{self._template.hash}\0{tokenizer.to_str()}\0{self.stop_ids}"
        self.hash = sha256(told.encode()).hexdigest()
        self._encode = lru_cache(maxsize=16384)(self._encode_now)
        self._pieces = {system: self._fitting(system) for system in (False, True)}
        self.append_only = self._pieces[False] is not None
        self._prefix = self._behind_a_question(PREFIX)
        self._labels: dict[tuple[str, ...], list[int]] = {}

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
        return self._template.render(messages, reply_next)

    def encode(self, text: str) -> Ids:
        """Token ids of a text, without anything added; do not write to the array."""
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def prompt(self, message: Message) -> Ids:
        """Token ids of the conversation up to and with `message`, ready for the reply."""
        if message.state is None:
            message.state = self._prompt(message.history())
            message.state.setflags(write=False)
        return message.state

    def labels(self, labels: Sequence[str]) -> tuple[Ids, list[int]]:
        """Ids of the prefix put into the model's mouth, and of the one token of each label.

        Raises:
            Refusal: a label is not exactly one token there.
        """
        if (known := self._labels.get(tuple(labels))) is not None:
            return self._prefix, known
        prefix, ids = self._prefix, []
        for label in labels:
            whole = self._behind_a_question(f"{PREFIX} {label}")
            if len(whole) != len(prefix) + 1 or not np.array_equal(whole[:-1], prefix):
                raise Refusal(
                    f"label mode needs options that are one token each behind {PREFIX!r}, "
                    f"{label!r} is {len(whole) - len(prefix)} in {self.name}"
                )
            ids.append(int(whole[-1]))
        if len(set(ids)) < len(ids):
            raise Refusal(f"label mode needs different tokens for {list(labels)} in {self.name}")
        self._labels[tuple(labels)] = ids
        return prefix, ids

    # -- prompts ----------------------------------------------------------------------------

    def _encode_now(self, text: str) -> Ids:
        ids = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        ids.setflags(write=False)
        return ids

    def _behind_a_question(self, text: str) -> Ids:
        """Ids of a text that stands behind a prompt.

        Some tokenizers put a blank before a text that is encoded by itself.
        """
        asked = self.render([{"role": "user", "content": "Hello"}])
        before, whole = self.encode(asked), self.encode(asked + text)
        if np.array_equal(whole[: len(before)], before):
            return whole[len(before) :]
        return self.encode(text)

    def _fitting(self, system: bool) -> Pieces | None:
        """The template's pieces where their tokens, one after another, read as the whole."""
        pieces = self._template.pieces(system)
        if pieces is None:
            return None
        said = ["Be kind.", "Which one?"] if system else ["Which one?"]
        first = _joined(pieces.opening, said)
        later = f"{pieces.close}And now?{pieces.ready}"
        ids = [i for text in (first, "Answer: B", later) for i in self.encode(text).tolist()]
        whole = self.encode(f"{first}Answer: B{later}").tolist()
        decode = self.tokenizer.decode
        same = decode(ids, skip_special_tokens=False) == decode(whole, skip_special_tokens=False)
        return pieces if same else None

    def _prompt(self, talk: Sequence[Message]) -> Ids:
        """Token ids of a whole conversation, from those of an earlier prompt where there are."""
        system = talk[0].role == "system"
        pieces, turns = self._pieces[system], talk[system:]
        roles = ["assistant" if k % 2 else "user" for k in range(len(turns))]
        if pieces is None or len(turns) % 2 == 0 or [m.role for m in turns] != roles:
            return self._whole(talk)
        if self._template.strips and any(THOUGHT in m.content for m in turns[1::2]):
            return self._whole(talk)
        known = next((k for k in range(len(turns) - 3, -1, -2) if turns[k].state is not None), None)
        if known is None:
            known, said = 0, [m.content for m in talk[: system + 1]]
            parts = [self.encode(_joined(pieces.opening, said))]
        else:
            parts = [turns[known].state]
        for k in range(known + 1, len(turns), 2):
            parts.append(self.encode(turns[k].content))
            parts.append(self.encode(f"{pieces.close}{turns[k + 1].content}{pieces.ready}"))
        return np.concatenate(parts)

    def _whole(self, talk: Sequence[Message]) -> Ids:
        try:
            text = self.render([{"role": m.role, "content": m.content} for m in talk])
        except TemplateError as fault:
            raise Refusal(
                f"the chat template of {self.name} cannot render "
                f"{' '.join(m.role for m in talk)}: {fault}"
            ) from fault
        return self._encode_now(text).copy()


def _joined(frame: Sequence[str], said: Sequence[str]) -> str:
    """The texts of a frame with what is said between them."""
    return "".join(a + b for a, b in zip(frame, [*said, ""], strict=True))


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

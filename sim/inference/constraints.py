"""Replies that can only be of one form: which tokens may come next, from llguidance."""

import json
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sim.errors import Refusal
from sim.inference import modes


class Constraints:
    """Makes one matcher per reply.

    Args:
        tokenizer: of the model.
        stop_ids: tokens that end a reply.
        vocabulary: numbers of logits, at least the tokenizer's tokens.
    """

    def __init__(self, tokenizer: Tokenizer, stop_ids: Sequence[int], vocabulary: int):
        self._tokenizer, self._stop_ids = tokenizer, list(stop_ids)
        self._vocabulary = vocabulary
        self._grammar = lru_cache(maxsize=256)(self._grammar_of)

    def matcher(self, mode: str, labels: Sequence[str]) -> "Reply":
        """For one reply in mode choice, regex or json."""
        return Reply(self._grammar(mode, tuple(labels)).deep_copy(), self._vocabulary)

    @cached_property
    def _known(self):
        from llguidance import LLTokenizer

        text = self._tokenizer.to_str()
        return LLTokenizer(text, n_vocab=self._vocabulary, eos_token=self._stop_ids)

    def _grammar_of(self, mode: str, labels: tuple[str, ...]):
        from llguidance import LLMatcher

        if mode == "json":
            grammar = LLMatcher.grammar_from_regex(modes.json_regex(labels))
        elif mode == "regex":
            grammar = LLMatcher.grammar_from_regex(modes.regex(labels))
        elif mode == "choice":
            names = " | ".join(json.dumps(label) for label in labels)
            grammar = LLMatcher.grammar_from_lark(f"start: {names}")
        else:
            raise ValueError(f"mode must be choice, regex or json, got {mode!r}")
        matcher = LLMatcher(self._known, grammar)
        if matcher.is_error():
            raise Refusal(f"{mode} mode cannot hold {list(labels)}: {matcher.get_error()}")
        return matcher


class Reply:
    """Follows one reply, token by token."""

    def __init__(self, matcher, vocabulary: int):
        self._matcher, self._vocabulary = matcher, vocabulary

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next, shape (vocabulary,)."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool)

    def take(self, token: int) -> bool:
        """Goes on by a token; True when nothing can follow."""
        if not self._matcher.consume_token(token):
            raise RuntimeError(f"token {token} was not allowed: {self._matcher.get_error()}")
        return self._matcher.is_stopped()

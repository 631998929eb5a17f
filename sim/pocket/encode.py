"""The pocket model's tokenizer: digits and single capitals apart, other text in long pieces."""

import json
import random
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from sim.pocket.text import Exchange

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, END = 0, 1
# A digit, a capital by itself (an option's letter), each with the blank before it, a colon and
# line ends are pieces of their own. So "Answer:" has the same tokens whatever follows, and a
# reply that an engine forces up to its label keeps to the tokens of the training.
# Words for persons are too: whose payoff is whose has to be read in wordings never seen.
PIECES = (
    r" ?\d|\n+|:| ?\b[A-Z]\b"
    r"| ?\b(?:you|your|yours|yourself|me|my|mine|myself|self|others?|them|they|theirs?|him|his|her"
    r"|he|she|person|player|participant|partner|counterpart|opponent|recipient|stranger|party"
    r"|someone|somebody)\b"
)
LONGEST = 28  # characters of a token
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE of `size` tokens; the same texts give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), max_token_length=LONGEST,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer and chat template in the Hugging Face layout."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": SPECIAL[PAD],
        "eos_token": SPECIAL[END],
        "model_max_length": 4096,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def load(folder: Path) -> Tokenizer:
    """The tokenizer that was saved."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


class Encoder:
    """Token ids of texts, piece by piece from memory: many pieces come again and again.

    Args:
        tokenizer: of the model.
        torn: probability that a text is cut behind any of its characters, so that the model
            learns to read words in parts too, as it will meet unknown ones.
    """

    def __init__(self, tokenizer: Tokenizer, torn: float = 0.0):
        self._tokenizer, self._torn = tokenizer, torn
        self._split = re.compile(rf"({PIECES})")
        self._piece = lru_cache(maxsize=200_000)(self._encode)

    def _encode(self, piece: str, variant: int) -> tuple[int, ...]:
        parts = [piece]
        if self._torn:
            # Cut by our own lots: those of the tokenizers library cannot be seeded.
            lots = random.Random(f"{variant}\0{piece}")
            cuts = [k for k in range(1, len(piece)) if lots.random() < self._torn]
            ends = zip([0, *cuts], [*cuts, len(piece)], strict=True)
            parts = [piece[a:b] for a, b in ends]
        encode = self._tokenizer.encode
        return tuple(i for part in parts for i in encode(part, add_special_tokens=False).ids)

    def __call__(self, text: str, variant: int = 0) -> list[int]:
        """Ids of a text without special tokens."""
        ids: list[int] = []
        for piece in self._split.split(text):
            if piece:
                ids += self._piece(piece, variant)
        return ids


def texts_of(exchanges: Iterable[Exchange]) -> Iterable[str]:
    """All that is said in a conversation."""
    for exchange in exchanges:
        yield from (content for _, content in exchange.said)
        yield "".join(exchange.reply)

"""Conversations as batches of token ids with what is to be learnt at which place."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sim.pocket.encode import END, PAD, SPECIAL, Encoder
from sim.pocket.text import LABELS, Exchange, Writer

WORD = 0.5  # weight of a token of a reply beside that of an answer's label
ROW = 512  # tokens of a row, filled with whole conversations
LONG = 1536  # tokens of the rows that now and then hold long ones
UNASKED = 1 / 32  # share of short conversations that go to the long rows too
ROLE = {name: SPECIAL.index(f"<|{name}|>") for name in ("system", "user", "assistant")}


@dataclass
class Encoded:
    """One conversation.

    Attributes:
        ids: (T,).
        words: places of tokens that are to be foretold from the one before.
        answers: (place, ids of the labels, probability of each) of answers' labels.
        lines: (place, own, other) of the ends of options' lines.
        choices: what each answer means, in order.
    """

    ids: list[int]
    words: list[int]
    answers: list[tuple[int, list[int], NDArray[np.float64]]]
    lines: list[tuple[int, int, int]]
    choices: list[Exchange]


@dataclass
class Batch:
    """Arrays of a batch; `flat` places index the (B * T) tokens."""

    ids: NDArray[np.int64]  # (B, T)
    positions: NDArray[np.int64]  # (B, T), each conversation from 0
    whose: NDArray[np.int64]  # (B, T), number of the conversation in its row; -1 for padding
    words: NDArray[np.int64]  # (N,) flat places before the tokens to be foretold
    targets: NDArray[np.int64]  # (N,) those tokens
    answers: NDArray[np.int64]  # (M,) flat places before answers' labels
    labels: NDArray[np.int64]  # (M, 9) token ids, padded with 0
    wanted: NDArray[np.float32]  # (M, 9) probabilities, padded with 0
    lines: NDArray[np.int64]  # (L,) flat places of the ends of options' lines
    payoffs: NDArray[np.float32]  # (L, 2)
    paying: NDArray[np.int64]  # (K,) which of the M answers are about points
    found: NDArray[np.float32]  # (K, 2) what their wanted options pay, on average
    choices: list[Exchange]  # of the M answers


def encode(
    exchanges: list[Exchange], encoder: Encoder, torn: Encoder | None = None, variant: int = 0
) -> Encoded:
    """Token ids of a conversation as the chat template lays it out.

    Args:
        exchanges: the conversation.
        encoder: of the replies, and of what is said to the model.
        torn: of what is said to the model, in place of that.
        variant: of the tearing.
    """
    read = partial(torn, variant=variant) if torn is not None else encoder
    done = Encoded([], [], [], [], [])
    ids = done.ids
    for exchange in exchanges:
        options = exchange.choice.payoffs if exchange.choice else None
        for role, content in exchange.said:
            ids.append(ROLE[role])
            k = 0
            for number, line in enumerate(content.split("\n\n")):
                if number:
                    ids += read("\n\n")
                for n, part in enumerate(line.split("\n")):
                    if n:
                        ids += read("\n")
                    ids += read(part)
                    named = options is not None and role == "user" and k < len(options)
                    if named and part.startswith(f"{LABELS[k]}: "):
                        own, other = options[k].tolist()  # type: ignore[index]
                        done.lines.append((len(ids) - 1, own, other))
                        k += 1
            ids.append(END)
        ids.append(ROLE["assistant"])
        before, label, after = exchange.reply
        start = len(ids)
        ids += encoder(before)
        if not exchange.silent:
            done.words += range(start, len(ids))
        if exchange.choice is not None:
            blank = label[:-1]
            tokens = [encoder(blank + name)[0] for name in exchange.choice.labels]
            done.answers.append((len(ids), tokens, exchange.choice.wanted))
            done.choices.append(exchange)
            ids.append(tokens[exchange.choice.labels.index(label[-1])])
        start = len(ids)
        ids += encoder(after)
        ids.append(END)
        done.words += range(start, len(ids))
    return done


def pack(rows: list[list[Encoded]], length: int) -> Batch:
    """A batch of rows of `length` tokens, each filled with conversations."""
    ids = np.full((len(rows), length), PAD, np.int64)
    positions, whose = np.zeros_like(ids), np.full_like(ids, -1)
    words, targets, answers, labels, wanted, lines, payoffs = ([] for _ in range(7))
    choices: list[Exchange] = []
    for row, conversations in enumerate(rows):
        start = 0
        for number, c in enumerate(conversations):
            stop = start + len(c.ids)
            ids[row, start:stop] = c.ids
            positions[row, start:stop] = np.arange(len(c.ids))
            whose[row, start:stop] = number
            at = row * length + start
            words += [at + k - 1 for k in c.words]
            targets += [c.ids[k] for k in c.words]
            for place, tokens, share in c.answers:
                answers.append(at + place - 1)
                labels.append(tokens + [0] * (9 - len(tokens)))
                wanted.append([*share, *[0] * (9 - len(tokens))])
            lines += [at + place for place, _, _ in c.lines]
            payoffs += [(own, other) for _, own, other in c.lines]
            choices += c.choices
            start = stop
    paying, found = [], []
    for number, exchange in enumerate(choices):
        choice = exchange.choice
        if choice is not None and choice.payoffs is not None:
            paying.append(number)
            found.append(choice.wanted @ choice.payoffs)
    return Batch(
        ids, positions, whose, np.array(words, np.int64), np.array(targets, np.int64),
        np.array(answers, np.int64), np.array(labels, np.int64).reshape(-1, 9),
        np.array(wanted, np.float32).reshape(-1, 9), np.array(lines, np.int64),
        np.array(payoffs, np.float32).reshape(-1, 2), np.array(paying, np.int64),
        np.array(found, np.float32).reshape(-1, 2), choices,
    )  # fmt: skip


class Rows:
    """Conversations as they come, put into rows that have room for them.

    Args:
        length: tokens of a row.
        count: rows of a batch.
    """

    def __init__(self, length: int, count: int):
        self.length, self.count = length, count
        self._rows: list[list[Encoded]] = []
        self._left: list[int] = []

    def put(self, conversation: Encoded) -> Batch | None:
        """Takes a conversation; returns a batch once nothing more fits in easily."""
        need = len(conversation.ids)
        for k, left in enumerate(self._left):
            if need <= left:
                self._rows[k].append(conversation)
                self._left[k] -= need
                return None
        self._rows.append([conversation])
        self._left.append(self.length - need)
        if len(self._rows) <= self.count:
            return None
        batch = pack(self._rows[:-1], self.length)
        self._rows, self._left = self._rows[-1:], self._left[-1:]
        return batch


def stream(
    writer: Writer, encoder: Encoder, torn: Encoder | None, seed: int, tokens: int
) -> Iterator[Batch]:
    """Batches without end; conversation k is a function of `seed`, k and the writer's settings.

    Args:
        writer: of the conversations.
        encoder: of the texts.
        torn: in a third of the conversations, of what is said to the model.
        seed: of the text.
        tokens: of a batch.
    """
    short, long = Rows(ROW, tokens // ROW), Rows(LONG, tokens // LONG)
    k = 0
    while True:
        rng = np.random.default_rng([seed, k])
        k += 1
        exchanges = writer.conversation(rng)
        tears = torn if rng.random() < 1 / 3 else None
        encoded = encode(exchanges, encoder, tears, int(rng.integers(8)))
        if len(encoded.ids) > LONG:
            continue
        lengthy = len(encoded.ids) > ROW or rng.random() < UNASKED
        batch = (long if lengthy else short).put(encoded)
        if batch is not None:
            yield batch

"""The conversations of a run: what is said, what comes back, how it is read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.base import Member, Message, Seat, Turn
from envs.base import Keys, Words, key, uniform
from sim.inference import modes
from sim.inference.asking import Asking
from sim.inference.base import Reply, Request, Slot
from sim.records import STATUSES, hexes

OK, REPAIRED, UNPARSED, ERROR = (
    STATUSES.index(status) for status in ("ok", "repaired", "unparsed", "error")
)

Rows = NDArray[np.int64]


class Heard(NamedTuple):
    """What a batch of replies led to."""

    again: Rows  # whose agents must act again
    settled: Rows
    action: NDArray[np.int16]  # of the settled ones: canonical option, -1 if none was named
    status: NDArray[np.int8]  # numbers of `STATUSES`


class Talk:
    """Conversations of the rows that speak; a row is slot * seats + seat.

    Args:
        asking: the journalled backend.
        room: slots.
        n_seats: of the game.
        request_key: stream of the requests' seeds.
        n_reasks: how often a decision that cannot be read is asked again, at most.
        response_mode: of decisions.
        keep_log: whether turns are kept for `take_log`.
    """

    def __init__(
        self,
        asking: Asking,
        room: int,
        n_seats: int,
        request_key: Keys,
        n_reasks: int,
        response_mode: str,
        keep_log: bool,
    ):
        self._asking, self._room, self._n_seats = asking, room, n_seats
        self._key, self._n_reasks, self._mode = request_key, n_reasks, response_mode
        self._keep_log = keep_log
        self.prompt_tokens = self.output_tokens = 0
        n = room * n_seats
        self.broken = np.zeros(n, bool)  # a call failed before the first question
        self._seat: list[Seat | None] = [None] * n
        self._player = np.zeros(n, np.int64)
        self._words: list[Words | None] = [None] * n
        self._turn: list[Turn | None] = [None] * n
        self._address = np.zeros((n, 5), np.int64)  # see `Slot`
        self._last: list[tuple[Request, Reply] | None] = [None] * n  # whose reply was read
        self._tokens = np.zeros((n, 2), np.int64)  # prompt, output; of decide and reask turns
        self._counted = np.ones(n, bool)  # whether every one of those turns was counted
        self._log: list[tuple[int, str, Request, Reply]] = []  # player, kind of turn

    @property
    def cost(self) -> int:
        """Of the run's calls so far, picos."""
        return self._asking.cost

    def notice(self) -> str:
        """What somebody who watches the run should know just now."""
        return self._asking.notice()

    def begin(
        self, rows: Rows, episodes: Rows, players: Rows, members: list[Member], preview: str
    ) -> None:
        """Sits members down at rows, each at the start of a conversation."""
        self._player[rows], self.broken[rows] = players, False
        self._address[rows, 0], self._address[rows, 1] = episodes, rows % self._n_seats
        for row, member in zip(rows.tolist(), members, strict=True):
            self._seat[row] = Seat(member, preview)

    def open(self, rows: Rows, steps: Rows) -> None:
        """Begins a choice at each row."""
        self._address[rows, 2], self._address[rows, 3] = steps, -1
        self._tokens[rows], self._counted[rows] = 0, True
        for row in rows.tolist():
            self._words[row] = self._turn[row] = self._last[row] = None

    def end(self, rows: Rows) -> None:
        """Forgets the conversations."""
        for row in rows.tolist():
            self._seat[row] = None

    def unworded(self, rows: Rows) -> list[int]:
        """Which of the rows, by position, have no words yet for their choice."""
        return [i for i, row in enumerate(rows.tolist()) if self._words[row] is None]

    def word(self, rows: Rows, words: Sequence[Words]) -> None:
        """Keeps the words of the rows' choices."""
        for row, worded in zip(rows.tolist(), words, strict=True):
            self._words[row] = worded

    def at(self, rows: Rows) -> tuple[list[Seat], list[Words]]:
        """Conversations and words of the rows."""
        seats: list[Any] = [self._seat[row] for row in rows.tolist()]
        words: list[Any] = [self._words[row] for row in rows.tolist()]
        return seats, words

    def say(self, rows: Rows, turns: list[Turn]) -> None:
        """Asks one new turn of each row."""
        self._address[rows, 3] += 1
        self._address[rows, 4] = 0
        for row, turn in zip(rows.tolist(), turns, strict=True):
            self._turn[row] = turn
        seats, _ = self.at(rows)
        self._ask(rows, turns, [seat.tip for seat in seats])

    def _ask(self, rows: Rows, turns: Sequence[Turn], after: Sequence[Message | None]) -> None:
        address = self._address[rows]
        seeds = (key(self._key, *address.T) >> np.uint64(1)).tolist()  # 63 bits
        requests = []
        models = [seat.member.model for seat in self.at(rows)[0]]
        greedy = {model: self._asking.greedy(model) for model in set(models)}
        for turn, message, seed, slot, model in zip(
            turns, after, seeds, address.tolist(), models, strict=True
        ):
            for role, content in turn.messages:
                message = Message(role, content, message)
            assert message is not None
            mode = "text" if turn.labels is None else self._mode
            seed_ = None if greedy[model] or mode == "label" else seed
            requests.append(Request(message, mode, turn.labels, seed_, Slot(*slot), model))
        self._asking.submit(requests)

    def hear(self) -> Heard:
        """Takes replies, as many as there are; decisions that cannot be read are asked again."""
        again, unread, settled, actions, statuses = [], [], [], [], []
        for request, reply in self._asking.ready():
            slot = request.slot
            row = slot.episode % self._room * self._n_seats + slot.seat
            turn, seat = self._turn[row], self._seat[row]
            assert turn is not None and seat is not None
            self._note(row, turn, request, reply)
            self._last[row] = (request, reply)
            if reply.error is not None:
                if turn.labels is None:
                    self.broken[row], self._last[row] = True, None  # no question was asked
                action, status = -1, ERROR
            elif turn.labels is None and not reply.text.strip():
                # Nothing was described, or no goal stated: there is nothing to go on from.
                self.broken[row], self._last[row] = True, None
                action, status = -1, ERROR
            elif turn.labels is None:
                seat.tip, seat.reply = _said(request, reply), reply.text
                again.append(row)
                continue
            else:
                action, status = self._read(row, turn.labels, request, reply)
                may = slot.attempt < self._n_reasks and reply.finish_reason not in modes.POLICY
                if action == -1 and may and turn.reask is not None:
                    unread.append(row)
                    continue
                if turn.stays:
                    seat.tip = _said(request, reply, self._label(row, action))
            settled.append(row)
            actions.append(action)
            statuses.append(status)
        if unread:
            self._ask_again(unread)
        return Heard(
            np.array(again, np.int64),
            np.array(settled, np.int64),
            np.array(actions, np.int16),
            np.array(statuses, np.int8),
        )

    def _read(
        self, row: int, labels: Sequence[str], request: Request, reply: Reply
    ) -> tuple[int, int]:
        """(canonical option or -1, status) of a decision."""
        if request.mode == "label" and reply.finish_reason not in modes.POLICY:
            option, status = self._draw(request, reply), "unparsed"
        else:
            option, status = modes.verdict(request.mode, reply.text, reply.finish_reason, labels)
        if option is None:
            return -1, STATUSES.index(status)
        words = self._words[row]
        assert words is not None
        return words.order[option], REPAIRED if request.slot.attempt else OK

    def _draw(self, request: Request, reply: Reply) -> int | None:
        """A label's position, drawn by the model's probabilities from the decision's own stream."""
        assert reply.option_logprobs is not None
        scores = np.array(reply.option_logprobs)
        if not np.isfinite(scores.max()):
            return None
        temperature = self._asking.temperature(request.model)
        if temperature == 0:
            return int(scores.argmax())
        reached = np.cumsum(np.exp((scores - scores.max()) / temperature))
        draw = uniform(key(self._key, *request.slot, "label"))[0, 0] * reached[-1]
        # Rounding must not lead behind the last label that has a probability.
        last = int(np.flatnonzero(np.isfinite(scores))[-1])
        return min(int(np.searchsorted(reached, draw, side="right")), last)

    def _label(self, row: int, action: int) -> str | None:
        """What a model whose label was drawn is taken to have said."""
        turn, words = self._turn[row], self._words[row]
        if self._mode != "label" or action == -1:
            return None
        assert turn is not None and turn.labels is not None and words is not None
        return modes.answer(turn.labels[words.order.index(action)])

    def _ask_again(self, unread: list[int]) -> None:
        rows = np.array(unread)
        self._address[rows, 4] += 1
        turns, after = [], []
        for row in unread:
            turn, last = self._turn[row], self._last[row]
            assert turn is not None and turn.reask is not None and last is not None
            reask = Turn("reask", (("user", turn.reask),), turn.labels, turn.reask, turn.stays)
            self._turn[row] = reask
            turns.append(reask)
            after.append(_said(*last))
        self._ask(rows, turns, after)

    def _note(self, row: int, turn: Turn, request: Request, reply: Reply) -> None:
        """Counts the turn, and keeps it for `turns.parquet`."""
        prompt, output = reply.prompt_tokens, reply.output_tokens
        self.prompt_tokens += prompt or 0
        self.output_tokens += output or 0
        if turn.labels is not None:
            if prompt is None or output is None:
                self._counted[row] = False
            else:
                self._tokens[row] += (prompt, output)
        if self._keep_log:
            self._log.append((int(self._player[row]), turn.kind, request, reply))

    def columns(self, rows: Rows) -> dict[str, Any]:
        """Columns of `decisions.parquet` that tell of replies; null for rows that do not speak."""
        last = [self._last[row] for row in rows.tolist()]
        known = self._counted[rows] & np.array([one is not None for one in last], bool)
        tokens = self._tokens[rows].tolist()
        pairs = [p if k else (None, None) for k, p in zip(known.tolist(), tokens, strict=True)]
        return {
            "response_mode": [None if one is None else one[0].mode for one in last],
            "reply": [None if one is None else one[1].text for one in last],
            "reasoning": [None if one is None else one[1].reasoning for one in last],
            "option_logprobs": [None if one is None else one[1].option_logprobs for one in last],
            "request": hexes([None if one is None else one[0].key for one in last]),
            "prompt_tokens": [pair[0] for pair in pairs],
            "output_tokens": [pair[1] for pair in pairs],
        }

    def take_log(self) -> dict[str, list] | None:
        """Columns of `turns.parquet` of the turns since the last call; None if there were none."""
        if not self._log:
            return None
        log, self._log = self._log, []
        players, kinds, requests, replies = zip(*log, strict=True)
        episode, seat, step, turn, attempt = zip(*(q.slot for q in requests), strict=True)
        columns = {
            "request": hexes([q.key for q in requests]),
            "episode": list(episode), "seat_": list(seat), "player": list(players),
            "step": list(step), "turn": list(turn), "try": list(attempt), "kind": list(kinds),
            "reply": [a.text for a in replies], "response_mode": [q.mode for q in requests],
        }  # fmt: skip
        names = "reasoning finish_reason error prompt_tokens cached_tokens output_tokens latency_s"
        return columns | {name: [getattr(a, name) for a in replies] for name in names.split()}


def _said(request: Request, reply: Reply, answer: str | None = None) -> Message:
    """The reply, or the answer drawn in its place, as a message of the conversation."""
    text = reply.text if answer is None else answer
    message = Message("assistant", text, request.message)
    message.key = request.key
    return message

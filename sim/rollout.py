"""The one loop where game, agents and model meet.

Every episode goes on as soon as its own pending seats are settled and waits for no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Message, Rows, Seat, Turn
from envs.base import Game, Words, key, uniform
from sim.cast import Cast
from sim.errors import Refusal
from sim.inference.asking import Asking
from sim.inference.base import Reply, Request, Slot
from sim.reader import read_option
from sim.records import STATUSES, Recorder, hexes

OK, REPAIRED, ERROR = (STATUSES.index(status) for status in ("ok", "repaired", "error"))

@dataclass(frozen=True)
class Rules:
    """How a study is played.

    Attributes:
        seed: of the run; every draw descends from it.
        n_reasks: how often a decision that cannot be read is asked again, at most.
        fallback: what the game plays where nothing could be read: "uniform" (an offered option
            by lot) or the number of a canonical option. It is never scored.
        on_error: "stop" the run at a failed call, or "record" it as status `error` and go on.
        response_mode: of decisions.
        max_live: most episodes held in memory: being played, or ended behind one that is.
    """

    seed: int
    n_reasks: int
    fallback: str | int
    on_error: str
    response_mode: str
    max_live: int

    def __post_init__(self):
        if self.seed < 0:
            raise Refusal(f"seed must be 0 or more, got {self.seed}")
        if self.n_reasks < 0:
            raise Refusal(f"n_reasks must be 0 or more, got {self.n_reasks}")
        if self.max_live < 1:
            raise Refusal(f"max_live must be 1 or more, got {self.max_live}")
        if self.on_error not in ("stop", "record"):
            raise Refusal(f"on_error must be stop or record, got {self.on_error!r}")
        if self.fallback != "uniform" and not isinstance(self.fallback, int):
            raise Refusal(f"fallback must be uniform or an option's number, got {self.fallback!r}")


@dataclass
class Tally:
    """What has happened so far."""

    episodes: int = 0
    decisions: int = 0
    unread: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


class Rollout:
    """Plays all episodes of a cast to their ends.

    A row is slot * seats + seat. What the rules do not hold of a row stands in arrays and
    lists here until its episode's step; then it is recorded and cleared.

    Args:
        game: the rules.
        cast: who plays.
        asking: the journalled backend; None where no agent speaks.
        recorder: takes the rows; None where nothing is recorded.
        rules: of the study.
        report: called with the tally after every round.
    """

    def __init__(
        self,
        game: Game,
        cast: Cast,
        asking: Asking | None,
        recorder: Recorder | None,
        rules: Rules,
        report: Callable[[Tally], None] | None = None,
    ):
        self._game, self._cast, self._asking = game, cast, asking
        self._recorder, self._rules, self._report = recorder, rules, report
        self.tally = Tally()
        self._n_seats = len(game.possible_agents)
        self._n_episodes = len(cast.seating)
        if isinstance(rules.fallback, int) and not 0 <= rules.fallback < game.n_options:
            raise Refusal(f"fallback must lie in 0..{game.n_options - 1}, got {rules.fallback}")
        self._room = min(rules.max_live, self._n_episodes)
        game.reserve(self._room)
        self._next = self._first_open = 0  # episodes: next to start, first that has not ended
        self._ended = np.zeros(self._room, bool)
        self._episode = np.zeros(self._room, np.int64)
        self._step = np.zeros(self._room, np.int64)
        self._waiting = np.zeros(self._room, np.int64)  # pending seats that are not settled
        self._keys = {use: key(rules.seed, use) for use in ("game", "agents", "request", "lot")}
        n = self._room * self._n_seats
        self._player = np.zeros(n, np.int64)
        self._item = np.zeros(n, np.int64)
        self._order = np.zeros((n, game.n_options), np.int16)
        self._width = np.zeros(n, np.int16)
        self._played = np.full(n, -1)
        self._action = np.full(n, -1, np.int16)
        self._fallback = np.full(n, -1, np.int16)
        self._status = np.zeros(n, np.int8)
        self._pending = np.zeros(n, bool)
        # Of rows that speak.
        self._seat: list[Seat | None] = [None] * n
        self._words: list[Words | None] = [None] * n
        self._turn: list[Turn | None] = [None] * n
        self._turns = np.zeros(n, np.int64)  # turns begun in this step
        self._tries = np.zeros(n, np.int64)  # re-asks of the current turn
        self._last: list[tuple[Request, Reply] | None] = [None] * n  # whose reply was read
        self._tokens = np.zeros((n, 2), np.int64)  # prompt, output; of decide and reask turns
        self._counted = np.ones(n, bool)  # whether every one of those turns was counted
        self._log: list[tuple[int, str, Request, Reply]] = []  # player, kind of turn

    def run(self) -> Tally:
        """Plays everything; returns the final tally."""
        due = self._admit()
        while self._first_open < self._n_episodes:
            ready = self._act(due) if len(due) else np.zeros(0, np.int64)
            due, ready = self._advance(ready)
            if not len(due) and self._first_open < self._n_episodes:
                due, heard = self._hear()
                more, _ = self._advance(heard)
                due = np.concatenate([due, more])
            due = np.concatenate([due, self._admit()])
            if self._report:
                self._report(self.tally)
        return self.tally

    # -- episodes ---------------------------------------------------------------------------

    def _admit(self) -> NDArray[np.int64]:
        """Starts as many episodes as there is room for; returns their pending rows."""
        stop = min(self._first_open + self._room, self._n_episodes)
        episodes = np.arange(self._next, stop)
        if not len(episodes):
            return episodes
        self._next = stop
        slots = episodes % self._room
        self._episode[slots], self._step[slots], self._ended[slots] = episodes, 0, False
        self._game.reset(slots, key(self._keys["game"], episodes))
        rows = slots[:, None] * self._n_seats + np.arange(self._n_seats)
        players = self._cast.seating[episodes]
        self._player[rows] = players
        if self._cast.speaks:
            for row, player in zip(rows.ravel().tolist(), players.ravel().tolist(), strict=True):
                member = self._cast.players[player].member
                self._seat[row] = Seat(member, self._game.preview)
        return self._open(slots)

    def _open(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the slots that must act now."""
        slots, seats = self._game.pending(slots)
        np.add.at(self._waiting, slots, 1)
        rows = slots * self._n_seats + seats
        self._pending[rows] = True
        self._turns[rows] = 0
        self._tokens[rows] = 0
        self._counted[rows] = True
        return rows

    def _advance(self, settled: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Steps the episodes whose last pending seat is among the settled rows.

        Returns the rows that must act next, and nothing settled.
        """
        nobody = np.zeros(0, np.int64)
        slots = np.unique(settled // self._n_seats)
        slots = slots[self._waiting[slots] == 0]
        if not len(slots):
            return nobody, nobody
        every = slots[:, None] * self._n_seats + np.arange(self._n_seats)  # (S, seats)
        acted = self._pending[every]
        outcome = self._game.step(slots, np.where(acted, self._played[every], -1))
        rows = every[acted]
        self._record(rows, outcome.payoff_self[acted], outcome.payoff_other[acted])
        self._pending[rows] = False
        self._step[slots] += 1
        over = self._game.over(slots)
        self._close(slots[over])
        return self._open(slots[~over]), nobody

    def _close(self, slots: NDArray[np.int64]) -> None:
        if not len(slots):
            return
        self._ended[slots] = True
        self.tally.episodes += len(slots)
        if self._cast.speaks:
            for row in (slots[:, None] * self._n_seats + np.arange(self._n_seats)).ravel().tolist():
                self._seat[row] = None
        while self._first_open < self._next and self._ended[self._first_open % self._room]:
            self._first_open += 1
        if self._recorder:
            if self._log:
                self._recorder.turns(_turn_columns(self._log))
                self._log = []
            self._recorder.advance(self._first_open)

    # -- acting -----------------------------------------------------------------------------

    def _act(self, due: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lets the due rows act; returns those that are settled, the others were asked."""
        slots, seats = np.divmod(due, self._n_seats)
        seen = self._game.observe(slots, seats)
        self._item[due], self._order[due] = seen["item"], seen["option_order"]
        self._width[due] = seen["action_mask"].sum(axis=1)
        players = self._player[due]
        kinds = self._cast.kind[players]
        settled = []
        for k in np.unique(kinds).tolist():
            agent = self._cast.agents[k]
            # The whole batch is handed on as it is where it is of one kind.
            mine = slice(None) if (kinds == kinds[0]).all() else np.flatnonzero(kinds == k)
            rows = due[mine]
            view = {name: values[mine] for name, values in seen.items()}
            where = slots[mine], seats[mine]
            acting = Rows(view, self._cast.target[players[mine]], self._draws("agents", *where))
            if not agent.speaks:
                self._played[rows] = self._action[rows] = np.asarray(agent.act(acting))
                self._fallback[rows], self._status[rows] = -1, OK
                self._waiting[where[0]] -= 1 if self._n_seats == 1 else 0
                if self._n_seats > 1:
                    np.subtract.at(self._waiting, where[0], 1)
                settled.append(rows)
                continue
            acting.seats, acting.words = self._speaking(rows, view)
            turns = agent.act(acting)
            assert isinstance(turns, list)
            self._turns[rows] += 1
            self._tries[rows] = 0
            self._ask(rows, turns)
        return np.concatenate(settled) if settled else np.zeros(0, np.int64)

    def _draws(
        self, use: str, slots: NDArray[np.int64], seats: NDArray[np.int64]
    ) -> Callable[[int], NDArray[np.float64]]:
        """The decision's own stream of uniforms for one use."""
        keys = key(self._keys[use], self._episode[slots], seats, self._step[slots])
        return partial(uniform, keys)

    def _speaking(
        self, rows: NDArray[np.int64], view: dict[str, Any]
    ) -> tuple[list[Seat], list[Words]]:
        indices = rows.tolist()
        new = [i for i, row in enumerate(indices) if self._words[row] is None]
        if new:
            fresh = view if len(new) == len(indices) else {n: v[new] for n, v in view.items()}
            for i, words in zip(new, self._game.describe(fresh), strict=True):
                self._words[indices[i]] = words
        seats: list[Any] = [self._seat[row] for row in indices]
        words_: list[Any] = [self._words[row] for row in indices]
        return seats, words_

    def _ask(self, rows: NDArray[np.int64], turns: list[Turn]) -> None:
        """Submits one turn for each row."""
        assert self._asking is not None
        slots, seats = np.divmod(rows, self._n_seats)
        address = (
            self._episode[slots], seats, self._step[slots], self._turns[rows] - 1,
            self._tries[rows],
        )  # fmt: skip
        seeds = (key(self._keys["request"], *address) >> np.uint64(1)).tolist()
        requests = []
        for row, turn, seed, *slot in zip(
            rows.tolist(), turns, seeds, *(a.tolist() for a in address), strict=True
        ):
            seat = self._seat[row]
            assert seat is not None
            self._turn[row] = turn
            message = seat.tip
            if turn.kind == "reask":
                answered = self._last[row]
                assert answered is not None
                message = self._said(*answered)
            for role, content in turn.messages:
                message = Message(role, content, message)
            assert message is not None
            mode = "text" if turn.labels is None else self._rules.response_mode
            seed_ = None if self._asking.greedy else seed
            requests.append(Request(message, mode, turn.labels, seed_, Slot(*slot)))
        self._asking.submit(requests)

    @staticmethod
    def _said(request: Request, reply: Reply) -> Message:
        """The reply as a message of the conversation."""
        message = Message("assistant", reply.text, request.message)
        message.key = request.key
        return message

    # -- hearing ----------------------------------------------------------------------------

    def _hear(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Takes replies; returns rows that must act again, and rows that are settled."""
        assert self._asking is not None
        again, settled, unread = [], [], []
        for request, reply in self._asking.ready():
            slot = request.slot
            row = slot.episode % self._room * self._n_seats + slot.seat
            turn, seat = self._turn[row], self._seat[row]
            assert turn is not None and seat is not None
            self._note(row, turn, request, reply)
            self._last[row] = (request, reply)
            if turn.labels is None and reply.error is None:
                seat.tip, seat.reply = self._said(request, reply), reply.text
                again.append(row)
            elif self._decide(row, turn, seat, request, reply):
                settled.append(row)
            else:
                unread.append(row)
        if unread:
            rows = np.array(unread)
            self._tries[rows] += 1
            self._ask(rows, [self._reask(row) for row in unread])
        rows = np.array(settled, np.int64)
        self._fall_back(rows[self._action[rows] == -1])
        np.subtract.at(self._waiting, rows // self._n_seats, 1)
        return np.array(again, np.int64), rows

    def _reask(self, row: int) -> Turn:
        turn = self._turn[row]
        assert turn is not None and turn.reask is not None
        return Turn("reask", (("user", turn.reask),), turn.labels, turn.reask, turn.stays)

    def _decide(self, row: int, turn: Turn, seat: Seat, request: Request, reply: Reply) -> bool:
        """Reads a decision; returns whether the row is settled, else it is asked again."""
        if reply.error is not None:
            self._action[row], self._status[row] = -1, ERROR
            return True
        assert turn.labels is not None
        read = read_option(reply.text, turn.labels)
        attempt = request.slot.attempt
        if read.option is None and attempt < self._rules.n_reasks and turn.reask is not None:
            return False
        if turn.stays:
            seat.tip = self._said(request, reply)
        if read.option is None:
            self._action[row], self._status[row] = -1, STATUSES.index(read.status)
        else:
            words = self._words[row]
            assert words is not None
            self._played[row] = self._action[row] = words.order[read.option]
            self._fallback[row], self._status[row] = -1, REPAIRED if attempt else OK
        return True

    def _note(self, row: int, turn: Turn, request: Request, reply: Reply) -> None:
        """Keeps the turn for `turns.parquet` and the counts."""
        prompt, output = reply.prompt_tokens, reply.output_tokens
        self.tally.prompt_tokens += prompt or 0
        self.tally.output_tokens += output or 0
        if turn.labels is not None:
            if prompt is None or output is None:
                self._counted[row] = False
            else:
                self._tokens[row] += (prompt, output)
        if self._recorder is not None:
            self._log.append((int(self._player[row]), turn.kind, request, reply))

    def _fall_back(self, rows: NDArray[np.int64]) -> None:
        """What the game plays for rows whose action could not be read; marked, never scored."""
        if not len(rows):
            return
        self.tally.unread += len(rows)
        slots, seats = np.divmod(rows, self._n_seats)
        if self._rules.fallback == "uniform":
            lots = self._draws("lot", slots, seats)(1)[:, 0]
            played = self._order[rows, (lots * self._width[rows]).astype(int)]
        else:
            played = np.minimum(int(self._rules.fallback), self._width[rows] - 1)
        self._played[rows] = self._fallback[rows] = played

    # -- recording --------------------------------------------------------------------------

    def _record(
        self, rows: NDArray[np.int64], own: NDArray[np.float64], other: NDArray[np.float64]
    ) -> None:
        self.tally.decisions += len(rows)
        slots, seats = np.divmod(rows, self._n_seats)
        if self._recorder is not None:
            episodes = self._episode[slots]
            read = self._action[rows] != -1
            columns = {
                "episode": episodes,
                "repeat": self._cast.repeat[episodes],
                "step": self._step[slots],
                "player": self._player[rows],
                "seat_": seats,
                "item_": self._item[rows],
                "status_": self._status[rows],
                "option_order": self._order[rows],
                "n_options": self._width[rows],
                "action": self._action[rows],
                "fallback": self._fallback[rows],
                "payoff_self": np.where(read, own, np.nan),
                "payoff_other": np.where(read, other, np.nan),
            }
            self._recorder.decisions(columns | self._spoken(rows))
        if self._cast.speaks:
            for row in rows.tolist():
                self._words[row] = self._turn[row] = self._last[row] = None

    def _spoken(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Columns of the replies that were read; null for agents that do not speak."""
        if not self._cast.speaks:
            return {}
        last = [self._last[row] for row in rows.tolist()]
        modes = [None if one is None else one[0].mode for one in last]
        counted = self._counted[rows] & np.array([one is not None for one in last])
        tokens = zip(counted.tolist(), self._tokens[rows].tolist(), strict=True)
        prompt, output = zip(*(pair if known else (None, None) for known, pair in tokens))
        return {
            "response_mode": modes,
            "reply": [None if one is None else one[1].text for one in last],
            "reasoning": [None if one is None else one[1].reasoning for one in last],
            "option_logprobs": [None if one is None else one[1].option_logprobs for one in last],
            "request": hexes([None if one is None else one[0].key for one in last]),
            "prompt_tokens": prompt,
            "output_tokens": output,
        }


def _turn_columns(log: list[tuple[int, str, Request, Reply]]) -> dict[str, list]:
    """Columns of `turns.parquet`."""
    players, kinds, requests, replies = zip(*log, strict=True)
    episode, seat, step, turn, attempt = zip(*(q.slot for q in requests), strict=True)
    columns = {
        "request": [q.key.hex() for q in requests],
        "episode": episode,
        "seat_": seat,
        "player": players,
        "step": step,
        "turn": turn,
        "try": attempt,
        "kind": kinds,
        "reply": [a.text for a in replies],
        "response_mode": [q.mode for q in requests],
    }
    for name in (
        "reasoning finish_reason error prompt_tokens cached_tokens output_tokens latency_s"
    ).split():
        columns[name] = [getattr(a, name) for a in replies]
    return {name: list(values) for name, values in columns.items()}

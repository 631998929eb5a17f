"""The one loop where game, agents and model meet.

Every episode goes on as soon as its own pending seats are settled and waits for no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents import base as agents
from agents.base import Agent, Observation
from envs.base import Game, key, uniform
from sim.cast import Cast
from sim.errors import Refusal
from sim.inference.asking import Asking
from sim.records import Recorder
from sim.rules import Rules
from sim.talk import ERROR, OK, UNPARSED, Rows, Talk

NOBODY: Rows = np.zeros(0, np.int64)


@dataclass
class Tally:
    """What has happened so far."""

    episodes: int = 0
    decisions: int = 0
    unread: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0  # picos, of all attempts
    notice: str = ""  # what somebody who watches should know


class Rollout:
    """Plays all episodes of a cast to their ends.

    Episode k lives in slot k % room; a row is slot * seats + seat.

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
        self._game, self._cast, self._recorder = game, cast, recorder
        self._rules, self._report, self.tally = rules, report, Tally()
        self._n_seats, self._n_episodes = len(game.possible_agents), len(cast.seating)
        self._room = min(rules.max_live, self._n_episodes)
        game.reserve(self._room)
        self._next = self._first_open = 0  # episodes: next to start, first that has not ended
        self._ended = np.zeros(self._room, bool)
        self._episode = np.zeros(self._room, np.int64)
        self._step = np.zeros(self._room, np.int64)
        self._waiting = np.zeros(self._room, np.int64)  # pending seats that are not settled
        self._keys = {use: key(rules.seed, use) for use in ("game", "agents", "lot")}
        n = self._room * self._n_seats
        self._pending = np.zeros(n, bool)
        self._player = np.zeros(n, np.int64)
        self._item = np.zeros(n, np.int64)
        self._variant = np.zeros(n, np.int64)
        self._order = np.zeros((n, game.n_options), np.int16)
        self._width = np.zeros(n, np.int16)
        self._action = np.full(n, -1, np.int16)  # what was chosen, -1 if unread
        self._fallback = np.full(n, -1, np.int16)  # what is played instead
        self._status = np.zeros(n, np.int8)
        self._talk = None
        if asking is not None:
            self._talk = Talk(
                asking, self._room, self._n_seats, key(rules.seed, "request"), rules.n_reasks,
                rules.response_mode, recorder is not None,
            )  # fmt: skip

    def run(self) -> Tally:
        """Plays everything; returns the final tally."""
        due = self._admit()
        while self._first_open < self._n_episodes:
            due = self._advance(self._act(due))
            if not len(due) and self._first_open < self._n_episodes and self._waiting.any():
                due = self._hear()
            due = np.concatenate([due, self._admit()])
            if self._report:
                self._report(self.tally)
        return self.tally

    # -- episodes ---------------------------------------------------------------------------

    def _seats_of(self, slots: Rows) -> NDArray[np.int64]:
        """Rows of the slots, shape (slots, seats)."""
        return slots[:, None] * self._n_seats + np.arange(self._n_seats)

    def _admit(self) -> Rows:
        """Starts as many episodes as there is room for; returns their pending rows."""
        stop = min(self._first_open + self._room, self._n_episodes)
        episodes = np.arange(self._next, stop)
        if not len(episodes):
            return NOBODY
        self._next = stop
        slots = episodes % self._room
        self._episode[slots], self._step[slots], self._ended[slots] = episodes, 0, False
        self._game.reset(slots, key(self._keys["game"], episodes), self._cast.sitting[episodes])
        rows, players = self._seats_of(slots).ravel(), self._cast.seating[episodes].ravel()
        self._player[rows] = players
        if self._talk:
            members = [self._cast.players[player].member for player in players.tolist()]
            whose = np.repeat(episodes, self._n_seats)
            self._talk.begin(rows, whose, players, members, self._game.preview)
        return self._open(slots)

    def _open(self, slots: Rows) -> Rows:
        """Rows of the slots that must act now."""
        where, seats = self._game.pending(slots)
        rows = np.asarray(where * self._n_seats + seats, np.int64)
        np.add.at(self._waiting, where, 1)
        self._pending[rows] = True
        if self._talk:
            self._talk.open(rows, self._step[where])
        return rows

    def _settle(self, rows: Rows, action: NDArray[np.integer], status: NDArray | int) -> None:
        """Closes choices; where none could be read the game plays something that is marked."""
        self._action[rows], self._status[rows], self._fallback[rows] = action, status, -1
        unread = rows[self._action[rows] == -1]
        if len(unread):
            self.tally.unread += len(unread)
            slots, seats = np.divmod(unread, self._n_seats)
            if self._rules.fallback == "uniform":
                lots = self._draws("lot", slots, seats)(1)[:, 0]
                played = self._order[unread, (lots * self._width[unread]).astype(int)]
            else:
                played = np.minimum(int(self._rules.fallback), self._width[unread] - 1)
            self._fallback[unread] = played
        np.subtract.at(self._waiting, rows // self._n_seats, 1)

    def _advance(self, settled: Rows) -> Rows:
        """Steps episodes whose last pending seat was settled; returns the rows due next."""
        slots = np.unique(settled // self._n_seats)
        slots = slots[self._waiting[slots] == 0]
        if not len(slots):
            return NOBODY
        seats = self._seats_of(slots)
        acted = self._pending[seats]
        unread = self._action[seats] == -1
        played = np.where(unread, self._fallback[seats], self._action[seats])
        outcome = self._game.step(slots, np.where(acted, played, -1))
        self._record(seats[acted], outcome.payoff_self[acted], outcome.payoff_other[acted])
        self._pending[seats] = False
        self._step[slots] += 1
        over = self._game.over(slots)
        self._close(slots[over])
        return self._open(slots[~over])

    def _close(self, slots: Rows) -> None:
        if not len(slots):
            return
        self._ended[slots] = True
        self.tally.episodes += len(slots)
        if self._talk:
            self._talk.end(self._seats_of(slots).ravel())
        while self._first_open < self._next and self._ended[self._first_open % self._room]:
            self._first_open += 1
        if self._recorder:
            if self._talk and (log := self._talk.take_log()):
                self._recorder.turns(log)
            self._recorder.advance(self._first_open)

    def _record(self, rows: Rows, own: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        self.tally.decisions += len(rows)
        if self._recorder is None:
            return
        slots, seats = np.divmod(rows, self._n_seats)
        episodes, read = self._episode[slots], self._action[rows] != -1
        columns = {
            "episode": episodes,
            "repeat": self._cast.repeat[episodes],
            "step": self._step[slots],
            "player": self._player[rows],
            "seat_": seats,
            "item_": self._item[rows],
            "variant_": self._variant[rows],
            "status_": self._status[rows],
            "option_order": self._order[rows],
            "n_options": self._width[rows],
            "action": self._action[rows],
            "fallback": self._fallback[rows],
            "payoff_self": np.where(read, own, np.nan),
            "payoff_other": np.where(read, other, np.nan),
        }
        if self._talk:
            columns |= self._talk.columns(rows)
        self._recorder.decisions(columns)

    # -- acting -----------------------------------------------------------------------------

    def _draws(self, use: str, slots: Rows, seats: Rows) -> Callable[[int], NDArray[np.float64]]:
        """Each decision's own stream of uniforms for one use."""
        keys = key(self._keys[use], self._episode[slots], seats, self._step[slots])
        return partial(uniform, keys)

    def _streams(self, slots: Rows, seats: Rows) -> tuple[Callable, Callable]:
        """What an agent may draw: for each decision, and for each seat of an episode."""
        keys = key(self._keys["agents"], self._episode[slots], seats, "episode")
        return self._draws("agents", slots, seats), partial(uniform, keys)

    def _act(self, due: Rows) -> Rows:
        """Lets the due rows act; returns those that are settled, the others were asked."""
        if not len(due):
            return NOBODY
        seen = self._game.observe(*np.divmod(due, self._n_seats))
        self._item[due], self._order[due] = seen["item"], seen["option_order"]
        self._width[due] = seen["action_mask"].sum(axis=1)
        if "variant" in seen:
            self._variant[due] = seen["variant"]
        kinds = self._cast.kind[self._player[due]]
        if (kinds == kinds[0]).all():  # no copies where all are of one kind
            return self._act_kind(int(kinds[0]), due, seen)
        settled = []
        for k in np.unique(kinds).tolist():
            mine = np.flatnonzero(kinds == k)
            view = {name: values[mine] for name, values in seen.items()}
            settled.append(self._act_kind(k, due[mine], view))
        return np.concatenate(settled)

    def _act_kind(self, kind: int, rows: Rows, seen: Observation) -> Rows:
        agent, players = self._cast.agents[kind], self._player[rows]
        slots, seats = np.divmod(rows, self._n_seats)
        target, traits = self._cast.target[players], self._cast.traits[kind][players]
        if not agent.speaks:
            acting = agents.Rows(seen, target, *self._streams(slots, seats), traits=traits)
            actions = np.asarray(agent.act(acting))
            _check(agent, actions, seen["action_mask"])
            self._settle(rows, actions, np.where(actions == -1, UNPARSED, OK))
            return rows
        talk = self._talk
        assert talk is not None
        # An agent that could not be prepared is asked nothing: all its choices are errors.
        broken = rows[talk.broken[rows]]
        if len(broken):
            self._settle(broken, np.full(len(broken), -1), ERROR)
            whole = ~talk.broken[rows]
            rows, seen = rows[whole], {name: values[whole] for name, values in seen.items()}
            slots, seats, target = slots[whole], seats[whole], target[whole]
            traits = traits[whole]
        new = talk.unworded(rows)
        if new:
            fresh = {name: values[new] for name, values in seen.items()}
            talk.word(rows[new], self._game.describe(fresh))
        streams = self._streams(slots, seats)
        acting = agents.Rows(seen, target, *streams, *talk.at(rows), traits)
        turns = agent.act(acting)
        assert isinstance(turns, list)
        talk.say(rows, turns)
        return broken

    def _hear(self) -> Rows:
        """Takes replies, if there are any; returns the rows that are due."""
        assert self._talk is not None
        heard = self._talk.hear()
        self.tally.prompt_tokens = self._talk.prompt_tokens
        self.tally.output_tokens = self._talk.output_tokens
        self.tally.cost, self.tally.notice = self._talk.cost, self._talk.notice()
        self._settle(heard.settled, heard.action, heard.status)
        return np.concatenate([heard.again, self._advance(heard.settled)])


def _check(agent: Agent, actions: NDArray, mask: NDArray) -> None:
    """Refuses actions that were not offered; -1 stands for an answer that cannot be read."""
    if actions.shape != (len(mask),) or not np.issubdtype(actions.dtype, np.integer):
        raise Refusal(
            f"{type(agent).__name__}.act must return a whole number for each of {len(mask)} rows, "
            f"got shape {actions.shape} of {actions.dtype}"
        )
    offered = (actions >= 0) & (actions < mask.shape[1])
    offered[offered] = mask[offered, actions[offered]] == 1
    offered |= actions == -1
    if not offered.all():
        raise Refusal(
            f"{type(agent).__name__}.act must return options that are offered, got "
            f"{actions[~offered][0]}"
        )

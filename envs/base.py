"""What every game is: rules as array functions over episodes that are played side by side."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.draws import Keys, key, permutation, uniform

__all__ = ["Game", "Keys", "Observation", "Outcome", "Words", "key", "permutation", "uniform"]

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]


class Words(NamedTuple):
    """An observation in words, and how the options are named in them."""

    text: str
    labels: tuple[str, ...]  # in the order shown
    order: tuple[int, ...]  # position shown -> canonical option


class Outcome(NamedTuple):
    """What a step brought, each of shape (episodes, seats)."""

    reward: Floats  # finite; 0 for seats that did not act
    payoff_self: Floats  # NaN where there are no payoffs
    payoff_other: Floats  # mean over the others


class Game(ABC):
    """Rules of many episodes side by side.

    An episode lives in a slot, 0..n-1 of the room that `reserve(n)` makes; slots are filled and
    filled again by `reset` in any order. Rows are pairs (slot, seat); seats index
    `possible_agents`. All randomness descends from the keys handed to `reset`, so an episode is
    a function of its key and the actions alone. Rules see numbers only; `describe` words them.

    Attributes:
        name: of the game, with its version.
        wording: what tells this wording of the game from another, as recorded.
        preview: what is to come, in a sentence, for turns before the first question.
        possible_agents: PettingZoo keys of the seats.
        n_options: options of the widest choice; `observe` pads narrower ones.
        item_ids: the items that can be met, in the order in which `observe` numbers them.
        item_instruments: the instrument that each item belongs to.
        item_stages: the stage that each item is, 1-based; None where there are no stages.
        n_sittings: episodes in which a player meets everything there is, one after the other.
        samples: sittings that stand for all: one of each variant, the longest.
        values: that options can stand for, by the numbers that observations give them.
        variants: `context_mode` and `wording` of each way in which an item can be met; empty where
            there is one.
        checksums: of the data that the game was made from, by name.
        source: who published its items, for the report; None: what is known of its instruments.
        n_dropped: items of the data that repeat earlier ones and were left out.
    """

    name: str
    wording: str
    preview: str
    possible_agents: tuple[str, ...]
    n_options: int
    item_ids: Sequence[str]
    item_instruments: Sequence[str]
    item_stages: Sequence[int] | None = None
    n_sittings: int = 1
    samples: Sequence[int] = (0,)
    values: Sequence[str] = ()
    variants: Sequence[Mapping[str, str]] = ()
    checksums: Mapping[str, str] = MappingProxyType({})
    n_dropped: int = 0
    source: str | None = None

    @abstractmethod
    def reserve(self, n: int) -> None:
        """Makes room for n episodes; whatever was being played is dropped."""

    @abstractmethod
    def reset(self, slots: Ints, keys: Keys, sittings: Ints | None = None) -> None:
        """Starts an episode in each of `slots`, shape (S,), from its key, uint64, shape (S,).

        `sittings`, 0..n_sittings-1, shape (S,), says which of its player's each is; None: drawn by
        its key. It means nothing where there is one.
        """

    @abstractmethod
    def pending(self, slots: Ints) -> tuple[Ints, Ints]:
        """The rows among `slots` that must act now: slots (R,) and seats (R,); none once over."""

    @abstractmethod
    def observe(self, slots: Ints, seats: Ints) -> Observation:
        """What the rows see; every array is new and has leading axis R.

        Always there: `item` (R,), index into `item_ids`; `action_mask` (R, n_options), int8,
        1 where the option is offered; `option_order` (R, n_options), position shown ->
        canonical option, those not offered last. Where choices pay: `payoffs`
        (R, n_options, 2), points for oneself and (mean) for the others, canonical order,
        0 where not offered. Where options stand for values: `values` (R, n_options), index into
        `values`, negative for none. Where there are variants: `variant` (R,).
        """

    @abstractmethod
    def step(self, slots: Ints, actions: Ints) -> Outcome:
        """Plays canonical actions, shape (S, seats), -1 for seats that were not pending.

        Call it for a slot only when all its pending seats are settled. Raises ValueError for an
        option that was not offered.
        """

    @abstractmethod
    def over(self, slots: Ints) -> NDArray[np.bool_]:
        """Whether the episodes in `slots` have ended, shape (S,)."""

    @abstractmethod
    def describe(self, seen: Observation) -> list[Words]:
        """Words of each row of an observation; no wording hints at an objective."""

    @abstractmethod
    def items(self) -> list[dict[str, Any]]:
        """One dictionary per (item, canonical option), with the columns of `items.parquet`."""

    @abstractmethod
    def observation_space(self, agent: str) -> spaces.Dict:
        """Space of one row of `observe`."""

    def action_space(self, agent: str) -> spaces.Discrete:
        """Canonical options, 0-based."""
        return spaces.Discrete(self.n_options)

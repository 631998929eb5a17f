"""Choices between allocations of points to oneself and one other person, item after item."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.base import Game, Ints, Keys, Observation, Outcome, Words
from envs.draws import key, permutation, uniform
from envs.items import Item, by_form, form_names, plain

ORDERS = ("canonical", "reversed", "shuffled")
OPTION_ORDERS = (*ORDERS, "either")
LABELS = tuple("ABCDEFGHI")

TEXT = """Here are {n} ways to share {unit} between you and {other}.
{options}
Which one do you choose?"""
PREVIEW = (
    "You will be asked {n} questions. Each offers several ways to share {unit} between you and "
    "{other}."
)
OPTION = "{self} {unit} for you, {other} {unit} for the other person"


def _check(name: str, got: str, known: Sequence[str]) -> str:
    if got not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {got!r}")
    return got


class Allocation(Game):
    """One seat divides points, one item after the other; nobody answers back.

    Reward: points kept. Observation: `Game.observe`, of the current item; after the end, of
    the last. Action: canonical option. End: after the last item of the episode's form, which
    is drawn where there are several.

    Args:
        name: of the game.
        items: whatever can be met.
        item_order: canonical, reversed, or shuffled anew in each episode, within blocks.
        option_order: the same for the options of an item, each item on its own; or either:
            all canonical or all reversed, by lot for each episode.
        unit: of the payoffs, in words.
        other: the other person, in words, as met in "between you and ...".
        sequences: items, by their places in `items`, that one episode meets, in canonical order;
            which of them is drawn. All must be equally long. None: each form is one.
    """

    possible_agents = ("agent_0",)

    def __init__(
        self,
        name: str,
        items: Sequence[Item],
        item_order: str,
        option_order: str,
        unit: str,
        other: str,
        sequences: Sequence[Sequence[int]] | None = None,
    ):
        self.item_order = _check("item_order", item_order, ORDERS)
        self.option_order = _check("option_order", option_order, OPTION_ORDERS)
        self.name, self.unit, self.other = name, unit, other
        self.wording = f"{unit}; {other}"
        self.catalog = self._items = list(items)
        self.forms = [list(s) for s in sequences or by_form(self._items)]
        self.item_ids = [item.id for item in items]
        self.item_instruments = [item.instrument for item in items]
        self.n_options = max(len(item.options) for item in items)
        self._tabulate()
        self._worded: dict[tuple[int, bytes], Words] = {}
        self._phrases = [
            [
                OPTION.format(self=plain(a), other=plain(b), unit=unit)
                for a, b in item.options.tolist()
            ]
            for item in items
        ]
        steps = self._sequences.shape[1]
        self.preview = PREVIEW.format(n=steps, unit=unit, other=other)
        self.reserve(1)

    def _tabulate(self) -> None:
        """Items as arrays, so that a step is a gather."""
        n, width = len(self._items), self.n_options
        self._payoffs = np.zeros((n, width, 2))
        self._mask = np.zeros((n, width), np.int8)
        self._widths = np.array([len(item.options) for item in self._items])
        canonical = np.tile(np.arange(width, dtype=np.int16), (n, 1))
        self._reversed = canonical.copy()
        for i, item in enumerate(self._items):
            self._payoffs[i, : len(item.options)] = item.options
            self._mask[i, : len(item.options)] = 1
            self._reversed[i, : len(item.options)] = np.arange(len(item.options))[::-1]
        self._orders = self._reversed if self.option_order == "reversed" else canonical
        # Rows run along memory: agents' sums over options then take a third of the time.
        self._columns = np.ascontiguousarray(self._payoffs.transpose(2, 1, 0))
        sequences = [self._sequence(form) for form in self.forms]
        if len({len(sequence) for sequence in sequences}) != 1:
            raise ValueError(f"episodes of {self.name} must have equally many items")
        self._sequences = np.array(sequences)  # (forms, steps), index of the item
        self._blocks = np.array([[self._items[i].block for i in s] for s in sequences])

    def _sequence(self, mine: list[int]) -> list[int]:
        if self.item_order != "reversed":
            return mine
        blocks = sorted({self._items[i].block for i in mine})
        return [i for b in blocks for i in reversed(mine) if self._items[i].block == b]

    def reserve(self, n: int) -> None:
        steps = self._sequences.shape[1]
        self._at = np.full(n, steps)
        self._item = np.zeros(n, np.int64)  # current one; after the end, the last
        self._meets = np.zeros((n, steps), np.int64)
        if self.option_order in ("shuffled", "either"):
            self._shown = np.zeros((n, steps, self.n_options), np.int16)

    def reset(self, slots: Ints, keys: Keys, sittings: Ints | None = None) -> None:
        forms, steps = self._sequences.shape
        form = np.zeros(len(slots), np.int64)
        if forms > 1:
            form = (uniform(key(keys, "form"))[:, 0] * forms).astype(np.int64)
        meets = self._sequences[form]
        if self.item_order == "shuffled":
            # Sorting draws plus the block number shuffles within blocks only.
            ranks = uniform(key(keys, "items"), steps) + self._blocks[form]
            meets = np.take_along_axis(meets, ranks.argsort(axis=1), axis=1)
        if self.option_order == "shuffled":
            stream = key(key(keys, "options")[:, None], np.arange(steps))
            padded = not self._mask.all()
            offered = self._mask[meets].astype(bool) if padded else None
            self._shown[slots] = permutation(stream, self.n_options, offered)
        if self.option_order == "either":
            turned = uniform(key(keys, "options"))[:, :, None] < 0.5
            self._shown[slots] = np.where(turned, self._reversed[meets], self._orders[meets])
        self._meets[slots] = meets
        self._item[slots] = meets[:, 0]
        self._at[slots] = 0

    def pending(self, slots: Ints) -> tuple[Ints, Ints]:
        slots = slots[~self.over(slots)]
        return slots, np.zeros(len(slots), np.int64)

    def observe(self, slots: Ints, seats: Ints) -> Observation:
        item = self._item[slots]
        if self.option_order in ("shuffled", "either"):
            at = np.minimum(self._at[slots], self._sequences.shape[1] - 1)
            order = self._shown[slots, at]
        else:
            order = self._orders[item]
        return {
            "item": item,
            "payoffs": np.take(self._columns, item, axis=2).transpose(2, 1, 0),
            "action_mask": self._mask[item],
            "option_order": order,
        }

    def step(self, slots: Ints, actions: Ints) -> Outcome:
        at, item, chosen = self._at[slots], self._item[slots], actions[:, 0]
        last = self._sequences.shape[1] - 1
        if (at > last).any():
            raise ValueError(f"an episode of {self.name} is over and cannot be stepped")
        if not ((chosen >= 0) & (chosen < self._widths[item])).all():
            self._refuse(item, chosen)
        paid = self._payoffs[item, chosen]
        self._at[slots] = at = at + 1
        self._item[slots] = self._meets[slots, np.minimum(at, last)]
        own, other = paid[:, :1], paid[:, 1:]
        return Outcome(own, own, other)

    def _refuse(self, item: Ints, chosen: Ints) -> None:
        for i, action in zip(item.tolist(), chosen.tolist(), strict=True):
            n = len(self._items[i].options)
            if not 0 <= action < n:
                raise ValueError(
                    f"action on item {self.item_ids[i]!r} of {self.name} must lie in 0..{n - 1}, "
                    f"got {action}"
                )

    def over(self, slots: Ints) -> NDArray[np.bool_]:
        return self._at[slots] == self._sequences.shape[1]

    def describe(self, seen: Observation) -> list[Words]:
        words = []
        for item, order in zip(seen["item"].tolist(), seen["option_order"], strict=True):
            known = (item, order.tobytes())
            if known not in self._worded:
                if len(self._worded) > 10_000:  # shuffled orders hardly repeat
                    self._worded.clear()
                self._worded[known] = self._word(item, order.tolist())
            words.append(self._worded[known])
        return words

    def _word(self, item: int, order: list[int]) -> Words:
        phrases = self._phrases[item]
        shown = tuple(order[: len(phrases)])
        labels = LABELS[: len(shown)]
        lines = "\n".join(f"{label}: {phrases[k]}" for label, k in zip(labels, shown, strict=True))
        text = TEXT.format(n=len(shown), unit=self.unit, other=self.other, options=lines)
        return Words(text, labels, shown)

    def items(self) -> list[dict[str, Any]]:
        rows, forms = [], form_names(self._items)
        for item, phrases in zip(self._items, self._phrases, strict=True):
            centre: tuple[float | None, float | None] = item.centre or (None, None)
            for k, (own, other) in enumerate(item.options.tolist()):
                value = item.values[k] if item.values else None
                rows.append(
                    {
                        "env": self.name,
                        "instrument": item.instrument,
                        "item": item.id,
                        "form": forms[item.instrument, item.form],
                        "option": k,
                        "payoff_self": own,
                        "payoff_other": other,
                        "centre_self": centre[0],
                        "centre_other": centre[1],
                        "radius": item.radius,
                        "value": value,
                        "theory": None if value is None else "svo",
                        "text": phrases[k],
                    }
                )
        return rows

    def observation_space(self, agent: str) -> spaces.Dict:
        low, high = float(self._payoffs.min()), float(self._payoffs.max())
        n = self.n_options
        return spaces.Dict(
            {
                "item": spaces.Discrete(len(self._items)),
                "payoffs": spaces.Box(low, high, (n, 2), np.float64),
                "action_mask": spaces.Box(0, 1, (n,), np.int8),
                "option_order": spaces.Box(0, n - 1, (n,), np.int16),
            }
        )

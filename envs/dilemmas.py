"""Dilemmas of several stages as a game for one: which value is chosen, and does that change?"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.base import Game, Ints, Keys, Observation, Outcome, Words
from envs.dilemma import Collection, Dilemma, Values
from envs.dilemma_words import ABSTAIN, LABELS, WORDINGS, Story
from envs.draws import key, permutation, uniform

CONTEXTS = ("none", "full", "causal", "counterfactual")
OPTION_ORDERS = ("canonical", "swapped", "balanced", "shuffled")
QUITS = "undecided"  # what the option not to decide has instead of a value
UNDECIDED = -2  # the number of the option not to decide, among values
PREVIEW = "You will be asked {n}. Each describes a situation and ways to act in it."


class Dilemmas(Game):
    """One dilemma, stage after stage; whatever is chosen, the next stage comes.

    Wu et al. (2025), The Staircase of Ethics, arXiv 2505.18154, whose context settings are not
    defined in print; these are ours. What stands above the question of stage k:

    - `none`: nothing; the stage alone.
    - `full`: situations, questions and options (in the order in which they are shown at their
      stage) of all stages, later ones too; no choices.
    - `causal`: situations and questions of the earlier stages, each with the agent's own choice.
    - `counterfactual`: as `causal`, but each earlier stage with the choice that the agent did not
      make (one of the others by lot, where there are several) told as its own; what then differs
      from `causal` is path dependence.

    Where an answer could not be read, the study's fallback is what later stages tell as chosen;
    analyzers leave out what comes behind it in these two modes.

    Reward: 0. Observation: `Game.observe`, without payoffs, and `values` (R, n_options), index
    into `values` of the theory, -1 for none, -2 for not to decide; `stage` (R,), 0-based;
    `variant` (R,), see `variants`; `told` (R, stages), option that is told as chosen at each
    earlier stage, -1 for none; `orders` (R, stages, n_options), as `option_order`, of all stages.
    Action: canonical option. End: after the last stage.

    A player meets every dilemma in every mode, order and wording asked for, an episode each (a
    sitting).

    Args:
        source: the dilemmas.
        theory: whose values their options stand for.
        context: one of the modes above, or a list of them.
        option_order: canonical; swapped, the reverse of it; balanced, each dilemma in both, an
            episode each; or shuffled anew at each stage.
        wording: `choose`: options side by side. `yes_first`: whether one would do the first
            option (canonical), yes or no; `yes_last`: the same of the last. `act_first`: the last
            option is what it comes to unless one acts, the first is to act; `act_last`: the other
            way round. All but `choose` need stages of two options. Or a list of these.
        abstain: whether a further option is not to decide; it stands for no value and comes last.
        n_dilemmas: how many of them are played, drawn by `items_seed`; None: all.
        items_seed: of that draw.
    """

    possible_agents = ("agent_0",)

    def __init__(
        self,
        source: Collection,
        theory: Values,
        context: str | Sequence[str],
        option_order: str,
        wording: str | Sequence[str],
        abstain: bool,
        n_dilemmas: int | None,
        items_seed: int,
    ):
        contexts = _several("context", context, CONTEXTS)
        wordings = _several("wording", wording, WORDINGS)
        if option_order not in OPTION_ORDERS:
            known = ", ".join(OPTION_ORDERS)
            raise ValueError(f"option_order must be one of {known}, got {option_order!r}")
        if not isinstance(abstain, bool):
            raise ValueError(f"abstain must be true or false, got {abstain!r}")
        if abstain and any(name.startswith("act") for name in wordings):
            raise ValueError(
                f"abstain must be false with the wordings act_first and act_last, in which to do "
                f"nothing is one of the options, got {wordings}"
            )
        if not isinstance(getattr(theory, "names", None), Sequence):
            name = getattr(theory, "name", theory)
            raise ValueError(f"dilemmas need a theory of values, got {name!r}")
        source.check(theory)
        dilemmas = source.draw(n_dilemmas, items_seed)
        self.name, self.collection = "dilemmas_v0", source
        self.values, self.checksums = tuple(theory.names), dict(source.checksums)
        self.n_dropped, self.source = source.n_dropped, source.source
        self._theory, self._abstain = theory.name, abstain
        self._stories = [Story(dilemma, abstain, wordings) for dilemma in dilemmas]
        self._shuffled = option_order == "shuffled"
        turned = {"swapped": [True], "balanced": [False, True]}.get(option_order, [False])
        self.variants = [{"context_mode": c, "wording": w} for c, w in product(contexts, wordings)]
        # A sitting is (dilemma, variant, whether options are turned round).
        self._sittings = np.array(
            [*product(range(len(dilemmas)), range(len(self.variants)), turned)], np.int64
        )
        self.n_sittings = len(self._sittings)
        longest = max(range(len(dilemmas)), key=lambda d: self._stories[d].length)
        mine = self._sittings[:, 0] == longest
        # One of each variant: the first that tells it.
        self.samples = [
            int(np.flatnonzero(mine & (self._sittings[:, 1] == v))[0])
            for v in range(len(self.variants))
        ]
        self.wording = wordings[0]
        self._modes = np.array([CONTEXTS.index(v["context_mode"]) for v in self.variants])
        self._tabulate(dilemmas)
        counts = {len(dilemma.stages) for dilemma in dilemmas}
        n = "some questions" if len(counts) > 1 else f"{max(counts)} questions"
        self.preview = PREVIEW.format(n="one question" if counts == {1} else n)
        self._worded: dict[tuple, Words] = {}
        self.reserve(1)

    def _tabulate(self, dilemmas: Sequence[Dilemma]) -> None:
        """Stages as arrays, so that a step is a gather; items are numbered through."""
        stages = [stage for dilemma in dilemmas for stage in dilemma.stages]
        self._n_stages = np.array([len(dilemma.stages) for dilemma in dilemmas])
        self._first = np.concatenate([[0], self._n_stages.cumsum()[:-1]])
        self._real = np.array([len(stage.options) for stage in stages])
        self._widths = self._real + self._abstain
        self.n_options = int(self._widths.max())
        n, width = len(stages), self.n_options
        place = np.arange(width, dtype=np.int16)
        offered = place < self._widths[:, None]
        self._mask = offered.astype(np.int8)
        self._values = np.full((n, width), -1, np.int16)
        self._values[offered & (place >= self._real[:, None])] = UNDECIDED
        number = {name: k for k, name in enumerate(self.values)}
        for i, stage in enumerate(stages):
            for k, option in enumerate(stage.options):
                self._values[i, k] = -1 if option.value is None else number[option.value]
        real = place < self._real[:, None]
        self._orders = np.tile(place, (n, 1))
        self._turned = np.where(real, self._real[:, None] - 1 - place, place).astype(np.int16)
        self._dilemma = np.repeat(np.arange(len(dilemmas)), self._n_stages)
        self._stage = np.arange(n) - self._first[self._dilemma]
        self.item_ids = [
            f"{dilemmas[d].id}/{s + 1}"
            for d, s in zip(self._dilemma.tolist(), self._stage.tolist(), strict=True)
        ]
        self.item_instruments = [self.collection.name] * n
        self.item_stages = (self._stage + 1).tolist()

    def reserve(self, n: int) -> None:
        deepest = int(self._n_stages.max())
        self._which = np.zeros(n, np.int64)  # sitting
        self._at = np.full(n, deepest)
        self._keys = np.zeros(n, np.uint64)
        self._told = np.full((n, deepest), -1, np.int16)
        self._shown = np.zeros((n, deepest, self.n_options), np.int16)

    def reset(self, slots: Ints, keys: Keys, sittings: Ints | None = None) -> None:
        if sittings is None:
            sittings = (uniform(key(keys, "sitting"))[:, 0] * self.n_sittings).astype(np.int64)
        self._which[slots], self._at[slots], self._keys[slots] = sittings, 0, keys
        self._told[slots] = -1
        dilemma, _, turned = self._sittings[sittings].T
        deepest = self._told.shape[1]
        stage = np.minimum(np.arange(deepest), self._n_stages[dilemma][:, None] - 1)
        item = self._first[dilemma][:, None] + stage
        if self._shuffled:
            stream = key(key(keys, "options")[:, None], np.arange(deepest))
            real = np.arange(self.n_options) < self._real[item][..., None]
            self._shown[slots] = permutation(stream, self.n_options, real)
        else:
            turn = turned.astype(bool)[:, None, None]
            self._shown[slots] = np.where(turn, self._turned[item], self._orders[item])

    def pending(self, slots: Ints) -> tuple[Ints, Ints]:
        slots = slots[~self.over(slots)]
        return slots, np.zeros(len(slots), np.int64)

    def _now(self, slots: Ints) -> tuple[Ints, Ints, Ints]:
        """Item, stage and variant of each slot; after the end, those of the last stage."""
        dilemma, variant, _ = self._sittings[self._which[slots]].T
        stage = np.minimum(self._at[slots], self._n_stages[dilemma] - 1)
        return self._first[dilemma] + stage, stage, variant

    def observe(self, slots: Ints, seats: Ints) -> Observation:
        item, stage, variant = self._now(slots)
        later = np.arange(self._told.shape[1]) >= stage[:, None]
        return {
            "item": item,
            "action_mask": self._mask[item],
            "option_order": self._shown[slots, stage],
            "orders": self._shown[slots],
            "values": self._values[item],
            "stage": stage,
            "variant": variant,
            "told": np.where(later, -1, self._told[slots]).astype(np.int16),
        }

    def step(self, slots: Ints, actions: Ints) -> Outcome:
        if self.over(slots).any():
            raise ValueError(f"an episode of {self.name} is over and cannot be stepped")
        item, stage, variant = self._now(slots)
        chosen = actions[:, 0]
        wrong = (chosen < 0) | (chosen >= self._widths[item])
        if wrong.any():
            i = item[wrong][0]
            raise ValueError(
                f"action on item {self.item_ids[i]!r} of {self.name} must lie in "
                f"0..{self._widths[i] - 1}, got {chosen[wrong][0]}"
            )
        mode = self._modes[variant]
        told = np.where(mode == CONTEXTS.index("causal"), chosen, -1)
        other = mode == CONTEXTS.index("counterfactual")
        if other.any():
            told[other] = self._other(slots[other], item[other], stage[other], chosen[other])
        self._told[slots, stage] = told
        self._at[slots] += 1
        nothing = np.full((len(slots), 1), np.nan)
        return Outcome(np.zeros((len(slots), 1)), nothing, nothing)

    def _other(self, slots: Ints, item: Ints, stage: Ints, chosen: Ints) -> Ints:
        """An option that was not chosen, by lot; never not to decide."""
        abstained = chosen >= self._real[item]
        n = np.where(abstained, self._real[item], self._real[item] - 1)
        lot = uniform(key(self._keys[slots], "other", stage))[:, 0]
        k = (lot * n).astype(np.int64)
        return np.where(abstained | (k < chosen), k, k + 1)

    def over(self, slots: Ints) -> NDArray[np.bool_]:
        return self._at[slots] >= self._n_stages[self._sittings[self._which[slots], 0]]

    def describe(self, seen: Observation) -> list[Words]:
        words = []
        rows = zip(
            seen["item"].tolist(), seen["variant"].tolist(), seen["orders"], seen["told"],
            strict=True,
        )  # fmt: skip
        for item, variant, orders, told in rows:
            known = (item, variant, orders.tobytes(), told.tobytes())
            if known not in self._worded:
                if len(self._worded) > 10_000:
                    self._worded.clear()
                self._worded[known] = self._word(item, variant, orders.tolist(), told.tolist())
            words.append(self._worded[known])
        return words

    def _word(self, item: int, variant: int, orders: list[list[int]], told: list[int]) -> Words:
        stage, dilemma = int(self._stage[item]), self._dilemma[item]
        first, n = self._first[dilemma], self._n_stages[dilemma]
        shown = [
            tuple(order[:width])
            for order, width in zip(orders, self._widths[first : first + n].tolist(), strict=False)
        ]
        about = self.variants[variant]
        labels = LABELS[: len(shown[stage])]
        text = self._stories[dilemma].text(
            about["context_mode"], about["wording"], stage, shown, labels, told
        )
        return Words(text, labels, shown[stage])

    def items(self) -> list[dict[str, Any]]:
        rows, norms = [], dict[str, str]()
        for dilemma in self.collection.dilemmas:  # whichever of them are drawn
            norms.setdefault(dilemma.norm or dilemma.id, dilemma.id)
        for i, item in enumerate(self.item_ids):
            dilemma = self._stories[self._dilemma[i]].dilemma
            cluster = norms[dilemma.norm or dilemma.id]  # the first of a norm stands for all
            options = dilemma.stages[self._stage[i]].options
            texts = [(option.text, option.value) for option in options]
            texts += [(ABSTAIN, QUITS)] if self._abstain else []
            for k, (text, value) in enumerate(texts):
                rows.append(
                    {
                        "env": self.name,
                        "instrument": self.collection.name,
                        "item": item,
                        "option": k,
                        "value": value,
                        "theory": self._theory,
                        "stage": int(self._stage[i]) + 1,
                        "cluster": cluster,
                        "text": text,
                    }
                )
        return rows

    def observation_space(self, agent: str) -> spaces.Dict:
        n, deepest = self.n_options, self._told.shape[1]
        return spaces.Dict(
            {
                "item": spaces.Discrete(len(self.item_ids)),
                "action_mask": spaces.Box(0, 1, (n,), np.int8),
                "option_order": spaces.Box(0, n - 1, (n,), np.int16),
                "orders": spaces.Box(0, n - 1, (deepest, n), np.int16),
                "values": spaces.Box(UNDECIDED, len(self.values) - 1, (n,), np.int16),
                "stage": spaces.Discrete(deepest),
                "variant": spaces.Discrete(len(self.variants)),
                "told": spaces.Box(-1, n - 1, (deepest,), np.int16),
            }
        )


def _several(name: str, got: str | Sequence[str], known: Sequence[str]) -> list[str]:
    """One name or several, each of those known and there once."""
    many = isinstance(got, Sequence) and not isinstance(got, str)
    names: list[str] = list(got) if many else [got]  # type: ignore[list-item]
    if not names:
        raise ValueError(f"{name} must name at least one of {', '.join(known)}, got none")
    for one in names:
        if one not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {one!r}")
        if names.count(one) > 1:
            raise ValueError(f"{name} must name each once, got {one!r} twice")
    return names

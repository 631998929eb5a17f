"""A small game with two seats for tests: simultaneous, then in turn, with an early end."""

import numpy as np
from gymnasium import spaces

from envs.base import Game, Outcome, Words, uniform

# (own option, other's option) -> points
PAID = np.array([[3.0, 0.0], [5.0, 1.0]])


class TwoStages(Game):
    """Both move at once; then seat 0 alone, then seat 1 alone; half the episodes end early."""

    name, wording, preview = "two_stages_v0", "points", "Two people move."
    possible_agents = ("agent_0", "agent_1")
    n_options = 2
    item_ids, item_instruments = ("both", "first", "second"), ("two",) * 3

    def __init__(self):
        self.reserve(1)

    def reserve(self, n):
        self._at, self._ends = np.full(n, 3), np.full(n, 3)

    def reset(self, slots, keys, sittings=None):
        self._at[slots] = 0
        self._ends[slots] = np.where(uniform(keys)[:, 0] < 0.5, 1, 3)

    def over(self, slots):
        return self._at[slots] >= self._ends[slots]

    def pending(self, slots):
        live = slots[~self.over(slots)]
        both = live[self._at[live] == 0]
        alone = live[self._at[live] > 0]
        seats = np.concatenate([np.tile([0, 1], len(both)), self._at[alone] - 1])
        return np.concatenate([np.repeat(both, 2), alone]), seats

    def observe(self, slots, seats):
        n = len(slots)
        return {
            "item": np.minimum(self._at[slots], 2),
            "payoffs": np.tile(np.stack([PAID.mean(axis=1), PAID.T.mean(axis=1)], 1), (n, 1, 1)),
            "action_mask": np.ones((n, 2), np.int8),
            "option_order": np.tile(np.array([1, 0], np.int16), (n, 1)),
        }

    def step(self, slots, actions):
        if (actions[actions != -1] > 1).any():
            raise ValueError("action must lie in 0..1, got more")
        acted = actions != -1
        other = np.where(acted[:, ::-1], actions[:, ::-1], 0)
        own = np.where(acted, PAID[np.maximum(actions, 0), other], 0.0)
        self._at[slots] += 1
        return Outcome(own, own, own[:, ::-1].copy())

    def describe(self, seen):
        return [Words("A: 5 for you, 0 for them\nB: 3 for you, 3 for them", ("A", "B"), (1, 0))] * (
            len(seen["item"])
        )

    def items(self):
        return []

    def observation_space(self, agent):
        return spaces.Dict(
            {
                "item": spaces.Discrete(3),
                "payoffs": spaces.Box(0, 5, (2, 2), np.float64),
                "action_mask": spaces.Box(0, 1, (2,), np.int8),
                "option_order": spaces.Box(0, 1, (2,), np.int16),
            }
        )

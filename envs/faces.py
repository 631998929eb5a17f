"""One episode of any game as PettingZoo or Gymnasium know it.

`parallel(game)`, `aec(game)` and, where there is one seat, `single(game)`. Observations are
rows of `Game.observe`; actions are canonical options; `describe(observation)` words one.
"""

import gymnasium
import numpy as np
from pettingzoo import AECEnv, ParallelEnv

from envs.base import Game, Observation, Words

_SLOT = np.zeros(1, np.int64)


class _Episode:
    """A game with room for one episode, and the generator that seeds its next one."""

    def __init__(self, game: Game):
        self.game = game
        self.names = list(game.possible_agents)
        self.rng = np.random.default_rng()
        game.reserve(1)

    def start(self, seed: int | None, rng: np.random.Generator | None = None) -> None:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        draws = self.rng if rng is None else rng
        self.game.reset(_SLOT, draws.integers(2**63, size=1, dtype=np.uint64))

    def row(self, seat: int) -> Observation:
        seen = self.game.observe(_SLOT, np.array([seat]))
        return {name: values[0] for name, values in seen.items()}

    def pending(self) -> list[str]:
        return [self.names[seat] for seat in self.game.pending(_SLOT)[1]]

    def play(self, actions: dict[str, int]) -> np.ndarray:
        """Steps with the pending seats' actions; returns the rewards, shape (seats,)."""
        pending = self.pending()
        if missing := [name for name in pending if name not in actions]:
            raise ValueError(f"actions must name every pending agent, {missing} missing")
        chosen = [[actions[n] if n in pending else -1 for n in self.names]]
        return self.game.step(_SLOT, np.array(chosen)).reward[0]

    def over(self) -> bool:
        return bool(self.game.over(_SLOT)[0])

    def describe(self, observation: Observation) -> Words:
        return self.game.describe({k: np.asarray(v)[None] for k, v in observation.items()})[0]


class ParallelFace(ParallelEnv):
    """All seats at once; actions of seats whose turn it is not are ignored."""

    def __init__(self, game: Game):
        self._episode = _Episode(game)
        self.metadata = {"name": game.name, "render_modes": []}
        self.possible_agents = list(game.possible_agents)
        self.agents = []
        self._spaces = {
            a: (game.observation_space(a), game.action_space(a)) for a in self.possible_agents
        }
        self.describe = self._episode.describe

    def observation_space(self, agent: str) -> gymnasium.Space:
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> gymnasium.Space:
        return self._spaces[agent][1]

    def _seen(self) -> dict[str, Observation]:
        return {name: self._episode.row(seat) for seat, name in enumerate(self.possible_agents)}

    def _infos(self) -> dict[str, dict]:
        pending = self._episode.pending()
        return {name: {"pending": name in pending} for name in self.possible_agents}

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        self._episode.start(seed)
        self.agents = list(self.possible_agents)
        return self._seen(), self._infos()

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        rewards = self._episode.play(actions)
        over = self._episode.over()
        names = self.possible_agents
        if over:
            self.agents = []
        return (
            self._seen(),
            dict(zip(names, rewards.tolist(), strict=True)),
            dict.fromkeys(names, over),
            dict.fromkeys(names, False),
            self._infos(),
        )

    def render(self) -> None:
        """Nothing is drawn; `describe` gives an observation in words."""

    def close(self) -> None:
        """Nothing is held open."""


class AECFace(AECEnv):
    """One pending seat after the other; the game steps when the last of them has acted."""

    def __init__(self, game: Game):
        super().__init__()
        self._parallel = ParallelFace(game)
        self.metadata = {**self._parallel.metadata, "is_parallelizable": False}
        self.possible_agents = self._parallel.possible_agents
        self.observation_space = self._parallel.observation_space
        self.action_space = self._parallel.action_space
        self.describe = self._parallel.describe

    def reset(self, seed: int | None = None, options: dict | None = None) -> None:
        _, self.infos = self._parallel.reset(seed, options)
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._turn()

    def _turn(self) -> None:
        """Begins a step of the game: its pending seats will act one after the other."""
        self._waiting, self._actions = self._parallel._episode.pending(), {}
        self.agent_selection = self._waiting[0] if self._waiting else self.agents[0]

    def observe(self, agent: str) -> Observation:
        return self._parallel._episode.row(self.possible_agents.index(agent))

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        self._actions[agent] = action
        if len(self._actions) < len(self._waiting):
            self._clear_rewards()
            self.agent_selection = self._waiting[len(self._actions)]
            return
        _, self.rewards, self.terminations, self.truncations, self.infos = self._parallel.step(
            self._actions
        )
        self._accumulate_rewards()
        self._turn()

    def render(self) -> None:
        """Nothing is drawn; `describe` gives an observation in words."""

    def close(self) -> None:
        """Nothing is held open."""


class SingleFace(gymnasium.Env):
    """A game with one seat."""

    def __init__(self, game: Game):
        if len(game.possible_agents) != 1:
            raise ValueError(f"single() needs one seat, {game.name} has {game.possible_agents}")
        self._episode = _Episode(game)
        (agent,) = game.possible_agents
        self.metadata = {"name": game.name, "render_modes": []}
        self.observation_space = game.observation_space(agent)
        self.action_space = game.action_space(agent)
        self.describe = self._episode.describe

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[Observation, dict]:
        super().reset(seed=seed)
        self._episode.start(None, self.np_random)
        return self._episode.row(0), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict]:
        game = self._episode.game
        reward = game.step(_SLOT, np.array([[action]])).reward[0, 0]
        return self._episode.row(0), float(reward), bool(game.over(_SLOT)[0]), False, {}


def parallel(game: Game) -> ParallelFace:
    """`game` as a PettingZoo ParallelEnv."""
    return ParallelFace(game)


def aec(game: Game) -> AECFace:
    """`game` as a PettingZoo AECEnv."""
    return AECFace(game)


def single(game: Game) -> SingleFace:
    """`game`, which must have one seat, as a Gymnasium Env."""
    return SingleFace(game)

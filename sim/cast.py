"""Who sits where: every kind of agent plays the whole population, in every repeat."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.base import Agent, Member
from sim.errors import Refusal
from sim.inference.base import Backend
from sim.tables import AGENTS


@dataclass(frozen=True)
class Player:
    """A member of the population under one kind of agent."""

    agent_id: str
    kind: int
    member: Member  # as assigned: a control where the kind assigns nothing


class Cast:
    """The players of a run and their seats in its episodes.

    Args:
        agents: kind -> agent.
        members: the population.
        backend: serves the language models, or None.
        n_seats: of the game.
        n_repeats: how often each player meets everything.
        n_sittings: episodes in which it does.

    Raises:
        Refusal: a kind that cannot play a member, or seats that cannot be filled.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        members: Sequence[Member],
        backend: Backend | None,
        n_seats: int,
        n_repeats: int,
        n_sittings: int = 1,
    ):
        if not agents:
            raise Refusal("agent must name at least one kind of agent, got none")
        if isinstance(n_repeats, bool) or not isinstance(n_repeats, int) or n_repeats < 1:
            raise Refusal(f"n_repeats must be a whole number, 1 or more, got {n_repeats!r}")
        self.kinds = list(agents)
        self.agents = list(agents.values())
        self.players, rows = [], []
        for k, (kind, agent) in enumerate(agents.items()):
            for member in members:
                agent.check(member)
                assigned = agent.assigns(member)
                acted = member
                if not assigned:
                    acted = Member(member.name, model=member.model, cohort=member.cohort)
                model = None
                if agent.speaks and backend is not None:
                    model = backend.part(member.model).model
                self.players.append(Player(f"{kind}-{member.name}", k, acted))
                rows.append(
                    {
                        **member.cohort,
                        "agent_id": f"{kind}-{member.name}",
                        "agent": kind,
                        "member": member.name,
                        "value": acted.value,
                        "target": acted.target,
                        "profile": _profile(acted),
                        "method": agent.method(acted),
                        "model": model,
                    }
                )
        self.table = pl.DataFrame(rows, schema_overrides=AGENTS, infer_schema_length=None)
        n = len(self.players)
        ids = self.table["agent_id"]
        if len(same := ids.filter(ids.is_duplicated())):
            raise Refusal(f"every member needs a name of its own, got {same[0]!r} twice")
        if n % n_seats:
            raise Refusal(f"players must fill all {n_seats} seats of an episode, got {n} players")
        self.kind = np.array([player.kind for player in self.players])
        self.target = np.array(
            [np.nan if p.member.target is None else p.member.target for p in self.players]
        )
        self.traits = [self._traits(k, agent) for k, agent in enumerate(self.agents)]
        seating = np.arange(n).reshape(-1, n_seats)
        # (episodes, seats)
        self.seating: NDArray[np.int64] = np.tile(seating, (n_repeats * n_sittings, 1))
        rounds = np.repeat(np.arange(n_repeats * n_sittings), len(seating))
        self.repeat, self.sitting = np.divmod(rounds, n_sittings)

    def _traits(self, kind: int, agent: Agent) -> NDArray[np.float64]:
        """Traits (players, k) of the players of a kind, NaN for all others."""
        mine = [list(agent.traits(p.member)) if p.kind == kind else None for p in self.players]
        width = max((len(one) for one in mine if one is not None), default=0)
        nothing = [np.nan] * width
        rows = [nothing if one is None else one for one in mine]
        return np.array(rows, float).reshape(len(rows), width)

    def told(self, wording: str, context: str | None = None) -> pl.DataFrame:
        """`context_mode` and `wording` of each player.

        Args:
            wording: the game's own.
            context: the game's own; None: what an agent's conversation shows.
        """
        kinds = [self.agents[player.kind] for player in self.players]
        texts = ["; ".join(filter(None, (wording, kind.wording))) for kind in kinds]
        return pl.DataFrame(
            {"context_mode": [context or kind.context for kind in kinds], "wording": texts},
            schema={"context_mode": pl.String, "wording": pl.String},
        )

    @property
    def speaks(self) -> bool:
        """Whether any kind needs a language model."""
        return any(agent.speaks for agent in self.agents)


def _profile(member: Member) -> str | None:
    if member.value is None:
        return None
    return json.dumps(dict(member.profile or {member.value: 1.0}))

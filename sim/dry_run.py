"""What would be asked: one agent's whole conversation per condition, and nobody is asked."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from agents.base import Message, Rows, Seat
from envs.base import key, uniform
from sim.cast import Player
from sim.inference.base import Backend
from sim.rules import Rules
from sim.setup import Parts

REPLY = "[the model's reply]"


def dry_run(parts: Parts) -> Iterator[str]:
    """Lines that show each condition: its prompts with their token counts."""
    seen: set[tuple] = set()
    cast, rules = parts.cast, parts.rules
    for number, player in enumerate(cast.players):
        condition = (player.kind, player.member.value, player.member.model)
        if condition in seen:
            continue
        seen.add(condition)
        agent, value = cast.agents[player.kind], player.member.value or "control"
        same = sum((p.kind, p.member.value, p.member.model) == condition for p in cast.players)
        yield f"===== {cast.kinds[player.kind]}, {value}: {same} agents, as {player.agent_id}"
        if not agent.speaks:
            yield "scripted: decides on numbers, nothing is asked\n"
            continue
        assert parts.backend is not None
        backend = parts.backend.part(player.member.model)
        yield from _conversation(parts, player, number, backend, rules)
    n = len(cast.seating)
    yield f"{len(seen)} conditions, {len(cast.players)} agents, {n} episodes; nobody was asked."


def _conversation(
    parts: Parts, player: Player, number: int, backend: Backend, rules: Rules
) -> Iterator[str]:
    """One episode in which every decision takes the first option shown."""
    game, agent = parts.game, parts.cast.agents[player.kind]
    game.reserve(1)
    slots = np.zeros(1, np.int64)
    episode = np.argwhere(parts.cast.seating == number)[0, 0]
    game.reset(slots, key(key(rules.seed, "game"), episode))
    seat, total, step = Seat(player.member, game.preview), 0, 0
    while not game.over(slots)[0]:
        seen = game.observe(slots, slots)
        words = game.describe(seen)[0]
        draws = key(0, "dry run")
        draw = partial(uniform, draws)
        rows = Rows(seen, np.array([np.nan]), draw, draw, [seat], [words])
        (turn,) = agent.act(rows)
        assert not isinstance(turn, np.integer)
        message = seat.tip
        for role, content in turn.messages:
            message = Message(role, content, message)
            yield f"--- step {step}, {turn.kind}: {role}\n{content}"
        assert message is not None
        prompt = sum(backend.count_tokens(m.content) for m in message.history())
        total += prompt
        yield f"--- ({prompt} tokens in the prompt, replies not counted)"
        if turn.labels is None:
            seat.tip, seat.reply = Message("assistant", REPLY, message), REPLY
            continue
        if turn.stays:
            seat.tip = Message("assistant", REPLY, message)
        game.step(slots, np.array([[words.order[0]]]))
        step += 1
    yield f"===== {total} prompt tokens in all, replies not counted\n"

"""Conversations as they will be asked, without anybody who answers: to be shown, or measured."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from agents.base import Message, Rows, Seat, Turn
from envs.base import Game, key, uniform
from sim.cast import Cast
from sim.errors import Refusal
from sim.inference.base import Backend

SHORTEST = "A"  # that a reply can be


class Exchange(NamedTuple):
    """One question, and the conversation up to and with it."""

    step: int
    turn: Turn
    message: Message


def conditions(cast: Cast) -> dict[tuple, list[int]]:
    """Players, by number, of each (kind, value, model)."""
    found: dict[tuple, list[int]] = {}
    for number, player in enumerate(cast.players):
        condition = (player.kind, player.member.value, player.member.model)
        found.setdefault(condition, []).append(number)
    return found


def rehearse(
    game: Game, cast: Cast, number: int, seed: int, reply: str, sitting: int = 0
) -> Iterator[Exchange]:
    """One episode of a player that speaks; every decision takes the first option shown.

    Args:
        game: is reserved for one episode.
        cast: of the run.
        number: of the player.
        seed: of the run.
        reply: stands where the model's replies will.
        sitting: which of the player's.
    """
    player = cast.players[number]
    agent = cast.agents[player.kind]
    game.reserve(1)
    slots = np.zeros(1, np.int64)
    episode, place = np.argwhere((cast.seating == number) & (cast.sitting == sitting)[:, None])[0]
    game.reset(slots, key(key(seed, "game"), np.array([episode])), cast.sitting[[episode]])
    seat, step = Seat(player.member, game.preview), 0
    while not game.over(slots)[0]:
        _, seats = game.pending(slots)
        actions = np.full((1, len(game.possible_agents)), -1)
        for one in seats.tolist():
            seen = game.observe(slots, np.array([one]))
            words = game.describe(seen)[0]
            actions[0, one] = words.order[0]
            while one == place:
                draw = partial(uniform, key(0, "dry run"))
                rows = Rows(seen, np.array([np.nan]), draw, draw, [seat], [words])
                (turn,) = agent.act(rows)
                assert isinstance(turn, Turn)
                message = seat.tip
                for role, content in turn.messages:
                    message = Message(role, content, message)
                assert message is not None
                yield Exchange(step, turn, message)
                if turn.labels is None:
                    seat.tip, seat.reply = Message("assistant", reply, message), reply
                    continue
                if turn.stays:
                    seat.tip = Message("assistant", reply, message)
                break
        game.step(slots, actions)
        step += 1


def check_length(game: Game, cast: Cast, backend: Backend, seed: int) -> None:
    """Refuses conversations that cannot fit a model, whatever it replies.

    Raises:
        Refusal: a conversation is longer than the model takes, each reply counted as one letter.
    """
    for (kind, value, name), numbers in conditions(cast).items():
        serves = backend.part(name)
        if not cast.agents[kind].speaks or serves.context is None:
            continue
        most = max(
            serves.count_prompt(exchange.message)
            for sitting in game.samples
            for exchange in rehearse(game, cast, numbers[0], seed, SHORTEST, sitting)
        )
        if most >= serves.context:
            hint = "; conversation=separate asks each item alone"
            shared = cast.agents[kind].context == "shared"
            raise Refusal(
                f"a conversation of {cast.kinds[kind]} ({value or 'control'}) must fit the "
                f"{serves.context:,} tokens of {serves.model}, got {most:,} with the shortest "
                f"replies{hint if shared else ''}"
            )

"""What would be asked: one agent's whole conversation per condition, and nobody is asked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.inference import prices
from sim.rehearsal import conditions, rehearse
from sim.setup import Parts

REPLY = "[the model's reply]"


@dataclass
class _Asked:
    """Tokens of prompts and number of requests, as far as they were shown."""

    tokens: int = 0  # but for earlier replies
    n: int = 0
    earlier: int = 0  # replies that stand in them


def dry_run(parts: Parts) -> Iterator[str]:
    """Lines that show each condition: its prompts with their token counts; last, what it costs."""
    cast = parts.cast
    found = conditions(cast)
    expected: list[tuple[int, int] | None] = []
    for (kind, value, model), numbers in found.items():
        player = cast.players[numbers[0]]
        who = f"{cast.kinds[kind]}, {value or 'control'}"
        yield f"===== {who}: {len(numbers)} agents, as {player.agent_id}"
        if not cast.agents[kind].speaks:
            yield "scripted: decides on numbers, nothing is asked\n"
            continue
        shown = _Asked()
        for sitting in parts.game.samples:
            yield from _sitting(parts, numbers[0], sitting, shown)
        episodes = int(np.isin(cast.seating, numbers).sum()) / len(parts.game.samples)
        assert parts.backend is not None
        counts = (round(k * episodes) for k in (shown.tokens, shown.n, shown.earlier))
        expected.append(parts.backend.part(model).expected_cost(*counts))
    n = len(cast.seating)
    yield f"{len(found)} conditions, {len(cast.players)} agents, {n} episodes; nobody was asked."
    yield from _cost(expected)


def _sitting(parts: Parts, number: int, sitting: int, shown: _Asked) -> Iterator[str]:
    """One episode, with the tokens of its prompts; the game's variant above it."""
    assert parts.backend is not None
    backend, total = parts.backend.part(parts.cast.players[number].member.model), 0
    variants = parts.game.variants
    if len(variants) > 1:
        about = variants[parts.game.samples.index(sitting)]
        yield f"--- {', '.join(f'{name} {value}' for name, value in about.items())}"
    seed = parts.rules.seed
    for step, turn, message in rehearse(parts.game, parts.cast, number, seed, REPLY, sitting):
        for role, content in turn.messages:
            yield f"--- step {step}, {turn.kind}: {role}\n{content}"
        prompt = backend.count_prompt(message)
        total += prompt
        earlier = sum(one.role == "assistant" for one in message.history())
        shown.n, shown.earlier = shown.n + 1, shown.earlier + earlier
        shown.tokens += prompt - earlier * backend.count_tokens(REPLY)
        yield f"--- ({prompt} tokens in the prompt, replies as shown)"
    yield f"===== {total} prompt tokens in all, replies as shown\n"


def _cost(expected: list[tuple[int, int] | None]) -> Iterator[str]:
    """The sum over conditions, where the prices of all are known."""
    known = [one for one in expected if one is not None]
    if len(known) < len(expected) or not any(map(any, known)):
        return
    likely, most = (prices.shown(sum(part)) for part in zip(*known, strict=True))
    yield (
        f"expected cost: about {likely} with replies of model.expected_tokens tokens, {most} where "
        f"all have model.max_tokens; re-asks and further tries come on top; prompts are estimated "
        f"at four bytes a token, without what the server finds in its cache"
    )

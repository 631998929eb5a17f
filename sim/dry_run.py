"""What would be asked: one agent's whole conversation per condition, and nobody is asked."""

from collections.abc import Iterator

from sim.rehearsal import conditions, rehearse
from sim.setup import Parts

REPLY = "[the model's reply]"


def dry_run(parts: Parts) -> Iterator[str]:
    """Lines that show each condition: its prompts with their token counts."""
    cast = parts.cast
    found = conditions(cast)
    for (kind, value, _), numbers in found.items():
        player = cast.players[numbers[0]]
        who = f"{cast.kinds[kind]}, {value or 'control'}"
        yield f"===== {who}: {len(numbers)} agents, as {player.agent_id}"
        if cast.agents[kind].speaks:
            yield from _conversation(parts, numbers[0])
        else:
            yield "scripted: decides on numbers, nothing is asked\n"
    n = len(cast.seating)
    yield f"{len(found)} conditions, {len(cast.players)} agents, {n} episodes; nobody was asked."


def _conversation(parts: Parts, number: int) -> Iterator[str]:
    assert parts.backend is not None
    for sitting in parts.game.samples:
        yield from _sitting(parts, number, sitting)


def _sitting(parts: Parts, number: int, sitting: int) -> Iterator[str]:
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
        yield f"--- ({prompt} tokens in the prompt, replies as shown)"
    yield f"===== {total} prompt tokens in all, replies as shown\n"

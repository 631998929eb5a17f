"""A model's reasoning, kept apart from what it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.errors import Refusal
from sim.inference.chat import Chat

USUAL_START = "<think>"


@dataclass(frozen=True)
class Thinking:
    """The marks around a model's reasoning.

    Args:
        start: opens it, such as `<think>`.
        end: closes it.
        budget: most tokens of it; None: as many as a reply may have.
        opened: whether the model's chat template itself writes `start`.
    """

    start: str
    end: str
    budget: int | None
    opened: bool

    @classmethod
    def of(
        cls, given: Mapping[str, Any] | None, chat: Chat, with_budget: bool = False
    ) -> "Thinking | None":
        """From a config's `thinking`; None where there is none.

        Args:
            given: start, end and, where the engine can end a thought, budget.
            chat: of the model.
            with_budget: whether the engine can.

        Raises:
            Refusal: something is missing, unknown or of a wrong kind.
        """
        if given is None:
            return None
        names = ("start", "end", "budget") if with_budget else ("start", "end")
        marks = [m for m in (given.get("start"), given.get("end")) if isinstance(m, str)]
        if set(given) - set(names) or len(marks) < 2 or not all(m.strip() for m in marks):
            told = "start, end and budget" if with_budget else "a start and an end"
            raise Refusal(f"thinking must be null or have {told}, got {dict(given)}")
        budget = given.get("budget")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
            raise Refusal(f"thinking.budget must be a whole number or null, got {budget!r}")
        if budget is not None and budget < 1:
            raise Refusal(f"thinking.budget must be 1 or more, or null, got {budget}")
        return cls(marks[0], marks[1], budget, _opens(chat, marks[0]))

    def split(self, text: str) -> tuple[str, str | None]:
        """(what is said, reasoning before it); reasoning that never ends leaves nothing said."""
        before, ended, after = text.partition(self.end)
        begun = self.opened or text.lstrip().startswith(self.start)
        if not (ended or begun):
            return text, None
        return after.lstrip(), before.strip().removeprefix(self.start).strip()


def check_mode(mode: str, thinking: Thinking | None, chat: Chat, parses: bool = False) -> None:
    """Refuses to force a reply upon a model that is made to begin with reasoning.

    Args:
        mode: of the response.
        thinking: the model's reasoning, if it is kept apart.
        chat: of the model.
        parses: whether the engine knows where reasoning ends, so that it forces only what follows.
    """
    start = thinking.start if thinking else USUAL_START
    if mode == "text" or (parses and mode != "label"):
        return
    if _opens(chat, start):
        raise Refusal(
            f"mode {mode} needs a chat template that opens no reasoning (see "
            f"model.template_arguments), that of {chat.name} opens {start!r}"
        )
    if chat.header.strip():
        raise Refusal(
            f"mode {mode} needs a chat template behind which a reply begins at once (see "
            f"model.template_arguments), with that of {chat.name} {chat.header!r} comes first"
        )


def _opens(chat: Chat, start: str) -> bool:
    asked = chat.render([{"role": "user", "content": "Hello"}])
    return asked.rstrip().endswith(start.strip())

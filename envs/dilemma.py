"""What a dilemma is: stages of rising stakes, each with options that stand for values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Option:
    """A way to act, as an imperative sentence, and the value that it acts on, if any."""

    text: str
    value: str | None


@dataclass(frozen=True)
class Stage:
    """One decision.

    Attributes:
        situation: in words, for the second person.
        question: as the source has it; None where it has none.
        options: two or more, in canonical order.
    """

    situation: str
    question: str | None
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Dilemma:
    """A story of one stage or more.

    Attributes:
        id: unique in its collection.
        norm: the rule of thumb that it puts to the test; nobody is shown it. Dilemmas of one norm
            are one unit of resampling.
        stages: in order.
        where: it stands, for messages.
    """

    id: str
    norm: str | None
    stages: tuple[Stage, ...]
    where: str


class Values(Protocol):
    """A theory of values, as far as dilemmas need it."""

    @property
    def name(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Collection:
    """Dilemmas of one source.

    Attributes:
        name: of the collection; the instrument of its items.
        dilemmas: all different.
        n_dropped: rows that repeat an earlier one.
        checksums: of what was read, by name.
        source: who published it, for the report.
    """

    name: str
    dilemmas: tuple[Dilemma, ...]
    n_dropped: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None

    def draw(self, n: int | None, seed: int) -> list[Dilemma]:
        """`n` of the dilemmas, drawn by `seed`, in their own order; None: all of them.

        Raises:
            ValueError: there are not as many, or one of the numbers is none.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"items_seed must be a whole number, 0 or more, got {seed!r}")
        whole = len(self.dilemmas)
        if n is None:
            return list(self.dilemmas)
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= whole:
            raise ValueError(f"n_dilemmas must be null or lie in 1..{whole}, got {n!r}")
        picked = np.random.default_rng([seed]).permutation(whole)[:n]
        return [self.dilemmas[i] for i in sorted(picked.tolist())]

    def check(self, theory: Values) -> None:
        """Raises ValueError where a dilemma cannot be played, with file, row and field."""
        if not self.dilemmas:
            raise ValueError(f"a collection needs at least one dilemma, {self.name!r} has none")
        known, seen = set(theory.names), set[str]()
        for dilemma in self.dilemmas:
            for text in _texts(dilemma):
                _check_text(dilemma.where, text)
            if dilemma.id in seen:
                raise ValueError(
                    f"{dilemma.where}: every id must be there once, got {dilemma.id!r}"
                )
            seen.add(dilemma.id)
            if not dilemma.stages:
                raise ValueError(f"{dilemma.where}: a dilemma needs at least one stage, got none")
            for number, stage in enumerate(dilemma.stages, start=1):
                _check_stage(f"{dilemma.where}, stage {number}", stage, known, theory.name)


def _texts(dilemma: Dilemma) -> list[str]:
    texts = [dilemma.id, dilemma.norm or ""]
    for stage in dilemma.stages:
        texts += [stage.situation, stage.question or "", *(o.text for o in stage.options)]
    return texts


def _check_text(where: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise ValueError(
            f"{where}: a text must be one that UTF-8 can write, got {text[:40]!r}"
        ) from fault


def _check_stage(where: str, stage: Stage, known: set[str], theory: str) -> None:
    if not stage.situation.strip():
        raise ValueError(f"{where}: a situation must be a text, got {stage.situation!r}")
    if len(stage.options) < 2:
        raise ValueError(f"{where}: a stage needs two options or more, got {len(stage.options)}")
    if len(stage.options) > 8:
        raise ValueError(f"{where}: a stage has room for eight options, got {len(stage.options)}")
    texts = [option.text.strip() for option in stage.options]
    for text in texts:
        if not text or texts.count(text) > 1:
            raise ValueError(f"{where}: every option needs a text of its own, got {text!r}")
        if len(text.splitlines()) > 1:  # a line could pass for another option
            raise ValueError(f"{where}: an option must stand in one line, got {text!r}")
    for option in stage.options:
        if option.value is not None and option.value not in known:
            raise ValueError(
                f"{where}: a value must be one of {', '.join(sorted(known))} (theory {theory}), "
                f"got {option.value!r}"
            )

"""Are dilemmas balanced? `python -m envs.balance [PATH ...]` prints tables and what is not.

Reads files of our format (`envs/bank/README.md`); none given: the banks in `envs/bank`. The exit
status is 0 where every rule holds. The rules, over the values that a file's options stand for:

- every pair of values meets at some stage;
- each value is shown equally often at each stage;
- each value is equally often the first and the second option, at each stage and in all;
- no option gives a value away by its name or a word of its family.

Equally often: as counts allow, a difference of 1 at most.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from envs.dilemma import Collection, Stage
from envs.loaders.jsonl import load

BANK = Path(__file__).resolve().parent / "bank"
# Words of the families of the moral foundations and of Schwartz's values; \w* is any ending.
TELLING = r"""
    care cares caring fair fairly fairness unfair justice just equal equally equality
    loyal loyalty betray\w* authority obey\w* obedience respect\w*
    sanctity sacred holy pure purity degrad\w* liberty freedom free freely oppress\w*
    self-direction independen\w* stimulat\w* exciting thrill\w* hedonis\w* pleasure\w*
    achiev\w* success\w* ambitio\w* power\w* status security secure safe safely safety
    conform\w* tradition\w* custom customs benevolen\w* kind kindly kindness
    universal\w* toleran\w* moral\w* ethic\w* duty duties
"""


@dataclass(frozen=True)
class Balance:
    """How often values are shown.

    Attributes:
        values: that options of the collection stand for, sorted.
        shown: (values, stages, places), how often a value is the option of a place.
        met: (values, values), stages in which both are options; symmetrical.
    """

    values: tuple[str, ...]
    shown: NDArray[np.int64]
    met: NDArray[np.int64]


@dataclass(frozen=True)
class _Found:
    """The values of a file as its theory."""

    name: str
    names: Sequence[str]


def count(collection: Collection) -> Balance:
    """Counts the values of a collection that can be played; options without one are left out."""
    stages, values = list(_stages(collection)), _values(collection)
    deepest = max(len(dilemma.stages) for dilemma in collection.dilemmas)
    widest = max(len(stage.options) for _, stage in stages)
    shown = np.zeros((len(values), deepest, widest), np.int64)
    met = np.zeros((len(values), len(values)), np.int64)
    for s, stage in stages:
        known = [values.index(option.value) if option.value is not None else None
                 for option in stage.options]  # fmt: skip
        for place, v in enumerate(known):
            if v is not None:
                shown[v, s, place] += 1
        for v, w in combinations([v for v in known if v is not None], 2):
            met[v, w] += 1
            met[w, v] += v != w
    return Balance(values, shown, met)


def faults(collection: Collection) -> list[str]:
    """A sentence for each rule that does not hold, of a collection that can be played."""
    balance = count(collection)
    if len(balance.values) < 2:
        got = ", ".join(balance.values) or "none"
        return [f"options must stand for two values or more, got {got}"]
    found = [_unmet(balance), _stage_counts(balance), _places(balance), _told(collection, balance)]
    return [sentence for sentence in found if sentence]


def _unmet(balance: Balance) -> str | None:
    pairs = list(combinations(range(len(balance.values)), 2))
    unmet = [pair for pair in pairs if not balance.met[pair]]
    if not unmet:
        return None
    v, w = (balance.values[i] for i in unmet[0])
    return (
        f"every pair of values must meet, {len(unmet)} of {len(pairs)} never do, first {v} and {w}"
    )


def _stage_counts(balance: Balance) -> str | None:
    counts = balance.shown.sum(axis=2)
    s = int(np.ptp(counts, axis=0).argmax())
    least, most = int(counts[:, s].argmin()), int(counts[:, s].argmax())
    if counts[most, s] - counts[least, s] <= 1:
        return None
    return (
        f"each value must be shown equally often at each stage, at stage {s + 1} "
        f"{balance.values[most]} is shown {counts[most, s]} times and {balance.values[least]} "
        f"{counts[least, s]}"
    )


def _places(balance: Balance) -> str | None:
    firsts = balance.shown[..., :2]
    by_stage = firsts.transpose(1, 0, 2)
    wheres = ["in all", *(f"at stage {s + 1}" for s in range(len(by_stage)))]
    for where, counts in zip(wheres, [firsts.sum(axis=1), *by_stage], strict=True):
        v = int(np.ptp(counts, axis=1).argmax())
        first, second = counts[v].tolist()
        if abs(first - second) > 1:
            return (
                f"each value must be equally often the first and the second option, {where} "
                f"{balance.values[v]} is the first {first} times and the second {second}"
            )
    return None


def _told(collection: Collection, balance: Balance) -> str | None:
    parts = [re.split(r"[\s_-]+", value) for value in balance.values]
    names = [r"[\s_-]+".join(map(re.escape, words)) for words in parts]
    pattern = re.compile(rf"\b(?:{'|'.join(TELLING.split() + names)})\b", re.I)
    told = [
        (match[0], f"{dilemma.where}, stage {s}, option {k}")
        for dilemma in collection.dilemmas
        for s, stage in enumerate(dilemma.stages, start=1)
        for k, option in enumerate(stage.options, start=1)
        if (match := pattern.search(option.text))
    ]
    if not told:
        return None
    word, where = told[0]
    return f"no option may give its value away, {len(told)} do, first {where} with {word!r}"


def _stages(collection: Collection) -> Iterator[tuple[int, Stage]]:
    """Each stage with its number in its dilemma, from 0."""
    for dilemma in collection.dilemmas:
        yield from enumerate(dilemma.stages)


def _values(collection: Collection) -> tuple[str, ...]:
    """Those that options stand for, sorted."""
    options = [option for _, stage in _stages(collection) for option in stage.options]
    return tuple(sorted({option.value for option in options if option.value is not None}))


def _value_table(balance: Balance) -> Table:
    table = Table(
        title="How often each value is shown",
        caption="by stage, first + second option (+ further ones)",
    )
    table.add_column("value")
    n_stages = balance.shown.shape[1]
    for name in (*map(str, range(1, n_stages + 1)), "all", "times"):
        table.add_column(name, justify="right")
    for value, counts in zip(balance.values, balance.shown, strict=True):
        cells = ["+".join(map(str, row)) for row in [*counts.tolist(), counts.sum(axis=0).tolist()]]
        table.add_row(escape(value), *cells, str(counts.sum()))
    return table


def _pair_table(balance: Balance) -> Table:
    table = Table(title="How often values meet", caption="columns: the values by number")
    table.add_column("value")
    numbers = range(1, len(balance.values) + 1)
    for number in numbers:
        table.add_column(str(number), justify="right")
    for number, value, row in zip(numbers, balance.values, balance.met.tolist(), strict=True):
        cells = [str(n) if n or k != number else "" for k, n in enumerate(row, start=1)]
        table.add_row(f"{number} {escape(value)}", *cells)
    return table


def _word_table(collection: Collection) -> Table:
    table = Table(title="Words", caption="mean (least to most)")
    for name in ("stage", "dilemmas", "situation", "first option", "second option"):
        table.add_column(name, justify="right")
    deepest = max(len(dilemma.stages) for dilemma in collection.dilemmas)
    for s in [*range(deepest), None]:
        stages = [stage for k, stage in _stages(collection) if s in (k, None)]
        texts = [[stage.situation for stage in stages]]
        texts += [[stage.options[place].text for stage in stages] for place in (0, 1)]
        if s is None:
            table.add_section()
        n = len(collection.dilemmas) if s is None else len(stages)
        table.add_row("all" if s is None else str(s + 1), str(n), *map(_words, texts))
    return table


def _words(texts: Sequence[str]) -> str:
    n = [len(text.split()) for text in texts]
    return f"{sum(n) / len(n):.1f} ({min(n)} to {max(n)})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and a sentence for each broken rule; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.balance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="*", help="files of our format; none: the banks")
    told = parser.parse_args(arguments)
    console, status = Console(), 0
    for path in told.path or map(str, sorted(BANK.glob("*.jsonl"))):
        try:
            collection = load(path)
            collection.check(_Found("of the file", _values(collection)))
        except ValueError as fault:
            print(fault)
            status = 1
            continue
        n = len(collection.dilemmas)
        name, dropped = escape(collection.name), collection.n_dropped
        console.rule(f"{name}: {n} dilemmas, {dropped} repeated rows")
        balance = count(collection)
        for table in (_value_table(balance), _pair_table(balance), _word_table(collection)):
            console.print(table)
        broken = faults(collection)
        for sentence in broken:
            print(f"{path}: {sentence}")
        status = 1 if broken else status
    return status


if __name__ == "__main__":
    sys.exit(main())

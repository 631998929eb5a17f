"""What is measured of the pocket model, on choices and wordings that were kept out of training."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.base import Message
from sim.analysis import human
from sim.analysis.angle import angle
from sim.analysis.slider import category
from sim.configs import compose
from sim.inference import modes
from sim.inference.base import Backend
from sim.pocket.kept_out import SEEDS
from sim.pocket.scores import Line, Score, line, scored
from sim.pocket.talks import GENERATED, ask, items
from sim.pocket.text import LABELS, OTHER, UNIT
from sim.pocket.words import SVO, definitions, own
from sim.run import play
from sim.setup import build


def _grouped(rows: pl.DataFrame, by: str, *columns: str) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, *entry in rows.select(by, *columns).iter_rows():
        found.setdefault(key, []).append(entry if len(entry) > 1 else entry[0])
    return found


def study(model: Sequence[str], *overrides: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(decisions, items) of a study with the model."""
    with tempfile.TemporaryDirectory() as folder:
        play(build(compose(*model, *overrides)), Path(folder), False, False)
        tables = [pl.read_parquet(Path(folder) / f"{t}.parquet") for t in ("decisions", "items")]
    return tables[0], tables[1]


def games(model: Sequence[str], n: int, response_mode: str) -> Iterator[Line]:
    """On generated items that were kept out, by our agents' own wordings."""
    for widths in ("[9,9]", "[2,9]"):
        rows, offered = study(
            model, *GENERATED, "experiment=hvae", f"population.n={n}", f"env.n_options={widths}",
            "agent=[hvae,hvae_goal,definition]", f"response_mode={response_mode}",
        )  # fmt: skip
        # Episodes of one form meet the same items: they are one unit.
        rows = rows.with_columns(form=pl.col("item").str.extract(r"^(f\d+)b"))
        paid = {
            item: part.sort("option").select("payoff_self", "payoff_other").to_numpy()
            for (item,), part in offered.partition_by("item", as_dict=True).items()
        }
        told = rows.filter(pl.col("value").is_not_null())
        read = told.filter(pl.col("action").is_not_null())
        unread = 1 - read.height / told.height
        what = f"{response_mode}, {widths} options"
        for own_range, name in ((False, "near the best"), (True, "... by the utility's own range")):
            scores = {
                form: [
                    Score.of(value, paid[item].astype(np.int64), action, own_range)
                    for value, item, action in group
                ]
                for form, group in _grouped(read, "form", "value", "item", "action").items()
            }
            yield scored(f"{what}: {name}" if not own_range else name, scores, unread)
        for (value,), part in read.sort("value").partition_by("value", as_dict=True).items():
            scores = {
                form: [Score.of(value, paid[i].astype(np.int64), a) for i, a in group]
                for form, group in _grouped(part, "form", "item", "action").items()
            }
            lost = 1 - part.height / told.filter(pl.col("value") == value).height
            yield scored(f"... {value}", scores, lost)
        if response_mode != "label":  # there is nothing to read
            known = rows.with_columns(read=pl.col("action").is_not_null().cast(pl.Float64))
            yield line(f"{what}: readable at the first try", _grouped(known, "form", "read"))


def orders(backend: Backend, n: int) -> Iterator[Line]:
    """How often the order of the options changes an answer, beyond how often it changes anyway."""
    known = items()
    rng = np.random.default_rng(SEEDS[1])
    messages, shown = [], []
    for k in range(n):
        value, options = SVO[k % 4], known[k // 4 % len(known)]
        first = second = rng.permutation(len(options))
        while np.array_equal(first, second):
            second = rng.permutation(len(options))
        for order in (first, first, second):
            messages.append(_question(value, options[order]))
            shown.append(order)
    replies = ask(backend, messages, [tuple(LABELS[: len(o)]) for o in shown], 7)
    picked = [_chosen(r.text, o) for r, o in zip(replies, shown, strict=True)]
    floor: dict[int, list[float]] = {}
    flips: dict[int, list[float]] = {}
    lots = []
    triples = zip(picked[::3], picked[1::3], picked[2::3], shown[::3], strict=True)
    for k, (a, b, c, order) in enumerate(triples):
        if None not in (a, b, c):
            lots.append(1 - 1 / len(order))
            floor.setdefault(k // 4 % len(known), []).append(float(a != b))
            flips.setdefault(k // 4 % len(known), []).append(float(a != c))
    effect = {k: np.subtract(flips[k], floor[k]).tolist() for k in flips}
    unread, lot = 1 - len(lots) / n, float(np.mean(lots))
    yield line("another order: other option", flips, unread=unread, lot=lot)
    yield line("the same order again: other option", floor, unread=unread, lot=lot)
    yield line("order effect, the difference", effect, unread=unread, lot=0.0)


def _question(value: str, options: NDArray[np.int64]) -> Message:
    words = own()
    lines = "\n".join(
        f"{LABELS[i]}: " + words["option"].format(self=a, other=b, unit=UNIT)
        for i, (a, b) in enumerate(options.tolist())
    )
    asked = words["text"].format(n=len(options), unit=UNIT, other=OTHER, options=lines)
    system = words["system"].format(value=value, definition=definitions()[value])
    asked = f"{asked}\n\n{words['text_format']}"
    return Message("user", asked, Message("system", system, None))


def _chosen(text: str, order: NDArray[np.int64]) -> int | None:
    option = modes.read("text", text, tuple(LABELS[: len(order)])).option
    return None if option is None else int(order[option])


def people(model: Sequence[str], n: int) -> Iterator[Line]:
    """Without an instruction, on the slider: angle and share of prosocials beside people's."""
    rows, _ = study(
        model, "experiment=hvae", "agent=[hvae,hvae_goal]", "population=counts",
        *(f"population.counts.{value}=0" for value in SVO), f"population.counts.control={n}",
        "display=false",
    )  # fmt: skip
    for (method,), part in rows.sort("method").partition_by("method", as_dict=True).items():
        paid = [
            np.array(sheet, float)
            for sheet in _grouped(part, "episode", "payoff_self", "payoff_other").values()
            if None not in np.array(sheet)
        ]
        unread = 1 - len(paid) / part["episode"].n_unique()
        angles = angle(np.array(paid), (50.0, 50.0), 50.0)
        each = dict(enumerate([a] for a in angles.tolist()))
        yield line(f"{method}: angle (people {human.MEAN})", each, unread=unread)
        social = dict(enumerate([float(c == "prosocial")] for c in category(angles)))
        told = f"{method}: prosocials (people {human.CATEGORY['prosocial']})"
        yield line(told, social, unread=unread)

"""Scores of an angle against its target, with what uniform responders and people would score."""

from collections.abc import Callable

import numpy as np
import polars as pl

from sim.analysis import human
from sim.analysis.angle import (
    angle,
    angle_range,
    circular_distance,
    uniform_angles,
    value_rationality,
)
from sim.analysis.instrument import instrument
from sim.analysis.scores import against_orientations, answered
from sim.analysis.sheets import Sheet

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
SLIDER = "svo_slider"  # which the published radar shows, and people answered
CHANCE, HUMAN, POSITION = "chance:", "human:", "position:"  # prefixes of columns


def angle_scores(sheet: Sheet, wanted: pl.DataFrame) -> pl.DataFrame:
    """The sheet's rows (controls once per `wanted` orientation) with a column per score.

    Beside each score stand its chance level and, on the slider, the mean of people (prefixed
    `chance:`, `human:`); `position:k` is the value rationality of always taking the option shown
    at place k.
    """
    rows = against_orientations(answered(sheet), wanted)
    target, value = rows["target"].to_numpy(), rows["value"].to_numpy()
    scores = _scores(sheet)
    columns = {k: f(rows["angle"].to_numpy(), target, value) for k, f in scores.items()}
    columns |= _levels(sheet, scores, rows)
    chance = columns[CHANCE + "vr"]
    with np.errstate(divide="ignore", invalid="ignore"):
        columns["vrc"] = np.where(chance < 1, (columns["vr"] - chance) / (1 - chance), np.nan)
    at = rows["row"].to_numpy()
    repaired = sheet.repaired[at].any(axis=1)
    columns["vr_without_repaired"] = np.where(repaired, np.nan, columns["vr"])
    columns["n_lost_without"] = np.isnan(columns["vr_without_repaired"]).astype(int)
    for k, constant in enumerate(_position_angles(sheet).T):
        columns[f"{POSITION}{k}"] = value_rationality(constant[at], target, *sheet.geometry)
    return rows.drop("row").with_columns(pl.Series(k, v) for k, v in columns.items())


def _scores(sheet: Sheet) -> dict[str, Score]:
    """Functions of angle, target (degrees) and value (names), arrays of one shape."""
    first, last = angle_range(*sheet.geometry)

    def vr60(measured, target, _value):
        # The reachable angle nearest to the target is the ideal of the published radar.
        return 60 - np.abs(measured - np.clip(target, first, last))

    about = instrument(sheet.instrument)
    category = about.category

    def hit(measured, _target, value):
        assert category is not None
        wanted = np.array([about.names.get(v, v) for v in value], dtype=object)
        named = np.isin(wanted.astype(str), list(about.categories)) & ~np.isnan(measured)
        return np.where(named, np.equal(category(measured), wanted), np.nan)

    scores: dict[str, Score] = {
        "vr": lambda measured, target, _: value_rationality(measured, target, *sheet.geometry),
        "deg_to_canonical": lambda measured, target, _: circular_distance(measured, target),
    }
    if category is not None:
        scores["category_hit"] = hit
    return scores | ({"vr60": vr60} if sheet.instrument == SLIDER else {})


def _levels(sheet: Sheet, scores: dict[str, Score], rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Chance and human means of each score for each row, found once per orientation."""
    angles, weights, _ = uniform_angles(*sheet.geometry)
    pairs = rows.select("target", "value").unique(maintain_order=True)
    found = {CHANCE + k: [] for k in scores} | {HUMAN + k: [] for k in scores}
    for target, value in pairs.iter_rows():
        for name, score in scores.items():

            def at(measured, score=score, target=target, value=value):
                names = np.full(len(measured), value, dtype=object)
                return score(measured, np.full(len(measured), target), names)

            found[CHANCE + name].append(weights @ at(angles))
            people = np.nan
            if sheet.instrument != SLIDER:
                pass  # people are known on the slider alone
            elif name == "category_hit":
                people = human.CATEGORY.get(value, np.nan)  # counted, not read off percentiles
            else:
                people = human.mean_of(at(human.percentiles()))
            found[HUMAN + name].append(people)
    table = pairs.with_columns(pl.Series(k, v, dtype=pl.Float64) for k, v in found.items())
    each = rows.select("target", "value").join(
        table, on=["target", "value"], how="left", nulls_equal=True, maintain_order="left"
    )
    return {k: each[k].to_numpy() for k in found}


def _position_angles(sheet: Sheet) -> np.ndarray:
    """Angle (u, places) of always taking the option shown at one place.

    NaN where options were shuffled: a constant place is then a uniform responder, whose level is
    chance, and the best of nine such would be the luckiest.
    """
    if sheet.orders is None:
        raise ValueError("orders: sheets read without option orders have no positions")
    columns = []
    for shown in np.moveaxis(sheet.orders, 2, 0):  # one place at a time: all at once are large
        points = sheet.options[np.arange(len(sheet.items)), np.maximum(shown, 0)]
        points[shown < 0] = np.nan
        columns.append(angle(points, sheet.centre, sheet.radius))
    return np.where(_shuffled(sheet.orders)[:, None], np.nan, np.stack(columns, axis=1))


def _shuffled(orders: np.ndarray) -> np.ndarray:
    """Whether a sheet's options were shuffled, from its orders (u, items, options); (u,).

    An order that neither rises nor falls is; so are items of two options that do not all agree.
    """
    step = np.diff(orders, axis=2)
    beyond = orders[..., 1:] < 0
    rises, falls = ((step > 0) | beyond).all(2), ((step < 0) | beyond).all(2)
    two = (orders >= 0).sum(2) == 2
    mixed = (two & rises).any(1) & (two & falls).any(1)
    return mixed | ~np.all(rises | falls, axis=1)

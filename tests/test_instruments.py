"""Ring, triple dominance and batteries: items, scores and chance figures by hand."""

from itertools import product

import numpy as np
import pytest

from envs.svo_battery import SVOBattery
from envs.svo_generated import SVOGenerated
from envs.svo_ring import SVORing, pairs
from envs.svo_slider import SVOSlider
from envs.triple_dominance import ITEMS, OTHER_READING, TripleDominance
from sim.analysis.angle import angle
from sim.analysis.instrument import Instrument, instrument
from sim.analysis.instruments.svo_ring import category, consistency
from sim.analysis.instruments.triple_dominance import CLASSES, chance_shares, classify

WORDS = ("canonical", "canonical", "points", "another person")


def chooser(direction: float, options: np.ndarray) -> np.ndarray:
    """Points (24, 2) that a linear utility takes; ties fall to the first."""
    t = np.radians(direction)
    utility = options @ [np.cos(t), np.sin(t)]
    return options[np.arange(len(options)), (utility[:, 1] > utility[:, 0] + 1e-3).astype(int)]


@pytest.mark.parametrize(("direction", "measured"), [(5, 0), (10, 15), (45, 45), (-170, -165)])
def test_a_linear_chooser_on_the_ring_has_length_two_radii_and_steps_of_15_degrees(
    direction, measured
):
    points = chooser(direction, pairs(15, 4))
    assert angle(points, (0, 0), 1) == pytest.approx(measured, abs=1e-3)
    assert np.hypot(*points.sum(0)) == pytest.approx(30, abs=1e-3)
    assert consistency(points, (0, 0), 15) == pytest.approx(1, abs=1e-4)


def test_a_chooser_between_two_steps_of_the_ring_measures_the_middle():
    points = chooser(7.5, pairs(15, 4))
    assert angle(points, (0, 0), 1) == pytest.approx(7.5, abs=1e-3)
    assert np.hypot(*points.sum(0)) == pytest.approx(29.743, abs=1e-3)


def test_the_ring_has_the_published_points_and_is_symmetric():
    points = pairs(15, 2)[:, 0]
    assert points[:7].tolist() == [
        [15, 0], [14.49, 3.88], [12.99, 7.5], [10.61, 10.61], [7.5, 12.99], [3.88, 14.49], [0, 15],
    ]  # fmt: skip
    assert {tuple(p) for p in points} == {tuple(p) for p in points[:, ::-1]}
    assert {tuple(p) for p in points} == {tuple(p) for p in -points + 0.0}
    np.testing.assert_array_equal(pairs(15, 2)[:, 1], np.roll(points, -1, axis=0))


def test_ring_categories_are_octants_and_nothing_without_an_angle():
    at = [0, 22.4, 22.5, 90, 112.5, 180, -180, -22.5, -22.6, -90, np.nan]
    assert category(at).tolist() == [
        "individualistic", "individualistic", "cooperative", "altruistic", "martyr", "masochistic",
        "masochistic", "individualistic", "competitive", "aggressive", None,
    ]  # fmt: skip


def test_ring_consistency_needs_every_item():
    points = chooser(45, pairs(15, 2))
    points[3] = np.nan
    assert np.isnan(consistency(points, (0, 0), 15))


@pytest.mark.parametrize(
    ("radius", "decimals", "rule"),
    [(0, 2, "above 0"), (-1, 2, "above 0"), ("15", 2, "above 0"), (15, 5, "0..4"), (1, 0, "equal")],
)
def test_a_ring_that_cannot_be_is_refused(radius, decimals, rule):
    with pytest.raises(ValueError, match=rule):
        SVORing(radius, decimals, *WORDS)


def test_losses_and_decimals_are_worded_plainly():
    game = SVORing(15, 2, *WORDS)
    texts = [row["text"] for row in game.items()]
    assert "15 points for you, 0 points for the other person" in texts
    assert "-12.99 points for you, -7.5 points for the other person" in texts
    assert not any("-0 " in text for text in texts)


def test_uniform_responders_are_classified_by_triple_dominance_in_2505_of_19683_cases():
    answers = np.array(list(product(range(3), repeat=9)))
    names, agreeing = classify(answers)
    counts = {name: int((names == name).sum()) for name in (*CLASSES, "unclassified")}
    assert counts == dict.fromkeys(CLASSES, 835) | {"unclassified": 19683 - 2505}
    assert agreeing.min() == 3
    assert agreeing.max() == 9
    for name, count in counts.items():
        assert chance_shares()[f"share_{name}"] == pytest.approx(count / 19683)


def test_six_agreeing_answers_decide_whatever_is_unread_and_five_leave_it_open():
    unread = np.nan
    names, agreeing = classify([
        [0, 0, 0, 0, 0, 0, unread, unread, unread],
        [0, 0, 0, 0, 0, 1, 1, 1, unread],
        [0, 0, 0, 0, 0, 1, 1, 1, 2],
        [0, 0, 0, 0, 1, 1, 1, 1, unread],
    ])  # fmt: skip
    assert names.tolist() == ["prosocial", None, "unclassified", "unclassified"]
    assert np.isnan(agreeing).tolist() == [True, True, False, True]


def test_every_triple_dominance_item_has_one_option_of_each_orientation():
    for told in ITEMS:
        assert sorted(told) == sorted(CLASSES)
        (p_own, p_other), (i_own, i_other), (c_own, c_other) = (told[name] for name in CLASSES)
        assert p_own == p_other
        assert i_own > max(p_own, c_own)
        assert c_own - c_other > max(i_own - i_other, 0)


def test_the_two_readings_of_triple_dominance_differ_in_the_four_uncertain_cells_alone():
    printed, other = (
        {(r["item"], r["option"]): (r["payoff_self"], r["payoff_other"]) for r in game.items()}
        for game in (TripleDominance(v, 1, *WORDS) for v in ("printed", "svotree"))
    )
    cells = {key for key in printed if printed[key] != other[key]}
    assert cells == {("2", 0), ("3", 1), ("4", 1), ("7", 1)}
    assert cells == {(str(item + 1), option) for item, option in OTHER_READING}
    # The implementation's own scale: p = (points - 80) / 5.
    assert [(a - 80) / 5 for a in other[("2", 0)]] == [94, 44]
    assert [(a - 80) / 5 for a in other[("3", 1)]] == [88, 4]


def test_a_battery_plays_its_parts_one_after_the_other_with_the_forms_of_each():
    new = SVOGenerated(0, 3, 1, [-20, 20], [40, 160], [0, 400], [9, 9], *WORDS)
    game = SVOBattery({"a": SVOSlider(True, *WORDS), "b": None, "c": new}, *WORDS)
    assert game.preview.startswith("You will be asked 12 questions")
    met = [[game.item_instruments[i] for i in form] for form in game.forms]
    assert met == [["svo_slider"] * 6 + ["svo_generated"] * 6] * 3
    forms = [{game.catalog[i].form for i in form[6:]} for form in game.forms]
    assert forms == [{0}, {1}, {2}]


@pytest.mark.parametrize(
    ("parts", "rule"),
    [({}, "at least one"), ({"a": None}, "at least one"), ({"a": 3}, "allocation games")],
)
def test_a_battery_without_games_is_refused(parts, rule):
    with pytest.raises(ValueError, match=rule):
        SVOBattery(parts, *WORDS)


def test_a_battery_has_no_instrument_twice():
    with pytest.raises(ValueError, match="different instruments"):
        SVOBattery({"a": SVOSlider(True, *WORDS), "b": SVOSlider(False, *WORDS)}, *WORDS)


def test_an_instrument_without_a_file_has_its_angle_alone():
    for name in ("svo_generated", "no such thing", "os.path"):
        assert instrument(name) == Instrument()
    assert instrument("svo_ring").categories

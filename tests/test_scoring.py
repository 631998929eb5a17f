"""Scores of the slider measure against numbers published or counted elsewhere."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from envs.slider_items import POLES, PRIMARY
from envs.svo_ring import pairs
from sim.analysis import human
from sim.analysis.angle import angle, distance_to_arc, uniform_angles, value_rationality
from sim.analysis.attainable import angle_range, attainable
from sim.analysis.profile_chance import chance_inequality
from sim.analysis.slider import (
    CANONICAL,
    MOTIVES,
    category,
    inequality_aversion,
    rank_order,
    transitivity,
)

CENTRE, RADIUS = (50.0, 50.0), 50.0
SLIDER = PRIMARY.astype(float), CENTRE, RADIUS
ENDS = PRIMARY[:, [0, -1]]
POLE_NUMBERS = np.array([[MOTIVES.index(value) for value in pair] for pair in POLES])

# Many Labs 2, vanLange.1, rows 1-41 of the published file: options chosen, published radians.
PUBLISHED = {
    "199559": 0.608689307327412, "198559": 0.625108534232924, "199159": 0.785398163397448,
    "191459": 0.800973227849391, "199911": 0.136402604400948, "196557": 0.620249485982822,
    "589711": 0.069559724065569, "199649": 0.526877918934559, "999911": -0.136402604400948,
    "918911": -0.280536791738322, "191111": 0.630401421473508, "199959": 0.416064505723823,
    "367458": 0.580270798859532, "299548": 0.523838467711257, "236627": 0.335122714202929,
    "191119": 0.785398163397448, "199616": 0.364871016933143, "199459": 0.654191491000836,
    "299459": 0.624159534482665, "492558": 0.621368053748968, "343833": 0.197395559849881,
    "395944": 0.265854750800753, "199449": 0.619773974844148, "191559": 0.753763151169336,
    "779911": -0.10321753349128, "199519": 0.46901428377495, "199259": 0.742930793629285,
}  # fmt: skip

# Options, mean own and mean other payoff, angle, category of people who follow one motive.
IDEAL = [
    ("191199", 70, 86.6667, 61.389540, "altruistic"),
    ("199199", 75.8333, 84.1667, 52.907163, "prosocial"),
    ("199159", 80, 80, 45.0, "prosocial"),
    ("199459", 82.1667, 74.6667, 37.482411, "prosocial"),
    ("199119", 84.1667, 75.8333, 37.092837, "prosocial"),
    ("199559", 83, 73, 34.875328, "prosocial"),
    ("199911", 92.5, 55.8333, 7.815294, "individualistic"),
    ("599911", 92.5, 50, 0.0, "individualistic"),
    ("999911", 92.5, 44.1667, -7.815294, "individualistic"),
    ("919911", 90, 38.3333, -16.260205, "competitive"),
]

# Always the option at one place: A to I. Half of the places look prosocial.
ALWAYS = [30.4655, 28.1416, 26.8249, 24.5901, 22.9321, 20.6589, 18.8058, 17.1456, 14.7436]

# What a perfect agent of each target measures; exact ties fall either way.
STEPS = {
    -90: -16.26, -45: -16.26, -30: -16.26, -22.5: -13.05, -15: -7.82, 5: 7.82, 15: 7.82,
    20: 10.39, 22.5: 22.57, 25: 36.11, 30: 37.09, 40: 37.09, 50: 52.91, 60: 52.91, 65: 53.89,
    67.5: 57.06, 70: 61.39, 90: 61.39,
}  # fmt: skip

OPTIONS = arrays(np.int64, 6, elements=st.integers(0, 8))


def points(*sheets: str) -> np.ndarray:
    """Payoffs (sheets, 6, 2) of answers written as digits 1 to 9."""
    return PRIMARY[np.arange(6), np.array([[int(c) - 1 for c in sheet] for sheet in sheets])]


def measured(chosen) -> np.ndarray:
    return angle(chosen, CENTRE, RADIUS)


def ranking(chosen):
    wins, acyclic = transitivity(chosen, ENDS, POLE_NUMBERS)
    return wins, acyclic, rank_order(wins, acyclic)


@pytest.fixture(scope="module")
def everyone() -> np.ndarray:
    """Payoffs of all 9^6 answer sheets, (531441, 6, 2)."""
    return PRIMARY[np.arange(6), np.array(list(product(range(9), repeat=6)))]


def test_published_answers_measure_the_published_angles():
    assert len(PUBLISHED) == 27
    radians = np.radians(measured(points(*PUBLISHED)))
    np.testing.assert_allclose(radians, list(PUBLISHED.values()), rtol=0, atol=1e-12)


def test_ideal_respondents_have_the_known_payoffs_angles_and_categories():
    chosen = points(*(row[0] for row in IDEAL))
    np.testing.assert_allclose(chosen.mean(1), [row[1:3] for row in IDEAL], atol=5e-5)
    np.testing.assert_allclose(measured(chosen), [row[3] for row in IDEAL], atol=5e-7)
    assert category(measured(chosen)).tolist() == [row[4] for row in IDEAL]


def test_always_taking_one_place_looks_prosocial_or_individualistic():
    angles = measured(points(*(str(k) * 6 for k in range(1, 10))))
    np.testing.assert_allclose(angles, ALWAYS, atol=5e-5)
    assert category(angles).tolist() == ["prosocial"] * 5 + ["individualistic"] * 4


@pytest.mark.parametrize(("bound", "above"), [(57.15, 0), (22.45, 1), (-12.04, 2)])
def test_a_category_begins_at_its_bound_itself_as_in_the_authors_scorer(bound, above):
    around = category([bound, np.nextafter(bound, -90), np.nan])
    assert around.tolist() == [MOTIVES[above], MOTIVES[above + 1], None]


def test_no_possible_answer_lies_on_a_bound():
    angles, _, _ = uniform_angles(*SLIDER)
    gaps = {57.15: (57.14909, 57.15246), 22.45: (22.44912, 22.45361), -12.04: (-12.07767, -12.0306)}
    for bound, nearest in gaps.items():
        got = angles[angles < bound].max(), angles[angles > bound].min()
        np.testing.assert_allclose(got, nearest, atol=5e-6)
    assert not np.isin(angles, list(gaps)).any()


def test_chance_figures_come_out_of_all_answer_sheets(everyone):
    angles = measured(everyone)
    quantiles = np.quantile(angles, [0.025, 0.25, 0.5, 0.75, 0.975])
    assert (angles.mean(), angles.std()) == pytest.approx((22.703, 12.866), abs=5e-4)
    np.testing.assert_allclose(quantiles, [-1.77, 13.41, 22.70, 32.01, 47.15], atol=5e-3)
    counts = np.array([(category(angles) == motive).sum() for motive in MOTIVES])
    np.testing.assert_allclose(counts[1:3] / 9**6, [0.5068, 0.4923], atol=5e-5)
    assert counts[[0, 3]].tolist() == [260, 228]
    acyclic = transitivity(everyone, ENDS, POLE_NUMBERS)[1]
    assert acyclic.mean() == pytest.approx(0.4186, abs=5e-5)
    chance = [value_rationality(angles, t, *SLIDER).mean() for t in CANONICAL]
    np.testing.assert_allclose(chance, [0.502, 0.715, 0.708, 0.498], atol=5e-4)


def test_the_table_of_uniform_responders_is_that_of_all_answer_sheets(everyone):
    angles, weights, exact = uniform_angles(*SLIDER)
    own, other = (everyone.sum(1) - 300).T  # as reduced fractions, angles are told apart exactly
    fractions = other // np.gcd(own, other) + 1j * (own // np.gcd(own, other))
    found, counts = np.unique(fractions, return_counts=True)
    rising = np.argsort(found.real / found.imag)
    assert exact and len(angles) == len(found) == 17_148
    np.testing.assert_allclose(weights, counts[rising] / 9**6)
    np.testing.assert_allclose(np.tan(np.radians(angles)), (found.real / found.imag)[rising])


def test_attainable_sets_and_the_range_of_the_slider_are_the_known_ones():
    low, high = attainable(*SLIDER, CANONICAL)
    np.testing.assert_allclose(low, [61.39, 37.09, -7.82, -16.26], atol=5e-3)
    np.testing.assert_allclose(high, [61.39, 52.91, 7.82, -16.26], atol=5e-3)
    assert angle_range(*SLIDER) == pytest.approx((-16.2602, 61.3895), abs=5e-5)


def test_the_perfect_agents_angles_are_the_known_steps():
    for bound in attainable(*SLIDER, list(STEPS), 1e-9):
        np.testing.assert_allclose(bound, list(STEPS.values()), atol=5e-3)
    # At 0 item 1 is a tie; at 45 options 3 and 7 of item 5 are, being worth 151, not 150.
    ties = attainable(*SLIDER, [0.0, 45.0], 1e-9)
    np.testing.assert_allclose(ties, [[-7.8153, 41.0385], [7.8153, 48.9615]], atol=5e-5)


def test_value_rationality_is_one_inside_the_attainable_set_and_zero_farthest_from_it():
    angles = [61.389540, 45.0, 30.4655, -16.260205]
    off = {  # by hand: distances to the set, the last number the largest possible
        90.0: [0, 16.389540, 30.924040, 77.649745, 77.649745],
        45.0: [8.482377, 0, 6.627337, 53.353042, 53.353042],
        0.0: [53.574246, 37.184706, 22.650206, 8.444911, 53.574246],
        -45.0: [77.649745, 61.260205, 46.725705, 0, 77.649745],
    }
    for target, (*distances, largest) in off.items():
        got = value_rationality(angles, target, *SLIDER)
        np.testing.assert_allclose(got, 1 - np.array(distances) / largest, atol=1e-6)


def test_an_unknown_angle_or_target_has_no_value_rationality():
    got = value_rationality([np.nan, 10.0, 10.0], [45.0, np.nan, 45.0], *SLIDER)
    assert np.isnan(got).tolist() == [True, True, False]


def test_an_instrument_all_around_its_centre_measures_on_the_circle():
    ring = [[[2, 0], [-2, 0]], [[0, 2], [0, -2]]], (0, 0), 2
    assert angle_range(*ring) == (-180, 180)
    got = value_rationality([45, -45, -135, 135], 45.0, *ring)
    np.testing.assert_allclose(got, [1, 0.5, 0, 0.5], atol=1e-12)
    assert np.isnan(angle([[2, 0], [-2, 0]], (0, 0), 2))  # the centre itself: unknown, not 0
    assert distance_to_arc([175, -175, 160, -160, 0], 170, 190).tolist() == [0, 0, 10, 10, 170]


def test_people_of_many_labs_2_have_the_published_quantiles():
    got = human.percentiles()[[1, 10, 25, 50, 75, 90, 95, 99]]
    expected = [-7.82, 7.82, 22.98, 34.88, 37.48, 45.00, 45.00, 52.91]
    np.testing.assert_allclose(got, expected, atol=5e-3)
    assert human.mean_of(human.percentiles()) == pytest.approx(human.MEAN, abs=0.05)


@pytest.mark.parametrize(
    ("answers", "wins", "order"),
    [
        ("199459", [1.5, 3, 1.5, 0], "P>A=I>C"),
        ("199911", [0, 2, 3, 1], "I>P>C>A"),
        ("919919", [0, 2, 1, 3], "C>P>I>A"),  # though its angle is individualistic
        ("555555", [1.5, 2.5, 1.5, 0.5], "P>A=I>C"),  # only items 1 and 5 are exact ties
        ("111111", [2, 1, 2, 1], None),  # prosocial > competitive > individualistic > prosocial
    ],
)
def test_motives_win_items_and_are_ordered_unless_they_go_in_a_circle(answers, wins, order):
    got, acyclic, names = ranking(points(answers))
    assert (got.tolist(), acyclic.tolist(), names.tolist()) == (
        [wins],
        [order is not None],
        [order],
    )


def test_a_circle_through_all_four_motives_is_found():
    ends = np.array([[[1.0, 0.0], [0.0, 1.0]]] * 4)
    chain = [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert transitivity(ends[:, 0], ends, chain)[1] == 0
    assert transitivity(ends[:, 0], ends, [*chain[:3], [0, 3]])[1] == 1


@pytest.mark.parametrize(
    ("answers", "distances", "index"),
    [
        ("654758532", [0, 0.25, 0.5, 0.5], 0.0),
        ("951959511", [0.166667, 0, 0.5, 0.5], 1.0),
        ("753858522", [0.055556, 0.166667, 0.5, 0.5], 0.25),
        ("852859521", [0.111111, 0.083333, 0.5, 0.5], 0.571429),
        # Joint gain ties with two others; the authors' stable sort puts it first.
        ("555555555", [0.166667, 0.5, 0.5, 0.5], 0.25),
        ("631837851", [15 / 72, 10 / 48, 39 / 72, 33 / 72], 0.5),  # an exact tie of the two
        ("191199919", [0.5, 0.5, 0, 1], np.nan),
        ("919911191", [0.5, 0.5, 1, 0], np.nan),
        ("111111111", [0.5, 0.5, 0.555556, 0.444444], np.nan),
    ],
)
def test_the_inequality_aversion_index_is_that_of_the_authors_scorer(answers, distances, index):
    got, value = inequality_aversion([int(c) - 1 for c in answers])
    np.testing.assert_allclose(got, distances, atol=5e-7)
    np.testing.assert_allclose(value, index, atol=5e-7)


def test_secondary_answers_with_one_unread_have_no_index():
    one_unread = np.where(np.eye(9), np.nan, 4.0)  # another one in each row
    assert all(np.isnan(found).all() for found in inequality_aversion(one_unread))


@given(OPTIONS, st.permutations(range(6)))
def test_the_order_of_items_does_not_matter(options, order):
    chosen = PRIMARY[np.arange(6), options]
    assert measured(chosen[order]) == pytest.approx(measured(chosen))
    shuffled = transitivity(chosen[order], ENDS[order], POLE_NUMBERS[order])
    for one, other in zip(shuffled, transitivity(chosen, ENDS, POLE_NUMBERS), strict=True):
        assert one.tolist() == other.tolist()


@given(OPTIONS, st.floats(0.1, 50), st.integers(-500, 500), st.floats(-180, 180))
def test_a_moved_rescaled_and_turned_instrument_scores_alike(options, scale, x, turn):
    t = np.radians(turn)
    about = (PRIMARY - 50.0) @ [[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]
    items, centre, radius = about * scale + [x, -x], (x, -x), RADIUS * scale
    turned = [angle(items[np.arange(6), options], centre, radius)]
    turned += attainable(items, centre, radius, 10.0 + turn, 1e-7)
    before = [measured(PRIMARY[np.arange(6), options]), *attainable(*SLIDER, 10.0, 1e-7)]
    gaps = np.subtract(turned, before) - turn
    np.testing.assert_allclose((gaps + 180) % 360 - 180, 0, atol=1e-6)


@given(OPTIONS, st.integers(0, 5))
def test_one_unread_item_leaves_every_score_unknown(options, missing):
    chosen = PRIMARY[np.arange(6), options].astype(float)
    chosen[missing] = np.nan
    wins, acyclic, names = ranking(chosen[None])
    assert np.isnan(measured(chosen)) and np.isnan(wins).all() and np.isnan(acyclic).all()
    assert names.tolist() == [None] and category(measured(chosen[None])).tolist() == [None]


def test_leading_axes_are_batches():
    flat = points(*PUBLISHED)
    batch = flat.reshape(3, 9, 6, 2)
    assert measured(batch).tolist() == measured(flat).reshape(3, 9).tolist()
    wins, acyclic = transitivity(batch, ENDS, POLE_NUMBERS)
    assert wins.reshape(27, 4).tolist() == ranking(flat)[0].tolist() and acyclic.shape == (3, 9)


@settings(max_examples=40, deadline=None)
@given(arrays(float, (3, 4, 2), elements=st.integers(1, 60)), st.floats(-90, 90), st.floats(0.1, 9))
def test_attainable_arcs_are_those_of_trying_every_combination(options, target, tolerance):
    # All payoffs lie above the centre: no sum can surround it, so angles are plain numbers.
    direction = np.cos(np.radians(target)), np.sin(np.radians(target))
    loss = (options @ direction).max(1, keepdims=True) - options @ direction
    assume(np.abs(loss - tolerance).min() > 1e-9)  # rounding alone would decide
    picks = product(*(np.flatnonzero(row) for row in loss <= tolerance))
    angles = [angle(options[range(3), list(pick)], (0, 0), 1) for pick in picks]
    arc = attainable(options, (0, 0), 1, target, tolerance)
    np.testing.assert_allclose(arc, (min(angles), max(angles)), atol=1e-9)
    everyone = uniform_angles(options, (0, 0), 1)[0]
    assert angle_range(options, (0, 0), 1) == pytest.approx((everyone.min(), everyone.max()))


@pytest.mark.parametrize("scale", [0.3, 2, 40])
def test_what_a_perfect_agent_measures_does_not_depend_on_the_scale_of_payoffs(scale):
    options = np.stack([pairs(15, 4), pairs(15, 4) * 2]).reshape(48, 2, 2)
    radius = np.repeat([15.0, 30.0], 24)
    targets = np.arange(-170.0, 171, 10)
    np.testing.assert_allclose(
        attainable(options * scale, (0, 0), radius * scale, targets),
        attainable(options, (0, 0), radius, targets),
        atol=1e-9,
    )


def test_the_chance_of_inequality_aversion_is_that_of_all_answers():
    rng = np.random.default_rng(0)
    index = inequality_aversion(rng.integers(9, size=(200_000, 9)))[1]
    index, exact = index[~np.isnan(index)], chance_inequality()
    assert exact["ia_index_mean"] == pytest.approx(index.mean(), abs=0.002)
    kinds = {"inequality_averse": index < 0.5, "joint_gain": index > 0.5, "tied": index == 0.5}
    for name, found in kinds.items():
        assert exact[f"share_ia_{name}"] == pytest.approx(found.mean(), abs=0.004)

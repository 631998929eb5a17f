"""Revealed angles: cones and fits by hand, planted truth, and coverage."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import calibrate
from sim.analysis.choice_model import logit
from sim.analysis.revealed import Choices, cones, revealed
from sim.analysis.revealed_angle import revealed_angle
from sim.calibrate import only
from sim.plots import revealed_angle as drawing
from sim.tables import load


def choices(payoffs, chosen, shown=None) -> Choices:
    """One person's choices; options are all offered."""
    payoffs = np.asarray(payoffs, float)[None]
    offered = np.ones(payoffs.shape[:3], bool)
    return Choices(payoffs, offered, np.asarray(chosen)[None], shown)


def drawn(n, angle, beta, seed=0, people=1, width=4) -> Choices:
    """Choices of linear utilities with logistic noise."""
    rng = np.random.default_rng(seed)
    payoffs = rng.uniform(0, 100, (people, n, width, 2))
    t = np.radians(angle)
    utility = beta * (payoffs @ [np.cos(t), np.sin(t)])
    chosen = (utility + rng.gumbel(size=utility.shape)).argmax(-1)
    return Choices(payoffs, np.ones(payoffs.shape[:3], bool), chosen)


def test_one_choice_leaves_half_a_circle_and_a_second_one_cuts_it():
    separable, low, high = cones(*fields(choices([[[1, 0], [0, 0]]], [0])))
    assert (separable[0], low[0], high[0]) == (True, -90, 90)
    both = choices([[[1, 0], [0, 0]], [[0, 1], [0, 0]]], [0, 0])
    separable, low, high = cones(*fields(both))
    assert (separable[0], low[0], high[0]) == (True, 0, 90)


def test_choices_that_contradict_each_other_have_no_cone():
    both = choices([[[1, 0], [0, 0]], [[1, 0], [0, 0]]], [0, 1])
    assert not cones(*fields(both))[0][0]
    around = choices([[[1, 0], [0, 0]], [[-1, 2], [0, 0]], [[-1, -2], [0, 0]]], [0, 0, 0])
    assert not cones(*fields(around))[0][0]


def fields(c: Choices):
    return c.payoffs, c.offered, c.chosen


def test_ties_leave_a_cone_of_one_angle_where_something_else_is_decided():
    # Both options of the first two items are equal at 90 degrees; the third is decided there.
    tied = choices([[[1, 0], [0, 0]], [[1, 0], [0, 0]], [[0, 1], [0, 0]]], [0, 1, 0])
    separable, low, high = cones(*fields(tied))
    assert (separable[0], low[0], high[0]) == (True, 90, 90)
    found = revealed(tied)
    assert found.separable[0]


def test_payoffs_along_one_line_tell_no_angle_and_no_inequality_aversion():
    rng = np.random.default_rng(0)
    own = rng.uniform(0, 100, (1, 60, 3))
    payoffs = np.stack([own, 100 - own], axis=-1)
    found = revealed(Choices(payoffs, np.ones(own.shape, bool), own.argmax(-1)))
    assert np.isnan(found.angle[0])
    assert found.p_zero[0] < 0.05
    assert found.high[0] - found.low[0] == pytest.approx(180, abs=3)
    # Where own payoff is always the larger, being behind has no weight to be found.
    ahead = np.stack([own + 200, own], axis=-1)
    found = revealed(Choices(ahead, np.ones(own.shape, bool), own.argmax(-1)))
    assert np.isnan([found.alpha_fs[0], found.p_linear[0]]).all()


def test_places_have_no_terms_with_few_choices():
    few = drawn(6, 30, 0.05, 3)
    shown = np.tile(np.arange(4), (1, 6, 1))
    with_ = revealed(Choices(few.payoffs, few.offered, few.chosen, shown))
    np.testing.assert_allclose(with_.low, revealed(few).low)
    assert np.isnan(with_.position_first[0])


@given(st.integers(0, 10_000), st.floats(-180, 180))
@settings(max_examples=60, deadline=None)
def test_the_cone_of_an_exact_utility_holds_its_angle(seed, angle):
    found = drawn(6, angle, 1e6, seed)
    separable, low, high = cones(*fields(found))
    assert separable[0]
    assert (angle - low[0]) % 360 <= high[0] - low[0] + 1e-6


def test_the_logit_of_two_options_is_the_logistic_regression_of_their_difference():
    # Twelve choices of x against 0; 9 take x = 1: the coefficient is log(9 / 3).
    features = np.tile(np.array([[1.0], [0.0]]), (1, 12, 1, 1))
    chosen = np.array([[0] * 9 + [1] * 3])
    b, value = logit(features, np.ones((1, 12, 2), bool), chosen)
    assert b[0, 0] == pytest.approx(np.log(3), abs=1e-5)
    assert value[0] == pytest.approx(9 * np.log(0.75) + 3 * np.log(0.25))


def test_padding_and_unread_choices_change_nothing():
    plain = drawn(20, 30, 0.05, 3)
    payoffs = np.pad(plain.payoffs, ((0, 0), (0, 3), (0, 2), (0, 0)), constant_values=7.0)
    offered = np.pad(plain.offered, ((0, 0), (0, 3), (0, 2)))
    offered[0, 20] = True  # offered, and unread
    chosen = np.pad(plain.chosen, ((0, 0), (0, 3)), constant_values=-1)
    first, second = revealed(plain), revealed(Choices(payoffs, offered, chosen))
    for name in ("angle", "low", "high", "beta", "p_linear", "n"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=5e-3)


def test_the_unit_of_payoffs_scales_beta_alone():
    plain = drawn(40, -20, 0.05, 5)
    scaled = Choices(plain.payoffs * 100, plain.offered, plain.chosen)
    first, second = revealed(plain), revealed(scaled)
    np.testing.assert_allclose(first.angle, second.angle, atol=1e-3)
    np.testing.assert_allclose(first.low, second.low, atol=1e-2)
    np.testing.assert_allclose(first.beta, second.beta * 100, rtol=1e-4)


def test_who_chooses_by_lot_has_no_angle_in_95_of_100_cases_and_an_interval_all_the_same():
    found = revealed(drawn(60, 0, 0.0, 1, people=2000))
    assert np.isnan(found.angle).mean() == pytest.approx(0.95, abs=0.015)
    whole = found.high - found.low >= 360
    # The whole circle: 2 (top - none) <= 3.84, of a chi-squared with two degrees of freedom.
    assert whole.mean() == pytest.approx(1 - np.exp(-3.841459 / 2), abs=0.03)
    assert not np.isnan(found.low).any()


def test_profile_intervals_cover_the_planted_angle():
    for angle, beta in ((45, 0.05), (-45, 0.02)):
        found = revealed(drawn(40, angle, beta, 2, people=1000))
        inside = (angle - found.low) % 360 <= found.high - found.low
        assert inside.mean() == pytest.approx(0.95, abs=0.02)


def test_an_inequality_averse_person_has_weights_and_no_line():
    rng = np.random.default_rng(4)
    payoffs = rng.uniform(0, 100, (200, 60, 4, 2))
    own, other = payoffs[..., 0], payoffs[..., 1]
    utility = own - 0.8 * np.maximum(other - own, 0) - 0.4 * np.maximum(own - other, 0)
    chosen = (0.1 * utility + rng.gumbel(size=utility.shape)).argmax(-1)
    found = revealed(Choices(payoffs, np.ones(payoffs.shape[:3], bool), chosen))
    assert (found.p_linear < 0.05).mean() > 0.95
    assert np.nanmedian(found.alpha_fs) == pytest.approx(0.8, abs=0.06)
    assert np.nanmedian(found.beta_fs) == pytest.approx(0.4, abs=0.06)
    straight = revealed(drawn(60, 30, 0.05, 8, people=1000))
    assert (straight.p_linear < 0.05).mean() == pytest.approx(0.05, abs=0.025)


def test_a_pull_to_the_first_place_is_taken_off_the_angle():
    rng = np.random.default_rng(6)
    payoffs = rng.uniform(0, 100, (300, 60, 4, 2))
    shown = rng.random((300, 60, 4)).argsort(-1)
    utility = 0.05 * payoffs[..., 0] + 1.5 * (shown == 0)
    chosen = (utility + rng.gumbel(size=utility.shape)).argmax(-1)
    found = revealed(Choices(payoffs, np.ones(shown.shape, bool), chosen, shown))
    assert np.nanmedian(found.position_first) == pytest.approx(1.5, abs=0.15)
    assert np.nanmedian(found.position_last) == pytest.approx(0, abs=0.15)
    assert np.nanmean(found.angle) == pytest.approx(0, abs=2)


def test_the_calibration_command_covers_the_truth_on_generated_items():
    rows = list(calibrate.coverage(calibrate.GENERATED, 100, 1))
    pooled = np.mean([row["covered"] for row in rows])
    # 800 agents: three standard errors are 2.3 points.
    assert 0.927 <= pooled <= 0.98


def test_the_analyzer_gives_a_row_per_agent_and_group_and_all_items_together(play):
    run = play("agent=[linear,random]", "population=counts", "env=svo_slider_full",
               only(prosocial=12, control=0))  # fmt: skip
    table = revealed_angle(load(run), 0)
    assert table["instrument"].unique().sort(nulls_last=True).to_list() == [
        "svo_slider", "svo_slider_secondary", None,
    ]  # fmt: skip
    agents = table.filter(pl.col("instrument").is_null(), row="agent")
    assert (agents["n"] == 15).all()
    exact = agents.filter(agent="linear")
    assert (exact["separable"] == 1).all()
    assert (exact["cone_low"] <= 45).all()
    assert (exact["cone_high"] >= 45).all()
    group = table.filter(pl.col("instrument").is_null(), row="group", agent="linear")
    assert group["estimate"][0] == pytest.approx(45, abs=8)
    lots = table.filter(row="group", agent="random", instrument="svo_slider")
    assert lots["n_unscored"][0] >= 8


def test_where_nothing_is_read_nothing_is_told(play):
    run = play("agent=follower", "agent.follower.unread=1", "env=svo_slider", only(prosocial=6))
    table = revealed_angle(load(run), 0)
    for name in ("estimate", "low", "interval", "separable", "whole_circle", "nonlinear", "beta"):
        assert table[name].null_count() == table.height, name
    assert (table["unread"] == 1).all()


def test_a_group_of_separable_agents_has_no_interval(play):
    run = play("agent=linear", "env=svo_slider", only(altruistic=8))
    row = revealed_angle(load(run), 0).filter(row="group").row(0, named=True)
    assert row["separable"] == 1
    assert (row["low"], row["high"], row["interval"]) == (None, None, None)


def test_a_cone_lies_about_its_estimate_all_round_the_circle():
    for angle in (100.0, 170.0, 180.0, -180.0, -170.0, -100.0, 0.0):
        found = revealed(drawn(40, angle, 1e6, 3))
        middle = (found.cone_low + found.cone_high) / 2
        assert middle[0] == pytest.approx(found.angle[0])
        assert found.low[0] <= found.angle[0] <= found.high[0]


def test_a_figures_cones_lie_about_the_dot_of_their_group(play):
    targets = [100.0, 170.0, 180.0, -170.0]
    run = play("env=svo_ring", "population=angles", f"population.targets={targets}",
               "population.n_each=6", "agent=linear")  # fmt: skip
    (axes,) = drawing.revealed_angle(revealed_angle(load(run), 0)).axes
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines
            if line.get_marker() == "o"}  # fmt: skip
    assert len(dots) == 4
    for cone in (c for c in axes.collections if c.get_gid() == "cone"):
        for (low, y), (high, _) in cone.get_segments():
            assert (low + high) / 2 == pytest.approx(dots[y])


def test_the_caption_says_how_many_uniform_responders_have_no_angle(play):
    run = play("agent=random", "env=svo_slider", only(prosocial=6))
    none = 1 - revealed_angle(load(run), 0)["chance"].mean()
    assert 0.87 < none < 0.97
    caption = " ".join((drawing.revealed_angle.__doc__ or "").split())
    assert "nor have nine in ten uniform responders, or a few more" in caption

"""Scripted agents of known tastes, people's patterns and known shares of unread answers."""

import numpy as np
import polars as pl
import pytest

from agents.base import Rows
from agents.human import Human, patterns
from agents.scripted import FirstShown, Follower
from agents.tastes import FehrSchmidt, JointGain, Maximin
from envs.slider_items import PRIMARY
from sim.analysis import human
from sim.analysis.angle import angle
from sim.analysis.slider import category, transitivity
from sim.calibrate import only


def rows(payoffs, draw=0.5, order=None) -> Rows:
    payoffs = np.asarray(payoffs, float)
    n, width, _ = payoffs.shape
    order = np.tile(np.arange(width), (n, 1)) if order is None else np.asarray(order)
    seen = {"payoffs": payoffs, "action_mask": np.ones((n, width), np.int8), "option_order": order}
    draws = lambda k: np.full((n, k), draw)  # noqa: E731
    return Rows(seen, np.zeros(n), draws, draws)


OPTIONS = [[[10, 0], [6, 6], [8, 5], [5, 9]]]


@pytest.mark.parametrize(
    ("agent", "chosen"),
    [
        (Maximin(0), 1),
        (JointGain(0), 3),
        (FehrSchmidt(0, 0, 0), 0),
        (FehrSchmidt(2, 0.9, 0), 1),  # 10 - 9, 6, 8 - 2.7, 5 - 8
        (FehrSchmidt(0.1, 0.6, 0), 2),  # 10 - 6, 6, 8 - 1.8, 5 - 0.4
    ],
)
def test_each_taste_takes_what_it_likes_best(agent, chosen):
    assert agent.act(rows(OPTIONS)).tolist() == [chosen]


def test_tastes_refuse_what_is_no_number():
    for make in (lambda: FehrSchmidt("1", 0, 0), lambda: FehrSchmidt(0, float("nan"), 0),
                 lambda: Maximin(-1), lambda: Maximin(True), lambda: Follower(1, 2),
                 lambda: FirstShown(1, -0.1)):  # fmt: skip
        with pytest.raises(ValueError, match="must"):
            make()


def test_a_share_of_a_followers_answers_cannot_be_read(play):
    run = play("agent=follower", "agent.follower.unread=0.2", "env=svo_slider",
               only(prosocial=500))  # fmt: skip
    table = pl.read_parquet(run / "decisions.parquet")
    lost = table.filter(status="unparsed")
    assert lost.height / table.height == pytest.approx(0.2, abs=0.03)
    assert lost["action"].null_count() == lost["payoff_self"].null_count() == lost.height
    assert lost["fallback"].null_count() == 0
    assert table.filter(status="ok").height + lost.height == table.height


def test_an_agent_biased_to_the_first_place_takes_it_so_often_and_else_its_taste():
    many = rows([[[1, 0], [0, 0]]] * 2000, order=[[1, 0]] * 2000)
    draws = np.random.default_rng(0).random((2000, 2))
    biased = Rows(many.seen, many.target, lambda k: draws[:, :k], many.draw_episode)
    assert FirstShown(0, 0.3).act(biased).mean() == pytest.approx(0.3, abs=0.03)


def test_peoples_patterns_measure_their_percentiles():
    chosen = PRIMARY[np.arange(6), patterns()]
    np.testing.assert_allclose(angle(chosen, (50, 50), 1), human.percentiles(), atol=0.15)
    # The most frequent patterns of the sample are met at their angles.
    met = {"".join(str(d + 1) for d in row) for row in patterns().tolist()}
    assert {"199459", "199559", "199911", "199159"} <= met


def test_people_drawn_through_the_slider_give_back_their_quantiles_and_categories(play):
    n = 4000
    run = play("agent=human", "env=svo_slider", "env.item_order=shuffled",
               only(control=n))  # fmt: skip
    table = pl.read_parquet(run / "decisions.parquet").sort("agent_id", pl.col("item").cast(int))
    points = table.select("payoff_self", "payoff_other").to_numpy().reshape(n, 6, 2)
    angles = angle(points, (50, 50), 1)
    for q in (5, 25, 50, 75, 95):
        # Ranks of the quantile, three standard errors apart.
        spread = 300 * np.sqrt(q / 100 * (1 - q / 100) / n) + 0.5
        low, high = np.interp([q - spread, q + spread], range(101), human.percentiles())
        assert low - 1e-3 <= np.quantile(angles, q / 100) <= high + 1e-3
    for name, share in human.CATEGORY.items():
        got = (category(angles) == name).mean()
        # The 101 percentiles give shares to within half a percent.
        assert got == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / n) + 0.005)


def test_people_know_the_primary_slider_items_alone():
    Human().check_items(list(PRIMARY.astype(float)))
    with pytest.raises(ValueError, match="primary items of the SVO slider only"):
        Human().check_items([np.zeros((9, 2))])
    with pytest.raises(ValueError, match="primary items of the SVO slider only"):
        Human().check_items([np.zeros((2, 2))])


def test_most_of_peoples_patterns_are_transitive():
    from envs.slider_items import POLES
    from sim.analysis.slider import MOTIVES

    ends = PRIMARY[:, [0, -1]]
    poles = [[MOTIVES.index(a), MOTIVES.index(b)] for a, b in POLES]
    acyclic = transitivity(PRIMARY[np.arange(6), patterns()], ends, poles)[1]
    assert acyclic.mean() > 0.85

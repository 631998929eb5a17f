import itertools
import random
import re
import warnings

import numpy as np
import pytest
from conftest import compose, names
from gymnasium.utils.env_checker import check_env
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from pettingzoo.test import api_test, parallel_api_test

from envs.base import Game, key, permutation, uniform
from envs.faces import aec, parallel, single

CASES = [(name,) for name in names("env")] + [
    ("svo_slider", "env.primary_only=false", "env.item_order=shuffled"),
    ("svo_slider", "env.option_order=shuffled"),
    ("svo_slider", "env.primary_only=false", "env.item_order=reversed"),
    ("svo_generated", "env.n_options=[2,9]", "env.option_order=shuffled", "env.n_forms=3"),
    ("svo_generated", "env.n_options=[3,3]", "env.n_blocks=2", "env.option_order=reversed"),
    ("dilemmas", "env.context=[none,full,causal,counterfactual]", "env.abstain=true"),
    ("dilemmas", "env.option_order=shuffled", "dilemmas@env=schwartz"),
]
ids = [" ".join(case) for case in CASES]


def make(case: tuple[str, ...]) -> Game:
    name, *overrides = case
    return instantiate(compose(f"env={name}", *overrides).env)


def legal(seen: dict, draw: np.ndarray) -> np.ndarray:
    """A legal canonical action per row from draws in [0, 1)."""
    place = (draw * seen["action_mask"].sum(axis=1)).astype(int)
    return seen["option_order"][np.arange(len(place)), place].astype(int)


def play_batch(game: Game, episodes: np.ndarray, seed: int) -> dict[int, list]:
    """Every observation, action and outcome of each episode."""
    slots = np.arange(len(episodes))
    game.reserve(len(slots))
    game.reset(slots, key(seed, "game", episodes))
    told: dict[int, list] = {int(e): [] for e in episodes}
    step = 0
    while len((rows := game.pending(slots))[0]):
        seen = game.observe(*rows)
        draws = uniform(key(seed, "test", episodes[rows[0]], rows[1], step))[:, 0]
        chosen = legal(seen, draws)
        live = np.unique(rows[0])
        actions = np.full((len(live), len(game.possible_agents)), -1)
        actions[np.searchsorted(live, rows[0]), rows[1]] = chosen
        outcome = game.step(live, actions)
        for i, (slot, seat) in enumerate(zip(*rows, strict=True)):
            mine = {k: v[i].copy() for k, v in seen.items()}
            at = np.searchsorted(live, slot)
            told[int(episodes[slot])].append(
                (int(seat), mine, int(chosen[i]), *(part[at].copy() for part in outcome))
            )
        step += 1
        assert step < 1000
    assert game.over(slots).all()
    return told


def assert_same(one: list, other: list) -> None:
    assert len(one) == len(other) > 1
    for a, b in zip(one, other, strict=True):
        np.testing.assert_equal(a, b)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_episode_is_the_same_alone_and_in_a_batch_of_1000(case):
    batch = play_batch(make(case), np.arange(1000), 5)
    for episode in (0, 1, 517, 999):
        alone = play_batch(make(case), np.array([episode]), 5)
        assert_same(alone[episode], batch[episode])


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_slots_that_are_filled_again_play_as_fresh_ones_do(case):
    game, fresh = make(case), play_batch(make(case), np.arange(8), 1)
    play_batch(game, np.arange(100, 108), 2)
    slots = np.array([3, 0, 2])
    game.reset(slots, key(1, "game", np.array([4, 7, 1])))
    seen = game.observe(slots, np.zeros(3, int))
    for i, episode in enumerate((4, 7, 1)):
        np.testing.assert_equal({k: v[i] for k, v in seen.items()}, fresh[episode][0][1])


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_interleaved_instances_with_noise_from_global_generators_play_equal_episodes(case):
    envs = [parallel(make(case)) for _ in range(3)]
    told: list[list] = [[] for _ in envs]
    current = [env.reset(seed=11)[0] for env in envs]
    rng = [np.random.default_rng(3) for _ in envs]
    np.random.seed(0)  # noqa: NPY002 - the noise that must not matter
    while any(env.agents for env in envs):
        for i, env in enumerate(envs):
            random.random()
            np.random.random()  # noqa: NPY002
            actions = {a: sample(env, a, current[i][a], rng[i]) for a in env.agents}
            seen, rewards, ends, cuts, _ = env.step(actions)
            told[i].append((current[i], actions, rewards, ends, cuts))
            current[i] = seen
    assert_same(told[0], told[1])
    assert_same(told[0], told[2])


def sample(env, agent: str, seen: dict, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(seen["action_mask"])))


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_observations_lie_in_their_space_rewards_are_finite_and_no_buffer_is_shared(case):
    env = parallel(make(case))
    rng = np.random.default_rng(0)
    kept = []
    for episode in range(5):
        seen, infos = env.reset(seed=episode)
        assert set(seen) == set(infos) == set(env.possible_agents)
        while env.agents:
            for agent, observation in seen.items():
                assert env.observation_space(agent).contains(observation), observation
                kept.append((observation, {k: np.copy(v) for k, v in observation.items()}))
            actions = {a: sample(env, a, seen[a], rng) for a in env.agents}
            seen, rewards, ends, cuts, _ = env.step(actions)
            assert all(np.isfinite(r) and isinstance(r, float) for r in rewards.values())
            assert set(ends) == set(cuts) == set(env.possible_agents)
    for observation, copy in kept:
        np.testing.assert_equal(observation, copy)
        arrays = [v for v in observation.values() if isinstance(v, np.ndarray)]
        for a, b in itertools.pairwise(arrays):
            assert not np.shares_memory(a, b)
    # What a caller writes into an observation changes nothing of the game.
    seen, _ = env.reset(seed=1)
    for agent in seen:
        before = {k: np.copy(v) for k, v in seen[agent].items()}
        for value in seen[agent].values():
            if isinstance(value, np.ndarray):
                value[...] = 0
    again, _ = env.reset(seed=1)
    np.testing.assert_equal(again[agent], before)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_payoffs_of_the_action_are_what_the_step_brings(case):
    for rows in play_batch(make(case), np.arange(20), 3).values():
        for seat, seen, action, reward, own, other in rows:
            if "payoffs" not in seen:
                assert np.isnan([own[seat], other[seat]]).all() and reward[seat] == 0
                continue
            assert (own[seat], other[seat]) == tuple(seen["payoffs"][action])
            assert reward[seat] == own[seat]


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_pettingzoo_accepts_both_faces(case, capsys):
    parallel_api_test(parallel(make(case)), num_cycles=100)
    with warnings.catch_warnings():
        # It would rather see one array than a dictionary of named ones.
        warnings.filterwarnings("ignore", message="Observation is not a NumPy array")
        warnings.filterwarnings("ignore", message="Observation space for each agent")
        env = aec(make(case))
        if "n_options=[2,9]" not in " ".join(case):  # api_test draws without the mask
            api_test(env, num_cycles=100)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_gymnasium_accepts_the_face_where_there_is_one_seat(case):
    game = make(case)
    if len(game.possible_agents) > 1 or "n_options=[2,9]" in " ".join(case):
        pytest.skip("several seats, or options that its sampler does not know to be absent")
    check_env(single(game), skip_render_check=True)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_words_name_every_option_in_the_order_shown(case):
    game = make(case)
    texts = {(r["item"], r["option"]): r["text"] for r in game.items()}
    slots = np.arange(50)
    game.reserve(50)
    game.reset(slots, key(0, slots))
    seen = game.observe(slots, np.zeros(50, int))
    for i, words in enumerate(game.describe(seen)):
        offered = int(seen["action_mask"][i].sum())
        assert words.order == tuple(seen["option_order"][i][:offered].tolist())
        assert sorted(words.order) == np.flatnonzero(seen["action_mask"][i]).tolist()
        for label, option in zip(words.labels, words.order, strict=True):
            item = game.item_ids[seen["item"][i]]
            assert f"\n{label}: {texts[item, option]}\n" in words.text
        if "payoffs" not in seen:
            continue  # a story may have any word
        for leak in ("maxim", "score", "win", "goal", "best", "optim", "should"):
            assert leak not in words.text.lower().split()


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_option_that_is_not_offered_is_refused(case):
    env = parallel(make(case))
    env.reset(seed=0)
    for wrong in (-1, 9, 100):
        with pytest.raises(ValueError, match=r"must lie in 0\.\.\d+, got"):
            env.step(dict.fromkeys(env.agents, wrong))


def test_an_episode_that_is_over_cannot_be_stepped():
    game = make(("svo_slider",))
    play_batch(game, np.arange(2), 0)
    with pytest.raises(ValueError, match="is over"):
        game.step(np.array([0]), np.array([[0]]))


def test_version_b_reverses_the_items_within_their_blocks():
    game = make(("svo_slider", "env.primary_only=false", "env.item_order=reversed"))
    items = [row[1]["item"] for row in play_batch(game, np.array([0]), 0)[0]]
    assert [game.item_ids[i] for i in items] == [
        str(n) for n in [*range(6, 0, -1), *range(15, 6, -1)]
    ]


def test_shuffled_items_stay_in_their_block_and_differ_between_episodes():
    game = make(("svo_slider", "env.primary_only=false", "env.item_order=shuffled"))
    orders = [
        [int(r[1]["item"]) for r in rows] for rows in play_batch(game, np.arange(40), 0).values()
    ]
    assert all(
        sorted(o[:6]) == list(range(6)) and sorted(o[6:]) == list(range(6, 15)) for o in orders
    )
    assert len({tuple(o) for o in orders}) > 35


def test_generated_items_keep_the_sliders_geometry():
    game = make(("svo_generated", "env.n_forms=5", "env.n_options=[2,9]"))
    rows = game.items()
    for item in game.item_ids:
        mine = [r for r in rows if r["item"] == item]
        for end in (mine[0], mine[-1]):
            from_centre = np.hypot(
                end["payoff_self"] - end["centre_self"], end["payoff_other"] - end["centre_other"]
            )
            assert abs(from_centre - end["radius"]) < 1
            assert end["value"] in ("altruistic", "prosocial", "individualistic", "competitive")
        assert 2 <= len(mine) <= 9
    assert len({r["radius"] for r in rows}) == 5


def test_other_item_seeds_give_other_items_and_equal_ones_equal_items():
    one, same = make(("svo_generated",)).items(), make(("svo_generated",)).items()
    assert one == same
    assert make(("svo_generated", "env.items_seed=1")).items() != one


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("env.item_order=random", "item_order must be one of canonical, reversed, shuffled"),
        ("env.option_order=x", "option_order must be one of"),
        ("env.n_options=[1,9]", r"n_options must be \[least, most\] within 2..9, got \[1, 9\]"),
        ("env.n_options=[2,10]", "n_options must be"),
        ("env.radius=[5,9]", "radius must be"),
        ("env.rotation=[30,20]", "rotation must be"),
        ("env.n_forms=0", "n_forms must be a whole number, 1 or more, got 0"),
    ],
)
def test_bad_parameters_are_refused_with_rule_name_and_value(override, sentence):
    with pytest.raises(InstantiationException) as fault:
        make(("svo_generated", override))
    assert re.search(sentence, str(fault.value.__cause__))


def test_draws_are_uniform_independent_and_named():
    draws = uniform(key(1, "x", np.arange(20_000)), 2)
    counts = np.histogram(draws[:, 0], 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi-square, 19 degrees of freedom
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(draws[1:, 0], draws[:-1, 0])[0, 1]) < 0.03
    assert key(1, "x", 0) != key(1, "y", 0) != key(2, "x", 0)
    assert key(1, 2, 3) != key(1, 3, 2)


def test_permutations_are_uniform_and_keep_absent_options_last():
    shown = permutation(key(0, np.arange(24_000)), 4)
    codes = shown @ [64, 16, 4, 1]
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == 24 and ((counts - 1000) ** 2 / 1000).sum() < 60
    offered = np.tile([True, True, True, False, False], (100, 1))
    padded = permutation(key(0, np.arange(100)), 5, offered)
    assert (padded[:, 3:] == [3, 4]).all()

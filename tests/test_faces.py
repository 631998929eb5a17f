import warnings

import pytest
from games import TwoStages
from pettingzoo.test import api_test, parallel_api_test

from envs.faces import aec, parallel, single


def test_a_game_of_turns_passes_pettingzoos_tests():
    parallel_api_test(parallel(TwoStages()), num_cycles=100)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Observation is not a NumPy array")
        warnings.filterwarnings("ignore", message="Observation space for each agent")
        api_test(aec(TwoStages()), num_cycles=100)


def test_seats_whose_turn_it_is_not_are_neither_asked_nor_played():
    env = aec(TwoStages())
    asked = []
    for seed in range(20):
        env.reset(seed=seed)
        order = []
        while not all(env.terminations.values()):
            order.append(env.agent_selection)
            env.step(0)
        asked.append(tuple(order))
    assert set(asked) == {("agent_0", "agent_1"), ("agent_0", "agent_1", "agent_0", "agent_1")}


def test_rewards_come_when_the_last_pending_seat_has_acted():
    env = aec(TwoStages())
    env.reset(seed=0)
    env.step(1)
    assert env.rewards == {"agent_0": 0.0, "agent_1": 0.0}
    env.step(0)
    assert env.rewards == {"agent_0": 5.0, "agent_1": 0.0}


def test_a_pending_agent_that_is_left_out_is_refused():
    env = parallel(TwoStages())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"every pending agent, \['agent_1'\] missing"):
        env.step({"agent_0": 0})


def test_a_game_of_two_has_no_face_for_one():
    with pytest.raises(ValueError, match="single\\(\\) needs one seat"):
        single(TwoStages())

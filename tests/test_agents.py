from functools import partial

import numpy as np
import pytest
from conftest import compose, names
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Frame, Member, Message, Rows, Seat, Turn
from agents.language import LanguageAgent
from agents.methods.definition import Definition
from agents.methods.hvae import HVAE
from agents.population import by_angles, by_counts, by_shares
from agents.scripted import Always, Linear, Uniform
from agents.theory import Theory
from envs.base import Words, key, uniform

THEORY = Theory(
    "svo",
    {
        "altruistic": {"angle": 90, "definition": "Cares for the other."},
        "prosocial": {"angle": 45, "definition": "Cares for both."},
    },
)
WORDS = Words("Here are two ways.", ("A", "B"), (0, 1))


def nothing(n: int) -> np.ndarray:
    return np.zeros((1, n))


def rows(payoffs, target, n=1, order=None) -> Rows:
    payoffs = np.tile(np.asarray(payoffs, float), (n, 1, 1))
    width = payoffs.shape[1]
    order = np.arange(width) if order is None else np.asarray(order)
    seen = {
        "payoffs": payoffs,
        "action_mask": np.ones((n, width), np.int8),
        "option_order": np.tile(order.astype(np.int16), (n, 1)),
    }
    keys = key(0, "test", np.arange(n))
    draw = partial(uniform, keys)
    return Rows(seen, np.full(n, float(target)), draw, draw)


def test_linear_agent_takes_the_best_option_of_its_angle():
    options = [[10, 0], [6, 6], [0, 10], [8, -9]]
    best = {0: 0, 45: 1, 90: 2, -60: 3}
    assert {t: Linear(0).act(rows(options, t)).item() for t in best} == best


def test_linear_agent_breaks_ties_evenly_and_never_takes_a_worse_option():
    chosen = Linear(0).act(rows([[5, 1], [5, 2], [4, 9]], 0, n=4000))
    counts = np.bincount(chosen, minlength=3)
    assert counts[2] == 0 and abs(counts[0] - 2000) < 150


def test_softmax_choices_have_the_chances_of_the_formula():
    chosen = Linear(5.0).act(rows([[10, 0], [5, 0], [0, 0]], 0, n=40_000))
    weights = np.exp([0, -1, -2])
    np.testing.assert_allclose(np.bincount(chosen) / 40_000, weights / weights.sum(), atol=0.01)


def test_options_that_are_not_offered_are_never_taken():
    for agent in (Linear(0), Linear(3.0), Uniform(), Always(-1)):
        acting = rows([[1, 0], [2, 0], [99, 0]], 0, n=500, order=[1, 0, 2])
        acting.seen["action_mask"][:, 2] = 0
        assert set(agent.act(acting).tolist()) <= {0, 1}


def test_always_k_takes_the_position_shown_not_the_option():
    acting = rows([[1, 0], [2, 0], [3, 0]], 0, n=2, order=[2, 0, 1])
    assert Always(0).act(acting).tolist() == [2, 2]
    assert Always(-1).act(acting).tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"position must lie in -1..2 where 3 options are shown"):
        Always(3).check_items([np.zeros((3, 2))])
    Always(2).check_items([np.zeros((3, 2))])


def test_shares_that_do_not_divide_go_to_the_largest_remainders():
    members = by_shares(THEORY, 10, {"altruistic": 0.55, "prosocial": 0.25, "control": 0.2})
    counts = {v: sum(m.value == v for m in members) for v in ("altruistic", "prosocial", None)}
    # 5.5 and 2.5: equal remainders, so the first in the list has the seat.
    assert counts == {"altruistic": 6, "prosocial": 2, None: 2}


@given(st.integers(1, 500), st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any))
def test_shares_give_exactly_n_members_within_one_of_their_share(n, weights):
    shares = dict(zip(("altruistic", "prosocial", "control"), weights, strict=True))
    shares = {k: w / sum(weights) for k, w in shares.items()}
    members = by_shares(THEORY, n, shares)
    assert len(members) == len({m.name for m in members}) == n
    for value, share in shares.items():
        count = sum((m.value or "control") == value for m in members)
        assert abs(count - n * share) < 1 + 1e-6


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: by_counts(THEORY, {"altruist": 3}), "got 'altruist'; did you mean 'altruistic'"),
        (lambda: by_counts(THEORY, {"prosocial": -1}), "count of 'prosocial' must be .* got -1"),
        (lambda: by_counts(THEORY, {}), "at least one member"),
        (lambda: by_shares(THEORY, 10, {"prosocial": 0.5}), "shares must add up to 1, got 0.5"),
        (lambda: by_shares(THEORY, 10, {"prosocial": 1.5}), "must lie in 0..1, got 1.5"),
        (lambda: by_shares(THEORY, 0, {"prosocial": 1}), "n must be .* got 0"),
        (lambda: by_angles(THEORY, [0, 181], 1), r"must lie in -180..180 degrees, got 181"),
        (lambda: by_angles(THEORY, [0, float("nan")], 1), "must lie in -180..180"),
        (lambda: by_angles(THEORY, [0, 0], 1), "must be different angles"),
        (lambda: by_angles(THEORY, [0], 0), "n_each must be .* got 0"),
        (lambda: Theory("x", {"control": {"angle": 0, "definition": ""}}), "cannot name one"),
        (lambda: Theory("x", {"y": {"angle": 0}}), "needs angle and definition"),
        (lambda: Linear(-1), "temperature must be 0, or 1e-06 or more, got -1"),
        (lambda: Linear(1e-320), "temperature must be 0, or 1e-06 or more"),
        (lambda: Always(1.5), "position must be a whole number"),
        (lambda: by_angles(THEORY, [180, -180], 1), "targets must be different angles"),
        (lambda: by_counts(THEORY, None), "counts must map orientations to numbers, got None"),
        (lambda: by_shares(THEORY, 9, {"prosocial": "x"}), "share of 'prosocial' must lie in 0..1"),
        (lambda: LanguageAgent(HVAE(goal=False), "both"), "conversation must be one of"),
        (lambda: Linear(0).check(Member("control-0")), "needs a target angle"),
        (
            lambda: Definition().check(Member("30deg-0", "30deg", 30.0)),
            "needs an orientation in words",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_rule_name_and_value(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def converse(agent: LanguageAgent, member: Member, n_items: int = 2, lost=()) -> list[Turn]:
    """The agent's turns; every reply is "reply" and its number; calls of `lost` items fail."""
    seat, turns, decided = Seat(member, "You will be asked."), [], 0
    while decided < n_items:
        (turn,) = agent.act(Rows({}, np.zeros(1), nothing, nothing, [seat], [WORDS]))
        turns.append(turn)
        seat.reply = f"reply {len(turns)}"
        if turn.stays and not (turn.labels is not None and decided in lost):
            seat.tip = Message("assistant", seat.reply, seat.tip)
        decided += turn.labels is not None
    return turns


def test_hvae_describes_takes_the_role_states_a_goal_and_repeats_it_at_every_item():
    member = THEORY.member("altruistic", "0")
    turns = converse(LanguageAgent(HVAE(goal=True), "shared"), member)
    assert [t.kind for t in turns] == ["describe", "role", "goal", "decide", "decide"]
    assert all("altruistic" in t.messages[0][1] for t in turns[:3])
    assert all("reply 3" in t.messages[0][1] for t in turns[3:])


def test_a_control_is_told_no_value():
    for goal, kinds in ((False, ["decide"] * 2), (True, ["goal", "decide", "decide"])):
        turns = converse(LanguageAgent(HVAE(goal), "shared"), Member("control-0"))
        assert [t.kind for t in turns] == kinds
        for turn in turns:
            for word in ("altruistic", "prosocial", "orientation"):
                assert word not in turn.messages[0][1]


def test_a_system_prompt_opens_a_shared_conversation_once_and_every_separate_one():
    member = THEORY.member("prosocial", "0")
    for conversation, n_system in (("shared", 1), ("separate", 2)):
        turns = converse(LanguageAgent(Definition(), conversation), member)
        roles = [role for t in turns for role, _ in t.messages]
        assert roles.count("system") == n_system
        assert "Cares for both." in turns[0].messages[0][1]
        assert [t.stays for t in turns] == [conversation == "shared"] * 2


@pytest.mark.parametrize("lost", [(0,), (0, 1), (1,), (2,)])
def test_a_system_prompt_is_said_again_until_an_exchange_stays(lost):
    agent = LanguageAgent(Definition(), "shared")
    turns = converse(agent, THEORY.member("prosocial", "0"), 4, lost)
    opened = [turn.messages[0][0] == "system" for turn in turns]
    assert opened == [all(k in lost for k in range(item)) for item in range(4)]


@pytest.mark.parametrize("name", names("agent"))
def test_every_agent_of_the_config_says_how_it_assigns_and_what_it_is(name):
    taken = None
    for theory in names("theory"):
        config = compose(f"agent={name}", f"theory={theory}")
        (agent,) = instantiate(config.agent).values()
        known = instantiate(config.theory)
        first = next(iter(getattr(known, "orientations", None) or known.values))
        try:
            agent.check(known.member(first, "0"))
        except ValueError:
            continue
        taken = known.member(first, "0")
    member = taken
    assert member is not None, "no theory has a member that it can play"
    assert isinstance(agent.method(member), str)
    assert agent.context in ((None,) if not agent.speaks else ("shared", "separate"))


def test_frames_hold_nothing_by_default():
    assert Frame() == Frame((), "")

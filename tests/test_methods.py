"""Ways to assign a value: what is said, where, in which words, and against whom."""

from typing import NamedTuple

import polars as pl
import pytest
from conftest import compose
from hydra.utils import instantiate

from agents.base import Member, Message, Seat
from agents.language import OWN, LanguageAgent
from agents.methods.definition import Definition
from agents.methods.hostile import Hostile
from agents.methods.hvae import HVAE
from agents.methods.weight import Weight
from agents.theory import Theory
from sim.calibrate import only
from sim.configs import CONF
from sim.errors import Refusal
from sim.variants import variants

KIND = Member("m", "altruistic", 90.0, "Such a person gives.")
THEORY = Theory(
    "svo",
    {
        "altruistic": {"angle": 90, "definition": "Gives."},
        "individualistic": {"angle": 0, "definition": "Keeps."},
        "competitive": {"angle": -45, "definition": "Is ahead."},
    },
)
CONTROL = Member("c")


class Words(NamedTuple):
    text: str
    labels: tuple[str, ...]


def said(method, member, *replies):
    """Messages of every turn, and the frame."""
    induction, turns = method.induce(member, "There will be choices."), []
    replies = list(replies)
    try:
        turn = next(induction)
        while True:
            turns.append(list(turn.messages))
            turn = induction.send(replies.pop(0) if replies else "I see.")
    except StopIteration as end:
        return turns, end.value


@pytest.mark.parametrize(
    ("angle", "own", "other"),
    [
        (0, "counts 1 for you", "the other person gets counts nothing"),
        (45, "counts 1 for you", "gets counts 1 for you"),
        (90, "yourself counts nothing", "gets counts 1 for you"),
        (-45, "counts 1 for you", "gets counts 1 against your wish"),
        (30, "counts 1 for you", "gets counts 0.58 for you"),
        (60, "counts 0.58 for you", "gets counts 1 for you"),
        (180, "yourself counts 1 against your wish", "gets counts nothing"),
    ],
)
def test_an_angle_is_said_as_two_weights(angle, own, other):
    text = Weight().said(angle)
    first, second = text.split(", and ")
    assert own in first
    assert other in second


def test_a_text_stands_as_system_prompt_or_above_the_first_question():
    for method in (Definition, Weight):
        _, system = said(method("system"), KIND)
        _, user = said(method("user"), KIND)
        assert system.opening[0] == ("system", user.lead)
        assert not system.lead
        assert not user.opening
    turns, _ = said(HVAE(False, "system"), KIND)
    assert [role for role, _ in turns[0]] == ["system", "user"]
    assert len(turns) == 1
    turns, _ = said(HVAE(False, "user"), KIND)
    assert [[role for role, _ in turn] for turn in turns] == [["user"], ["user"]]


def test_a_lead_stands_above_the_first_question_alone_and_what_is_above_stands_always():
    words = Words("Choose.", ("A", "B"))
    agent = LanguageAgent(Hostile(Definition("user"), THEORY), "shared")
    always = LanguageAgent(Hostile(Definition("user"), THEORY, every=True), "shared")
    for one, repeated in ((agent, False), (always, True)):
        seat = Seat(KIND, "")
        (first,) = one._turn(seat, words).messages
        assert first[1].index("gives") < first[1].index("Is ahead.") < first[1].index("Choose.")
        seat.tip = Message("assistant", "Answer: A", Message(*first, None))
        (second,) = one._turn(seat, words).messages
        assert "gives" not in second[1]
        assert ("Is ahead." in second[1]) == repeated


def test_controls_are_told_nothing_by_any_method():
    for method in (Definition("user"), Weight(), HVAE(False), Hostile(Definition(), THEORY)):
        turns, frame = said(method, CONTROL)
        assert not turns
        assert not (frame.opening or frame.lead or frame.above or frame.reminder)
        assert method.label(CONTROL) == "control"


def test_the_contrary_orientation_is_the_one_farthest_away():
    hostile = Hostile(Definition(), THEORY)
    assert hostile.contrary(90) == ("competitive", "Is ahead.")
    assert hostile.contrary(-45)[0] == "altruistic"
    assert hostile.contrary(10)[0] == "altruistic"


def test_a_hostile_prefix_comes_after_what_its_method_says_and_is_told_in_the_method():
    _, frame = said(Hostile(Definition("user"), THEORY), KIND)
    mine, theirs = frame.lead.split("\n\n")
    assert "Such a person gives." in mine
    assert "Is ahead." in theirs
    _, frame = said(Hostile(HVAE(True), THEORY, every=True), KIND, "x", "y", "My goal.")
    assert "Is ahead." in frame.above
    assert not frame.lead
    assert "My goal." in frame.reminder
    assert Hostile(HVAE(True), THEORY).label(KIND) == "hvae_goal_hostile"


@pytest.mark.parametrize("name", ["definition", "weight", "hvae", "hvae_goal", "hvae_hostile",
                                  "definition_hostile"])  # fmt: skip
def test_every_wording_of_a_method_can_be_built_and_says_something_else(name):
    config = compose(f"agent={name}").agent[name]
    wordings = [OWN, *config.method.wordings]
    texts = []
    for wording in wordings:
        config.method.wording = wording
        agent = instantiate(config)
        assert wording in agent.wording
        texts.append(str(said(agent._method, KIND)))
    assert len(set(texts)) == len(wordings) >= 3


def test_a_wording_that_lacks_a_text_or_a_place_is_refused():
    with pytest.raises(ValueError, match="wording must be one of own, a, got 'b'"):
        Definition(wording="b", wordings={"a": {"text": "{value} {definition}"}})
    with pytest.raises(ValueError, match="must have the texts text, got words"):
        Definition(wording="a", wordings={"a": {"words": "{value} {definition}"}})
    with pytest.raises(ValueError, match=r"must name \['definition', 'value'\], got \['value'\]"):
        Definition(wording="a", wordings={"a": {"text": "{value}"}})
    with pytest.raises(ValueError, match="place must be one of system, user, got 'top'"):
        Definition(place="top")


def test_lists_of_places_and_wordings_make_a_kind_of_agent_for_each():
    config = compose(
        "agent=[definition,linear]",
        "agent.definition.method.place=[system,user]",
        "agent.definition.method.wording=[own,part,role]",
    )
    kinds = variants(config.agent)
    assert list(kinds) == [
        *(f"definition-{p}-{w}" for p in ("system", "user") for w in ("own", "part", "role")),
        "linear",
    ]
    agent = instantiate(kinds["definition-user-part"])
    assert agent.wording == "user part"
    with pytest.raises(Refusal, match="empty list"):
        variants(compose("agent=definition", "agent.definition.method.wording=[]").agent)


def test_wordings_and_places_stand_in_every_row(play):
    run = play("agent=definition", "env=svo_slider", only(altruistic=1),
               "agent.definition.method.wording=[own,part]")  # fmt: skip
    rows = pl.read_parquet(run / "decisions.parquet").select("agent", "wording", "method").unique()
    assert sorted(rows.rows()) == [
        (f"definition-{w}", f"points; another person, whom you do not know; system {w}",
         "definition")
        for w in ("own", "part")
    ]  # fmt: skip


def test_every_wording_file_is_that_of_a_method():
    files = {path.stem for path in (CONF / "wording").glob("*.yaml")}
    methods = {path.stem for path in (CONF.parent / "agents" / "methods").glob("*.py")}
    assert files <= methods

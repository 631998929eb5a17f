"""Populations by distributions and from files; every fault of a file is one sentence."""

import json

import numpy as np
import polars as pl
import pytest
from conftest import compose
from hydra.utils import instantiate

from agents.cohort import from_file
from agents.distributions import by_grid, by_normal, by_percentiles
from agents.population import by_angles, by_model
from agents.theory import Theory
from sim.analyse import analyse
from sim.analysis import human
from sim.analysis.slider import category
from sim.errors import Refusal
from sim.setup import build

THEORY = Theory(
    "svo",
    {
        "altruistic": {"angle": 90, "definition": "Cares for the other."},
        "individualistic": {"angle": 0, "definition": "Cares for themselves."},
        "competitive": {"angle": -45, "definition": "Wants to be ahead."},
        "generous": {"angle": 180, "definition": "Gives away."},
    },
)


def targets(members) -> list[float]:
    return [member.target for member in members]


def test_a_grid_runs_from_end_to_end_and_one_member_stands_in_the_middle():
    assert targets(by_grid(THEORY, "g", 4, -30, 60)) == [-30, 0, 30, 60]
    assert targets(by_grid(THEORY, "g", 1, -30, 60)) == [15]


def test_quantiles_of_a_normal_distribution_have_its_mean_and_spread():
    angles = np.array(targets(by_normal(THEORY, "n", 2001, 20, 10, None)))
    assert angles.mean() == pytest.approx(20)
    assert angles.std() == pytest.approx(10, rel=0.01)
    drawn = np.array(targets(by_normal(THEORY, "n", 2001, 20, 10, 7)))
    assert drawn.mean() == pytest.approx(20, abs=1)
    assert drawn.tolist() == targets(by_normal(THEORY, "n", 2001, 20, 10, 7))
    with pytest.raises(ValueError, match=r"-180\.\.180"):
        by_normal(THEORY, "n", 2001, 170, 20, None)


def test_the_human_population_has_the_percentiles_that_analyzers_know():
    config = compose("population=human", "population.n=1000").population
    np.testing.assert_allclose(config.percentiles, human.percentiles())
    members = instantiate(config)
    angles = np.array(targets(members))
    np.testing.assert_allclose(
        np.quantile(angles, [0.25, 0.5, 0.75]), human.percentiles()[[25, 50, 75]], atol=0.3
    )
    assert {member.value for member in members} == {"human"}
    assert angles.mean() == pytest.approx(human.MEAN, abs=0.3)
    few = np.array(targets(instantiate(compose("population=human", "population.n=100").population)))
    shares = {name: (category(few) == name).mean() for name in human.CATEGORY}
    assert shares["prosocial"] == pytest.approx(0.75, abs=0.011)
    assert shares["competitive"] <= 0.01


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: by_grid(THEORY, "g", 0, 0, 1), "n must be a whole number"),
        (lambda: by_grid(THEORY, "g", 2, 1, 0), "low must not be above"),
        (lambda: by_normal(THEORY, "n", 2, 0, 0, None), "sd must lie above 0"),
        (lambda: by_percentiles(THEORY, "p", 2, [1], None), "two ascending"),
        (lambda: by_percentiles(THEORY, "p", 2, [2, 1], None), "two ascending"),
        (lambda: by_percentiles(THEORY, "p", 2, [1, 2], -1), "seed must be"),
        (lambda: by_percentiles(THEORY, "p", 2, None, None), "must be a list of angles, got None"),
        (lambda: by_percentiles(THEORY, "p", 2, 5, None), "must be a list of angles, got 5"),
        (lambda: by_angles(THEORY, 45, 1), "targets must be a list of angles, got 45"),
        (lambda: by_model(3), "parts must map models to populations, got 3"),
        (lambda: by_model({"a": 3}), "part 'a' must be a population or null, got 3"),
        (lambda: by_grid(THEORY, None, 2, 0, 1), "name must be a word .* got None"),
        (lambda: by_grid(THEORY, "control", 2, 0, 1), "'control' means no orientation"),
    ],
)
def test_a_distribution_that_cannot_be_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()


def test_a_cohort_keeps_its_own_columns_and_takes_value_target_or_profile(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(
        "id,value,target,profile,age,note\n"
        "ann,altruistic,,,31,\n"
        "bob,,12.5,,40,two words\n"
        'cleo,,,"{""altruistic"": 1, ""individualistic"": 1}",,x\n'
        "dora,control,,,22,\n"
        "eve,competitive,-60,,23,\n"
    )
    ann, bob, cleo, dora, eve = from_file(THEORY, str(path))
    assert (ann.name, ann.value, ann.target) == ("ann", "altruistic", 90)
    assert (bob.value, bob.target, bob.definition) == ("12.5deg", 12.5, None)
    assert cleo.target == pytest.approx(45)
    assert cleo.value == "50% altruistic + 50% individualistic"
    assert "Cares for the other." in cleo.definition
    assert (dora.value, dora.target) == (None, None)
    assert (eve.value, eve.target) == ("competitive", -60)
    assert [m.cohort["age"] for m in (ann, bob, cleo)] == [31, 40, None]
    assert bob.cohort["note"] == "two words"


def test_a_json_cohort_is_read_the_same_way(tmp_path):
    path = tmp_path / "people.json"
    rows = [{"value": "altruistic", "happy": True}, {"target": -3, "profile": None}]
    path.write_text(json.dumps(rows))
    first, second = from_file(THEORY, str(path))
    assert (first.name, first.cohort) == ("0001", {"happy": True})
    assert (second.target, second.cohort) == (-3, {"happy": None})


def test_numbers_are_read_as_they_are_written_and_codes_stay_texts(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("target,code,long,share,big\n1,007,12345678901234567,0.5,1e30\n2,012,1,2,3\n")
    first, second = (member.cohort for member in from_file(THEORY, str(path)))
    assert first == {"code": "007", "long": 12345678901234567, "share": 0.5, "big": "1e30"}
    assert second == {"code": "012", "long": 1, "share": 2.0, "big": "3"}


CSV_FAULTS = {
    "age\n3\n": "needs a column value, target or profile, got age",
    "value,target\naltruistic,x\n": "row 1, column 'target'.*-180..180 degrees, got 'x'",
    "value,target\naltruistic,1\n,1e9\n": "row 2, column 'target'",
    "value,target\naltruistic,nan\n": "row 1, column 'target'",
    "value\nkind\n": "row 1, column 'value'.*got 'kind'",
    "id,target\na,1\nb,2\na,3\n": "got 'a' in rows 1 and 3",
    "target,x\n1\n": "row 1 of .* must have 2 cells, got 1",
    "target,target\n1,2\n": "'target' twice",
    "target,agent_id\n1,2\n": "'agent_id' of .* another name",
    "value,target\n,\n": "row 1 of .* must have a value, a target or a profile",
    "value,target\ncontrol,3\n": "must be empty for a control",
    "value,profile\naltruistic,{}\n": "must stand alone",
    "profile\nabc\n": "must be a JSON object",
    'profile\n"{""altruistic"": ""much""}"\n': "weight of 'altruistic' must be a number",
    'profile\n"{""altruistic"": 0}"\n': "must be above 0",
    'profile\n"{""generous"": 1, ""individualistic"": 1}"\n': "cancel out",
    'profile\n"{""kind"": 1}"\n': "got 'kind'",
    'target\n"1\n': "is no CSV file",
    "": "at least one row",
    "target\n": "at least one row",
    "target,x,\n1,2,\n": "every column of .* needs a name, column 3 has none",
    "id,target\n45,1\n,2\n45,3\n": "got '45' in rows 1 and 3",
    'profile\n"{""altruistic"": 1, ""altruistic"": 3}"\n':
        "row 1, column 'profile'.*each name once, got 'altruistic' twice",
    "target\n4_5\n": "row 1, column 'target'.*got '4_5'",
    "target\n٤٥\n": "row 1, column 'target'",
    "Value\naltruistic\n": "column 'Value' of .* must be written 'value'",
    "ID,target\na,1\n": "column 'ID' of .* must be written 'id'",
    f"target,profile\n1,\n,{'[' * 20_000}\n": "row 2, column 'profile'",
    'profile\n"{""altruistic"": 1e-12}"\n': "must lie in 1e-09..1e\\+09",
}  # fmt: skip


@pytest.mark.parametrize("text", CSV_FAULTS, ids=range(len(CSV_FAULTS)))
def test_a_faulty_cohort_is_refused_in_a_sentence_with_row_and_column(tmp_path, text):
    path = tmp_path / "people.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=CSV_FAULTS[text]) as told:
        from_file(THEORY, str(path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "no JSON file"),
        ("{}", "a JSON list of objects"),
        ("[3]", "a JSON list of objects"),
        ('[{"target": 1, "x": [1]}]', "row 1, column 'x'"),
        ('[{"target": true}]', "row 1, column 'target'"),
        ('[{"target": 1, "x": 1}, {"target": 1, "x": "a"}]', "one kind of value, got number and"),
        ('[{"target": 1, "x": 1000000000000000000000}]', "got number beyond 64 bits"),
        ('[{"target": 1, "x": 1e400}]', "got number beyond 64 bits"),
        ('[{"Target": 1}]', "column 'Target' .* must be written 'target'"),
        ("[" * 100_000, "no JSON file"),
        ('[{"target": 1, "target": 2}]', "each name once, got 'target' twice"),
        ('[{"profile": {"altruistic": 1, "altruistic": 2}}]', "got 'altruistic' twice"),
        ('[{"target": NaN}]', "a number must be finite, got NaN"),
        ('[{"target": 1},]', "no JSON file"),
        ('[{"id": "", "target": 1}]', "row 1, column 'id' .* must be a name"),
        ('[{"id": "\\ud800", "target": 1}]', "column 'id' .* UTF-8"),
        ('[{"target": 1, "note": "\\ud800"}]', "column 'note' .* UTF-8"),
    ],
)
def test_a_faulty_json_cohort_is_refused_in_a_sentence(tmp_path, text, rule):
    path = tmp_path / "people.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rule):
        from_file(THEORY, str(path))


def test_files_that_are_too_large_missing_or_in_another_encoding_are_refused(tmp_path):
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(2**30)  # a hole: it takes no room
    with pytest.raises(ValueError, match=r"64 MiB .*got 1,024"):
        from_file(THEORY, str(large))
    latin = tmp_path / "latin.csv"
    latin.write_bytes("target,note\n1,größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match="must be UTF-8, got byte 0xf6"):
        from_file(THEORY, str(latin))
    with pytest.raises(ValueError, match="must exist"):
        from_file(THEORY, str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match=r"\.csv or \.json"):
        from_file(THEORY, str(tmp_path / "people.txt"))


def test_the_command_refuses_a_faulty_cohort_with_the_files_sentence(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("id,target\na,1\na,2\n")
    with pytest.raises(Refusal, match="got 'a' in rows 1 and 2"):
        build(compose("population=cohort", f"population.path={path}", "agent=linear"))


def test_cohort_columns_reach_the_table_of_agents(tmp_path, play):
    path = tmp_path / "people.csv"
    path.write_text("id,target,age\na,1,30\nb,50,40\n")
    run = play("population=cohort", f"population.path={path}", "agent=linear", "env=svo_slider")
    agents = pl.read_parquet(run / "agents.parquet")
    assert agents.select("agent_id", "target", "age").rows() == [
        ("linear-a", 1.0, 30), ("linear-b", 50.0, 40),
    ]  # fmt: skip


def test_several_models_play_one_population_and_each_answers_its_own_members(play):
    run = play(
        "model=several", "population=by_model", "env=svo_slider", "agent=[definition,random]",
        "population.parts.pocket.n=5", "population.parts.rules.n=5",
    )  # fmt: skip
    rows = pl.read_parquet(run / "decisions.parquet")
    told = rows.group_by("agent", "model").len().sort("agent", "model").rows()
    assert told == [("definition", "pocket", 30), ("definition", "scripted", 30),
                    ("random", None, 60)]  # fmt: skip
    names = pl.read_parquet(run / "agents.parquet").filter(agent="definition")
    assert set(names["member"].str.split("@").list.last()) == {"pocket", "rules"}


def test_a_member_without_one_of_several_models_is_refused():
    with pytest.raises(Refusal, match="one of the models pocket, rules"):
        build(compose("model=several", "population=shares", "agent=definition", "env=svo_slider"))
    with pytest.raises(Refusal, match="model=several"):
        build(compose("population=by_model", "agent=definition", "env=svo_slider"))


@pytest.mark.parametrize("population", ["grid", "human", "normal"])
def test_members_of_one_value_with_many_targets_go_through_the_default_analysis(play, population):
    overrides = ("agent=[linear,softmax]", "env=svo_slider", f"population={population}",
                 "population.n=8")  # fmt: skip
    run = play(*overrides)
    analyse(run, compose(*overrides), {"experiment": "x", "counts": {}})
    assert (run / "report.html").stat().st_size > 10_000


def test_angles_that_differ_in_any_digit_have_names_of_their_own(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("target\n45\n45.0000001\n")
    assert [m.value for m in from_file(THEORY, str(path))] == ["45deg", "45.0000001deg"]


def test_any_preset_can_be_the_population_of_one_of_several_models():
    config = compose("model=several", "population=by_model", "population.parts.rules=null",
                     "+population@population.parts.large=grid", "population.parts.large.n=3",
                     "population.parts.pocket.n=5")  # fmt: skip
    names = [member.name for member in instantiate(config.population)]
    assert len(names) == 8
    assert "grid-0@large" in names


def test_a_grid_over_the_whole_circle_has_no_angle_twice():
    assert targets(by_grid(THEORY, "g", 4, -180, 180)) == [-180, -90, 0, 90]
    assert targets(by_grid(THEORY, "g", 1, -180, 180)) == [0]


def test_profiles_that_differ_have_words_that_differ_and_no_share_of_nothing():
    def words(*weights):
        member = THEORY.mixture(dict(zip(("altruistic", "competitive"), weights, strict=True)), "m")
        return member.value, member.definition

    assert words(0.501, 0.499)[0] == "50.1% altruistic + 49.9% competitive"
    for one, other in (((0.501, 0.499), (0.499, 0.501)), ((2, 1), (2.0001, 1))):
        for first, second in zip(words(*one), words(*other), strict=True):
            assert first != second
    assert words(0.004, 0.996)[0] == "0.4% altruistic + 99.6% competitive"
    assert "In 0.4% of what" in words(0.004, 0.996)[1]
    assert words(1e-9, 1e9)[0].startswith("1e-16% ")
    assert words(0.1, 0.2)[0] == "33.33333333% altruistic + 66.66666667% competitive"


def test_large_numbers_are_numbers_where_a_column_has_fractions(tmp_path):
    path = tmp_path / "people.json"
    path.write_text('[{"target": 1, "x": 1e20}, {"target": 2, "x": 3}, {"target": 3, "x": null}]')
    assert [m.cohort["x"] for m in from_file(THEORY, str(path))] == [1e20, 3.0, None]
    config = compose("population=cohort", f"population.path={path}", "agent=linear")
    assert build(config).cast.table["x"].to_list() == [1e20, 3.0, None]


def test_a_refusal_shows_the_beginning_of_a_long_cell(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(f"profile\n{'[' * 20_000}\n")
    with pytest.raises(ValueError, match="profile") as told:
        from_file(THEORY, str(path))
    assert len(str(told.value)) < 400


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("population.path=null", "path must name a cohort's .csv or .json file, got None"),
        ("population.max_mib=abc", "max_mib must be a number above 0, got 'abc'"),
        ("population.max_mib=null", "max_mib must be a number above 0, got None"),
    ],
)
def test_a_cohort_without_a_path_or_a_size_is_refused_in_a_sentence(tmp_path, word, sentence):
    path = tmp_path / "people.csv"
    path.write_text("target\n1\n")
    with pytest.raises(Refusal, match=sentence):
        build(compose("population=cohort", f"population.path={path}", word, "agent=linear"))

"""The commands as a user types them, in this process."""

import json
from pathlib import Path

import polars as pl
import pytest
from conftest import names

from sim import load


def runs() -> list[Path]:
    return sorted(path.parent for path in Path("outputs").rglob("manifest.json"))


@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_study_runs_to_a_complete_report(sim, experiment):
    status, out, err = sim(f"experiment={experiment}")
    assert (status, err) == (0, "")
    (run,) = runs()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "complete" and manifest["experiment"] == experiment
    tables = load(run)
    assert tables.decisions.select(pl.len()).collect().item() == manifest["n_decisions"] > 0
    results = {path.stem for path in (run / "results").glob("*.csv")}
    assert results and results <= set(names("analysis"))
    for name in results:
        assert (run / "figures" / f"{name}.png").stat().st_size > 5000
        assert (run / "figures" / f"{name}.svg").exists()
    page = (run / "report.html").read_text()
    assert "complete" in page
    assert all(name in page for name in tables.items["instrument"].unique())
    assert str(run) in out
    assert not list(run.glob("*.partial")) and not (run / ".parts").exists()


def test_equal_configs_give_equal_bytes_and_other_seeds_others(sim):
    for k, seed in enumerate((1, 1, 2)):
        sim("experiment=hvae", f"seed={seed}", f"hydra.run.dir=outputs/{k}")
    for name in ("decisions.parquet", "turns.parquet", "results/value_rationality.csv",
                 "figures/value_rationality.png", "figures/svo_scores.svg"):  # fmt: skip
        one, same, other = (Path("outputs", k, name).read_bytes() for k in "012")
        assert one == same, name
        assert one != other or name.startswith("figures"), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["+population.counts.altruist=3"], "got 'altruist'; did you mean 'altruistic'"),
        (["population=shares", "population.shares={prosocial: 0.5}"], "shares must add up to 1"),
        (
            ["population=angles", "population.targets=[200]"],
            "must lie in -180..180 degrees, got 200",
        ),
        (["agent=linear", "population.counts.control=2"], "a linear agent needs a target angle"),
        (["agent=hvae", "population=angles"], "needs an orientation in words"),
        (["agent=nobody"], "Could not find 'agent/nobody'"),
        (["experiment=nothing"], "Could not find 'experiment/nothing'"),
        (["sed=3"], "Could not override 'sed'"),
        (["seed=-1"], "seed must be a whole number, 0 or more, got -1"),
        (["seed=x"], "seed must be a whole number, 0 or more, got 'x'"),
        (["n_repeats=0"], "n_repeats must be a whole number, 1 or more, got 0"),
        (["n_repeats=1.5"], "n_repeats must be a whole number, 1 or more, got 1.5"),
        (["seed=18446744073709551616"], "seed must be below 2**63"),
        (["agent=null"], "Config group override must be a string or a list"),
        (["agent=always_first", "agent.always_first.position=9"], "position must lie in -1..8"),
        (["unread_limit=abc"], "unread_limit must lie in 0..1, got 'abc'"),
        (["env=svo_generated", "env.items_seed=-1"], "items_seed must be a whole number"),
        (["agent=hvae", "model.chunk=1.5"], "chunk must be a whole number"),
        (["fallback=12"], "fallback must lie in 0..8, got 12"),
        (["unread_limit=2"], "unread_limit must lie in 0..1, got 2"),
        (["env.item_order=random"], "item_order must be one of canonical, reversed, shuffled"),
        (["agent=hvae", "response_mode=label"], "response_mode must be one of text"),
        (["agent=hvae", "model.unread=2"], "unread must lie in 0..1, got 2"),
        (["agent=hvae", "agent.hvae.method.goal=[true,false]"], "goal must be true or false"),
        (["agent=hvae_hostile", "agent.hvae_hostile.method.every=maybe"], "got 'maybe'"),
        (["population=grid", "population.name=null"], "name must be a word of its own"),
        (
            ["theory.orientations.prosocial.definition=null"],
            "definition of orientation 'prosocial' must be a text, got None",
        ),
        (
            ["env=svo_battery", "model=pocket", "agent=definition"],
            "shortest replies; conversation=separate asks each item alone",
        ),
        (
            [
                "env=svo_battery",
                "model=pocket",
                "agent=definition",
                "agent.definition.method.place=[system,user]",
            ],
            "; conversation=separate asks each item alone",
        ),
        (["population=human", "population.percentiles=5"], "must be a list of angles, got 5"),
        (["population=angles", "population.targets=45"], "must be a list of angles, got 45"),
        (["env=svo_battery", "env.parts=null"], "parts must map names to allocation games, got"),
        (
            ["agent=fehr_schmidt", "agent.fehr_schmidt.alpha=1e308"],
            "alpha must lie in -1e+09..1e+09",
        ),
        (
            ["agent=linear", "+agent.definition.conversation=separate"],
            "agent.definition must say what it is in _target_, got conversation alone: an "
            "experiment or an override sets these for agent=definition, which is not chosen; "
            "choose it too, or leave them out with ~agent.definition",
        ),
    ],
)
def test_bad_input_gets_one_sentence_before_anything_runs(sim, words, sentence):
    status, out, err = sim("experiment=scripted_baselines", *words)
    assert status == 2 and sentence in err and out == ""
    assert "Traceback" not in err and not list(Path().rglob("decisions.parquet"))
    assert len([line for line in err.splitlines() if line.startswith("refused: ")]) == 1


def test_another_agent_in_an_experiment_leaves_no_half_agent_or_is_refused(sim):
    words = ("agent=linear", "population.n=4", "analysis=[]")
    few = "population.shares={altruistic: 1, prosocial: 0, individualistic: 0, competitive: 0, "
    few += "control: 0}"
    assert sim("experiment=instruments_agree", few, *words)[0] == 0
    # This one sets places and wordings of its agents.
    status, _, err = sim("experiment=prompt_sensitivity", *words)
    assert status == 2 and "~agent." in err and len(err.splitlines()) == 1
    assert sim("experiment=prompt_sensitivity", *words, "~agent.definition", "~agent.hvae")[0] == 0


def test_a_file_that_changes_while_a_run_starts_is_refused(monkeypatch, tmp_path):
    import conftest

    from sim import setup
    from sim.errors import Refusal

    people = tmp_path / "people.csv"
    people.write_text("target\n10\n")
    slow = setup.Cast

    def changes(*arguments):
        people.write_text("target\n30\n")
        return slow(*arguments)

    monkeypatch.setattr(setup, "Cast", changes)
    config = conftest.compose("population=cohort", f"population.path={people}", "agent=linear")
    with pytest.raises(Refusal, match=r"population\.path must stay as it is"):
        setup.build(config)
    monkeypatch.undo()
    parts = setup.build(config)
    assert parts.inputs == setup.inputs(config)


def test_a_folder_that_cannot_be_made_gets_one_sentence(sim):
    Path("outputs").write_text("a file where the folder should be")
    status, _, err = sim()
    assert status == 1 and err.startswith("failed: ") and len(err.splitlines()) == 1


def test_runs_without_value_rationality_are_reported_one_by_one(sim, report):
    assert sim("-m", "seed=1,2", "analysis=svo_scores")[0] == 0
    status, out, err = report(runs()[0].parent)
    assert (status, err) == (0, "") and "no comparison: it is one of value_rationality" in out


def test_resume_sees_that_a_file_of_the_config_has_other_contents(sim):
    Path("people.csv").write_text("target\n10\n20\n")
    words = ("population=cohort", "population.path=people.csv", "agent=linear", "analysis=[]")
    assert sim(*words)[0] == 0
    (run,) = runs()
    told = json.loads((run / "manifest.json").read_text())["inputs"]
    assert list(told) == ["population.path"] and len(told["population.path"]) == 64
    assert sim(f"resume={run}")[0] == 0
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    Path("people.csv").write_text("target\n10\n30\n")
    status, _, err = sim(f"resume={run}")
    assert status == 2 and "resume needs the file population.path that" in err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_sweep_gives_a_folder_per_point_and_one_comparison(sim, report):
    status, *_ = sim("-m", "seed=1,2", "agent=linear,random")
    assert status == 0 and len(runs()) == 4
    sweep = runs()[0].parent
    assert [run.name for run in runs()] == ["0", "1", "2", "3"]
    status, out, err = report(sweep)
    assert (status, err) == (0, "") and str(sweep / "comparison.html") in out
    table = pl.read_csv(sweep / "results" / "comparison.csv")
    assert table["run"].n_unique() == 4 and {"vr", "vrc"} <= set(table["measure"])
    assert (sweep / "figures" / "comparison.png").exists()
    assert "seed=1, agent=linear" in (sweep / "comparison.html").read_text()


def test_a_sweep_goes_on_past_a_point_that_is_refused_and_says_so(sim):
    status, _, err = sim("-m", "seed=-1,1", "analysis=[]")
    assert status == 2 and "seed must be" in err
    assert [json.loads((r / "manifest.json").read_text())["status"] for r in runs()] == ["complete"]


def test_resume_works_alone_in_the_run_and_changes_nothing(sim):
    sim("experiment=hvae", "analysis=[]")
    (run,) = runs()
    before = (run / "decisions.parquet").read_bytes()
    first = json.loads((run / "manifest.json").read_text())
    cost = (first["seconds"], first["decisions_per_second"])
    status, out, err = sim(f"resume={run}")
    assert (status, err) == (0, "") and str(run) in out
    manifest = json.loads((run / "manifest.json").read_text())
    # What it cost stays on record.
    assert manifest["asked"] == manifest["replayed"] > 600
    assert (manifest["seconds"], manifest["decisions_per_second"]) == cost
    assert (run / "decisions.parquet").read_bytes() == before


def test_resume_refuses_other_overrides_other_configs_and_folders_that_are_no_runs(sim):
    sim("experiment=hvae", "analysis=[]")
    (run,) = runs()
    status, _, err = sim(f"resume={run}", "seed=2")
    assert status == 2 and "resume takes no other overrides, got seed=2" in err
    status, _, err = sim("resume=nowhere")
    assert status == 2 and "resume needs a run folder" in err
    saved = run / ".hydra" / "config.yaml"
    saved.write_text(saved.read_text().replace("seed: 0", "seed: 5", 1))
    status, _, err = sim(f"resume={run}")
    assert status == 2 and "resume needs the config that" in err


def test_a_journal_of_another_schema_or_no_journal_at_all_is_refused(sim):
    import sqlite3
    from contextlib import closing

    sim("experiment=hvae", "analysis=[]")
    (run,) = runs()
    with closing(sqlite3.connect(run / "journal.sqlite")) as journal:
        journal.execute("PRAGMA user_version=99")
    status, _, err = sim(f"resume={run}")
    assert status == 2 and "must have schema version 2, got 99: a newer" in err
    (run / "journal.sqlite").write_text("no database " * 500)
    status, _, err = sim(f"resume={run}")
    assert status == 2 and "cannot be used: file is not a database" in err


def test_another_run_in_a_used_folder_is_refused_and_leaves_it_as_it_was(sim):
    sim("experiment=hvae", "analysis=[]", "hydra.run.dir=outputs/used")
    run = Path("outputs/used")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    status, _, err = sim("experiment=hvae", "seed=9", "hydra.run.dir=outputs/used")
    assert status == 2 and "resume needs the config that" in err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    saved = (run / ".hydra" / "config.yaml").read_text()
    assert "seed: 0" in saved and "${" not in saved


def test_a_run_that_lost_its_manifest_still_refuses_another_config(sim):
    words = ("agent=linear", "analysis=[]", "hydra.run.dir=outputs/used")
    sim(*words, "seed=1")
    manifest = Path("outputs/used/manifest.json")
    manifest.unlink()
    status, _, err = sim(*words, "seed=9")
    assert status == 2 and "resume needs the config that" in err and not manifest.exists()
    assert sim("resume=outputs/used")[0] == 0


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_damaged_manifest_gets_one_sentence(sim, report, text):
    sim("agent=linear", "analysis=[]", "hydra.run.dir=outputs/r")
    Path("outputs/r/manifest.json").write_text(text)
    for status, _, err in (sim("resume=outputs/r"), report("outputs/r")):
        assert status == 2 and err.startswith("refused: outputs/r/manifest.json ")
        assert len(err.splitlines()) == 1


def test_a_refused_run_leaves_no_folder_and_dry_run_no_is_refused(sim):
    for word in ("fallback=12", "dry_run=no"):
        status, _, err = sim(word)
        assert status == 2 and err.startswith("refused: ") and not list(Path().rglob("*-*-*"))
    assert sim("dry_run=false", "analysis=[]")[0] == 0 and len(runs()) == 1


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "\x00", "a: ${b}"])
def test_a_saved_config_that_cannot_be_read_gets_one_sentence(sim, report, text):
    sim("experiment=hvae", "analysis=[]")
    (run,) = runs()
    (run / ".hydra" / "config.yaml").write_text(text)
    for status, _, err in (sim(f"resume={run}"), report(run)):
        assert status == 2 and len(err.splitlines()) == 1 and err.startswith("refused: ")


def test_two_runs_of_the_same_second_have_folders_of_their_own(sim):
    words = ("experiment=dose_response", "analysis=[]", "population.n_each=1")
    assert [sim(*words, f"seed={k}")[0] for k in range(4)] == [0] * 4
    assert len(runs()) == 4


def test_a_second_process_in_the_same_run_is_refused(sim):
    import fcntl

    sim("experiment=hvae", "analysis=[]")
    (run,) = runs()
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, err = sim(f"resume={run}")
    assert status == 2 and "is in use by another process" in err


@pytest.mark.parametrize("word", ["dry_run=true", "dry_run=True", "++dry_run=1"])
def test_a_dry_run_shows_each_condition_once_asks_nobody_and_leaves_nothing(sim, word):
    status, out, err = sim("experiment=hvae", word)
    assert (status, err) == (0, "") and not Path("outputs").exists()
    assert out.count("=====") == 2 * 10 and "200 agents, 200 episodes; nobody was asked" in out
    assert "tokens in the prompt" in out and "85 points for you, 76 points" in out
    assert "the competitive social value orientation" in out


def test_a_report_is_made_again_without_a_model_and_tells_conversations(sim, report):
    sim("experiment=hvae")
    (run,) = runs()
    page, table = run / "report.html", run / "results" / "value_rationality.csv"
    before = page.read_bytes(), table.read_bytes()
    page.unlink()
    table.unlink()
    status, out, _ = report(run)
    assert status == 0 and str(page) in out
    assert (page.read_bytes(), table.read_bytes()) == before
    assert not list(run.glob("journal.sqlite-*"))
    status, out, _ = report(run, "agent=hvae_goal-competitive-03")
    assert status == 0 and "goal: user" in out and "Answer: " in out
    status, _, err = report(run, "agent=nobody")
    assert status == 2 and "agent must be in" in err
    (run / "journal.sqlite").unlink()
    status, _, err = report(run, "agent=hvae-competitive-03")
    assert status == 2 and "cannot be read: unable to open database file" in err
    status, _, err = report(run.parent.parent)
    assert status == 2 and "must be a run folder or a sweep" in err


def test_a_run_that_reads_too_little_says_so_loudly(sim):
    sim("experiment=hvae", "model.unread=0.5", "n_reasks=0", "analysis=[value_rationality]")
    (run,) = runs()
    assert "could not be read; the study" in (run / "report.html").read_text()
    counts = json.loads((run / "manifest.json").read_text())["counts"]
    assert counts["unparsed"] + counts["refused"] > 200


def test_an_orientation_of_ones_own_needs_config_only(sim):
    status, *_ = sim(
        "experiment=hvae",
        "+theory.orientations.egalitarian={angle: 40, definition: Likes equality.}",
        "+model.angles.egalitarian=40",
        "population=counts",
        "+population.counts.egalitarian=5",
        "analysis=[value_rationality]",
    )
    (run,) = runs()
    table = pl.read_csv(run / "results" / "value_rationality.csv")
    assert status == 0 and "egalitarian" in table["value"]

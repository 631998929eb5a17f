"""What a run makes of a served model's faults: `fault_matrix` in small, and what blocks whom."""

from collections import Counter
from pathlib import Path

import fault_matrix
import pytest
import served_study
from fault_matrix import CLASS, FATAL, NAMES, TRANSIENT, Row, mode_of, plain_run, run_one
from served_study import here, several, words
from stand_in import serve

AGENTS = 6  # each is asked six times
TEMPORARY = tuple(name for name in NAMES if CLASS.get(name) in TRANSIENT)
WAITED = ("hang", "long_drip")  # whose calls take as long as they may


@pytest.fixture(scope="module")
def server():
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def plain(server, tmp_path_factory) -> dict[str, Path]:
    """Runs that nothing disturbed, by response mode."""
    root = tmp_path_factory.mktemp("plain")
    return {mode: plain_run(server, root / mode, AGENTS, here, mode) for mode in ("text", "json")}


@pytest.fixture
def one(server, plain, tmp_path):
    """`run_one` in this process."""

    def run(name: str, share: float, on_error: str = "stop", **more) -> Row:
        row = run_one(
            {name: share}, server, plain[mode_of(name)], tmp_path / "run", AGENTS, here, on_error,
            timeout=0.5, **more,
        )  # fmt: skip
        assert row.wrong == [] and row.late <= row.calls // 10
        return row

    return run


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_fault_that_passes_leaves_no_trace_in_the_decisions(one, name):
    row = one(name, 0.2)
    assert row.by_status == {"ok": 6 * AGENTS} and row.repeats == 0
    assert row.failed[CLASS[name]] >= row.met[name] > 0


@pytest.mark.parametrize("name", ["429", "429_after", "503", "html", "reset_hard", "hang"])
def test_a_fault_that_lasts_stops_the_run_which_can_go_on_once_it_is_over(one, name):
    row = one(name, 1, tries=2 if name in WAITED else 3)
    assert row.status == 1 and row.by_status is None


@pytest.mark.parametrize("name", ["hang", "503", "reset_before"])
def test_a_fault_that_lasts_becomes_errors_where_these_are_recorded(one, name):
    tries = 1 if name in WAITED else 2
    row = one(name, 1, "record", tries=tries)
    assert row.status == 0 and row.by_status == {"error": 6 * AGENTS}
    assert row.failed[CLASS[name]] == row.calls == tries * 6 * AGENTS


@pytest.mark.parametrize("share", [0.2, 1])
@pytest.mark.parametrize("name", FATAL)
def test_a_fault_that_every_call_would_meet_stops_the_run_at_once(one, name, share):
    row = one(name, share, "record")
    assert row.status == 1 and row.calls <= 2 * AGENTS


@pytest.mark.parametrize("name", ["content_filter", "refusal", "filtered"])
def test_what_a_provider_refuses_is_one_refused_decision_and_not_asked_again(one, name):
    row = one(name, 0.2, more=("n_reasks=1",))
    assert row.calls == 6 * AGENTS
    assert row.by_status == {"ok": 6 * AGENTS - row.met[name], "refused": row.met[name]}


def test_a_conversation_that_is_too_long_is_one_error_and_not_asked_again(one):
    row = one("context", 0.2, "record")
    assert row.calls == 6 * AGENTS
    assert row.by_status == {"ok": 6 * AGENTS - row.met["context"], "error": row.met["context"]}


@pytest.mark.parametrize("name", ["no_content", "unicode"])
def test_a_reply_without_a_plain_answer_is_no_answer(one, name):
    row = one(name, 0.2)
    assert row.by_status == {"ok": 6 * AGENTS - row.met[name], "unparsed": row.met[name]}


@pytest.mark.parametrize("name", ["slow", "drip", "no_usage", "unicode_json", "huge_json"])
def test_an_odd_reply_is_as_good_as_any_other(one, name):
    row = one(name, 0.1)
    assert row.met[name] > 0
    assert row.calls == 6 * AGENTS and row.by_status == {"ok": 6 * AGENTS}


MIXED = ("429", "429_after", "500", "503", "reset", "reset_before", "truncated", "html")
MIXED += ("empty_choices", "wrong_count", "hang")


def test_a_fifth_of_all_calls_failing_in_every_way_changes_no_byte_of_the_decisions(
    server, tmp_path
):
    agents = 50
    plain = plain_run(server, tmp_path / "plain", agents, here)
    shares = dict.fromkeys(MIXED, 0.019) | {"hang": 0.01}
    row = run_one(shares, server, plain, tmp_path / "run", agents, here, timeout=0.5)
    assert row.wrong == [] and row.by_status == {"ok": 300}
    assert set(row.met) == set(MIXED) and sum(row.met.values()) > 50


def test_a_hung_call_blocks_its_own_episode_alone_and_no_longer_than_its_time(server, tmp_path):
    agents, patience = 40, 3.0
    server.control(faults={"hang": 0.01}, latency=0.01)
    server.reset()
    folder = tmp_path / "run"
    assert here(words(folder, agents, timeout=patience), server.url).status == 0
    # The journal keeps the order in which replies came.
    with served_study.opened(folder) as db:
        order = db.execute("SELECT episode, step FROM slots ORDER BY request").fetchall()
        hung = dict(db.execute("SELECT episode, min(step) FROM failures GROUP BY episode"))
    assert Counter(episode for episode, _ in order) == dict.fromkeys(range(agents), 6)
    assert 0 < len(hung) < agents // 4
    others = [n for n, (episode, _) in enumerate(order) if episode not in hung]
    late = [n for n, (episode, step) in enumerate(order) if step >= hung.get(episode, 6)]
    assert max(others) < min(late)  # all who were answered at once had ended
    assert served_study.manifest(folder)["seconds"] < 20 * patience


def test_a_server_that_nobody_reaches_is_given_up_in_one_sentence(tmp_path):
    folder = tmp_path / "run"
    played = here(words(folder, 4, backoff=0.01), "http://127.0.0.1:9/v1")
    assert played.status == 1 and "is there a server at http://127.0.0.1:9/v1?" in played.err
    failed, paid = served_study.failures(folder)
    assert set(failed) <= {"connection", "abandoned"} and not paid["connection"]


def test_a_hung_server_of_one_model_does_not_hold_up_the_decisions_of_another(tmp_path):
    folder = tmp_path / "run"
    with serve(model="one", faults={"hang": 1}) as hung, serve(model="two", latency=0.01) as well:
        calls = ["model.models.one.calls.timeout=4", "model.models.one.calls.tries=1"]
        played = here(several(folder, hung.url, well.url, *calls), well.url)
        assert played.status == 1 and "on_error is stop" in played.err
        # Long before the first call was given up, all of the other's were answered.
        assert well.counts()["answered"] == 60 and hung.counts()["calls"] == 10
        hung.control(faults={}, latency=0)
        assert here([f"resume={folder}"], well.url).status == 0
        assert (well.counts()["calls"], hung.counts()["answered"]) == (60, 60)
    models = served_study.decisions(folder)["model"].value_counts(sort=True)
    assert models.sort("model").rows() == [("one", 60), ("two", 60)]


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["stop", "record"])
def test_the_whole_matrix_with_a_process_for_each_run(on_error):
    from rich.console import Console

    found = fault_matrix.matrix(NAMES, (0.01, 0.2, 1), 20, on_error, Console(width=200))
    assert [(name, share, row.wrong) for name, share, row in found if row.wrong] == []

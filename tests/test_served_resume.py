"""What kills, signals and a full disk leave of a run whose model is served, and what is resumed."""

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from served_study import (
    Known,
    apart,
    decisions,
    failures,
    here,
    manifest,
    n_answered,
    opened,
    several,
    started,
    tables,
    words,
)
from stand_in import StandIn, serve

# One conversation for an agent's items, some of which are asked twice: what is asked hangs on all
# that was answered.
HOW = ("conversation=shared", "n_reasks=1")
UNREAD = 0.05


def undisturbed(folder: Path, agents: int) -> Path:
    """The run that nothing disturbs, at a server of its own that answers at once."""
    with serve(latency=0, unread=UNREAD) as server:
        played = here(words(folder, agents, *HOW, concurrency=100), server.url)
    assert played.status == 0, played.err
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("whole") / "run", 100)


def until(process: subprocess.Popen, come: Any) -> None:
    """Waits for something, or for the end of the process."""
    deadline = time.monotonic() + 300
    while process.poll() is None and not come() and time.monotonic() < deadline:
        time.sleep(0.02)


def kills(server: StandIn, folder: Path, agents: int, n: int, at_once: int, seed: int) -> list:
    """Kills a run and its resumptions at random moments, then lets it end.

    Returns (replies journalled, calls in flight) at each kill.
    """
    rng, known, told = random.Random(seed), Known(folder), []
    calls = {"concurrency": at_once, "timeout": 600}
    first = words(folder, agents, *HOW, f"max_live={agents}", **calls)
    begun: tuple[str, ...] = first
    held: dict[str, int] = {}  # calls for what was journalled, as of the kill after that
    for _ in range(n):
        before = n_answered(folder)
        few, more = rng.uniform(0.3, 0.95) * at_once, rng.randrange(at_once // 10)
        due = agents * 6 - before
        process = started(begun, server.url)
        until(process, lambda: server.counts()["open"] >= min(few, due / 2))  # noqa: B023
        until(process, lambda: n_answered(folder) >= before + min(more, due / 4))  # noqa: B023
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        flying = server.counts()["open"]
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        asked = server.asked()
        assert held.items() <= asked.items()  # what was journalled was asked no more
        held = {one: asked[one] for one in known.update()}
        assert len(held) == n_answered(folder) >= before
        told.append((len(held), flying))
        print(f"kill {len(told)}: {len(held):,} replies journalled, {flying:,} calls in flight")
        if (folder / ".hydra" / "config.yaml").exists():
            begun = (f"resume={folder}",)
    server.control(latency=0.0)
    done = here(begun, server.url)
    assert done.status == 0, done.err
    assert held.items() <= server.asked().items()
    return told


def check_kills(folder: Path, agents: int, n: int, at_once: int, latency: float, seed: int) -> list:
    whole = undisturbed(folder.with_name("whole"), agents)
    with serve(latency=latency, jitter=0.98, unread=UNREAD) as server:
        told = kills(server, folder, agents, n, at_once, seed)
        counts = server.counts()
    assert tables(folder) == tables(whole)
    about = manifest(folder)
    assert about["status"] == "complete" and about["replayed"] == told[-1][0]
    # What was asked twice was in flight at a kill.
    assert counts["calls"] - about["asked"] <= n * at_once
    assert counts["distinct"] == about["asked"] == len(set(Known(folder).update()))
    assert counts["repeats"] <= counts["calls"] - counts["distinct"]
    return [*told, counts, about["seconds"]]


def test_a_run_killed_with_hundreds_of_calls_in_flight_asks_for_nothing_that_it_has(tmp_path):
    told = check_kills(tmp_path / "run", 500, 3, 500, 2.0, 0)
    assert max(flying for _, flying in told[:3]) > 100


@pytest.mark.slow
def test_a_run_killed_fifty_times_with_ten_thousand_calls_in_flight_does_as_well(tmp_path):
    # So slow that calls are in flight long before most of them are answered.
    told = check_kills(tmp_path / "run", 10_000, 50, 10_000, 60.0, 1)
    print(*told[50:], sep="\n")
    assert max(flying for _, flying in told[:50]) > 8_000


def test_a_disk_that_fills_up_gets_one_sentence_and_nothing_journalled_is_asked_again(
    whole, tmp_path
):
    folder = tmp_path / "run"
    with serve(latency=0.05, unread=UNREAD) as server:
        told = words(folder, 100, *HOW, concurrency=50)
        done = apart(told, server.url, "ulimit -f 300")  # stands in for the disk
        assert done.status == 1 and "Traceback" not in done.err
        sentence, hint = done.err.splitlines()
        assert sentence.startswith("failed: journal") and "cannot be written" in sentence
        assert hint == f"To go on: python -m sim resume={folder}"
        known, answered = Known(folder).update(), n_answered(folder)
        asked = server.asked()
        assert 0 < answered == len(known)
        assert sum(asked.values()) <= answered + 2 * 50  # the batch that was lost, calls in flight
        assert here([f"resume={folder}"], server.url).status == 0
        after = server.asked()
        assert all(after[one] == asked[one] for one in known)
    assert tables(folder) == tables(whole)
    assert manifest(folder)["replayed"] == answered


def signalled(server: StandIn, folder: Path, sign: int) -> subprocess.Popen:
    """A run in the middle of its play that got a signal, and said so."""
    process = started(words(folder, 100, *HOW, concurrency=100), server.url)
    until(process, lambda: n_answered(folder) > 150 and server.counts()["open"] > 10)
    process.send_signal(sign)
    return process


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_calls_in_flight_and_nothing_is_asked_again(
    whole, tmp_path, sign
):
    folder = tmp_path / "run"
    with serve(latency=0.4, jitter=0.8, unread=UNREAD) as server:
        _, err = (process := signalled(server, folder, sign)).communicate(timeout=120)
        assert process.returncode == 130
        waits, says, hint = err.splitlines()
        assert waits.startswith("stopping: ") and "calls in flight are waited for" in waits
        assert says == "stopped: interrupted"
        assert hint == f"To go on: python -m sim resume={folder}"
        assert manifest(folder)["status"] == "incomplete"
        counts = server.counts()
        assert counts["calls"] == counts["answered"] == n_answered(folder)
        assert not failures(folder)[0]
        server.control(latency=0.0)
        assert here([f"resume={folder}"], server.url).status == 0
        counts = server.counts()
        assert counts["repeats"] == 0 and counts["calls"] == counts["distinct"]
    assert tables(folder) == tables(whole)


@pytest.mark.parametrize("latency", [0.4, 300.0])
def test_the_second_signal_does_not_wait_and_counts_what_it_leaves(whole, tmp_path, latency):
    folder = tmp_path / "run"
    with serve(latency=0.1, jitter=0.8, unread=UNREAD) as server:
        process = started(words(folder, 100, *HOW, concurrency=100, timeout=900), server.url)
        until(process, lambda: n_answered(folder) > 150)
        server.control(latency=latency)
        until(process, lambda: server.counts()["open"] > 60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("stopping: ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130
        hint = f"To go on: python -m sim resume={folder}"
        assert err.splitlines() == ["stopped: interrupted", hint]
        assert manifest(folder)["status"] == "incomplete"
        # Every call that was made is a reply or told of as one that may have to be paid.
        failed, paid = failures(folder)
        lost, asked = failed["abandoned"], server.counts()["calls"]
        assert set(failed) == {"abandoned"} and paid["abandoned"] == lost
        assert asked <= n_answered(folder) + lost
        server.control(latency=0.0)
        known, before = Known(folder).update(), server.asked()
        assert here([f"resume={folder}"], server.url).status == 0
        after = server.asked()
        assert all(after[one] == before[one] for one in known)
        assert server.counts()["repeats"] <= lost
    assert tables(folder) == tables(whole)
    assert decisions(folder).height == 600


def test_a_signal_waits_for_the_calls_of_every_model(tmp_path):
    folder = tmp_path / "run"
    with serve(model="one", latency=0.01, faults={"429": 1}) as one, serve(model="two") as two:
        two.control(latency=3.0)
        calls = ("model.models.one.calls.backoff=60", "model.models.one.calls.tries=9")
        process = started(several(folder, one.url, two.url, *calls), one.url)
        until(process, lambda: two.counts()["open"] == 10 and one.counts()["failed"] >= 1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
        assert process.returncode == 130
        # The first has nothing in flight: it is the second that is waited for.
        assert two.counts()["answered"] == 10
        with opened(folder) as db:
            assert db.execute("SELECT count(*) FROM replies").fetchone() == (10,)
        assert not failures(folder)[0]["abandoned"]


def test_replies_of_one_model_that_came_while_another_s_fault_ends_the_run_are_counted(tmp_path):
    folder = tmp_path / "run"
    with serve(model="one", faults={"quota": 1}, latency=0) as one, serve(model="two") as two:
        two.control(latency=0.0)
        done = apart(several(folder, one.url, two.url), one.url)
        assert done.status == 1 and "quota" in done.err
        failed, paid = failures(folder)
        asked = one.counts()["calls"] + two.counts()["calls"]
        # A call that was made is a reply, a failure, or told of as one that may have to be paid.
        assert asked <= n_answered(folder) + failed.total()
        assert paid["abandoned"] == failed["abandoned"] and failed["quota"] >= 1
        one.control(faults={})
        assert here([f"resume={folder}"], one.url).status == 0
        assert one.counts()["repeats"] + two.counts()["repeats"] <= failed["abandoned"]

"""What a killed, starved or interrupted run leaves, and what resuming makes of it."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parent.parent
STUDY = ("experiment=hvae", "model=scripted", "population.n=600", "env.option_order=shuffled",
         "analysis=[]", "display=false", "model.chunk=64")  # fmt: skip


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "sim", *words]


def started(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(*(words or (*STUDY, f"hydra.run.dir={folder}"))),
        cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(folder: Path, *words: str) -> None:
    process = started(folder, *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err + out


def n_answered(folder: Path) -> int:
    """Slots that the journal holds."""
    path = folder / "journal.sqlite"
    if not path.exists():
        return 0
    journal = sqlite3.connect(path)
    try:
        return journal.execute("SELECT count(*) FROM slots").fetchone()[0]
    except sqlite3.OperationalError:  # killed before the schema was made
        return 0
    finally:
        journal.close()


def count(folder: Path, table: str) -> int:
    journal = sqlite3.connect(folder / "journal.sqlite")
    (n,) = journal.execute(f"SELECT count(*) FROM {table}").fetchone()
    journal.close()
    return n


def bytes_of(folder: Path) -> list[bytes]:
    return [
        (folder / f"{name}.parquet").read_bytes()
        for name in ("decisions", "turns", "items", "agents")
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finished(folder)
    return folder


def kill_at_random_moments(folder: Path, n: int, seed: int) -> int:
    """Kills a run and its resumptions at random moments; returns how many hit."""
    rng, hits = random.Random(seed), 0
    words: tuple[str, ...] = ()
    for _ in range(n):
        process = started(folder, *words)
        before = n_answered(folder)
        # From before the journal is there until well into the play.
        deadline = time.monotonic() + 30
        goal = before + rng.choice([0, 1, rng.randrange(2000)])
        while process.poll() is None and n_answered(folder) < goal and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        hits += process.returncode == -signal.SIGKILL
        assert n_answered(folder) >= before
        if (folder / ".hydra" / "config.yaml").exists():
            words = (f"resume={folder}",)
    return hits


def check_kills(whole: Path, folder: Path, n: int, seed: int) -> None:
    hits = kill_at_random_moments(folder, n, seed)
    answered = n_answered(folder)
    finished(folder, f"resume={folder}") if answered else finished(folder)
    assert bytes_of(folder) == bytes_of(whole)
    # Nothing that was answered is asked again: every slot has one request and one reply.
    manifest = json.loads((folder / "manifest.json").read_text())
    total = pl.scan_parquet(folder / "turns.parquet").select(pl.len()).collect().item()
    assert manifest["status"] == "complete" and hits >= n // 2
    assert (manifest["replayed"], manifest["asked"]) == (answered, total)
    assert count(folder, "requests") == count(folder, "replies") == count(folder, "slots") == total


def test_a_run_killed_three_times_and_resumed_equals_the_undisturbed_one(whole, tmp_path):
    check_kills(whole, tmp_path / "run", 3, 0)


@pytest.mark.slow
def test_a_run_killed_twenty_times_and_resumed_equals_the_undisturbed_one(whole, tmp_path):
    for k in range(4):
        check_kills(whole, tmp_path / f"run{k}", 5, k)


def test_a_disk_that_fills_up_gets_one_sentence_and_what_was_written_stays(whole, tmp_path):
    folder = tmp_path / "run"
    words = " ".join(command(*STUDY, f"hydra.run.dir={folder}"))
    # A limit on the size of files stands in for the disk.
    words = words.replace("[]", "'[]'")
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 300; {words}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    sentence, hint = [line for line in done.stderr.splitlines() if line.strip()]
    assert sentence.startswith("failed: journal") and "cannot be written" in sentence
    assert hint == f"To go on: python -m sim resume={folder}"
    answered = n_answered(folder)
    assert answered > 0
    finished(folder, f"resume={folder}")
    assert bytes_of(folder) == bytes_of(whole)
    assert json.loads((folder / "manifest.json").read_text())["replayed"] == answered


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(whole, tmp_path, sign):
    folder = tmp_path / "run"
    process = started(folder)
    while n_answered(folder) < 200 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    hint = f"To go on: python -m sim resume={folder}"
    assert process.returncode == 130 and err.splitlines() == ["stopped: interrupted", hint]
    assert json.loads((folder / "manifest.json").read_text())["status"] == "incomplete"
    finished(folder, f"resume={folder}")
    assert bytes_of(folder) == bytes_of(whole)

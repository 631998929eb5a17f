"""Replies that are read again: what changed is found, and nothing else is touched."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from test_command import runs

from sim.inference import modes
from sim.reader import REFUSED, UNPARSED, Read
from sim.reparse import CHANGES, FOUND, LOST, OTHER, STATUS, WRITTEN

# Options are shuffled, so that positions shown are not canonical numbers.
STUDY = ("experiment=hvae", "model.unread=0.3", "env.option_order=shuffled", "analysis=[]")
EMPTY = ",".join(WRITTEN) + "\n"
AS_IT_IS = modes.read


@pytest.fixture
def run(sim) -> Path:
    assert sim(*STUDY)[0] == 0
    return runs()[0]


@pytest.fixture
def reparse(report):
    return lambda *words: report("--reparse", *words)


def another(mode, reply, labels):
    """A reader that reads four sayings of the scripted model in another way."""
    other = {
        "": Read(0, "ok"),
        "Answer: A": UNPARSED,
        "Answer: B": Read(2, "ok"),
        "Not A.": REFUSED,
    }
    return other.get(reply) or AS_IT_IS(mode, reply, labels)


def files(run: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != "reparse.csv"}


def written(run: Path) -> pl.DataFrame:
    return pl.read_csv(run / "results" / "reparse.csv", infer_schema_length=None)


def expected(run: Path) -> dict[tuple, tuple]:
    """(episode, step, try) -> (change, old option, new option), row by row."""
    decisions = {
        (row["episode"], row["step"]): row
        for row in pl.read_parquet(run / "decisions.parquet").iter_rows(named=True)
    }
    turns = pl.read_parquet(run / "turns.parquet").filter(pl.col("kind").is_in(["decide", "reask"]))
    found = {}
    for turn in turns.iter_rows(named=True):
        row = decisions[turn["episode"], turn["step"]]
        last = turn["request"] == row["request"]
        old = row["action"] if last else None
        position = {"": 0, "Answer: A": None, "Answer: B": 2}.get(turn["reply"], -1)
        new = row["option_order"][position] if position not in (None, -1) else None
        if turn["reply"] == "Not A." and last:
            change = STATUS
        elif position == -1:
            continue
        else:
            change = FOUND if old is None else LOST if new is None else OTHER
        found[turn["episode"], turn["step"], turn["try"]] = (change, old, new)
    return found


def test_replies_read_by_the_same_reader_change_nothing(run, reparse):
    before = files(run)
    status, out, err = reparse(run)
    n = pl.read_parquet(run / "turns.parquet")["kind"].is_in(["decide", "reask"]).sum()
    assert (status, err) == (0, "") and n > 1300
    assert out == f"{run}: {n:,} replies read again, all as at the time.\n"
    assert (run / "results" / "reparse.csv").read_text() == EMPTY
    assert files(run) == before


def test_every_change_is_found_counted_and_written_in_canonical_numbers(run, reparse, monkeypatch):
    before, changes = files(run), expected(run)
    monkeypatch.setattr(modes, "read", another)
    status, out, err = reparse(run)
    assert (status, err) == (0, "") and files(run) == before
    table = written(run)
    assert table.columns == WRITTEN
    got = {
        (r["episode"], r["step"], r["try"]): [r["old_option"], r["new_option"]]
        for r in table.iter_rows(named=True)
    }
    assert got == {place: options for place, (_, *options) in changes.items()}
    n = Counter(change for change, *_ in changes.values())
    assert set(n) == set(CHANGES)
    (total,) = (line for line in out.splitlines() if "│ all" in line)
    cells = [cell.strip().replace(",", "") for cell in total.strip("│").split("│")]
    assert cells[3:] == [str(int(cells[2]) - len(changes)), *(str(n[c]) for c in CHANGES)]
    assert f"read again, {len(changes):,} otherwise" in out
    # Examples show some of each.
    assert out.count("hvae") >= 10 and all(f"→ {word}" in out for word in ("unparsed", "refused"))
    assert f"reuse={run}" in out


def test_earlier_attempts_count_as_unread_and_the_last_ones_decide_the_share(
    run, reparse, monkeypatch
):
    changes = expected(run)
    monkeypatch.setattr(modes, "read", another)
    _, out, _ = reparse(run)
    table, decisions = written(run), pl.read_parquet(run / "decisions.parquet")
    earlier = table.filter(old_status="unread")
    assert set(earlier["try"]) == {0} and set(earlier["kind"]) == {"decide"}
    assert set(earlier["new_status"]) == {"ok"} and earlier["old_option"].null_count() == len(
        earlier
    )
    last = table.filter(pl.col("old_status") != "unread")
    assert set(last["try"]) == {0, 1}
    assert {"repaired", "unparsed"} <= set(last.filter(pl.col("try") == 1)["new_status"])
    # Counted from the other end: decisions whose last reply today's reader does not read.
    unread = pl.col("reply").is_in(["Answer: A", "Not A.", "I would rather not say."])
    unread |= pl.col("reply").str.starts_with("Both")
    n_before = decisions["action"].null_count()
    n_after = decisions.select(unread.sum()).item()
    assert n_after != n_before and len(earlier) > 10 and len(changes) == len(table)
    assert f"Unread: {n_before:,} of 1,200 decisions" in out and f"time, {n_after:,} (" in out


def test_how_a_reply_ended_counts_and_labels_and_failures_are_not_read(run, reparse):
    turns = pl.read_parquet(run / "turns.parquet").with_row_index("k")
    answers = turns.filter(pl.col("reply").str.starts_with("Answer"), kind="decide")["k"]
    cut, policy, failed, scored = (pl.col("k").is_in(answers[i::40].implode()) for i in range(4))
    turns.with_columns(
        pl.when(cut).then(pl.lit("length")).when(policy).then(pl.lit("content_filter"))
        .otherwise("finish_reason").alias("finish_reason"),
        pl.when(failed).then(pl.lit("TimeoutError: no reply")).alias("error"),
        pl.when(scored).then(pl.lit("label")).otherwise("response_mode").alias("response_mode"),
    ).drop("k").write_parquet(run / "turns.parquet")  # fmt: skip
    n = [len(answers[i::40]) for i in range(4)]
    _, out, _ = reparse(run)
    table = written(run)
    assert min(n) > 5 and len(table) == n[0] + n[1]
    assert dict(table["new_status"].value_counts().iter_rows()) == {
        "unparsed": n[0], "refused": n[1],
    }  # fmt: skip
    assert f"; {n[3]} scored, not read; {n[2]} failed calls." in out


def test_what_a_reply_hides_is_spelt_out_and_its_end_is_shown(run, reparse, monkeypatch):
    turns = pl.read_parquet(run / "turns.parquet")
    said = "\x1b[31m\u202e" + "long " * 50 + "[bold]end[/bold]"
    first = pl.col("reply").is_in(["Answer: B"])
    turns = turns.with_columns(reply=pl.when(first).then(pl.lit(said)).otherwise("reply"))
    turns.write_parquet(run / "turns.parquet")
    _, out, _ = reparse(run)
    assert "\x1b" not in out and "\u202e" not in out and r'"\u001b[31m\u202elong' in out
    assert 'long [bold]end[/bold]"' in out
    assert max(len(line) for line in out.splitlines() if "try" in line) < 250
    assert set(written(run)["reply"]) == {said}


def test_the_runs_of_a_sweep_are_read_again_one_by_one(sim, reparse):
    assert sim("-m", "seed=1,2", *STUDY)[0] == 0
    status, out, _ = reparse(runs()[0].parent)
    assert status == 0 and out.count("all as at the time") == 2
    assert [(run / "results" / "reparse.csv").read_text() for run in runs()] == [EMPTY] * 2


def test_a_run_that_cannot_be_read_again_gets_one_sentence(sim, run, reparse):
    def sentence(*words) -> str:
        status, out, err = reparse(*words)
        assert (status, out) == (2, "") and err.startswith("refused: ")
        assert len(err.splitlines()) == 1 and not list(run.rglob("reparse.csv"))
        return err

    assert "reads whole runs again" in sentence(run, "agent=hvae-prosocial-00")
    assert sim("agent=linear", "analysis=[]", "hydra.run.dir=outputs/silent")[0] == 0
    assert "needs a run with a journal, got outputs/silent" in sentence("outputs/silent")
    assert sim(*STUDY, "seed=5", "hydra.run.dir=outputs/other")[0] == 0
    journal, manifest = run / "journal.sqlite", run / "manifest.json"
    was = journal.read_bytes()
    journal.write_bytes(Path("outputs/other/journal.sqlite").read_bytes())
    assert "must hold all its turns, 1," in sentence(run)
    journal.write_text("no database " * 500)
    assert "cannot be read: file is not a database" in sentence(run)
    journal.write_bytes(was)
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    assert "needs a complete run, got" in sentence(run)

"""Every fault of a served model, at several shares of calls: what a run makes of it.

    python tests/fault_matrix.py --shares 0.01,0.2,1 --agents 20 --faults hang,429 --on-error record

plays a study against the stand-in for each fault and share, resumes it with the faults switched
off, holds both against the run without faults and against the server's own counts, and prints a
row for each; the last column tells what is wrong.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stand_in_faults
from rich.console import Console
from rich.table import Table
from served_study import (
    KEYS,
    N_ITEMS,
    Played,
    apart,
    decisions,
    failures,
    here,
    manifest,
    replies,
    words,
)
from stand_in import StandIn, serve

# Class of each fault that is one; the others are replies.
CLASS = {
    **dict.fromkeys(("429", "429_after", "429_after_ms"), "rate_limit"),
    **dict.fromkeys(("500", "503", "empty_choices", "wrong_count", "truncated", "html"), "server"),
    **dict.fromkeys(("reset_before", "reset_hard", "reset"), "connection"),
    **dict.fromkeys(("hang", "long_drip"), "timeout"),
    "content_filter": "refused",
    "context": "context_length",
    **{name: name for name in ("quota", "bad_request", "wrong_model")},
}
FREE = ("429", "429_after", "429_after_ms", "quota", "500", "503", "context", "bad_request")
TRANSIENT = ("rate_limit", "server", "connection", "timeout")
FATAL = ("quota", "bad_request", "wrong_model")
# Statuses of decisions that are left without an action.
STATUS = {"content_filter": "refused", "refusal": "refused", "filtered": "refused"}
STATUS |= {"no_content": "unparsed", "unicode": "unparsed", "context": "error"}
OTHER_TEXT = ("unicode", "huge", "no_usage", "unicode_json", "huge_json")  # with the same choices
# Replies that are not whole when their time is up, and odd ones in JSON: the reader of free text
# takes no other scripts.
VARIANTS = {"long_drip": "drip", "unicode_json": "unicode", "huge_json": "huge"}
NAMES = (*stand_in_faults.NAMES, *VARIANTS)
TRIES = 8


@dataclass
class Row:
    """What became of one study.

    Attributes:
        status: exit status.
        calls: that the server received until the run ended or stopped.
        by_status: decisions; None where the run stopped.
        failed: calls that failed, by class, as journalled.
        paid: of these, those that the server may have worked for.
        met: faults as the server counted them.
        late: calls that were too late for our patience although they met no fault.
        repeats: calls of requests that had been answered, in both attempts.
        seconds: of the first attempt.
        wrong: what is not as it must be.
    """

    status: int
    calls: int = 0
    by_status: dict[str, int] | None = None
    failed: Counter = field(default_factory=Counter)
    paid: int = 0
    met: dict[str, int] = field(default_factory=dict)
    late: int = 0
    repeats: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def need(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.wrong.append(sentence)


Play = Callable[[Sequence[str], str], Played]


def plain_run(server: StandIn, folder: Path, agents: int, play: Play, mode: str = "text") -> Path:
    """The run that nothing disturbs, which the others are held against."""
    server.control(faults={}, latency=0.0)
    played = play(words(folder, agents, f"response_mode={mode}"), server.url)
    assert played.status == 0, played.err
    return folder


def mode_of(name: str) -> str:
    """Response mode in which a fault is tried."""
    return "json" if name.endswith("_json") else "text"


def run_one(
    faults: Mapping[str, float],
    server: StandIn,
    plain: Path,
    folder: Path,
    agents: int,
    play: Play = apart,
    on_error: str = "stop",
    tries: int = TRIES,
    timeout: float = 1.0,
    more: Sequence[str] = (),
) -> Row:
    """Plays the study with these shares of faults, resumes it without any, and checks both."""
    names = {VARIANTS.get(name, name): name for name in faults}
    slow = any(CLASS.get(name) == "timeout" for name in faults)
    drip = 60.0 if "long_drip" in faults else 0.2
    told = {name: faults[names[name]] for name in names}
    server.control(faults=told, latency=0.01, retry_after=0.02, drip_seconds=drip)
    server.reset()
    patience = timeout if slow else 30  # a busy machine makes no timeouts of its own
    calls = {"timeout": patience, "backoff": 0.01, "tries": tries}
    begun = time.monotonic()
    how = f"on_error={on_error}", f"response_mode={mode_of(next(iter(faults)))}"
    played = play(words(folder, agents, *how, *more, **calls), server.url)
    counts = server.counts()
    row = Row(played.status, counts["calls"], seconds=time.monotonic() - begun)
    row.met = {names[name]: n for name, n in counts["faults"].items()}
    failed, paid = failures(folder)
    row.failed, row.paid = failed, paid.total()
    hung = sum(n for name, n in row.met.items() if CLASS.get(name) == "timeout")
    row.late = max(0, failed["timeout"] - hung)
    _check_end(row, played, folder, _stops(row, faults, on_error, tries))
    _check_failures(row, failed, paid)
    _check_journal(row, faults, plain, folder)
    row.need(counts["repeats"] <= row.late, f"{counts['repeats']} answered requests asked again")
    held = replies(folder)
    server.control(faults={}, latency=0.0)
    again = play([f"resume={folder}"], server.url)
    after = server.counts()
    row.repeats = after["repeats"]
    row.need(again.status == 0, f"resuming ended with {again.status}: {again.err}")
    # Whatever is journalled is not asked; everything else is, once.
    asked, due = after["calls"] - counts["calls"], agents * N_ITEMS - len(held)
    row.need(asked == due, f"{asked} calls after resuming, {due} requests had no reply")
    lost = failed["abandoned"] + row.late
    row.need(row.repeats <= lost, f"{row.repeats} repeats, but {lost} replies were not waited for")
    if not row.wrong:
        _check_decisions(row, faults, plain, folder, agents)
    if played.status == 0:
        row.by_status = {k: n for k, n in manifest(folder)["counts"].items() if n}
    return row


def _stops(row: Row, faults: Mapping[str, float], on_error: str, tries: int) -> bool:
    """Whether the run must stop; at a share of all calls no try goes well."""
    if any(row.met.get(name) for name in FATAL):
        return True
    lasting = sum(share for name, share in faults.items() if CLASS.get(name) in TRANSIENT)
    return on_error == "stop" and bool(row.met.get("context") or lasting >= 1)


def _check_end(row: Row, played: Played, folder: Path, stops: bool) -> None:
    row.need(played.status == stops, f"exit status {played.status}")
    about, told = manifest(folder), played.err.splitlines()
    lines = [line for line in told if not line.startswith("stopping: ")]  # while it waits
    row.need(about["status"] == ("failed" if stops else "complete"), f"manifest: {about['status']}")
    if stops:
        hint = f"To go on: python -m sim resume={folder}"
        row.need(len(lines) == 2 and lines[0].startswith("stopped: "), f"said: {played.err}")
        row.need(lines[-1:] == [hint], f"said last: {lines[-1:]}")
    else:
        row.need(not lines, f"said: {played.err}")


def _check_failures(row: Row, failed: Counter, paid: Counter) -> None:
    """The journal against the server's own counts."""
    met, worked = Counter[str](), Counter[str]()
    for name, n in row.met.items():
        if kind := CLASS.get(name):
            met[kind] += n
            worked[kind] += n * (name not in FREE)
    met["timeout"] += row.late
    worked["timeout"] += row.late
    lost = failed.pop("abandoned", 0)
    row.need(paid.pop("abandoned", 0) == lost, "calls in flight count as free")
    for kind in sorted({*met, *failed}):
        # Where the run stopped, failures on their way are told of as abandoned.
        least = met[kind] if row.status == 0 else max(0, met[kind] - lost)
        row.need(least <= failed[kind] <= met[kind], f"{failed[kind]} {kind}, met {met[kind]}")
        row.need(least == met[kind] or lost > 0, f"{kind}: some are lost")
        if failed[kind] == met[kind]:
            row.need(paid[kind] == worked[kind], f"{paid[kind]} {kind} paid, {worked[kind]} worked")
    if lost:
        failed["abandoned"] = lost
    if row.status == 0:
        row.need(lost == 0, f"{lost} abandoned in a complete run")


def _check_journal(row: Row, faults: Mapping[str, float], plain: Path, folder: Path) -> None:
    """What was answered is what the run without faults was answered."""
    whole, held = replies(plain), replies(folder)
    row.need(set(held) <= set(whole), "questions that nobody had")
    row.need(all(held[s][0] == whole[s][0] for s in held), "other requests at the same place")
    if not any(name in OTHER_TEXT or name in STATUS for name in faults):
        texts = all(held[s][1] == whole[s][1] for s in held if held[s][2] is None)
        row.need(texts, "other replies to the same requests")


def _check_decisions(
    row: Row, faults: Mapping[str, float], plain: Path, folder: Path, agents: int
) -> None:
    whole, got = decisions(plain), decisions(folder)
    row.need(got.select(KEYS).is_unique().all(), "doubled decisions")
    row.need(got.select(KEYS).equals(whole.select(KEYS)), "lost or invented decisions")
    row.need(got.height == agents * N_ITEMS, f"{got.height} decisions")
    read = got["action"].is_not_null()
    choice = ["action", "payoff_self", "payoff_other"]
    row.need(got.filter(read).select(choice).equals(whole.filter(read).select(choice)), "invented")
    unread = Counter(got.filter(~read)["status"].to_list())
    due = Counter[str]()
    for name, status in STATUS.items():
        due[status] += row.met.get(name, 0)
    if row.status == 0:
        tried_out = sum(1 for _, _, error in replies(folder).values() if error is not None)
        due["error"] = tried_out
        row.need(unread == +due, f"without an action: {dict(unread)}, due {dict(+due)}")
    if not unread and not any(name in OTHER_TEXT for name in faults):
        files = [run / "decisions.parquet" for run in (plain, folder)]
        row.need(files[0].read_bytes() == files[1].read_bytes(), "decisions.parquet differs")


# -- by hand -----------------------------------------------------------------------------------


def matrix(
    names: Sequence[str],
    shares: Sequence[float],
    agents: int,
    on_error: str,
    console: Console,
    play: Play = apart,
) -> list[tuple[str, float, Row]]:
    """Plays all of it."""
    found = []
    with tempfile.TemporaryDirectory() as root, serve(latency=0.01) as server:
        plain = {
            mode: plain_run(server, Path(root) / mode, agents, play, mode)
            for mode in sorted({mode_of(name) for name in names})
        }
        for name in names:
            for share in shares:
                # Each failed try makes the pause longer, up to half a minute: hours in all.
                if on_error == "record" and share == 1 and CLASS.get(name) == "rate_limit":
                    continue
                if name == "huge" and share > 0.1:
                    continue  # the reader takes seconds for each
                folder = Path(root) / f"{name}-{share:g}"
                held = plain[mode_of(name)]
                row = run_one({name: share}, server, held, folder, agents, play, on_error)
                console.log(f"{name} {share:.0%}: {'; '.join(row.wrong) or 'as it must be'}")
                found.append((name, share, row))
    return found


def table_of(found: Sequence[tuple[str, float, Row]]) -> Table:
    heads = ("fault", "share", "decisions", "by status", "calls", "met", "failed, by class")
    heads += ("possibly paid", "late", "repeats", "exit", "s", "check")
    table = Table(*heads)
    for name, share, row in found:
        told: list[Any] = [name, f"{share:.0%}"]
        n = sum(row.by_status.values()) if row.by_status else "stopped"
        told += [n, _counts(row.by_status or {}), row.calls, sum(row.met.values())]
        told += [_counts(row.failed), row.paid, row.late, row.repeats, row.status]
        told += [f"{row.seconds:.1f}", "; ".join(row.wrong) or "ok"]
        table.add_row(*map(str, told))
    return table


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{k} {n}" for k, n in found.items())


def main() -> int:
    about = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    about.add_argument("--shares", default="0.01,0.2,1")
    about.add_argument("--agents", type=int, default=20)
    about.add_argument("--faults", default=",".join(NAMES))
    about.add_argument("--on-error", choices=("stop", "record"), default="stop")
    about.add_argument("--here", action="store_true", help="no process of its own for each run")
    told = about.parse_args()
    shares = [float(share) for share in told.shares.split(",")]
    console = Console(width=200)
    play = here if told.here else apart
    found = matrix(told.faults.split(","), shares, told.agents, told.on_error, console, play)
    console.print(table_of(found))
    return int(any(row.wrong for _, _, row in found))


if __name__ == "__main__":
    sys.exit(main())

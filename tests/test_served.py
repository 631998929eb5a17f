"""A model behind HTTP: what is asked, what comes back, what it costs, and what nobody may see."""

import json
import re
import shlex
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st
from stand_in import serve

from agents.base import Message
from sim.__main__ import main
from sim.errors import Refusal
from sim.inference import http_faults, openai_backend
from sim.inference.base import Request, Slot
from sim.inference.http_faults import Fault, of_status, retry_after
from sim.inference.http_reply import check_model, parse, reply_of
from sim.inference.pace import Pace
from sim.inference.prices import PICO, Budget, Prices, picos, shown
from sim.inference.secret import Secret
from sim.setup import build, config_hash

KEY = "sk-planted-9f8e7d6c5b4a"
PRICES = "model.prices={input: 0.15, cached: 0.075, output: 0.6, reasoning: 1.2}"
STUDY = ("experiment=hvae", "model=openai", "model.model=stand-in", "agent=definition",
         "population.n=20", "analysis=[]", "display=false", "model.calls.backoff=0.01",
         "hydra.run.dir=run")  # fmt: skip


@pytest.fixture
def sim(tmp_path, monkeypatch, capfd):
    """Runs `python -m sim` with words in an empty folder: (exit status, all that it printed)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(*words: str, server=None):
        if server is not None:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setattr(sys, "argv", ["sim", *words])
        status = main()
        return status, "".join(capfd.readouterr())

    return run


def calls() -> dict:
    """What the manifest says of the calls of the run."""
    return json.loads(Path("run/manifest.json").read_text())["calls"]


def rows(query: str) -> list[tuple]:
    with closing(sqlite3.connect("run/journal.sqlite")) as journal:
        return journal.execute(query).fetchall()


# -- what is paid ----------------------------------------------------------------------------


def test_tokens_and_cost_are_those_that_the_server_counted(sim):
    with serve(latency=0.001, reasoning=3) as server:
        status, told = sim(*STUDY, PRICES, server=server)
        counts = server.counts()["tokens"]
    assert status == 0, told
    told = calls()
    names = {"prompt": "prompt_tokens", "cached": "cached_tokens",
             "completion": "output_tokens", "reasoning": "reasoning_tokens"}  # fmt: skip
    assert {ours: told[theirs] for ours, theirs in names.items()} == counts
    # By hand: dollars per million tokens.
    cost = (
        150_000 * (counts["prompt"] - counts["cached"]) + 75_000 * counts["cached"]
        + 600_000 * (counts["completion"] - counts["reasoning"]) + 1_200_000 * counts["reasoning"]
    )  # fmt: skip
    assert told["cost"] == shown(cost) and told["cost_possibly_more"] == "0.00"
    assert sum(n for (n,) in rows("SELECT cost FROM replies")) == cost


def test_a_run_stops_before_it_costs_more_than_it_may_and_goes_on_with_more(sim):
    with serve(latency=0.001) as server:
        assert sim(*STUDY, PRICES, "hydra.run.dir=whole", server=server)[0] == 0
        server.reset()
        limit = "max_cost=0.005"
        status, told = sim(*STUDY, PRICES, limit, server=server)
        assert status == 1 and "max_cost is 0.005" in told and "To go on: python -m sim" in told
        tokens = server.counts()["tokens"]
        spent = 150_000 * tokens["prompt"] - 75_000 * tokens["cached"]
        spent += 600_000 * tokens["completion"]
        assert 0.003 * PICO < spent <= 0.005 * PICO
        status, told = sim("resume=run", "max_cost=1")
        assert status == 0, told
        assert server.counts()["repeats"] == 0
    same = [Path(run, "decisions.parquet").read_bytes() for run in ("run", "whole")]
    assert same[0] == same[1]


def test_a_reply_without_a_count_of_tokens_costs_at_most_what_was_set_aside(sim):
    with serve(latency=0.001, faults={"no_usage": 1}) as server:
        status, told = sim(*STUDY, PRICES, server=server)
    assert status == 0, told
    told = calls()
    assert told["replies_without_tokens"] == told["replies"] > 0
    assert told["cost"] == "0.00" and float(told["cost_possibly_more"]) > 0
    assert pl.read_parquet("run/decisions.parquet")["prompt_tokens"].null_count() == told["replies"]


def test_a_dry_run_expects_a_cost_needs_no_key_and_asks_nobody(sim, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve() as server:
        status, told = sim(*STUDY, PRICES, "dry_run=true", server=server)
        assert server.counts()["calls"] == 0
    assert status == 0 and not Path("run").exists()
    found = re.search(r"expected cost: about ([\d.]+) with .*, ([\d.]+) where", told)
    assert found and 0 < float(found[1]) < float(found[2])


@given(st.decimals(0, 1000, places=6), st.integers(0, 10**9))
def test_prices_are_exact_whatever_the_number_of_tokens(price, n):
    prices = Prices.of({"input": str(price), "output": 0})
    assert prices is not None and prices.cost(n, 0, 0, 0) == int(price * 10**6) * n
    assert prices.most(n, 5) >= prices.cost(n, n // 2, 5, 3)


@pytest.mark.parametrize("amount", ["x", -1, "0.0000001", True, None, float("nan"), 1e400])
def test_what_is_no_price_is_refused(amount):
    with pytest.raises(Refusal, match="must be"):
        picos(amount, "prices.input", per=10**6)


def test_a_budget_holds_money_for_calls_in_flight():
    budget = Budget(10)
    assert budget.hold(6) and not budget.hold(5) and budget.hold(4)
    budget.settle(6, 1)
    assert (budget.held, budget.spent, budget.unwritten) == (4, 1, 1)
    budget.written(1)
    assert budget.unwritten == 0
    assert budget.hold(5) and not budget.hold(1)
    assert [shown(n) for n in (0, PICO // 4, 1234567, 1234 * PICO)] == [
        "0.00", "0.25", "0.000001234567", "1,234.00",
    ]  # fmt: skip


# -- what nobody may see ---------------------------------------------------------------------


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("where", ["env", "file"])
def test_the_key_stands_in_no_byte_of_a_run_nor_on_the_terminal(sim, tmp_path, monkeypatch, where):
    words = []
    if where == "file":
        monkeypatch.delenv("OPENAI_API_KEY")
        (tmp_path / "secret").write_text(KEY + "\n")
        words = ["model.key_file=secret"]
    study = [word for word in STUDY if not word.startswith("analysis")]
    with serve(latency=0.001, key=KEY, echo_key=True, expire_after=30) as server:
        status, told = sim(*study, *words, server=server)
        assert status == 1 and "authentication: HTTP 401" in told and "***" in told
        server.control(expire_after=None)
        status, more = sim("resume=run")
    assert status == 0, more
    assert KEY not in told + more
    assert KEY.encode() not in everything(tmp_path / "run")
    assert any("***" in text for (text,) in rows("SELECT reasoning FROM replies"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.key_env=NOT_SET"], "the environment variable NOT_SET (model.key_env), which is"),
        (["model.key_file=nowhere"], "nowhere (model.key_file) cannot be read"),
        ([f"+model.extra.user={KEY}"], "must not hold the key itself"),
        (["model.base_url=http://me:pass@host/v1"], "base_url must hold no name, password"),
        (["model.base_url=host:8000"], "base_url must be like http://host:port/v1"),
        (["response_mode=regex"], "response_mode must be one of text, json with stand-in"),
        (["+model.extra.seed=1"], "extra must not set seed"),
        (["model.temperature=3"], "temperature must lie in 0..2, or be null, got 3"),
        (["model.calls.tries=0"], "calls.tries must be a whole number, 1 or more, got 0"),
        (["model.calls.timeout=-1"], "calls.timeout must be above 0 seconds, got -1"),
        (["max_cost=1"], "max_cost needs the prices of stand-in"),
        (["max_cost=cheap"], "max_cost must be an amount of money, got 'cheap'"),
        (["model.prices.input=1"], "prices must have input and output, got none of output"),
        (["model.base_url=http://localhost:99999/v1"], "base_url must be like http://host:port"),
        (["model.base_url='http://h/v1#x'"], "base_url must hold no name, password, query or frag"),
        (["+model.extra.max_tokens=9"], "extra must not set max_tokens"),
        (["model.thinking=x"], "thinking must be null or have a start and an end, got 'x'"),
        (["model.dialect=null"], "dialect must be one of sim.inference.dialects"),
        (["model.served_as=name"], "served_as must be null or a list"),
        (["model.thinking={start: a}"], "thinking must be null or have a start and an end"),
        (["reuse=nowhere"], "reuse must name run folders with a journal, got nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_and_nobody_is_asked(sim, words, sentence):
    with serve() as server:
        status, told = sim(*STUDY, *words, server=server)
        assert server.counts()["calls"] == 0
    assert status == 2 and sentence in told
    assert told.count("\n") == 1 and KEY not in told


def test_a_missing_extra_is_named_with_the_command_that_installs_it(sim, monkeypatch):
    monkeypatch.setattr(openai_backend.importlib.util, "find_spec", lambda name: None)
    status, told = sim(*STUDY)
    assert status == 2 and "pip install -e '.[openai]'" in told


def test_a_key_shorter_than_a_word_is_refused(monkeypatch):
    monkeypatch.setenv("SOME_KEY", " a\n")
    with pytest.raises(Refusal, match="6 ASCII characters or more, that in the envi"):
        Secret("SOME_KEY", None).read()


# -- what ends a run -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words", "sentence"),
    [
        ({"key": "another"}, [], "authentication: HTTP 401"),
        ({"model": "another"}, [], "not_found: HTTP 404"),
        ({"faults": {"quota": 1}}, [], "no money or quota left"),
        ({"faults": {"bad_request": 1}}, [], "it does not take what model asks for"),
        ({"faults": {"wrong_model": 1}}, [], "model.served_as=["),
        ({"faults": {"429_after": 1}, "retry_after": 700}, [], "longest_wait, 600 s"),
    ],
)
def test_what_would_meet_every_call_stops_the_run_with_one_sentence(sim, options, words, sentence):
    with serve(latency=0.001, **options) as server:
        status, told = sim(*STUDY, *words, server=server)
        assert server.counts()["calls"] <= 64
    assert status == 1 and sentence in told and "Traceback" not in told
    assert told.splitlines()[-1] == f"To go on: python -m sim resume={Path('run').absolute()}"
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["status"] == "failed" and sentence in manifest["told"]
    assert manifest["resume"] == f"python -m sim resume={Path('run').absolute()}"


def test_a_server_that_is_not_there_is_given_up_at_once(sim, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    status, told = sim(*STUDY)
    assert status == 1 and "is there a server at http://127.0.0.1:9/v1?" in told


def test_resume_takes_overrides_that_change_no_reply_and_no_others(sim):
    with serve(latency=0.001, faults={"bad_request": 1}) as server:
        assert sim(*STUDY, server=server)[0] == 1
        server.control(faults={})
        status, told = sim("resume=run", "model.temperature=0.5")
        assert status == 2 and "resume takes no other overrides, got model.temperature" in told
        status, told = sim("resume=run", "dry_run=true")
        assert status == 2 and "got dry_run=true" in told
        status, told = sim("resume=run", "model.calls.concurrency=3", "max_live=7")
        assert status == 0, told
        assert server.counts()["most_open"] <= 64


# -- earlier runs ----------------------------------------------------------------------------


def test_an_earlier_run_answers_what_is_asked_again_and_costs_nothing(sim):
    with serve(latency=0.001) as server:
        assert sim(*STUDY, PRICES, "hydra.run.dir=first", server=server)[0] == 0
        server.reset()
        status, told = sim(*STUDY, PRICES, "reuse=first")
        assert status == 0 and server.counts()["calls"] == 0, told
        assert calls()["cost"] == "0.00" and calls()["replies"] == 0
        manifest = json.loads(Path("run/manifest.json").read_text())
        assert manifest["asked"] == 0 and manifest["reused"] == 120
        tables = [Path(run, "decisions.parquet").read_bytes() for run in ("first", "run")]
        assert tables[0] == tables[1]
        # A study twice as large asks only for what is new; other draws, all.
        sim(*STUDY, "population.n=40", "reuse=[first,run]", "hydra.run.dir=larger")
        assert 0 < server.counts()["calls"] <= 240 - 24
        server.reset()
        sim(*STUDY, "seed=1", "reuse=first", "hydra.run.dir=other")
        assert server.counts()["calls"] == 120


def test_a_greedy_reply_is_reused_for_all_who_ask_the_same(sim):
    with serve(latency=0.001) as server:
        greedy = (*STUDY, "model.temperature=0")
        sim(*greedy, "hydra.run.dir=first", server=server)
        n = server.counts()["calls"]
        assert n < 120
        server.reset()
        sim(*greedy, "seed=5", "reuse=first")
        assert server.counts()["calls"] == 0
    assert rows("SELECT count(*) FROM replies") == [(n,)]
    assert rows("SELECT count(*) FROM slots") == [(120,)]


def test_a_journal_of_the_first_schema_is_brought_up_to_date(sim):
    with serve(latency=0.001) as server:
        assert sim(*STUDY, server=server)[0] == 0
        with closing(sqlite3.connect("run/journal.sqlite")) as journal:
            for column in ("reasoning_tokens", "cost", "reused"):
                journal.execute(f"ALTER TABLE replies DROP COLUMN {column}")
            journal.executescript("DROP TABLE failures; DROP TABLE held; PRAGMA user_version=1;")
        status, told = sim("resume=run")
        assert status == 0 and server.counts()["calls"] == 120, told
    assert rows("PRAGMA user_version") == [(2,)] and rows("SELECT * FROM failures") == []


# -- the parts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "too long"}},
         "context_length"),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens",
               "type": "BadRequestError", "code": 400}, "context_length"),  # vLLM
        (400, {"error": {"message": "the request exceeds the available context size"}},
         "context_length"),  # llama-server
        (400, {"error": {"code": "content_filter", "message": "filtered"}}, "refused"),
        (403, {"error": {"message": "flagged", "metadata": {"reasons": ["x"]}}}, "refused"),
        (400, {"error": {"message": "temperature is not supported"}}, "bad_request"),
        (422, [{"msg": "field required"}], "bad_request"),
        (401, "no", "authentication"), (403, {"error": "forbidden"}, "authentication"),
        (402, {"error": {"message": "Insufficient credits"}}, "quota"),
        (429, {"error": {"code": "insufficient_quota"}}, "quota"),
        (429, {"error": {"code": "rate_limit_exceeded", "message": "see /account/billing"}},
         "rate_limit"),
        (400, [{"error": {"code": 400, "message": "exceeds the maximum context length"}}],
         "context_length"),  # Gemini wraps in a list
        (429, {"error": {"code": "rate_limit_exceeded"}}, "rate_limit"), (429, "", "rate_limit"),
        (404, None, "not_found"), (413, "", "context_length"),
        (500, "oops", "server"), (503, None, "server"), (529, {}, "server"), (408, "", "server"),
        (302, "", "bad_request"), (418, "", "bad_request"),
    ],
)  # fmt: skip
def test_a_status_and_its_body_tell_the_kind_of_fault(status, body, kind):
    fault = of_status(status, body, {})
    assert fault.kind == kind
    assert fault.transient == (kind in ("rate_limit", "server"))
    assert not (fault.transient and fault.fatal)


def test_a_server_says_in_seconds_or_as_a_date_when_to_come_back(monkeypatch):
    monkeypatch.setattr(http_faults.time, "time", lambda: 1_800_000_000.0)
    for headers, seconds in [
        ({"retry-after": "2"}, 2.0), ({"retry-after": "0.5"}, 0.5), ({}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25), ({"retry-after": "soon"}, None),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:07 GMT"}, 7.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
    ]:  # fmt: skip
        assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o", True), ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", False), ("gpt-4o-mini", "gpt-4o", False),
        ("claude-opus-4", "claude-opus-4-1", False),
        ("llama3.2", "llama3.2:1b", False), ("gemini-2", "gemini-2-5", False),
        ("gemini-2.5-flash", "gemini-2.5-flash-001", True),
        ("llama3.2", "llama3.2:latest", True), ("qwen/qwen3-8b", "Qwen3-8B", True),
        ("/models/mine", "/models/mine", True), ("a", None, True), ("a", "b", False),
    ],
)  # fmt: skip
def test_an_answer_of_another_model_is_no_answer(asked, answered, same):
    if same:
        assert check_model({"model": answered}, asked, None) == answered
    else:
        with pytest.raises(Fault, match=r"model\.served_as=\[" + answered):
            check_model({"model": answered}, asked, None)
        assert check_model({"model": answered}, asked, [answered]) == answered


def completion(message: dict, usage: object = None, finish: object = "stop") -> dict:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"choices": [choice], "usage": usage}


def read(body: dict, prices: Prices | None = None):
    return reply_of(body, json.dumps(body).encode(), prices, None, None)


def test_reasoning_refusals_and_parts_are_told_apart():
    assert read(completion({"content": "A", "reasoning_content": "hm"})).reasoning == "hm"
    assert read(completion({"content": "A", "reasoning": "hm"})).reasoning == "hm"
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
             {"type": "text", "text": "A"}]  # fmt: skip
    reply = read(completion({"content": parts}))
    assert (reply.text, reply.reasoning) == ("A", "hm")
    reply = read(completion({"content": None, "refusal": "I will not."}))
    assert (reply.text, reply.finish_reason) == ("I will not.", "refusal")
    assert read(completion({"content": None})).text == ""


def test_a_count_of_tokens_is_the_servers_or_null():
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
             "completion_tokens_details": {"reasoning_tokens": 3}}  # fmt: skip
    reply = read(completion({"content": "A"}, usage))
    assert (reply.output_tokens, reply.reasoning_tokens, reply.cached_tokens) == (4, 3, None)
    beside = usage | {"total_tokens": 17}  # reasoning counted beside the completion
    assert read(completion({"content": "A"}, beside)).output_tokens == 7
    for odd in (None, [], {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": 3},
                {"prompt_tokens": "3", "completion_tokens": 1}):  # fmt: skip
        reply = read(completion({"content": "A"}, odd), Prices(1, 1, 1, 1))
        assert (reply.prompt_tokens, reply.output_tokens, reply.cost) == (None, None, None)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner:
       st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
           ["choices", "message", "content", "usage", "error", "model", "logprobs"]), inner,
           max_size=3)))  # fmt: skip
def test_whatever_json_comes_is_a_reply_or_a_fault(value):
    content = json.dumps(value).encode()
    try:
        body = parse(content, "application/json")
        check_model(body, "stand-in", None)
        reply_of(body, content, Prices(1, 1, 1, 1), None, [1, 2])
    except Fault as fault:
        assert fault.transient or fault.fatal or fault.kind in ("context_length", "refused")


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200), st.integers(1, 64))
def test_the_pace_stays_within_its_bounds_and_calls_of_one_time_slow_it_once(events, most):
    pace, now = Pace(most, 0.1), 0.0
    for fine, after in events:
        now += 0.01
        if fine:
            pace.answered()
        else:
            bound = pace.bound
            pace.limited(now - 0.005, now, after)
            shrunk = pace.bound
            pace.limited(now - 0.005, now, after)
            assert max(1, int(0.8 * bound)) <= shrunk == pace.bound <= max(1, bound)
            assert pace.wait(now) >= after - 1e-9
        assert 1 <= pace.lowest <= pace.bound <= most or pace.bound <= most


def test_how_calls_are_made_and_paid_is_no_part_of_what_a_run_is():
    known = config_hash(compose(*STUDY[1:4]))
    for word in ("model.calls.timeout=3", "model.prices.input=3", "max_cost=3", "reuse=[x]",
                 "model.key_env=X", "model.expected_tokens=7"):  # fmt: skip
        assert config_hash(compose(*STUDY[1:4], word)) == known, word
    several = ("model=several", "+model@model.models.far=openai", "model.models.far.model=x")
    known = config_hash(compose(*several))
    assert config_hash(compose(*several, "model.models.far.calls.tries=3")) == known
    assert config_hash(compose(*several, "model.models.far.max_tokens=3")) != known


def test_a_server_named_in_the_config_is_part_of_every_key_and_one_of_the_environment_is_not(
    monkeypatch,
):
    def identity(*words):
        return build(compose(*STUDY[:5], *words)).backend.identity()

    here = identity()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert identity() == here != identity("model.base_url=http://elsewhere/v1")


# -- the README ------------------------------------------------------------------------------

PAGE = (Path(__file__).parent.parent / "README.md").read_text()
PAGE = PAGE.split("## Run it on your model\n")[1].split("\n## ")[0]
LINES = re.findall(r"^python -m sim (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_the_page_for_your_model_plays_against_a_stand_in(sim, monkeypatch, line):
    for name in re.findall(r"^export (\w+)=", PAGE, re.MULTILINE):
        monkeypatch.setenv(name, KEY)
    words = shlex.split(line)
    name = next(w.removeprefix("model.model=") for w in words if w.startswith("model.model="))
    small = ("agent=definition", "population.n=10", "analysis=[]", "hydra.run.dir=run",
             "display=false")  # fmt: skip
    with serve(latency=0.001, model=name) as server:
        status, told = sim(*words, *small, f"model.base_url={server.url}")
        asked = server.counts()["calls"]
    assert status == 0, told
    dry = "dry_run=true" in words
    assert (asked == 0) == dry
    if not dry:
        assert set(pl.read_parquet("run/decisions.parquet")["status"]) == {"ok"}


def test_the_page_for_your_model_has_three_lines_for_each_kind_of_server():
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4 and all(block.count("\n") == 3 for block in blocks)


# -- how a run comes to its end --------------------------------------------------------------


def test_what_is_in_flight_when_a_call_ends_the_run_is_journalled_and_not_paid_twice(sim):
    for name, rule in (("context", "on_error=stop"), ("bad_request", "on_error=record")):
        run = f"hydra.run.dir={name}"
        with serve(latency=0.2, faults={name: 0.04}) as server:
            status, told = sim(*STUDY, "population.n=60", rule, run, server=server)
            counts = server.counts()
            assert status == 1 and counts["left"] == 0 and counts["faults"][name] > 0, told
            with closing(sqlite3.connect(f"{name}/journal.sqlite")) as journal:
                (n,) = journal.execute("SELECT count(*) FROM replies").fetchone()
                kinds = journal.execute("SELECT DISTINCT kind FROM failures").fetchall()
            assert n == counts["answered"] and kinds == [(kind_of(name),)]


def kind_of(fault: str) -> str:
    return {"context": "context_length"}.get(fault, fault)


def test_a_server_that_answers_nothing_for_too_long_stops_the_run_whatever_the_rule(sim):
    with serve(latency=0.001, faults={"500": 1}) as server:
        words = "on_error=record", "model.calls.longest_wait=1", "model.calls.tries=1000"
        status, told = sim(*STUDY, *words, server=server)
    assert status == 1
    assert (
        "server: HTTP 500" in told and "no call was answered for model.calls.longest_wait" in told
    )


def test_an_earlier_run_that_stopped_at_a_call_is_taken_up_by_one_that_records(sim):
    with serve(latency=0.001, faults={"context": 0.05}) as server:
        status, told = sim(*STUDY, "hydra.run.dir=first", server=server)
        assert status == 1 and "on_error=record and reuse= this one goes past" in told
        asked = server.counts()["answered"]
        status, told = sim(*STUDY, "on_error=record", "reuse=first")
        assert status == 0, told
        counts = server.counts()
    manifest = json.loads(Path("run/manifest.json").read_text())
    errors = manifest["counts"]["error"]
    assert manifest["reused"] == asked and errors > 0
    assert counts["answered"] == 120 - errors and counts["repeats"] == 0


# -- what a careful reader tried -------------------------------------------------------------


def test_a_reply_that_the_server_broke_off_is_a_fault_and_no_reply():
    for choice in (
        {"finish_reason": "error"},
        {"finish_reason": "ABORT"},
        {"error": {"code": 502}},
        {"finish_reason": "insufficient_system_resource"},
    ):
        body = completion({"content": "Answer: A"})
        body["choices"][0] |= choice
        with pytest.raises(Fault, match="broke the reply off"):
            read(body)
    assert read(completion({"content": "A"}, finish="MAX_TOKENS")).finish_reason == "length"
    assert read(completion({"content": "A"}, finish="SAFETY")).finish_reason == "content_filter"


def test_thoughts_among_the_parts_of_a_reply_are_not_what_it_says():
    for kind in ("reasoning", "thinking"):
        parts = [{"type": kind, "text": "Answer: A"}, {"type": "text", "text": "Answer: B"}]
        reply = read(completion({"content": parts}))
        assert (reply.text, reply.reasoning) == ("Answer: B", "Answer: A")


@pytest.mark.parametrize("score", ["-0.5", True, 5.0, None, float("nan")])
def test_what_is_no_log_probability_is_no_score(score):
    body = completion({"content": " A"})
    body["choices"][0]["logprobs"] = {"content": [
        {"token": "token_id:1", "logprob": -1, "top_logprobs": [
            {"token": "token_id:2", "logprob": score}]}]}  # fmt: skip
    with pytest.raises(Fault):
        reply_of(body, b"", None, None, [1, 2])


def test_a_key_is_masked_before_a_servers_words_are_cut(sim, tmp_path, monkeypatch):
    long = "sk-" + "0123456789abcdef" * 25
    monkeypatch.setenv("OPENAI_API_KEY", long)
    with serve(key="another") as server:
        status, told = sim(*STUDY, server=server)
    assert status == 1 and "***" in told
    for piece in (long[k : k + 12] for k in range(0, len(long) - 12, 12)):
        assert piece not in told and piece.encode() not in everything(tmp_path / "run")


def test_a_key_in_any_part_of_the_config_is_refused_and_not_repeated(sim):
    for words in ([f"model.served_as=[{KEY}]"], [f"model.key_env={KEY}"],
                  [f"model.base_url=http://127.0.0.1:9/{KEY}/v1"]):  # fmt: skip
        status, told = sim(*STUDY, *words)
        assert status == 2 and KEY not in told and not Path("run").exists(), told


def test_what_replies_depend_on_cannot_hide_behind_a_field_of_the_body():
    def identity(*words):
        return json.dumps(build(compose(*STUDY[:5], *words)).backend.identity(), sort_keys=True)

    plain = identity("+model.extra.thinking.type=disabled")
    marks = "model.thinking={start: a, end: b}"
    assert identity("+model.extra.thinking.type=disabled", marks) != plain
    assert identity("model.served_as=[x]") != identity() != identity("model.seeds=false")
    bits = "+model.dialect.seed_bits=31"
    assert identity(bits) != identity()


def test_a_limit_needs_to_know_what_was_spent_without_prices(sim):
    with serve(latency=0.001, expire_after=50) as server:
        assert sim(*STUDY, server=server)[0] == 1
        server.control(expire_after=None)
        prices = "model.prices={input: 0.15, output: 0.6}"
        status, told = sim("resume=run", prices, "max_cost=1")
        assert status == 2 and "max_cost needs the cost of what was asked before" in told
        status, told = sim("resume=run", prices)
        assert status == 0 and calls()["replies_without_cost"] > 0, told


def test_money_for_calls_in_flight_counts_as_spent_when_the_process_dies(sim):
    with serve(latency=0.001, expire_after=50) as server:
        assert sim(*STUDY, PRICES, server=server)[0] == 1
        assert rows("SELECT most FROM held") == [(0,)]  # it ended in order
        with closing(sqlite3.connect("run/journal.sqlite", isolation_level=None)) as journal:
            journal.execute(f"UPDATE held SET most = {PICO}")
        server.control(expire_after=None)
        status, told = sim("resume=run", "max_cost=1")
        assert status == 1 and "max_cost is 1.00" in told
        assert sim("resume=run", "max_cost=2")[0] == 0
    told = calls()
    assert told["failed"]["killed"] == 1 and float(told["cost_possibly_more"]) >= 1


def test_a_budget_is_noted_before_it_is_held_and_seldom():
    noted: list[int] = []
    budget = Budget(1000)
    budget.note = noted.append
    for _ in range(100):
        assert budget.hold(10)
        assert budget.held <= noted[-1]
    assert len(noted) == 6 and noted[-1] <= 1000
    for _ in range(100):
        budget.settle(10, 3)
        assert budget.held + budget.unwritten <= noted[-1]
        budget.written(3)
    assert len(noted) < 20 and noted[-1] < 10


def test_a_run_of_an_older_version_goes_on(sim):
    with serve(latency=0.001, expire_after=50) as server:
        assert sim(*STUDY, server=server)[0] == 1
        saved = Path("run/.hydra/config.yaml")
        older = re.sub(r"^(max_cost: null|reuse: \[\])\n", "", saved.read_text(), flags=re.M)
        assert older.count("\n") == saved.read_text().count("\n") - 2
        saved.write_text(older)
        server.control(expire_after=None)
        status, told = sim("resume=run", "max_live=9")
        assert status == 0, told


def test_odd_characters_in_a_servers_error_do_not_end_the_journal(tmp_path):
    from sim.inference.base import Failure
    from sim.journal import Journal

    journal = Journal(tmp_path / "journal.sqlite", False)
    journal.record([], [(Slot(0, 0, 0, 0, 0), Failure("server", "bad \ud800", None))])
    assert journal.paid().failures == {"server": 1}
    journal.close()


def test_a_limit_of_tokens_that_a_server_does_not_keep_ends_a_run_with_a_limit_of_money(sim):
    # Reasoning beyond max_tokens.
    prices = "model.prices={input: 0, output: 100}"
    with serve(latency=0.001, reasoning=5000) as server:
        status, told = sim(*STUDY, prices, "max_cost=100", "model.max_tokens=16", server=server)
    assert status == 1 and "counts more tokens than model.max_tokens" in told


def test_time_in_which_nobody_listened_is_no_time_out(sim, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve(latency=0.05) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        parts = build(compose(*STUDY[:5], "model.calls.timeout=0.5", "model.calls.tries=1"))
        backend = parts.backend
        message = Message("user", "A: you get 1 and the other gets 2", None)
        slots = [Slot(k, 0, 0, 0, 0) for k in range(4)]
        backend.submit([Request(message, "text", ("A",), k, slot) for k, slot in enumerate(slots)])
        backend.poll(0.01)
        time.sleep(1.0)  # a model in this process computes
        answered = [reply for _ in range(4) for _, reply in backend.poll(0.5)]
        backend.close()
    assert [reply.error for reply in answered] == [None] * 4


SEVERAL = ("experiment=hvae", "model=several", "~model.models.pocket", "population=by_model",
           "~population.parts.pocket", "agent=definition", "analysis=[]", "display=false",
           "population.parts.rules.n=30", "hydra.run.dir=run")  # fmt: skip


def served(name: str, server, *words: str) -> list[str]:
    """Words that put a served model beside the others of model=several."""
    return [f"+model@model.models.{name}=openai", f"model.models.{name}.model={name}",
            f"model.models.{name}.base_url={server.url}", f"model.models.{name}.calls.backoff=0.01",
            f"+population@population.parts.{name}=shares", f"population.parts.{name}.n=30",
            *(f"model.models.{name}.{word}" for word in words)]  # fmt: skip


def test_a_run_of_a_paid_and_an_unpaid_model_goes_on_with_more_money(sim):
    prices = "prices={input: 0.15, output: 0.6}"
    with serve(latency=0.001, model="far") as server:
        words = (*SEVERAL, *served("far", server, prices), "max_cost=0.003")
        status, told = sim(*words)
        assert status == 1 and "max_cost is 0.003" in told
        status, told = sim("resume=run", "max_cost=1")
        assert status == 0, told
        assert server.counts()["repeats"] == 0
    assert calls()["replies_without_cost"] == 0


def test_a_fault_of_one_model_waits_for_what_the_others_have_in_flight(sim):
    with serve(latency=0.5, model="far") as far, serve(latency=0.1, model="off") as off:
        off.control(faults={"quota": 1})
        status, told = sim(*SEVERAL, *served("far", far), *served("off", off))
        counts = far.counts()
    assert status == 1 and "calls to off fail: quota" in told
    assert counts["left"] == 0 and counts["answered"] > 0
    assert ("abandoned",) not in rows("SELECT DISTINCT kind FROM failures")


def test_calls_that_hang_longer_than_a_run_may_fail_do_not_stop_one_that_answers(sim):
    with serve(latency=0.02, faults={"hang": 0.05}) as server:
        words = "model.calls.timeout=1.5", "model.calls.longest_wait=1", "model.calls.concurrency=4"
        status, told = sim(*STUDY, *words, server=server)
    assert status == 0, told
    assert calls()["failed"]["timeout"] > 0


def test_several_models_have_the_time_out_that_they_were_given(sim):
    hang = {"latency": 0.01, "faults": {"hang": 1}}
    with serve(model="one", **hang) as one, serve(model="two", **hang) as two:
        time_out = "calls.timeout=1", "calls.tries=1"
        words = (*served("one", one, *time_out), *served("two", two, *time_out))
        begun = time.monotonic()
        status, told = sim(*SEVERAL, *words, "on_error=record", "~model.models.rules",
                           "~population.parts.rules")  # fmt: skip
        took = time.monotonic() - begun
    # Three seconds for each of six choices, if the turn of the one were added to the other's time.
    assert status == 0 and took < 14, told


def test_what_failed_calls_may_have_cost_is_written_before_they_are_made_again(sim):
    with serve(latency=0.02, faults={"reset": 1}) as server:
        words = "model.calls.tries=1000", "model.calls.backoff=0.001", "model.calls.longest_wait=1"
        status, _ = sim(*STUDY, PRICES, *words, server=server)
        counts = server.counts()
    assert status == 1
    assert rows("SELECT count(*) FROM failures WHERE cost > 0") == [(counts["calls"],)]

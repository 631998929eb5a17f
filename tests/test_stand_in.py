"""The stand-in itself: its forms, its faults and that it counts exactly."""

import asyncio
import http.client
import json
import math
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stand_in_faults
from stand_in import StandIn, serve

from sim.inference import modes

LABELS = ("A", "B", "C")
QUESTION = (
    "Here are 3 ways to share.\nA: you get 85 and the other person gets 85\nB: text\n"
    'C: more text\nWhich one do you choose?\n\nEnd your reply with one line: "Answer:" and more.'
)
ENUM = {"properties": {"reason": {"type": "string"}, "answer": {"enum": list(LABELS)}}}
FORMS: dict[str, dict[str, Any]] = {
    "text": {},
    "choice": {"structured_outputs": {"choice": list(LABELS)}},
    "regex": {"structured_outputs": {"regex": modes.regex(LABELS)}},
    "json": {"response_format": {"type": "json_schema", "json_schema": {"schema": ENUM}}},
    "json_regex": {"structured_outputs": {"regex": modes.json_regex(LABELS)}},
}
BROKEN = (aiohttp.ClientError, TimeoutError)


@pytest.fixture(scope="module")
def server():
    with serve(latency=0, seed=5) as server:
        yield server


@pytest.fixture(autouse=True)
def as_new(request):
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        plain = {"latency": 0, "unread": 0, "reasoning": 0, "key": None, "echo_key": False}
        plain |= {"expire_after": None, "limit": None, "faults": {}, "drip_seconds": 0.3}
        server.control(**plain)
        server.reset()


def body(*said: str, **more: Any) -> dict:
    messages = [
        {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)
    ]
    return {"model": "stand-in", "messages": messages, **more}


def ask(server: StandIn, *bodies: dict, timeout: float = 5, key: str = "k") -> list:
    """(status, headers, text) of each, or what was raised; all at once."""

    async def one(session: aiohttp.ClientSession, told: dict):
        try:
            async with session.post(f"{server.url}/chat/completions", json=told) as response:
                return response.status, response.headers, await response.text()
        except BROKEN as fault:
            return fault

    async def all_() -> list:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            headers={"Authorization": f"Bearer {key}"},
            connector=aiohttp.TCPConnector(limit=0),
        ) as session:
            return await asyncio.gather(*(one(session, told) for told in bodies))

    return asyncio.run(all_())


def said(answer: Any) -> str:
    status, _, text = answer
    assert status == 200, text
    return json.loads(text)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("mode", FORMS)
def test_each_mode_answers_in_its_form_and_alike_each_time(server, mode) -> None:
    bodies = [body(QUESTION, seed=seed, **FORMS[mode]) for seed in range(40)]
    first, second = ask(server, *bodies), ask(server, *bodies)
    assert [said(a) for a in first] == [said(a) for a in second]
    read = [modes.read(mode.removesuffix("_regex"), said(a), LABELS) for a in first]
    assert {r.status for r in read} == {"ok"} and {r.option for r in read} == {0, 1, 2}
    counts = server.counts()
    assert (counts["answered"], counts["distinct"], counts["repeats"]) == (80, 40, 40)
    assert counts["failed"] == counts["open"] == 0


def test_labels_are_scored_alike_for_every_seed(server) -> None:
    form = {"logprobs": True, "top_logprobs": 5, "max_tokens": 1}
    form |= {"continue_final_message": True, "add_generation_prompt": False}
    answers = ask(server, *(body(QUESTION, "Answer:", seed=s, **form) for s in range(30)))
    found = [json.loads(text)["choices"][0] for _, _, text in answers]
    (first, *rest) = [c["logprobs"]["content"][0]["top_logprobs"] for c in found]
    assert all(top == first for top in rest) and len(first) == 5
    assert {one["token"] for one in first[:3]} == {" A", " B", " C"}
    assert {c["message"]["content"] for c in found} == {" A", " B", " C"}
    greedy = ask(
        server, *(body(QUESTION, "Answer:", seed=s, temperature=0, **form) for s in (1, 2))
    )
    assert {said(answer) for answer in greedy} == {first[0]["token"]}


def test_texts_without_options_and_a_second_asking(server) -> None:
    (free,) = ask(server, body("Describe such a person."))
    assert "Answer" not in said(free)
    (again,) = ask(server, body(QUESTION, "Hm.", "I could not read one single choice."))
    assert re.fullmatch("Answer: [ABC]", said(again))
    server.control(unread=0.25)
    unread = [said(a) for a in ask(server, *(body(QUESTION, seed=s) for s in range(400)))]
    assert 70 < unread.count("I would rather not say.") < 130


def test_tokens_are_counted_and_cut(server) -> None:
    server.control(reasoning=7)
    (answer,) = ask(server, body("One two three.", "Four.", "Five six.", max_tokens=2))
    told = json.loads(answer[2])
    assert told["choices"][0]["finish_reason"] == "length"
    assert told["choices"][0]["message"]["reasoning_content"].split() == ["thought"] * 7
    assert told["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    tokens = {"prompt": 6, "cached": 4, "completion": 9, "reasoning": 7}
    assert server.counts()["tokens"] == server.counts()["tokens_worked"] == tokens


def test_keys(server) -> None:
    server.control(key="right")
    (wrong,), (right,) = ask(server, body("Hi"), key="sk-x"), ask(server, body("Hi"), key="right")
    assert wrong[0] == 401 and "provided: sk-x" in wrong[2] and "invalid_api_key" in wrong[2]
    assert right[0] == 200 and server.counts()["authorizations"] == 2
    server.control(expire_after=1, echo_key=True)
    assert ask(server, body("Hi"), key="right")[0][0] == 401
    server.control(expire_after=None)
    (echo,) = ask(server, body("Hi"), key="right")
    assert echo[2].count("Bearer right") == 2


def test_no_more_than_the_limit(server) -> None:
    server.control(limit=4, latency=0.3)
    answers = ask(server, *(body("Hi", seed=s) for s in range(10)))
    busy = [headers["Retry-After"] for status, headers, _ in answers if status == 429]
    assert busy == ["1"] * 6 and server.counts()["most_open"] == 5


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"model": "other"}, 404),
        ({"messages": [{}]}, 400),
        ({"messages": "x"}, 400),
        ({"top_logprobs": 21}, 400),
        ({"structured_outputs": {"regex": "x"}}, 400),
    ],
)
def test_what_is_no_request_is_refused(server, told, status) -> None:
    (answer,) = ask(server, body(QUESTION) | told)
    assert answer[0] == status and "error" in json.loads(answer[2])


STATUS = {"429": 429, "429_after": 429, "429_after_ms": 429, "quota": 429, "500": 500, "503": 503}
STATUS |= {"content_filter": 400, "context": 400, "bad_request": 400}


@pytest.mark.parametrize("name", stand_in_faults.NAMES)
def test_every_fault(server, name) -> None:
    server.control(faults={name: 1}, latency=0.02)
    (answer,) = ask(server, body(QUESTION), timeout=0.8)
    counts = server.counts()
    assert counts["faults"] == {name: 1} and counts["calls"] == 1
    proper = name in stand_in_faults.PROPER
    assert (counts["answered"], counts["failed"]) == (proper, not proper and name != "hang")
    works = proper or name in stand_in_faults.SPOILT
    assert (counts["tokens_worked"]["prompt"] > 0) == works
    assert (counts["tokens"]["prompt"] > 0) == proper
    if name in ("hang", "reset", "reset_before", "reset_hard"):
        assert isinstance(answer, BROKEN)
        assert (counts["left"], counts["open"]) == (name == "hang", 0)
        return
    status, headers, text = answer
    assert status == STATUS.get(name, 200)
    if status != 200:
        assert name == "503" or "message" in json.loads(text)["error"]
        assert headers.get("Retry-After") == ("0.2" if name == "429_after" else None)
        assert headers.get("retry-after-ms") == ("200" if name == "429_after_ms" else None)
    elif name in ("truncated", "html"):
        with pytest.raises(ValueError):
            json.loads(text)
    elif name == "empty_choices":
        assert json.loads(text)["choices"] == []
    elif name == "wrong_count":
        assert len(json.loads(text)["choices"]) == 2
    elif name in ("no_content", "refusal", "filtered"):
        assert not said(answer)
    else:
        assert said(answer).split("\n")[-1] in ("Answer: A", "Answer: B", "Answer: C")
        assert ("usage" in json.loads(text)) == (name != "no_usage")
        assert (len(text) > 2_000_000) == (name == "huge")
        assert (r"\ud800" in text and r"\u0000" in text) == (name == "unicode")
        assert (json.loads(text)["model"] == "stand-in") == (name != "wrong_model")


def test_a_call_s_fate_does_not_hang_on_the_order(server) -> None:
    shares = {"429": 0.2, "500": 0.2, "no_content": 0.2}
    server.control(faults=shares)
    bodies = [body(QUESTION, seed=seed) for seed in range(60)]

    def fates(order: list[dict]) -> dict[int, list]:
        found: dict[int, list] = {}
        for _ in range(3):
            for told, (status, _, text) in zip(order, ask(server, *order), strict=True):
                found.setdefault(told["seed"], []).append((status, text))
        return found

    first, counts = fates(bodies), server.counts()
    server.reset()
    assert fates(bodies[::-1]) == first
    assert server.counts()["faults"] == counts["faults"]
    assert counts["calls"] == 180 == counts["answered"] + sum(counts["faults"].values())
    assert all(20 < n < 55 for n in counts["faults"].values())


def test_left_calls_are_counted_and_not_answered(server) -> None:
    server.control(latency=5)
    assert all(isinstance(a, TimeoutError) for a in ask(server, body("Hi"), timeout=0.2))
    counts = server.counts()
    assert (counts["left"], counts["answered"], counts["open"]) == (1, 0, 0)
    assert counts["tokens_worked"]["prompt"] == 1 and counts["tokens"]["prompt"] == 0


def test_unknown_options_are_refused(server) -> None:
    for wrong in ({"speed": 1}, {"latency": "fast"}, {"faults": {"fire": 1}}, {"faults": "429=2"}):
        with pytest.raises(ValueError):
            server.control(**wrong)


def test_by_hand_it_prints_its_url() -> None:
    words = [sys.executable, str(Path(__file__).with_name("stand_in.py")), "--faults=429=.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert re.fullmatch(r"http://127.0.0.1:\d+/v1\n", process.stdout.readline())
        process.kill()


def test_labels_are_scored_by_the_ids_of_their_tokens_as_vllm_does_it(server) -> None:
    def post(told: dict) -> tuple[int, dict]:
        with closing(http.client.HTTPConnection(server.url.split("/")[2], timeout=30)) as link:
            link.request("POST", "/tokenize", json.dumps(told))
            response = link.getresponse()
            return response.status, json.loads(response.read())

    def tokens(text: str) -> list[int]:
        told = {"model": "stand-in", "prompt": text, "add_special_tokens": False}
        status, found = post(told)
        assert status == 200 and found["count"] == len(found["tokens"])
        return found["tokens"]

    (prefix,) = tokens("Answer:")
    ids = []
    for label in LABELS:
        first, own = tokens(f"Answer: {label}")
        assert first == prefix
        ids.append(own)
    assert len(set(ids)) == 3
    assert len(post({"model": "stand-in", "prompt": "Answer:"})[1]["tokens"]) == 2
    assert post({"model": "other", "prompt": "x"})[0] == 404 and post({})[0] == 400
    form = {"logprobs": True, "return_tokens_as_token_ids": True, "max_tokens": 1}
    form |= {"continue_final_message": True, "add_generation_prompt": False}
    told = body(QUESTION, "Answer:", temperature=0, logprob_token_ids=ids[::-1], **form)
    ((status, _, text),) = ask(server, told)
    assert status == 200
    (scored,) = json.loads(text)["choices"][0]["logprobs"]["content"]
    assert [one["token"] for one in scored["top_logprobs"]] == [f"token_id:{i}" for i in ids[::-1]]
    assert scored["token"] in {f"token_id:{i}" for i in ids}
    assert 0.9 < sum(math.exp(one["logprob"]) for one in scored["top_logprobs"]) < 1
    ((status, _, _),) = ask(server, told | {"return_tokens_as_token_ids": False})
    assert status == 400

"""Every response mode that a served model offers, from the request to the decision."""

from pathlib import Path

import pytest
import served_study
from served_study import here, replies, words
from stand_in import serve

MODES = {
    "openai": ("text", "json"),
    "ollama": ("text", "json"),
    "vllm_server": ("text", "choice", "regex", "json", "label"),
}
AGENTS = 6


@pytest.fixture(scope="module")
def server():
    with serve(latency=0) as server:
        yield server


def played(folder: Path, server, preset: str, *more: str) -> served_study.Played:
    address = () if preset == "openai" else (f"model.base_url={server.url}",)
    told = [word for word in words(folder, AGENTS) if word != "model=openai"]
    return here([*told, f"model={preset}", *address, *more], server.url)


@pytest.mark.parametrize(("preset", "mode"), [(k, m) for k, all_ in MODES.items() for m in all_])
def test_a_response_mode_is_played_through_and_every_reply_is_read(server, tmp_path, preset, mode):
    server.reset()
    folder = tmp_path / "run"
    done = played(folder, server, preset, f"response_mode={mode}")
    assert (done.status, done.err) == (0, "")
    rows = served_study.decisions(folder)
    assert rows.height == 6 * AGENTS and set(rows["status"]) == {"ok"}
    assert set(rows["response_mode"]) == {mode} and rows["action"].n_unique() > 3
    counts = server.counts()
    if mode == "label":
        # Labels have no seeds: who asks the same shares one reply, and draws for itself.
        assert counts["calls"] == counts["distinct"] <= 6 * AGENTS
        assert 0 < counts["tokenized"] <= 10 * rows["n_options"].n_unique()
        scores = rows["option_logprobs"].list
        assert set(scores.len()) == set(rows["n_options"]) and scores.max().max() < 0
    else:
        assert (counts["calls"], counts["tokenized"]) == (6 * AGENTS, 0)
        shown = {text for _, text, _ in replies(folder).values()}
        start = {"text": "Answer: ", "choice": "", "regex": "Because.\nAnswer: ", "json": '{"reas'}
        assert all(text.startswith(start[mode]) for text in shown)


@pytest.mark.parametrize("preset", ["openai", "ollama"])
def test_a_mode_that_the_server_does_not_offer_is_refused_before_anybody_is_asked(
    server, tmp_path, preset
):
    server.reset()
    done = played(tmp_path / "run", server, preset, "response_mode=label")
    assert done.status == 2 and done.err.startswith("refused: ") and "label" in done.err
    assert server.counts()["calls"] == 0


def test_labels_of_a_run_that_stopped_are_scored_no_second_time(server, tmp_path):
    folder = tmp_path / "run"
    server.reset()
    assert played(folder, server, "vllm_server", "response_mode=label").status == 0
    before, whole = server.counts()["calls"], (folder / "decisions.parquet").read_bytes()
    assert here([f"resume={folder}"], server.url).status == 0
    assert server.counts()["calls"] == before
    assert (folder / "decisions.parquet").read_bytes() == whole


@pytest.mark.parametrize("fault", ["content_filter", "refusal", "no_content"])
def test_a_label_is_scored_where_the_server_says_how_likely_it_is_and_refused_where_it_does_not(
    server, tmp_path, fault
):
    folder = tmp_path / "run"
    server.reset()
    server.control(faults={fault: 0.3})
    done = played(folder, server, "vllm_server", "response_mode=label", "env.option_order=shuffled")
    met = server.counts()["faults"].get(fault, 0)
    server.control(faults={})
    assert (done.status, done.err) == (0, "") and met > 0
    rows = served_study.decisions(folder)
    # What is said beside the scores is not read: it was thrown away.
    refused = rows.filter(rows["status"] == "refused")
    assert (refused.height > 0) == (fault == "content_filter")
    assert refused["action"].is_null().all() and refused["option_logprobs"].is_null().all()
    assert set(rows["status"]) <= {"ok", "refused"}


def test_tokens_of_labels_that_never_come_are_asked_for_again(tmp_path):
    folder = tmp_path / "run"
    with serve(latency=0, hung_tokenize=1) as server:
        more = ("model.calls.timeout=0.5", "model.calls.backoff=0.01")
        done = played(folder, server, "vllm_server", "response_mode=label", *more)
        assert (done.status, done.err) == (0, "")
    assert set(served_study.failures(folder)[0]) == {"timeout"}
    assert served_study.manifest(folder)["counts"]["ok"] == 6 * AGENTS

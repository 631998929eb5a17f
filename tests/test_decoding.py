"""The decoding loop, seen through the embedded engine and a model of random weights."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_model import make

from agents.base import Message
from sim.errors import CallFailed, Refusal
from sim.inference import modes
from sim.inference.base import Reply, Request, Slot
from sim.inference.kv import Past, Store
from sim.inference.local import LocalBackend
from sim.inference.network import Sampling, choose

BATCH = {"rows": 8, "tokens": 256, "decode_mib": 64, "cache_mib": 8}
PLAIN = {
    "chat_template": None,
    "template_arguments": {},
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "max_tokens": 24,
    "thinking": None,
    "batch": BATCH,
}
LABELS = ("A", "B", "C")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    from sim.inference.onnx_export import export

    made = make(tmp_path_factory.mktemp("model"), context=512)
    export(made)
    return made


def embedded(folder: Path, **how) -> LocalBackend:
    from sim.inference.onnx_backend import OnnxBackend

    return OnnxBackend(**(PLAIN | {"model": str(folder), "threads": 1} | how))


def messages(n: int = 20) -> list[Message]:
    """Prompts of many lengths, with beginnings in common."""
    return [
        Message("user", "Which one do you choose? " * (i * i % 13 + 1) + str(i), None)
        for i in range(n)
    ]


def ask(
    backend: LocalBackend,
    told: Sequence[Message],
    mode: str = "text",
    labels: tuple[str, ...] | None = None,
    order: int = 1,
) -> list[Reply]:
    """Replies in the order of the messages, asked in this order or (-1) the reverse."""
    seeds = [None if mode == "label" else 7919 * i + 3 for i in range(len(told))]
    requests = [
        Request(message, mode, labels, seed, Slot(i, 0, 0, 0, 0))
        for i, (message, seed) in enumerate(zip(told, seeds, strict=True))
    ]
    backend.submit(requests[::order])
    answered = []
    while some := backend.ready():
        answered += some
    return [reply for _, reply in sorted(answered, key=lambda pair: pair[0].slot.episode)]


def texts(replies: Sequence[Reply]) -> list[str]:
    return [reply.text for reply in replies]


def test_a_text_depends_on_its_seed_alone_not_on_the_batch_or_its_order(folder):
    together = ask(embedded(folder), messages())
    single = embedded(folder, batch=BATCH | {"rows": 1, "cache_mib": 0})
    wide = embedded(folder, batch=BATCH | {"rows": 64})
    backward = ask(embedded(folder), messages(), order=-1)
    expected = texts(ask(single, messages()))
    assert texts(together) == texts(backward) == texts(ask(wide, messages())) == expected
    assert len(set(expected)) == len(expected)


def test_another_seed_gives_another_text(folder):
    same = [Message("user", "Which one?", None)] * 12
    assert len(set(texts(ask(embedded(folder), same)))) > 8


def test_greedy_replies_do_not_depend_on_the_seed(folder):
    backend = embedded(folder, temperature=0)
    assert backend.greedy
    assert len(set(texts(ask(backend, [Message("user", "Which one?", None)] * 5)))) == 1


def test_a_second_turn_takes_the_first_from_the_cache_and_says_the_same(folder):
    def play(**how) -> list[list[Reply]]:
        backend = embedded(folder, **how)
        turns, told = [], messages(6)
        for turn in range(3):
            turns.append(ask(backend, told))
            told = [
                Message("user", f"And then, {turn}?", Message("assistant", reply.text, message))
                for reply, message in zip(turns[-1], told, strict=True)
            ]
        return turns

    kept, computed = play(), play(batch=BATCH | {"cache_mib": 0})
    assert [texts(turn) for turn in kept] == [texts(turn) for turn in computed]
    assert all(reply.cached_tokens > 0 for turn in kept[1:] for reply in turn)
    assert not any(reply.cached_tokens for turn in computed for reply in turn)


def test_conversations_that_are_furthest_on_come_first_so_a_small_cache_serves_many(folder):
    backend = embedded(folder, max_tokens=4, batch=BATCH | {"rows": 4, "cache_mib": 1})

    def asked(message: Message, i: int, step: int) -> Request:
        return Request(message, "text", None, 100 * i + step, Slot(i, 0, step, 0, 0))

    backend.submit([asked(Message("user", f"{i} or what? " * 12, None), i, 0) for i in range(60)])
    later: list[tuple[Request, Reply]] = []
    while some := backend.ready():
        for request, reply in some:
            i, _, step, *_ = request.slot
            later += [(request, reply)] if step else []
            if step < 3:
                said = Message("assistant", reply.text, request.message)
                backend.submit([asked(Message("user", "And now? " * 8, said), i, step + 1)])
    assert len(later) == 180 and all(reply.cached_tokens for _, reply in later)


def test_what_prompts_of_one_batch_share_is_computed_once(folder):
    rules = "Here are 9 ways to share points between you and another person. " * 8
    backend = embedded(folder)
    ask(backend, [Message("user", rules + str(i), None) for i in range(8)], "label", LABELS)
    counts = backend.statistics()
    assert counts["cached_share"] > 0.7
    assert counts["prompt_tokens"] > counts["cached_tokens"]


def test_a_cache_too_small_for_anything_changes_no_reply(folder):
    expected = texts(ask(embedded(folder), messages()))
    small = embedded(folder)
    small._decoder._store.n_blocks = 3
    assert texts(ask(small, messages())) == expected
    assert texts(ask(small, messages())) == expected


@pytest.mark.parametrize("mode", ["choice", "regex", "json"])
def test_constrained_replies_can_be_read(folder, mode):
    replies = ask(embedded(folder, max_tokens=400), messages(), mode, LABELS)
    whole = [reply for reply in replies if reply.finish_reason == "stop"]
    assert len(whole) > len(replies) / 2
    for reply in whole:
        assert modes.read(mode, reply.text, LABELS).status == "ok"


def test_choices_come_as_often_as_the_labels_are_likely(folder):
    backend = embedded(folder)
    same = Message("user", "Which one do you choose?", None)
    counts = [texts(ask(backend, [same] * 300, "choice", LABELS)).count(x) for x in LABELS]
    job, _ = backend._job(Request(same, "text", None, 0, Slot(0, 0, 0, 0, 0)))
    ids = [int(backend.chat.encode(label)[0]) for label in LABELS]
    job.labels = ids
    backend._decoder.add([job])
    weight = np.exp(backend._decoder.run()[0].logprobs)
    expected = 300 * weight / weight.sum()
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected) + 1).all()


def test_label_mode_gives_log_probabilities_in_one_pass_whatever_the_batch(folder):
    replies = ask(embedded(folder), messages(), "label", LABELS)
    alone = embedded(folder, batch=BATCH | {"rows": 1, "cache_mib": 0})
    single = ask(alone, messages(), "label", LABELS)
    for reply, other in zip(replies, single, strict=True):
        assert (reply.text, reply.output_tokens) == ("", 0)
        assert reply.option_logprobs == pytest.approx(other.option_logprobs, abs=1e-4)
        assert np.exp(reply.option_logprobs).sum() < 1


def test_labels_of_several_tokens_are_refused_early(folder):
    with pytest.raises(Refusal, match="one token each"):
        embedded(folder).check("label", ("A", "quite another option"))


def test_a_prompt_longer_than_the_context_is_an_error_and_costs_nothing(folder):
    long = Message("user", "Which one do you choose? " * 200, None)
    backend = embedded(folder)
    replies = ask(backend, [long, *messages(3)])
    assert replies[0].text == ""
    assert replies[0].error.startswith("ContextTooLong: the prompt has ")
    assert f"{backend.model} takes at most 511" in replies[0].error
    assert [reply.error for reply in replies[1:]] == [None] * 3


def test_a_reply_that_fills_the_context_ends_there(folder):
    backend = embedded(folder, max_tokens=4000)
    backend._decoder._stops = frozenset()
    for reply in ask(backend, messages(5)):
        assert reply.finish_reason == "length"
        assert reply.prompt_tokens + reply.output_tokens == 512


def test_when_memory_runs_out_batches_halve_and_replies_stay(folder, monkeypatch, capsys):
    expected = texts(ask(embedded(folder), messages()))
    backend = embedded(folder)
    forward = backend._network.forward

    def short(past, ids, starts):
        if len(ids) > 2:
            raise MemoryError("no room")
        return forward(past, ids, starts)

    monkeypatch.setattr(backend._network, "forward", short)
    assert texts(ask(backend, messages())) == expected
    assert capsys.readouterr().err.count("memory ran out") == 1


def test_when_memory_runs_out_while_replying_the_rows_start_again(folder, monkeypatch, capsys):
    expected = texts(ask(embedded(folder), messages()))
    backend = embedded(folder)
    forward, n = backend._network.forward, []

    def short(past, ids, starts):
        n.append(1)
        if len(n) == 9:
            raise MemoryError("no room")
        return forward(past, ids, starts)

    monkeypatch.setattr(backend._network, "forward", short)
    monkeypatch.setattr(Slot, "depth", property(lambda slot: slot.episode % 3))
    assert texts(ask(backend, messages())) == expected
    assert "goes on with 4" in capsys.readouterr().err


def test_one_row_that_does_not_fit_into_memory_fails(folder, monkeypatch):
    backend = embedded(folder)

    def never(past, ids, starts):
        raise MemoryError("no room")

    monkeypatch.setattr(backend._network, "forward", never)
    for reply in ask(backend, messages(3)):
        assert reply.error == "OutOfMemory: one conversation does not fit into memory: no room"
        assert reply.text == ""


def test_a_long_prompt_alone_is_computed_in_small_pieces_where_memory_is_short(folder, monkeypatch):
    expected = texts(ask(embedded(folder), messages(3)))
    backend = embedded(folder, batch=BATCH | {"tokens": 4096})
    forward = backend._network.forward

    def short(past, ids, starts):
        if ids.size > 64:
            raise MemoryError("no room")
        return forward(past, ids, starts)

    monkeypatch.setattr(backend._network, "forward", short)
    assert texts(ask(backend, messages(3))) == expected


def test_where_memory_runs_out_for_what_is_kept_less_is_kept_and_replies_stay(folder, monkeypatch):
    expected = texts(ask(embedded(folder), messages()))
    backend = embedded(folder)
    empty, store = backend._network.empty, backend._decoder._store
    before = store.n_blocks

    def short(shape):
        if store.n_blocks > before // 4:
            raise MemoryError("no room")
        return empty(shape)

    monkeypatch.setattr(backend._network, "empty", short)
    assert texts(ask(backend, messages())) == expected
    assert store.n_blocks == before // 4


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_an_allocation_that_really_fails_halves_the_batch_and_replies_stay(folder, engine):
    if engine == "transformers":
        pytest.importorskip("transformers")

    def play(mib: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(Path(__file__).parent / "little_memory.py")]
        command += [engine, str(folder), str(mib)]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    little = play(60)
    assert "memory ran out with 512 conversations at once" in little.stderr
    alone = json.loads(play(0).stdout)
    # In batches of another size, sums are rounded otherwise: that may turn a close draw.
    same = [a == b for a, b in zip(json.loads(little.stdout), alone, strict=True)]
    assert len(same) == 512 and sum(same) >= 509


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("mode", ["text", "choice", "label"])
def test_logits_that_are_no_numbers_are_an_error_and_no_answer(
    folder, monkeypatch, mode, temperature
):
    backend = embedded(folder, temperature=temperature)
    forward = backend._network.forward

    def overflows(past, ids, starts):
        logits = forward(past, ids, starts)
        logits[0, 5] = np.nan
        return logits

    monkeypatch.setattr(backend._network, "forward", overflows)
    (reply,) = ask(backend, messages(1), mode, LABELS if mode != "text" else None)
    assert reply.error is not None and reply.error.startswith("NotANumber: ")
    assert reply.text == "" and reply.option_logprobs is None


def test_an_engine_that_fails_stops_the_run_in_a_sentence(folder, monkeypatch):
    backend = embedded(folder)

    def fails(past, ids, starts):
        raise RuntimeError("CUDA error: an illegal instruction")

    monkeypatch.setattr(backend._network, "forward", fails)
    with pytest.raises(CallFailed, match=r"failed \(RuntimeError: CUDA error.*\) with 3 req"):
        ask(backend, messages(3))


def test_memory_that_runs_out_while_a_batch_grows_leaves_nothing_half_grown(folder):
    network = embedded(folder)._network
    past = Past.empty(network.shapes, 1, 8, network.zeros)
    past.width, calls = 8, []

    def short(shape):
        calls.append(shape)
        if len(calls) == 2:
            raise MemoryError
        return network.zeros(shape)

    with pytest.raises(MemoryError):
        past.reserve(1, short)
    assert past.room == 8
    past.reserve(1, short)
    assert len({array.shape[2] for array in past.arrays}) == 1 and past.room > 8


def test_a_kept_block_has_one_place_even_where_there_is_hardly_room(folder):
    network = embedded(folder)._network
    store, names = Store(8, network), [[f"{r}.{i}".encode() for i in range(4)] for r in range(6)]
    for row in names:
        row[:2] = [b"shared 0", b"shared 1"]
    past = Past.empty(network.shapes, 6, 64, network.zeros)
    past.width = 64
    for array in past.arrays:
        array[:] = np.arange(6)[:, None, None, None] * 100 + np.arange(64)[:, None]
    indexed = []
    store._index = lambda numbers: indexed.append(numbers) or numbers
    store.save(past, range(6), np.zeros(6, np.int64), names)
    assert len(np.unique(indexed[-1])) == len(indexed[-1])  # CUDA leaves open which would win
    assert len(set(store._blocks.values())) == len(store._blocks) <= 8
    for row, own in enumerate(names):
        found = store.find(own)
        kept = store.restore([found], [16 * len(found)], 64).arrays[0][0, 0, : 16 * len(found), 0]
        expected = np.arange(16 * len(found)) + 100.0 * row
        expected[:32] %= 100  # the shared blocks are the first row's
        assert kept.tolist() == expected.tolist()


def test_reasoning_is_kept_apart(folder):
    marks = {"start": "<think>", "end": "</think>"}
    plain = embedded(folder, thinking=marks)
    opened = embedded(folder, thinking=marks, template_arguments={"enable_thinking": True})

    def split(text: str, backend=plain) -> tuple[str, str | None]:
        return backend._apart(backend.chat.encode(text).tolist())

    assert split("<think>well</think>\n\nAnswer: A") == ("Answer: A", "well")
    assert split("well</think>Answer: A", opened) == ("Answer: A", "well")
    assert split("and on", opened) == ("", "and on")
    assert split("<think>and on") == ("", "and on")
    assert split("Answer: A") == ("Answer: A", None)
    plain.check("label", ("A", "B"))
    for mode in ("label", "regex", "json", "choice"):
        with pytest.raises(Refusal, match=f"mode {mode} needs a chat template that opens no"):
            opened.check(mode, ("A", "B"))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"temperature": -1}, "temperature must be a number, 0 or more, got -1"),
        ({"top_p": 0.0}, "top_p must lie above 0 and up to 1, got 0.0"),
        ({"top_k": 1.5}, "top_k must be a whole number, got 1.5"),
        ({"max_tokens": 0}, "max_tokens must be a whole number, 1 or more, got 0"),
        ({"thinking": {"start": "<think>"}}, "thinking must be null or have a start and an end"),
        ({"batch": BATCH | {"rows": 0}}, "rows must be a whole number, 1 or more, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, how, sentence):
    with pytest.raises(Refusal, match=sentence):
        embedded(folder, **how)


def test_identity_tells_weights_and_sampling_apart(folder, tmp_path):
    from sim.inference.onnx_export import export

    other = make(tmp_path, seed=1, context=512)
    export(other)
    told = embedded(folder).identity()
    assert told == embedded(folder, batch=BATCH | {"rows": 2}).identity()
    assert told != embedded(folder, top_k=3).identity()
    assert told["weights"] != embedded(other).identity()["weights"]


def test_choosing_inverts_the_distribution_function():
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (400, 150)).astype(np.float32)
    u = draw.random(400)
    u[:2] = 0, 1 - 2**-53
    for temperature, top_p, top_k in ((1.0, 1.0, 0), (0.7, 1.0, 0), (1.0, 0.6, 0), (1.0, 1.0, 5)):
        weight = np.exp(logits.astype(np.float64) / temperature)
        ranked = -np.sort(-weight, axis=1)
        if top_k:
            weight[weight < ranked[:, top_k - 1 : top_k]] = 0
        if top_p < 1:
            before = ranked.cumsum(axis=1) - ranked
            least = np.where(before < top_p * ranked.sum(1, keepdims=True), ranked, np.inf)
            weight[weight < least.min(axis=1, keepdims=True)] = 0
        reached = weight.cumsum(axis=1) / weight.sum(axis=1, keepdims=True)
        expected = [np.searchsorted(row, x, "right") for row, x in zip(reached, u, strict=True)]
        found = choose(logits, u, Sampling(temperature, top_p, top_k), None)
        assert (weight[np.arange(400), found] > 0).all()
        assert (found == expected)[2:].mean() > 0.99


def test_tokens_that_may_not_come_are_never_chosen():
    logits, allowed = np.zeros((50, 100), np.float32), np.zeros((50, 100), bool)
    allowed[:, 7] = allowed[:, 90] = True
    u = np.linspace(0, 1 - 1e-9, 50)
    assert set(choose(logits, u, Sampling(1.0, 1.0, 0), allowed)) == {7, 90}
    assert set(choose(logits, u, Sampling(0, 1.0, 0), allowed)) == {7}

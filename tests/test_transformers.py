"""The transformers engine against transformers' own generation and the embedded engine."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from test_decoding import LABELS, PLAIN, ask, embedded, folder, messages, texts
from test_onnx import copied

from sim.errors import Refusal
from sim.inference.local import LocalBackend

__all__ = ["folder"]  # a fixture

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def served(folder: Path, **how) -> LocalBackend:
    from sim.inference.transformers_backend import TransformersBackend

    plain = {"device": "cpu", "dtype": "float32", "attention": "sdpa", "revision": None}
    plain |= {"trust_remote_code": False, "model": str(folder)}
    return TransformersBackend(**(PLAIN | plain | how))


def test_greedy_tokens_of_ragged_batches_equal_transformers_own(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    backend = served(folder, temperature=0)
    replies = ask(backend, messages())
    assert texts(replies) == texts(ask(embedded(folder, temperature=0), messages()))
    for message, reply in zip(messages(), replies, strict=True):
        ids = torch.tensor(backend.chat.prompt(message)[None].astype(np.int64))
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
        )
        new = found[0, ids.shape[1] :].tolist()
        assert len(new) == reply.output_tokens
        stop = new[-1] in backend.chat.stop_ids
        assert reply.text == backend.chat.decode(new[:-1] if stop else new)
        assert reply.finish_reason == ("stop" if stop else "length")


@pytest.mark.parametrize(
    "how", [{}, {"top_p": 0.6}, {"top_k": 5}, {"temperature": 2.0, "top_p": 0.9, "top_k": 50}]
)
def test_both_engines_sample_the_same(folder, how):
    there = texts(ask(served(folder, **how), messages(), order=-1))
    assert texts(ask(embedded(folder, **how), messages())) == there


def test_label_probabilities_of_both_engines_are_equal(folder):
    ours = ask(embedded(folder), messages(), "label", LABELS)
    theirs = ask(served(folder), messages(), "label", LABELS)
    for one, other in zip(ours, theirs, strict=True):
        assert one.option_logprobs == pytest.approx(other.option_logprobs, abs=1e-4)


@pytest.mark.parametrize("mode", ["choice", "regex", "json"])
def test_both_engines_are_constrained_alike(folder, mode):
    there = texts(ask(served(folder), messages(5), mode, LABELS))
    assert texts(ask(embedded(folder), messages(5), mode, LABELS)) == there


def test_eager_attention_says_the_same(folder):
    there = texts(ask(served(folder, attention="eager"), messages(6)))
    assert texts(ask(served(folder), messages(6))) == there


def test_a_sliding_window_is_kept_to_in_batches_and_on_cached_turns(tmp_path, folder):
    made = tmp_path / "model"
    config = transformers.MistralConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, vocab_size=1024, max_position_embeddings=512,
        sliding_window=24, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.MistralForCausalLM(config).eval()
    model.save_pretrained(made)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (made / name).write_bytes((folder / name).read_bytes())
    backend = served(made, temperature=0)
    for _ in range(2):  # the second time from the cache
        for message, reply in zip(messages(6), ask(backend, messages(6)), strict=True):
            ids = torch.tensor(backend.chat.prompt(message)[None].astype(np.int64))
            found = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False,
                eos_token_id=2, pad_token_id=0,
            )[0, ids.shape[1] :].tolist()  # fmt: skip
            assert reply.text == backend.chat.decode([i for i in found if i != 2])
    assert backend.statistics()["cached_tokens"] > 0


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_a_conversation_ends_where_frequencies_would_change_for_the_whole_batch(
    tmp_path, folder, kind
):
    made = copied(folder, tmp_path)
    config = json.loads((made / "config.json").read_text())
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind == "longrope":
        half = config["head_dim"] // 2
        rope |= {"short_factor": [1.0] * half, "long_factor": [4.0] * half}
    rope["original_max_position_embeddings"] = 128
    config["rope_parameters"] = config["rope_scaling"] = rope
    (made / "config.json").write_text(json.dumps(config))
    backend = served(made, temperature=0)
    assert backend._network.context == 128 < config["max_position_embeddings"]
    alone = [ask(backend, [message])[0].text for message in messages(6)[:3]]
    assert texts(ask(served(made, temperature=0), messages(6)))[:3] == alone


@pytest.mark.filterwarnings("ignore")
def test_models_whose_state_is_more_than_keys_and_values_are_refused(tmp_path, folder):
    made = tmp_path / "model"
    config = transformers.MambaConfig(
        hidden_size=32, num_hidden_layers=2, vocab_size=1024, max_position_embeddings=512
    )
    transformers.MambaForCausalLM(config).save_pretrained(made)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (made / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(Refusal, match="this engine"):
        served(made, attention="eager")


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("tokenizer.json", "a model needs a tokenizer"),
        ("chat_template.jinja", "a model needs a chat template"),
        ("*.safetensors", "cannot be loaded on cpu"),
    ],
)
def test_a_directory_that_lacks_a_part_is_refused(folder, tmp_path, without, sentence):
    with pytest.raises(Refusal, match=sentence):
        served(copied(folder, tmp_path, without))


def test_a_missing_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Refusal, match=r"needs the extra hf: pip install -e '\.\[hf\]'"):
        served(folder)


def test_unknown_settings_are_refused(folder):
    with pytest.raises(Refusal, match=r"dtype must be one of auto, .*, got 'int3'"):
        served(folder, dtype="int3")
    with pytest.raises(Refusal, match="cannot be loaded on gpu7"):
        served(folder, device="gpu7")


def test_identity_tells_the_dtype(folder):
    assert served(folder).identity()["dtype"] == "torch.float32"
    assert served(folder, dtype="bfloat16").identity()["dtype"] == "torch.bfloat16"


def test_the_config_names_every_argument():
    from conftest import compose

    config = compose("model=transformers", "model.model=somewhere").model
    own = {"revision", "device", "dtype", "attention", "trust_remote_code"}
    assert set(config) == {"_target_", "_convert_", "model", *own, *PLAIN}

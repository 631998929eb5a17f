"""The embedded engine: files that it reads, and those that it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from test_decoding import PLAIN, ask, embedded, folder, messages, texts
from tiny_model import make

from sim.errors import Refusal

__all__ = ["folder"]  # a fixture

onnx = pytest.importorskip("onnx")


def copied(folder: Path, where: Path, *without: str) -> Path:
    made = where / "copy"
    shutil.copytree(folder, made, ignore=shutil.ignore_patterns(*without))
    return made


def test_a_model_in_the_usual_layout_says_the_same(folder, tmp_path):
    from sim.inference.onnx_export import export

    usual = copied(folder, tmp_path)
    export(usual, usual=True)
    names = {node.name for node in onnx.load(usual / "model.onnx").graph.input}
    assert {"input_ids", "attention_mask", "position_ids"} < names
    assert texts(ask(embedded(usual), messages())) == texts(ask(embedded(folder), messages()))


def test_the_same_weights_give_the_same_bytes(folder, tmp_path):
    from sim.inference.onnx_export import export

    again = copied(folder, tmp_path, "model.onnx")
    assert export(again).read_bytes() == (folder / "model.onnx").read_bytes()


def test_a_model_with_tied_embeddings_can_be_exported(tmp_path):
    from safetensors.numpy import load_file, save_file

    from sim.inference.onnx_export import export

    made = make(tmp_path / "tied")
    weights = load_file(made / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    save_file(weights, made / "model.safetensors")
    export(made)
    untied = texts(ask(embedded(made), messages(4)))
    del weights["lm_head.weight"]
    save_file(weights, made / "model.safetensors")
    config = json.loads((made / "config.json").read_text()) | {"tie_word_embeddings": True}
    (made / "config.json").write_text(json.dumps(config))
    export(made)
    assert texts(ask(embedded(made), messages(4))) == untied


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"model_type": "granite"},
            "model_type must be one of llama, mistral, qwen2, the",
        ),
        (
            {"model_type": "mistral", "sliding_window": 64},
            "attention must reach back to the start, the model has a window of 64",
        ),
        ({"hidden_act": "gelu"}, "hidden_act must be silu, the model has 'gelu'"),
        (
            {"rope_scaling": {"rope_type": "yarn"}},
            "rope_type must be default, the model has 'yarn'",
        ),
        ({"num_hidden_layers": 1}, "a Llama model has no model.layers.1"),
        ({"num_hidden_layers": 3}, "a Llama model has model.layers.2"),
    ],
)
def test_models_of_another_architecture_are_not_exported(folder, tmp_path, change, sentence):
    from sim.inference.onnx_export import export

    other = copied(folder, tmp_path, "model.onnx")
    config = json.loads((other / "config.json").read_text()) | change
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(Refusal, match=sentence):
        export(other)
    assert not (other / "model.onnx").exists()


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("model.onnx", "needs model.onnx, .* has none; .*onnx_export"),
        ("tokenizer.json", "a model needs a tokenizer"),
        ("chat_template.jinja", "a model needs a chat template"),
        ("config.json", "a model needs config.json"),
    ],
)
def test_a_directory_that_lacks_a_part_is_refused(folder, tmp_path, without, sentence):
    with pytest.raises(Refusal, match=sentence):
        embedded(copied(folder, tmp_path, without))


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"model must be a directory with model\.onnx"):
        embedded(tmp_path / "nowhere")


def test_a_file_with_other_inputs_is_refused(folder, tmp_path):
    other = copied(folder, tmp_path, "model.onnx")
    ints, node = onnx.TensorProto.INT64, onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, ints, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "other", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), other / "model.onnx"
    )
    with pytest.raises(Refusal, match=r"model\.onnx must take .*, .* takes x"):
        embedded(other)


def test_a_damaged_file_is_refused(folder, tmp_path):
    other = copied(folder, tmp_path, "model.onnx")
    (other / "model.onnx").write_bytes(b"no model")
    with pytest.raises(Refusal, match="cannot be loaded"):
        embedded(other)


def test_the_config_names_every_argument():
    from conftest import compose

    config = compose("model=onnx", "model.model=somewhere").model
    assert set(config) == {"_target_", "_convert_", "model", "threads", *PLAIN}

import sys
from types import SimpleNamespace
from typing import Any

import sim.throughput.__main__ as throughput
from sim.throughput import models
from sim.throughput.measure import cached, measure
from sim.throughput.scripted import whole_stack


def test_the_speed_table_is_printed_for_any_sizes(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["throughput", "--agents", "20", "--n", "50000", "--times", "1"]
    )
    assert throughput.main() == 0
    out = capsys.readouterr().out
    for what in ("fixed order", "shuffled options", "one-seat", "SyncVectorEnv", "20 agents"):
        assert what in out


def test_the_whole_stack_plays_and_asks_as_much_as_its_table_says():
    run = whole_stack(20)
    assert run["n"] == 120 and run["turns"] >= 120 and run["cpu"] > 0 and run["peak"] > 0


def test_a_preset_is_measured_end_to_end_and_as_a_bare_engine(monkeypatch, capsys):
    """In this process: a new one for each measurement takes seconds to start."""
    monkeypatch.setattr(models, "apart", lambda told: measure(**told))
    arguments = ["--models", "pocket", "--agents", "5", "--alone", "0", "--set"]
    arguments += ["model.max_tokens=4", "model.batch.cache_mib=64"]
    monkeypatch.setattr(sys, "argv", ["throughput", *arguments])
    assert throughput.main() == 0
    out = capsys.readouterr().out
    for what in ("5 agents", "pocket", "decisions/s", "end to end / bare engine", "100.0%", ".."):
        assert what in out
    assert "GPU" not in out and "one call at a time" not in out and "model.generate" not in out


def test_measured_counts_are_those_of_the_study():
    told = models.settings("pocket", ["model.max_tokens=2"])
    found = measure(told, agents=5, alone=False, n_generate=0, pairs=2)
    assert found["decisions"] == 30 and found["requests"] == 30 + 2 * 4  # one is a control
    assert found["output"] <= 2 * found["requests"] and found["same"] == 1
    assert 0 < found["taken"] <= found["cacheable"] < found["prompt"]
    assert len(found["runs"]) == len(found["bares"]) == 2
    assert found["bare_cached"] <= found["prompt"]
    assert found["bare"] > 0 and found["own_cpu"] > 0 and found["gpus"] == 0
    one = measure(told, agents=5, alone=True, n_generate=0, pairs=2)
    assert one["decisions"] == 30 and "bare" not in one


def test_a_model_of_random_weights_is_served_to_presets_that_name_none(tmp_path):
    sets = ["model.model=/somewhere", "model.batch.rows=4", "seed=3"]
    assert "model.model=/somewhere" in models.settings("onnx", sets)
    assert "model.model=/somewhere" not in models.settings("pocket", sets)
    assert "model.batch.rows=4" not in models.settings("vllm", sets)
    models.random_model(tmp_path, onnx=True, width=64, layers=1)
    told = [f"model.model={tmp_path}", "model.max_tokens=2", "model.batch.cache_mib=64"]
    found = measure(models.settings("onnx", told), 5, False, 0, 1)
    assert found["decisions"] == 30 and found["same"] == 1


def test_a_setting_that_no_preset_has_is_refused(monkeypatch, capsys):
    arguments = ["--models", "pocket", "--set", "model.colour=red"]
    monkeypatch.setattr(sys, "argv", ["throughput", *arguments])
    assert throughput.main() == 1
    assert "model.colour=red" in capsys.readouterr().err


def test_cacheable_tokens_are_whole_blocks_that_an_earlier_prompt_begins_with():
    prompts = {1: [1, 2, 3, 4, 5], 2: [1, 2, 3, 4], 3: [1, 2, 9, 9, 9], 4: [9, 9, 9, 9, 9]}
    engine = SimpleNamespace(block=2, prompt=lambda request: prompts[request.slot])
    asked = [SimpleNamespace(slot=slot) for slot in prompts]
    replies = {slot: ("", len(ids), 2, 1) for slot, ids in prompts.items()}
    # The second has 2 (its last token is computed in any case), the third 2, the others none.
    watch: Any = SimpleNamespace(asked=asked, replies=replies)
    assert cached(engine, watch) == (4, 4)

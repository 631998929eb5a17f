"""One model, every engine: the same study gives the same choices.

Engines that are not installed are left out. All three: see "Engines side by side" in the README.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
from conftest import compose

from sim import run, setup
from sim.inference.models import POCKET

pytestmark = pytest.mark.filterwarnings("default")  # of the engines' own making

ENGINES = {
    "onnx": ("onnxruntime", ()),
    "transformers": ("transformers", ("model.dtype=float32", "model.device=cpu")),
    "vllm": ("vllm", ("model.engine.dtype=float32", "model.max_context=4096")),
    "vllm_server": ("vllm", ()),  # vLLM's own server, over HTTP
}
STUDY = (
    "experiment=hvae", "agent=[definition,control]", "model.model=pocket", "population.n=20",
    "model.temperature=0", "model.max_tokens=64", "fallback=0", "env.option_order=shuffled",
)  # fmt: skip


def installed(engine: str) -> bool:
    """Whether the engine and the torch that it needs are there."""
    return importlib.util.find_spec(ENGINES[engine][0]) is not None


def played(engine: str, folder, *overrides: str) -> pl.DataFrame:
    words = (f"model={engine}", *ENGINES[engine][1], *STUDY, *overrides)
    folder.mkdir(parents=True)
    run.play(setup.build(compose(*words)), folder, False, False)
    return pl.read_parquet(folder / "decisions.parquet")


@pytest.fixture(scope="module")
def server():
    """Address of a vLLM server of the pocket model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--model", str(POCKET), "--served-model-name", "pocket", "--port", str(port)]
    words += ["--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    known = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=os.environ | known, **quiet) as process:
        try:
            for _ in range(240):
                assert process.poll() is None, "the server ended"
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def tables(tmp_path_factory, request):
    """Decisions by engine and response mode, each study played once."""
    known: dict[tuple[str, str], pl.DataFrame] = {}

    def table(engine: str, mode: str) -> pl.DataFrame:
        if (engine, mode) not in known:
            folder = tmp_path_factory.mktemp("engines") / f"{engine}-{mode}"
            words = [f"response_mode={mode}"]
            if engine == "vllm_server":
                words.append(f"model.base_url={request.getfixturevalue('server')}")
            known[engine, mode] = played(engine, folder, *words)
        return known[engine, mode]

    return table


OTHERS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not installed(name), reason=f"{name} is not installed")
    )
    for name in ENGINES
    if name != "onnx"
]


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("mode", ["text", "choice", "regex", "json", "label"])
def test_greedy_choices_are_the_same_on_99_of_100_decisions(tables, engine, mode):
    ours, theirs = tables("onnx", mode), tables(engine, mode)
    assert ours.select("episode", "step").equals(theirs.select("episode", "step"))
    assert ours["action"].null_count() <= 0.03 * len(ours)
    same = (ours["action"] == theirs["action"]).fill_null(False).mean()
    print(f"{engine}, {mode}: {same:.2%} of {len(ours)} choices as by the embedded engine")
    assert same >= 0.99


@pytest.mark.parametrize("engine", OTHERS)
def test_label_probabilities_are_equal_to_a_hundredth(tables, engine):
    ours, theirs = tables("onnx", "label"), tables(engine, "label")
    # Where an earlier answer differs, so does the conversation.
    agree = (ours["action"] == theirs["action"]).to_numpy()
    first = np.array([
        agree[(ours["episode"] == e).to_numpy() & (ours["step"] <= s).to_numpy()].all()
        for e, s in ours.select("episode", "step").iter_rows()
    ])  # fmt: skip
    pairs = zip(ours["option_logprobs"], theirs["option_logprobs"], first, strict=True)
    apart = [np.abs(np.exp(a) - np.exp(b)).max() for a, b, comparable in pairs if comparable]
    print(f"{engine}: label probabilities differ by at most {max(apart):.1e}, n = {len(apart)}")
    assert len(apart) >= 0.95 * len(ours) and max(apart) < 1e-2


@pytest.mark.parametrize("engine", ["onnx", *OTHERS])
def test_a_mixed_batch_answers_like_single_requests(tables, engine, tmp_path, request):
    one = {"onnx": "model.batch.rows=1", "transformers": "model.batch.rows=1",
           "vllm": "model.chunk=1", "vllm_server": "model.calls.concurrency=1"}  # fmt: skip
    words = ["response_mode=text", "max_live=1", one[engine]]
    if engine == "vllm_server":
        words.append(f"model.base_url={request.getfixturevalue('server')}")
    alone = played(engine, tmp_path / "one", *words)
    assert (tables(engine, "text")["action"] == alone["action"]).mean() >= 0.99


def test_the_model_that_ships_has_what_every_engine_needs():
    names = {path.name for path in POCKET.iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "README.md"} <= names
    assert {"model.safetensors", "model.onnx"} <= names

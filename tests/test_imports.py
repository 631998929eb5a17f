import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("sim", "envs", "agents")
ALLOWED = {"envs": {"envs"}, "agents": {"agents"}, "sim": {"sim", "envs.base", "agents.base"}}
HEAVY = ("torch", "transformers", "vllm", "ray", "openai", "onnxruntime", "llama_cpp")
# The speed command measures concrete faces beside the runner.
EXCEPTIONS = {("sim/throughput/scripted.py", "envs.faces")}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, "from a import b" as a and as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def within(module: str, allowed: set[str]) -> bool:
    return any(
        module == a or module.startswith(f"{a}.") or a.startswith(f"{module}.") for a in allowed
    )


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room):
    for path in files(room):
        for module in imports(path):
            if module.split(".")[0] not in ROOMS:
                continue
            here = str(path.relative_to(ROOT))
            if any(here == file and within(module, {what}) for file, what in EXCEPTIONS):
                continue
            assert within(module, ALLOWED[room]), f"{here} imports {module}"


@pytest.mark.parametrize("part", ["analysis", "plots"])
def test_analysis_and_plots_know_neither_the_runner_nor_models_nor_games(part):
    for path in (ROOT / "sim" / part).glob("*.py"):
        for module in imports(path):
            for never in (
                "sim.rollout",
                "sim.talk",
                "sim.inference",
                "sim.journal",
                "envs",
                "agents",
            ):
                assert not within(module, {never}), f"{path} imports {module}"


def test_importing_the_rooms_and_composing_configs_needs_nothing_heavy():
    code = (
        "import sim, sim.run, sim.report, sim.throughput, envs.faces, agents.language, sys;"
        "from sim.configs import compose; compose();"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_rooms_are_this_checkouts_own():
    import agents
    import envs
    import sim

    for room in (sim, envs, agents):
        assert room.__file__ is not None and Path(room.__file__).is_relative_to(ROOT)


def test_the_top_level_holds_what_it_may_and_nothing_else():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("no git checkout")
    top = {name.split("/")[0] for name in listed.stdout.split()}
    allowed = {"pyproject.toml", "README.md", "LICENSE", *ROOMS, "conf", "tests", "outputs"}
    assert {name for name in top if not name.startswith(".")} <= allowed

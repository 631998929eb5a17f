"""Every block of the README does what it says, in a copy of the house."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
FILES = {
    match[1]: text
    for kind, text in BLOCKS
    if kind in ("python", "yaml") and (match := re.match(r"(?:# @.*\n)?# (\w+/\S+)\n", text))
}
COMMANDS = [text for kind, text in BLOCKS if kind == "bash"]
SCRIPTS = [text for kind, text in BLOCKS if kind == "python" and text not in FILES.values()]
# Sizes of the speed table: the shape is tested here, the speeds are measured by hand.
SHORTER = {
    "sim.throughput": "sim.throughput --agents 20 --n 50000 --times 1",
    "--agents 200": "--agents 5 --alone 0 --pairs 1",
    "sim.calibrate ": "sim.calibrate --agents 5 --studies 2 --people 50 ",
    "sim.calibrate_dilemmas": "sim.calibrate_dilemmas --nulls 2 --shifts 2",
    "--analysis 10000000": "--analysis 300000",
}


@pytest.fixture
def house(tmp_path):
    """The rooms, with the files that the README adds."""
    for room in ("sim", "envs", "agents", "conf"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (tmp_path / name).exists(), f"{name} would not be a new file"
        (tmp_path / name).write_text(text)
    return tmp_path


def runs(house: Path) -> list[Path]:
    found = house.glob("outputs/**/journal.sqlite")
    return sorted((path.parent for path in found), key=lambda run: run.name)


def typed(house: Path, line: str) -> str:
    """Types a line of the README, RUN and SWEEP filled in; returns what it printed."""
    if "RUN" in line:
        line = line.replace("RUN", str(runs(house)[0]))
    if "SWEEP" in line:
        line = line.replace("SWEEP", str(next(house.glob("outputs/*/*_sweep"))))
    for long, short in SHORTER.items():
        line = line.replace(long, short)
    line = line.replace("python ", f"{sys.executable} ")
    done = subprocess.run(["bash", "-c", line], cwd=house, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("block", COMMANDS, ids=lambda text: text.split("\n")[0][:50])
def test_every_command_of_the_readme_runs(house, block):
    for line in block.splitlines():
        if "pytest" in line:  # this is it
            continue
        assert typed(house, line.removeprefix("pip install -e . && "))


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_every_script_of_the_readme_runs(house, script):
    if '"RUN"' in script:
        typed(house, "python -m sim experiment=hvae 'analysis=[]'")
        script = script.replace("RUN", str(runs(house)[0]))
    (house / "script.py").write_text(script)
    typed(house, "python script.py")


def test_the_readme_has_its_picture_its_two_commands_and_a_short_loop():
    text = (ROOT / "README.md").read_text()
    for picture in re.findall(r"!\[[^]]+\]\((\S+)\)", text):
        assert (ROOT / picture).stat().st_size > 10_000
    assert len(re.findall(r"^pip install ", text, re.M)) == 2
    (loop,) = (script for script in SCRIPTS if "env.step" in script)
    assert len(loop.split("\n\n")[1].strip().splitlines()) == 6

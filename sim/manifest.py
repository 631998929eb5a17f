"""What a run folder says of itself: `manifest.json`."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sim.errors import Refusal

PACKAGES = (
    "gymnasium", "hydra-core", "llguidance", "matplotlib", "numpy", "onnxruntime", "pettingzoo",
    "polars", "scipy", "tokenizers",
)  # fmt: skip
ENGINES = (
    "aiohttp",
    "openai",
    "torch",
    "transformers",
    "vllm",
)  # where one of them serves the model
ROOT = Path(__file__).resolve().parent.parent


def commit() -> str | None:
    """Commit of the code, with "+" if it was changed since; None outside a git checkout."""

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        run.check_returncode()
        return run.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None  # shown as unknown: use without git is no fault


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results can depend on."""
    used = [*PACKAGES, *(name for name in ENGINES if name in sys.modules)]
    found = {name: str(getattr(sys.modules.get(name), "__version__", "")) for name in ENGINES}
    return {"python": platform.python_version()} | {n: found.get(n) or version(n) for n in used}


def plain(about: dict[str, Any]) -> dict[str, Any]:
    """A manifest as `read` gives it back."""
    return json.loads(json.dumps(about, sort_keys=True))


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest; a reader sees the old one or the new one, never half of one."""
    beside = folder / "manifest.partial"
    beside.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    beside.replace(folder / "manifest.json")


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        FileNotFoundError: there is none.
        Refusal: it is damaged.
    """
    path = folder / "manifest.json"
    try:
        found = json.loads(path.read_text())
    except ValueError as fault:
        raise Refusal(f"{path} cannot be read: {fault}") from fault
    if not isinstance(found, dict) or "config_hash" not in found or "status" not in found:
        raise Refusal(f"{path} must hold a run's manifest, got something else")
    return found

"""Where a model's files are: a local directory, or fetched from the Hugging Face hub."""

import hashlib
from pathlib import Path
from typing import Any

from sim.errors import Refusal

WHOLE = 2**26  # bytes of a file that are hashed in one piece; of a larger one as many samples
FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]  # no pickles
TWICE = ["original/*", "consolidated*", "metal/*"]  # the same weights in other layouts

POCKET = Path(__file__).resolve().parent.parent / "pocket" / "weights"


def local(model: str) -> Path | None:
    """Directory of a model that is on this machine: a path, or `pocket` for the project's own."""
    folder = POCKET if model == "pocket" else Path(model).expanduser()
    return folder if folder.is_dir() else None


def find(model: str, revision: str | None, code: bool = False) -> tuple[Path, str | None]:
    """Directory of a model's files and the commit they are of.

    Args:
        model: a local directory, `pocket`, or an id on the hub.
        revision: branch, tag or commit on the hub; None for the main branch.
        code: whether Python files are fetched too.

    Raises:
        Refusal: there is no such directory and nothing to fetch.
    """
    folder = local(model)
    if folder is not None:
        if revision is not None:
            raise Refusal(f"revision is for models of the hub, {model} is a local directory")
        return folder, None
    if model.startswith(("/", "./", "../", "~")):
        raise Refusal(f"model must be a directory or an id on the hub, got {model!r}: not there")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = [*FILES, "*.py"] if code else FILES
        found = Path(
            snapshot_download(
                model, revision=revision, allow_patterns=wanted, ignore_patterns=TWICE
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as fault:
        why = str(fault).strip().splitlines()[0]
        raise Refusal(
            f"model must be a directory or an id on the hub, got {model!r}: {why}"
        ) from fault
    return found, found.name


def weights(folder: Path) -> list[dict[str, Any]]:
    """What tells the model in a directory from another: its weights and how they are computed."""
    return fingerprint(folder, "*.safetensors") + fingerprint(folder, "config.json")


def fingerprint(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """What tells weights from others: name, bytes and hash of each file that fits the pattern.

    Of files beyond 64 MiB 4,096 evenly spread pieces are hashed: reading all of a large model
    would take as long as loading it, and training leaves no piece as it was.
    """
    found = []
    for path in sorted(folder.glob(pattern)):
        size = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as file:
            if size <= WHOLE:
                digest.update(file.read())
            else:
                for k in range(4096):
                    file.seek(k * (size // 4096))
                    digest.update(file.read(WHOLE // 4096))
        found.append({"file": path.name, "bytes": size, "sha256": digest.hexdigest()})
    return found

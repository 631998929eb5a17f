"""CPU time and memory of this process and those that it started, and its GPUs."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from time import process_time

import numpy as np
from omegaconf import DictConfig


def _family() -> list[int]:
    """This process and those it started, where there is /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    ours, more = set(), {os.getpid()} & parents.keys()
    while more:
        ours |= more
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
    return sorted(ours)


def cpu() -> float:
    """CPU seconds of this process and those it started."""
    ticks = 0
    for pid in set(_family()) - {os.getpid()}:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return process_time() + ticks / os.sysconf("SC_CLK_TCK")


def peak() -> float:
    """MiB of this process and those it started, each at its own highest."""
    kib = 0
    for pid in _family():
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{pid}/status").read_text()
            kib += int(status.partition("VmHWM:")[2].split()[0])
    return (kib or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**10


def gpus(model: DictConfig) -> int:
    """GPUs that the engine computes on."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or model.get("device") == "cpu":
        return 0
    sizes = [model.get("engine", {}).get(f"{way}_parallel_size") for way in ("tensor", "pipeline")]
    return int(np.prod([size or 1 for size in sizes]))

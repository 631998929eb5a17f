"""Trains the pocket model: `python -m sim.pocket.train`.

The same seed gives the same weights on one machine. Files are written when the training is over.
Needs the extra `train` and, on a CPU, a C++ compiler.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sim.pocket.batches import LONG

STEPS = 9500
VOCABULARY = 2048
WEIGHTS = Path(__file__).parent / "weights"


def draw_curve(lines: list[dict[str, float]], path: Path) -> None:
    """Writes the loss curve as CSV and, beside it, as a figure."""
    import matplotlib.pyplot as plt

    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow({k: int(v) if k == "step" else round(v, 4) for k, v in line.items()})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    steps = [line["step"] for line in lines]
    for name in ("answers", "words"):
        left.plot(steps, [line[name] for line in lines], label=name)
    left.set(xlabel="step", ylabel="cross-entropy, nats", yscale="log")
    left.legend(frameon=False)
    for name, label in (("near_best", "wordings of the training"), ("unseen_wordings", "unseen")):
        right.plot(steps, [100 * line[name] for line in lines], label=label)
    right.set(xlabel="step", ylabel="takes one of the best options, %", ylim=(0, 100))
    right.legend(frameon=False)
    figure.savefig(path.with_suffix(".png"), dpi=150)
    plt.close(figure)


def main() -> int:
    """Trains, exports and says how it goes; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sim.pocket.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default: {STEPS}")
    parser.add_argument("--tokens", type=int, default=9216, help="of a batch (default: 9216)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="directory to write")
    given = parser.parse_args()
    if given.tokens < LONG:
        parser.error(f"--tokens must be {LONG} or more, got {given.tokens}")
    try:
        import onnx  # noqa: F401  (at the end, for the export)

        from sim.inference.onnx_export import export
        from sim.pocket.learning import train
        from sim.pocket.network import Shape
    except ImportError as fault:
        print(
            f"refused: training needs the extra train: pip install -e '.[train]' ({fault})",
            file=sys.stderr,
        )
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    lines = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Apart, until all of it is there: new tokens and old weights would make nonsense.
    with Progress(*columns) as progress, tempfile.TemporaryDirectory() as folder:
        task = progress.add_task("training", total=given.steps)
        shape = Shape(VOCABULARY)
        for line in train(shape, given.seed, given.steps, given.tokens, given.device, Path(folder)):
            lines.append(line)
            told = f"loss {line['answers']:.3f}, best option {line['near_best']:.1%}"
            told += f", in unseen wordings {line['unseen_wordings']:.1%}"
            progress.update(task, completed=line["step"], description=told)
            if not progress.console.is_terminal:
                print(f"step {line['step']}: {told}", flush=True)
        draw_curve(lines, Path(folder) / "training.csv")
        told = {"seed": given.seed, "steps": given.steps, "tokens": given.tokens}
        told["device"] = f"{os.cpu_count()} CPU cores" if given.device == "cpu" else given.device
        (Path(folder) / "training.json").write_text(json.dumps(told, indent=1) + "\n")
        export(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            shutil.copyfile(path, given.out / path.name)
    where = "" if given.out == WEIGHTS else f" --weights {given.out}"
    print(f"weights: {given.out}; now `python -m sim.pocket.evaluate{where} --card`")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Trains the pocket model: `python -m sim.pocket.train`.

Text, tokenizer and weights follow from the seed: on the CPU of one machine, with as many threads,
the same seed gives the same weights. Nothing is written before the training is over.
"""

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from sim.inference.onnx_export import export
from sim.pocket.batches import LONG, ROW, WORD, Batch, Rows, encode, stream
from sim.pocket.encode import END, PAD, Encoder, save, texts_of, train_tokenizer
from sim.pocket.games import LAPSE
from sim.pocket.kept_out import kept_out
from sim.pocket.network import Pocket, Shape
from sim.pocket.text import Writer
from sim.pocket.words import FRAMES

READ = 0.02  # weight of a point of error in reading and finding payoffs
FINE = 0.96  # share of the steps in bfloat16, five times as fast; the rest is fine work
COMPILED = 200  # steps from which it pays to fuse what is between the products: twice as fast
TORN = 0.06  # chance of a cut behind a character, in a third of the conversations
POINTS = 100.0  # payoffs are read in hundreds
VOCABULARY = 2048
EVERY = 250  # steps to a line of the loss curve
TESTED = 18  # rows of the batches that it is tested on
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Stage:
    """A part of the training, with optimisers of its own.

    Attributes:
        steps: of it.
        lr: highest learning rate.
        frames: share of other option lines that are said with made-up words.
        lapse: share of choices made by lot.
    """

    steps: int
    lr: float
    frames: float
    lapse: float

    def writer(self) -> Writer:
        """Of its text."""
        return Writer(kept_out(), frames=self.frames, lapse=self.lapse)


# First to read and compare what is said in known ways, then in ways that nobody has met.
STAGES = (Stage(7000, 3e-3, 0.0, 0.015), Stage(2000, 1.5e-3, FRAMES, LAPSE))


def arrays(batch: Batch, device: str) -> list[Tensor]:
    """What the network reads of a batch."""
    return [torch.from_numpy(x).to(device) for x in (batch.ids, batch.positions, batch.whose)]


def losses(model: Pocket, batch: Batch, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(answers, words, readings, findings): mean losses of a batch.

    Cross-entropy of the answers' labels against how much each is wanted, cross-entropy of
    the other tokens of replies, and the errors, in points, in reading each option's payoffs and
    in telling those of the wanted option.
    """
    last, middle = (h.flatten(0, 1) for h in model(*arrays(batch, device)))
    places = torch.from_numpy(np.concatenate([batch.answers, batch.words])).to(device)
    logits = functional.linear(last[places], model.embed_tokens.weight)
    n = len(batch.answers)
    logp = logits[:n].log_softmax(-1).gather(1, torch.from_numpy(batch.labels).to(device))
    wanted = torch.from_numpy(batch.wanted).to(device)
    answers = -(wanted * logp).sum(1).mean() if n else logits.sum() * 0
    words = functional.cross_entropy(logits[n:], torch.from_numpy(batch.targets).to(device))
    read = model.reads(middle[torch.from_numpy(batch.lines).to(device)])
    paid = torch.from_numpy(batch.payoffs).to(device) / POINTS
    found = model.finds(last[places[:n]][torch.from_numpy(batch.paying).to(device)])
    best = torch.from_numpy(batch.found).to(device) / POINTS
    readings, findings = (
        functional.smooth_l1_loss(*x, beta=0.05) * POINTS for x in ((read, paid), (found, best))
    )
    return answers, words, readings, findings


def optimisers(model: Pocket, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, Adam for all else."""
    matrices = [
        p for name, p in model.named_parameters() if name.startswith("layers") and p.dim() == 2
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: a short rise, then down to nothing."""
    rise = min(200, steps // 10 + 1)
    return min((step + 1) / rise, 1.0) * min(1.0, (steps - step) / (0.6 * steps))


def near_best(model: Pocket, batch: Batch, device: str) -> list[bool]:
    """Whether the likeliest label is one of the best, of each answer about points.

    The training draws one of the best a tenth as often as the best of all, or more often.
    """
    with torch.no_grad():
        last, _ = model(*arrays(batch, device))
        places = torch.from_numpy(batch.answers).to(device)
        logits = (
            functional.linear(last.flatten(0, 1)[places], model.embed_tokens.weight).cpu().numpy()
        )
    good = []
    for row, labels, wanted, exchange in zip(
        logits, batch.labels, batch.wanted, batch.choices, strict=True
    ):
        if exchange.choice is not None and exchange.choice.payoffs is not None:
            n = len(exchange.choice.labels)
            good.append(wanted[row[labels[:n]].argmax()] > 0.1 * wanted.max())
    return good


def tests_of(writer: Writer, seed: list[int], encoder: Encoder) -> list[Batch]:
    """Some conversations as batches of the usual shape; those too long for it are left out."""
    rows = Rows(ROW, TESTED)
    conversations = (writer.conversation(np.random.default_rng([*seed, k])) for k in range(300))
    batches = (
        rows.put(c) for c in (encode(e, encoder) for e in conversations) if len(c.ids) <= ROW
    )
    return [batch for batch in batches if batch is not None]


def schedule(writer: Writer, step: int, steps: int) -> None:
    """Few options and short conversations first, so that reading comes before comparing."""
    grown = min(1.0, step / (0.15 * steps))
    writer.max_options = 3 + round(6 * grown)


def train(
    shape: Shape,
    seed: int,
    stages: Sequence[Stage],
    tokens: int,
    device: str,
    folder: Path,
    start: Path | None = None,
) -> Iterator[dict[str, float]]:
    """Trains and saves; yields a line of the loss curve now and then.

    Args:
        shape: of the network.
        seed: of text and weights.
        stages: one after another, each from the saved weights of the one before.
        tokens: of a batch.
        device: of torch.
        folder: is written.
        start: directory with the weights of the first stage, which is left out then.

    Raises:
        ValueError: the longest conversation does not fit into a batch.
    """
    if tokens < LONG:
        raise ValueError(f"a batch must have {LONG} tokens or more, got {tokens}")
    torch.use_deterministic_algorithms(device == "cpu")
    first = stages[0].writer()
    sample = (first.conversation(np.random.default_rng([seed, 1, k])) for k in range(4000))
    tokenizer = train_tokenizer((t for c in sample for t in texts_of(c)), shape.vocab_size)
    plain, torn = Encoder(tokenizer), Encoder(tokenizer, TORN)
    save(tokenizer, folder)
    ids = {"bos_token_id": PAD, "pad_token_id": PAD, "eos_token_id": END}
    (folder / "config.json").write_text(json.dumps(shape.config(ids), indent=1) + "\n")
    # Other conversations of the training's kind, and some in wordings that are kept out of it.
    usual = tests_of(stages[0].writer(), [seed, 2], plain)
    unseen = tests_of(Writer(kept_out(), words="held_out", others=1.0), [seed, 3], plain)
    begin = time.monotonic()
    for number, stage in enumerate(stages):
        if number == 0 and start is not None:
            shutil.copy(start / "model.safetensors", folder)
            continue
        torch.manual_seed(seed)
        model = Pocket(shape).to(device)
        if number:
            model.take(load_file(folder / "model.safetensors", device=device))
        if stage.steps >= COMPILED:
            for layer in model.layers:  # one by one: compiled once for all
                layer.compile(dynamic=False)
        writer = stage.writer()
        batches = stream(writer, plain, torn, 1000 * number + seed, tokens)
        done = sum(s.steps for s in stages[:number])
        for step, sums in _steps(model, stage, number == 0, writer, batches, device):
            good, strange = (
                float(np.mean([g for batch in tests for g in near_best(model, batch, device)]))
                for tests in (usual, unseen)
            )
            yield {
                "step": done + step, "answers": sums[0], "words": sums[1],
                "readings": sums[2], "findings": sums[3], "near_best": good,
                "unseen_wordings": strange, "seconds": time.monotonic() - begin,
            }  # fmt: skip
        save_file(model.weights(), folder / "model.safetensors", {"format": "pt"})


def _steps(
    model: Pocket,
    stage: Stage,
    growing: bool,
    writer: Writer,
    batches: Iterator[Batch],
    device: str,
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Goes through a stage; yields steps done and mean losses since the last time."""
    opts = optimisers(model, stage.lr)
    sums, steps = np.zeros(4), stage.steps
    for step in range(steps):
        if growing:
            schedule(writer, step, steps)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = stage.lr * rate(step, steps)
            opt.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=step < FINE * steps):
            answers, words, readings, findings = losses(model, next(batches), device)
        (answers + WORD * words + READ * (readings + findings)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        sums += [answers.item(), words.item(), readings.item(), findings.item()]
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            yield step + 1, sums / (step % EVERY + 1)
            sums[:] = 0


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
    whole = sum(stage.steps for stage in STAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=whole, help=f"in all (default: {whole})")
    parser.add_argument("--tokens", type=int, default=9216, help="of a batch (default: 9216)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--stages", type=int, default=2, choices=[1, 2], help="how many")
    parser.add_argument("--start", type=Path, help="what --stages 1 --out wrote: goes on from it")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="directory to write")
    given = parser.parse_args()
    if given.tokens < LONG:
        parser.error(f"--tokens must be {LONG} or more, got {given.tokens}")
    if given.start and (given.stages < 2 or not (given.start / "model.safetensors").is_file()):
        parser.error(f"--start must hold model.safetensors and leave a stage, got {given.start}")
    stages = [replace(s, steps=round(s.steps * given.steps / whole)) for s in STAGES]
    given.out.mkdir(parents=True, exist_ok=True)
    lines = _earlier(given.start) if given.start else []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Apart, until all of it is there: new tokens and old weights would make nonsense.
    with Progress(*columns) as progress, tempfile.TemporaryDirectory() as folder:
        task = progress.add_task("training", total=sum(s.steps for s in stages[: given.stages]))
        spent = lines[-1]["seconds"] if lines else 0.0
        for line in train(
            Shape(VOCABULARY), given.seed, stages[: given.stages], given.tokens, given.device,
            Path(folder), given.start,
        ):  # fmt: skip
            lines.append(line | {"seconds": spent + line["seconds"]})
            told = f"loss {line['answers']:.3f}, best option {line['near_best']:.1%}"
            told += f", in unseen wordings {line['unseen_wordings']:.1%}"
            progress.update(task, completed=line["step"], description=told)
            if not progress.console.is_terminal:
                print(f"step {line['step']}: {told}", flush=True)
        draw_curve(lines, Path(folder) / "training.csv")
        export(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            shutil.copyfile(path, given.out / path.name)
    where = "" if given.out == WEIGHTS else f" --weights {given.out}"
    print(f"weights: {given.out}; now `python -m sim.pocket.evaluate{where}`")
    return 0


def _earlier(folder: Path) -> list[dict[str, float]]:
    """Lines of the loss curve of the first stage."""
    with (folder / "training.csv").open(newline="") as file:
        return [{k: float(v) for k, v in line.items()} for line in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())

"""How the pocket model learns: losses, optimisers, schedule and the loop over batches.

Text, tokenizer and weights follow from the seed: on the CPU of one machine, with as many threads,
the same seed gives the same weights.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from sim.pocket.batches import LONG, ROW, WORD, Batch, Rows, encode, stream
from sim.pocket.encode import END, PAD, Encoder, load, save, texts_of, train_tokenizer
from sim.pocket.kept_out import kept_out
from sim.pocket.network import Pocket, Shape
from sim.pocket.speech import FRAMES
from sim.pocket.text import Writer

READ = 0.02  # weight of a point of error in reading and finding payoffs
RATE = 3e-3
FINE = 0.95  # share of the steps in bfloat16, twice as fast; the rest is fine work
COMPILED = 200  # steps from which it pays to fuse what is between the products: twice as fast
TORN = 0.06  # chance of a cut behind a character, in a third of the conversations
POINTS = 100.0  # payoffs are read in hundreds
EVERY = 250  # steps to a line of the loss curve
TESTED = 18  # rows of the batches that it is tested on


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


def optimisers(model: Pocket) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, Adam for all else."""
    matrices = [
        p for name, p in model.named_parameters() if name.startswith("layers") and p.dim() == 2
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, steps: int) -> float:
    """Learning rate: a short rise, then down to nothing."""
    rise = min(200, steps // 10 + 1)
    return RATE * min((step + 1) / rise, 1.0) * min(1.0, (steps - step) / (0.6 * steps))


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
    """Few options first, so that reading comes before comparing; made-up words later."""
    writer.max_options = 3 + round(6 * min(1.0, step / (0.15 * steps)))
    writer.frames = FRAMES * min(1.0, max(0.0, step / steps - 0.1) / 0.2)


class Text(IterableDataset):
    """The batches of a training: a function of its arguments, so a process of its own makes them.

    Args:
        folder: has the tokenizer.
        seed: of the text.
        steps: batches.
        tokens: of a batch.
    """

    def __init__(self, folder: Path, seed: int, steps: int, tokens: int):
        self._folder, self._seed, self._steps, self._tokens = folder, seed, steps, tokens

    def __iter__(self) -> Iterator[Batch]:
        tokenizer = load(self._folder)
        writer = Writer(kept_out())
        plain, torn = Encoder(tokenizer), Encoder(tokenizer, TORN)
        batches = stream(writer, plain, torn, self._seed, self._tokens)
        for step in range(self._steps):
            schedule(writer, step, self._steps)
            yield next(batches)


def train(
    shape: Shape, seed: int, steps: int, tokens: int, device: str, folder: Path
) -> Iterator[dict[str, float]]:
    """Trains and saves; yields a line of the loss curve now and then.

    Args:
        shape: of the network.
        seed: of text and weights.
        steps: batches.
        tokens: of a batch.
        device: of torch.
        folder: is written.

    Raises:
        ValueError: the longest conversation does not fit into a batch.
    """
    if tokens < LONG:
        raise ValueError(f"a batch must have {LONG} tokens or more, got {tokens}")
    torch.use_deterministic_algorithms(device == "cpu")
    torch.manual_seed(seed)
    writer = Writer(kept_out())
    sample = (writer.conversation(np.random.default_rng([seed, 1, k])) for k in range(4000))
    tokenizer = train_tokenizer((t for c in sample for t in texts_of(c)), shape.vocab_size)
    plain = Encoder(tokenizer)
    save(tokenizer, folder)
    ids = {"bos_token_id": PAD, "pad_token_id": PAD, "eos_token_id": END}
    (folder / "config.json").write_text(json.dumps(shape.config(ids), indent=1) + "\n")
    # Other conversations of the training's kind, and some in wordings that are kept out of it.
    usual = tests_of(writer, [seed, 2], plain)
    unseen = tests_of(Writer(kept_out(), words="development", others=1.0), [seed, 3], plain)
    model = Pocket(shape).to(device)
    if steps >= COMPILED:
        for layer in model.layers:  # one by one: compiled once for all
            layer.compile(dynamic=False)
    opts = optimisers(model)
    text = Text(folder, seed, steps, tokens)
    batches = DataLoader(text, batch_size=None, num_workers=1, prefetch_factor=16)
    begin, sums = time.monotonic(), np.zeros(4)
    for step, batch in enumerate(batches):
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = rate(step, steps)
            opt.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=step < FINE * steps):
            answers, words, readings, findings = losses(model, batch, device)
        (answers + WORD * words + READ * (readings + findings)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        sums += [answers.item(), words.item(), readings.item(), findings.item()]
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            good, strange = (
                float(np.mean([g for batch in tests for g in near_best(model, batch, device)]))
                for tests in (usual, unseen)
            )
            mean = sums / (step % EVERY + 1)
            yield {
                "step": step + 1, "answers": mean[0], "words": mean[1],
                "readings": mean[2], "findings": mean[3], "near_best": good,
                "unseen_wordings": strange, "seconds": time.monotonic() - begin,
            }  # fmt: skip
            sums[:] = 0
    save_file(model.weights(), folder / "model.safetensors", {"format": "pt"})

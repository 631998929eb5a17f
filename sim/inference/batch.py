"""Rows that decode together, and what is drawn for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.base import key, uniform
from sim.inference.jobs import Job
from sim.inference.kv import SPARE, Past
from sim.inference.network import Network, Sampling


@dataclass(slots=True)
class Batch:
    """Rows that decode together: their jobs, keys and values, and first columns.

    A row whose job was handed out has none: it computes on, unheard, until another takes it.
    """

    jobs: list[Job | None]
    past: Past
    starts: NDArray[np.int64]

    def open(self) -> list[tuple[int, Job]]:
        """Rows that have a job."""
        return [(row, job) for row, job in enumerate(self.jobs) if job is not None]

    def take_in(self, entered: Sequence["Batch"]) -> bool:
        """Lets rows take the places of those that are over, where the batch is good for it.

        It is not where half of what it computes would be for nobody.
        """
        joining = [(other, row, job) for other in entered for row, job in other.open()]
        free = [row for row, job in enumerate(self.jobs) if job is None]
        n_live = len(self.jobs) - len(free) + len(joining)
        lengths = [other.past.width - int(other.starts[row]) for other, row, _ in joining]
        longest = max((self.past.width - int(self.starts[r]) for r, _ in self.open()), default=0)
        used = max([longest, *lengths])
        if len(joining) > len(free) or 2 * n_live < len(self.jobs):
            return False
        if max(lengths, default=0) > self.past.width or 3 * self.past.width > 4 * used + SPARE:
            return False
        for (other, row, job), place, length in zip(joining, free, lengths, strict=False):
            self.past.copy(place, other.past, row, length)
            self.jobs[place] = job
            self.starts[place] = self.past.width - length
        return True


def note(
    jobs: Sequence[Job | None],
    logits: Any,
    network: Network,
    sampling: Sampling,
    stops: Collection[int],
    name: str,
) -> None:
    """Draws the next token of each job, or scores its labels, and notes which jobs are over.

    Args:
        jobs: one for each row; None where nobody listens.
        logits: (rows, vocabulary), of the network.
        network: that gave them.
        sampling: how tokens are chosen.
        stops: tokens that end a reply.
        name: of the model, for messages.
    """
    broken = network.broken(logits).tolist()
    for row, job in enumerate(jobs):
        if broken[row] and job is not None and job.finish is None:
            # The first token would be taken for the likeliest.
            job.finish, job.ended = "error", perf_counter()
            job.error = f"NotANumber: {name} gave logits that are no numbers; try dtype"
    counts = np.array([len(job.out) if job else 0 for job in jobs])
    seeds = np.array([job.seed if job else 0 for job in jobs], np.uint64)
    u = uniform(key(seeds, "token", counts))[:, 0]
    allowed = None
    for row, job in enumerate(jobs):
        if job is not None and job.matcher is not None and job.finish is None:
            if allowed is None:
                allowed = np.ones(tuple(logits.shape), bool)
            allowed[row] = job.matcher.allowed()
    tokens = network.choose(logits, u, sampling, allowed).tolist()
    for row, (job, token) in enumerate(zip(jobs, tokens, strict=True)):
        if job is None or job.finish is not None:
            continue
        if job.labels is not None:
            job.logprobs = network.logprobs(logits, row, job.labels)
            job.finish = "stop"
        else:
            job.out.append(token)
            over = job.matcher is not None and job.matcher.take(token)
            if over or token in stops:
                job.finish = "stop"
            elif len(job.out) >= job.limit:
                job.finish = "length"
        if job.finish is not None:
            job.ended = perf_counter()

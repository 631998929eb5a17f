"""The decoding loop of the in-process engines: batches that rows leave and enter.

Only what is new of a prompt is computed: the rest is kept from earlier turns, or, where several
waiting prompts begin alike, computed by the first and taken by the others. Rows decode together
until a quarter of them has ended; these are handed out, and what was asked meanwhile takes their
places: to build the batch anew is to copy all its keys and values.
"""

import sys
from collections.abc import Sequence
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

from sim.inference.batch import Batch, note
from sim.inference.jobs import Job, Limits
from sim.inference.kv import BLOCK, SPARE, Store, stack
from sim.inference.network import Network, Sampling
from sim.inference.waiting import Waiting

LEAST = 64  # tokens of a prompt that are computed at once where memory is short
SHARED = 3  # blocks that a prompt must have in common with another to wait for it


Entry = tuple[Job, list[int]]  # with the numbers of the blocks that are kept of it


class Decoder:
    """Continues sequences in batches.

    Args:
        network: computes.
        sampling: how tokens are chosen.
        stops: tokens that end a reply.
        limits: sizes of batches.
        name: of the model, for messages.
    """

    def __init__(
        self, network: Network, sampling: Sampling, stops: Sequence[int], limits: Limits, name: str
    ):
        self._network, self._sampling, self._stops = network, sampling, frozenset(stops)
        self._name, self._rows, self._tokens = name, limits.rows, limits.tokens
        token = network.item * sum(heads * size for heads, size in network.shapes)
        self._columns = limits.decode_mib * 2**20 // token  # of all rows together
        n_blocks = limits.cache_mib * 2**20 // (token * BLOCK)
        self._store = Store(n_blocks, network)
        self._waiting: Waiting[Job] = Waiting()
        self._numbers = count()
        self._batch: Batch | None = None
        self._over: list[Job] = []  # not handed out yet
        self._told = False  # that memory ran out

    def add(self, jobs: Sequence[Job]) -> None:
        """Takes jobs."""
        for job in jobs:
            job.number = next(self._numbers)
        self._wait(jobs)

    def run(self) -> list[Job]:
        """Finished jobs, at least one as long as any is open."""
        while not self._over and (self._waiting or self._batch is not None):
            self._merge(self._admit())
            batch = self._batch
            while not self._over and batch is not None and batch is self._batch:
                self._step(batch)
                opened = batch.open()
                if 4 * sum(job.finish is not None for _, job in opened) >= len(opened):
                    self._merge([])
        over, self._over = self._over, []
        return over

    # -- entering ---------------------------------------------------------------------------

    def _admit(self) -> list[Batch]:
        """Computes the prompts of waiting jobs as far as there is room."""
        entered: list[Batch] = []
        while wave := self._wave(entered):
            groups = self._groups(wave)
            for i, group in enumerate(groups):
                batch = self._prefill(group, alone=not entered and self._batch is None)
                if batch is None:  # memory ran out: they wait for a smaller batch
                    self._again([job for rest in groups[i:] for job, _ in rest])
                    return entered
                entered.append(batch)
        return entered

    def _wave(self, entered: Sequence[Batch]) -> list[Entry]:
        """Waiting jobs whose prompts are computed now.

        A job that shares blocks with another of the wave waits for the next: then they are kept.
        """
        batches = [*entered, self._batch] if self._batch is not None else entered
        jobs = [job for batch in batches for _, job in batch.open()]
        n, width = len(jobs), max((job.most for job in jobs), default=0)
        wave: list[Entry] = []
        later: list[Job] = []
        coming: set[bytes] = set()
        while self._waiting and n < self._rows:
            _, job = self._waiting.take()
            width = max(width, job.most)
            if n and (n + 1) * width > self._columns:
                later.append(job)
                break
            hashes = job.hashes()
            found = self._store.find(hashes)
            shared = len(found) + SHARED - 1
            if self._store.n_blocks and shared < len(hashes) and hashes[shared] in coming:
                later.append(job)
                continue
            coming.update(hashes[len(found) :])
            wave.append((job, found))
            n += 1
        self._wait(later)
        return wave

    def _groups(self, wave: list[Entry]) -> list[list[Entry]]:
        """The wave in groups that have about equally much to compute."""
        groups: list[list[Entry]] = []
        for entry in sorted(wave, key=_n_new, reverse=True):
            if groups:
                most = _n_new(groups[-1][0])
                if most - _n_new(entry) <= max(BLOCK, most // 4):
                    groups[-1].append(entry)
                    continue
            groups.append([entry])
        return groups

    def _prefill(self, group: list[Entry], alone: bool) -> Batch | None:
        """Computes the prompts of a group and the first token behind each."""
        now = perf_counter()
        jobs = [job for job, _ in group]
        # Found anew: what an earlier group kept may have taken the place of some.
        group = [(job, self._store.find(job.hashes())) for job in jobs]
        n_new = max(_n_new(entry) for entry in group)
        total = np.array([job.length for job in jobs])
        # Who has less that is new computes some of what is kept again, in place of padding.
        used = np.maximum(total - n_new, 0)
        starts = int(used.max()) + n_new - total
        ids = np.zeros((len(jobs), n_new), np.int64)
        for row, job in enumerate(jobs):
            ids[row, -min(n_new, job.length) :] = job.known()[-n_new:]
        try:
            found = [blocks for _, blocks in group]
            past = self._store.restore(found, used.tolist(), int(used.max()) + n_new + SPARE)
            piece = max(1, self._tokens // len(jobs))
            logits = None
            for at in range(0, n_new, piece):
                logits = self._network.forward(past, ids[:, at : at + piece], starts)
            for job, kept in zip(jobs, used.tolist(), strict=True):
                if job.cached is None:
                    job.cached, job.began = kept, now
            self._store.save(past, range(len(jobs)), starts, [job.hashes() for job in jobs])
            self._note(jobs, logits)
        except Exception as fault:
            if not self._network.ran_out(fault):
                raise
            self._shrink(jobs, alone, fault)
            return None
        return Batch(list(jobs), past, starts)

    # -- decoding ---------------------------------------------------------------------------

    def _step(self, batch: Batch) -> None:
        """One more token for every row; rows that are over compute on and are not heard."""
        last = np.array([[job.out[-1] if job else 0] for job in batch.jobs], np.int64)
        width = batch.past.width
        try:
            logits = self._network.forward(batch.past, last, batch.starts)
            self._note(batch.jobs, logits)
        except Exception as fault:
            if not self._network.ran_out(fault):
                raise
            batch.past.width = width  # the token will be computed again
            self._shrink(batch.jobs, True, fault)
            self._merge([], keep=(len(batch.jobs) + 1) // 2)

    def _note(self, jobs: Sequence[Job | None], logits: Any) -> None:
        note(jobs, logits, self._network, self._sampling, self._stops, self._name)

    def _merge(self, entered: Sequence[Batch], keep: int | None = None) -> None:
        """Hands out what is over and makes one batch of the rows that go on.

        Args:
            entered: batches that join.
            keep: how many rows may go on, the others wait again; None: all.
        """
        batches = [*entered, self._batch] if self._batch is not None else list(entered)
        for batch in batches:
            self._hand_out(batch)
        if keep is None and self._batch is not None and self._batch.take_in(entered):
            return
        parts, jobs, starts = [], [], []
        for batch in batches:
            live = batch.open()
            self._wait([job for _, job in live[keep:]] if keep is not None else [])
            rows = np.array([row for row, _ in live[:keep]], np.int64)
            if len(rows):
                parts.append((batch.past, rows))
                jobs += [job for _, job in live[:keep]]
                starts.append(batch.starts[rows] - batch.past.width)
        self._batch = None
        if jobs:
            offset = np.concatenate(starts)  # first columns, counted from the last
            width = int(-offset.min())
            try:
                past = stack(parts, width, self._network.zeros, self._network.index)
                self._batch = Batch(jobs, past, offset + width)
            except Exception as fault:
                if not self._network.ran_out(fault):
                    raise
                self._shrink(jobs, True, fault)
                self._again(jobs)

    def _hand_out(self, batch: Batch) -> None:
        """Takes jobs that are over out of a batch, and keeps what was computed of their replies."""
        over = [(row, job) for row, job in batch.open() if job.finish is not None]
        rows = [row for row, job in over if job.out]
        # Nothing was computed behind the last token.
        names = [job.hashes()[: (job.length - 1) // BLOCK] for _, job in over if job.out]
        self._store.save(batch.past, rows, batch.starts, names)
        for row, job in over:
            batch.jobs[row] = None
            self._over.append(job)

    def _shrink(self, jobs: Sequence[Job | None], alone: bool, fault: BaseException) -> None:
        """Makes batches smaller after memory ran out with these jobs.

        One conversation alone is tried in small pieces; if it does not fit then, it has failed.
        """
        n, job = len(jobs), jobs[0]
        self._network.release()
        if n > 1 or not alone:
            self._rows = max(1, min(self._rows, n) // 2)
            self._tokens = max(LEAST, self._tokens // 2)
            if not self._told:
                self._told = True
                print(
                    f"memory ran out with {n} conversations at once; {self._name} goes on with "
                    f"{self._rows}",
                    file=sys.stderr,
                )
        elif self._tokens > LEAST:
            self._tokens = LEAST
        elif job is not None:
            job.finish, job.ended = "error", perf_counter()
            job.error = f"OutOfMemory: one conversation does not fit into memory: {fault}"

    def _again(self, jobs: Sequence[Job]) -> None:
        """Has jobs wait once more in their places; those that failed are over."""
        self._over += [job for job in jobs if job.finish is not None]
        self._wait([job for job in jobs if job.finish is None])

    def _wait(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._waiting.put(job.depth, job.number, job)


def _n_new(entry: Entry) -> int:
    """Tokens of a job that are not kept; the last is computed in any case."""
    job, found = entry
    return max(1, job.length - len(found) * BLOCK)

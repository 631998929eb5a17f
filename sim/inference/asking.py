"""Between the runner and a backend: replay from the journal, ask once, commit before use."""

import json
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b

from sim.errors import CallFailed, Refusal
from sim.inference.base import Backend, Failure, Reply, Request, Slot, digest
from sim.inference.earlier import Earlier
from sim.inference.prices import Budget
from sim.journal import Journal, clean

MOMENT = 0.5  # seconds after which the progress is shown anew


class Asking:
    """A backend whose replies are journalled, and which is asked nothing twice.

    Args:
        backend: serves the model.
        journal: of the run; what it already holds is replayed.
        on_error: "stop" at a failed call, which is then asked again on resume, or "record" it.
        earlier: replies of other runs, which are used before anything is asked.
        budget: of the run.

    Attributes:
        check: called while a run that stops waits; may raise KeyboardInterrupt.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        on_error: str,
        earlier: Earlier | None = None,
        budget: Budget | None = None,
    ):
        self._budget = budget or Budget(None)
        self.check: Callable[[], None] = lambda: None
        self._backend, self._journal = backend, journal
        self._stops, self._earlier = on_error == "stop", earlier
        self._salts: dict[str | None, bytes] = {}  # by model
        self._replaying = not journal.empty
        self._replayed: list[tuple[Request, Reply]] = []
        self._waiting: dict[bytes, list[Request]] = {}  # greedy requests by key
        self._n_sent = 0  # asked of the backend and not answered yet
        self.n_asked = 0
        self.n_replayed = 0
        self.n_shared = 0
        self.n_reused = 0
        self.cost = journal.paid().cost  # picos, of all attempts

    def greedy(self, model: str | None) -> bool:
        """Whether equal requests to a model get equal replies."""
        return self._backend.part(model).greedy

    def temperature(self, model: str | None) -> float:
        """Of a model's sampling."""
        return self._backend.part(model).temperature

    def submit(self, requests: Sequence[Request]) -> None:
        """Takes requests; those already answered are not sent again.

        Raises:
            Refusal: the journal holds another prompt at the same place of the run.
        """
        send, shared, reused = [], [], []
        for request in requests:
            request.key = self._key(request)
            reply = self._known(request)
            if reply is not None:
                self._replayed.append((request, reply))
                continue
            if request.seed is None:
                if request.key in self._waiting:
                    self._waiting[request.key].append(request)
                    continue
                known = self._journal.greedy(request.key)
                if known is not None:
                    shared.append((request.slot, known[0]))
                    self._replayed.append((request, known[1]))
                    self.n_shared += 1
                    continue
            if self._earlier and (reply := self._earlier.get(request.key)) is not None:
                reused.append((request, reply, [request.slot]))
                continue
            if request.seed is None:
                self._waiting[request.key] = [request]
            send.append(request)
        if shared:
            self._journal.share(shared)
        if reused:
            self._reuse(reused)
        if send:
            self._n_sent += len(send)
            self.n_asked += len(send)
            self._backend.submit(send)

    def _reuse(self, reused: list[tuple[Request, Reply, list[Slot]]]) -> None:
        """Journals replies of earlier runs; equal greedy requests among them once."""
        once: dict[bytes | Slot, tuple[Request, Reply, list[Slot]]] = {}
        for request, reply, slots in reused:
            what = request.slot if request.seed is not None else request.key
            if what in once:
                once[what][2].extend(slots)
                self.n_shared += 1
            else:
                once[what] = (request, reply, slots)
            self._replayed.append((request, reply))
        self.n_reused += len(once)
        self._journal.record(once.values(), reused=1)

    def _key(self, request: Request) -> bytes:
        how = f"{request.mode}\0{request.labels}\0{request.seed or 0}".encode()
        salt = self._salts.get(request.model)
        if salt is None:
            identity = json.dumps(self._backend.part(request.model).identity(), sort_keys=True)
            salt = blake2b(identity.encode(), digest_size=16).digest()
            self._salts[request.model] = salt
        return blake2b(salt + digest(request.message) + how, digest_size=16).digest()

    def _known(self, request: Request) -> Reply | None:
        entry = self._journal.at(request.slot) if self._replaying else None
        if entry is None:
            return None
        if entry.key != request.key:
            place = ", ".join(f"{k} {v}" for k, v in request.slot._asdict().items())
            raise Refusal(
                f"the prompt of {place} changed since {self._journal.path} was written; "
                f"resume with the code and the config of that run"
            )
        self.n_replayed += 1
        return entry.reply

    def ready(self) -> list[tuple[Request, Reply]]:
        """Answered requests, journalled before they return; none where a moment brings none."""
        if self._replayed:
            replayed, self._replayed = self._replayed, []
            return replayed
        if self._n_sent == 0:
            return []
        answered, failed = self._take()
        if failed:
            request, reply = failed[0]
            place = ", ".join(f"{k} {v}" for k, v in request.slot._asdict().items())
            self._drain()
            raise CallFailed(
                f"on_error is stop, and the call for {place} failed: {reply.error}; what was "
                f"answered is journalled; a run with on_error=record and reuse= this one goes past"
            )
        return answered

    def _take(self) -> tuple[list[tuple[Request, Reply]], list[tuple[Request, Reply]]]:
        """(answered, failed) of what a moment brings; failed where that stops the run."""
        answered, failed = [], []
        for request, reply in self._backend.poll(MOMENT):
            if self._stops and reply.error is not None:
                failed.append((request, reply))
                continue
            # Equal greedy requests were sent once; all of them are answered.
            twins = [request] if request.seed is not None else self._waiting.pop(request.key)
            answered.append((request, clean(reply), twins))
        self._n_sent -= len(answered)
        self._record(answered, self._backend.failed())
        self.n_shared += sum(len(twins) - 1 for _, _, twins in answered)
        counted = (reply for _, reply, _ in answered if reply.prompt_tokens is not None)
        self.cost += sum(reply.cost or 0 for reply in counted)
        return [(twin, reply) for _, reply, twins in answered for twin in twins], failed

    def _record(
        self,
        answered: list[tuple[Request, Reply, list[Request]]],
        failures: list[tuple[Request, Failure]],
    ) -> None:
        """Commits replies and failures in one piece, and what they cost."""
        for request, reply, _ in answered:
            if reply.cost is None and not self._backend.part(request.model).paid:
                reply.cost = 0
        if not answered and not failures:
            return
        self._journal.record(
            ((q, reply, [t.slot for t in twins]) for q, reply, twins in answered),
            [(q.slot, failure) for q, failure in failures],
        )
        costs = [reply.cost for _, reply, _ in answered] + [one.cost for _, one in failures]
        self._budget.written(sum(cost or 0 for cost in costs))

    def _drain(self) -> None:
        """Journals what is in flight when a run stops: it is paid for."""
        if n := self._backend.stop():
            print(f"stopping: {n} calls in flight are waited for", file=sys.stderr)
        while self._backend.stop():
            self._take()
            self.check()

    def notice(self) -> str:
        """What somebody who watches the run should know just now."""
        return self._backend.notice()

    def abandon(self) -> None:
        """Journals the calls that nobody will wait for: they may have to be paid."""
        self._backend.stop()
        self._record([], self._backend.failed() + self._backend.abandoned())

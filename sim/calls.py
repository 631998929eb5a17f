"""The calls of a run: the journalled backend, earlier runs' replies, and what calls came to."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf

from sim.errors import Refusal
from sim.inference import prices
from sim.inference.asking import Asking
from sim.inference.base import Failure, Slot
from sim.inference.earlier import Earlier, files
from sim.inference.prices import Budget
from sim.journal import Journal, Paid
from sim.setup import Parts


@contextmanager
def asking_of(
    parts: Parts, folder: Path, fsync: bool, reuse: Sequence[Path]
) -> Iterator[tuple[Any, Any]]:
    """The journalled backend and its journal, None and None where no agent speaks."""
    backend = parts.backend
    if backend is None:
        yield None, None
        return
    with ExitStack() as ends:
        ends.callback(backend.close)
        journal = Journal(folder / "journal.sqlite", fsync)
        ends.callback(journal.close)
        earlier = Earlier(reuse)
        ends.callback(earlier.close)
        budget = _opened(parts.budget, journal)
        backend.spend(budget)
        asking = Asking(backend, journal, parts.rules.on_error, earlier if reuse else None, budget)
        try:
            yield asking, journal
        except BaseException:
            asking.abandon()
            journal.hold(budget.unwritten)  # 0 but where an interrupt hit replies on their way
            raise
        journal.hold(0)


def _opened(budget: Budget, journal: Journal) -> Budget:
    """The run's money, with what earlier attempts spent, or may have when they were killed.

    Raises:
        Refusal: there is a limit, and of some of that nobody knows the cost.
    """
    if held := journal.held():
        killed = Failure("killed", "the process died with calls in flight", held)
        journal.record([], [(Slot(-1, -1, -1, -1, -1), killed)])
        journal.hold(0)
    paid = journal.paid()
    if budget.limit is not None and paid.n_unpriced:
        raise Refusal(
            f"max_cost needs the cost of what was asked before: {paid.n_unpriced} replies in "
            f"{journal.path} came while no prices were set"
        )
    budget.spent, budget.note = paid.cost + paid.most, journal.hold
    return budget


def came_to(paid: Paid) -> dict[str, Any]:
    """What the manifest tells of calls: each reply once, however many questions it answers."""
    return {
        "replies": paid.n,
        **paid.tokens,
        "replies_without_tokens": paid.n_unknown,
        "replies_without_cost": paid.n_unpriced,
        "failed": paid.failures,
        "failed_possibly_paid": paid.n_maybe,
        "cost": prices.shown(paid.cost),
        "cost_possibly_more": prices.shown(paid.most),
    }


def earlier_runs(named: Any) -> list[Path]:
    """Journals of the runs in a config's `reuse`, one or several."""
    plain = OmegaConf.to_container(named) if isinstance(named, ListConfig) else named
    folders = [plain] if isinstance(plain, str) else plain or []
    if not isinstance(folders, list) or not all(isinstance(one, str) for one in folders):
        raise Refusal(f"reuse must name run folders, got {named!r}")
    return files([Path(one).expanduser() for one in folders])

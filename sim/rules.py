"""How a study is played, checked before it is."""

from dataclasses import dataclass

from sim.errors import Refusal


@dataclass(frozen=True)
class Rules:
    """How a study is played.

    Attributes:
        seed: of the run; every draw descends from it.
        n_reasks: how often a decision that cannot be read is asked again, at most.
        fallback: what the game plays where nothing could be read: "uniform" (an offered option
            by lot) or the number of a canonical option, the last one where fewer are offered. It
            is never scored.
        on_error: "stop" the run at a failed call, or "record" it as status `error` and go on.
        response_mode: of decisions.
        max_live: most episodes held in memory: being played, or ended behind one that is.
    """

    seed: int
    n_reasks: int
    fallback: str | int
    on_error: str
    response_mode: str
    max_live: int

    def __post_init__(self):
        for name, least in (("seed", 0), ("n_reasks", 0), ("max_live", 1)):
            got = getattr(self, name)
            if isinstance(got, bool) or not isinstance(got, int) or got < least:
                raise Refusal(f"{name} must be a whole number, {least} or more, got {got!r}")
        if self.seed >= 2**63:
            raise Refusal(f"seed must be below 2**63, got {self.seed}")
        if self.on_error not in ("stop", "record"):
            raise Refusal(f"on_error must be stop or record, got {self.on_error!r}")
        if self.fallback != "uniform" and type(self.fallback) is not int:
            raise Refusal(f"fallback must be uniform or an option's number, got {self.fallback!r}")

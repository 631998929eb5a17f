"""How many calls a server is given at once: fewer when it says "too many", slowly more again."""


class Pace:
    """Adapts the bound of calls in flight, as TCP does: additive increase, decrease by a share.

    Args:
        most: calls in flight at once, which is also where it starts.
        rest: seconds for which nothing is sent after a first "too many" that names no time; it
            doubles while nothing but these come back.

    Attributes:
        bound: calls that may be in flight now.
        n_shrunk: how often the bound was made smaller.
        lowest: smallest bound so far.
    """

    SHRINK, LONGEST_REST = 0.8, 30.0

    def __init__(self, most: int, rest: float):
        self._most, self._first_rest = most, rest
        self._bound, self._rest = float(most), rest
        self._shrunk_at = self._until = float("-inf")
        self.n_shrunk, self.lowest = 0, most

    @property
    def bound(self) -> int:
        return int(self._bound)

    def wait(self, now: float) -> float:
        """Seconds until anything may be sent."""
        return max(self._until - now, 0.0)

    def answered(self) -> None:
        """One more call went well: after a bound of these there is room for one more."""
        self._rest = self._first_rest
        self._bound = min(self._most, self._bound + 1 / self._bound)

    def limited(self, sent: float, now: float, after: float | None) -> None:
        """The server refused a call of time `sent` as one too many.

        Args:
            sent: seconds, of the same clock as now; calls that were in flight together shrink
                the bound once.
            now: seconds.
            after: seconds after which the server wants to be asked again, None or 0 if it named
                none.
        """
        if sent > self._shrunk_at:
            self._shrunk_at, self.n_shrunk = now, self.n_shrunk + 1
            self._bound = max(1.0, self._bound * self.SHRINK)
            self.lowest = min(self.lowest, self.bound)
            if not after:
                after, self._rest = self._rest, min(2 * self._rest, self.LONGEST_REST)
        self._until = max(self._until, now + (after or 0.0))

"""What calls cost, in whole millionths of a millionth of the currency, so that sums are exact."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sim.errors import Refusal

PICO = 10**12  # of these make one unit of the currency
DEAREST = PICO // 10  # of a token; so that costs are numbers that a journal can keep
_KINDS = ("input", "cached", "output", "reasoning")


def picos(value: Any, name: str, per: int = 1) -> int:
    """An amount of money, 0 or more, as a whole number of picos, each `per` of them.

    Raises:
        Refusal: it is none, or has more decimals than that.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        amount = Decimal(str(value)) * PICO / per
        whole = int(amount)
    except (InvalidOperation, ValueError, OverflowError) as fault:
        raise Refusal(f"{name} must be an amount of money, got {value!r}") from fault
    if amount < 0 or whole != amount:
        raise Refusal(
            f"{name} must be 0 or more, with {len(str(PICO // per)) - 1} decimals, got {value!r}"
        )
    return whole


@dataclass(frozen=True)
class Prices:
    """Of one token of each kind, in picos."""

    input: int
    cached: int
    output: int
    reasoning: int

    @classmethod
    def of(cls, table: Mapping[str, Any] | None) -> "Prices | None":
        """From prices per million tokens; None where nothing is known of them.

        Args:
            table: `input` and `output`; `cached` (part of a prompt that the server had computed
                before; null: as input) and `reasoning` (null: as output). All null: not known.

        Raises:
            Refusal: something of it is no price, or only one of input and output is there.
        """
        if not isinstance(table, Mapping | None):
            raise Refusal(f"prices must be those of {', '.join(_KINDS)} tokens, got {table!r}")
        told = {k: v for k, v in (table or {}).items() if v is not None}
        if unknown := sorted(set(told) - set(_KINDS)):
            raise Refusal(f"prices are those of {', '.join(_KINDS)} tokens, got {unknown[0]!r}")
        if not told:
            return None
        for name in ("input", "output"):
            if name not in told:
                raise Refusal(f"prices must have input and output, got none of {name}")
        each = {k: picos(v, f"prices.{k}", per=10**6) for k, v in told.items()}
        if (dear := max(each, key=lambda k: each[k])) and each[dear] > DEAREST:
            raise Refusal(f"prices.{dear} must be 100,000 per million at most, got {told[dear]!r}")
        return cls(
            each["input"],
            each.get("cached", each["input"]),
            each["output"],
            each.get("reasoning", each["output"]),
        )

    def cost(self, prompt: int, cached: int, output: int, reasoning: int) -> int:
        """Of one call: `cached` are among the prompt tokens, `reasoning` among the output's."""
        return (
            (prompt - cached) * self.input
            + cached * self.cached
            + (output - reasoning) * self.output
            + reasoning * self.reasoning
        )

    def most(self, prompt: int, output: int) -> int:
        """That a call can cost with at most so many tokens."""
        dearest_in, dearest_out = max(self.input, self.cached), max(self.output, self.reasoning)
        return prompt * dearest_in + output * dearest_out


class Budget:
    """The money of one run, shared by its models.

    Attributes:
        limit: picos that may be spent in all, None for no limit.
        spent: picos of calls that came back, and the most that those may have cost of which that
            is not known.
        unwritten: what of that the journal does not have yet.
        held: the most that the calls in flight can cost.
        note: writes down that so much may be owed; after a process died, it counts as spent.
    """

    def __init__(self, limit: int | None):
        self.limit, self.spent, self.unwritten, self.held = limit, 0, 0, 0
        self._noted = 0
        self.note: Callable[[int], None] = lambda most: None

    def hold(self, most: int) -> bool:
        """Sets money aside for a call; False where it might lead over the limit."""
        if self.limit is not None and self.spent + self.held + most > self.limit:
            return False
        self.held += most
        self._keep_note()
        return True

    def settle(self, held: int, spent: int) -> None:
        """Ends a call for which money was set aside."""
        self.held -= held
        self.spent += spent
        self.unwritten += spent
        self._keep_note()

    def written(self, amount: int) -> None:
        """So much of what is spent stands in the journal."""
        self.unwritten -= amount

    def _keep_note(self) -> None:
        """What is owed is never more than what is noted, and not much less for long."""
        owed = self.held + self.unwritten
        if self._noted // 4 <= owed <= self._noted:
            return
        most = 2 * owed  # some room: notes are to be few
        if self.limit is not None:
            most = max(owed, min(most, self.limit - self.spent + self.unwritten))
        if most != self._noted:
            self.note(most)
            self._noted = most


def shown(amount: int) -> str:
    """An amount as people write it, all digits that count and at least two decimals."""
    whole, part = divmod(amount, PICO)
    return f"{whole:,}.{f'{part:012d}'.rstrip('0'):0<2}"

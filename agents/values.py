"""Theories of several values that an agent weighs against each other: what each means."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from agents.base import Member
from agents.theory import CONTROL, HEAVIEST, LIGHTEST, check_angle, percent


@dataclass(frozen=True)
class Value:
    """One value.

    Attributes:
        definition: what somebody does who acts on it: a clause behind "you", without the name.
        angle: on the theory's circle, degrees; None where it has none.
        opposite: the value that is most at odds with it; None where the theory names none.
        parts: values that it sums up; empty for one that stands for itself.
    """

    definition: str
    angle: float | None
    opposite: str | None
    parts: tuple[str, ...] = ()


class Values:
    """Values by name, and groups of them that can be assigned as one.

    Args:
        name: of the theory.
        values: name -> {definition, angle (or null), opposite (or null)}.
        groups: name -> the same and `values`, those that it sums up.

    Raises:
        ValueError: a field is missing or not what it must be, or an opposite is not known or does
            not name its own as opposite.
    """

    def __init__(
        self,
        name: str,
        values: Mapping[str, Mapping[str, object]],
        groups: Mapping[str, Mapping[str, object]] | None = None,
    ):
        self.name = name
        self.values = {value: _value(value, given, ()) for value, given in values.items()}
        self.groups = {}
        for group, given in (groups or {}).items():
            parts = given.get("values")
            if group in self.values or not isinstance(parts, Sequence) or isinstance(parts, str):
                raise ValueError(
                    f"group {group!r} needs a name of its own and values, got {parts!r}"
                )
            self._check_known(parts)
            rest = {k: v for k, v in given.items() if k != "values"}
            self.groups[group] = _value(group, rest, tuple(parts))
        for known in (self.values, self.groups):
            for one, value in known.items():
                if value.opposite is not None and one != _opposite(known, value.opposite):
                    raise ValueError(
                        f"the opposite of {one!r} must be a value whose opposite it is, got "
                        f"{value.opposite!r}"
                    )
        if len(self.values) < 2:
            raise ValueError(f"a theory needs two values or more, got {list(self.values)}")

    @property
    def names(self) -> list[str]:
        """Of the values, in the theory's order."""
        return list(self.values)

    def definition(self, value: str) -> str:
        """What somebody does who acts on a value or group, behind "you"."""
        return (self.values.get(value) or self.groups[value]).definition

    def member(self, value: str, number: str) -> Member:
        """Member `number` who puts a value or a group first; "control" for none."""
        if value == CONTROL:
            return Member(f"{CONTROL}-{number}")
        if value in self.groups:
            profile = dict.fromkeys(self.groups[value].parts, 1.0)
        else:
            self._check_known([value])
            profile = {value: 1.0}
        return Member(f"{value}-{number}", value, profile=profile)

    def mixture(self, profile: Mapping[str, float], name: str) -> Member:
        """Member of a profile of values and their weights, above 0 and up; larger counts more.

        Raises:
            ValueError: an unknown value, or a weight that is not above 0.
        """
        weights = self.weights(profile)
        whole = math.fsum(weights.values())
        ranked = sorted(weights, key=lambda value: -weights[value])
        label = " + ".join(f"{percent(weights[value] / whole)} {value}" for value in ranked)
        return Member(name, label, profile=weights)

    def weights(self, profile: Mapping[str, object]) -> dict[str, float]:
        """The profile, checked: known values with weights within 1e-9..1e9."""
        if not isinstance(profile, Mapping) or not profile:
            raise ValueError(f"a profile must name at least one value, got {profile!r}")
        self._check_known(list(profile))
        weights: dict[str, float] = {}
        for value, weight in profile.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"weight of {value!r} must be a number, got {weight!r}")
            if not LIGHTEST <= weight <= HEAVIEST:
                raise ValueError(
                    f"weight of {value!r} must lie in {LIGHTEST:g}..{HEAVIEST:g}, got {weight!r}"
                )
            weights[value] = float(weight)
        return weights

    def _check_known(self, names: Sequence[object]) -> None:
        for name in names:
            if name not in self.values:
                close = get_close_matches(str(name), self.values, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                known = ", ".join(self.values)
                raise ValueError(
                    f"a value must be one of {known} (theory {self.name}), got {name!r}{hint}"
                )


def _value(name: str, given: Mapping[str, object], parts: tuple[str, ...]) -> Value:
    if name in (CONTROL, "undecided"):
        raise ValueError(f"{name!r} means no value and cannot name one")
    if set(given) != {"definition", "angle", "opposite"}:
        raise ValueError(
            f"value {name!r} needs definition, angle and opposite, got {', '.join(sorted(given))}"
        )
    definition, angle, opposite = (given[k] for k in ("definition", "angle", "opposite"))
    if not isinstance(definition, str) or not definition.strip():
        raise ValueError(f"definition of value {name!r} must be a text, got {definition!r}")
    if angle is not None:
        angle = check_angle(f"angle of value {name!r}", angle)
    return Value(definition.strip(), angle, None if opposite is None else str(opposite), parts)


def _opposite(known: Mapping[str, Value], name: str) -> str | None:
    return known[name].opposite if name in known else None

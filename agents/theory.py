"""A value theory: named orientations, what they mean and the angle that each aims at."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from agents.base import Member

CONTROL = "control"
LIGHTEST, HEAVIEST = 1e-9, 1e9  # weights in a profile


@dataclass(frozen=True)
class Orientation:
    """A social value orientation.

    Attributes:
        angle: degrees, within -180..180; an agent of angle t has utility
            cos t * own + sin t * mean(others).
        definition: a sentence about a person of this orientation, third person, without
            numbers of the instrument.
    """

    angle: float
    definition: str


class Theory:
    """Orientations by name; any angle is an orientation too, without words.

    Args:
        name: of the theory.
        orientations: name -> {angle, definition}.
    """

    def __init__(self, name: str, orientations: Mapping[str, Mapping[str, object]]):
        self.name = name
        self.orientations: dict[str, Orientation] = {}
        for value, given in orientations.items():
            if value == CONTROL:
                raise ValueError(f"{CONTROL!r} means no orientation and cannot name one")
            if set(given) != {"angle", "definition"}:
                raise ValueError(
                    f"orientation {value!r} needs angle and definition, got {sorted(given)}"
                )
            angle = check_angle(f"angle of orientation {value!r}", given["angle"])
            definition = given["definition"]
            if not isinstance(definition, str) or not definition.strip():
                raise ValueError(
                    f"definition of orientation {value!r} must be a text, got {definition!r}"
                )
            self.orientations[value] = Orientation(angle, definition)

    def member(self, value: str, number: str) -> Member:
        """Member `number` with the orientation named `value`; "control" for none."""
        if value == CONTROL:
            return Member(f"{CONTROL}-{number}")
        if value not in self.orientations:
            close = get_close_matches(value, self.orientations, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            known = ", ".join([*self.orientations, CONTROL])
            raise ValueError(f"orientation must be one of {known}, got {value!r}{hint}")
        orientation = self.orientations[value]
        return Member(f"{value}-{number}", value, orientation.angle, orientation.definition)

    def mixture(self, profile: Mapping[str, float], name: str) -> Member:
        """Member of a mixture of orientations, by their weights.

        Its target is the angle of the sum of the orientations' directions, each as long as its
        weight; its definition says each in words, with its share in percent (ten digits at most).

        Raises:
            ValueError: an unknown orientation, a weight that is not a number within 1e-9..1e9, or
                directions that cancel out and leave no angle.
        """
        if not profile:
            raise ValueError("a profile must name at least one orientation, got none")
        for value, weight in profile.items():
            if value == CONTROL:
                raise ValueError(f"a profile must name orientations, got {value!r}")
            self.member(value, name)  # refuses an unknown one
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"weight of {value!r} must be a number, got {weight!r}")
            if not weight > 0:
                raise ValueError(f"weight of {value!r} must be above 0, got {weight!r}")
            if not LIGHTEST <= weight <= HEAVIEST:
                raise ValueError(
                    f"weight of {value!r} must lie in {LIGHTEST:g}..{HEAVIEST:g}, got {weight!r}"
                )
        whole = math.fsum(profile.values())
        shares = {value: weight / whole for value, weight in profile.items()}
        turns = {value: math.radians(self.orientations[value].angle) for value in shares}
        own = math.fsum(share * math.cos(turns[value]) for value, share in shares.items())
        other = math.fsum(share * math.sin(turns[value]) for value, share in shares.items())
        if math.hypot(own, other) < 1e-9:
            raise ValueError(f"the orientations of a profile cancel out, got {dict(profile)}")
        angle = math.degrees(math.atan2(other, own))
        label = " + ".join(f"{percent(share)} {value}" for value, share in shares.items())
        parts = [
            f"In {percent(share)} of what they care about: {self.orientations[value].definition}"
            for value, share in shares.items()
        ]
        return Member(name, label, angle, " ".join(parts), dict(profile))


def percent(share: float) -> str:
    """A share in percent, to ten digits: other profiles have other words, none of them 0%."""
    return f"{plain(float(f'{100 * share:.10g}'))}%"


def check_angle(name: str, got: object) -> float:
    """The angle as a float; raises ValueError outside -180..180 degrees."""
    if isinstance(got, bool) or not isinstance(got, int | float) or not -180 <= got <= 180:
        raise ValueError(f"{name} must lie in -180..180 degrees, got {got!r}")
    return float(got)


def plain(angle: float) -> str:
    """All of the angle's digits: another angle has another name."""
    return repr(float(angle)).removesuffix(".0")

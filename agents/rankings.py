"""Populations whose members put values in an order, or give them weights."""

from collections.abc import Mapping, Sequence

from agents.base import Member
from agents.population import by_counts
from agents.theory import CONTROL
from agents.values import Values


def by_first(theory: Values, n_each: int, control: int) -> list[Member]:
    """`n_each` members for each value of a theory, who put it first, and so many controls.

    Args:
        theory: of values.
        n_each: members per value, 0 or more.
        control: members without a value, 0 or more.
    """
    if not isinstance(theory, Values):
        raise ValueError(f"population first needs a theory of values, got {_name(theory)}")
    return by_counts(theory, {**dict.fromkeys(theory.names, n_each), CONTROL: control})


def by_rankings(
    theory: Values, rankings: Mapping[str, Sequence[str]], n_each: int, control: int
) -> list[Member]:
    """`n_each` members of each ranking, and so many controls.

    A ranking's weights are n, n - 1 ... 1 for its n values; those that it does not name count
    least, and alike.

    Args:
        theory: of values.
        rankings: name -> values, first the most important, each once.
        n_each: members per ranking, 0 or more.
        control: members without one, 0 or more.
    """
    profiles = {}
    if not isinstance(rankings, Mapping):
        raise ValueError(f"rankings must map names to lists of values, got {rankings!r}")
    for name, ranking in rankings.items():
        if not isinstance(ranking, Sequence) or isinstance(ranking, str) or not ranking:
            raise ValueError(f"ranking {name!r} must be a list of values, got {ranking!r}")
        if len(set(ranking)) < len(ranking):
            raise ValueError(f"ranking {name!r} must name each value once, got {list(ranking)}")
        profiles[name] = {value: len(ranking) - k for k, value in enumerate(ranking)}
    return by_profiles(theory, profiles, n_each, control)


def by_profiles(
    theory: Values, profiles: Mapping[str, Mapping[str, float]], n_each: int, control: int
) -> list[Member]:
    """`n_each` members of each profile of weights, and so many controls.

    Args:
        theory: of values.
        profiles: name -> weights above 0 of values; one that is not named counts least.
        n_each: members per profile, 0 or more.
        control: members without one, 0 or more.
    """
    if not isinstance(theory, Values):
        raise ValueError(f"a profile of values needs a theory of values, got {_name(theory)}")
    if not isinstance(profiles, Mapping):
        raise ValueError(f"profiles must map names to weights of values, got {profiles!r}")
    members = []
    for count, what in ((n_each, "n_each"), (control, "control")):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"{what} must be a whole number, 0 or more, got {count!r}")
    for name, profile in profiles.items():
        if name == CONTROL or not str(name).strip():
            raise ValueError(f"a profile needs a name other than {CONTROL!r}, got {name!r}")
        try:
            weights = theory.weights(profile)
        except ValueError as fault:
            raise ValueError(f"profile {name!r}: {fault}") from fault
        width = len(str(max(n_each - 1, 0)))
        members += [Member(f"{name}-{k:0{width}d}", name, profile=weights) for k in range(n_each)]
    width = len(str(max(control - 1, 0)))
    members += [Member(f"{CONTROL}-{k:0{width}d}") for k in range(control)]
    if not members:
        raise ValueError("a population needs at least one member, got n_each 0 and control 0")
    return members


def _name(theory: object) -> str:
    return repr(getattr(theory, "name", theory))

"""Who plays: members with orientations, by counts, by shares or by a list of angles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agents.base import Member
from agents.theory import Theory, check_angle, plain
from agents.values import Values


def _numbers(count: int) -> list[str]:
    width = len(str(count - 1)) if count > 1 else 1
    return [f"{i:0{width}d}" for i in range(count)]


def by_counts(theory: Theory | Values, counts: Mapping[str, int]) -> list[Member]:
    """So many members of each orientation; "control" for members without one.

    Args:
        theory: knows the orientations.
        counts: orientation -> members, 0 or more.
    """
    if not isinstance(counts, Mapping):
        raise ValueError(f"counts must map orientations to numbers, got {counts!r}")
    members = []
    for value, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"count of {value!r} must be a whole number, 0 or more, got {count!r}")
        theory.member(value, "0")  # refuses an unknown name even where nobody has it
        members += [theory.member(value, number) for number in _numbers(count)]
    if not members:
        raise ValueError(f"a population needs at least one member, got counts {dict(counts)}")
    return members


def by_shares(theory: Theory | Values, n: int, shares: Mapping[str, float]) -> list[Member]:
    """`n` members in the given shares; seats that do not divide go to the largest remainders.

    Args:
        theory: knows the orientations.
        n: members in all.
        shares: orientation -> share, 0..1; they must add up to 1.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number, 1 or more, got {n!r}")
    if not isinstance(shares, Mapping):
        raise ValueError(f"shares must map orientations to shares, got {shares!r}")
    for value, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"share of {value!r} must lie in 0..1, got {share!r}")
    total = math.fsum(shares.values())
    if not math.isclose(total, 1, abs_tol=1e-9):
        raise ValueError(f"shares must add up to 1, got {total:g} from {dict(shares)}")
    counts = {value: math.floor(n * share + 1e-9) for value, share in shares.items()}
    left = n - sum(counts.values())
    by_remainder = sorted(shares, key=lambda value: counts[value] - n * shares[value])
    for value in by_remainder[:left]:
        counts[value] += 1
    return by_counts(theory, counts)


def by_angles(theory: Theory, targets: Sequence[float], n_each: int) -> list[Member]:
    """`n_each` members with each target angle; they have no definition in words.

    Args:
        theory: names nothing here; it is handed to every kind of population.
        targets: degrees, within -180..180, all different.
        n_each: members per angle, 1 or more.
    """
    if isinstance(n_each, bool) or not isinstance(n_each, int) or n_each < 1:
        raise ValueError(f"n_each must be a whole number, 1 or more, got {n_each!r}")
    if not isinstance(targets, Sequence) or isinstance(targets, str):
        raise ValueError(f"targets must be a list of angles, got {targets!r}")
    angles = [check_angle("target", target) for target in targets]
    if not angles or len({angle % 360 for angle in angles}) < len(angles):
        raise ValueError(f"targets must be different angles, at least one, got {list(targets)}")
    return [
        Member(f"{plain(angle)}deg-{number}", f"{plain(angle)}deg", angle)
        for angle in angles
        for number in _numbers(n_each)
    ]


def by_model(parts: Mapping[str, Sequence[Member] | None]) -> list[Member]:
    """Populations side by side, each played by a model of its own (`model=several`).

    Args:
        parts: name of the model -> its members; None leaves one out. Members' names get the
            model's behind them, since the same ones may stand in several.
    """
    if not isinstance(parts, Mapping):
        raise ValueError(f"parts must map models to populations, got {parts!r}")
    for model, members in parts.items():
        if members is not None and not isinstance(members, Sequence):
            raise ValueError(f"part {model!r} must be a population or null, got {members!r}")
    found = [
        replace(member, name=f"{member.name}@{model}", model=model)
        for model, members in parts.items()
        for member in members or ()
    ]
    if not found:
        raise ValueError("a population needs at least one member, got parts without any")
    return found

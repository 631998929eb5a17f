"""Kinds of agents of which a config asks for several wordings or places: one kind for each."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from sim.errors import Refusal

SPREAD = ("place", "wording")  # of a method; a list of them is a factor


def variants(agents: DictConfig) -> dict[str, Any]:
    """The kinds of agents, each list of places or wordings of its method spread out.

    `hvae` with `method.wording=[own, plain]` becomes `hvae-own` and `hvae-plain`.

    Raises:
        Refusal: an empty list, or two kinds of one name.
    """
    found: dict[str, Any] = {}
    for kind, part in agents.items():
        for name, one in _spread(str(kind), part):
            if name in found:
                raise Refusal(f"every kind of agent needs a name of its own, got {name!r} twice")
            found[name] = one
    return found


def _spread(kind: str, part: Any) -> list[tuple[str, Any]]:
    method = part.get("method") if isinstance(part, DictConfig) else None
    lists: Mapping[str, Any] = {}
    if isinstance(method, DictConfig):
        lists = {k: method[k] for k in SPREAD if isinstance(method.get(k), ListConfig)}
    if not lists:
        return [(kind, part)]
    for key, values in lists.items():
        if not values:
            raise Refusal(f"agent.{kind}.method.{key} must name at least one, got an empty list")
    found = []
    for chosen in product(*lists.values()):
        # Resolved, since what it takes from elsewhere in the config is not found from a copy.
        one = OmegaConf.create(OmegaConf.to_container(part, resolve=True))
        for key, value in zip(lists, chosen, strict=True):
            one.method[key] = value
        found.append(("-".join([kind, *map(str, chosen)]), one))
    return found

"""Several SVO instruments in one episode, so that the same agents answer all of them."""

from collections.abc import Mapping

from envs.allocation import Allocation
from envs.items import Item


class SVOBattery(Allocation):
    """Plays the items of several allocation games one instrument after the other.

    Where a game has several forms, episodes meet them in turn with the others' only one.

    Args:
        parts: name -> game, in the order in which they are met; null leaves one out. Their own
            orders and words do not count.
        item_order: canonical, reversed or shuffled, within each part's blocks.
        option_order, unit, other: see `Allocation`.
    """

    def __init__(
        self,
        parts: Mapping[str, Allocation | None],
        item_order: str,
        option_order: str,
        unit: str,
        other: str,
    ):
        if not isinstance(parts, Mapping):
            raise ValueError(f"parts must map names to allocation games, got {parts!r}")
        games = {name: game for name, game in parts.items() if game is not None}
        if not games or not all(isinstance(game, Allocation) for game in games.values()):
            got = {name: type(game).__name__ for name, game in parts.items()}
            raise ValueError(f"parts must be allocation games, at least one, got {got}")
        items: list[Item] = []
        starts, blocks = [], 0
        for name, game in games.items():
            known = {item.instrument for item in items}
            if twice := known.intersection(game.item_instruments):
                raise ValueError(f"parts must be different instruments, got two {min(twice)!r}")
            starts.append(len(items))
            items += [
                # Parts may number their items alike.
                item._replace(id=f"{name}/{item.id}", block=item.block + blocks)
                for item in game.catalog
            ]
            blocks += 1 + max(item.block for item in game.catalog)
        sequences = [
            [start + i for game, start in zip(games.values(), starts, strict=True)
             for i in game.forms[form % len(game.forms)]]
            for form in range(max(len(game.forms) for game in games.values()))
        ]  # fmt: skip
        super().__init__("svo_battery_v0", items, item_order, option_order, unit, other, sequences)

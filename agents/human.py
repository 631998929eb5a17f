"""A scripted agent that answers the SVO slider as people do."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Member, Rows

# The slider's six primary items by the options at their ends (own, other); these tell which item
# is met, whatever the order of items.
ENDS = (
    ((85, 85), (85, 15)),
    ((85, 15), (100, 50)),
    ((50, 100), (85, 85)),
    ((50, 100), (85, 15)),
    ((100, 50), (50, 100)),
    ((100, 50), (85, 85)),
)
WIDTH = 9


@cache
def patterns() -> NDArray[np.int64]:
    """Options 0..8 of the six items at each percent 0..100 of people, (101, 6); read-only.

    At each percentile of the angle of 6,234 people the pattern that most of those with that angle
    (within 0.15 degrees, where the percentile lies between two) have given: Many Labs 2, study
    vanLange.1 (Klein et al. 2018, AMPPS 1(4), 443-490).
    """
    path = Path(__file__).with_name("human_patterns.csv")
    digits = [line.split(",")[2] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    table = np.array([[int(d) - 1 for d in row] for row in digits])
    table.setflags(write=False)
    return table


class Human(Agent):
    """Draws a whole pattern of answers for each episode: the human reference, and a control."""

    def assigns(self, member: Member) -> bool:
        return False

    def method(self, member: Member) -> str:
        return "none"

    def check_items(self, items: Sequence[NDArray[np.float64]]) -> None:
        for options in items:
            if len(options) != WIDTH or _item(options[None])[0] < 0:
                first, last = options[0].tolist(), options[-1].tolist()
                raise ValueError(
                    f"a human agent knows the six primary items of the SVO slider only, got one "
                    f"of {len(options)} options from {first} to {last}"
                )

    def act(self, rows: Rows) -> NDArray[np.int64]:
        table = patterns()
        percent = np.rint(rows.draw_episode(1)[:, 0] * (len(table) - 1)).astype(int)
        return table[percent, _item(rows.seen["payoffs"])]


def _item(payoffs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which item each of (R, options, 2) is, by its ends; -1 for none."""
    ends = payoffs[:, [0, min(WIDTH, payoffs.shape[1]) - 1]]
    same = (ends[:, None] == np.array(ENDS)).all((2, 3))
    return np.where(same.any(1), same.argmax(1), -1)

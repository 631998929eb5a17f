"""Choices that are never learnt from: the published slider, and generated items of two seeds."""

from functools import cache

from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from sim.configs import CONF
from sim.pocket.games import fingerprint

SEEDS = (0, 20_260)  # of `svo_generated`: the default one, and that of the evaluation
WIDTHS = ([9, 9], [2, 9])


@cache
def kept_out() -> frozenset[tuple]:
    """Option sets (`games.fingerprint`) that must not be drawn for training."""
    tables = [get_object(f"envs.slider_items.{name}") for name in ("PRIMARY", "SECONDARY")]
    sets = {fingerprint(options) for table in tables for options in table}
    generated = OmegaConf.load(CONF / "env" / "svo_generated.yaml")
    for seed in SEEDS:
        for widths in WIDTHS:
            rows = instantiate(generated, items_seed=seed, n_options=widths).items()
            items: dict[str, list[tuple[int, int]]] = {}
            for row in rows:
                paid = (row["payoff_self"], row["payoff_other"])
                items.setdefault(row["item"], []).append(paid)
            sets |= {tuple(sorted(options)) for options in items.values()}
    return frozenset(sets)

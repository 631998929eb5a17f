"""The report's first table of a study of dilemmas: do choices follow what was assigned?"""

from typing import Any

import polars as pl

from sim.analysis.duels import GROUP

_KEYS = [*GROUP, "against"]
_PARTS = ("agreement", "change", "gain")  # beside the chance-corrected score


def priority_headline(table: pl.DataFrame | None) -> list[dict[str, Any]]:
    """One row per group and assigned priorities, all stages together; controls last.

    Keys: those of `GROUP`, against, and estimate, low, high of the chance-corrected agreement and,
    with the measure's name before them, of the plain one, of its change from the first to the last
    stage and of its gain over the control.
    """
    if table is None or not table.height:
        return []
    whole = table.filter(pl.col("stage").is_null())
    rows = whole.filter(measure="vrc")
    for name in _PARTS:
        numbers = [pl.col(c).alias(f"{name}_{c}") for c in ("estimate", "low", "high", "chance")]
        part = whole.filter(measure=name).select(*_KEYS, *numbers)
        rows = rows.join(part, on=_KEYS, how="left", nulls_equal=True, maintain_order="left")
    controls = pl.col("value").is_null()
    order = ["instrument", "model", "agent", controls, "against"]
    return rows.sort(*order, nulls_last=True, maintain_order=True).rows(named=True)

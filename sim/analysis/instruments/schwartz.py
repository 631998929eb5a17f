"""Schwartz's ten basic values."""

from sim.analysis.instrument import Instrument

INSTRUMENT = Instrument(
    source=(
        "Basic values: Schwartz, S. H. (1992). Universals in the content and structure of "
        "values. Advances in Experimental Social Psychology 25, 1–65. Definitions are ours."
    )
)

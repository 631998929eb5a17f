"""Our own dilemmas over Schwartz's values."""

from sim.analysis.instrument import Instrument

INSTRUMENT = Instrument(
    source=(
        "Dilemmas over basic values: this project's own bank (envs/bank), after the form of "
        "Wu et al. (2025), The Staircase of Ethics, arXiv 2505.18154."
    )
)

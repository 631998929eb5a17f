"""Ten rules of common morality."""

from sim.analysis.instrument import Instrument

INSTRUMENT = Instrument(
    source=(
        "Rules of common morality: Gert, B. (2004). Common Morality: Deciding What to Do. "
        "Oxford University Press; as used by MoralChoice (Scherrer et al. 2023, arXiv "
        "2307.14324)."
    )
)

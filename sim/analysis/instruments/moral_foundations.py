"""The six moral foundations."""

from sim.analysis.instrument import Instrument

INSTRUMENT = Instrument(
    source=(
        "Moral foundations: Haidt, J. & Joseph, C. (2004), Daedalus 133(4), 55–66; Graham, J. "
        "et al. (2013), Advances in Experimental Social Psychology 47, 55–130; liberty: Iyer, "
        "R. et al. (2012), PLOS ONE 7(8), e42366. Definitions are ours."
    )
)

"""SAE features and QC flags for every tile of a slide, as it is captured.

`open` loads a bundle, `Runtime.begin` begins a slide, `Slide.submit` takes frames as NumPy arrays, `Slide.poll` and
`Slide.finish` give results as NumPy records. The constants of ``coverslip.h`` are attributes of `constants`, without
their prefix: ``constants.TILE_DONE``.
"""

from ._contract import constants
from .errors import Busy, CoverslipError, EndOfResults, Interrupted, TimedOut
from .results import Results
from .runtime import Runtime, open
from .slide import Slide

__all__ = [
    "Busy",
    "CoverslipError",
    "EndOfResults",
    "Interrupted",
    "Results",
    "Runtime",
    "Slide",
    "TimedOut",
    "constants",
    "open",
]

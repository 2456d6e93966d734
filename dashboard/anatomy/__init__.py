"""Where the parts of the body lie on a picture, so that a map can be read by them; one file a kind of picture.

Found by thresholds, morphology and an outline search, without trained weights, and never a fixed frame. What does not look
like the part it should be is left out with the reason. These masks tell where a map lies; they are no measurement.
"""

from __future__ import annotations

import sys

from dashboard.anatomy._base import FINDERS, Parts, masks_of, parts_of
from models.registry import discover

discover(sys.modules[__name__])

__all__ = ["FINDERS", "Parts", "masks_of", "parts_of"]

"""Drawn images with a planted finding whose mask, size and place are known.

Each module draws one kind of image and registers its generator; :func:`make` is the way in. The same name, seed
and parameters give the same bytes on one platform. A phantom tests methods and teaches; it is not evidence about
patients, and its title says what it is.
"""

from __future__ import annotations

import sys

from models.registry import discover
from sample_data.phantoms._base import Phantom, generators, make

discover(sys.modules[__name__])

__all__ = ["Phantom", "generators", "make"]

"""The brain of a head scan by threshold and morphology, without trained weights.

Head out of air by Otsu's threshold; what lies deeper than scalp and skull; of that what is about as bright as most of it,
rather than fluid, bone or fat; eroded, which cuts the bridges to eyes and neck; the largest piece, grown back, closed
and filled.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dashboard.preparation.tissue import foreground, largest
from dashboard.preparation.types import BoolArray
from models.errors import DataError
from models.types import FloatArray

SHELL_MM = 6.0  # scalp and skull are rarely thinner
ERODE_MM = 4.0
CLOSE_MM = 6.0
TISSUE = (0.65, 1.9)  # of the median brightness


def classical_brain(values: FloatArray, spacing: tuple[float, float, float], erode_mm: float = ERODE_MM) -> BoolArray:
    """(D, H, W) mask of the brain.

    Args:
        values: (D, H, W) of a T1-weighted head, brighter brain than fluid.
        spacing: mm along (slice, row, column).

    Raises:
        DataError: there is no piece of tissue that could be a brain.
    """
    head = foreground(values)
    # The first and last slice are cuts, not surfaces: the head goes on beyond them.
    depth = ndimage.distance_transform_edt(np.pad(head, ((1, 1), (0, 0), (0, 0)), mode="edge"), spacing)[1:-1]
    inner = depth > SHELL_MM
    if not inner.any():
        raise DataError("No head is found in the scan; give a scan of the whole head.")
    middle = float(np.median(values[inner]))  # most of what lies that deep is brain
    tissue = inner & (values > TISSUE[0] * middle) & (values < TISSUE[1] * middle)
    core = largest(ndimage.distance_transform_edt(tissue, spacing) > erode_mm)
    if not core.any():
        raise DataError("No brain is found in the scan: no tissue hangs together inside the head; erode less.")
    piece = largest(tissue & (ndimage.distance_transform_edt(~core, spacing) <= erode_mm + max(spacing[1:])))
    return _closed(piece, spacing) & inner


def _closed(mask: BoolArray, spacing: tuple[float, float, float]) -> BoolArray:
    """Closed over furrows and chambers, holes filled in every slice."""
    margin = [int(np.ceil(CLOSE_MM / mm)) + 1 for mm in spacing]
    padded = np.pad(mask, [(count, count) for count in margin])
    wide = ndimage.distance_transform_edt(~padded, spacing) <= CLOSE_MM
    shut = ndimage.distance_transform_edt(wide, spacing) > CLOSE_MM
    inside = shut[tuple(slice(count, -count) for count in margin)] | mask
    return np.stack([ndimage.binary_fill_holes(plane) for plane in inside])

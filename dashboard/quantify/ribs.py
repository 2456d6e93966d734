"""How far a lung may reach: the inner side of the ribs around it, slice by slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.quantify.grid import BoolArray

BINS = 120  # directions around a lung
NEIGHBOUR_MM = 15.0  # ribs of slices so near close the gaps between ribs
WALL_MM = 4.0  # pleura and muscle inside the ribs
GAP_BINS = 7  # directions without bone that are bridged


def inside_ribs(lung: BoolArray, bone: BoolArray, spacing: tuple[float, float, float]) -> BoolArray:
    """What is seen from the middle of a lung's slice in front of the ribs; False in directions without bone.

    Args:
        lung: (D, H, W) aerated lung of one side.
        bone: (D, H, W).
        spacing: in mm along (slice, row, column).
    """
    reach = 2 * round(NEIGHBOUR_MM / spacing[0]) + 1
    bone = ndimage.maximum_filter1d(bone.astype(np.uint8), reach, axis=0).astype(bool) & ~lung
    rows, columns = np.indices(lung.shape[1:])
    inside = np.zeros_like(lung)
    for index, plane in enumerate(lung):
        if not plane.any() or not bone[index].any():
            continue
        row, column = ndimage.center_of_mass(plane)
        down, right = (rows - row) * spacing[1], (columns - column) * spacing[2]
        distance = np.hypot(down, right)
        way = ((np.arctan2(down, right) / (2 * np.pi) + 0.5) * BINS).astype(int) % BINS
        limit = np.full(BINS, np.inf)
        np.minimum.at(limit, way[bone[index]], distance[bone[index]])
        inside[index] = distance < _bridged(limit)[way] - WALL_MM
    return inside


def _bridged(limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Limits in all directions: interpolated over short gaps, 0 in wide ones."""
    known = np.flatnonzero(np.isfinite(limit))
    filled = np.interp(np.arange(len(limit)), known, limit[known], period=len(limit))
    near = ndimage.maximum_filter1d(np.isfinite(limit).astype(np.uint8), 2 * GAP_BINS + 1, mode="wrap")
    return np.where(near > 0, filled, 0.0)

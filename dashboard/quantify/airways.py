"""Trachea and main bronchi of a chest CT, followed from slice to slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.quantify.grid import BoolArray

WALL_HU = (
    -600.0
)  # mean around the lumen: soft tissue round the trachea and in the mediastinum, lung round smaller bronchi
TRACHEA_MM2 = (50.0, 800.0)
BRONCHUS_MM2 = (15.0, 1200.0)  # the upper limit is met where both main bronchi leave the trachea
OFF_CENTRE_MM = 45.0
LEAST_MM = 30.0  # a tube shorter than this is not taken for the trachea


def find_airways(
    hu: NDArray[np.float32], body: BoolArray, lumen_hu: float, spacing: tuple[float, float, float]
) -> BoolArray:
    """Lumen of trachea and main bronchi; all False where no trachea is found.

    A tube is sought from the top: a small dark area near the middle of the body, walled by soft tissue. It is followed
    down and up as long as dark areas continue it that are small and walled, which ends where bronchi enter the lung.

    Args:
        hu: (D, H, W) HU, axes to head, back and left.
        body: (D, H, W), the body with what it encloses.
        lumen_hu: what lies below may be lumen.
        spacing: in mm along (slice, row, column).
    """
    finder = _Slices(hu, body & (hu < lumen_hu), spacing)
    middle = np.median(np.flatnonzero(body.any(axis=(0, 1)))) if body.any() else 0.0
    for top in range(len(hu) - 1, len(hu) // 4, -1):
        for area in finder.tubes(top, TRACHEA_MM2):
            off = abs(np.flatnonzero(area.any(axis=0)).mean() - middle) * spacing[2]
            if off > OFF_CENTRE_MM:
                continue
            down = finder.follow(top, area, -1)
            if len(down) * spacing[0] >= LEAST_MM:
                found = np.zeros(hu.shape, dtype=bool)
                for index, part in (down | finder.follow(top, area, 1)).items():
                    found[index] = part
                return found
    return np.zeros(hu.shape, dtype=bool)


class _Slices:
    """Dark areas of the slices, and which of them are tubes."""

    def __init__(self, hu: NDArray[np.float32], dark: BoolArray, spacing: tuple[float, float, float]) -> None:
        self._hu, self._dark = hu, dark
        self._slice_mm, row_mm, column_mm = spacing
        self._pixel_mm2 = row_mm * column_mm
        self._pixel_mm = max(row_mm, column_mm)

    def tubes(self, index: int, limits: tuple[float, float], near: BoolArray | None = None) -> list[BoolArray]:
        """(H, W) masks of walled dark areas within the limits, those that touch ``near`` if given."""
        labels, count = ndimage.label(self._dark[index])
        if not count:
            return []
        sizes = np.bincount(labels.ravel(), minlength=count + 1) * self._pixel_mm2
        wanted = np.arange(1, count + 1) if near is None else np.unique(labels[near])
        wanted = wanted[(wanted > 0) & (sizes[wanted] >= limits[0]) & (sizes[wanted] <= limits[1])]
        areas = (labels == number for number in wanted)
        return [area for area in areas if self._walled(index, area)]

    def follow(self, index: int, area: BoolArray, step: int) -> dict[int, BoolArray]:
        """The area and what continues it, slice by slice."""
        found = {index: area}
        reach = max(1, round((self._slice_mm + 1.0) / self._pixel_mm))
        while 0 <= index + step < len(self._hu):
            index += step
            parts = self.tubes(index, BRONCHUS_MM2, ndimage.binary_dilation(area, iterations=reach))
            if not parts:
                break
            area = np.logical_or.reduce(parts)
            found[index] = area
        return found

    def _walled(self, index: int, area: BoolArray) -> bool:
        ring = ndimage.binary_dilation(area, iterations=max(1, round(4.0 / self._pixel_mm))) & ~area
        return bool(self._hu[index][ring].mean() > WALL_HU)

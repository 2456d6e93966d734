"""Small measures of an image that several steps share: what is head rather than air, how noisy it is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dashboard.preparation.types import BoolArray
from models.errors import DataError
from models.types import FloatArray, Geometry

_BINS = 256
_LAPLACE = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])


def otsu(values: FloatArray) -> float:
    """The threshold that parts values best into two groups (Otsu, IEEE Trans Syst Man Cybern 1979, 9:62-66).

    The range is cut at the 99.5 percentile, as one very bright vessel would else coarsen the bins.

    Raises:
        DataError: all values are equal.
    """
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    if high <= low:
        raise DataError("The image has the same value everywhere; there is nothing to prepare.")
    counts, edges = np.histogram(np.clip(values, low, high), _BINS, (low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    moment = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = moment[:-1] / below - (moment[-1] - moment[:-1]) / above
        between = np.nan_to_num(below * above * apart**2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[1:-1][best].mean())  # the middle, where a gap between the groups leaves a choice


def foreground(values: FloatArray) -> BoolArray:
    """(D, H, W) the largest piece brighter than the background, with what it encloses in each slice."""
    piece = largest(values > otsu(values))
    return np.stack([ndimage.binary_fill_holes(plane) for plane in piece])


def largest(mask: BoolArray) -> BoolArray:
    """The largest piece of a mask, by faces; the mask itself where it is empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def spacing_of(geometry: Geometry | None) -> tuple[float, float, float]:
    """Voxel size in mm along (slice, row, column); 1 where unknown."""
    return (1.0, 1.0, 1.0) if geometry is None else geometry.spacing[::-1]


def noise_level(values: FloatArray, mask: BoolArray) -> float:
    """Standard deviation of the noise in a mask, from the Laplacian of each slice, which smooth anatomy leaves near zero.

    After Immerkaer, Computer Vision and Image Understanding 1996, 64:300-302. Differs: the median of the absolute values
    in place of their mean, as edges of anatomy would else count for noise.
    """
    planes = np.stack([ndimage.convolve(plane.astype(np.float64), _LAPLACE) for plane in values])
    inside = np.stack([ndimage.binary_erosion(plane, iterations=1) for plane in mask])
    found = np.abs(planes[inside if inside.any() else mask])
    return float(np.median(found) / 0.6745 / 6.0) if found.size else 0.0  # the filter's weights have norm 6


def dice(first: BoolArray, second: BoolArray) -> float:
    """Overlap of two masks, 0 to 1; 1 where both are empty (Dice, Ecology 1945, 26:297-302)."""
    total = int(first.sum()) + int(second.sum())
    return 1.0 if total == 0 else 2.0 * int((first & second).sum()) / total

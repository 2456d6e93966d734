"""What the finders share: sizes, thresholds, pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.types import Image

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def working(image: Image, side: int) -> Array:
    """(3 or 1, h, w) in [0, 1], brighter is brighter, the longer side ``side`` pixels; smaller images keep their size."""
    shown = image.display().astype(np.float64)
    factor = min(1.0, side / max(image.plane_shape))
    if factor == 1.0:
        return shown
    height, width = (max(1, round(length * factor)) for length in image.plane_shape)
    blurred = ndimage.gaussian_filter(shown, (0, 0.4 / factor, 0.4 / factor))
    rows = (np.arange(height) + 0.5) * image.plane_shape[0] / height - 0.5
    columns = (np.arange(width) + 0.5) * image.plane_shape[1] / width - 0.5
    return np.stack(
        [
            ndimage.map_coordinates(one, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
            for one in blurred
        ]
    )


def full_size(mask: Mask, image: Image) -> Mask:
    """A mask of the working size on the image's own pixels: each takes the working pixel it lies in."""
    (height, width), (h, w) = image.plane_shape, mask.shape
    rows = ((np.arange(height) + 0.5) * h / height).astype(int)
    columns = ((np.arange(width) + 0.5) * w / width).astype(int)
    return mask[np.ix_(rows, columns)]


def otsu(values: Array, bins: int = 128) -> float:
    """Otsu's threshold of any values (IEEE SMC 1979, 9:62-66)."""
    counts, edges = np.histogram(values, bins)
    middle = (edges[:-1] + edges[1:]) / 2
    below, sum_below = np.cumsum(counts)[:-1], np.cumsum(counts * middle)[:-1]
    above, sum_above = counts.sum() - below, (counts * middle).sum() - sum_below
    gap = sum_below / np.maximum(below, 1) - sum_above / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * gap**2)])


def disc(radius: float) -> Mask:
    """A round footprint."""
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x**2 + y**2 <= radius**2)


def opened(mask: Mask, radius: float) -> Mask:
    """Without what a disc does not fit into; the picture goes on beyond its edge."""
    inner = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > radius
    return mask & (ndimage.distance_transform_edt(~inner) <= radius + 0.5) if inner.any() else np.zeros_like(mask)


def closed(mask: Mask, radius: float) -> Mask:
    """With gaps filled that a disc does not fit into."""
    return ~opened(~mask, radius)


def largest(mask: Mask) -> Mask:
    """The largest connected piece; empty where there is none."""
    labels, count = ndimage.label(mask)
    if not count:
        return np.zeros_like(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def rim(shape: tuple[int, int], share: float) -> Mask:
    """The outermost ``share`` of the shorter side along all edges."""
    width = max(1, round(share * min(shape)))
    mask = np.ones(shape, dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def edge_length(labels: NDArray[np.int32], count: int) -> Array:
    """(count + 1,) how much of the picture's edge each piece touches, as a share of its length."""
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    return np.bincount(edge, minlength=count + 1) / len(edge)


def corners_held(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(count + 1,) number of the picture's corners in each piece."""
    found = labels[[0, 0, -1, -1], [0, -1, 0, -1]]
    return np.bincount(found, minlength=count + 1)

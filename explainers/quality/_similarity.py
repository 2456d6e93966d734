"""How alike two maps look: structural similarity and rank correlation, of many maps at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.types import FloatArray

Array = NDArray[np.float64]
View = Literal["absolute", "signed"]

SIGMA, RADIUS = 1.5, 5  # of the Gaussian window, 11 x 11 px (Wang 2004)
K1, K2 = 0.01, 0.03
CLIP = 99.0  # percentile of the magnitude that fills the scale, as in the maps that Arun 2021 compared
LOOK = 0.01  # standard deviation of the blur before, of the longer side
RANK_SIDE = 64  # px; ranks are of means over blocks, at most so many along the longer side


def shown(maps: FloatArray, view: View) -> Array:
    """Maps as they are looked at, free of scale.

    First a blur of a hundredth of the longer side (of magnitudes, where they are asked for): pixel by pixel any two
    gradient maps are unlike, even of one network and like pictures, so that nothing could be told from anything. On the
    shipped models the similarity of pairs rises from 0.04 to 0.14 and more by it.

    Args:
        maps: (n, H, W), signed.
        view: "absolute" gives magnitudes, stretched to [0, 1] and cut off at their 99th percentile (the grey maps of
            PAIR saliency, which Adebayo 2018 and Arun 2021 compare); "signed" divides by the 99th percentile of the
            magnitude, to [-1, 1].

    Returns:
        (n, H, W); 0 everywhere for a map of one value (absolute) or of zeros (signed).
    """
    values = np.asarray(maps, dtype=np.float64)
    values = np.abs(values) if view == "absolute" else values
    spread = LOOK * max(values.shape[1:])
    values = ndimage.gaussian_filter(values, (0, spread, spread), mode="nearest")
    magnitude = np.abs(values)
    top = np.percentile(magnitude, CLIP, axis=(1, 2), keepdims=True)
    top = np.where(top > 0, top, magnitude.max(axis=(1, 2), keepdims=True))
    if view == "signed":
        return np.clip(np.divide(values, top, out=np.zeros_like(values), where=top > 0), -1.0, 1.0)
    low = magnitude.min(axis=(1, 2), keepdims=True)
    extent = top - low
    return np.clip(np.divide(magnitude - low, extent, out=np.zeros_like(values), where=extent > 0), 0.0, 1.0)


def ssim(first: Array, second: Array, extent: float) -> Array:
    """Mean structural similarity of pairs of maps (Wang et al. 2004, eq. 13, Gaussian window; IEEE TIP 13:600).

    Args:
        first, second: (n, H, W), H and W at least 11; only where the window fits inside does the mean count.
        extent: of the values (1 for [0, 1], 2 for [-1, 1]).

    Returns:
        (n,) in [-1, 1]; 1 for equal maps.
    """
    rows, columns = _window(first.shape[1]), _window(first.shape[2]).T

    def local(values: Array) -> Array:
        return rows @ values @ columns

    mean_1, mean_2 = local(first), local(second)
    spread = local(first**2) - mean_1**2 + local(second**2) - mean_2**2
    shared = local(first * second) - mean_1 * mean_2
    c1, c2 = (K1 * extent) ** 2, (K2 * extent) ** 2
    found = (2 * mean_1 * mean_2 + c1) * (2 * shared + c2) / ((mean_1**2 + mean_2**2 + c1) * (spread + c2))
    return np.asarray(found.mean(axis=(1, 2)))


@lru_cache(maxsize=16)
def _window(size: int) -> Array:
    """(size - 10, size): each row is the Gaussian window at one place."""
    taps = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
    matrix = np.zeros((size - 2 * RADIUS, size))
    for row in range(len(matrix)):
        matrix[row, row : row + len(taps)] = taps / taps.sum()
    return matrix


def ranks(maps: FloatArray, view: View) -> Array:
    """(n, m) ranks of block means, centred and of length 1; ties share their mean rank, a constant map is NaN.

    Blocks are as small as leaves at most 64 of them along the longer side.
    """
    from scipy.stats import rankdata  # slow to load, see _ranks

    values = np.abs(maps) if view == "absolute" else np.asarray(maps)
    block = -(-max(values.shape[1:]) // RANK_SIDE)
    height, width = (side // block * block for side in values.shape[1:])
    blocks = values[:, :height, :width].reshape(len(values), height // block, block, width // block, block)
    ranked = rankdata(blocks.mean(axis=(2, 4), dtype=np.float64).reshape(len(values), -1), axis=1)
    ranked -= ranked.mean(axis=1, keepdims=True)
    length = np.linalg.norm(ranked, axis=1, keepdims=True)
    return np.divide(ranked, length, out=np.full_like(ranked, np.nan), where=length > 0)


def spearman(first: Array, second: Array) -> Array:
    """(n,) rank correlations of what :func:`ranks` gives; NaN where a map is constant."""
    return np.asarray((first * second).sum(axis=1))

"""Maps of many cases on one coarse grid, laid over the whole picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dashboard.serving.types import Explanation
from explainers.reduce import above_mean, reduce_channels
from models.project import area_means, covered, input_to_image
from models.types import FloatArray

Array = NDArray[np.float64]


def on_image(explanation: Explanation) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(H, W) map of the image, and which of its pixels the network saw."""
    values = reduce_channels(explanation.attribution.values)
    place, shape = explanation.grid_to_image, explanation.image_shape
    seen = covered(place, (values.shape[0], values.shape[1]), shape)
    return input_to_image(values, place, shape), seen


def excess(values: FloatArray, seen: NDArray[np.bool_]) -> Array | None:
    """(H, W) by how much a map lies above its own mean, adding up to 1; None for a map that is the same everywhere.

    The positive part alone would say little: a network with a low operating point calls cases whose class activation map
    is below 0 nearly everywhere (of the chest network's, half have less than 1 % of their magnitude above 0).
    """
    found = above_mean(values, seen)
    return None if found is None else found / found.sum()


def cell_means(values: NDArray[np.floating], seen: NDArray[np.bool_], side: int) -> Array:
    """(side, side) means of an (H, W) map over equal parts of the picture; NaN where less than half of a part is seen.

    A picture of fewer pixels than cells gives several cells the same pixel.
    """
    rows, columns = (area_means(side, length / side, -0.5, length) for length in values.shape)
    area = rows @ seen.astype(np.float64) @ columns.T
    sums = rows @ np.where(seen, values, 0).astype(np.float64) @ columns.T
    return np.where(area >= 0.5 - 1e-9, np.divide(sums, area, out=np.zeros_like(sums), where=area > 0), np.nan)

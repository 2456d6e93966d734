"""Layer grid to input grid; :mod:`models.project` goes on from there to the image. No other code upsamples maps.

Convention: integer coordinates are pixel centres, and a pixel (or layer cell) covers half a unit to either
side. Cell i of a layer with n cells over N input pixels is therefore centred at (i + 0.5) * N / n - 0.5.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from models.types import FloatArray


def layer_to_input(native: FloatArray, grid_shape: tuple[int, int]) -> FloatArray:
    """A map on the layer grid, bilinear on the input grid (edge values held, ``align_corners=False``).

    Args:
        native: (h, w) float32.
        grid_shape: (H, W) of the network's input.

    Returns:
        (H, W) float32, same unit.
    """
    cells = torch.from_numpy(np.array(native, dtype=np.float32))[None, None]
    upsampled = functional.interpolate(cells, size=grid_shape, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(upsampled[0, 0].numpy())

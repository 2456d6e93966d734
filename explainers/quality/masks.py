"""Masks of the image brought onto the network's input grid, where maps and checks live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.methods._baselines import baseline
from explainers.passes import Passes
from models.errors import DataError
from models.preprocess import Prepared
from models.types import FloatArray

Mask = NDArray[np.bool_]


def to_grid(mask: Mask, prepared: Prepared) -> Mask:
    """A mask of the image on the input grid; a pixel is inside when half of what it shows is, padding never.

    Of a mask too small for that, the pixel that it covers most.

    Args:
        mask: (H, W) of the plane image.

    Returns:
        (h, w) of the network's input.

    Raises:
        DataError: the mask has not the image's shape.
    """
    if mask.shape != prepared.image_shape:
        raise DataError(f"The mask is {mask.shape} and the image {prepared.image_shape}; give a mask of that image.")
    rows = _average(prepared.grid_to_image[1, 1], prepared.grid_to_image[1, 2], prepared.grid_shape[0], mask.shape[0])
    columns = _average(
        prepared.grid_to_image[0, 0], prepared.grid_to_image[0, 2], prepared.grid_shape[1], mask.shape[1]
    )
    share = rows @ mask.astype(np.float32) @ columns.T
    inside = np.asarray(share >= 0.5)
    if not inside.any() and share.any():
        inside[np.unravel_index(share.argmax(), share.shape)] = True
    return inside


def all_to_grid(masks: Mapping[str, Mask], prepared: Prepared) -> dict[str, Mask]:
    """Several, by name."""
    return {name: to_grid(mask, prepared) for name, mask in masks.items()}


def cover(passes: Passes, prepared: Prepared, masks: Sequence[Mask], fill: str) -> FloatArray:
    """Logits (n, K) of the input with one mask at a time showing the baseline ``fill`` instead.

    Args:
        masks: one or more, (H, W) of the plane image each.

    Raises:
        DataError: a mask has not the image's shape.
    """
    shown = baseline(prepared, fill)
    parts = []
    for first in range(0, len(masks), passes.windows):
        stack = np.stack([to_grid(mask, prepared) for mask in masks[first : first + passes.windows]])[:, None]
        parts.append(passes.logits(torch.where(torch.from_numpy(stack).to(shown.device), shown, prepared.tensor)))
    found: FloatArray = torch.cat(parts).float().cpu().numpy()
    return found


def seen_of(prepared: Prepared) -> Mask:
    """(h, w) pixels of the input whose centres lie on the image, the rest being padding."""
    (height, width), (across, down) = prepared.image_shape, prepared.grid_shape[::-1]
    columns = np.arange(across) * prepared.grid_to_image[0, 0] + prepared.grid_to_image[0, 2]
    rows = np.arange(down) * prepared.grid_to_image[1, 1] + prepared.grid_to_image[1, 2]
    return np.logical_and.outer((rows > -0.5) & (rows < height - 0.5), (columns > -0.5) & (columns < width - 0.5))


def _average(scale: float, shift: float, grid: int, size: int) -> NDArray[np.float32]:
    """(grid, size) weights: each row averages the image pixels that an input pixel covers, 0 off the image.

    An input pixel finer than the image's takes the one it lies in.
    """
    centre = np.arange(grid) * scale + shift
    low, high = centre - max(scale, 1e-6) / 2, centre + max(scale, 1e-6) / 2
    pixel = np.arange(size)
    covered = np.minimum(high[:, None], pixel + 0.5) - np.maximum(low[:, None], pixel - 0.5)
    covered = np.maximum(covered, 0) / (high - low)[:, None]
    inside = (centre > -0.5) & (centre < size - 0.5)
    total = covered.sum(axis=1, keepdims=True)
    weights = np.divide(covered, total, out=np.zeros_like(covered), where=total > 0)
    return (weights * inside[:, None]).astype(np.float32)

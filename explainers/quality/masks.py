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
from models.project import along, area_means, within_image
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
    sizes = zip(along(prepared.grid_to_image), prepared.grid_shape, mask.shape, strict=True)
    rows, columns = (
        area_means(cells, scale, shift - scale / 2, pixels).astype(np.float32)
        for (scale, shift), cells, pixels in sizes
    )
    share = np.where(seen_of(prepared), rows @ mask.astype(np.float32) @ columns.T, 0)
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
    return within_image(prepared.grid_to_image, prepared.grid_shape, prepared.image_shape)

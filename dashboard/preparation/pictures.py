"""Small pictures of an image: the planes through one place, as a radiologist hangs them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from dashboard.quantify.grid import Turn
from models.types import FloatArray, Geometry, Image, Window

SIZE = 180
_GAP = 4


@dataclass(frozen=True, eq=False)
class Picture:
    """8-bit planes side by side.

    Attributes:
        planes: (h, w) uint8 each: axial, coronal and sagittal of a volume, one of a plane image.
    """

    planes: tuple[NDArray[np.uint8], ...]

    def joined(self) -> NDArray[np.uint8]:
        """(h, w) uint8, the planes in a row on black."""
        height = max(plane.shape[0] for plane in self.planes)
        padded = [_centred(plane, height) for plane in self.planes]
        gap = np.zeros((height, _GAP), np.uint8)
        parts = [part for plane in padded for part in (plane, gap)][:-1]
        return np.concatenate(parts, axis=1)

    def png(self) -> bytes:
        buffer = BytesIO()
        PIL.Image.fromarray(self.joined()).save(buffer, "PNG")
        return buffer.getvalue()


def picture(
    image: Image, window: Window | None = None, at: tuple[float, float, float] | None = None, size: int = SIZE
) -> Picture:
    """The three planes of a volume through a place, or the one of a plane image; true to millimetres.

    Args:
        window: None for the image's first.
        at: (column, row, slice), held within the image; None for the middle.
        size: of the longer side of the largest plane, in pixels.

    Returns:
        Patient's right at the left; nose, head and front up, where the geometry says how the patient lies.
    """
    values = image.values[0] if not image.is_colour else image.values.mean(axis=0)
    if image.depth == 1:
        plane = values if values.ndim == 2 else values[0]
        mm = image.plane_spacing[::-1]
        return Picture((_scaled(_grey(image, plane, window), mm, size / _longest(plane.shape, mm)),))
    geometry = image.geometry or Geometry(np.eye(4))
    turn = Turn.of(geometry)
    place = at or tuple((count - 1) / 2 for count in values.shape[::-1])
    mark = [int(np.clip(round(where), 0, count - 1)) for where, count in zip(place[::-1], values.shape, strict=True)]
    upright = turn.apply(values)  # slices to the head, rows to the back, columns to the left
    index = [
        upright.shape[new] - 1 - mark[old] if flip else mark[old]
        for new, (old, flip) in enumerate(zip(turn.axes, turn.flips, strict=True))
    ]
    slice_mm, row_mm, column_mm = turn.geometry(geometry, values.shape).spacing[::-1]
    cuts: list[tuple[FloatArray, tuple[float, float]]] = [
        (upright[index[0]], (row_mm, column_mm)),
        (upright[::-1, index[1]], (slice_mm, column_mm)),
        (upright[::-1, :, index[2]], (slice_mm, row_mm)),
    ]
    scale = size / max(_longest(plane.shape, spacing) for plane, spacing in cuts)
    return Picture(tuple(_scaled(_grey(image, plane, window), spacing, scale) for plane, spacing in cuts))


def _grey(image: Image, plane: FloatArray, window: Window | None) -> FloatArray:
    grey = (window or image.windows[0]).apply(plane)
    return 1.0 - grey if image.inverted else grey


def _longest(shape: tuple[int, ...], spacing: tuple[float, float]) -> float:
    return max(count * mm for count, mm in zip(shape, spacing, strict=True))


def _scaled(plane: FloatArray, spacing: tuple[float, float], scale: float) -> NDArray[np.uint8]:
    """A plane in [0, 1] at ``scale`` pixels a millimetre."""
    height, width = (max(1, round(count * mm * scale)) for count, mm in zip(plane.shape, spacing, strict=True))
    pixels = PIL.Image.fromarray(np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8))
    return np.asarray(pixels.resize((width, height), PIL.Image.Resampling.BICUBIC, reducing_gap=3.0))


def _centred(plane: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    spare = height - plane.shape[0]
    return np.pad(plane, ((spare // 2, spare - spare // 2), (0, 0)))

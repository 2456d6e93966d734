"""A small picture of an image, for lists."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image

from models.errors import DataError
from models.types import Image


def thumbnail(image: Image, size: int = 56) -> bytes:
    """The middle slice in the image's default window as a JPEG.

    Physical proportions are kept: the longer side, in millimetres, becomes ``size`` pixels.

    Args:
        image: plane or volume, grey or RGB.
        size: longer side in pixels, at least 1.

    Returns:
        JPEG bytes, 8-bit grey or RGB; the same image gives the same bytes.

    Raises:
        DataError: ``size`` is not positive.
    """
    if size < 1:
        raise DataError(f"A thumbnail needs a size of at least 1 pixel, got {size}.")
    plane = image.slice(image.depth // 2)
    pixels = np.rint(plane.display() * 255).astype(np.uint8)
    picture = PIL.Image.fromarray(np.moveaxis(pixels, 0, -1) if image.is_colour else pixels[0])

    (rows, columns), (column_mm, row_mm) = image.plane_shape, image.plane_spacing
    width, height = columns * column_mm, rows * row_mm
    scale = size / max(width, height)
    shape = max(1, round(width * scale)), max(1, round(height * scale))

    buffer = BytesIO()
    picture.resize(shape, PIL.Image.Resampling.LANCZOS, reducing_gap=3.0).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

"""The cases of a group side by side, with where their maps lie, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import matplotlib
import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.hunting.signatures import on_image
from models.types import FloatArray, Image

TILE = 168  # px
GAP = 4
COLOURS = "inferno"  # perceptually uniform
_OPAQUE = 0.75  # of the strongest place
_FAINTEST = 0.08  # of the strongest place; below it the picture is left as it is
_OUTLINE = (86, 180, 233)
_WORD = (255, 255, 255)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Tile:
    """One case.

    Attributes:
        cells: (side, side) map on the common grid.
        word: written into the corner, "" for none.
    """

    image: Image
    cells: FloatArray
    word: str = ""


def montage(tiles: Sequence[Tile], across: int = 6, region: NDArray[np.bool_] | None = None) -> bytes:
    """A PNG of the tiles, row by row.

    Each map is coloured by its share of its own strongest cell, through ``COLOURS``, and lets the picture through where
    it is weak.

    Args:
        region: (side, side) cells on the common grid that are outlined on every tile.

    Returns:
        PNG bytes, RGB; the same tiles give the same bytes.
    """
    columns = min(across, max(1, len(tiles)))
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * (TILE + GAP) - GAP, columns * (TILE + GAP) - GAP, 3), dtype=np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (place * (TILE + GAP) for place in divmod(number, columns))
        sheet[top : top + TILE, left : left + TILE] = drawn(tile, region)
    buffer = BytesIO()
    PIL.Image.fromarray(sheet).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(tile: Tile, region: NDArray[np.bool_] | None = None) -> Pixels:
    """(TILE, TILE, 3) one case on black, its physical proportions kept."""
    height, width = _shape(tile.image)
    shown = tile.image.display()
    planes = [_resized(plane, height, width) for plane in (shown if len(shown) == 3 else np.repeat(shown, 3, axis=0))]
    picture = np.stack(planes, axis=-1)
    own = _resized(np.asarray(on_image(tile.cells, tile.image), dtype=np.float32), height, width)
    own = ndimage.gaussian_filter(own, max(height, width) / (2 * len(tile.cells)))  # cells are not seen as squares
    strong = own / max(float(own.max()), 1e-12)
    colours = matplotlib.colormaps[COLOURS](strong)[..., :3]
    opaque = np.where(strong > _FAINTEST, _OPAQUE * strong**0.7, 0)[..., None]
    mixed = np.rint(255 * (picture * (1 - opaque) + colours * opaque)).clip(0, 255).astype(np.uint8)
    if region is not None:
        inside = _resized(np.asarray(on_image(region, tile.image), dtype=np.float32), height, width) > 0.5
        mixed[inside & ~ndimage.binary_erosion(inside, iterations=2, border_value=0)] = _OUTLINE
    found = np.zeros((TILE, TILE, 3), dtype=np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    found[top : top + height, left : left + width] = mixed
    if tile.word:
        sheet = PIL.Image.fromarray(found)
        pen = PIL.ImageDraw.Draw(sheet)
        pen.text((4, 3), tile.word, fill=_WORD, stroke_width=2, stroke_fill=(0, 0, 0))
        found = np.asarray(sheet)
    return found


def _shape(image: Image) -> tuple[int, int]:
    (rows, columns), (column_mm, row_mm) = image.plane_shape, image.plane_spacing
    tall, wide = rows * row_mm, columns * column_mm
    scale = TILE / max(tall, wide)
    return max(1, round(tall * scale)), max(1, round(wide * scale))


def _resized(plane: NDArray[np.floating], height: int, width: int) -> FloatArray:
    held = PIL.Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(held.resize((width, height), PIL.Image.Resampling.BILINEAR, reducing_gap=3.0), dtype=np.float32)

"""A plane picture to draw a region on, with brush, box and eraser; by mouse, pen, touch or keyboard.

Strokes are drawn in the browser; Python hears of the region when a stroke has ended. The picture travels once, as the
viewer's do (:mod:`dashboard.widgets.viewer.component`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from dashboard.widgets.viewer.component import mount_blob, nothing, source
from dashboard.widgets.viewer.packing import Packed, pack
from models.errors import DataError
from models.types import Image, Window

Mask = NDArray[np.bool_]
MOST = 768  # pixels of the longer side that are drawn on; of a larger picture, blocks of whole pixels
_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "sightline_drawing",
    css=source("drawing.css", folder=_HERE),
    js="\n".join([source("store.js"), source("runs.js", "sheet.js", "tools.js", "drawing.js", folder=_HERE)]),
)


@dataclass(frozen=True, eq=False)
class Sheet:
    """A picture as it is drawn on.

    Attributes:
        packed: (h, w) or (h, w, 3) uint8, blocks of ``factor`` x ``factor`` pixels averaged.
        shape: (H, W) of the picture.
    """

    packed: Packed
    factor: int
    shape: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) that is drawn on."""
        return -(-self.shape[0] // self.factor), -(-self.shape[1] // self.factor)


@dataclass(frozen=True, eq=False)
class Outline:
    """A region shown, but not drawn on: (H, W) of the picture."""

    title: str
    mask: Mask


@dataclass(frozen=True, eq=False)
class Drawn:
    """The region after a stroke: (H, W) of the picture, None where nothing is drawn any more."""

    mask: Mask | None


_sheets: WeakKeyDictionary[Image, dict[Window, Sheet]] = WeakKeyDictionary()


def sheet_of(image: Image, window: Window) -> Sheet:
    """A plane image in 8 bits as the window shows it; the same object each time."""
    known = _sheets.setdefault(image, {})
    if window not in known:
        height, width = image.plane_shape
        factor = max(1, -(-max(height, width) // MOST))
        shown = image.display(window)
        padded = np.pad(shown, ((0, 0), (0, -height % factor), (0, -width % factor)), mode="edge")
        blocks = padded.reshape(len(shown), padded.shape[1] // factor, factor, padded.shape[2] // factor, factor)
        grey = np.rint(blocks.mean(axis=(2, 4)) * 255).astype(np.uint8)
        array = np.moveaxis(grey, 0, -1) if image.is_colour else grey[0]
        column_mm, row_mm = image.plane_spacing
        facts = {"shape": list(array.shape[:2]), "channels": len(grey), "aspect": width * column_mm / (height * row_mm)}
        known[window] = Sheet(pack(facts, array), factor, (height, width))
    return known[window]


def drawing(
    sheet: Sheet,
    *,
    key: str,
    title: str,
    region: Mask | None = None,
    version: int = 0,
    outlines: Sequence[Outline] = (),
    editable: bool = True,
) -> Drawn | None:
    """Shows the picture on black, and the tools where it can be drawn on.

    Args:
        region: (H, W) drawn so far; the browser takes it up when it has just appeared or ``version`` is another, and
            else goes on from its own.
        version: raised by whoever changes the region from outside.
        outlines: shown dashed, with their titles under the picture.
        editable: False shows the picture alone.

    Returns:
        The region when a stroke has just ended, in exactly one run of the script; otherwise None.

    Raises:
        DataError: a mask has not the picture's shape, or the browser sent something that is no region of it.
    """
    with st.container(gap=None):
        mount_blob(sheet.packed, key=key)
        result = _component(
            key=key,
            data={
                "title": title,
                "image": sheet.packed.facts,
                "version": version,
                "editable": editable,
                "runs": [] if region is None else encode(region, sheet),
                "outlines": [{"title": one.title, "runs": encode(one.mask, sheet)} for one in outlines],
            },
            on_drawn_change=nothing,
        )
    return _event(result, sheet, version)


def encode(mask: Mask, sheet: Sheet) -> list[int]:
    """(H, W) to first, length, first, length ... of the runs on the drawing's grid, row after row."""
    if mask.shape != sheet.shape:
        raise DataError(f"The region is {mask.shape} pixels and the picture {sheet.shape}; draw it on this picture.")
    (height, width), factor = sheet.shape, sheet.factor
    padded = np.pad(mask, ((0, -height % factor), (0, -width % factor)))
    small = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor).any(axis=(1, 3))
    steps = np.flatnonzero(np.diff(np.concatenate([[0], small.ravel().astype(np.int8), [0]])))
    firsts, ends = steps[::2], steps[1::2]
    return [int(number) for number in np.stack([firsts, ends - firsts], axis=1).ravel()]


def decode(runs: object, sheet: Sheet) -> Mask:
    """The opposite of :func:`encode`; every pixel of a block is in the region. Raises DataError for anything else."""
    height, width = sheet.grid
    numbers = np.asarray(runs) if isinstance(runs, list) else np.zeros(1, dtype=object)
    wrong = DataError("The browser sent a region that does not fit the picture; draw it again.")
    if numbers.size == 0:
        return np.zeros(sheet.shape, dtype=bool)
    if numbers.ndim != 1 or numbers.size % 2 or numbers.dtype.kind not in "iu":
        raise wrong
    firsts, lengths = numbers[::2], numbers[1::2]
    ends = firsts + lengths
    if firsts[0] < 0 or lengths.min() < 1 or ends[-1] > height * width or (firsts[1:] < ends[:-1]).any():
        raise wrong
    marks = np.zeros(height * width + 1, dtype=np.int8)
    marks[firsts] += 1
    np.subtract.at(marks, ends, 1)
    small = np.cumsum(marks[:-1], dtype=np.int8).reshape(height, width).astype(bool)
    whole = small.repeat(sheet.factor, axis=0).repeat(sheet.factor, axis=1)
    mask: Mask = np.ascontiguousarray(whole[: sheet.shape[0], : sheet.shape[1]])
    mask.setflags(write=False)
    return mask


def _event(result: Mapping[str, Any], sheet: Sheet, version: int) -> Drawn | None:
    sent = result.get("drawn")
    # A stroke on what was drawn before says nothing about the region put there since.
    if not sent or sent.get("version") != version or sent.get("blob") != sheet.packed.blob:
        return None
    mask = decode(sent.get("runs"), sheet)
    return Drawn(mask if mask.any() else None)

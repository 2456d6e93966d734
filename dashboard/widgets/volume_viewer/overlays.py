"""What is drawn over the three planes, and beside them: masks, maps, and one number a slice."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.widgets.viewer.packing import Packed, pack
from dashboard.widgets.volume_viewer.packing import block_factors, block_mean
from models.errors import DataError
from models.types import FloatArray

MAP_BYTES = 32_000_000
"""A map up to this size is sent in full; of a larger one the means of blocks."""

UNKNOWN = -32768
"""Sent for a cell of a map that holds no value, or lies outside the image."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """One thing drawn over the three planes: a mask as an outline, or a map in colours.

    Arrays marked read-only are packed once however often the page reruns.

    Attributes:
        id: stable; keeps what the reader chose for it.
        title: in the legend.
        mask: (D, H, W) on the image's grid.
        values: (d, h, w) float32, raw, signed as the method defines it, on its own grid; NaN where not known.
        grid_to_image: (4, 4) float64, maps (column, row, slice, 1) of the grid of ``values`` to the same of the
            image, integers at centres on both; None where it is the image's own grid.
        signed: negative values carry meaning; colours are then diverging around zero.
        unit: of a value ("logit").
    """

    id: str
    title: str
    mask: NDArray[np.bool_] | None = None
    values: FloatArray | None = None
    grid_to_image: NDArray[np.float64] | None = None
    signed: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.values is None):
            raise DataError(f"The overlay {self.title!r} needs either a mask or values.")
        shape = (self.values if self.mask is None else self.mask).shape  # type: ignore[union-attr]
        if len(shape) != 3 or 0 in shape:
            raise DataError(f"The overlay {self.title!r} must have shape (slices, rows, columns), got {shape}.")
        if self.grid_to_image is not None:
            matrix = np.asarray(self.grid_to_image, dtype=np.float64)
            if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
                raise DataError(f"The overlay {self.title!r} needs a finite, invertible 4 x 4 grid_to_image matrix.")


@dataclass(frozen=True, eq=False)
class Strip:
    """One number a slice, drawn beside the slider of the slices.

    Attributes:
        values: (D,) float32; NaN where not known yet.
        threshold: drawn as a line.
    """

    id: str
    title: str
    values: NDArray[np.float32]
    unit: str = ""
    threshold: float | None = None


_known: dict[tuple[int, object], tuple[weakref.ref[NDArray[Any]], Packed]] = {}


def _once(array: NDArray[Any], key: object, make: Callable[[], Packed]) -> Packed:
    """Packs a read-only array once, for as long as it lives; one that may change, each time."""
    if array.flags.writeable:
        return make()
    name = (id(array), key)
    known = _known.get(name)
    if known is not None and known[0]() is array:
        return known[1]
    packed = make()
    _known[name] = (weakref.ref(array, lambda _: _known.pop(name, None)), packed)
    return packed


def pack_overlay(overlay: Overlay, size: tuple[int, int, int]) -> Packed:
    """One overlay of an image of ``size`` (columns, rows, slices). Raises DataError for a mask of another size."""
    if overlay.mask is not None:
        mask = np.asarray(overlay.mask, dtype=bool)
        if mask.shape != size[::-1]:
            raise DataError(
                f"The mask {overlay.title!r} has shape {mask.shape} but the image has {size[::-1]} "
                "(slices, rows, columns)."
            )
        packed = _once(mask, "mask", lambda: pack_mask(mask))
    else:
        values = np.asarray(overlay.values, dtype=np.float32)
        matrix = np.eye(4) if overlay.grid_to_image is None else np.asarray(overlay.grid_to_image, dtype=np.float64)
        packed = _once(values, (matrix.tobytes(), size), lambda: pack_values(values, matrix, size))
    facts = {"id": overlay.id, "title": overlay.title, "signed": overlay.signed, "unit": overlay.unit}
    return Packed(packed.facts | facts, packed.blob, packed.data)


def pack_mask(mask: NDArray[np.bool_]) -> Packed:
    """The smallest box that holds the mask, one bit a voxel."""
    first, end = [0, 0, 0], [0, 0, 0]
    inner = mask
    for axis in range(3):
        found = np.flatnonzero(inner.any(axis=tuple(other for other in range(3) if other != axis)))
        if not found.size:
            return Packed({"kind": "mask", "first": [0, 0, 0], "shape": [0, 0, 0], "blob": ""})
        first[axis], end[axis] = int(found[0]), int(found[-1]) + 1
        inner = inner[(slice(None),) * axis + (slice(first[axis], end[axis]),)]
    return pack({"kind": "mask", "first": first[::-1], "shape": list(inner.shape)}, np.packbits(inner))


def pack_values(values: FloatArray, matrix: NDArray[np.float64], size: tuple[int, int, int]) -> Packed:
    """A map as int16 with a scale; ``UNKNOWN`` where it holds no value or a cell's centre lies outside the image."""
    factors = block_factors(values.shape[::-1], np.linalg.norm(matrix[:3, :3], axis=0), 2, MAP_BYTES)
    if factors != (1, 1, 1):
        values = block_mean(values, factors)
        step = np.diag([*factors, 1.0])
        step[:3, 3] = (np.array(factors) - 1) / 2
        matrix = matrix @ step
    known = np.isfinite(values) & _inside(values.shape, matrix, size)
    scale = float(np.abs(values, where=known, out=np.zeros_like(values)).max()) / 32767 or 1.0
    sent = np.full(values.shape, UNKNOWN, np.int16)
    sent[known] = np.rint(values[known] / np.float32(scale)).astype(np.int16)
    facts = {
        "kind": "map",
        "shape": list(values.shape),
        "scale": scale,
        "grid_to_image": matrix[:3].ravel().tolist(),
        "exact": factors == (1, 1, 1),
    }
    return pack(facts, sent)


def _inside(shape: tuple[int, ...], matrix: NDArray[np.float64], size: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Cells of a (d, h, w) grid whose centre lies on the image."""
    slices, rows, columns = (np.arange(length, dtype=np.float32) for length in shape)
    inside = np.ones(shape, dtype=bool)
    for axis, length in enumerate(size):
        a, b, c, d = matrix[axis].astype(np.float32)
        place = a * columns + (b * rows + d)[:, None] + (c * slices)[:, None, None]
        inside &= (place >= -0.5) & (place < length - 0.5)
    return inside


def strip_facts(strip: Strip, depth: int) -> dict[str, Any]:
    """JSON-ready. Raises DataError where there is not one number for each slice."""
    values = np.asarray(strip.values, dtype=np.float64)
    if values.shape != (depth,):
        raise DataError(f"The strip {strip.title!r} needs one number for each of {depth} slices, got {values.shape}.")
    return {
        "id": strip.id,
        "title": strip.title,
        "unit": strip.unit,
        "threshold": strip.threshold,
        "values": [float(value) if np.isfinite(value) else None for value in values],
    }

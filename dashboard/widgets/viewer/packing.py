"""What the browser needs of an image, a map or a region: plain facts as JSON, numbers as one run of bytes each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.types import CT_WINDOWS, FloatArray, Image, Region

PLANE_PIXELS = 4_200_000
"""A plane image up to this size is sent in full; a larger one is averaged over blocks of whole pixels."""

VOLUME_BYTES = 48_000_000
"""The same for all slices of a volume together."""


@dataclass(frozen=True, eq=False)
class MapLayer:
    """One map over the image.

    Attributes:
        values: (H, W) float32, finite, raw and signed as the method defines it, on the map's own grid.
        grid_to_image: (3, 3) float64, affine, maps (column, row, 1) of the grid to the same of the image;
            integers are pixel centres on both.
        signed: negative values carry meaning; colours are then diverging around zero.
        unit: of a value ("logit").
        range: size of value that gets the strongest colour, for maps that must be shown alike; None takes
            each map's own 99.5th percentile of absolute values.
    """

    values: FloatArray
    grid_to_image: NDArray[np.float64]
    signed: bool
    unit: str
    range: float | None = None

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
            raise DataError(f"A map to show must be finite with shape (H, W), got shape {values.shape}.")
        matrix = np.asarray(self.grid_to_image, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:2, :2])) < 1e-12:
            raise DataError("A map to show needs a finite, invertible 3 x 3 grid_to_image matrix.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "grid_to_image", matrix)


@dataclass(frozen=True, eq=False)
class Packed:
    """JSON-ready facts, and the bytes they describe under a content hash of 32 characters ("" without bytes)."""

    facts: dict[str, Any]
    blob: str = ""
    data: bytes = b""


def pack(facts: dict[str, Any], array: NDArray[Any]) -> Packed:
    """Facts and the array's bytes, named by their hash."""
    raw = np.ascontiguousarray(array).tobytes()
    blob = hashlib.blake2b(raw, digest_size=16).hexdigest()
    return Packed({**facts, "blob": blob}, blob, blob.encode("ascii") + raw)


Source = TypeVar("Source")
Result = TypeVar("Result")


def once(make: Callable[[Source], Result]) -> Callable[[Source], Result]:
    """Packs each (immutable) object once, for as long as it lives."""
    known: WeakKeyDictionary[Source, Result] = WeakKeyDictionary()

    def packed(source: Source) -> Result:
        result = known.get(source)
        if result is None:
            result = known[source] = make(source)
        return result

    return packed


@once
def pack_image(image: Image) -> Packed:
    """The whole image, all slices: (D, H, W) int16 with scale and offset, or (D, H, W, 3) uint8 for colour."""
    stack = image.values if image.is_volume else image.values[:, None]
    factor = reduction(image)
    exact = factor == 1
    low, high = float(stack.min()), float(stack.max())
    scale, offset, lossless = scaling(stack, low, high, bits=8 if image.is_colour else 16)
    stack = _block_mean(stack, factor)
    sent = np.rint((stack - np.float32(offset)) / np.float32(scale))
    array = np.moveaxis(sent.astype(np.uint8), 0, -1) if image.is_colour else sent[0].astype(np.int16)
    height, width = image.plane_shape
    facts = {
        "dtype": "u1" if image.is_colour else "i2",
        "shape": list(array.shape[:3]),
        "channels": image.values.shape[0],
        "scale": scale,
        "offset": offset,
        "exact": exact and lossless,
        "factor": factor,
        "size": [width, height],
        "range": [low, high],
        "unit": image.unit,
        "inverted": image.inverted,
        "spacing": list(image.plane_spacing),
        "affine": image.geometry.affine.ravel().tolist() if image.geometry else None,
        "frame": image.geometry.frame if image.geometry else None,
        "windows": window_facts(image),
    }
    return pack(facts, array)


def window_facts(image: Image) -> list[dict[str, Any]]:
    """The image's own presets, and for HU the usual ones of CT that are not among them."""
    own = {(w.center, w.width, w.shape) for w in image.windows}
    usual = [w for w in CT_WINDOWS if (w.center, w.width, w.shape) not in own] if image.unit == "HU" else []
    return [
        {"name": w.name, "center": w.center, "width": w.width, "shape": w.shape, "table": list(w.table)}
        for w in (*image.windows, *usual)
    ]


def reduction(image: Image) -> int:
    """Side of the square block of pixels that one sent pixel stands for; 1 when the image is sent in full."""
    height, width = image.plane_shape
    if not image.is_volume:
        return max(1, int(np.ceil(np.sqrt(height * width / PLANE_PIXELS))))
    size = image.depth * height * width * (3 if image.is_colour else 2)
    return max(1, int(np.ceil(np.sqrt(size / VOLUME_BYTES))))


def scaling(stack: FloatArray, low: float, high: float, *, bits: int) -> tuple[float, float, bool]:
    """(scale, offset, lossless) such that value = sent * scale + offset fits a whole number of 8 or 16 bits.

    Whole numbers (CT, stored values) and whole 255ths and 65535ths (photographs) come through exactly; other
    values are rounded to the nearest of as many steps as the type has.

    Args:
        stack: (C, D, H, W) values from ``low`` to ``high``.
        bits: 8 for unsigned, 16 for signed numbers.
    """
    steps, first = (255, 0) if bits == 8 else (65535, -32768)
    for scale in (1.0, 1 / 255, 1 / 65535):
        fits = (high - low) / scale <= steps + 0.5
        # Plane by plane: the first that does not fit ends it, and the working copies stay small.
        if fits and all(_whole(plane, np.float32(scale)) for channel in stack for plane in channel):
            start = np.rint(low / scale)
            offset = 0.0 if first <= start and np.rint(high / scale) <= first + steps else (start - first) * scale
            return scale, float(offset), True
    scale = max(high - low, 1e-12) / steps
    return scale, low - first * scale, False


def _whole(plane: FloatArray, scale: np.float32) -> bool:
    nearest = np.rint(plane / scale) * scale
    return bool(np.array_equal(nearest, plane) or np.allclose(nearest, plane, rtol=1e-6, atol=1e-7))


def _block_mean(stack: FloatArray, factor: int) -> FloatArray:
    """(C, D, H, W) averaged over blocks of factor x factor pixels; blocks at the rim repeat the last pixel."""
    if factor == 1:
        return stack
    channels, depth, height, width = stack.shape
    padded = np.pad(stack, ((0, 0), (0, 0), (0, -height % factor), (0, -width % factor)), mode="edge")
    blocks = padded.reshape(channels, depth, padded.shape[2] // factor, factor, padded.shape[3] // factor, factor)
    mean: FloatArray = blocks.mean(axis=(3, 5), dtype=np.float32)
    return mean


@once
def pack_map(layer: MapLayer) -> Packed:
    """The map in full, float32."""
    facts = {
        "shape": list(layer.values.shape),
        "grid_to_image": layer.grid_to_image[:2].ravel().tolist(),
        "signed": layer.signed,
        "unit": layer.unit,
        "range": layer.range,
    }
    return pack(facts, layer.values)


def pack_region(region: Region, image: Image) -> Packed:
    """A box as four numbers; a mask as one bit a pixel, with the image's own reduction. Raises DataError for a misfit."""
    if region.mask is None:
        return Packed({"name": region.name, "box": list(region.box or ())})
    mask = region.mask if region.mask.ndim == 3 else region.mask[None]
    expected = (image.depth if region.mask.ndim == 3 else 1, *image.plane_shape)
    if mask.shape != expected:
        raise DataError(
            f"Region {region.name!r} has shape {mask.shape} but the image has {expected} (slices, rows, columns)."
        )
    factor = reduction(image)
    done = _regions.setdefault(region, {})
    if factor not in done:
        done[factor] = _pack_mask(region.name, mask, factor)
    return done[factor]


_regions: WeakKeyDictionary[Region, dict[int, Packed]] = WeakKeyDictionary()


def _pack_mask(name: str, mask: NDArray[np.bool_], factor: int) -> Packed:
    _, height, width = mask.shape
    padded = np.pad(mask, ((0, 0), (0, -height % factor), (0, -width % factor)))
    blocks = padded.reshape(mask.shape[0], padded.shape[1] // factor, factor, padded.shape[2] // factor, factor)
    small = blocks.any(axis=(2, 4))
    return pack({"name": name, "shape": list(small.shape), "factor": factor}, np.packbits(small))

"""What the browser needs of a volume: a small copy of all of it at once, and runs of full-size planes when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.widgets.viewer.packing import Packed, once, pack, scaling, window_facts
from dashboard.widgets.volume_viewer.planes import planes_of
from models.errors import DataError
from models.types import FloatArray, Image

COARSE_BYTES = 20_000_000
"""A volume up to this size is sent in full; of a larger one the means of blocks, and the rest on demand."""

CHUNK_BYTES = 4_300_000
"""Planes of full size travel in runs of about this many bytes (8 slices of 512 x 512)."""

HELD_BYTES = 96_000_000
"""The browser lets go of full-size planes beyond this, those looked at longest ago first."""

_PROJECTIONS = (np.maximum, np.minimum)
_THREADS = 4


@dataclass(frozen=True, eq=False)
class PackedVolume:
    """A volume ready to be shown.

    Attributes:
        id: 24 characters, a hash of all values.
        coarse: the small copy, (d, h, w), and facts for the browser.
        sent: number type of all that is sent: value = sent * scale + offset.
        run: planes in a chunk along (column, row, slice).
    """

    id: str
    coarse: Packed
    sent: np.dtype[Any]
    scale: float
    offset: float
    run: tuple[int, int, int]


@once
def pack_volume(image: Image) -> PackedVolume:
    """The small copy and the facts. Raises DataError for what three planes cannot show."""
    if not image.is_volume or image.depth < 2:
        raise DataError("Three planes need a volume of at least two slices; this image has one. Show it as a picture.")
    if image.is_colour:
        raise DataError("Three planes show grey volumes; this one has colours. Choose one of its slices instead.")
    values = image.values[0]
    depth, rows, columns = values.shape
    size = (columns, rows, depth)
    spacing = image.geometry.spacing if image.geometry else (1.0, 1.0, 1.0)
    low, high = _extremes(values)
    scale, offset, lossless = scaling(image.values, low, high, bits=8)
    if not lossless:
        scale, offset, lossless = scaling(image.values, low, high, bits=16)
    sent = np.dtype("u1" if _fits_bytes(low, high, scale, offset) else "i2")
    factors = block_factors(size, spacing, sent.itemsize, COARSE_BYTES)
    name = _digest(values)
    run = tuple(max(1, round(CHUNK_BYTES / (sent.itemsize * values.size / size[axis]))) for axis in range(3))
    facts = {
        "id": name,
        "dtype": sent.str[1:],
        "size": list(size),
        "factors": list(factors),
        "scale": scale,
        "offset": offset,
        "channels": 1,
        "exact": lossless,
        "range": [low, high],
        "unit": image.unit,
        "inverted": image.inverted,
        "spacing": list(spacing),
        "affine": image.geometry.affine.ravel().tolist() if image.geometry else None,
        "frame": image.geometry.frame if image.geometry else None,
        "windows": window_facts(image),
        "planes": [
            {"id": p.id, "title": p.title, "through": p.through, "across": list(p.across), "down": list(p.down)}
            for p in planes_of(image.geometry)
        ],
        "run": list(run),
        "held": HELD_BYTES,
    }
    coarse = pack(facts, _sent(block_mean(values, factors), scale, offset, sent))
    return PackedVolume(name, coarse, sent, scale, offset, (run[0], run[1], run[2]))


def _fits_bytes(low: float, high: float, scale: float, offset: float) -> bool:
    return round((low - offset) / scale) >= 0 and round((high - offset) / scale) <= 255


def _sent(values: FloatArray, scale: float, offset: float, kind: np.dtype[Any]) -> NDArray[Any]:
    return np.rint((values - np.float32(offset)) / np.float32(scale)).astype(kind)


def chunk(image: Image, packed: PackedVolume, name: str) -> Packed | None:
    """What the browser asked for by name; None where there is no such thing (an image shown before).

    A name is the volume's id, a digit and seven more. Digits 0 to 2 ask for the planes of a run along columns, rows
    or slices, (n, rows, columns) of those planes in the array's order of axes; 3 to 5 for the largest value along
    that axis, and 6 to 8 for the smallest, one plane.
    """
    if not name.startswith(packed.id) or not name[24:].isdigit() or len(name) != 32:
        return None
    kind, axis, number = int(name[24]) // 3, int(name[24]) % 3, int(name[25:])
    values = np.moveaxis(image.values[0], 2 - axis, 0)
    if kind == 0:
        first = number * packed.run[axis]
        planes = values[first : first + packed.run[axis]]
    elif kind <= len(_PROJECTIONS):
        planes = _PROJECTIONS[kind - 1].reduce(image.values[0], axis=2 - axis)[None]
    else:
        return None
    if not len(planes):
        return None
    return Packed({}, name, name.encode("ascii") + _sent(planes, packed.scale, packed.offset, packed.sent).tobytes())


def _slabs(values: NDArray[Any], step: int = 1) -> list[NDArray[Any]]:
    """Views of whole slices, a multiple of ``step`` in each, small enough for the processor's cache."""
    count = max(1, 4_000_000 // max(1, values[0].nbytes * step)) * step
    return [values[first : first + count] for first in range(0, len(values), count)]


def _extremes(values: FloatArray) -> tuple[float, float]:
    ends = [(slab.min(), slab.max()) for slab in _slabs(values)]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def _digest(values: FloatArray) -> str:
    """24 hexadecimal characters of a hash of shape and values."""
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(lambda slab: hashlib.blake2b(np.ascontiguousarray(slab).data).digest(), _slabs(values))
        whole = hashlib.blake2b(repr(values.shape).encode(), digest_size=12)
        for digest in digests:
            whole.update(digest)
    return whole.hexdigest()


def block_factors(size: Sequence[int], spacing: Sequence[float], itemsize: int, budget: int) -> tuple[int, int, int]:
    """Sides of the blocks in voxels along (column, row, slice), nearly cubes in mm, so that the means fit the budget."""
    factors = [1, 1, 1]

    def count() -> int:
        return int(np.prod([-(-length // factor) for length, factor in zip(size, factors, strict=True)]))

    while count() * itemsize > budget:
        finest = min((axis for axis in range(3) if factors[axis] < size[axis]), key=lambda a: factors[a] * spacing[a])
        factors[finest] += 1
    return factors[0], factors[1], factors[2]


def block_mean(values: FloatArray, factors: tuple[int, int, int]) -> FloatArray:
    """(D, H, W) averaged over blocks of ``factors`` (column, row, slice) voxels; those at the far rim may be smaller."""
    if factors == (1, 1, 1):
        return values
    across, down, through = factors

    def mean(slab: FloatArray) -> FloatArray:
        total, counts = slab, []
        for axis, factor in enumerate((through, down, across)):
            counts.append(np.diff([*range(0, total.shape[axis], factor), total.shape[axis]]))
            total = _sums(total, axis, factor)
        shares: FloatArray = total / np.einsum("i,j,k->ijk", *counts).astype(np.float32)
        return shares

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.concatenate(list(pool.map(mean, _slabs(values, through))))


def _sums(values: FloatArray, axis: int, factor: int) -> FloatArray:
    """Sums of ``factor`` neighbours along an axis; strided additions are ten times faster here than reduceat."""
    moved = np.moveaxis(values, axis, 0)
    total = moved[::factor].copy()
    for start in range(1, factor):
        part = moved[start::factor]
        total[: len(part)] += part
    return np.moveaxis(total, 0, axis)

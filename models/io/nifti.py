"""NIfTI-1 and NIfTI-2, turned to the index order of axial DICOM: columns to left, rows to posterior, slices to head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from models.errors import DataError
from models.io.base import (
    READERS,
    Member,
    Options,
    Reader,
    ReadResult,
    decoding,
    digest_of,
    freeze,
    make_case,
    read_each,
    tilt_notes,
)
from models.io.limits import Limits
from models.types import Case, FloatArray, Geometry, Image, Modality, Unit

_READER = "nifti"
MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Directions in which (column, row, slice) grow; a single sagittal or coronal slice hangs as a radiologist hangs it.
_AXIAL, _CORONAL, _SAGITTAL = ("L", "P", "S"), ("L", "I", "P"), ("P", "I", "R")
_SLAB = 16  # slices read at once
_PAIR, _SINGLE_1, _SINGLE_2 = b"ni1\x00", b"n+1\x00", b"n+2\x00\r\n\x1a\n"


def recognises(head: bytes) -> bool:
    """The magic of a NIfTI-1 (single file or header of a pair) or NIfTI-2 file."""
    return head[344:348] in (_SINGLE_1, _PAIR) or head[4:12] == _SINGLE_2


def read(members: Sequence[Member], options: Options) -> Iterator[ReadResult]:
    return read_each(members, options, _read_one)


def _read_one(member: Member, options: Options) -> Case:
    data = member.load(options.limits)
    if data[344:348] == _PAIR:
        raise DataError("The file is one half of a NIfTI pair (.hdr and .img); convert the pair to a single .nii file.")
    with decoding("NIfTI file"):
        kind = nibabel.Nifti2Image if data[4:12] == _SINGLE_2 else nibabel.Nifti1Image
        header = kind.header_class(data[: kind.header_class.sizeof_hdr], check=False)
        shape = tuple(int(size) for size in header.get_data_shape())
        _check(shape, header.get_data_dtype(), len(data), options.limits)
        image = kind.from_bytes(data)
        affine, placed, more = _affine(image)
        transform, affine = to_screen(affine, (*shape, 1, 1)[:3])
        geometry = _geometry(affine, placed)
        values, holes = freeze(_voxels(image, shape, transform))
        notes = (*_several(shape), *more, *tilt_notes(geometry), *holes)
        unit, modality, guess = _meaning(values, options)
        plane_or_volume = values[:, 0] if values.shape[1] == 1 else values
        return make_case(
            Image(plane_or_volume, unit, modality, geometry), digest_of(data), _READER, options, notes=(*notes, *guess)
        )


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], size: int, limits: Limits) -> None:
    """Raises DataError for a shape that is empty, too large, more than the file holds, or of too many axes."""
    if not 2 <= len(shape) <= 4 and any(extent != 1 for extent in shape[4:]):
        raise DataError(
            "The NIfTI file has more than four axes (vectors or tensors); save one component as a 3-D file."
        )
    if len(shape) < 2:
        raise DataError("The NIfTI file holds no picture (fewer than two axes); export it again.")
    columns, rows, slices = (*shape, 1)[:3]
    limits.check_shape(rows, columns, slices, 3 if dtype.names else 1)
    total = prod(shape)
    if total < 1 or total * dtype.itemsize > size:
        raise DataError("The NIfTI file is cut short: it holds fewer voxels than it declares; copy or export it again.")


def _voxels(image: Any, shape: tuple[int, ...], transform: NDArray[np.float64]) -> FloatArray:
    """Voxels as (C, slice, row, column) float32, scaled by the header's slope and intercept; the first volume of several.

    Args:
        transform: nibabel's orientation transform of the stored axes (i, j, k) to (column, row, slice).

    Raises:
        DataError: they are complex, or compound but not colours.
    """
    dtype = image.get_data_dtype()
    if dtype.names and dtype.names[:3] != ("R", "G", "B"):
        raise DataError("The NIfTI file's voxels are of a compound type that is not supported; save them as numbers.")
    if dtype.kind == "c":
        raise DataError("The NIfTI file holds complex numbers; save their magnitude as a 3-D file.")
    extent, axes = (*shape, 1, 1)[:3], [int(axis) for axis in transform[:, 0]]
    sizes = [extent[axes.index(axis)] for axis in range(3)]
    values = np.empty((3 if dtype.names else 1, *reversed(sizes)), dtype=np.float32)
    stored = values.transpose(0, 3, 2, 1).transpose(0, *(1 + axis for axis in axes))
    stored = stored[(slice(None), *(slice(None, None, int(step)) for step in transform[:, 1]))]
    # A few slices at a time, straight to their place: copies of a whole volume cost more than all else.
    for start in range(0, extent[2], _SLAB):
        slab = slice(start, min(start + _SLAB, extent[2]))
        index = (slice(None), slice(None), slab, *(0 for _ in shape[3:]))[: len(shape)]
        with np.errstate(over="ignore", invalid="ignore"):
            piece = np.asanyarray(image.dataobj[index]).reshape(*extent[:2], -1)
            if dtype.names:
                stored[..., slab] = np.stack([piece[name] for name in "RGB"]).astype(np.float32) / np.float32(255)
            else:
                stored[0, ..., slab] = piece
    return values


def _affine(image: Any) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Index (i, j, k) to RAS mm, whether that is a place in the patient, and notes."""
    header = image.header
    scale = MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    affine = np.diag([scale, scale, scale, 1.0]) @ np.asarray(header.get_best_affine(), dtype=np.float64)
    placed = bool(header["qform_code"] > 0 or header["sform_code"] > 0)
    if placed:
        return affine, True, ()
    note = "The NIfTI file does not say how the patient lies (qform and sform codes are 0): left and right are a guess."
    return affine, False, (note,)


def _several(shape: tuple[int, ...]) -> tuple[str, ...]:
    """A sentence on the volumes of a 4-D file that are not shown."""
    volumes = shape[3] if len(shape) > 3 else 1
    return (f"Volume 1 of {volumes} is shown; save another one as a 3-D file to see it.",) if volumes > 1 else ()


def to_screen(affine: NDArray[np.float64], extent: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How (i, j, k) of a RAS affine become (column, row, slice), by flips and swaps alone, and the LPS affine of these.

    Raises:
        DataError: the axes do not span a volume.
    """
    if not np.isfinite(affine).all():
        raise DataError("The NIfTI file's orientation cannot be used (its affine is not finite); export it again.")
    if not np.linalg.norm(affine[:3, :3], axis=0).all():
        raise DataError("The NIfTI file does not state its voxel size (it is 0 mm along an axis); export it again.")
    if abs(np.linalg.det(affine)) < 1e-12:
        raise DataError("The NIfTI file's orientation cannot be used (its affine is not invertible); export it again.")
    now = io_orientation(affine)
    if np.isnan(now).any():
        raise DataError("The NIfTI file's orientation cannot be used (two axes point the same way); export it again.")
    single = [int(now[axis, 0]) for axis in range(3) if extent[axis] == 1]
    wanted = {0: _SAGITTAL, 1: _CORONAL}.get(single[0], _AXIAL) if len(single) == 1 else _AXIAL
    transform = ornt_transform(now, axcodes2ornt(wanted))
    return transform, _RAS_TO_LPS @ affine @ inv_ornt_aff(transform, extent)


def _geometry(affine: NDArray[np.float64], placed: bool) -> Geometry:
    if placed:
        return Geometry(affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return Geometry(np.diag([*spacing, 1.0]), "plane")


def _meaning(values: FloatArray, options: Options) -> tuple[Unit, Modality, tuple[str, ...]]:
    """Unit and modality: NIfTI stores neither, so by the caller's word, or CT by the look of its numbers."""
    if values.shape[0] == 3:
        return "unit interval", options.modality or Modality.UNKNOWN, ()
    if options.modality is not None:
        return ("HU" if options.modality is Modality.CT else "stored value"), options.modality, ()
    sample = values.reshape(-1)[:: max(1, values.size // 100_000)]
    low, high = float(values.min()), float(values.max())
    whole = float(np.mean(sample == np.rint(sample)))
    # A patch from inside a lung holds no air outside the body, so the lowest value may be far above -1000.
    if -5000 <= low <= -500 and high <= 40_000 and whole > 0.99:
        return "HU", Modality.CT, ("Taken for CT in HU because of its values; NIfTI does not say.",)
    return "stored value", Modality.UNKNOWN, ()


READERS.register(_READER, Reader(_READER, "NIfTI", (".nii",), recognises, read))

"""Volumes as NIfTI files: on the scan's own grid in the scan's own order of axes, the same bytes each time."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from models.io.nifti import MM_PER_UNIT, recognises, to_screen
from models.types import Geometry

LEVEL = 4  # of gzip: 9 takes eight times as long and makes masks a quarter smaller
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER = 540  # bytes of a NIfTI-2 header, the longer one
_KINDS = tuple(np.dtype(kind) for kind in ("u1", "<i2", "<u2", "<i4"))
_STEPS = 32767  # of a 16-bit value on either side of 0
_NEAR_MM = 1e-3
# What places a grid in a header, by whether it is a length.
_PLACED = {
    **dict.fromkeys(("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"), False),
    **dict.fromkeys(("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"), True),
}


def nifti_bytes(
    values: NDArray[Any], geometry: Geometry | None, like: Path | None = None, *, scaled: bool = False
) -> bytes:
    """A volume as gzipped NIfTI-1 in mm, LPS turned to RAS.

    Where the place in the patient is not known, the file says so (qform and sform codes 0).

    Args:
        values: (D, H, W). Whole numbers are stored as the smallest type that holds them, others as float32.
        geometry: of the values; None where not even the spacing is known.
        like: file that the scan was read from. Where that is a NIfTI file and the values lie on its grid, they take its
            order of axes, its affine (to the last bit, unless its unit is not mm) and its codes.
        scaled: store 16-bit whole numbers times a scale: exact to 1/65534 of the largest, with 0 kept.
    """
    stored, scale = _stored(values, scaled)
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(stored.dtype)
    header.set_slope_inter(scale, 0.0)
    header.set_xyzt_units("unknown" if geometry is None else "mm")
    source = None if like is None else _header_of(like)
    turned = None if source is None else _turned(stored, geometry, source)
    if turned is not None:
        stored = turned
        header.set_data_shape(stored.shape)
        _copy_place(source, header)
    elif geometry is not None and geometry.frame == "patient":
        affine = _LPS_TO_RAS @ geometry.affine
        header.set_data_shape(stored.shape)
        header.set_sform(affine, "aligned")
        header.set_qform(affine, "unknown")
    else:
        # Without a place readers take the axes to grow to the left, the front and the head.
        stored = stored[:, ::-1]
        header.set_data_shape(stored.shape)
        header.set_zooms((1.0, 1.0, 1.0) if geometry is None else geometry.spacing)
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = bytes(header.binaryblock) + b"\0" * 4 + stored.tobytes(order="F")
    return gzip.compress(content, compresslevel=LEVEL, mtime=0)


def _stored(values: NDArray[Any], scaled: bool) -> tuple[NDArray[Any], float]:
    """(column, row, slice) little-endian as the file holds them, and what they are to be multiplied by."""
    scale: float = 1.0
    kind: np.dtype[Any] = np.dtype("<f4")
    if scaled:
        scale = float(np.abs(values).max(initial=0)) / _STEPS or 1.0
        values, kind = np.round(values / np.float32(scale)), np.dtype("<i2")
    elif values.dtype.kind in "bui":
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        kind = next(one for one in _KINDS if np.iinfo(one).min <= low and high <= np.iinfo(one).max)
    return values.astype(kind, copy=False).T, scale


def _header_of(path: Path) -> Any:
    """The header of a NIfTI file, whatever its name; None for any other file or a folder."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        head = file.read(_HEADER)
    if not recognises(head):
        return None
    kind = nib.Nifti2Header if head[4:6] == b"n+" else nib.Nifti1Header
    return kind(head[: kind.sizeof_hdr], check=False)


def _turned(stored: NDArray[Any], geometry: Geometry | None, source: Any) -> NDArray[Any] | None:
    """The values in the order of axes of a file; None where they do not lie on its grid."""
    if geometry is None:
        return None
    extent = (*(int(size) for size in source.get_data_shape()), 1, 1)[:3]
    scale = MM_PER_UNIT.get(source.get_xyzt_units()[0], 1.0)
    wanted = np.diag([scale, scale, scale, 1.0]) @ np.asarray(source.get_best_affine(), np.float64)
    if geometry.frame == "plane":
        # The reader has kept the spacing and the order of axes alone.
        shown, affine = to_screen(wanted, extent)
        bare = np.diag([*np.linalg.norm(affine[:3, :3], axis=0), 1.0])
        wanted = _LPS_TO_RAS @ bare @ np.linalg.inv(inv_ornt_aff(shown, extent))
    given = _LPS_TO_RAS @ geometry.affine
    order = ornt_transform(io_orientation(given), io_orientation(wanted))
    placed = given @ inv_ornt_aff(order, stored.shape)
    turned = np.asarray(apply_orientation(stored, order))
    return turned if turned.shape == extent and np.allclose(placed, wanted, rtol=1e-5, atol=_NEAR_MM) else None


def _copy_place(source: Any, header: Any) -> None:
    """Affine, voxel size and codes of a file, in mm."""
    scale = MM_PER_UNIT.get(source.get_xyzt_units()[0], 1.0)
    for name, length in _PLACED.items():
        header[name] = source[name] * scale if length else source[name]
    header["pixdim"][:4] = source["pixdim"][:4] * np.array([1.0, scale, scale, scale])

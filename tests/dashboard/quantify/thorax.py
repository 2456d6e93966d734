"""A chest of simple bodies at known places in patient millimetres, drawn on any grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from models.types import Geometry, Image, Modality

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
AXES = (58.0, 85.0, 115.0)
CENTRES = {"right": (-76.0, 0.0, 0.0), "left": (76.0, 0.0, 0.0)}


@dataclass(frozen=True)
class Ball:
    """A lesion: what of a ball lies in the lungs."""

    x: float
    y: float
    z: float
    radius: float
    hu: float


@dataclass(frozen=True)
class Chest:
    """The scan, and what is where in it: (D, H, W) bool."""

    image: Image
    right: np.ndarray
    left: np.ndarray
    lesions: tuple[np.ndarray, ...]
    trachea: np.ndarray
    gas: np.ndarray

    @property
    def geometry(self) -> Geometry:
        assert self.image.geometry is not None
        return self.image.geometry

    @property
    def infected(self) -> np.ndarray:
        return np.logical_or.reduce(self.lesions)


def grid(spacing: Sequence[float], angles: Sequence[float] = (0.0, 0.0, 0.0), low: float = -170.0, high: float = 140.0):
    """LPS affine (column, row, slice) and (D, H, W) of a box around the chest, turned by angles in degrees."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        one, other = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    extent = np.array([360.0, 270.0, high - low])
    counts = np.ceil(extent / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(spacing)
    middle = np.array([0.0, 5.0, (low + high) / 2])
    affine[:3, 3] = middle - affine[:3, :3] @ ((counts - 1) / 2)
    return affine, tuple(int(n) for n in counts[::-1])


def draw(
    spacing: Sequence[float] = (3.0, 3.0, 5.0),
    balls: Sequence[Ball] = (),
    angles: Sequence[float] = (0.0, 0.0, 0.0),
    bridge: bool = False,
    low: float = -170.0,
    high: float = 140.0,
    noise_hu: float = 12.0,
) -> Chest:
    """Body, lungs, trachea and main bronchi, stomach gas, table; lungs that meet in front if ``bridge``."""
    affine, shape = grid(spacing, angles, low, high)
    index = np.indices(shape)[::-1].reshape(3, -1)
    x, y, z = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)
    hu = np.full(shape, -1000.0)
    hu[(x / 165) ** 2 + (y / 112) ** 2 < 1] = 40.0
    hu[(np.abs(y - 114 - (x / 60) ** 2) < 2) & (np.abs(x) < 150)] = -300.0  # the table, where it touches the back
    lungs = {
        side: sum(((c - m) / a) ** 2 for c, m, a in zip((x, y, z), centre, AXES, strict=True)) < 1
        for side, centre in CENTRES.items()
    }
    both = lungs["right"] | lungs["left"]
    if bridge:
        strip = (np.abs(x) < 45) & (np.abs(y + 45) < 3) & (np.abs(z) < 40)
        lungs = {"right": lungs["right"] | (strip & (x < 0)), "left": lungs["left"] | (strip & (x >= 0))}
        both |= strip
    hu[both] = -850.0
    trachea = (np.hypot(x, y - 10) < 9) & (z > 20)
    bronchi = (np.hypot(np.hypot(y - 10, 0), 0.7 * (np.abs(x) - (20 - z))) < 5.5) & (z <= 20) & (np.abs(x) < 36)
    hu[(np.hypot(x, y - 10) < 12) & (z > 20)] = 20.0
    hu[trachea | bronchi] = -1000.0
    gas = np.hypot(np.hypot(x - 60, y), z + 142) < 20
    hu[gas] = -1000.0
    lesions = []
    for ball in balls:
        inside = both & (np.hypot(np.hypot(x - ball.x, y - ball.y), z - ball.z) < ball.radius) & ~(trachea | bronchi)
        hu[inside] = ball.hu
        lesions.append(inside)
    hu += np.random.default_rng(0).normal(0, noise_hu, shape) if noise_hu else 0.0
    image = Image(np.clip(np.rint(hu), -1024, 3071).astype(np.float32)[None], "HU", Modality.CT, Geometry(affine))
    airways = trachea | bronchi
    return Chest(image, lungs["right"] & ~airways, lungs["left"] & ~airways, tuple(lesions), trachea, gas)


def save(path: Path, values: np.ndarray, geometry: Geometry, codes: str = "LPS", dtype: str = "<i2") -> Path:
    """(D, H, W) as NIfTI, stored in another order of axes or bytes."""
    image = nib.Nifti1Image(
        np.ascontiguousarray(values.T).astype(np.dtype(dtype).newbyteorder("=")), LPS_TO_RAS @ geometry.affine
    )
    now = nib.orientations.io_orientation(image.affine)
    image = image.as_reoriented(nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(codes)))
    header = nib.Nifti1Header(endianness=dtype[0])
    stored = nib.Nifti1Image(np.asanyarray(image.dataobj).astype(dtype), image.affine, header)
    stored.set_data_dtype(np.dtype(dtype))
    nib.save(stored, path)
    return path

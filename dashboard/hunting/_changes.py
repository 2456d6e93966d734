"""What the corruptions do to the pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage

from models.types import FloatArray, Modality

Matrix = NDArray[np.float64]
_FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in its standard deviations


@dataclass(frozen=True, eq=False)
class Planes:
    """What is changed: a slice, with its neighbours where the network sees them.

    Attributes:
        values: (C, S, H, W) float32, grey or RGB as displayed in [0, 1], or HU.
        spacing: (column, row) in mm; (1, 1) where unknown.
        modality: what made them.
    """

    values: FloatArray
    spacing: tuple[float, float]
    modality: Modality

    @property
    def side(self) -> int:
        """Shorter side in pixels."""
        return min(self.values.shape[2:])


def noise(planes: Planes, amount: float, draw: np.random.Generator) -> FloatArray:
    """Gaussian; of MR the magnitude of a signal with noise in both of its parts, which is Rician."""
    noise = draw.normal(0, amount / 100, (2, *planes.values.shape)).astype(np.float32)
    if planes.modality is Modality.MR:
        return np.hypot(planes.values + noise[0], noise[1])
    return planes.values + noise[0]


def ct_noise(planes: Planes, amount: float, draw: np.random.Generator) -> FloatArray:
    return planes.values + draw.normal(0, amount, planes.values.shape).astype(np.float32)


def blur(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    sigma = amount / 100 * planes.side
    return np.asarray(ndimage.gaussian_filter(planes.values, (0, 0, sigma, sigma), mode="nearest"))


def ct_kernel(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    across, down = (amount / _FWHM / step for step in planes.spacing)
    return np.asarray(ndimage.gaussian_filter(planes.values, (0, 0, down, across), mode="nearest"))


def ct_offset(planes: Planes, amount: float, draw: np.random.Generator) -> FloatArray:
    return planes.values + np.float32(_side(draw) * amount)


def brighter(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    return planes.values + np.float32(amount / 100)


def darker(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    return planes.values - np.float32(amount / 100)


def contrast(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    mean = planes.values.mean(dtype=np.float64)
    return np.asarray(mean + (planes.values - mean) * (amount / 100), dtype=np.float32)


def gamma(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    return np.asarray(planes.values ** np.float32(amount))


def jpeg(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    stored = np.rint(planes.values * 255).astype(np.uint8)
    changed = np.empty_like(planes.values)
    for index in range(stored.shape[1]):
        plane = stored[:, index]
        written = io.BytesIO()
        picture = Picture.fromarray(plane[0] if len(plane) == 1 else np.ascontiguousarray(np.moveaxis(plane, 0, -1)))
        picture.save(written, "JPEG", quality=int(amount))
        read = np.asarray(Picture.open(written), dtype=np.float32) / np.float32(255)
        changed[:, index] = read if read.ndim == 2 else np.moveaxis(read, -1, 0)
    return changed


def coarser(planes: Planes, amount: float, _: np.random.Generator) -> FloatArray:
    """Means of larger pixels, interpolated back."""
    height, width = planes.values.shape[2:]
    small = max(1, round(width / amount)), max(1, round(height / amount))
    changed = np.empty_like(planes.values)
    for place in np.ndindex(planes.values.shape[:2]):
        reduced = Picture.fromarray(planes.values[place]).resize(small, Picture.Resampling.BOX)
        changed[place] = np.asarray(reduced.resize((width, height), Picture.Resampling.BILINEAR))
    return changed


def bias_field(planes: Planes, amount: float, draw: np.random.Generator) -> FloatArray:
    """Times a smooth field, as a surface coil gives: from 1 / (1 + amount) to 1 + amount."""
    down, across = (np.linspace(-1, 1, side) for side in planes.values.shape[2:])
    y, x = down[:, None], across[None]
    terms = (x + 0 * y, y + 0 * x, x * y, x**2 + 0 * y, y**2 + 0 * x)
    field = sum(weight * term for weight, term in zip(draw.normal(size=len(terms)), terms, strict=True))
    field = field - (field.max() + field.min()) / 2
    return np.asarray(planes.values * np.exp(np.log1p(amount / 100) * field / field.max()), dtype=np.float32)


def colour_cast(planes: Planes, amount: float, draw: np.random.Generator) -> FloatArray:
    step = _side(draw) * amount / 100
    return np.asarray(planes.values * np.array([1 + step, 1, 1 - step], dtype=np.float32)[:, None, None, None])


def rotation(planes: Planes, amount: float, draw: np.random.Generator) -> Matrix:
    """About the middle, in mm, so that shapes stay where pixels are oblong."""
    angle = np.deg2rad(_side(draw) * amount)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = np.diag(planes.spacing)
    middle = (np.array(planes.values.shape[:1:-1]) - 1) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = np.linalg.inv(scale) @ turn @ scale
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle
    return matrix


def shift(planes: Planes, amount: float, draw: np.random.Generator) -> Matrix:
    """By whole pixels, at least one, along an axis."""
    matrix = np.eye(3)
    matrix[draw.integers(2), 2] = _side(draw) * max(1, round(amount / 100 * planes.side))
    return matrix


def _side(draw: np.random.Generator) -> float:
    return float(draw.choice((-1.0, 1.0)))


def moved(plane: FloatArray, matrix: Matrix, mode: str, fill: float) -> FloatArray:
    """(H, W) resampled bilinearly: its pixel p shows what was at ``matrix`` p, in (column, row, 1)."""
    swapped = matrix[:2, :2][::-1, ::-1]
    found = ndimage.affine_transform(plane, swapped, matrix[:2, 2][::-1], order=1, mode=mode, cval=fill)
    return np.asarray(found, dtype=np.float32)

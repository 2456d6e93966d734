"""Images as worse devices and other settings would give them, in grey or RGB of [0, 1] before preprocessing.

Strengths 1, 2, 3: noise of standard deviation 0.04, 0.08, 0.16; blur of standard deviation 0.5, 1, 2 % of the shorter
side; contrast times 0.75, 0.5, 0.3 about the mean; brightness plus 0.1, 0.2, 0.3; JPEG of quality 50, 25, 10;
down-sampling to 1/2, 1/3, 1/4 of the size and back. Chosen after Hendrycks & Dietterich 2019 (arXiv:1903.12261).
Differs: three strengths, and lengths relative to the image, since the systems' images differ in size.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image as PILImage
from scipy import ndimage
from torch.nn import functional

from models.card import ModelCard
from models.training.scoring import Change
from models.types import FloatArray, Image, Window

# (C, H, W) in [0, 1] to the same; strength is 0, 1 or 2 here.
Corruption = Callable[[FloatArray, int, np.random.Generator], FloatArray]


def _noise(plane: FloatArray, strength: int, rng: np.random.Generator) -> FloatArray:
    return plane + rng.normal(0, (0.04, 0.08, 0.16)[strength], plane.shape).astype(np.float32)


def _blur(plane: FloatArray, strength: int, _: np.random.Generator) -> FloatArray:
    sigma = (0.005, 0.01, 0.02)[strength] * min(plane.shape[1:])
    return np.asarray(ndimage.gaussian_filter(plane, (0, sigma, sigma), mode="nearest"))


def _contrast(plane: FloatArray, strength: int, _: np.random.Generator) -> FloatArray:
    return plane.mean() + (plane - plane.mean()) * np.float32((0.75, 0.5, 0.3)[strength])


def _brightness(plane: FloatArray, strength: int, _: np.random.Generator) -> FloatArray:
    return plane + np.float32((0.1, 0.2, 0.3)[strength])


def _jpeg(plane: FloatArray, strength: int, _: np.random.Generator) -> FloatArray:
    pixels = (plane * 255).round().astype(np.uint8)
    picture = PILImage.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=(50, 25, 10)[strength])
    read = np.asarray(PILImage.open(packed), dtype=np.float32) / np.float32(255)
    return read[None] if read.ndim == 2 else read.transpose(2, 0, 1)


def _downsample(plane: FloatArray, strength: int, _: np.random.Generator) -> FloatArray:
    whole = torch.from_numpy(np.ascontiguousarray(plane))[None]
    small = [max(1, side // (2, 3, 4)[strength]) for side in plane.shape[1:]]
    reduced = functional.interpolate(whole, size=small, mode="bilinear", antialias=True, align_corners=False)
    return functional.interpolate(reduced, size=plane.shape[1:], mode="bilinear", align_corners=False)[0].numpy()


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian noise": _noise,
    "gaussian blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "down-sampling": _downsample,
}
STRENGTHS = (1, 2, 3)


def corrupted(name: str, strength: int, card: ModelCard) -> Change:
    """A named corruption at strength 1 to 3, as a change of the image shown to the card's network."""

    def change(image: Image, rng: np.random.Generator) -> Image:
        return in_display(image, card, lambda plane: CORRUPTIONS[name](plane, strength - 1, rng))

    return change


def in_display(image: Image, card: ModelCard, change: Callable[[FloatArray], FloatArray]) -> Image:
    """A plane image whose displayed grey or RGB is changed; of a slice in a volume, its neighbours' too."""
    spec = card.input.spec
    window = spec.window if image.unit == "HU" else None
    if image.within is None or spec.slices == 1:
        return _shown(replace(image, within=None), window, change)
    volume, index = image.within
    spacing = volume.geometry.spacing[2] if volume.geometry else spec.slice_step_mm
    reach = int(np.ceil(spec.slices // 2 * spec.slice_step_mm / spacing)) + 1
    first, last = max(0, index - reach), min(volume.depth, index + reach + 1)
    geometry = volume.geometry.at_slice(first) if volume.geometry else None
    near = replace(volume, values=volume.values[:, first:last], geometry=geometry)
    return _shown(near, window, change).slice(index - first)


def _shown(image: Image, window: Window | None, change: Callable[[FloatArray], FloatArray]) -> Image:
    shown = image.display(window)
    planes = shown if image.is_volume else shown[:, None]
    changed = np.stack([np.clip(change(planes[:, k]), 0, 1) for k in range(planes.shape[1])], axis=1)
    full = (Window.from_range("full range", 0.0, 1.0),)
    values = changed.reshape(shown.shape).astype(np.float32)
    return replace(image, values=values, unit="unit interval", windows=full, inverted=False)

"""What a map must do better than: maps that know nothing of the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, sobel

from explainers.quality.types import Subject
from models.types import FloatArray

WORDS = {
    "random order": "parts picked at random",
    "edges": "the edges in the picture",
    "centre": "the middle of the picture",
    "random map, as smooth": "patches as smooth as the map's but put at random",
}
_BLUR = 0.05  # standard deviation of the blurred map, as a share of the input's shorter side


def edges(subject: Subject) -> FloatArray:
    """(H, W) magnitude of the Sobel gradient of the input, mean over its channels."""

    def found() -> FloatArray:
        grey = subject.prepared.tensor[0].mean(dim=0).double().cpu().numpy()
        return np.hypot(sobel(grey, axis=0), sobel(grey, axis=1)).astype(np.float32)

    return subject.once("edges", found)


def centre(subject: Subject) -> FloatArray:
    """(H, W), highest in the middle of what holds image, falling with the distance relative to its sides."""

    def found() -> FloatArray:
        sides = [np.flatnonzero(subject.seen.any(axis=axis)) for axis in (1, 0)]
        away = [
            (np.arange(length) - (side[0] + side[-1]) / 2) / (side[-1] - side[0] + 1)
            for length, side in zip(subject.seen.shape, sides, strict=True)
        ]
        return -np.hypot(away[0][:, None], away[1][None]).astype(np.float32)

    return subject.once("centre", found)


def as_smooth(values: FloatArray, seed: int) -> FloatArray:
    """A random (H, W) map with the amplitude spectrum of ``values``: as smooth, and marking nothing in particular."""
    noise = np.fft.rfft2(np.random.default_rng(seed).standard_normal(values.shape))
    amplitude = np.abs(np.fft.rfft2(values.astype(np.float64)))
    spectrum = amplitude * noise / np.maximum(np.abs(noise), 1e-12)
    found: NDArray[np.float64] = np.fft.irfft2(spectrum, s=values.shape)
    return found.astype(np.float32)


def blurred(values: FloatArray) -> FloatArray:
    """The map itself under a Gaussian."""
    return gaussian_filter(values, _BLUR * min(values.shape), mode="nearest")

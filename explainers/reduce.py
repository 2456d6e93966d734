"""The reader's choices between a raw map and a picture: channels, sign, scale, threshold.

Pure functions, never called inside a method, so that a stored attribution stays raw.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ExplainError
from models.types import FloatArray

ChannelRule = Literal["sum", "absolute sum", "largest"]
SignRule = Literal["signed", "positive", "absolute"]
HARDLY = 0.1  # of a map's magnitude


def reduce_channels(values: FloatArray, rule: ChannelRule = "sum") -> FloatArray:
    """One value a pixel.

    Args:
        values: (C, H, W) float32 (or (C, D, H, W)), raw attribution.
        rule: "sum" keeps completeness (the map still adds up to the score difference); "absolute sum" is the
            total strength, unsigned; "largest" is the channel value of greatest magnitude, with its sign.

    Returns:
        (H, W) float32 in the unit of ``values``.
    """
    if rule == "sum":
        return values.sum(axis=0, dtype=np.float64).astype(np.float32)
    if rule == "absolute sum":
        return np.abs(values).sum(axis=0, dtype=np.float64).astype(np.float32)
    largest = np.abs(values).argmax(axis=0)[None]
    return np.take_along_axis(values, largest, axis=0)[0]


def apply_sign(values: FloatArray, rule: SignRule = "signed") -> FloatArray:
    """The map as it is, its positive part (negative becomes 0), or its magnitude; same shape, float32."""
    if rule == "positive":
        return np.maximum(values, np.float32(0))
    return np.abs(values) if rule == "absolute" else values


def marked(values: FloatArray, seen: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """What a map marks: its positive part or, where that holds hardly anything, what lies above its mean.

    A network with a low operating point calls cases whose class activation map lies below 0 nearly everywhere (of the
    chest network's, half have less than 1 % of their magnitude above 0): the rest above 0 is then noise, and what is
    least negative is what speaks for the class.

    Args:
        values: (H, W), signed.
        seen: (H, W) pixels that hold image; 0 elsewhere.

    Returns:
        (H, W) float64, 0 or more; None for a map that is the same everywhere.
    """
    inside = np.where(seen, values, 0).astype(np.float64)
    positive = np.maximum(inside, 0)
    if positive.sum() >= HARDLY * np.abs(inside).sum() and positive.any():
        return positive
    return above_mean(inside, seen)


def above_mean(values: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """By how much a map lies above its mean over the pixels that hold image, as :func:`marked`."""
    known = values[seen].astype(np.float64)
    if not known.size or np.ptp(known) <= 1e-9 * np.abs(known).max():
        return None
    return np.where(seen, np.maximum(values - known.mean(), 0), 0)


def robust_scale(values: FloatArray, percentile: float = 99.5, where: NDArray[np.bool_] | None = None) -> float:
    """The magnitude that should fill the colour scale, in the unit of ``values``.

    Args:
        values: any shape, float32.
        percentile: of \\|values\\|, in (0, 100]; below 100 a few extreme pixels cannot wash out the rest.
        where: mask of ``values``' shape; pixels outside it (not seen by the network) do not count.

    Returns:
        The percentile; the maximum where the percentile is 0 (a very sparse map); 1 for a map that is 0
        everywhere, so that dividing by it is always safe.
    """
    _check_percent(percentile)
    magnitude = np.abs(values if where is None else values[where])
    if magnitude.size == 0:
        return 1.0
    return float(np.percentile(magnitude, percentile)) or float(magnitude.max()) or 1.0


def top_threshold(values: FloatArray, percent: float, where: NDArray[np.bool_] | None = None) -> float:
    """The magnitude that the strongest ``percent`` per cent of the pixels reach, in the unit of ``values``."""
    _check_percent(percent)
    magnitude = np.abs(values if where is None else values[where]).ravel()
    if magnitude.size == 0:
        return float("inf")
    count = max(1, round(magnitude.size * percent / 100))
    return float(np.partition(magnitude, magnitude.size - count)[magnitude.size - count])


def top_mask(values: FloatArray, percent: float, where: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """The strongest ``percent`` per cent of the pixels by magnitude, same shape as ``values``.

    Pixels of value 0 are never among them; pixels that tie with the last one all are.
    """
    magnitude = np.abs(values)
    mask = (magnitude >= top_threshold(values, percent, where)) & (magnitude > 0)
    return mask if where is None else mask & where


def _check_percent(percent: float) -> None:
    if not 0 < percent <= 100:
        raise ExplainError(f"A percentage must lie above 0 and at most at 100, got {percent:g}.")

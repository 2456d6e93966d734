"""Missing pixels guessed from those around them: noisy linear imputation (Rong et al., ICML 2022, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from models.errors import ExplainError
from models.types import FloatArray

STRAIGHT, DIAGONAL = 1 / 6, 1 / 12  # weights of the neighbours, as in the paper
_OFFSETS = ((0, 1, STRAIGHT), (1, -1, DIAGONAL), (1, 0, STRAIGHT), (1, 1, DIAGONAL))  # each pair of neighbours once
_MOST = 400 * 2**20  # bytes of one system


def impute(image: FloatArray, missing: NDArray[np.bool_]) -> FloatArray:
    """The image with each missing pixel the weighted mean of its up to eight neighbours, missing ones included.

    With pixels numbered along the shorter side, the equations are symmetric, positive definite and banded: one
    Cholesky decomposition (LAPACK's pbsv, single precision) solves them for all channels. Its band is as wide as a
    row has missing pixels, so the cost grows with the third power of their share.

    Args:
        image: (C, H, W) float32.
        missing: (H, W); at least one pixel must be known.

    Raises:
        ExplainError: no pixel is known, or the image is too large.
    """
    if missing.all():
        raise ExplainError("Pixels can be guessed only from others; here all are missing.")
    if missing.shape[0] < missing.shape[1]:
        return np.ascontiguousarray(np.swapaxes(impute(np.swapaxes(image, 1, 2), missing.T), 1, 2))
    found = image.copy()
    if missing.any():
        matrix, known = _system(image, missing)
        _, solution, failed = lapack.spbsv(matrix, known, lower=1, overwrite_ab=1, overwrite_b=1)
        if failed:
            raise ExplainError("Missing pixels could not be guessed from their neighbours.")
        found[:, missing] = solution.T
    return found


def _system(image: FloatArray, missing: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Lower band (b + 1, n) of the matrix and right-hand sides (n, C), both in Fortran order."""
    count = int(missing.sum())
    number = np.full(missing.shape, -1, dtype=np.int64)
    number[missing] = np.arange(count)
    total = np.zeros(missing.shape, dtype=np.float32)
    known = np.zeros_like(image)
    values = np.where(missing, np.float32(0), image)
    links = []
    for down, right, weight in _OFFSETS:
        here, there = _pair(missing.shape, down, right)
        for one, other in ((here, there), (there, here)):
            total[one] += weight
            known[:, *one] += np.float32(weight) * values[:, *other]
        both = missing[here] & missing[there]
        links.append((number[here][both], number[there][both], weight))
    width = max((int((last - first).max()) for first, last, _ in links if len(first)), default=0)
    if 4 * (width + 1) * count > _MOST:
        raise ExplainError("The network's input is too large for guessing missing pixels; this check is left out.")
    matrix = np.zeros((width + 1, count), dtype=np.float32, order="F")
    matrix[0] = total[missing]
    for first, last, weight in links:
        matrix[last - first, first] = -weight
    return matrix, np.asfortranarray(known[:, missing].T)


def _pair(shape: tuple[int, ...], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a pixel and its neighbour lie, of all pairs inside the image."""
    height, width = shape
    columns = slice(max(0, -right), width - max(0, right)), slice(max(0, right), width - max(0, -right))
    return (slice(0, height - down), columns[0]), (slice(down, height), columns[1])


def imputed(image: FloatArray, masks: NDArray[np.bool_]) -> Iterator[FloatArray]:
    """One (C, H, W) for each of (n, H, W) masks.

    Channels that repeat the first but for scale and shift (a grey picture) are solved once: guesses are weighted means,
    so they follow.
    """
    base = image[0].astype(np.float64) - image[0].mean(dtype=np.float64)
    power = float((base**2).sum()) or 1.0
    means = image.mean(axis=(1, 2), dtype=np.float64)
    slopes = ((image - means[:, None, None]) * base).sum(axis=(1, 2)) / power
    repeats = slopes[:, None, None] * base + means[:, None, None]
    grey = bool(np.abs(repeats - image).max() <= 1e-4 * max(float(np.ptp(image)), 1e-12))
    for mask in masks:
        if not grey:
            yield impute(image, mask)
            continue
        guessed = impute(base.astype(np.float32)[None], mask)
        filled = (slopes[:, None, None] * guessed + means[:, None, None]).astype(np.float32)
        yield np.where(mask, filled, image)

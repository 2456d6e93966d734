"""Figures of a segmentation, one row an image and class, on the image's own grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import ModelCard
from models.project import input_to_image
from models.training.scoring import Pixels, probabilities
from models.types import FloatArray

LEVELS = 256
FIGURES = (
    "dice",
    "mean_dice",
    "mean_dice_uncalibrated",
    "sensitivity",
    "specificity",
    "mae",
    "true_share",
    "found_share",
)


def mask_figures(card: ModelCard, pixels: Pixels) -> pd.DataFrame:
    """``FIGURES`` in the order of cases and classes, float32.

    ``dice``, ``sensitivity`` and ``specificity`` at the card's threshold; ``mean_dice`` over 256 thresholds from 0
    to 1 and ``mae`` of the calibrated probability, which is what the model serves, ``mean_dice_uncalibrated`` of the
    network's own; ``true_share`` and ``found_share`` of the image's area. NaN where a figure has no pixels to speak
    of; Dice is 1 where nothing is there and nothing is found.
    """
    lines = []
    calibrated, own = probabilities(card, pixels.logits), probabilities(card, pixels.logits, raw=True)
    for number, (mask, to_image) in enumerate(zip(pixels.masks, pixels.to_image, strict=True)):
        for k, truth in enumerate(mask):
            shape = (truth.shape[0], truth.shape[1])
            found = input_to_image(calibrated[number, k], to_image, shape)
            flat = input_to_image(own[number, k], to_image, shape)
            lines.append(figures(found >= card.threshold_array[k], found, flat, truth))
    return pd.DataFrame(lines, columns=list(FIGURES)).astype(np.float32)


def mean_dice(found: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Mean over 256 thresholds from 0 to 1 of the Dice of (H, W) probabilities and true pixels."""
    level = np.floor(found.astype(np.float64) * (LEVELS - 1) + 1e-9).astype(int).clip(0, LEVELS - 1)
    # Pixels at or above each threshold, inside the mask and anywhere.
    inside = np.bincount(level[truth], minlength=LEVELS)[::-1].cumsum()
    anywhere = np.bincount(level.ravel(), minlength=LEVELS)[::-1].cumsum()
    sizes = anywhere + int(truth.sum())
    return float(np.mean(np.where(sizes > 0, 2 * inside / np.maximum(sizes, 1), 1.0)))


def figures(
    marked: NDArray[np.bool_], found: FloatArray, own: FloatArray, truth: NDArray[np.bool_]
) -> tuple[float, ...]:
    """``FIGURES`` of (H, W) marked pixels, calibrated and uncalibrated probabilities, and true pixels."""
    positive, total = int(truth.sum()), truth.size
    hit, marks = int(marked[truth].sum()), int(marked.sum())
    return (
        2 * hit / (marks + positive) if marks + positive else 1.0,
        mean_dice(found, truth),
        mean_dice(own, truth),
        hit / positive if positive else np.nan,
        (total - positive - marks + hit) / (total - positive) if total > positive else np.nan,
        float(np.abs(found - truth).mean()),
        positive / total,
        marks / total,
    )


def drawn_pixels(pixels: Pixels, most: int, seed: int = 0) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """At most ``most`` pixels of the network's grid: (m, K) logits, (m, K) float32 labels, (m,) image index.

    A pixel's label is that of the image at its centre; pixels that lie on padding are left out.
    """
    n, _, height, width = pixels.logits.shape
    drawn = np.random.default_rng(seed).choice(n * height * width, min(most, n * height * width), replace=False)
    image, row, column = np.unravel_index(np.sort(drawn), (n, height, width))
    logits, labels, kept = [], [], []
    for index, (mask, to_image) in enumerate(zip(pixels.masks, pixels.to_image, strict=True)):
        rows, columns = row[image == index], column[image == index]
        y = np.round(rows * to_image[1, 1] + to_image[1, 2]).astype(int)
        x = np.round(columns * to_image[0, 0] + to_image[0, 2]).astype(int)
        on = (y >= 0) & (x >= 0) & (y < mask.shape[1]) & (x < mask.shape[2])
        logits.append(pixels.logits[index][:, rows[on], columns[on]].T)
        labels.append(mask[:, y[on], x[on]].T.astype(np.float32))
        kept.append(np.full(on.sum(), index))
    return np.concatenate(logits), np.concatenate(labels), np.concatenate(kept)

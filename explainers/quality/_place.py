"""Measures of a map against one mask; none depends on the map's scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.types import FloatArray

Mask = NDArray[np.bool_]
TOLERANCE = 0.03  # of the longer side; 15 px on the pictures of about 500 px of Zhang et al. 2018 (arXiv:1608.00507)
BINS = 256
BLOB = 0.25  # standard deviation of the centre blob, of each side


def pointing(values: FloatArray, mask: Mask, tolerance: float = TOLERANCE) -> float:
    """The pointing game (Zhang et al. 2018): whether the map's maximum lies in the mask or near it.

    Args:
        values: (H, W), signed.
        mask: (H, W), not empty.
        tolerance: distance that still counts, of the longer side.

    Returns:
        1 or 0; where several pixels share the maximum, the share of them that hits. NaN for a map of one value.
    """
    top = values == values.max()
    if top.all():
        return float("nan")
    near = ndimage.distance_transform_edt(~mask) <= tolerance * max(values.shape)
    return float(near[top].mean())


def energy(values: FloatArray, mask: Mask, seen: Mask) -> float:
    """Share of the positive attribution that lies in the mask (Wang et al. 2020, arXiv:1910.01279); NaN without any."""
    positive = np.where(seen, np.maximum(values, 0), 0).astype(np.float64)
    total = float(positive.sum())
    return float(positive[mask].sum()) / total if total > 0 else float("nan")


def precision_area(values: FloatArray, mask: Mask, seen: Mask) -> float:
    """Area under precision and recall of the pixels, ranked by signed value (average precision; ties together).

    Its expectation for a map that knows nothing is the mask's share of the seen pixels. NaN where that is 0 or 1.
    """
    ranked, inside = values[seen], mask[seen]
    if inside.all() or not inside.any():
        return float("nan")
    order = np.argsort(-ranked, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(ranked[order])), len(order) - 1)  # the last of each run of ties
    hits = np.cumsum(inside[order])[ends]
    gained = np.diff(hits, prepend=0) / hits[-1]
    return float((gained * hits / (ends + 1)).sum())


def overlap(values: FloatArray, mask: Mask, seen: Mask, threshold: float) -> float:
    """Intersection over union of the mask and the pixels above ``threshold`` of the map's maximum; 0 without positives."""
    top = float(values[seen].max())
    chosen = (values > threshold * top) & seen if top > 0 else np.zeros_like(mask)
    both = mask & seen
    union = (chosen | both).sum()
    return float((chosen & both).sum() / union) if union else float("nan")


def otsu(values: FloatArray, seen: Mask) -> float:
    """Otsu's threshold of the positive part of a map, as a share of its maximum (IEEE SMC 1979, 9:62-66).

    The threshold is the upper edge of a bin of 256; of equal ones the first.
    """
    positive = np.maximum(values[seen], 0).astype(np.float64)
    top = positive.max(initial=0.0)
    if top <= 0:
        return 0.0
    counts, edges = np.histogram(positive / top, BINS, (0.0, 1.0))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    sum_below = np.cumsum(counts * middle)[:-1]
    above, sum_above = counts.sum() - below, (counts * middle).sum() - sum_below
    gap = sum_below / np.maximum(below, 1) - sum_above / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * gap**2)])


@dataclass(frozen=True)
class Placed:
    """What the measures say of one map and one mask.

    Attributes:
        pointing, iou_otsu, energy: see the functions of this module; ``iou_tuned`` is NaN without a tuned threshold.
        auprc: area under precision and recall of the pixels.
        base: the mask's share of the seen pixels, which ``auprc`` and ``energy`` have by chance.
    """

    pointing: float
    iou_otsu: float
    iou_tuned: float
    energy: float
    auprc: float
    base: float


def place(
    values: FloatArray, mask: Mask, seen: Mask, tuned: float | None = None, tolerance: float = TOLERANCE
) -> Placed:
    """All measures of one map."""
    hidden = np.where(seen, values, values[seen].min())
    return Placed(
        pointing(hidden, mask, tolerance),
        overlap(values, mask, seen, otsu(values, seen)),
        float("nan") if tuned is None else overlap(values, mask, seen, tuned),
        energy(values, mask & seen, seen),
        precision_area(values, mask, seen),
        float((mask & seen).sum() / seen.sum()),
    )


def centre_blob(shape: tuple[int, int], seen: Mask) -> FloatArray:
    """A Gaussian in the middle of what is seen, a quarter of its sides wide: where findings are on many pictures."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    y = (np.arange(shape[0]) - (rows[0] + rows[-1]) / 2) / (BLOB * len(rows))
    x = (np.arange(shape[1]) - (columns[0] + columns[-1]) / 2) / (BLOB * len(columns))
    return np.exp(-(y[:, None] ** 2 + x**2) / 2).astype(np.float32)


def moved(values: FloatArray, seen: Mask, rng: np.random.Generator) -> FloatArray:
    """The map itself put elsewhere: rolled round within what is seen, and mirrored at random.

    It has the map's own values, sharpness and sign, so that nothing but the place differs.
    """
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inner = values[box]
    for axis in (0, 1):
        inner = np.flip(inner, axis) if rng.random() < 0.5 else inner
        inner = np.roll(inner, int(rng.integers(inner.shape[axis])), axis)
    found = values.copy()
    found[box] = inner
    return found

"""Parts of a brain MR slice: the brain, the rest of the head, air outside.

The head is what stands out from the background. The brain is parted from scalp and bone by the smallest erosion that
leaves one large piece well inside the head, then grown back. It works on axial slices above the skull base. Where face or
neck are in the slice they cannot be parted from the brain so, and no brain is given.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from dashboard.anatomy._base import FINDERS, Mask, Parts
from dashboard.anatomy._pixels import Array, closed, full_size, largest, opened, otsu, rim, working
from explainers.quality.anatomy import BORDERS, OUTSIDE
from models.types import Image, Modality

SIDE = 224
HEAD = (0.1, 0.95)  # of the picture
BRAIN = (0.3, 0.88)  # of the head
SCALP = 0.02  # of the head's diameter: nearer to its edge lies no brain
NEAR_EDGE = 0.06  # of the brain that may all the same
LEAST_SOLID = 0.9  # of the brain's convex hull
LEAST_OVAL = 0.9  # overlap (IoU) with the ellipse of the same moments
NECK = 0.12  # of the picture's lower edge that the head may meet
RIM = 0.05


def find(image: Image, lesion: Mask | None = None) -> Parts:
    """See the module; the lesion is not used."""
    grey = ndimage.gaussian_filter(working(image, SIDE).mean(axis=0), 0.7)
    head = find_head(grey)
    masks: dict[str, Mask] = {}
    notes: dict[str, str] = {}
    missing: dict[str, str] = {}
    if not HEAD[0] < head.mean() <= HEAD[1]:
        return Parts(missing=dict.fromkeys(("brain", OUTSIDE), "No head was recognised in the slice."))
    masks[OUTSIDE], notes[OUTSIDE] = ~head, "Background around the head."
    neck = head[-1].mean() > NECK and not head[0].any()
    brain = None if neck else find_brain(grey, head)
    if brain is None:
        missing["brain"] = (
            "Face or neck are in the slice, or nothing in the head looks like a brain parted from its skull."
        )
    else:
        masks["brain"], notes["brain"] = brain, "By threshold and erosion; its edge is a few pixels rough."
        masks["skull and scalp"] = head & ~brain
        notes["skull and scalp"] = "The head without the brain; orbits, nose and neck are part of it."
    masks[BORDERS] = rim((grey.shape[0], grey.shape[1]), RIM) & ~masks.get("brain", np.zeros_like(head))
    notes[BORDERS] = f"The outermost {RIM:.0%} of the slice."
    return Parts({name: full_size(mask, image) for name, mask in masks.items()}, notes, missing)


def find_head(grey: Array) -> Mask:
    """The largest piece brighter than background, holes filled; also where a crop cuts it."""
    level = otsu(np.sqrt(np.clip(grey, 0, 1))) ** 2  # the root parts dim tissue from nothing, not bright from dim
    bright = closed(grey > max(0.6 * level, 0.02), 0.02 * SIDE)
    filled = ndimage.binary_fill_holes(largest(bright))
    return largest(opened(np.asarray(filled), 0.02 * SIDE))


def find_brain(grey: Array, head: Mask) -> Mask | None:
    """The brain, or None where nothing looks like one."""
    depth = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    diameter = 2 * np.sqrt(head.sum() / np.pi)
    inner = head & (depth > SCALP * diameter)
    for level in (0.5, 0.7, 0.9, 1.05):
        tissue = inner & (grey > level * np.median(grey[inner]))
        within = ndimage.distance_transform_edt(tissue)
        for radius in np.arange(0.008, 0.045, 0.006) * diameter:
            core = largest(within > radius)
            if not core.any():
                break
            grown = tissue & (ndimage.distance_transform_edt(~core) <= radius + 1)
            brain = np.asarray(ndimage.binary_fill_holes(closed(largest(grown), 0.03 * diameter))) & inner
            if _like_a_brain(brain, head, depth / diameter):
                return brain
    return None


def _like_a_brain(brain: Mask, head: Mask, depth: Array) -> bool:
    share = brain.sum() / head.sum()
    if not BRAIN[0] < share < BRAIN[1] or (depth[brain] < 1.8 * SCALP).mean() > NEAR_EDGE:
        return False
    return bool(brain.sum() / hull_area(brain) > LEAST_SOLID and oval(brain) > LEAST_OVAL)


def oval(mask: Mask) -> float:
    """Intersection over union with the ellipse of the same middle and second moments."""
    points = np.argwhere(mask).astype(np.float64)
    middle, spread = points.mean(axis=0), np.cov(points.T)
    away = np.moveaxis(np.indices(mask.shape), 0, -1) - middle
    ellipse = np.einsum("...i,ij,...j->...", away, np.linalg.inv(spread), away) <= 4
    return float((ellipse & mask).sum() / (ellipse | mask).sum())


def hull_area(mask: Mask) -> float:
    """Area of the convex hull, in pixels."""
    rows, columns = np.nonzero(mask ^ ndimage.binary_erosion(mask))
    points = np.stack([rows, columns], axis=1).astype(np.float64)
    if len(points) < 3 or np.ptp(rows) == 0 or np.ptp(columns) == 0:
        return float(mask.sum())
    corners = (points[:, None] + np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])).reshape(-1, 2)
    return float(ConvexHull(corners).volume)


FINDERS.register(Modality.MR.value, find)

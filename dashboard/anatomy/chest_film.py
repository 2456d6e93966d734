"""Parts of a frontal chest film: lungs, heart region, air outside the body, text markers, borders.

Lungs: a seed on each side of the midline, where the film is dark; from there the closed outline between dark inside and
brighter outside is sought by dynamic programming, with a grey between the two that is had for each direction by itself,
and a weak preference for a lung's usual proportions. Left is the patient's, who faces the reader: on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.anatomy._base import FINDERS, Mask, Parts
from dashboard.anatomy._contour import ANGLES, RADII, Star, outline
from dashboard.anatomy._pixels import Array, full_size, largest, opened, otsu, rim, working
from explainers.quality.anatomy import BORDERS, MARKERS, OUTSIDE
from models.types import Image, Modality

SIDE = 256  # px that the film is worked on
REACH = (0.26, 0.46)  # longest half width and half height sought, of the side
USUAL = (0.135, 0.27)  # a lung's usual ones
LEVEL = 0.6  # between the grey inside and outside, where the outline is drawn
WALL = 0.045  # thinnest wall of the chest between lung and the air outside, of the side
MARGIN = 2  # px that the blur draws the outline inwards
AREA = (0.025, 0.22)  # of one lung, of the picture
RATIO = 2.9  # of the larger lung to the smaller; a film of two healthy ones has 1.0 to 1.6
HEIGHT = (0.2, 0.9)
LEAST_GAP = 0.08  # between the grey inside and outside, of the film's range
LEAST_EDGE = 0.85  # share of the outline on which the film gets brighter outwards
RIM = 0.05
HEART_FROM = 0.4  # of the lungs' height; above lie the great vessels


@dataclass(frozen=True, eq=False)
class _Lung:
    """A lung as outlined, and what tells whether it can be one."""

    mask: Mask
    edge: float
    gap: float


def find(image: Image, lesion: Mask | None = None) -> Parts:
    """See the module; the lesion is not used."""
    grey = working(image, SIDE).mean(axis=0)
    low, high = np.percentile(grey, (0.5, 99.5))
    grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    smooth = ndimage.gaussian_filter(grey, 0.01 * SIDE)
    middle = midline(smooth)
    air = outside_air(grey, middle)
    masks: dict[str, Mask] = {}
    notes: dict[str, str] = {}
    missing: dict[str, str] = {}
    lungs = [_lung(grey, smooth, air, middle, side) for side in (-1, 1)]
    why = implausible(lungs)
    if why:
        missing |= dict.fromkeys(("right lung", "left lung", "heart region"), why)
        inside = np.zeros_like(air)
    else:
        right, left = (one.mask for one in lungs if one is not None)
        inside = right | left
        note = "Outlined by brightness; a consolidated or shadowed part of the lung may be missing."
        masks |= {"right lung": right, "left lung": left, "heart region": heart_region(right, left)}
        notes |= dict.fromkeys(("right lung", "left lung"), note)
        notes["heart region"] = (
            "What lies between the lungs, below the great vessels; its lower edge is that of the lungs."
        )
    if air.mean() > 0.002:
        masks[OUTSIDE], notes[OUTSIDE] = air, "Black parts that reach the edge of the film."
    else:
        missing[OUTSIDE] = "The body fills the film."
    marks = text_markers(grey, inside)
    if marks.any():
        masks[MARKERS] = marks
        notes[MARKERS] = "Small, sharply bright marks near the edges; metal on the skin may be among them."
    else:
        missing[MARKERS] = "No text or marker was seen."
    masks[BORDERS] = rim(grey.shape, RIM) & ~inside
    notes[BORDERS] = f"The outermost {RIM:.0%} of the film, without the lungs."
    return Parts({name: full_size(mask, image) for name, mask in masks.items()}, notes, missing)


def midline(smooth: Array) -> int:
    """The column of the spine: bright between two dark lungs that mirror each other."""
    band = ndimage.gaussian_filter1d(smooth[int(0.2 * len(smooth)) : int(0.6 * len(smooth))].mean(axis=0), 0.02 * SIDE)
    width = len(band)
    best, found = -np.inf, width // 2
    for column in range(int(0.36 * width), int(0.64 * width)):
        reach = min(column, width - 1 - column, int(0.36 * width))
        left, right = band[column - reach : column][::-1], band[column + 1 : column + 1 + reach]
        inner = slice(int(0.3 * reach), int(0.7 * reach))
        spread = float(left.std() * right.std())
        alike = float(((left - left.mean()) * (right - right.mean())).mean()) / spread if spread > 0 else 0.0
        height = band[column - 3 : column + 4].mean() - (left[inner].mean() + right[inner].mean()) / 2
        if 0.15 * alike + height > best:
            best, found = 0.15 * alike + float(height), column
    return found


def outside_air(grey: Array, middle: int) -> Mask:
    """Black pieces that reach the upper edge or a side, but for those that lie where the lungs are."""
    smooth = ndimage.gaussian_filter(grey, 1.5)
    dark = smooth < min(otsu(smooth), float(np.quantile(smooth, 0.02)) + 0.22)
    labels, count = ndimage.label(dark)
    edge = np.unique(np.concatenate([labels[:, 0], labels[:, -1], labels[0]]))
    height, width = grey.shape
    away = np.abs(np.arange(width) - middle) / width
    window = np.zeros(grey.shape, dtype=bool)
    window[int(0.25 * height) : int(0.6 * height)] = (away > 0.1) & (away < 0.26)
    over = np.bincount(labels[window], minlength=count + 1) / window.sum()
    return np.isin(labels, [piece for piece in edge if piece and over[piece] < 0.05])


def _seed(smooth: Array, air: Mask, middle: int, side: int) -> tuple[float, float] | None:
    """(row, column) of the middle of the largest dark piece on that side of the midline."""
    height, width = smooth.shape
    columns = np.arange(width)
    away = side * (columns - middle) / width
    window = np.zeros(smooth.shape, dtype=bool)
    window[int(0.15 * height) : int(0.78 * height)] = (
        (away > 0.07) & (away < 0.38) & (columns > 0.03 * width) & (columns < 0.97 * width)
    )
    window &= ~air
    if not window.any():
        return None
    dark = opened(window & (smooth < otsu(smooth[window])), 0.012 * SIDE)
    rows, places = np.nonzero(largest(dark))
    return (float(rows.mean()), float(places.mean())) if len(rows) else None


def _lung(grey: Array, smooth: Array, air: Mask, middle: int, side: int) -> _Lung | None:
    seed = _seed(smooth, air, middle, side)
    if seed is None:
        return None
    film = ndimage.gaussian_filter(grey, 0.012 * SIDE)
    wall = (ndimage.distance_transform_edt(~air) <= WALL * SIDE if air.any() else air).astype(np.float64)
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    reach = _ellipse(angle, REACH) * len(grey)
    usual = _ellipse(angle, USUAL) * len(grey) / reach * RADII
    row, column = seed
    around = np.ones(9) / 9
    for _ in range(5):
        star = Star(row, column, reach)
        rays = star.sample(film)
        inner = np.array([np.median(ray[: max(4, int(0.7 * end))]) for ray, end in zip(rays, usual, strict=True)])
        outer = np.array(
            [np.percentile(ray[int(0.8 * end) : int(1.5 * end) + 1], 80) for ray, end in zip(rays, usual, strict=True)]
        )
        inner, outer = (ndimage.convolve1d(part, around, mode="wrap") for part in (inner, outer))
        gap = np.maximum(outer - inner, 0.03)[:, None]
        bright = np.cumsum(np.clip((rays - inner[:, None] - LEVEL * gap) / gap, -1, 1), axis=1) / RADII
        slope = np.gradient(ndimage.gaussian_filter1d(rays, 1.5, axis=1), axis=1) / gap
        unusual = ((np.arange(RADII) - usual[:, None]) / RADII) ** 2
        outside = np.maximum.accumulate(star.sample(wall), axis=1)
        ends = outline(2.0 * bright - 2.5 * slope + 0.9 * unusual + 5.0 * outside, 0.02)
        mask = star.mask(ends, (grey.shape[0], grey.shape[1]))
        if not mask.any():
            return None
        row, column = (float(axis.mean()) for axis in np.nonzero(mask))
        usual = 0.5 * usual + 0.5 * ndimage.convolve1d(ends.astype(np.float64), around, mode="wrap")
    edge = float((slope[np.arange(ANGLES), ends] > 0.01).mean())
    mask = ndimage.binary_dilation(mask, iterations=MARGIN)
    return _Lung(mask & ~air, edge, float((outer - inner).mean()))


def _ellipse(angle: NDArray[np.float64], half: tuple[float, float]) -> Array:
    return np.asarray(1 / np.sqrt((np.cos(angle) / half[0]) ** 2 + (np.sin(angle) / half[1]) ** 2))


def implausible(lungs: list[_Lung | None]) -> str:
    """Why these cannot be the two lungs of a frontal film; "" if they can."""
    found = [one for one in lungs if one is not None]
    if len(found) < 2:
        return "No dark area was found on each side of the midline."
    areas = [float(one.mask.mean()) for one in found]
    if min(areas) < AREA[0] or max(areas) > AREA[1]:
        return f"What was found has {min(areas):.0%} and {max(areas):.0%} of the film, which is no pair of lungs."
    if max(areas) > RATIO * min(areas):
        return "One side is much smaller than the other; a lung may be white, or was not recognised."
    heights = [np.ptp(np.nonzero(one.mask)[0]) / len(one.mask) for one in found]
    if min(heights) < HEIGHT[0] or max(heights) > HEIGHT[1]:
        return "What was found is too low or too high to be a lung."
    if min(one.gap for one in found) < LEAST_GAP or min(one.edge for one in found) < LEAST_EDGE:
        return "The lungs do not stand out from what surrounds them."
    return ""


def heart_region(right: Mask, left: Mask) -> Mask:
    """Between the inner edges of the lungs, from two fifths of their height to their lower ends.

    Where only one lung is left beside it, the other's inner edge is held.
    """
    rows = np.flatnonzero((right | left).any(axis=1))
    first = int(rows[0] + HEART_FROM * np.ptp(rows))
    last = int(np.mean([np.flatnonzero(lung.any(axis=1))[-1] for lung in (right, left)]))
    inner_right = _held(np.array([np.flatnonzero(row)[-1] if row.any() else -1 for row in right]))
    inner_left = _held(np.array([np.flatnonzero(row)[0] if row.any() else -1 for row in left]))
    columns = np.arange(right.shape[1])
    between = (columns > inner_right[:, None]) & (columns < inner_left[:, None]) & ~right & ~left
    between[:first], between[last + 1 :] = False, False
    return between


def _held(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gaps (-1) filled with the nearest known place."""
    known = np.flatnonzero(places >= 0)
    return np.interp(np.arange(len(places)), known, places[known])


def text_markers(grey: Array, lungs: Mask) -> Mask:
    """Small pieces much brighter than what surrounds them, in the outer parts of the film."""
    height, width = grey.shape
    hat = ndimage.white_tophat(grey, size=(int(0.05 * height) | 1, int(0.05 * width) | 1))
    outer = rim((height, width), 0.22) & ~ndimage.binary_dilation(lungs, iterations=int(0.02 * SIDE))
    labels, count = ndimage.label(ndimage.binary_dilation((hat > 0.22) & outer, iterations=2))
    if not count:
        return np.zeros_like(lungs)
    pieces = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(np.ones_like(grey), labels, pieces) / grey.size
    peaks = ndimage.maximum(hat, labels, pieces)
    extents = [
        max((s.stop - s.start) / side for s, side in zip(box, grey.shape, strict=True))
        for box in ndimage.find_objects(labels)
    ]
    kept = pieces[(sizes > 0.0006) & (sizes < 0.02) & (peaks > 0.3) & (np.array(extents) < 0.16)]
    return np.isin(labels, kept)


FINDERS.register(Modality.XRAY.value, find)

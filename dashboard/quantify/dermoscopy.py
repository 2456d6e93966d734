"""Asymmetry, border, colour and diameter of a skin lesion as numbers; what they mean, never what the lesion is.

After the ABCD rule of dermoscopy (Stolz et al. 1994, Eur J Dermatol 4:521-527). Differs: the rule scores by eye and
adds points up to a verdict; here are measures alone, of the outline given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from scipy import ndimage

from dashboard.quantify.colour import LEAST_SHARE, Colours, Lab, colours, hair, on_standard_skin
from dashboard.quantify.grid import BoolArray
from dashboard.quantify.shape import Symmetry, diameters, mirrored, outline_length, solidity, symmetry, whole
from models.errors import DataError, ModelError
from models.types import FloatArray, Image, Prediction

OUTLINE_MODEL = "skin-lesion-outline"  # whose masks are measured where a reader gives none
SIDE = 200  # longer side of the picture that is measured; finer outlines would not compare with the reference lesions
LEAST_PIXELS = 50
SECTORS = 8
NEAR, FAR = 0.08, 0.22  # distances from the outline between which skin and lesion are compared, in diameters
ABRUPT = 0.05  # of the diameter, over which half of the step in lightness from lesion to skin lies
LEAST_STEP = 4.0  # of lightness between skin and lesion, without which there is no border to speak of
LEAST_SKIN = 0.05  # of the picture, to know the colour of the skin
HAIRY = 0.03
Part = Literal["A", "B", "C", "D"]
CUT = "the lesion goes beyond the edge of the picture"
NOT_A_DIAGNOSIS = (
    "Measurements of shape and colour, not a diagnosis: harmless and malignant lesions overlap in every one of them."
)


@dataclass(frozen=True)
class Measure:
    """One number.

    Attributes:
        part: of the ABCD rule.
        value: None where it cannot be said; ``reason`` tells why.
        meaning: one sentence.
    """

    id: str
    part: Part
    title: str
    value: float | None
    unit: str
    meaning: str
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Abcd:
    """The measures of one lesion.

    Attributes:
        mask: (H, W) what was measured: the largest part of the mask given, its holes filled.
        axes: None where the lesion goes beyond the picture; ``centre`` (row, column) in pixels of the picture.
        notes: sentences that a reader of the numbers must know.
    """

    measures: tuple[Measure, ...]
    mask: BoolArray
    colours: Colours
    axes: Symmetry | None
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Measure:
        return next(one for one in self.measures if one.id == name)


def abcd(image: Image, mask: BoolArray) -> Abcd:
    """Measures of the lesion that an (H, W) mask outlines on a colour picture.

    Raises:
        DataError: the picture has no colours, the mask is not of its size, or marks next to nothing.
    """
    if image.is_volume or not image.is_colour:
        raise DataError("ABCD measures need a colour picture of the skin; this image is grey or a volume.")
    if mask.shape != image.plane_shape:
        raise DataError(
            f"The outline has {mask.shape[1]} x {mask.shape[0]} pixels, the picture {image.plane_shape[1]} x "
            f"{image.plane_shape[0]}; use the outline of this picture."
        )
    lesion, left_out = whole(mask)
    rgb, small = _at_working_size(image, lesion)
    if small.sum() < LEAST_PIXELS:
        raise DataError("The outline marks next to nothing, so there is no lesion to measure.")
    cut = _touches(lesion)
    notes = [] if not left_out else [f"Of {left_out + 1} outlined areas only the largest was measured."]
    if cut:
        notes.append("The lesion goes beyond the edge of the picture, so its shape and size are not assessable.")
    skin = ~ndimage.binary_dilation(small, iterations=max(2, round(NEAR * _width(small))))
    if skin.mean() < LEAST_SKIN:
        skin = np.zeros_like(skin)
        notes.append("Hardly any skin is in view around the lesion, so colours were not corrected for the light.")
    lab = on_standard_skin(rgb, skin)
    hairs = hair(lab, small)
    if hairs.mean() > HAIRY:
        notes.append(
            "Hair crosses the picture; most of it was left out of the colours, but outline and counts may suffer."
        )
    seen = small & ~hairs if (small & ~hairs).sum() >= LEAST_PIXELS else small
    found = colours(lab, seen)
    axes = None if cut else symmetry(small)
    measures = (
        *_asymmetry(lab, small, axes),
        *_border(lab, small, axes),
        *_colour(found),
        *_diameter(image, lesion, cut),
    )
    scale = image.plane_shape[1] / small.shape[1], image.plane_shape[0] / small.shape[0]
    placed = axes and replace(
        axes, centre=((axes.centre[0] + 0.5) * scale[1] - 0.5, (axes.centre[1] + 0.5) * scale[0] - 0.5)
    )
    return Abcd(measures, lesion, found, placed, tuple(notes))


def outline_of(prediction: Prediction) -> BoolArray:
    """(H, W) what a network that outlines lesions marked. Raises ModelError where it gives no masks."""
    if prediction.found is None:
        raise ModelError(f"The model {prediction.model_id!r} answers without a mask; choose a segmentation model.")
    return np.asarray(prediction.found.any(axis=0))


def _at_working_size(image: Image, mask: BoolArray) -> tuple[FloatArray, BoolArray]:
    """(h, w, 3) sRGB and (h, w) mask with square pixels, the longer side at most ``SIDE``."""
    height, width = image.plane_shape
    column, row = image.plane_spacing
    tall, wide = height * row, width * column
    factor = min(SIDE / max(tall, wide), 1 / min(column, row))
    size = (max(1, round(wide * factor)), max(1, round(tall * factor)))
    planes = [*image.display(), mask.astype(np.float32)]
    small = [
        np.asarray(PILImage.fromarray(np.ascontiguousarray(plane, np.float32)).resize(size, PILImage.Resampling.BOX))
        for plane in planes
    ]
    return np.stack(small[:3], axis=-1).clip(0, 1), small[3] >= 0.5


def _touches(mask: BoolArray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _width(mask: BoolArray) -> float:
    """Diameter of the disc of equal area, in pixels."""
    return float(2 * np.sqrt(mask.sum() / np.pi))


def _asymmetry(lab: Lab, mask: BoolArray, axes: Symmetry | None) -> tuple[Measure, ...]:
    lower = higher = colour = None
    if axes is not None:
        lower, higher = sorted(axes.unmatched)
        colour = float(np.mean([_colour_asymmetry(lab, mask, axes, turn) for turn in (0, 90)]))
    reason = "" if axes else CUT
    return (
        Measure("asymmetry", "A", "Asymmetry of shape, worse axis", higher, "",
                "Share of the area without a partner when the lesion is folded along the worse of two axes at a right "
                "angle, which lie so that the halves match best; 0 matches fully.", reason),
        Measure("asymmetry_better", "A", "Asymmetry of shape, better axis", lower, "",
                "The same along the better axis.", reason),
        Measure("asymmetry_colour", "A", "Asymmetry of colour", colour, "Lab units",
                "Mean difference in colour between places that meet when the lesion is folded, over both axes; 2 can "
                "just be seen.", reason),
    )  # fmt: skip


def _colour_asymmetry(lab: Lab, mask: BoolArray, axes: Symmetry, turn: float) -> float:
    degrees = axes.degrees + turn
    both = mask & (mirrored(mask.astype(np.float32), axes.centre, degrees) > 0.99)
    if not both.any():
        return 0.0
    smooth = [ndimage.gaussian_filter(lab[..., k], 1.0).astype(np.float32) for k in range(3)]
    apart = np.stack([plane - mirrored(plane, axes.centre, degrees) for plane in smooth])
    return float(np.linalg.norm(apart, axis=0)[both].mean())


def _border(lab: Lab, mask: BoolArray, axes: Symmetry | None) -> tuple[Measure, ...]:
    compactness = filled = None
    abrupt, reason = None, CUT
    if axes is not None:
        compactness = outline_length(mask) ** 2 / (4 * np.pi * float(mask.sum()))
        filled = solidity(mask)
        abrupt, reason = _abrupt(lab[..., 0], mask, axes)
    cut = "" if axes else CUT
    return (
        Measure("compactness", "B", "Irregularity of the border", compactness, "",
                "Length of the outline squared over 4 pi times the area: 1 for a disc, 1.3 for an ellipse twice as "
                "long as wide, more for notches and spikes.", cut),
        Measure("solidity", "B", "Solidity", filled, "",
                "Area over that of the tightest outline without notches; 1 has none.", cut),
        Measure("abrupt_sectors", "B", "Abrupt border", abrupt, f"of {SECTORS} sectors",
                "Sectors in which the lesion ends abruptly: the middle half of the step in lightness to the skin takes "
                "no more than a twentieth of its diameter.", reason),
    )  # fmt: skip


def _abrupt(lightness: NDArray[np.float64], mask: BoolArray, axes: Symmetry) -> tuple[float | None, str]:
    """How many sectors end abruptly; None and the reason where the lesion hardly differs from the skin."""
    width = _width(mask)
    distance = np.where(mask, -ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)) / width
    rows, columns = np.indices(mask.shape)
    angle = np.rad2deg(np.arctan2(rows - axes.centre[0], columns - axes.centre[1])) - axes.degrees
    sector = np.floor((angle % 360) / (360 / SECTORS)).astype(int)
    widths = [_step_width(distance[sector == k], lightness[sector == k], 1 / width) for k in range(SECTORS)]
    told = [one for one in widths if one is not None]
    if len(told) < SECTORS / 2:
        return None, "the lesion is hardly darker than the skin around it"
    return float(sum(one <= ABRUPT for one in told)), ""


def _step_width(distance: NDArray[np.float64], lightness: NDArray[np.float64], pixel: float) -> float | None:
    """Over what distance a quarter to three quarters of the step from lesion to skin lie; None without a step.

    Args:
        distance: from the outline, outwards, in diameters of the lesion. pixel: the size of one in them.
    """
    beyond = (distance > NEAR) & (distance <= FAR)
    within = (distance < -NEAR) & (distance >= -FAR)
    if not beyond.any() or not within.any():
        return None
    skin, pigment = float(np.median(lightness[beyond])), float(np.median(lightness[within]))
    if skin - pigment < LEAST_STEP:
        return None
    ring = np.round(distance[np.abs(distance) <= FAR] / pixel).astype(int)
    first = int(ring.min())
    levels = np.bincount(ring - first, lightness[np.abs(distance) <= FAR]) / np.maximum(np.bincount(ring - first), 1)
    known = np.bincount(ring - first) > 0
    rising = np.maximum.accumulate(levels[known]) + 1e-9 * np.arange(known.sum())
    share = (rising - pigment) / (skin - pigment)
    quarter, rest = np.interp([0.25, 0.75], share, np.flatnonzero(known))
    return float((rest - quarter) * pixel)


def _colour(found: Colours) -> tuple[Measure, ...]:
    said = ", ".join(f"{name} {found.shares[name]:.0%}".replace("%", " %") for name in found.present)
    return (
        Measure("colours", "C", "Colours", float(len(found.present)), "of 6",
                f"Of white, red, light brown, dark brown, blue-grey and black, those that cover at least "
                f"{LEAST_SHARE:.0%} of the lesion: {said or 'none'}.".replace("5%", "5 %")),
        Measure("variegation", "C", "Variation of colour", found.spread, "Lab units",
                "How far the lesion's pixels lie from their mean colour; 0 is one flat colour."),
    )  # fmt: skip


def _diameter(image: Image, mask: BoolArray, cut: bool) -> tuple[Measure, ...]:
    meaning = "The longest distance across the lesion"
    if cut:
        return (Measure("diameter", "D", "Diameter", None, "px", f"{meaning}.", CUT),)
    if image.geometry is None:
        longest = diameters(mask, np.eye(2)).longest
        return (Measure("diameter", "D", "Diameter", longest, "px", f"{meaning}; the file does not say how many "
                "millimetres a pixel is."),)  # fmt: skip
    longest = diameters(mask, image.geometry.affine[:3, :2]).longest
    return (Measure("diameter", "D", "Diameter", longest, "mm", f"{meaning}."),)

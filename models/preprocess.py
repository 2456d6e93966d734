"""Image to network input, and the map back. Pure functions; the steps are named in the model card.

Coordinates are ``(column, row)`` with integers at pixel centres, so a resize by a factor s maps
x to (x + 0.5) * s - 0.5. ``Prepared.grid_to_image`` carries every resize, crop and padding, and is the only
thing that later layers need to lay a map on the anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.errors import DataError
from models.types import FloatArray, Image, Window

Fit = Literal["stretch", "letterbox", "center-crop", "spacing"]
MOST_PIXELS = 32_000_000  # of a resized image before cropping


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to see (the ``[input]`` table of a model card).

    Attributes:
        height, width: model-input size in pixels.
        channels: 1 or 3; grey is repeated to 3, RGB is turned to grey by ITU-R BT.601 weights.
        fit: "stretch" ignores the aspect ratio; "letterbox" pads the shorter side with black;
            "center-crop" fills the frame and cuts what sticks out; "spacing" resamples to ``spacing_mm`` and
            cuts or pads around the centre. All but the first keep shapes in mm, so non-square pixels are
            made square.
        window: fixed window (a CT network trained on one); None uses the image's default window.
        mean, std: per channel, applied to grey or RGB in [0, 1].
        spacing_mm: side of an input pixel, for ``fit`` "spacing".
        slices: 3 shows the network the slice (middle channel) and what lies ``slice_step_mm`` before and after
            it, interpolated linearly and held at the ends; a plane image is repeated.
    """

    height: int
    width: int
    channels: int = 3
    fit: Fit = "letterbox"
    window: Window | None = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    spacing_mm: float | None = None
    slices: int = 1
    slice_step_mm: float = 2.5


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network input that remembers where it came from.

    Attributes:
        tensor: (1, C, H, W) float32 on the model's device, normalised.
        grid_to_image: (3, 3) float64, maps (column, row, 1) on the input grid to the same on the image grid.
        image_shape: (H, W) of the plane image.
        black, mean: (C,) float32, what a black pixel and the training mean are after normalisation.
    """

    tensor: torch.Tensor
    grid_to_image: NDArray[np.float64]
    image_shape: tuple[int, int]
    black: torch.Tensor
    mean: torch.Tensor

    @property
    def grid_shape(self) -> tuple[int, int]:
        return int(self.tensor.shape[-2]), int(self.tensor.shape[-1])


def prepare(image: Image, spec: InputSpec, device: torch.device | str = "cpu") -> Prepared:
    """A plane image as the network's input.

    Raises:
        DataError: the image is a volume, or lacks the pixel spacing that ``spec`` needs.
    """
    if image.is_volume:
        raise DataError(f"A 2-D model needs one slice; this image has {image.depth}, choose one.")
    shown = image if spec.slices == 1 else replace(image, values=stack(image, spec), within=None)
    # A fixed window is in HU; an image in other units keeps its own.
    grey = shown.display(spec.window if image.unit == "HU" else None)
    plane = torch.from_numpy(np.ascontiguousarray(_to_channels(grey, spec.channels)))[None]
    height, width = image.plane_shape
    scale_x, scale_y = _scales(image, spec)
    inner = (max(1, round(height * scale_y)), max(1, round(width * scale_x)))
    if inner[0] * inner[1] > MOST_PIXELS:
        raise DataError(f"An image of {width} x {height} pixels is too narrow for this model; crop it to the finding.")
    if inner != (height, width):
        shrinks = inner[0] < height or inner[1] < width
        plane = functional.interpolate(plane, size=inner, mode="bilinear", antialias=shrinks, align_corners=False)
    plane, (left, top) = _fit(plane.clamp(0.0, 1.0), spec)
    mean = torch.tensor(spec.mean[: spec.channels]).view(1, -1, 1, 1)
    std = torch.tensor(spec.std[: spec.channels]).view(1, -1, 1, 1)
    # Exact scales after rounding to whole pixels, not the ones asked for.
    sx, sy = inner[1] / width, inner[0] / height
    to_image = np.array(
        [[1 / sx, 0.0, (0.5 - left) / sx - 0.5], [0.0, 1 / sy, (0.5 - top) / sy - 0.5], [0.0, 0.0, 1.0]]
    )
    return Prepared(
        tensor=((plane - mean) / std).to(device),
        grid_to_image=to_image,
        image_shape=(height, width),
        black=(-mean / std).flatten().to(device),
        mean=torch.zeros(spec.channels, device=device),
    )


def stack(image: Image, spec: InputSpec) -> FloatArray:
    """The values that a network sees of a plane image, in the image's unit.

    Returns:
        (C, H, W) float32 of the image itself; for a network of several slices (slices, H, W), the slice between
        its neighbours at the asked distance.
    """
    if spec.slices == 1 or image.is_colour:
        return image.values
    if image.within is None:
        return np.repeat(image.values, spec.slices, axis=0)
    volume, _ = image.within
    below, above, share = neighbours(image, spec)
    weight = share.astype(np.float32)[:, None, None]
    values: FloatArray = volume.values[0, below] * (1 - weight) + volume.values[0, above] * weight
    return values


def neighbours(image: Image, spec: InputSpec) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Which slices of its volume make the channels that a network of several slices sees of a slice.

    Returns:
        (slices,) indices of the slice below each channel's place and of the one above it, and the share of the latter,
        [0, 1); the one below has the rest.

    Raises:
        DataError: the image is no slice of a volume.
    """
    if image.within is None:
        raise DataError("This image is no slice of a volume, so it has no neighbouring slices; open the whole series.")
    volume, index = image.within
    spacing = volume.geometry.spacing[2] if volume.geometry else spec.slice_step_mm
    offsets = (np.arange(spec.slices) - spec.slices // 2) * spec.slice_step_mm / spacing
    places = np.clip(index + offsets, 0, volume.depth - 1)
    below = np.floor(places).astype(np.int64)
    return below, np.minimum(below + 1, volume.depth - 1), places - below


def neighbour_shares(image: Image, spec: InputSpec) -> tuple[int, NDArray[np.float64]]:
    """The same as parts: the first slice that the network sees, and (seen, slices) the part that each slice from there to
    the last one seen has in each channel; columns add up to 1, and a slice between that is not seen has a row of 0.

    Raises:
        DataError: the image is no slice of a volume.
    """
    below, above, share = neighbours(image, spec)
    channels = np.arange(spec.slices)
    parts = np.zeros((int(above.max()) + 1, spec.slices))
    np.add.at(parts, (below, channels), 1 - share)
    np.add.at(parts, (above, channels), share)
    seen = np.flatnonzero(parts.any(axis=1))
    return int(seen[0]), parts[seen[0] : seen[-1] + 1]


def _to_channels(grey: FloatArray, channels: int) -> FloatArray:
    """(C, H, W) in [0, 1] to the number of channels the network wants."""
    if grey.shape[0] == channels:
        return grey
    if channels == 3:
        return np.repeat(grey, 3, axis=0)
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.tensordot(weights, grey, axes=1)[None].astype(np.float32)


def _scales(image: Image, spec: InputSpec) -> tuple[float, float]:
    """Resize factors along (column, row) before cropping or padding."""
    height, width = image.plane_shape
    if spec.fit == "stretch":
        return spec.width / width, spec.height / height
    column_mm, row_mm = image.plane_spacing
    smallest = min(column_mm, row_mm)
    if spec.spacing_mm is not None:
        if image.geometry is None:
            raise DataError(
                "This model needs the pixel spacing in mm, which this image does not give; use DICOM or NIfTI."
            )
        return column_mm / spec.spacing_mm, row_mm / spec.spacing_mm
    # Size of the image in square pixels of its finer spacing.
    true_width, true_height = width * column_mm / smallest, height * row_mm / smallest
    choose = min if spec.fit == "letterbox" else max
    factor = choose(spec.width / true_width, spec.height / true_height)
    return factor * true_width / width, factor * true_height / height


def _fit(plane: torch.Tensor, spec: InputSpec) -> tuple[torch.Tensor, tuple[int, int]]:
    """Pad with black or cut to the input size; returns the (left, top) corner of the image on the grid."""
    extra_x, extra_y = spec.width - plane.shape[-1], spec.height - plane.shape[-2]
    left, top = extra_x // 2, extra_y // 2
    padded = functional.pad(plane, (left, extra_x - left, top, extra_y - top))  # negative padding crops
    return padded, (left, top)

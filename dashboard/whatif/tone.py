"""Edits of brightness: window, contrast, brightness. They are told in the window through which the network sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dashboard.whatif.types import EditSpec, Mask, Move, Through
from explainers.types import Param, ParamValue
from models.types import FloatArray, Image, Window


class _Tone:
    def start(self, image: Image, through: Through, mask: Mask | None) -> dict[str, ParamValue]:
        return {}

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move | None:
        return None


class Rewindow(_Tone):
    """The picture as another window shows it.

    Values become what, seen through the old window, looks as the picture does through the new one: so a network with a
    window of its own sees the change too. What the new window clips is lost, as it is to a reader.
    """

    spec = EditSpec(
        "window",
        "Window",
        "contrast_square",
        "Shows the picture through another window.",
        region=False,
        params=(
            Param("center", "Centre", "float", 0.5, help="In the unit of the image."),
            Param("width", "Width", "float", 1.0, help="In the unit of the image; above 0."),
        ),
    )

    def start(self, image: Image, through: Through, mask: Mask | None) -> dict[str, ParamValue]:
        return {"center": round(through.center, 3), "width": max(1e-3, round(through.width, 3))}

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        shown = Window("edited", float(params["center"]), float(params["width"])).apply(image.values)
        values = np.float32(through.low) + np.float32(through.width) * shown
        return replace(image, values=values, windows=_straight(image))


class Contrast(_Tone):
    """Distances from the middle of the window, multiplied."""

    spec = EditSpec(
        "contrast",
        "Contrast",
        "contrast",
        "Strengthens or weakens the contrast about middle grey.",
        region=False,
        params=(
            Param("factor", "Contrast", "float", 1.5, help="Below 1 it is weakened.", low=0.1, high=3.0, step=0.1, unit="times"),
        ),
    )  # fmt: skip

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        center = np.float32(through.center)
        return replace(image, values=_kept(image, center + np.float32(params["factor"]) * (image.values - center)))


class Brightness(_Tone):
    """A shift by a share of the window's width; to the bright side also where larger values are darker."""

    spec = EditSpec(
        "brightness",
        "Brightness",
        "brightness_6",
        "Makes the whole picture brighter or darker.",
        region=False,
        params=(
            Param("shift", "Brighter by", "float", 15.0, help="Share of the range from black to white.", low=-50.0, high=50.0,
                  step=1.0, unit="%"),
        ),
    )  # fmt: skip

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        shift = float(params["shift"]) / 100 * through.width * (-1 if through.inverted else 1)
        return replace(image, values=_kept(image, image.values + np.float32(shift)))


def _straight(image: Image) -> tuple[Window, ...]:
    """The image's windows, the default one without its curve, which the new values would pass a second time."""
    first = image.windows[0]
    return (
        image.windows
        if first.shape == "linear"
        else (Window(first.name, first.center, first.width), *image.windows[1:])
    )


def _kept(image: Image, values: FloatArray) -> FloatArray:
    """Within the unit interval where the unit says so: a photograph cannot be brighter than white."""
    return np.clip(values, 0.0, 1.0) if image.unit == "unit interval" else values

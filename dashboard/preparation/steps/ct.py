"""Steps for CT: a fixed window of Hounsfield units, and cutting to the lungs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage

from dashboard.preparation.grids import carried, shape_of
from dashboard.preparation.types import STEPS, Measure, State, StepResult, StepSpec, Verdict, voxels, with_values
from dashboard.quantify.lungs import segment_lungs
from dashboard.quantify.plausible import TOTAL_ML
from explainers.types import Param, ParamValue
from models.errors import DataError
from models.types import Image

CLIPPED_SOURCE = "own bound: a window that cuts more shows hardly any of the organ"
LUNG_SOURCE = "volumes of adult lungs, see the quantities of a chest CT"


class HuWindow:
    spec = StepSpec(
        id="hu-window",
        title="CT window",
        purpose="Spreads the Hounsfield units that matter over black to white and cuts the rest.",
        params=(
            Param(
                "center", "Centre", "float", -600.0, "Lung -600, mediastinum 40, bone 400.", -1000, 1000, 10, unit="HU"
            ),
            Param("width", "Width", "float", 1500.0, "Lung 1500, mediastinum 400, bone 1800.", 50, 4000, 50, unit="HU"),
        ),
        order=60,
    )

    def applies(self, image: Image) -> str | None:
        return None if image.unit == "HU" else "Only a CT has Hounsfield units; this image is in another unit."

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """Centre minus and plus half the width become 0 and 1; outside of it values are cut."""
        values = voxels(image)
        low = float(params["center"]) - float(params["width"]) / 2
        scaled = np.clip((values - low) / float(params["width"]), 0.0, 1.0)
        inside = scaled if state.mask is None or not state.mask.any() else scaled[state.mask]
        cut = 100 * float(((inside <= 0.0) | (inside >= 1.0)).mean())
        made = with_values(image, scaled.astype(np.float32), rescaled=True)
        where = "the image" if state.mask is None else "the mask"
        return StepResult(
            replace(made, unit="unit interval", windows=()),
            Verdict.of(
                f"{low:g} to {low + float(params['width']):g} HU became 0 to 1.",
                Measure(f"Share of {where} cut to black or white", cut, "%", 0.0, 75.0, CLIPPED_SOURCE),
            ),
            rescaled=True,
        )


class LungCrop:
    spec = StepSpec(
        id="lung-crop",
        title="Cut to the lungs",
        purpose="Leaves out table, arms and belly, so that the lungs fill what the model sees.",
        params=(Param("margin_mm", "Margin", "float", 10.0, "Kept around the lungs.", 0, 50, 5, unit="mm"),),
        order=15,
    )

    def applies(self, image: Image) -> str | None:
        if image.unit != "HU" or not image.is_volume:
            return "The lungs are found in a CT volume in Hounsfield units: put this step before the window."
        return None

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """The box around both lungs and a margin; the lungs are the mask of later steps."""
        if image.geometry is None:
            raise DataError("The voxel size is not known, so the lungs cannot be found.")
        lungs = segment_lungs(image)
        (box,) = ndimage.find_objects(lungs.both.astype(np.uint8))
        margin = [round(float(params["margin_mm"]) / mm) for mm in image.geometry.spacing[::-1]]
        cut = [
            slice(max(0, part.start - more), min(size, part.stop + more))
            for part, more, size in zip(box, margin, lungs.both.shape, strict=True)
        ]
        to_before = np.eye(4)
        to_before[:3, 3] = [part.start for part in cut[::-1]]
        inside = tuple(cut)
        shape = tuple(part.stop - part.start for part in cut)
        kept = 100 * float(np.prod(shape) / np.prod(shape_of(image)))
        geometry = replace(image.geometry, affine=image.geometry.affine @ to_before)
        made = replace(image, values=image.values[(slice(None), *inside)], geometry=geometry)
        return StepResult(
            made,
            Verdict.of(
                f"Both lungs, {lungs.total_ml:.0f} ml, lie in {kept:.0f} % of the scan.{''.join(f' {one}' for one in lungs.warnings)}",
                Measure("Volume of both lungs", lungs.total_ml, "ml", *TOTAL_ML, LUNG_SOURCE),
                Measure("Part of the scan that is kept", kept, "%"),
            ),
            to_before=to_before,
            mask=carried(lungs.both, to_before, shape),
        )


STEPS.register("hu-window", HuWindow())
STEPS.register("lung-crop", LungCrop())

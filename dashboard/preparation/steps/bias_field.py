"""Bias field: the coil's shading, divided out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from dashboard.preparation.itk import from_itk, to_itk, too_small, watch
from dashboard.preparation.tissue import foreground, spacing_of
from dashboard.preparation.types import (
    STEPS,
    Measure,
    State,
    StepResult,
    StepSpec,
    Verdict,
    voxels,
    with_values,
)
from explainers.types import Param, ParamValue
from models.errors import DataError
from models.types import Image, Modality

MOST_RATIO = 2.0
RATIO_SOURCE = "own bound: simulated brains use 1.2 to 1.5 for usual coils; above 2 anatomy is probably being flattened"
SPREAD_SOURCE = "a correction should not make the tissue less even"
_TOLERANCE = 0.001  # of the field's change between two iterations
_CONTROL_POINTS = 4  # of the coarsest spline, on each axis


class BiasField:
    spec = StepSpec(
        id="bias-field",
        title="Bias-field correction (N4)",
        purpose="Divides out the smooth shading of the receiver coil, so that one tissue has one brightness everywhere.",
        params=(
            Param(
                "shrink",
                "Shrink factor",
                "int",
                4,
                "The field is estimated on a copy this much coarser; it is smooth, so little is lost.",
                1,
                8,
                1,
            ),
            Param("levels", "Levels", "int", 3, "Each doubles how finely the field may vary in space.", 1, 5, 1),
            Param("iterations", "Iterations a level", "int", 40, "At most; fewer once the field settles.", 5, 200, 5),
        ),
        order=20,
        paper="Tustison et al., IEEE Trans Med Imaging 2010, 29:1310-1320",
    )

    def applies(self, image: Image) -> str | None:
        if image.modality not in (Modality.MR, Modality.UNKNOWN):
            return f"Only MR has the shading of a coil; this image is {image.modality.label}."
        if image.values.min() < 0:
            return "The field is divided out, so values must not be negative: put this step before the intensity normalisation."
        return too_small(image)

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """N4 in the mask, or in the head; one thread, so that the same input gives the same bytes everywhere."""
        values = voxels(image)
        mask = (foreground(values) if state.mask is None else state.mask) & (values > 0)
        if not mask.any():
            raise DataError("There is nothing brighter than the background, so no field can be estimated.")
        full, inside = to_itk(values, image.geometry), to_itk(mask.astype(np.uint8), image.geometry)
        factors = _factors(int(params["shrink"]), values.shape, spacing_of(image.geometry))[-full.GetDimension() :]
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetNumberOfThreads(1)
        n4.SetMaximumNumberOfIterations([int(params["iterations"])] * int(params["levels"]))
        n4.SetConvergenceThreshold(_TOLERANCE)
        n4.SetNumberOfControlPoints([_CONTROL_POINTS] * full.GetDimension())
        small = [sitk.Shrink(one, [int(factor) for factor in factors[::-1]]) for one in (full, inside)]
        try:
            with watch(n4, state.ctx):
                n4.Execute(*small)
        except RuntimeError as error:
            state.ctx.check()
            raise DataError(
                "The bias field could not be estimated; try a smaller shrink factor or fewer levels."
            ) from error
        state.ctx.check()
        log_field = from_itk(n4.GetLogBiasFieldAsImage(full))
        log_field -= np.float32(log_field[mask].mean())  # a constant factor is not shading: the brightness stays
        corrected = (values / np.exp(log_field)).astype(np.float32)
        low, high = np.percentile(log_field[mask], (1, 99))
        ratio = float(np.exp(high - low))
        before, after = _spread(values[mask]), _spread(corrected[mask])
        return StepResult(
            with_values(image, corrected),
            Verdict.of(
                f"The shading varied by a factor of {ratio:.2f} within the {'head' if state.mask is None else 'mask'}.",
                Measure("Brightest to darkest place of the field", ratio, "x", 1.0, MOST_RATIO, RATIO_SOURCE),
                Measure("Spread of the tissue, after", after, "%", None, before * 1.02, SPREAD_SOURCE),
                Measure("Spread of the tissue, before", before, "%"),
            ),
            extras={"log bias field": log_field},
        )


def _factors(shrink: int, shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, ...]:
    """By axis of (D, H, W): thick slices are shrunk less, so that voxels become cubes; enough voxels are left for splines."""
    step = shrink * min(spacing[1:])
    return tuple(
        max(1, min(round(step / mm), size // (2 * _CONTROL_POINTS))) for mm, size in zip(spacing, shape, strict=True)
    )


def _spread(values: np.ndarray) -> float:
    """Coefficient of variation in percent."""
    return float(100 * values.std() / max(float(values.mean()), 1e-12))


STEPS.register("bias-field", BiasField())

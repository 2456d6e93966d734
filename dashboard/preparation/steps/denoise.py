"""Noise filtering that leaves edges standing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from dashboard.preparation.itk import from_itk, to_itk, too_small, watch
from dashboard.preparation.tissue import foreground, noise_level, spacing_of
from dashboard.preparation.types import (
    STEPS,
    BoolArray,
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
from models.types import FloatArray, Image

DIFFUSION, MEDIAN = "diffusion", "median"
_STEP = 0.0625  # of time: stable in three dimensions for cubes of side 1
NOISE_SOURCE = "own bound: a filter that removes less did nothing"
EDGE_SOURCE = "own bound: edges that lose more are blurred"
LEAST_EDGES = 80.0


class Denoise:
    spec = StepSpec(
        id="denoise",
        title="Noise filter",
        purpose="Smooths grain while edges stay; too much of it also removes fine texture that a model may rely on.",
        params=(
            Param(
                "kind",
                "Filter",
                "choice",
                DIFFUSION,
                "Curvature diffusion smooths along edges; the median removes single odd pixels, slice by slice.",
                choices=(DIFFUSION, MEDIAN),
            ),
            Param("iterations", "Iterations (diffusion)", "int", 3, "More smooth more.", 1, 30, 1),
            Param(
                "conductance", "Conductance (diffusion)", "float", 1.0, "Higher lets stronger edges fade.", 0.5, 9, 0.5
            ),
            Param("size", "Window (median)", "int", 3, "Side of the square.", 3, 7, 2, unit="px"),
        ),
        order=40,
        paper="Whitaker and Xue, IEEE ICIP 2001 (curvature diffusion)",
    )

    def applies(self, image: Image) -> str | None:
        return too_small(image)

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """See :class:`dashboard.preparation.types.Step`."""
        values = voxels(image)
        mask = foreground(values) if state.mask is None else state.mask
        if params["kind"] == MEDIAN:
            size = int(params["size"])
            smooth = ndimage.median_filter(values, size=(1, size, size))
        else:
            smooth = _diffused(values, image, int(params["iterations"]), float(params["conductance"]), state)
        before, after = noise_level(values, mask), noise_level(smooth, mask)
        removed = 100 * (1 - after / before) if before else 0.0
        return StepResult(
            with_values(image, np.asarray(smooth, np.float32)),
            Verdict.of(
                f"{removed:.0f} % of the noise is gone.",
                Measure("Noise removed", removed, "%", 5.0, 100.0, NOISE_SOURCE),
                Measure(
                    "Sharpness of strong edges kept", _edges(values, smooth, mask), "%", LEAST_EDGES, None, EDGE_SOURCE
                ),
            ),
        )


def _diffused(values: FloatArray, image: Image, iterations: int, conductance: float, state: State) -> FloatArray:
    """Curvature anisotropic diffusion, with distances counted in the smallest voxel side, so that its step is stable."""
    diffusion = sitk.CurvatureAnisotropicDiffusionImageFilter()
    diffusion.SetNumberOfThreads(1)
    diffusion.SetNumberOfIterations(iterations)
    diffusion.SetConductanceParameter(conductance)
    diffusion.SetTimeStep(_STEP)
    given = to_itk(values, image.geometry)
    smallest = min(spacing_of(image.geometry))
    given.SetSpacing([mm / smallest for mm in given.GetSpacing()])
    try:
        with watch(diffusion, state.ctx):
            found = from_itk(diffusion.Execute(given))
    except RuntimeError as error:
        state.ctx.check()
        raise DataError("The diffusion filter could not run on this image; choose the median.") from error
    state.ctx.check()
    return found


def _edges(before: FloatArray, after: FloatArray, mask: BoolArray) -> float:
    """Strength of the strongest tenth of the edges of each slice, in percent of what it was."""
    strength = np.hypot(ndimage.sobel(before, 1), ndimage.sobel(before, 2))
    inside = strength[mask]
    strong = mask & (strength >= np.percentile(inside, 90)) if inside.size else mask
    now = np.hypot(ndimage.sobel(after, 1), ndimage.sobel(after, 2))
    total = float(strength[strong].sum())
    return 100 * float(now[strong].sum()) / total if total else 100.0


STEPS.register("denoise", Denoise())

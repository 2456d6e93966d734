"""Resampling to cubes of one size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.preparation.grids import between, resampled
from dashboard.preparation.types import STEPS, Measure, State, StepResult, StepSpec, Verdict, voxels, with_values
from dashboard.quantify.grid import check_even
from explainers.types import Param, ParamValue
from models.errors import DataError
from models.types import Geometry, Image

MOST_VOXELS = 100_000_000
EXTENT_SOURCE = "own bound: the field of view may change by rounding to whole voxels alone"


class Resample:
    spec = StepSpec(
        id="resample",
        title="Resampling to cubes",
        purpose="Gives all voxels the same size in mm, so that shapes are true and scans of different thickness compare.",
        params=(Param("mm", "Side of a voxel", "float", 1.0, "", 0.5, 8, 0.5, unit="mm"),),
        order=50,
    )

    def applies(self, image: Image) -> str | None:
        if image.is_colour:
            return "The image is in colour; this step works on the grey values of a scan."
        if image.geometry is None or not image.is_volume:
            return "Cubes need a volume whose voxel size is known."
        try:
            check_even(image.geometry, "The scan")
        except DataError as error:
            return str(error)
        return None

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """Linear, smoothed first where voxels grow; the edges of the field of view stay where they were."""
        values, geometry, mm = voxels(image), image.geometry, float(params["mm"])
        if geometry is None:
            raise DataError("The voxel size is not known, so the image cannot be resampled.")
        old = np.array(geometry.spacing)
        counts = np.maximum(1, np.rint(np.array(values.shape[::-1]) * old / mm)).astype(int)
        if counts.prod() > MOST_VOXELS:
            raise DataError(
                f"Cubes of {mm:g} mm would make {counts.prod() / 1e6:.0f} million voxels of it; choose larger ones (at most"
                f" {MOST_VOXELS / 1e6:.0f} million)."
            )
        target = _grid(geometry, mm, counts, values.shape[::-1])
        to_before = between(target, geometry)
        shape = (int(counts[2]), int(counts[1]), int(counts[0]))
        changed = resampled(values, to_before, shape, fill=float(values.min()))
        extent = 100 * float(np.prod(counts * mm) / np.prod(np.array(values.shape[::-1]) * old))
        columns, rows, slices = (int(count) for count in counts)
        return StepResult(
            replace(with_values(image, changed), geometry=target),
            Verdict.of(
                f"Voxels of {_times(old)} mm became cubes of {mm:g} mm, {columns} x {rows} x {slices} of them.",
                Measure("Field of view kept", extent, "%", 97.0, 103.0, EXTENT_SOURCE),
            ),
            to_before=to_before,
        )


def _times(spacing: NDArray[Any]) -> str:
    return " x ".join(f"{mm:.3g}" for mm in spacing)


def _grid(geometry: Geometry, mm: float, counts: NDArray[Any], before: tuple[int, ...]) -> Geometry:
    """Cubes along the same axes, centred as the grid before was."""
    affine = geometry.affine.copy()
    affine[:3, :3] *= mm / np.array(geometry.spacing)
    middle = geometry.to_world((np.array([before]) - 1) / 2)[0]
    affine[:3, 3] = middle - affine[:3, :3] @ ((counts - 1) / 2)
    return replace(geometry, affine=affine)


STEPS.register("resample", Resample())

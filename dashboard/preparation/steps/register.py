"""Registration: the image moved onto a template or an earlier scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dashboard.preparation.grids import inverse, resampled, shape_of
from dashboard.preparation.types import STEPS, Measure, State, StepResult, StepSpec, Verdict, voxels, with_values
from dashboard.quantify.grid import check_even
from dashboard.registration import register
from explainers.types import Param, ParamValue
from models.errors import DataError
from models.types import Image

ORIGINAL, PREPARED = "original", "prepared"
RIGID, AFFINE = "rigid", "affine"
OVERLAP_SOURCE = "own bound: less of the reference's body in the picture means that the scans show different parts"
GAIN_SOURCE = "a registration must not agree worse than the headers did"


class Register:
    spec = StepSpec(
        id="register",
        title="Registration",
        purpose="Moves the head or chest to where the reference has it, so that the same slice shows the same anatomy.",
        params=(
            Param(
                "kind",
                "Kind",
                "choice",
                RIGID,
                "Rigid turns and shifts; affine also stretches and shears, for another person's scan or a template.",
                choices=(RIGID, AFFINE),
            ),
            Param(
                "with_image",
                "Matched by",
                "choice",
                ORIGINAL,
                "The original image still has skull and scalp, as most references do; the prepared one suits a reference "
                "that was prepared the same way.",
                choices=(ORIGINAL, PREPARED),
            ),
        ),
        order=60,
        paper="Mattes et al., IEEE Trans Med Imaging 2003, 22:120-128",
    )

    def applies(self, image: Image) -> str | None:
        if not image.is_volume or image.is_colour or image.geometry is None or image.geometry.frame != "patient":
            return "Registration needs a volume whose header says how the patient lies."
        try:
            check_even(image.geometry, "The scan")
        except DataError as error:
            return str(error)
        return None

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """The image on the reference's grid; left as it was where the match is below the floor of the registration."""
        fixed = state.reference
        if fixed is None:
            raise DataError("There is nothing to register to; choose a reference volume.")
        if image.geometry is None or fixed.geometry is None:
            raise DataError("Registration needs volumes whose headers say how the patient lies.")
        moving = image if params["with_image"] == PREPARED or state.native is None else state.native
        kind = "affine" if params["kind"] == AFFINE else "rigid"
        found = register(fixed, moving, kind, state.seed, state.ctx)  # type: ignore[arg-type]
        quality = found.quality
        before, after = quality.information_before, quality.information_after
        measures = (
            Measure("Mutual information, after", after, "", before, 1.0, GAIN_SOURCE),
            Measure("Mutual information, before", before),
            Measure("Reference's body inside the picture", 100 * quality.overlap, "%", 60.0, 100.0, OVERLAP_SOURCE),
            Measure("Shift", found.shift_mm, "mm"),
            Measure("Rotation", found.rotation_degrees, "degrees"),
        )
        if not found.accepted:
            return StepResult(image, Verdict("fail", f"{found.reason} The image stays where it was.", measures))
        to_before = inverse(image.geometry.affine) @ found.matrix @ fixed.geometry.affine
        values = voxels(image)
        moved = with_values(image, resampled(values, to_before, shape_of(fixed), fill=float(values.min())))
        sentence = (
            f"Shifted by {found.shift_mm:.1f} mm and turned by {found.rotation_degrees:.1f} degrees onto the reference."
        )
        return StepResult(replace(moved, geometry=fixed.geometry), Verdict.of(sentence, *measures), to_before=to_before)


STEPS.register("register", Register())

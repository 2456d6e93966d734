"""Skull stripping: everything but the brain becomes background."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from dashboard.preparation.brain_classical import ERODE_MM, classical_brain
from dashboard.preparation.brain_network import network_brain
from dashboard.preparation.tissue import dice, spacing_of
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
from dashboard.quantify.grid import Turn, geometry_of, voxel_ml
from explainers.types import Param, ParamValue
from models.errors import DataError, SightlineError, Unavailable
from models.types import FloatArray, Image, Modality

LEAST_SLICES = 8
BRAIN_ML = (900.0, 2000.0)
BRAIN_SOURCE = (
    "brains of 46 adults: 975 to 1499 ml (Allen et al., Am J Phys Anthropol 2002, 118:341-358); masks also hold fluid"
    " around the brain, hence up to 2000"
)
LEAST_ML, MOST_ML = 300.0, 3000.0  # beyond these it is no brain at all
LEAST_DICE = 0.8
DICE_SOURCE = "own bound: the two methods gave 0.89 to 0.95 on the sample volumes"
NETWORK, CLASSICAL = "network", "classical"


class SkullStrip:
    spec = StepSpec(
        id="skull-strip",
        title="Skull stripping",
        purpose="Removes scalp, skull, eyes and neck, so that only the brain is left to be measured and judged.",
        params=(
            Param(
                "method",
                "Method",
                "choice",
                NETWORK,
                "The network of deepbet, trained on T1-weighted heads of healthy adults; or threshold and morphology, "
                "which also stand in where the network is not installed.",
                choices=(NETWORK, CLASSICAL),
            ),
            Param("margin_mm", "Margin around the brain", "float", 0.0, "Kept around the mask.", 0, 10, 1, unit="mm"),
            Param(
                "erode_mm",
                "Erosion (classical)",
                "float",
                ERODE_MM,
                "Cuts the bridges to eyes and neck.",
                1,
                8,
                0.5,
                unit="mm",
            ),
        ),
        order=10,
        paper="Fisch et al., Comput Biol Med 2024 (deepbet)",
    )

    def applies(self, image: Image) -> str | None:
        if image.modality not in (Modality.MR, Modality.UNKNOWN) or image.is_colour:
            return f"This is not an MR scan of the head ({image.modality.label})."
        if image.depth < LEAST_SLICES:
            return f"The brain is found in a volume of at least {LEAST_SLICES} slices; this image has {image.depth}."
        try:
            geometry_of(image)  # a brain has a size: without mm there is no telling one from anything else
        except DataError as error:
            return str(error)
        return None

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """See :class:`dashboard.preparation.types.Step`. The mask found is the one that later steps measure in."""
        values, geometry = voxels(image), geometry_of(image)
        turn = Turn.of(geometry)
        upright, spacing = turn.apply(values), spacing_of(turn.geometry(geometry, values.shape))
        state.ctx.check()
        classical, wrong = _classical(upright, spacing, float(params["erode_mm"]))
        network, missing = (None, "") if params["method"] == CLASSICAL else _network(upright, state)
        found = network if network is not None else classical
        if found is None:
            raise DataError(wrong)
        ml = voxel_ml(geometry)
        volume = Measure("Brain volume", float(found.sum()) * ml, "ml", *BRAIN_ML, BRAIN_SOURCE)
        if not LEAST_ML <= volume.value <= MOST_ML:
            raise DataError(
                f"The brain found is implausible ({volume.value:.0f} ml); try the other method, or leave this step out."
            )
        measures = [volume]
        if network is not None and classical is not None:
            overlap = dice(network, classical)
            measures.append(Measure("Dice of network and classical mask", overlap, "", LEAST_DICE, 1.0, DICE_SOURCE))
        kept = _with_margin(found, spacing, float(params["margin_mm"]))
        mask, by = (
            np.ascontiguousarray(turn.undo(kept)),
            "the network" if network is not None else "the classical method",
        )
        sentence = f"{missing}The brain has {volume.value:.0f} ml by {by}."
        inside = np.where(mask, values, values.min() if values.min() < 0 else 0.0).astype(np.float32)
        return StepResult(
            with_values(image, inside),
            Verdict.of(sentence, *measures),
            mask=mask,
            extras={"brain mask": mask.astype(np.float32)},
        )


def _classical(
    values: FloatArray, spacing: tuple[float, float, float], erode_mm: float
) -> tuple[BoolArray | None, str]:
    """The mask, or None and why."""
    try:
        return classical_brain(values, spacing, erode_mm), ""
    except SightlineError as error:
        return None, str(error)


def _network(values: FloatArray, state: State) -> tuple[BoolArray | None, str]:
    """The mask, or None and a sentence on why the classical method stands in."""
    try:
        return network_brain(np.ascontiguousarray(values), state.ctx), ""
    except Unavailable as error:
        return None, f"{error} The classical method stood in. "


def _with_margin(mask: BoolArray, spacing: tuple[float, float, float], margin_mm: float) -> BoolArray:
    return mask if margin_mm == 0 else np.asarray(ndimage.distance_transform_edt(~mask, spacing) <= margin_mm)


STEPS.register("skull-strip", SkullStrip())

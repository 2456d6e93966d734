"""Occlusion: the score lost when a window of the image is hidden (Zeiler and Fergus, ECCV 2014, section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import nn

from explainers.methods._base import BATCH, PerTarget, Result, own_input, scorer, to_array
from explainers.methods._baselines import baseline, baseline_param
from explainers.methods._captum import captum
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec, Param, ParamValue
from models.errors import ExplainError
from models.preprocess import Prepared
from models.types import Target


def positions(params: Mapping[str, ParamValue], input_shape: Sequence[int]) -> int:
    """Number of places the window visits; the last of a row is cut off at the edge where the stride does not fit."""
    window, stride = int(params["window"]), int(params["stride"])
    return math.prod(math.ceil(max(size - window, 0) / stride) + 1 for size in input_shape)


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return math.ceil(positions(params, input_shape) / BATCH) + 1  # and one for the image as it is


class Occlusion(PerTarget):
    """Score of the image minus its score with the window hidden, all channels together.

    Positive: the class loses score when the pixel is hidden. A pixel's value is the mean over all windows that
    cover it (captum's convention). Differs: the paper hides with grey only; ``fill`` chooses what hides.
    """

    spec = ExplainerSpec(
        id="occlusion",
        title="Occlusion",
        family="perturbation",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=False,
        params=(
            Param(
                "window",
                "Window",
                "int",
                32,
                help="Side of the hidden square, on the network's input.",
                low=2,
                high=512,
                step=1,
                unit="px",
            ),
            Param(
                "stride",
                "Stride",
                "int",
                16,
                help="Step between windows; at most the window.",
                low=1,
                high=512,
                step=1,
                unit="px",
            ),
            baseline_param("fill", "Hidden by", "mean"),
        ),
        cost=_cost,
        paper="Zeiler and Fergus 2014, arXiv:1311.2901",
        summary="How much the score drops when a square of the image is hidden; slow, and free of gradients.",
        order=30,
    )

    def attribute(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Result:
        window, stride = int(params["window"]), int(params["stride"])
        image = own_input(prepared)
        channels, *spatial = image.shape[1:]
        if window > min(spatial):
            raise ExplainError(
                f"Occlusion: the window of {window} px does not fit the network's input of {min(spatial)} px; "
                "choose a smaller window."
            )
        if stride > window:
            raise ExplainError(
                f"Occlusion: a stride of {stride} px leaves gaps between windows of {window} px; choose a smaller stride."
            )
        values = captum("Occlusion")(scorer(module, target)).attribute(
            image,
            sliding_window_shapes=(channels, *(window for _ in spatial)),
            strides=(channels, *(stride for _ in spatial)),
            baselines=baseline(prepared, str(params["fill"])),
            perturbations_per_eval=BATCH,
        )
        # Every channel carries the same drop; one of them is the map.
        return Result(to_array(values[0, :1]), facts={"windows": str(positions(params, spatial))})


EXPLAINERS.register(Occlusion.spec.id, Occlusion())

"""SmoothGrad: the input gradient averaged over noisy copies of the image (Smilkov et al., 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from explainers.methods._base import BATCH, PerTarget, Result, own_input, scorer, to_array
from explainers.methods._captum import captum
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec, Param, ParamValue
from models.preprocess import Prepared
from models.types import Target


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return math.ceil(int(params["samples"]) / BATCH)


class SmoothGrad(PerTarget):
    """Mean of d score / d input at x + e, e Gaussian with ``noise`` times the input's range as standard deviation.

    Differs: captum's own noise comes from the process-wide generator; here each call draws from a generator of its
    own, seeded by ``seed`` and on the CPU, so that runs repeat on any device and do not disturb one another.
    """

    spec = ExplainerSpec(
        id="smooth-grad",
        title="SmoothGrad",
        family="gradient",
        signed=True,
        unit="logit / unit input",
        dims=(2,),
        needs_gradient=True,
        params=(
            Param("samples", "Noisy copies", "int", 32, low=2, high=500, step=1, unit="samples"),
            Param(
                "noise",
                "Noise",
                "float",
                0.15,
                help="Standard deviation, as a fraction of the input's range.",
                low=0.0,
                high=1.0,
                step=0.05,
            ),
        ),
        cost=_cost,
        paper="Smilkov et al. 2017, arXiv:1706.03825",
        summary="Saliency with its noise averaged out.",
        order=23,
    )

    def attribute(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Result:
        image, samples = own_input(prepared), int(params["samples"])
        deviation = float(params["noise"]) * float(image.max() - image.min())
        saliency = captum("Saliency")(scorer(module, target))
        generator = torch.Generator().manual_seed(seed)
        total = torch.zeros_like(image[0], dtype=torch.float64)
        for first in range(0, samples, BATCH):
            count = min(BATCH, samples - first)
            noise = torch.randn(count, *image.shape[1:], generator=generator).to(image)
            gradients = saliency.attribute((image + deviation * noise).requires_grad_(), abs=False)
            total += gradients.double().sum(dim=0)
        return Result(to_array(total / samples))


EXPLAINERS.register(SmoothGrad.spec.id, SmoothGrad())

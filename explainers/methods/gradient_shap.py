"""GradientSHAP, or expected gradients (Lundberg and Lee 2017; Erion et al., Nat. Mach. Intell. 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from explainers.methods._base import BATCH, PerTarget, Result, completeness_error, own_input, scorer, scores, to_array
from explainers.methods._baselines import BASELINES, baseline, baseline_param
from explainers.methods._captum import captum
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec, Param, ParamValue
from models.preprocess import Prepared
from models.types import Target


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return 1 + 2 * math.ceil(int(params["samples"]) / BATCH)  # the image; each batch's gradients and baseline scores


class GradientShap(PerTarget):
    """Mean over baselines b and a uniform in [0, 1] of (x - b) times d score / d input at b + a (x - b).

    The baselines: the paper draws them from training images, which this application does not hold. Each sample
    takes instead the black, blurred or mean image (one of the three at random for "mixed", else the one named)
    plus Gaussian noise with ``spread`` times the input's range as standard deviation.

    Differs: samples come from a generator of the call's own on the CPU, seeded by ``seed``, and in batches, where
    captum draws from numpy's and torch's process-wide generators and holds all samples at once. The completeness
    error compares with the mean score of the baselines drawn and holds the sampling error of ``samples`` draws.
    """

    spec = ExplainerSpec(
        id="gradient-shap",
        title="GradientSHAP (expected gradients)",
        family="gradient",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(
            Param(
                "samples",
                "Samples",
                "int",
                48,
                help="Pairs of a baseline and a point on the way from it.",
                low=2,
                high=1000,
                step=1,
                unit="samples",
            ),
            baseline_param("baseline", "Baselines", "mixed", extra=("mixed",)),
            Param(
                "spread",
                "Spread",
                "float",
                0.1,
                help="Noise on the baselines, as a fraction of the input's range.",
                low=0.0,
                high=1.0,
                step=0.05,
            ),
        ),
        cost=_cost,
        paper="Erion et al. 2021, arXiv:1906.10670",
        summary="Integrated gradients averaged over many baselines, so that no single one decides.",
        order=21,
    )

    def attribute(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Result:
        image, samples = own_input(prepared), int(params["samples"])
        kinds = BASELINES if params["baseline"] == "mixed" else (str(params["baseline"]),)
        references = torch.cat([baseline(prepared, kind) for kind in kinds])
        deviation = float(params["spread"]) * float(image.max() - image.min())
        saliency = captum("Saliency")(scorer(module, target))
        generator = torch.Generator().manual_seed(seed)
        (score,) = scores(module, image, target)
        total = torch.zeros_like(image[0], dtype=torch.float64)
        baseline_scores: list[float] = []
        for first in range(0, samples, BATCH):
            count = min(BATCH, samples - first)
            start = _draw(references, deviation, count, generator)
            along = torch.rand(count, generator=generator).to(image).view(-1, *(1,) * (image.ndim - 1))
            gradients = saliency.attribute((start + along * (image - start)).requires_grad_(), abs=False)
            total += ((image - start) * gradients).double().sum(dim=0)
            baseline_scores += scores(module, start, target)
        array, baseline_score = to_array(total / samples), sum(baseline_scores) / samples
        return Result(
            array,
            completeness_error=completeness_error(array, score - baseline_score),
            facts={"score": f"{score:.4g}", "mean baseline score": f"{baseline_score:.4g}"},
        )


def _draw(references: Tensor, deviation: float, count: int, generator: torch.Generator) -> Tensor:
    """``count`` baselines: a reference at random, plus noise."""
    chosen = torch.randint(len(references), (count,), generator=generator).to(references.device)
    noise = torch.randn(count, *references.shape[1:], generator=generator).to(references)
    return references[chosen] + deviation * noise


EXPLAINERS.register(GradientShap.spec.id, GradientShap())

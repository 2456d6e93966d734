"""Saliency: the gradient of the score with respect to the input (Simonyan et al., 2014)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from explainers.methods._base import PerTarget, Result, own_input, scorer, to_array
from explainers.methods._captum import captum
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec, ParamValue
from models.preprocess import Prepared
from models.types import Target


class Saliency(PerTarget):
    """d score / d input, per channel.

    Differs: the paper shows the largest magnitude over channels; sign and channels are the reader's choice here.
    """

    spec = ExplainerSpec(
        id="saliency",
        title="Saliency (input gradient)",
        family="gradient",
        signed=True,
        unit="logit / unit input",
        dims=(2,),
        needs_gradient=True,
        params=(),
        cost=lambda params, input_shape: 1,
        paper="Simonyan et al. 2014, arXiv:1312.6034",
        summary="Which pixels would change the score fastest if they changed a little; noisy.",
        order=22,
    )

    def attribute(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Result:
        gradient = captum("Saliency")(scorer(module, target)).attribute(own_input(prepared).requires_grad_(), abs=False)
        return Result(to_array(gradient[0]))


EXPLAINERS.register(Saliency.spec.id, Saliency())

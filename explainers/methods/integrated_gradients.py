"""Integrated gradients: gradients gathered between a baseline and the image (Sundararajan et al., ICML 2017, eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from explainers.methods._base import BATCH, PerTarget, Result, completeness_error, own_input, scorer, scores, to_array
from explainers.methods._baselines import baseline, baseline_param
from explainers.methods._captum import captum
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec, Param, ParamValue
from models.preprocess import Prepared
from models.types import Target

_RULES = {"Gauss-Legendre": "gausslegendre", "midpoint": "riemann_middle"}


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return math.ceil(int(params["steps"]) / BATCH) + 1  # and one for the two end points


class IntegratedGradients(PerTarget):
    """(x - x') times the integral over a in [0, 1] of d score / d input at x' + a (x - x').

    Differs: the integral is a sum over ``steps`` points; the completeness error tells how far its total is from
    the score difference. A small error does not prove that the map has converged: compare with more steps.
    """

    spec = ExplainerSpec(
        id="integrated-gradients",
        title="Integrated gradients",
        family="gradient",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(
            Param(
                "steps",
                "Steps",
                "int",
                50,
                help="Points on the way from the baseline to the image.",
                low=2,
                high=1000,
                step=1,
                unit="steps",
            ),
            baseline_param("baseline", "Baseline", "black"),
            Param("rule", "Integration rule", "choice", "Gauss-Legendre", choices=tuple(_RULES)),
        ),
        cost=_cost,
        paper="Sundararajan et al. 2017, arXiv:1703.01365",
        summary="What each pixel adds to the score against a baseline; the values add up to the difference.",
        order=20,
    )

    def attribute(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Result:
        image, start = own_input(prepared), baseline(prepared, str(params["baseline"]))
        score, baseline_score = scores(module, torch.cat([image, start]), target)
        values = captum("IntegratedGradients")(scorer(module, target)).attribute(
            image,
            baselines=start,
            n_steps=int(params["steps"]),
            method=_RULES[str(params["rule"])],
            internal_batch_size=BATCH,
        )
        array = to_array(values[0])
        return Result(
            array,
            completeness_error=completeness_error(array, score - baseline_score),
            facts={"score": f"{score:.4g}", "baseline score": f"{baseline_score:.4g}"},
        )


EXPLAINERS.register(IntegratedGradients.spec.id, IntegratedGradients())

"""Grad-CAM++: feature maps weighted by their positive gradients (Chattopadhay et al., WACV 2018, eq. 19 and 7)."""

from __future__ import annotations

import numpy as np

from explainers.methods._cam import LAYER, Array, CamExplainer, forward_count
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec


class GradCamPlusPlus(CamExplainer):
    """sum_k w_k A_k, w_k = sum over the map of alpha relu(g), alpha = g^2 / (2 g^2 + g^3 sum A_k), g = d score / d A.

    The ReLU on the gradient is the method's own and stays. Differs: the outer ReLU is left to the reader; the
    factor exp(score), which multiplies the whole map, is left out; a map whose activations add up to less than
    zero counts as zero in alpha, which the paper's rectified activations cannot do and where alpha has a pole.
    Computed as alpha relu(g) = relu(g) / (2 + relu(g) sum A_k), which needs nothing against division by zero.
    """

    spec = ExplainerSpec(
        id="grad-cam-plus-plus",
        title="Grad-CAM++",
        family="activation",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(LAYER,),
        cost=forward_count,
        paper="Chattopadhay et al. 2018, arXiv:1710.11063",
        summary="Grad-CAM from positive gradients only; follows several or small findings more evenly.",
        order=11,
    )

    def weigh(self, activations: Array, gradients: Array) -> Array:
        sums = np.maximum(activations.sum(axis=(2, 3), keepdims=True), 0.0)
        positive = np.maximum(gradients, 0.0)
        weights = (positive / (2 + positive * sums)).sum(axis=(2, 3), keepdims=True)
        return (weights * activations).sum(axis=1)


EXPLAINERS.register(GradCamPlusPlus.spec.id, GradCamPlusPlus())

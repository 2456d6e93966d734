"""Grad-CAM++: feature maps weighted by their positive gradients (Chattopadhay et al., WACV 2018, eq. 19 and 7)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.methods._cam import LAYER, Array, CamExplainer, forward_count
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec

_SCALE = 1e3  # largest gradient handed to the library, far above its epsilon of 1e-6 under the squares


class GradCamPlusPlus(CamExplainer):
    """sum_k w_k A_k, w_k = sum over the map of alpha relu(g), alpha = g^2 / (2 g^2 + g^3 sum A_k), g = d score / d A.

    The ReLU on the gradient is the method's own and stays. Differs: the outer ReLU is left to the reader; the
    factor exp(score), which multiplies the whole map, is left out; a map whose activations add up to less than
    zero counts as zero in alpha, which the paper's rectified activations cannot do and where alpha has a pole.
    The library adds 1e-6 to alpha's denominator, as large as the squared gradients of many networks: gradients
    are scaled up, and activations down, before it is asked, which leaves the formula's value as it is.
    """

    library = "GradCAMPlusPlus"
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

    def weigh(self, formula: Any, activations: Array, gradients: Array) -> NDArray[Any]:
        scale = _SCALE / (np.abs(gradients).max() or 1.0)
        spatial = tuple(range(2, activations.ndim))
        sums = np.maximum(activations.sum(axis=spatial, keepdims=True), 0.0)
        weights = formula.get_cam_weights(None, None, None, sums / scale, gradients * scale) / scale
        return (weights.reshape(sums.shape) * activations).sum(axis=1)


EXPLAINERS.register(GradCamPlusPlus.spec.id, GradCamPlusPlus())

"""Grad-CAM: feature maps weighted by the mean gradient of the score (Selvaraju et al., ICCV 2017, eq. 1 and 2)."""

from __future__ import annotations

from explainers.methods._cam import LAYER, Array, CamExplainer, forward_count
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec


class GradCam(CamExplainer):
    """sum_k alpha_k A_k, with alpha_k the mean of d score / d A_k over the map.

    Differs: the ReLU of eq. 2 is left to the reader, so the map is signed; negative cells speak against the class.
    """

    spec = ExplainerSpec(
        id="grad-cam",
        title="Grad-CAM",
        family="activation",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(LAYER,),
        cost=forward_count,
        paper="Selvaraju et al. 2017, arXiv:1610.02391",
        summary="Where the last feature maps support the class; coarse, and fast enough to come first.",
        order=10,
    )

    def weigh(self, activations: Array, gradients: Array) -> Array:
        return (gradients.mean(axis=(2, 3), keepdims=True) * activations).sum(axis=1)


EXPLAINERS.register(GradCam.spec.id, GradCam())

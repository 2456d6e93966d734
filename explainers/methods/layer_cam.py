"""LayerCAM: feature maps weighted cell by cell by the positive gradient (Jiang et al., IEEE TIP 2021, eq. 6 and 7)."""

from __future__ import annotations

import numpy as np

from explainers.methods._cam import LAYER, Array, CamExplainer, forward_count
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec


class LayerCam(CamExplainer):
    """sum_k relu(d score / d A_k) A_k, the product taken in every cell.

    The ReLU on the gradient is the method's own and stays. Differs: the outer ReLU is left to the reader; it
    changes nothing where activations are not negative, and elsewhere the map is signed.
    """

    spec = ExplainerSpec(
        id="layer-cam",
        title="LayerCAM",
        family="activation",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(LAYER,),
        cost=forward_count,
        paper="Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
        summary="Grad-CAM with a weight for every cell; stays meaningful at earlier layers, where maps are finer.",
        order=12,
    )

    def weigh(self, activations: Array, gradients: Array) -> Array:
        return (np.maximum(gradients, 0.0) * activations).sum(axis=1)


EXPLAINERS.register(LayerCam.spec.id, LayerCam())

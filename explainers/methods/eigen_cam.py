"""Eigen-CAM: the first principal component of the feature maps (Muhammad and Yeasin, IJCNN 2020, eq. 3 and 4)."""

from __future__ import annotations

import numpy as np

from explainers.methods._cam import LAYER, Array, CamExplainer, forward_count
from explainers.registry import EXPLAINERS
from explainers.types import ExplainerSpec


class EigenCam(CamExplainer):
    """Each cell's channels projected onto the first right singular vector of the (cells, channels) matrix.

    Differs: channels are centred over the map first, as pytorch-grad-cam does, so that the component describes
    differences within the image. A singular vector has no sign of its own: the map is turned so that it rises
    with the strength of the activation (covariance with the norm over channels not negative). By a thin
    decomposition: a full one grows with the square of the number of cells (600 MB at 112 x 112).
    """

    spec = ExplainerSpec(
        id="eigen-cam",
        title="Eigen-CAM",
        family="activation",
        signed=True,
        unit="activation",
        dims=(2,),
        needs_gradient=False,
        params=(LAYER,),
        cost=forward_count,
        paper="Muhammad and Yeasin 2020, arXiv:2008.00299",
        summary="What stands out in the feature maps, whatever the class: the same map for every finding. "
        "Negative cells are unlike the dominant pattern, not evidence against a class.",
        order=13,
    )

    def weigh(self, activations: Array, gradients: Array) -> Array:
        cells = activations[0].reshape(activations.shape[1], -1).T
        centred = cells - cells.mean(axis=0)
        component = np.linalg.svd(centred, full_matrices=False)[2][0]
        projected = centred @ component
        if projected @ np.linalg.norm(cells, axis=1) < 0:  # a covariance, as ``projected`` has mean 0
            projected = -projected
        return projected.reshape(1, *activations.shape[2:])


EXPLAINERS.register(EigenCam.spec.id, EigenCam())

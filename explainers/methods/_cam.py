"""What the class activation maps share: the target layer's activations and gradients, and the projection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explainers.layers import find_layer, reshape_for
from explainers.methods._base import Maker, Result, to_array
from explainers.passes import Passes
from explainers.project import layer_to_input
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue, Support
from models.errors import ExplainError
from models.preprocess import Prepared
from models.types import Target

Array = NDArray[np.float64]

LAYER = Param("layer", "Target layer", "layer", "", help="Whose feature maps are shown; by default the model card's.")


def forward_count(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    """``ExplainerSpec.cost`` of every class activation map."""
    return 1


class CamExplainer(ABC):
    """A class activation map; subclasses give ``spec`` and the formula."""

    spec: ExplainerSpec

    def supports(self, module: nn.Module, layer: str) -> Support:
        """The network must have the layer."""
        if not layer:
            return Support(False, f"{self.spec.title} needs a target layer, and none is known for this network.")
        if find_layer(module, layer) is None:
            return Support(False, f"The network has no layer named {layer!r}; choose one of its modules.")
        return Support(True)

    @abstractmethod
    def weigh(self, activations: Array, gradients: Array) -> Array:
        """The method's map, (1, h, w), not rectified and not scaled.

        Args:
            activations, gradients: (1, C, h, w) float64, the layer's output and d score / d output.
        """

    def explain(
        self,
        passes: Passes,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
    ) -> tuple[Attribution, ...]:
        """See ``explainers.types.Explainer``. All targets share one forward; each adds a backward to the layer only."""
        made = Maker(self.spec, params, seed)
        name = str(params["layer"])
        with passes.network() as module:
            support = self.supports(module, name)
        if not support.ok:
            raise ExplainError(support.reason)
        captured = passes.layer(name, prepared.tensor, self.spec.needs_gradient)
        with passes.network() as module:
            reshape = reshape_for(module, name, tuple(captured.output.shape))
        if reshape is None:
            raise ExplainError(
                f"Layer {name!r} returns {tuple(captured.output.shape)}, which is no map over the image; "
                "choose a layer before the pooling."
            )

        def maps(values: Tensor) -> Array:
            """A layer's output, or its gradient, as (1, C, h, w) float64."""
            return reshape(values.detach()).double().cpu().numpy()

        results = []
        for target in targets:
            total, gradient = captured.gradient(target)
            if gradient is None and self.spec.needs_gradient:
                raise ExplainError(
                    f"The score does not depend on layer {name!r}; choose one on the way to the classes."
                )
            slopes = torch.zeros_like(captured.output) if gradient is None else gradient
            native = to_array(torch.from_numpy(self.weigh(maps(captured.output), maps(slopes))[0]))
            values = layer_to_input(native, prepared.grid_shape)[None]
            results.append(made.attribution(target, Result(values, native, facts={"score": f"{total:.4g}"})))
        return tuple(results)

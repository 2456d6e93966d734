"""What the class activation maps share: the target layer's activations and gradients, and the projection.

pytorch-grad-cam supplies the formulas of Grad-CAM, Grad-CAM++ and LayerCAM, called on arrays that are captured
here, because its own run rectifies and rescales every map to [0, 1], keeps a view of the activation that a later
in-place ReLU overwrites, fills the parameters' gradients and sends each gradient down to the input.
"""

from __future__ import annotations

import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explainers.layers import find_layer, reshape_for
from explainers.methods._base import Result, attribution, own_input, to_array
from explainers.project import layer_to_input
from explainers.targets import score
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue, Support
from models.context import RunContext
from models.errors import ExplainError
from models.preprocess import Prepared
from models.types import Target

Array = NDArray[np.float64]

LAYER = Param("layer", "Target layer", "layer", "", help="Whose feature maps are shown; by default the model card's.")


def forward_count(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    """``ExplainerSpec.cost`` of every class activation map."""
    return 1


class CamExplainer(ABC):
    """A class activation map. All targets share one forward; each adds a backward to the target layer only.

    Attributes:
        spec: of the method.
        library: the class of pytorch-grad-cam that gives the formula, or "" for none.
    """

    spec: ExplainerSpec
    library: str = ""

    def supports(self, module: nn.Module, layer: str) -> Support:
        """The network must have the layer, and the library must be installed."""
        if self.library and importlib.util.find_spec("pytorch_grad_cam") is None:
            return Support(False, f"{self.spec.title} needs a library; install it with: pip install grad-cam.")
        if not layer:
            return Support(False, f"{self.spec.title} needs a target layer, and none is known for this network.")
        if find_layer(module, layer) is None:
            return Support(False, f"The network has no layer named {layer!r}; choose one of its modules.")
        return Support(True)

    @abstractmethod
    def weigh(self, formula: Any, activations: Array, gradients: Array) -> NDArray[Any]:
        """The method's map.

        Args:
            formula: the library's object for this network, or None.
            activations, gradients: (1, C, h, w) float64, the layer's output and d score / d output.

        Returns:
            (1, h, w), not rectified and not scaled.
        """

    def explain(
        self,
        module: nn.Module,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
        ctx: RunContext,
    ) -> tuple[Attribution, ...]:
        """One attribution a target; see ``explainers.types.Explainer``. Runtimes include the shared forward."""
        support = self.supports(module, str(params["layer"]))
        if not support.ok:
            raise ExplainError(support.reason)
        ctx.check()
        started = time.perf_counter()
        layer = _Layer(module, str(params["layer"]), self.spec)
        formula = _formula(self.library, module) if self.library else None
        captured = _capture(layer, own_input(prepared))
        forward_s = time.perf_counter() - started
        made = []
        for number, target in enumerate(targets):
            if number:
                ctx.tick()  # the forward of this target that sharing has saved
            started = time.perf_counter()
            with torch.enable_grad():
                total = score(captured.logits, target)[0]
            gradients = _gradient(total, captured.output, layer)
            native = to_array(
                torch.from_numpy(self.weigh(formula, layer.maps(captured.output), layer.maps(gradients))[0])
            )
            values = layer_to_input(native, prepared.grid_shape)[None]
            result = Result(values, native, facts={"score": f"{total.item():.4g}"})
            made.append(attribution(self.spec, target, result, params, seed, forward_s + time.perf_counter() - started))
        return tuple(made)


class _Layer:
    """The target layer of a network, and how its output is read."""

    def __init__(self, module: nn.Module, name: str, spec: ExplainerSpec) -> None:
        self.network, self.name, self.needs_gradient = module, name, spec.needs_gradient
        self.module = module.get_submodule(name)

    def maps(self, values: Tensor) -> Array:
        """A layer's output, or its gradient, as (1, C, h, w) float64."""
        reshape = reshape_for(self.network, self.name, tuple(values.shape))
        if reshape is None:
            raise ExplainError(
                f"Layer {self.name!r} returns {tuple(values.shape)}, which is no map over the image; "
                "choose a layer before the pooling."
            )
        return reshape(values.detach()).double().cpu().numpy()


@dataclass(frozen=True, eq=False)
class _Captured:
    """One forward: the layer's output as it left the layer, and the logits computed from it."""

    output: Tensor
    logits: Tensor


def _capture(layer: _Layer, inputs: Tensor) -> _Captured:
    """Run the network once, recording gradients only from the target layer upwards."""
    found: list[Tensor] = []
    with _hooked(layer, found), torch.set_grad_enabled(layer.needs_gradient):
        logits = layer.network(inputs)
    if not found:
        raise ExplainError(
            f"Layer {layer.name!r} took no part in the forward pass or returned no tensor; choose another layer."
        )
    return _Captured(found[-1], logits)


@contextmanager
def _hooked(layer: _Layer, found: list[Tensor]) -> Iterator[None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        kept = output.detach().clone().requires_grad_(layer.needs_gradient)
        found.append(kept)
        return kept.clone()  # the network goes on with a copy: its in-place operations must not reach what is kept

    handle = layer.module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _gradient(total: Tensor, output: Tensor, layer: _Layer) -> Tensor:
    """d score / d output, with the graph kept for the next target; zeros for a method that needs none."""
    if not layer.needs_gradient:
        return torch.zeros_like(output)
    found = torch.autograd.grad(total, output, retain_graph=True, allow_unused=True) if total.requires_grad else (None,)
    if found[0] is None:
        raise ExplainError(f"The score does not depend on layer {layer.name!r}; choose one on the way to the classes.")
    return found[0]


def _formula(name: str, module: nn.Module) -> Any:
    """The library's object, given no layers of its own, so that it sets no hook."""
    import pytorch_grad_cam  # takes seconds to import, so not before a map is asked for

    return getattr(pytorch_grad_cam, name)(module, [])

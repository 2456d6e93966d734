"""Small networks, inputs and a stand-in for exclusive use, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explainers import get
from explainers.passes import Passes
from explainers.types import Attribution
from models.context import RunContext
from models.handle import stoppable
from models.preprocess import Prepared
from models.types import Target

SIZE = 32
BLACK = (-2.0, -1.5, -1.8)
LAYER = "second"
# Cheap settings, with counts that do not divide by the batch.
QUICK: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 11},
    "gradient-shap": {"samples": 11},
    "smooth-grad": {"samples": 11},
    "occlusion": {"window": 10, "stride": 6},
}


class SmoothNet(nn.Module):
    """Two convolutions without kinks; the head is linear in the last feature maps, which are positive."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, stride=2, padding=2)
        self.second = nn.Sequential(nn.Conv2d(6, 5, 3, stride=4, padding=1), nn.Softplus())
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(5, classes)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.second(torch.tanh(self.first(image)))
        return self.head(self.dropout(maps.mean(dim=(2, 3))))


class LinearNet(nn.Module):
    """score_k = <weight_k, x>: every method has a closed form."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIZE * SIZE, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image.flatten(1))

    def weight(self, index: int) -> np.ndarray:
        return self.head.weight[index].detach().numpy().reshape(3, SIZE, SIZE).astype(np.float64)


def smooth_net(seed: int = 0) -> SmoothNet:
    torch.manual_seed(seed)
    net = SmoothNet().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    return net


def linear_net(seed: int = 0) -> LinearNet:
    torch.manual_seed(seed)
    return LinearNet().eval()


def prepared_input(size: int = SIZE, seed: int = 1) -> Prepared:
    generator = torch.Generator().manual_seed(seed)
    return Prepared(
        tensor=torch.randn(1, 3, size, size, generator=generator),
        grid_to_image=np.eye(3),
        image_shape=(size, size),
        black=torch.tensor(BLACK),
        mean=torch.zeros(3),
    )


def logit(index: int = 0) -> Target:
    return Target(f"class {index}", index)


@contextmanager
def exclusive(module: nn.Module, ctx: RunContext) -> Iterator[nn.Module]:
    """What the caller of a method guarantees: parameters without gradients, a tick an input, a check at every layer."""
    required = [parameter.requires_grad for parameter in module.parameters()]
    module.requires_grad_(False)
    watching = [module.register_forward_pre_hook(lambda _, given: ctx.tick(len(given[0])))]
    watching += [handle for part in module.modules() for handle in stoppable(part, lambda: ctx)]
    try:
        yield module
    finally:
        for handle in watching:
            handle.remove()
        for parameter, flag in zip(module.parameters(), required, strict=True):
            parameter.requires_grad_(flag)


def resolved(method: str, layer: str = LAYER, **given: Any) -> dict[str, Any]:
    """Quick settings of a method, with the layer filled in."""
    params = get(method).spec.resolve(QUICK.get(method, {}) | given)
    return params | {"layer": layer} if "layer" in params else params


def explain(
    method: str,
    module: nn.Module,
    prepared: Prepared,
    *targets: Target,
    layer: str = LAYER,
    seed: int = 0,
    ctx: RunContext | None = None,
    **given: Any,
) -> tuple[Attribution, ...]:
    ctx = ctx or RunContext()
    with exclusive(module, ctx):
        passes = Passes(module, ctx)
        return get(method).explain(passes, prepared, targets or (logit(),), resolved(method, layer, **given), seed)


def assert_close_to_range(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Largest difference at most ``tolerance`` of the expected map's range, which must not be trivial."""
    expected = np.asarray(expected, dtype=np.float64)
    extent = expected.max() - expected.min()
    assert extent > 0
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * extent


def make_live(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights that matter: timm starts residual branches at (nearly) zero, which would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("gamma", "layer_scale")):
                parameter.copy_(uniform(parameter, 0.3, 0.7))
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.weight.copy_(uniform(part.weight, 0.6, 1.4))
                part.bias.copy_(uniform(part.bias, -0.3, 0.3))
                part.running_mean.copy_(uniform(part.running_mean, -0.3, 0.3))
                part.running_var.copy_(uniform(part.running_var, 0.6, 1.4))
    return module.eval()

"""Scores of many images by OpenVINO: logits, features and masks in one pass, as ``ModelHandle.forward`` gives them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from explainers.runtime import openvino
from models.context import RunContext
from models.errors import SightlineError
from models.handle import Outputs, reads_features
from models.segmentation import UNet, pool

Scorer = Callable[[Tensor, RunContext], Outputs]


class _OneOutput(nn.Module):
    """(n, C, H, W) to (n, K' + F): logits (of every pixel, for a U-Net), then the penultimate features."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.network = module
        self._seen: list[Tensor] = []
        place = reads_features(module)
        if place is not None:
            place.register_forward_pre_hook(lambda _, given: self._seen.append(given[0]))

    def forward(self, inputs: Tensor) -> Tensor:
        self._seen.clear()
        answers = self.network.masks(inputs) if isinstance(self.network, UNet) else self.network(inputs)
        parts = [answers.flatten(1), *(seen.flatten(1) for seen in self._seen[-1:])]
        self._seen.clear()
        return torch.cat(parts, dim=1)


def compiled_scorer(module: nn.Module, probe: Tensor, classes: int) -> Scorer | None:
    """What scores batches faster than torch, checked against it; None where OpenVINO cannot.

    Args:
        module: a copy to keep.
        probe: (1, C, H, W) on the CPU.
    """
    try:
        network = openvino.compile(_OneOutput(module), probe)
    except SightlineError:
        return None
    segments, (height, width) = isinstance(module, UNet), probe.shape[2:]
    count = classes * height * width if segments else classes

    def score(inputs: Tensor, ctx: RunContext) -> Outputs:
        found = network(inputs, ctx.check)
        ctx.tick(len(inputs))
        logits, features = found[:, :count], found[:, count:].numpy()
        if not segments:
            return Outputs(logits.numpy(), features)
        pixels = logits.reshape(-1, classes, height, width)
        return Outputs(pool(pixels).numpy(), features, pixels.numpy())

    return score

"""Explanations that must not be believed: they follow the picture whatever the network learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from explainers import get
from explainers.passes import Passes
from explainers.types import Attribution, ParamValue, Support
from models.preprocess import Prepared
from models.types import Target


class GuidedBackprop:
    """Springenberg et al. 2015: a rectifier passes back positive gradients only. Fails Adebayo's test, as is known."""

    spec = replace(get("saliency").spec, id="guided-backprop", title="Guided backpropagation")

    def supports(self, module: nn.Module, layer: str) -> Support:
        return Support(True)

    def explain(
        self,
        passes: Passes,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
    ) -> tuple[Attribution, ...]:
        with passes.network() as module, _guided(module):
            found = get("saliency").explain(passes, prepared, targets, params, seed)
        return tuple(replace(one, method=self.spec.id, title=self.spec.title) for one in found)


@contextmanager
def _guided(module: nn.Module) -> Iterator[None]:
    rectifiers = [part for part in module.modules() if isinstance(part, (nn.ReLU, nn.ReLU6, nn.Hardswish))]
    flags = [part.inplace for part in rectifiers]
    hooks = []
    for part in rectifiers:
        part.inplace = False
        hooks.append(part.register_full_backward_hook(lambda _m, given, _out: (given[0].clamp(min=0),)))
    try:
        yield
    finally:
        for part, flag, hook in zip(rectifiers, flags, hooks, strict=True):
            part.inplace = flag
            hook.remove()


class EdgeDetector(GuidedBackprop):
    """Sobel edges of the picture; never asks the network anything that matters."""

    spec = replace(get("saliency").spec, id="edges", title="Edges")

    def explain(
        self,
        passes: Passes,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
    ) -> tuple[Attribution, ...]:
        passes.logits(prepared.tensor)
        grey = prepared.tensor[0].mean(dim=0).cpu().numpy()
        edges = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)).astype(np.float32)
        (made,) = get("saliency").explain(passes, prepared, targets[:1], params, seed)
        return tuple(
            replace(made, method=self.spec.id, title=self.spec.title, target=target, values=edges[None])
            for target in targets
        )


def one_input(image: torch.Tensor) -> Prepared:
    """(C, H, W) as a network's input."""
    nothing = torch.zeros(image.shape[0])
    return Prepared(image[None], np.eye(3), (image.shape[1], image.shape[2]), nothing, nothing)

"""Convolutions with the batch normalisation behind them folded in, in the memory layout that CPUs and GPUs like.

For scores, class activation maps and occlusion: their numbers move by rounding alone. Not for gradients with respect to
the input, which folding moves by up to a hundredth where a ReLU lies at the edge (measured on ResNets and
EfficientNets).
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

TOLERANCE = 1e-5  # of the largest logit


@dataclass(frozen=True, eq=False)
class Folded:
    """A network for gradient-free passes.

    Attributes:
        pairs: how many convolutions took in a normalisation; 0 where the copy is as it was.
        error: largest difference of a logit from the original's, relative to the largest logit of the probe.
    """

    module: nn.Module
    pairs: int
    error: float


def fold(module: nn.Module, probe: Tensor) -> Folded:
    """A folded copy, checked against the original, or an unchanged copy where the two differ.

    Args:
        module: in eval mode; stays as it is.
        probe: (1, C, H, W), of the shape, type and device of the network's input. Its values do not matter.
    """
    plain = copy.deepcopy(module)
    changed = copy.deepcopy(module)
    noise = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, *probe.shape[1:], generator=noise).to(probe)
    with torch.no_grad():  # parameters made in inference mode could not take part in a gradient
        pairs = _pairs(changed, inputs[:1])
        for conv, norm in pairs:
            _join(changed, conv, norm)
        changed = changed.to(memory_format=torch.channels_last)
        expected, found = module(inputs), changed(inputs)
    error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not error < TOLERANCE:  # also where it is not a number
        return Folded(plain, 0, 0.0)
    return Folded(changed, len(pairs), error)


def _pairs(module: nn.Module, inputs: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalisations that were given their output, both called once."""
    made: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no other tensor gets the id of one that is gone
    calls: Counter[str] = Counter()
    found: list[tuple[str, str]] = []
    handles = []

    def after(name: str) -> None:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            kept.append(output)
            made[id(output)] = name

        handles.append(module.get_submodule(name).register_forward_hook(hook))

    def before(name: str) -> None:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            calls[name] += 1
            if id(given[0]) in made:
                found.append((made[id(given[0])], name))

        handles.append(module.get_submodule(name).register_forward_pre_hook(hook))

    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            after(name)
        elif isinstance(part, nn.BatchNorm2d) and part.running_var is not None:
            before(name)
    try:
        module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [(conv, norm) for conv, norm in found if calls[conv] == calls[norm] == 1]


def _join(module: nn.Module, conv_name: str, norm_name: str) -> None:
    conv = cast(nn.Conv2d, module.get_submodule(conv_name))
    norm = cast(nn.BatchNorm2d, module.get_submodule(norm_name))
    mean, variance = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -mean
    if conv.bias is not None:
        shift = shift + conv.bias.double()
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    # timm's normalisations also drop and activate; the place keeps its name, which a target layer may have.
    rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if part is not None]
    parent = module.get_submodule(norm_name.rpartition(".")[0])
    setattr(parent, norm_name.rpartition(".")[2], nn.Sequential(*rest) if rest else nn.Identity())

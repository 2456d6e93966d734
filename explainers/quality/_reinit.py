"""Copies of a network whose weights are drawn anew, from the classes downwards or one stage alone.

A stage is a run of modules as people name them ("classifier", "blocks.3"). Each module draws by its own
``reset_parameters``, where it has one, as at the beginning of a training; what has none gets the initialiser of its kind.
Two departures keep the copy a network that does something:

- Scales of residual branches (layer scale, gamma) become 1. Libraries start them at or near zero, which would switch
  the branch off and leave the map to the skip connections.
- Batch normalisations of the stages drawn anew get the mean and variance that the images at hand give there, as in
  the first step of a training. With mean 0 and variance 1 the signal would fade to nothing through a deep network,
  and with the trained statistics weights would not be all that is compared. Stages that are kept keep theirs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_SCALES = ("gamma", "layer_scale", "gamma_1", "gamma_2")
_SPREAD = 0.02  # of tokens and position tables, as vision transformers draw them
_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Stage:
    """A part of a network.

    Attributes:
        parts: dotted names of its modules with weights of their own, in order of execution.
    """

    name: str
    parts: tuple[str, ...]


def stages(module: nn.Module, probe: Tensor) -> tuple[Stage, ...]:
    """The network's stages, the classes first and the image last.

    A module that holds more than half of all modules with weights is opened; what it holds are stages, and a stage
    of normalisations alone joins the one before it.

    Args:
        probe: (1, C, H, W), passed once to see in which order modules run.
    """
    order: dict[str, None] = {}

    def note(name: str) -> Any:
        return lambda *_: order.setdefault(name)

    weighted = {name for name, part in module.named_modules() if next(part.parameters(recurse=False), None) is not None}
    watching = [module.get_submodule(name).register_forward_pre_hook(note(name)) for name in weighted]
    try:
        with torch.no_grad():
            module(probe)
    finally:
        for handle in watching:
            handle.remove()
    runs: list[tuple[list[str], list[str]]] = []
    for name in order:
        stage = _stage_of(name, order)
        alone = all(isinstance(module.get_submodule(part), _NORMS) for part in order if _stage_of(part, order) == stage)
        if runs and (stage == runs[-1][0][-1] or alone):
            if stage != runs[-1][0][-1]:
                runs[-1][0].append(stage)
            runs[-1][1].append(name)
        else:
            runs.append(([stage], [name]))
    return tuple(Stage(", ".join(names), tuple(parts)) for names, parts in reversed(runs))


def _stage_of(name: str, order: dict[str, None]) -> str:
    """The outermost module around a module that holds at most half of them all."""
    words = name.split(".")
    for depth in range(1, len(words)):
        prefix = ".".join(words[:depth])
        if 2 * sum(other == prefix or other.startswith(f"{prefix}.") for other in order) <= len(order):
            return prefix
    return name or "input"


def redraw(module: nn.Module, chosen: Sequence[Stage], inputs: Tensor, seed: int) -> nn.Module:
    """The module itself, in eval mode, the chosen stages drawn anew; the same seed gives a part the same weights.

    Args:
        inputs: (n, C, H, W), two or more, from which batch statistics are had; on the device that the module shall
            be moved to.
    """
    module.cpu().eval()
    for stage in chosen:
        for name in stage.parts:
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
                _draw(module.get_submodule(name))
    module.to(inputs.device)
    _settle([module.get_submodule(name) for stage in chosen for name in stage.parts], module, inputs)
    return module


def _draw(part: nn.Module) -> None:
    own = getattr(part, "reset_parameters", None)
    if callable(own):
        own()
    with torch.no_grad():
        for name, weight in part.named_parameters(recurse=False):
            if name in _SCALES:
                weight.fill_(1.0)
            elif not callable(own):
                if weight.ndim == 1:
                    weight.fill_(0.0 if name.endswith("bias") else 1.0)
                else:
                    nn.init.trunc_normal_(weight, std=_SPREAD)


def _settle(parts: Sequence[nn.Module], module: nn.Module, inputs: Tensor) -> None:
    """Mean and variance of the batch normalisations among ``parts``, as these inputs give them."""
    norms = [part for part in parts if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
        norm.train()
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()

"""The layers of a network as a reader wants to see them: what each gives out, how many weights it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class LayerRow:
    """One module of a network.

    Attributes:
        name: dotted, as in ``module.named_modules()``.
        kind: class of the module ("Conv2d").
        shape: of its output without the batch axis; empty where it gives no single tensor, or did not run.
        parameters: number of weights, those of the modules inside included.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int

    @property
    def depth(self) -> int:
        return self.name.count(".")


@dataclass(frozen=True)
class Inspection:
    """A network taken apart.

    Attributes:
        layers: in the order in which the network lists them.
        parameters: of the whole network.
        macs: multiply-accumulate operations of convolutions and matrix products for one input.
    """

    layers: tuple[LayerRow, ...]
    parameters: int
    macs: int


def inspect(module: nn.Module, probe: torch.Tensor) -> Inspection:
    """One forward pass, watched.

    Args:
        module: in eval mode.
        probe: (1, C, H, W) float32 on the module's device; its values do not matter.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    named = {name: part for name, part in module.named_modules() if name}
    hooks = [part.register_forward_hook(_note(shapes, name)) for name, part in named.items()]
    try:
        with torch.no_grad(), _Operations() as counted:
            module(probe)
    finally:
        for hook in hooks:
            hook.remove()
    rows = tuple(
        LayerRow(name, type(part).__name__, shapes.get(name, ()), _parameters(part)) for name, part in named.items()
    )
    return Inspection(rows, _parameters(module), counted.flops // 2)


class _Operations(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas.

    ``FlopCounterMode`` also tells modules apart, by hooks on all modules of the process, which break the gradients that
    another thread is computing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def _note(shapes: dict[str, tuple[int, ...]], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            shapes[name] = tuple(output.shape[1:])

    return hook


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

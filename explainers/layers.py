"""Which layers of a network carry a spatial map, and how to read one as (N, C, h, w)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["channels first", "channels last", "tokens"]
Reshape = Callable[[Tensor], Tensor]
ENCODER = "encoder."  # of a segmentation network, whose decoder comes back to the same resolutions


@dataclass(frozen=True)
class LayerInfo:
    """A candidate target layer.

    Attributes:
        name: dotted name, as in ``module.named_modules()``.
        shape: (C, h, w) of its map.
        kind: how the layer itself lays the map out.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind


@dataclass(frozen=True, eq=False)
class _Output:
    """What one module returned, in the order in which modules finished."""

    name: str
    value: Tensor


def find_layer(module: nn.Module, name: str) -> nn.Module | None:
    """The submodule of that dotted name, or None. The network as a whole is no layer."""
    return dict(module.named_modules()).get(name) if name else None


def candidate_layers(module: nn.Module, prepared_tensor: Tensor) -> tuple[LayerInfo, ...]:
    """A short list of layers fit for a class activation map, last layer first, found by one forward pass.

    For convolutional networks and Swin: at each resolution the last module and the last stage. For plain vision
    transformers: the norm before attention in the last block of each quarter of the depth. The output of the
    last block is left out on purpose: where the class token alone is read, no gradient reaches its patches.

    Args:
        module: the network in eval mode.
        prepared_tensor: (1, C, H, W) float32, normalised.
    """
    outputs: list[_Output] = []
    with _recording(module, outputs), torch.no_grad():
        module(prepared_tensor)
    return tuple(reversed(_token_layers(module, outputs) or _map_layers(module, outputs)))


def reshape_for(module: nn.Module, layer_name: str, output_shape: tuple[int, ...]) -> Reshape | None:
    """How to read a layer's output of that shape as (N, C, h, w); None where it holds no map of two or more cells.

    Args:
        module: the whole network: its patch grid and number of prefix tokens are looked up.
        output_shape: (N, C, h, w), (N, h, w, C) or (N, T, C); (N, C, d, h, w) is taken as it is.
    """
    kind = _kind(module, layer_name, output_shape)
    if kind == "channels first":
        return _as_it_is
    if kind == "channels last":
        return _channels_to_front
    if kind == "tokens":
        prefix, grid = _token_grid(module, output_shape[1]) or (0, (0, 0))
        return lambda tokens: tokens[:, prefix:].unflatten(1, grid).movedim(-1, 1)
    return None


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _channels_to_front(values: Tensor) -> Tensor:
    return values.movedim(-1, 1)


@contextmanager
def _recording(module: nn.Module, outputs: list[_Output]) -> Iterator[None]:
    """Record every submodule's tensor output; the hooks go whatever happens."""

    def hook_for(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs.append(_Output(name, output))

        return hook

    handles = [layer.register_forward_hook(hook_for(name)) for name, layer in module.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _info(module: nn.Module, output: _Output) -> LayerInfo | None:
    shape = tuple(output.value.shape)
    kind, reshape = _kind(module, output.name, shape), reshape_for(module, output.name, shape)
    if kind is None or reshape is None:
        return None
    return LayerInfo(output.name, tuple(reshape(output.value).shape[1:]), kind)


def _map_layers(module: nn.Module, outputs: list[_Output]) -> list[LayerInfo]:
    """The last module and the last stage of each resolution, in order of execution."""
    infos = [info for output in _distinct(module, outputs) if (info := _info(module, output)) and info.kind != "tokens"]
    # Deeper names lie inside a stage, often on one branch of a residual block only.
    shallow = [info for info in infos if info.name.removeprefix(ENCODER).count(".") <= 1] or infos
    chosen: dict[tuple[tuple[int, ...], bool, bool], LayerInfo] = {}
    for info in shallow:
        for last_stage in (False, True):
            if not last_stage or _is_stage(module.get_submodule(info.name)):
                place = (info.shape[1:], last_stage, info.name.startswith(ENCODER))
                chosen.pop(place, None)  # so that the latest also comes last
                chosen[place] = info
    return list(dict.fromkeys(chosen.values()))


def _is_stage(layer: nn.Module) -> bool:
    """A module made of several weighted layers, as opposed to one norm or one convolution."""
    return sum(1 for inner in layer.modules() if isinstance(inner, (nn.Linear, nn.modules.conv._ConvNd))) > 1


def _distinct(module: nn.Module, outputs: list[_Output]) -> list[_Output]:
    """One name for each tensor: a stage, its last block and the block's activation often return the same one.

    The outermost is kept, but not a mere sequence around it, which gives the names that people use
    ("layer4.2", "features.norm5", "stages.3"). In-place operations keep the tensor: the last writer counts.
    """
    named: dict[int, _Output] = {}
    for output in outputs:
        layer = module.get_submodule(output.name)
        if type(layer) in (nn.Identity, nn.Dropout):
            continue
        inner = named.pop(id(output.value), None)
        wraps = isinstance(layer, nn.Sequential) and inner is not None and inner.name.startswith(f"{output.name}.")
        named[id(output.value)] = inner if inner is not None and wraps and inner.name.count(".") <= 1 else output
    return list(named.values())


def _token_layers(module: nn.Module, outputs: list[_Output]) -> list[LayerInfo]:
    """The first norm of the last block in each quarter of a transformer whose blocks return tokens."""
    first_norm: dict[str, LayerInfo] = {}
    norms: dict[str, int] = {}
    for output in outputs:
        if output.value.ndim != 3 or not isinstance(module.get_submodule(output.name), nn.LayerNorm):
            continue
        info, block = _info(module, output), output.name.rpartition(".")[0]
        if info is not None:
            first_norm.setdefault(block, info)
            norms[block] = norms.get(block, 0) + 1
    blocks = [info for block, info in first_norm.items() if norms[block] > 1]
    quarters = {math.ceil(len(blocks) * part / 4) - 1 for part in (1, 2, 3, 4)} if blocks else set()
    return [blocks[index] for index in sorted(quarters)]


def _kind(module: nn.Module, name: str, shape: tuple[int, ...]) -> Kind | None:
    if len(shape) == 3:
        return "tokens" if _token_grid(module, shape[1]) else None
    layer = find_layer(module, name)
    if layer is None or sum(size > 1 for size in shape[1:]) < 2:  # (N, C, 1, 1): pooled
        return None
    if len(shape) != 4:
        return "channels first" if len(shape) == 5 else None
    if type(layer) in (nn.LayerNorm, nn.Linear):
        return "channels last"
    # A container: the axis whose length is a width of its weights is the channel axis.
    widths = _widths(layer) or _widths(module)
    first, last = shape[1] in widths, shape[3] in widths
    if first != last:
        return "channels first" if first else "channels last"
    return "channels last" if shape[1] == shape[2] != shape[3] else "channels first"


def _widths(layer: nn.Module) -> set[int]:
    """Numbers of channels that the weighted layers inside put out."""
    found: set[int] = set()
    for inner in layer.modules():
        if isinstance(inner, nn.Linear):
            found.add(inner.out_features)
        elif isinstance(inner, nn.LayerNorm):
            found.add(inner.normalized_shape[-1])
        elif isinstance(inner, nn.modules.conv._ConvNd):
            found.add(inner.out_channels)
        elif isinstance(inner, nn.modules.batchnorm._NormBase):
            found.add(inner.num_features)
    return found


def _token_grid(module: nn.Module, tokens: int) -> tuple[int, tuple[int, int]] | None:
    """(number of prefix tokens, (rows, columns)) of a sequence, or None where it is no patch grid."""
    known = getattr(module, "num_prefix_tokens", None)
    if not isinstance(known, int):
        known = 1 if isinstance(getattr(module, "class_token", None), Tensor) else None
    prefixes = (0, 1, 2, 5) if known is None else (known,)
    grid = getattr(getattr(module, "patch_embed", None), "grid_size", None)
    for prefix in prefixes:
        patches = tokens - prefix
        if grid is not None and patches == grid[0] * grid[1]:
            return prefix, (int(grid[0]), int(grid[1]))
        side = math.isqrt(max(patches, 0))
        if side > 1 and side * side == patches:
            return prefix, (side, side)
    return None

"""Exact occlusion that computes again only what a hidden window changes.

After Nakandala et al., "Incremental and approximate inference for faster occlusion-based deep CNN explanations",
SIGMOD 2019: the feature maps of the image as it is are kept, and of an image with a window hidden only the rectangle
of each map that the window reaches is computed, its surroundings cut from the kept map. Differs: nothing is
approximated, several windows make a batch, and any network will do: its operators are recorded as they run, and where
one mixes all places (attention, squeeze-excitation, a mean over the map) or the rectangle covers most of the map,
whole maps are computed from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from explainers.passes import Boxes, with_hidden
from explainers.runtime import rectangles
from explainers.runtime.recording import Node, Recording, Slot, Untraceable, record
from explainers.runtime.rectangles import Area, Axes, Axis, Key, Patch, Span, Step, plainly

TOLERANCE = 1e-5  # of the largest logit
ACTIVATIONS = frozenset(
    (
        *("abs", "celu", "clamp", "clamp_max", "clamp_min", "elu", "erf", "exp", "gelu", "hardsigmoid", "hardswish"),
        *("hardtanh", "leaky_relu", "mish", "neg", "pow", "relu", "relu6", "rsqrt", "selu", "sigmoid", "silu"),
        *("softplus", "sqrt", "square", "tanh"),
    )
)
COPIES = frozenset(("alias", "clone", "contiguous", "detach", "dropout", "feature_dropout"))
ARITHMETIC = frozenset(("add", "div", "maximum", "minimum", "mul", "rsub", "sub"))
REDUCTIONS = frozenset(("amax", "amin", "mean", "sum"))
PARTS = frozenset(("chunk", "narrow", "slice", "split", "split_with_sizes"))


class Regions:
    """A network whose logits of partly hidden images cost what the hidden windows reach.

    Parameters are shared with the module (not its locks or hooks). Several threads may use it at once.
    """

    def __init__(self, recording: Recording, probe: Tensor) -> None:
        self._recording = recording
        self._steps, self._areas = _plan(recording, probe)
        self._costs = [_multiply_adds(node) for node in recording.nodes]
        self._keys: dict[int, set[Key]] = {}
        for node, step in zip(recording.nodes, self._steps, strict=True):
            for key in _keys(node, step):
                if key[0] in self._areas:
                    self._keys.setdefault(key[0], set()).add(key)

    @classmethod
    def trace(cls, module: nn.Module, probe: Tensor) -> Regions:
        """Record a network and check what was recorded on noise, whole and with two windows hidden.

        Args:
            module: in eval mode; (n, C, H, W) to (n, K), float32 or wider. Folded, in channels_last layout, it is fastest.
            probe: (1, C, H, W) of the shape, type and device of the network's input; its values do not matter.

        Raises:
            Untraceable: its operators depend on values or on the number of images, or the check differs from the
                network by more than ``TOLERANCE`` of its largest logit.
        """
        probe = probe.contiguous(memory_format=torch.channels_last)
        recording = record(module, probe)
        if len(recording.shapes[recording.output]) != 2:
            raise Untraceable("The network does not answer with one logit a class.")
        found = cls(recording, probe)
        draw = torch.Generator().manual_seed(1)
        image, fill = torch.randn(2, 1, *probe.shape[1:], generator=draw).to(probe)
        height, width = probe.shape[2:]
        sides = max(1, height // 8), max(1, width // 8)
        boxes = np.array([(height // 3, width // 3, *sides), (height - sides[0], width - sides[1], *sides)])
        with torch.inference_mode():
            expected = module(torch.cat([image, with_hidden(image, fill, boxes)]))
            clean = found.begin(image)
            got = torch.cat([clean.scores, clean.logits(fill, boxes)])
        if not (got - expected).abs().max() <= TOLERANCE * expected.abs().max():  # also where it is not a number
            raise Untraceable("What was recorded of the network does not give its scores.")
        return found

    def begin(self, image: Tensor, check: Callable[[], None] = lambda: None) -> CleanPass:
        """One forward pass of an image (1, C, H, W), its feature maps kept; ``check`` as for its logits."""
        return CleanPass(self, image.contiguous(memory_format=torch.channels_last), check)

    def clean(self, image: Tensor, check: Callable[[], None]) -> tuple[Tensor, dict[Key, Tensor], int]:
        """Logits (1, K), the maps to keep and the multiply-adds of an image."""
        values = {0: image}
        kept: dict[Key, Tensor] = {}
        done = 0

        def store(number: int) -> None:
            for key in self._keys.get(number, ()):
                _, pads, outside = key
                map_ = functional.pad(values[number], pads, value=outside) if pads else values[number]
                kept[key] = _dense(map_, self._areas[number][:2])

        store(0)
        for node, cost in zip(self._recording.nodes, self._costs, strict=True):
            check()
            values.update(zip(node.outs, node.run(values.__getitem__, 1), strict=True))
            done += cost * values[node.outs[0]].numel() if cost else 0
            for number in node.outs:
                store(number)
            for number in node.frees:
                del values[number]
        return values[self._recording.output], kept, done

    def changed(self, first: Patch, kept: dict[Key, Tensor], check: Callable[[], None]) -> tuple[Tensor, int]:
        """Logits (n, K) and the multiply-adds that they took, of windows put into a kept image."""
        values: dict[int, Tensor | Patch] = {0: first}
        batch, done = len(first.values), 0
        for node, step, cost in zip(self._recording.nodes, self._steps, self._costs, strict=True):
            check()
            patches = {number: value for number in node.sources if isinstance(value := values[number], Patch)}
            made: Sequence[Tensor | Patch] | None = None
            if step is not None and len(patches) == len(node.sources):
                made = step.change(node, patches, kept)
            if made is None:
                keys = {key[0]: key for key in _keys(node, step)}
                maps = {
                    number: rectangles.whole(patch, kept[keys[number]], keys[number])
                    for number, patch in patches.items()
                }
                made = node.run(partial(_either, maps, values), batch, node.in_place)
            values.update(zip(node.outs, made, strict=True))
            if cost:
                done += cost * _values(made[0]).numel()
            for number in node.frees:
                del values[number]
        return _values(values[self._recording.output]), done


class CleanPass:
    """The kept maps of one image.

    Attributes:
        scores: (1, K) logits of the image as it is.
        share: multiply-adds of convolutions and linear layers spent on windows so far, relative to whole passes; 1
            before the first.
    """

    def __init__(self, regions: Regions, image: Tensor, check: Callable[[], None]) -> None:
        self._regions, self._image = regions, image
        with torch.inference_mode():
            self.scores, self._kept, self._cost = regions.clean(image, check)
        self._done = self._whole = 0

    @property
    def share(self) -> float:
        return self._done / self._whole if self._whole else 1.0

    def logits(self, fill: Tensor, boxes: Boxes, check: Callable[[], None] = lambda: None) -> Tensor:
        """(n, K) logits of the image with a window hidden, one a box.

        Args:
            fill: (1, C, H, W) what hides.
            boxes: (n, 4) top, left, height, width in pixels; of a box that reaches over the edge the part inside counts.
            check: called before each operator; what it raises ends the work.
        """
        height, width = self._image.shape[2:]
        sides = [_inside(top, left, tall, wide, height, width) for top, left, tall, wide in boxes.tolist()]
        rows = Span.fit([side[0] for side in sides], [side[1] for side in sides], height)
        columns = Span.fit([side[2] for side in sides], [side[3] for side in sides], width)
        with torch.inference_mode():
            piece = rectangles.cut(self._image, rows, columns, (2, 3))
            for one, (top, bottom, left, right), y, x in zip(piece, sides, rows.starts, columns.starts, strict=True):
                one[:, top - y : bottom - y, left - x : right - x] = fill[0, :, top:bottom, left:right]
            logits, done = self._regions.changed(Patch(piece, rows, columns, (2, 3)), self._kept, check)
        self._done += done
        self._whole += self._cost * len(sides)
        return logits


def _inside(top: int, left: int, tall: int, wide: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a box, inside the image."""
    first, start = min(max(0, top), height), min(max(0, left), width)
    return first, max(first, min(top + tall, height)), start, max(start, min(left + wide, width))


def _keys(node: Node, step: Step | None) -> list[Key]:
    """Kept maps that a node takes surroundings from."""
    return [plainly(number) for number in node.sources] if step is None else step.keys(node)


def _either(maps: Mapping[int, Tensor], values: Mapping[int, Tensor | Patch], number: int) -> Tensor:
    return maps[number] if number in maps else _values(values[number])


def _values(given: Tensor | Patch) -> Tensor:
    return given.values if isinstance(given, Patch) else given


def _dense(values: Tensor, axes: Axes) -> Tensor:
    """In a layout that rectangles can be cut from."""
    lasting = axes == (2, 3) and values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return values if lasting else values.contiguous()


def _multiply_adds(node: Node) -> int:
    """For each output of a convolution or linear layer; 0 for other operators, which are not counted."""
    if node.name not in ("conv2d", "linear"):
        return 0
    weight = node.given()["weight"]
    return int(weight[0].numel()) if isinstance(weight, Tensor) else 0


def _plan(recording: Recording, probe: Tensor) -> tuple[list[Step | None], dict[int, Area]]:
    """How each node treats rectangles (None: it needs whole maps), and the values that can be rectangles."""
    areas: dict[int, Area] = {0: (2, 3, 0)}
    steps: list[Step | None] = []
    for node in recording.nodes:
        step = _step(node, recording.shapes, areas, probe) if node.sources and node.reads == set(node.sources) else None
        steps.append(step)
        if isinstance(step, rectangles.Local):
            areas.update((number, (*step.axes, areas[node.sources[0]][2])) for number in node.outs)
        elif step is not None:
            areas.update((number, (*areas[node.sources[0]][:2], number)) for number in node.outs)
    return steps, areas


def _step(node: Node, shapes: Sequence[torch.Size], areas: dict[int, Area], probe: Tensor) -> Step | None:
    known = [areas.get(number) for number in node.sources]
    first = known[0]
    if first is None or any(area is None or area[:2] != first[:2] for area in known):
        return None
    axes, given, name = first[:2], node.given(), node.name
    shape, made = shapes[node.sources[0]], shapes[node.outs[0]]
    rank = len(shape)
    if name in ACTIVATIONS | COPIES | ARITHMETIC:
        return _pointwise(node, [shapes[number] for number in node.sources], axes, len(set(known)) == 1)
    if name == "cat":
        channels = given["dim"] % rank
        every = all(isinstance(part, Slot) for part in given["tensors"])
        return rectangles.Join(made[axes[0]], made[axes[1]], channels) if every and channels not in (0, *axes) else None
    if name == "batch_norm":
        return rectangles.Local(axes) if 1 not in axes and not given["training"] else None
    if name in ("layer_norm", "linear"):
        last = len(given["normalized_shape"]) if name == "layer_norm" else 1
        return rectangles.Local(axes) if max(axes) < rank - last else None
    if name in ("permute", "transpose"):
        order = [dim % rank for dim in given["dims"]] if name == "permute" else list(range(rank))
        if name == "transpose":
            a, b = given["dim0"] % rank, given["dim1"] % rank
            order[a], order[b] = b, a
        rows, columns = order.index(axes[0]), order.index(axes[1])
        return rectangles.Local((rows, columns)) if order[0] == 0 and columns == rows + 1 else None
    if name in REDUCTIONS and given.get("dim"):
        gone = {dim % rank for dim in given["dim"]}
        if not gone.isdisjoint((0, *axes)):
            return None
        lost = [0 if given["keepdim"] else sum(dim < axis for dim in gone) for axis in axes]
        return rectangles.Local((axes[0] - lost[0], axes[1] - lost[1]))
    if name in PARTS:
        return rectangles.Local(axes) if given["dim"] % rank not in (0, *axes) else None
    if name in ("reshape", "view"):
        kept = axes == (rank - 2, rank - 1) and made[-2:] == shape[-2:] and made[0] == shape[0] and len(made) > 2
        return rectangles.Local((len(made) - 2, len(made) - 1), reshapes=True) if kept else None
    if name == "pad" and axes == (rank - 2, rank - 1) and given["mode"] == "constant":
        pads = [*given["pad"], 0, 0][:4] if len(given["pad"]) <= 4 else [-1]
        return rectangles.Pad(pads[2], pads[0]) if min(pads) >= 0 else None
    return _slide(name, given, shape, made, probe) if rank == 4 and axes == (2, 3) else None


def _pointwise(node: Node, sources: Sequence[torch.Size], axes: Axes, shared: bool) -> Step | None:
    """Constants and other maps may be spread over channels, not over places."""
    rank, (rows, columns) = len(sources[0]), axes
    sizes = {(len(shape), shape[0], shape[rows], shape[columns]) if len(shape) == rank else () for shape in sources}
    constants = [one.shape for one in (*node.args, *node.kwargs.values()) if isinstance(one, Tensor)]
    flat = all(
        len(shape) <= rank and all(len(shape) < rank - axis or shape[axis - rank] == 1 for axis in axes)
        for shape in constants
    )
    if len(sizes) > 1 or not flat:
        return None
    return rectangles.Local(axes) if shared else rectangles.Join(sources[0][rows], sources[0][columns], None)


def _pair(given: int | Sequence[int]) -> tuple[int, int]:
    both = [given] if isinstance(given, int) else list(given)
    return both[0], both[-1]


def _slide(name: str, given: dict[str, Any], shape: torch.Size, made: torch.Size, probe: Tensor) -> Step | None:
    if name == "conv2d" and isinstance(given["weight"], Tensor):
        kernel, stride, dilation = _pair(given["weight"].shape[2:]), _pair(given["stride"]), _pair(given["dilation"])
        padding = _pair(0) if given["padding"] == "valid" else given["padding"]
        if padding == "same":
            padding = [step * (side - 1) // 2 for step, side in zip(dilation, kernel, strict=True)]
        padding = _pair(padding)
        if (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0)):
            return rectangles.Local((2, 3))
    elif name in ("avg_pool2d", "max_pool2d"):
        kernel, padding = _pair(given["kernel_size"]), _pair(given["padding"])
        stride, dilation = _pair(given["stride"] or kernel), _pair(given.get("dilation", 1))
    else:
        return None
    sides = zip(kernel, stride, padding, dilation, shape[2:], made[2:], strict=True)
    rows, columns = (Axis(*side) for side in sides)
    if name == "conv2d":
        fixed = {key: given[key] for key in ("weight", "bias", "groups")}
        return rectangles.Slide(rows, columns, partial(torch.conv2d, stride=stride, dilation=dilation, **fixed))
    if name == "max_pool2d":
        apply = partial(functional.max_pool2d, kernel_size=kernel, stride=stride, dilation=dilation)
        return rectangles.Slide(rows, columns, apply, float("-inf"))
    rest = {key: given[key] for key in ("padding", "ceil_mode", "count_include_pad", "divisor_override")}
    pool = partial(functional.avg_pool2d, kernel_size=kernel, stride=stride)
    with torch.inference_mode():
        ones = probe.new_ones(1, 1, *shape[2:])
        scale = pool(ones, **rest) / pool(ones, **(rest | {"divisor_override": 1}))
    if scale.min() == scale.max():
        return rectangles.Slide(rows, columns, partial(pool, divisor_override=round(1 / float(scale.max()))))
    # The divisor differs at the edges.
    return rectangles.Slide(rows, columns, partial(pool, divisor_override=1), scale=scale)

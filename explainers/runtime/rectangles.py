"""Rectangles of feature maps, one for each window of a batch, and what single operators make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from explainers.runtime.recording import Node

LIMIT = 0.75  # of a map's area; above it cutting and pasting costs more than it saves


@dataclass(frozen=True)
class Span:
    """Where the windows of a batch begin on one axis, and their common length."""

    starts: tuple[int, ...]
    size: int

    @classmethod
    def fit(cls, lows: Sequence[int], stops: Sequence[int], length: int) -> Span:
        """Covers [low, stop) of every window, inside [0, length)."""
        size = min(max(1, *(stop - low for low, stop in zip(lows, stops, strict=True))), length)
        return cls(tuple(min(low, length - size) for low in lows), size)

    def join(self, other: Span, length: int) -> Span:
        lows = [min(pair) for pair in zip(self.starts, other.starts, strict=True)]
        stops = [max(a + self.size, b + other.size) for a, b in zip(self.starts, other.starts, strict=True)]
        return self.fit(lows, stops, length)

    def moved(self, by: int) -> Span:
        return replace(self, starts=tuple(start + by for start in self.starts))

    def minus(self, other: Span) -> list[int]:
        """Starts counted from those of another."""
        return [a - b for a, b in zip(self.starts, other.starts, strict=True)]


@dataclass(frozen=True, eq=False)
class Patch:
    """What may differ from the kept map: one rectangle a window, on the two spatial ``axes`` of ``values``."""

    values: Tensor
    rows: Span
    columns: Span
    axes: tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """A sliding operator on one axis."""

    kernel: int
    stride: int
    before: int
    dilation: int
    size: int
    out: int

    @property
    def after(self) -> int:
        return max(0, (self.out - 1) * self.stride + self.span(1) - self.size - self.before)

    def read(self, outputs: Span) -> Span:
        """Inputs that the given outputs read, counted from the first padded one."""
        return Span(tuple(start * self.stride for start in outputs.starts), self.span(outputs.size))

    def span(self, out: int) -> int:
        """Inputs that so many neighbouring outputs read."""
        return (out - 1) * self.stride + self.dilation * (self.kernel - 1) + 1

    def reach(self, given: Span) -> Span:
        """Outputs that read any of the given inputs."""
        first = [-(-(start + self.before - self.span(1) + 1) // self.stride) for start in given.starts]
        last = [(start + given.size - 1 + self.before) // self.stride for start in given.starts]
        lows = [min(max(0, low), self.out - 1) for low in first]
        return Span.fit(lows, [min(high + 1, self.out) for high in last], self.out)


Axes = tuple[int, int]
Area = tuple[int, int, int]  # spatial axes of a value, and the value whose rectangles it shares
Key = tuple[int, tuple[int, ...], float]  # of a kept map: value, padding as functional.pad takes it, padded with
Kept = Mapping[Key, Tensor]


def plainly(number: int) -> Key:
    """The kept map of a value as it is."""
    return number, (), 0.0


@dataclass(frozen=True)
class Local:
    """The output at a place depends on the input there; ``reshapes`` where only axes before the last two change."""

    axes: Axes
    reshapes: bool = False

    def keys(self, node: Node) -> list[Key]:
        """Kept maps that the node takes surroundings from."""
        return []

    def change(self, node: Node, patches: Mapping[int, Patch], kept: Kept) -> list[Patch] | None:
        """What the node makes of rectangles; nothing where they would cover most of the map."""
        first = patches[node.sources[0]]
        if self.reshapes:
            node = replace(node, args=(node.args[0], [*node.args[1][:-2], first.rows.size, first.columns.size]))
        made = node.run(lambda number: patches[number].values, len(first.values), node.in_place)
        return [Patch(values, first.rows, first.columns, self.axes) for values in made]


@dataclass(frozen=True)
class Pad:
    """Rows and columns put around a map."""

    top: int
    left: int

    def keys(self, node: Node) -> list[Key]:
        return []

    def change(self, node: Node, patches: Mapping[int, Patch], kept: Kept) -> list[Patch] | None:
        (patch,) = patches.values()
        return [replace(patch, rows=patch.rows.moved(self.top), columns=patch.columns.moved(self.left))]


@dataclass(frozen=True)
class Join:
    """Maps of one size, each with a rectangle of its own; ``channels`` is the axis that they are put along."""

    height: int
    width: int
    channels: int | None

    def keys(self, node: Node) -> list[Key]:
        return [plainly(number) for number in (*node.sources, *(node.outs if self.channels is not None else ()))]

    def change(self, node: Node, patches: Mapping[int, Patch], kept: Kept) -> list[Patch] | None:
        first = patches[node.sources[0]]
        rows, columns = first.rows, first.columns
        for patch in patches.values():
            rows, columns = rows.join(patch.rows, self.height), columns.join(patch.columns, self.width)
        if rows.size * columns.size > LIMIT * self.height * self.width:
            return None
        if self.channels is None:

            def grown(number: int) -> Tensor:
                patch = patches[number]
                if (patch.rows, patch.columns) == (rows, columns):
                    return patch.values
                target = cut(kept[plainly(number)], rows, columns, patch.axes)
                _paste(target, patch, patch.rows.minus(rows), patch.columns.minus(columns))
                return target

            made = node.run(grown, len(first.values), node.in_place)[0]
        else:
            made, done = cut(kept[plainly(node.outs[0])], rows, columns, first.axes), 0
            for slot in node.args[0]:
                patch = patches[slot.number]
                room = made.narrow(self.channels, done, patch.values.shape[self.channels])
                _paste(room, patch, patch.rows.minus(rows), patch.columns.minus(columns))
                done += room.shape[self.channels]
        return [Patch(made, rows, columns, first.axes)]


@dataclass(frozen=True, eq=False)
class Slide:
    """A convolution or pooling; ``apply`` runs it without padding, ``scale`` are the factors of its outputs."""

    rows: Axis
    columns: Axis
    apply: Callable[[Tensor], Tensor]
    outside: float = 0.0
    scale: Tensor | None = None

    def keys(self, node: Node) -> list[Key]:
        pads = self.columns.before, self.columns.after, self.rows.before, self.rows.after
        return [(node.sources[0], pads, self.outside) if any(pads) else plainly(node.sources[0])]

    def change(self, node: Node, patches: Mapping[int, Patch], kept: Kept) -> list[Patch] | None:
        (patch,) = patches.values()
        rows, columns = self.rows.reach(patch.rows), self.columns.reach(patch.columns)
        if rows.size * columns.size > LIMIT * self.rows.out * self.columns.out:
            return None
        tops, lefts = self.rows.read(rows), self.columns.read(columns)
        piece = cut(kept[self.keys(node)[0]], tops, lefts, patch.axes)
        places = patch.rows.moved(self.rows.before).minus(tops), patch.columns.moved(self.columns.before).minus(lefts)
        _paste(piece, patch, *places)
        made = self.apply(piece)
        if self.scale is not None:
            made = made * cut(self.scale, rows, columns, patch.axes)
        return [Patch(made, rows, columns, patch.axes)]


Step = Local | Pad | Join | Slide


def whole(patch: Patch, kept: Tensor, key: Key) -> Tensor:
    """(n, ...) maps: the kept one with each window's rectangle put in."""
    left, right, top, bottom = key[1] or (0, 0, 0, 0)
    count, (rows, columns) = len(patch.rows.starts), patch.axes
    height, width = kept.shape[rows] - top - bottom, kept.shape[columns] - left - right
    target = cut(kept, Span((top,) * count, height), Span((left,) * count, width), patch.axes)
    _paste(target, patch, patch.rows.starts, patch.columns.starts)
    return target


def cut(kept: Tensor, rows: Span, columns: Span, axes: tuple[int, int]) -> Tensor:
    """(n, ...) rectangles of a dense map (1, ...), in its memory layout."""
    sizes, strides = list(kept.shape), list(kept.stride())
    height, width = sizes[axes[0]], sizes[axes[1]]
    sizes[0], strides[0] = (height - rows.size) * width + width - columns.size + 1, strides[axes[1]]
    sizes[axes[0]], sizes[axes[1]] = rows.size, columns.size
    places = [top * width + left for top, left in zip(rows.starts, columns.starts, strict=True)]
    index = torch.tensor(places, device=kept.device)
    every = kept.as_strided(sizes, strides)  # the rectangle at each place; overlapping, not copied
    if axes == (2, 3) and kept.ndim == 4 and kept.is_contiguous(memory_format=torch.channels_last):
        return every.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return every.index_select(0, index)


def _paste(target: Tensor, patch: Patch, tops: Sequence[int], lefts: Sequence[int]) -> None:
    """Put each window's patch with its corner at (top, left) of the target; what sticks out is left out."""
    start = 0
    for place, run in groupby(zip(tops, lefts, strict=True)):
        stop = start + len(list(run))
        part, room = patch.values[start:stop], target[start:stop]
        start = stop
        for axis, at in zip(patch.axes, place, strict=True):
            skip, put = max(0, -at), max(0, at)
            length = min(part.shape[axis] - skip, room.shape[axis] - put)
            if length <= 0:
                break
            part, room = part.narrow(axis, skip, length), room.narrow(axis, put, length)
        else:
            room.copy_(part)

"""A network as the list of operators that it ran, so that they can be run again one by one and in part.

Operators are seen where PyTorch dispatches them, so that any Python around them will do. Two runs with different
numbers of images show which whole numbers belong to the batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from models.errors import ExplainError

_OTHER = "The network runs other operators for another number of images, or depends on more than its input."


class Untraceable(ExplainError):
    """The network's operators could not be recorded, or what was recorded does not give its scores."""


@dataclass(frozen=True)
class Slot:
    """In recorded arguments: the value of that number; the network's input is 0."""

    number: int


@dataclass(frozen=True)
class Count:
    """In recorded arguments: a whole number that grows with the batch."""

    base: int
    each: int


@dataclass(frozen=True, eq=False)
class Node:
    """One recorded operator.

    Attributes:
        op: the form that leaves its input as it is.
        in_place: the form that was run, where it overwrites its input and nothing reads that afterwards.
        outs: numbers of the values that it makes.
        sources: numbers of the values it reads that depend on the image.
        frees: numbers of the values that nothing reads afterwards.
    """

    op: OpOverload
    in_place: OpOverload | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: tuple[int, ...]
    sources: tuple[int, ...]
    frees: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return str(self.op._schema.name).rpartition("::")[2]

    @property
    def reads(self) -> set[int]:
        return {leaf.number for leaf in _leaves(self.args, self.kwargs) if isinstance(leaf, Slot)}

    def given(self) -> dict[str, Any]:
        """Arguments by name, with the values of those left out."""
        schema = self.op._schema.arguments
        defaults = {one.name: one.default_value for one in schema if one.has_default_value()}
        return defaults | dict(zip((one.name for one in schema), self.args, strict=False)) | self.kwargs

    def run(self, value: Callable[[int], Tensor], batch: int, op: OpOverload | None = None) -> tuple[Tensor, ...]:
        """The operator on the values that ``value`` gives for their numbers."""

        def leaf(given: Any) -> Any:
            if isinstance(given, Slot):
                return value(given.number)
            return given.base + given.each * batch if isinstance(given, Count) else given

        made = (op or self.op)(*_map(leaf, self.args), **_map(leaf, self.kwargs))
        return tuple(made) if isinstance(made, list | tuple) else (made,)


@dataclass(frozen=True, eq=False)
class Recording:
    """Operators in order, the shapes of all values for two images, and the number of the logits."""

    nodes: tuple[Node, ...]
    shapes: tuple[torch.Size, ...]
    output: int


def record(module: nn.Module, probe: Tensor) -> Recording:
    """The operators between the input and the logits of a network.

    Parameters are shared with the module, not copied.

    Args:
        module: in eval mode; (n, C, H, W) to (n, K).
        probe: (1, C, H, W) of the shape, type, device and memory layout of the input; its values do not matter.

    Raises:
        Untraceable: which operators run depends on the values or the number of images.
    """
    draw = torch.Generator().manual_seed(0)
    runs: list[tuple[_Recorder, int]] = []
    with torch.inference_mode():
        for batch in (2, 3):
            noise = torch.randn(batch, *probe.shape[1:], generator=draw).to(probe)
            recorder = _Recorder(noise)
            with recorder:
                logits = module(noise)
            slot = recorder.slot(logits)
            if not isinstance(slot, Slot):
                raise Untraceable("The network does not answer with one tensor.")
            runs.append((recorder, slot.number))
        (two, output), (three, also) = runs
        if output != also:
            raise Untraceable(_OTHER)
        return Recording(_freeing(_merged(two, three), output), tuple(two.shapes), output)


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, list | tuple):
        return type(tree)(_map(change, part) for part in tree)
    return {key: _map(change, part) for key, part in tree.items()} if isinstance(tree, dict) else change(tree)


def _leaves(*trees: Any) -> list[Any]:
    found: list[Any] = []
    _map(found.append, trees)
    return found


class _Recorder(TorchDispatchMode):
    """Operators that run, in order, and the values between them by number; the network's input is 0."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[OpOverload, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = []
        self.shapes: list[torch.Size] = []
        self._known: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._new(image)

    def _new(self, made: Any) -> int:
        if not isinstance(made, Tensor):
            return -1
        self._known[id(made)] = weakref.ref(made), len(self.shapes)
        self.shapes.append(made.shape)
        return len(self.shapes) - 1

    def slot(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            known = self._known.get(id(given))
            if known is not None and known[0]() is given:
                return Slot(known[1])
        return given

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _map(self.slot, (args, kwargs or {}))
        made = op(*args, **(kwargs or {}))
        outs = tuple(self._new(one) for one in (made if isinstance(made, list | tuple) else (made,)))
        self.calls.append((op, *given, outs))
        return made


def _merge(two: Any, three: Any) -> Any:
    """What a batch of two and one of three were given, as one; whole numbers that differ grow with the batch."""
    if isinstance(two, list | tuple) and isinstance(three, list | tuple) and len(two) == len(three):
        return type(two)(_merge(*pair) for pair in zip(two, three, strict=True))
    if isinstance(two, dict) and isinstance(three, dict) and two.keys() == three.keys():
        return {key: _merge(two[key], three[key]) for key in two}
    if isinstance(two, Tensor) and isinstance(three, Tensor):
        if two is three or torch.equal(two, three):
            return two
    elif two == three:
        return two
    elif type(two) is int and type(three) is int:
        return Count(3 * two - 2 * three, three - two)
    raise Untraceable(_OTHER)


def _functional(op: OpOverload) -> tuple[OpOverload, OpOverload | None]:
    """The operator that leaves its input as it is, and the one that does not."""
    if not op._schema.is_mutable:
        return op, None
    packet = getattr(torch.ops.aten, str(op._schema.name).rpartition("::")[2].removesuffix("_"), None)
    pure = getattr(packet, op._overloadname, None)
    if pure is None:
        raise Untraceable(f"The network uses {op}, which has no form that keeps its input.")
    return pure, op


def _merged(two: _Recorder, three: _Recorder) -> list[Node]:
    """Operators that read the image or whose size is the batch's; all others are replaced by their results."""
    fixed: dict[int, Any] = {}
    depends, nodes = {0}, []
    joined: list[tuple[list[Any], list[Any], int]] = []
    if [(call[0], call[3]) for call in two.calls] != [(call[0], call[3]) for call in three.calls]:
        raise Untraceable(_OTHER)
    for (ran, *given, outs), (_, *other, _) in zip(two.calls, three.calls, strict=True):
        args, kwargs = _map(
            lambda leaf: fixed.get(leaf.number, leaf) if isinstance(leaf, Slot) else leaf,
            tuple(_merge(*pair) for pair in zip(given, other, strict=True)),
        )
        if ran is torch.ops.aten.cat.default and all(isinstance(part, Slot) for part in args[0]):
            parts, rest = list(args[0]), list(args[1:])
            for before, also, number in reversed(joined):  # a dense block joins again what it has joined, and one more
                if rest == also and parts[: len(before)] == before:
                    args = ([Slot(number), *parts[len(before) :]], *rest)
                    break
            joined.append((parts, rest, outs[0]))
        node = Node(*_functional(ran), args, kwargs, outs, ())
        if not node.reads and not any(isinstance(leaf, Count) for leaf in _leaves(args, kwargs)):
            fixed.update(zip(outs, node.run(fixed.__getitem__, 1), strict=True))
            continue
        node = replace(node, sources=tuple(number for number in sorted(node.reads) if number in depends))
        if node.sources:
            if node.name == "_local_scalar_dense":
                raise Untraceable("The network looks at its values to decide how to go on.")
            depends.update(outs)
        nodes.append(node)
    return nodes


def _freeing(nodes: list[Node], output: int) -> tuple[Node, ...]:
    """The operators that the output needs, each with the values it is the last to read."""
    needed, found = {output}, []
    for node in reversed(nodes):
        if needed.isdisjoint(node.outs):
            continue
        frees = node.reads - needed
        needed |= frees
        last = node.args and isinstance(node.args[0], Slot) and node.args[0].number in frees
        found.append(replace(node, frees=tuple(frees), in_place=node.in_place if last else None))
    return tuple(reversed(found))

"""What methods ask of a network, answered by plain calls of the module.

A method says which inputs it wants passed; how they are batched, shared between targets and kept is the business of
whoever hands it the passes. ``explainers.runtime.model`` answers the same questions faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explainers.targets import checked, score
from explainers.types import Attribution
from models.context import RunContext
from models.errors import ExplainError
from models.types import Target

BATCH = 8  # inputs in one pass; on a CPU near the fastest for every method here
Boxes = NDArray[np.int64]


class LayerPass:
    """One forward pass, cut at a layer; it may be shared by methods and kept for later ones.

    Args:
        output: what left the layer, a leaf from which gradients are recorded upwards, where asked for.
        logits: (1, K), computed from ``output``.
    """

    def __init__(self, output: Tensor, logits: Tensor) -> None:
        self._output, self._logits = output, logits

    @property
    def output(self) -> Tensor:
        """The layer's output; not to be written to."""
        return self._output.detach()

    def gradient(self, target: Target) -> tuple[float, Tensor | None]:
        """The target's score and d score / d output, of the output's shape; None where the score does not depend on it."""
        with torch.enable_grad():
            total = score(self._logits, target)[0]
        if not total.requires_grad:
            return float(total), None
        return float(total.detach()), torch.autograd.grad(total, self._output, retain_graph=True, allow_unused=True)[0]

    @property
    def nbytes(self) -> int:
        return self._output.untyped_storage().nbytes()


class Passes:
    """Passes of one network for one explanation.

    Args:
        module: held exclusively by the caller (``ModelHandle.exclusive``): in eval mode, its parameters without
            gradients, every forward ticking ``ctx`` once an input; a hook left behind is an error.
        ctx: progress and cancelling.
    """

    def __init__(self, module: nn.Module, ctx: RunContext) -> None:
        self._module = module
        self.ctx = ctx

    @contextmanager
    def network(self) -> Iterator[nn.Module]:
        """The network itself, alone, for a method that needs more than the passes below."""
        yield self._module

    def logits(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K) logits, without gradients, in one pass."""
        with self.network() as module, torch.no_grad():
            return checked(module(inputs))

    def gradients(
        self, count: int, make: Callable[[slice], Tensor], targets: Sequence[Target]
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Gradients of every target's score with respect to ``count`` inputs; the targets share the forward passes.

        Args:
            make: the inputs of a range, (n, C, H, W); it may be asked for a range twice and in any sizes, and must
                give each input the same values every time.

        Yields:
            The range, its logits (n, K) and the gradients (T, n, C, H, W); in order, all of them once.
        """
        for first in range(0, count, BATCH):
            part = slice(first, min(count, first + BATCH))
            with self.network() as module:
                found = gradients(module, make(part), targets)
            yield part, *found

    def layer(self, name: str, image: Tensor, needs_gradient: bool) -> LayerPass:
        """Run (1, C, H, W) once, cut at the layer of that name. Raises ExplainError where it takes no part."""
        with self.network() as module:
            return cut_at(module, name, image, needs_gradient)

    def hidden(self, image: Tensor, fill: Tensor, boxes: Boxes) -> Tensor:
        """Logits (N, K) of the image with one box at a time showing ``fill`` instead.

        What was answered for the same boxes together may be kept; so ask for :attr:`windows` at a time, cut out of all in
        a way that does not depend on the target.

        Args:
            image, fill: (1, C, H, W).
            boxes: (N, 4) top, left, height, width in pixels; a box may reach over the edge.
        """
        parts = [boxes[first : first + BATCH] for first in range(0, len(boxes), BATCH)]
        return torch.cat([self.logits(with_hidden(image, fill, part)) for part in parts])

    @property
    def windows(self) -> int:
        """How many boxes to ask for at a time."""
        return 2 * BATCH

    def show(self, attributions: Sequence[Attribution]) -> None:
        """Let the reader see maps that are not complete yet."""


def gradients(module: nn.Module, inputs: Tensor, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
    """Logits (n, K), and gradients (T, n, C, H, W) of every target's score; one forward pass, a backward a target."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        logits = checked(module(inputs))
        totals = [score(logits, target).sum() for target in targets]
    found = []
    for number, total in enumerate(totals):
        if not total.requires_grad:
            raise ExplainError("The network passes no gradient from its scores to its input; choose another method.")
        found.append(torch.autograd.grad(total, inputs, retain_graph=number < len(totals) - 1)[0])
    return logits.detach(), torch.stack(found)


def with_hidden(image: Tensor, fill: Tensor, boxes: Boxes) -> Tensor:
    """(n, C, H, W) copies of the image, each with its box showing ``fill``."""
    copies = image.repeat(len(boxes), 1, 1, 1)
    for number, (top, left, height, width) in enumerate(boxes):
        place = (..., slice(max(0, top), max(0, top + height)), slice(max(0, left), max(0, left + width)))
        copies[number][place] = fill[0][place]
    return copies


def cut_at(module: nn.Module, name: str, image: Tensor, needs_gradient: bool) -> LayerPass:
    """See :meth:`Passes.layer`."""
    with cutting(module, name, needs_gradient) as found:
        module(image)
    if not found:
        raise ExplainError(
            f"Layer {name!r} took no part in the forward pass or returned no tensor; choose another layer."
        )
    return found[-1]


@contextmanager
def cutting(module: nn.Module, name: str, needs_gradient: bool) -> Iterator[list[LayerPass]]:
    """What a call of the network inside this context is cut into; empty where the layer took no part."""
    outputs: list[Tensor] = []
    found: list[LayerPass] = []

    def at_layer(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        kept = output.detach().clone().requires_grad_(needs_gradient)
        outputs.append(kept)
        return kept.clone()  # the network goes on with a copy: its in-place operations must not reach what is kept

    def at_end(_module: nn.Module, _inputs: Any, logits: Any) -> None:
        if outputs:
            found.append(LayerPass(outputs[-1], checked(logits)))

    handles = [module.get_submodule(name).register_forward_hook(at_layer), module.register_forward_hook(at_end)]
    try:
        with torch.set_grad_enabled(needs_gradient):
            yield found
    finally:
        for handle in handles:
            handle.remove()

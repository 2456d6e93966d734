"""A network made ready for one device, and its passes for one explanation."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn

from explainers.layers import candidate_layers
from explainers.passes import BATCH, Boxes, LayerPass, Passes, cut_at, cutting, gradients, with_hidden
from explainers.runtime.choices import Choice, Choices
from explainers.runtime.folding import fold
from explainers.runtime.hidden import Ways
from explainers.runtime.memory import batch_for, bytes_kept, in_batches
from explainers.runtime.scoring import Scorer, compiled_scorer
from explainers.targets import checked
from explainers.types import Attribution, ExplainerSpec, ParamValue
from models.context import RunContext
from models.handle import ModelHandle, Outputs
from models.types import Image, Prediction, Target

Show = Callable[[Sequence[Attribution]], None]
_KEPT_WINDOWS = 20_000  # logits of hidden windows, of the last images


class PreparedModel:
    """One network twice: as the card describes it, for gradients with respect to the input, and with normalisations
    folded in, for everything else. Scores need not wait for a long explanation.

    Safe to use from any thread.
    """

    def __init__(self, handle: ModelHandle, choices: Choices | None = None) -> None:
        self.exact = handle
        self.card = handle.card
        self._folded = handle.clone(lambda module: fold(module, self.probe).module)
        self._cut: tuple[str, bool, Tensor, LayerPass] | None = None
        self._known: OrderedDict[tuple[bytes, ...], Tensor] = OrderedDict()
        with handle.exclusive(RunContext()) as module:
            self._kept = bytes_kept(module, self.probe)
            self._seconds = _timed(module, self.probe)
        self._scorer: Scorer | None = None
        network = f"{self.card.weights.sha256} {self.card.input_digest}"
        self._ways = Ways(self._plain, self._folded.copied, lambda: self.probe, network, choices)

    @cached_property
    def probe(self) -> Tensor:
        size = self.card.input
        return torch.zeros(1, size.channels, size.height, size.width, device=self.exact.device)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Target layers: the card's first, then other candidates."""
        with self.exact.exclusive(RunContext()) as module:
            found = [layer.name for layer in candidate_layers(module, self.probe)]
        return tuple(dict.fromkeys([*self.card.target_layers, *found]))

    @property
    def default_layer(self) -> str:
        """The first of :attr:`layers`, or ""."""
        return next(iter(self.card.target_layers or self.layers), "")

    def predict(self, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        """Scores; those of a single image leave behind what its class activation maps need."""
        if self._scorer is not None:
            return self._folded.predict(images, ctx, run=self._scorer)
        one = len(images) == 1 and bool(self.default_layer) and self.card.task != "segmentation"
        return self._folded.predict(images, ctx, run=self._cut_forward if one else None)

    def expect_many(self) -> None:
        """Take a second or two now to score faster from here on. Scores move by rounding, up to 1e-5."""
        if self.exact.device.type == "cpu" and self._scorer is None:
            self._scorer = compiled_scorer(self.exact.copied(), self.probe, len(self.card.classes))

    def passes(self, ctx: RunContext, show: Show = lambda _: None) -> AbstractContextManager[Passes]:
        """Passes for one explanation."""
        return _opened(self, ctx, show)

    @property
    def choice(self) -> Choice | None:
        """How windows are hidden; None before the first time."""
        return self._ways.choice

    def forecast(self, spec: ExplainerSpec, params: Mapping[str, ParamValue], targets: int = 1) -> float:
        """Seconds that a method will take, from what its passes took last."""
        size = self.card.input
        per_input = self._seconds[spec.family]
        if spec.family == "gradient":
            per_input *= (1 + 2 * targets) / 3  # a backward pass is about two forward passes
        return per_input * spec.cost(params, (size.height, size.width))

    def took(self, family: str, seconds: float, inputs: int, targets: int = 1) -> None:
        """Learn from passes just made."""
        if family == "gradient":
            seconds *= 3 / (1 + 2 * targets)
        self._seconds[family] = seconds / inputs

    def start(self) -> None:
        """Make ready, in the background, what the first occlusion will need."""
        if self.exact.device.type == "cpu":
            self._ways.start()

    def forget(self) -> None:
        """Let go of what was kept of the images seen last."""
        self._cut = None
        self._known.clear()

    def close(self) -> None:
        """Wait until nothing runs in the background."""
        self._ways.close()

    def cut(self, name: str, image: Tensor, needs_gradient: bool, ctx: RunContext) -> LayerPass:
        """The pass cut at that layer; that of the last image and layer is kept."""
        kept = self._cut
        if kept is not None and (kept[0], kept[1]) == (name, needs_gradient) and torch.equal(kept[2], image):
            ctx.tick()
            return kept[3]
        with self._folded.exclusive(ctx) as module:
            found = cut_at(module, name, image, needs_gradient)
        self._cut = (name, needs_gradient, image, found)
        return found

    def logits(self, inputs: Tensor, ctx: RunContext) -> Tensor:
        with self._folded.exclusive(ctx) as module, torch.no_grad():
            return checked(module(inputs))

    @property
    def gradient_batch(self) -> int:
        """Inputs in one gradient pass, by the memory that is free now."""
        return batch_for(self._kept, self.exact.device)

    def hidden(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Iterator[tuple[slice, Tensor]]:
        """See :meth:`Passes.hidden`; windows seen before are not passed again, so that every further class is free."""
        images = (_digest(image), _digest(fill))
        keys = [(*images, box.tobytes()) for box in boxes]
        missing = [number for number, key in enumerate(keys) if key not in self._known]
        ctx.tick(len(keys) - len(missing))
        if not missing:
            yield slice(0, len(boxes)), torch.stack([self._known[key] for key in keys])
            return
        way, batch = self._plain, BATCH
        if image.device.type == "cpu":
            way, batch = self._ways.best(image, fill, boxes, ctx)
        answers = {number: self._known[key] for number, key in enumerate(keys) if key in self._known}
        done, began = 0, time.perf_counter()
        for part, logits in in_batches(len(missing), batch, lambda part: way(image, fill, boxes[missing[part]], ctx)):
            self.took("perturbation", time.perf_counter() - began, part.stop - part.start)
            for number, row in zip(missing[part], logits, strict=True):
                answers[number] = self._known[keys[number]] = row
            upto = missing[part.stop] if part.stop < len(missing) else len(boxes)
            yield slice(done, upto), torch.stack([answers[number] for number in range(done, upto)])
            done, began = upto, time.perf_counter()
        while len(self._known) > _KEPT_WINDOWS:
            self._known.popitem(last=False)

    def _plain(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Tensor:
        return self.logits(with_hidden(image, fill, boxes), ctx)

    def _cut_forward(self, inputs: Tensor, ctx: RunContext) -> Outputs:
        """Scores, cut at the default layer on the way."""
        name = self.default_layer
        cuts: list[list[LayerPass]] = []

        @contextmanager
        def mode(module: nn.Module) -> Iterator[None]:
            with cutting(module, name, True) as found:
                cuts.append(found)
                yield

        outputs = self._folded.forward(inputs, ctx, mode)
        if cuts[0]:
            self._cut = (name, True, inputs, cuts[0][-1])
        return outputs


class _FastPasses(Passes):
    """See :class:`explainers.passes.Passes`: batches by memory, layers and windows kept, the fastest way measured."""

    def __init__(self, model: PreparedModel, ctx: RunContext, show: Show, stack: ExitStack) -> None:
        self._model, self.ctx, self._show, self._stack = model, ctx, show, stack

    @cached_property
    def module(self) -> nn.Module:
        return self._stack.enter_context(self._model.exact.exclusive(self.ctx))

    def logits(self, inputs: Tensor) -> Tensor:
        return self._model.logits(inputs, self.ctx)

    def gradients(
        self, count: int, make: Callable[[slice], Tensor], targets: Sequence[Target]
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        batch = self._model.gradient_batch
        began = time.perf_counter()
        for part, found in in_batches(count, batch, lambda part: gradients(self.module, make(part), targets)):
            self._model.took("gradient", time.perf_counter() - began, part.stop - part.start, len(targets))
            yield part, *found
            began = time.perf_counter()

    def layer(self, name: str, image: Tensor, needs_gradient: bool) -> LayerPass:
        return self._model.cut(name, image, needs_gradient, self.ctx)

    def hidden(self, image: Tensor, fill: Tensor, boxes: Boxes) -> Iterator[tuple[slice, Tensor]]:
        return self._model.hidden(image, fill, boxes, self.ctx)

    def show(self, attributions: Sequence[Attribution]) -> None:
        self._show(attributions)


@contextmanager
def _opened(model: PreparedModel, ctx: RunContext, show: Show) -> Iterator[Passes]:
    with ExitStack() as stack:
        yield _FastPasses(model, ctx, show, stack)


def _timed(module: nn.Module, probe: Tensor) -> dict[str, float]:
    """Seconds an input by family of methods, of single inputs."""
    began = time.perf_counter()
    gradients(module, probe, [Target("first", 0)])
    there = time.perf_counter()
    with torch.no_grad():
        module(probe)
    forward = time.perf_counter() - there
    return {"gradient": there - began, "perturbation": forward, "activation": forward}


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(tensor.cpu().numpy().tobytes()).digest()

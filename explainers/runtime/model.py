"""A network made ready for one device, and its passes for one explanation."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from explainers.layers import candidate_layers
from explainers.passes import BATCH, Boxes, LayerPass, Passes, cut_at, cutting, gradients, with_hidden
from explainers.runtime.choices import Choice, Choices
from explainers.runtime.folding import fold
from explainers.runtime.hidden import Ways
from explainers.runtime.memory import batch_for, bytes_kept, in_batches, most
from explainers.runtime.pace import Pace
from explainers.runtime.scoring import Scorer, compiled_scorer
from explainers.targets import checked
from explainers.types import Attribution
from models.context import RunContext
from models.handle import ModelHandle, Outputs
from models.types import FloatArray, Image, Prediction, Target

Show = Callable[[Sequence[Attribution]], None]
_KEPT_ANSWERS = 4096  # of a dozen windows each, a few hundred numbers
_LARGE = 32 * 2**20  # bytes of a layer's output


class PreparedModel:
    """One network twice: as the card describes it, for gradients with respect to the input, and with normalisations
    folded in, for everything else. Scores need not wait for a long explanation.

    Safe to use from any thread.
    """

    def __init__(self, handle: ModelHandle, choices: Choices | None = None) -> None:
        self.exact = handle
        self.card = handle.card
        if handle.device.type == "cuda":  # ten bits of a product are not single precision
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self._folded = handle.clone(lambda module: fold(module, self.probe).module)
        self._cut: tuple[str, bool, Tensor, LayerPass] | None = None
        self._answers = _Answers()
        # All that the screen asks for is found out now: later the network may be held by a long explanation.
        with handle.exclusive(RunContext()) as module:
            self._kept = bytes_kept(module, self.probe)
            self._weights = sum(part.untyped_storage().nbytes() for part in (*module.parameters(), *module.buffers()))
            self._seconds = _timed(module, self.probe)
            found = [layer.name for layer in candidate_layers(module, self.probe)]
            self.layers = tuple(dict.fromkeys([*self.card.target_layers, *found]))
            self.learn(module)
        self._scorer: Scorer | None = None
        network = json.dumps(
            [self.card.weights.sha256, self.card.input_digest, self.card.architecture, self.card.architecture_args]
        )
        self._ways = Ways(self._plain, self._folded.copied, lambda: self.probe, network, choices)

    def learn(self, module: nn.Module) -> None:
        """For subclasses: look at the network while nobody else uses it."""

    @cached_property
    def probe(self) -> Tensor:
        size = self.card.input
        return torch.zeros(1, size.channels, size.height, size.width, device=self.exact.device)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, in every form that is kept, on the device or off it."""
        return self._weights * (2 + self._ways.copies + (self._scorer is not None))

    @property
    def default_layer(self) -> str:
        """The first of ``layers`` (the card's come first), or ""."""
        return next(iter(self.layers), "")

    def predict(self, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        """Scores; those of a single image leave behind what its class activation maps need."""
        run = self._scorer
        if run is None and len(images) == 1 and self.default_layer and self.card.task != "segmentation":
            run = self._cut_forward
        size = most(self.exact.device)

        def score(part: slice) -> tuple[Prediction, ...]:
            ctx.between()
            return self._folded.predict(images[part], ctx, batch_size=size, run=run)

        parts = in_batches(len(images), size, score)
        return tuple(prediction for _, part in parts for prediction in part)

    def features(self, images: Sequence[Image], ctx: RunContext) -> FloatArray:
        """(n, D) float32, what the last layer reads; D is 0 where no layer reads a vector."""
        size = most(self.exact.device)

        def read(part: slice) -> Outputs:
            ctx.between()
            return self.exact.forward(torch.cat([self.exact.prepare(one).tensor for one in images[part]]), ctx)

        parts = in_batches(len(images), size, read)
        return np.concatenate([outputs.features for _, outputs in parts])

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

    @property
    def pace(self) -> Pace:
        """What its passes took last."""
        return Pace(dict(self._seconds), self.card.input.height, self.card.input.width)

    def took(self, family: str, seconds: float, inputs: int, targets: int = 1) -> None:
        """Learn from passes just made; a few inputs count for less than many."""
        if family == "gradient":
            seconds *= 3 / (1 + 2 * targets)
        share = inputs / (inputs + 2 * BATCH)
        self._seconds[family] += share * (seconds / inputs - self._seconds[family])

    def start(self) -> None:
        """Make ready, in the background, what the first occlusion will need."""
        if self.exact.device.type == "cpu":
            self._ways.start()

    def rest(self) -> None:
        """Let go of what is large and not likely to be asked for again."""
        self._ways.rest()
        cut = self._cut  # another's pass may replace it meanwhile
        if cut is not None and cut[3].nbytes > _LARGE:
            self._cut = None

    def forget(self) -> None:
        """Let go of all that was kept of images."""
        self._ways.rest()
        self._cut = None
        self._answers = _Answers()

    def close(self) -> None:
        """Wait until nothing runs in the background."""
        self._ways.close()

    def cut(self, name: str, image: Tensor, needs_gradient: bool, ctx: RunContext) -> LayerPass:
        """The pass cut at that layer; that of the last image and layer is kept."""
        kept = self._cut
        if kept is not None and (kept[0], kept[1]) == (name, needs_gradient) and torch.equal(kept[2], image):
            ctx.tick()
            return kept[3]
        ctx.check()
        with self._folded.exclusive(RunContext()) as module:  # as in _cut_forward
            found = cut_at(module, name, image, needs_gradient)
        ctx.tick()
        self._cut = (name, needs_gradient, image, found)
        return found

    def logits(self, inputs: Tensor, ctx: RunContext) -> Tensor:
        began = time.perf_counter()
        if self._scorer is not None:
            found = torch.from_numpy(self._scorer(inputs, ctx).logits)
        else:
            with self._folded.exclusive(ctx) as module, torch.no_grad():
                found = checked(module(inputs))
        self.took("scores", _now(found) - began, len(inputs))
        return found

    @property
    def gradient_batch(self) -> int:
        """Inputs in one gradient pass, by the memory that is free now."""
        return batch_for(self._kept, self.exact.device)

    def hidden(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Tensor:
        """See :meth:`Passes.hidden`; boxes asked for together before are not passed again: a further class is free."""
        key = _digest(image, fill, boxes)
        known = self._answers.get(key)
        if known is not None:
            ctx.tick(len(boxes))
            return known
        way = self._ways.best(image, fill, boxes, ctx) if image.device.type == "cpu" else self._plain
        began = time.perf_counter()
        logits = way(image, fill, boxes, ctx)
        self.took("perturbation", _now(logits) - began, len(boxes))
        self._answers.put(key, logits)
        return logits

    def _plain(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Tensor:
        size = most(self.exact.device)
        parts = in_batches(len(boxes), size, lambda part: self.logits(with_hidden(image, fill, boxes[part]), ctx))
        return torch.cat([logits for _, logits in parts])

    def _cut_forward(self, inputs: Tensor, ctx: RunContext) -> Outputs:
        """Scores, cut at the default layer on the way."""
        name = self.default_layer
        cuts: list[list[LayerPass]] = []

        @contextmanager
        def mode(module: nn.Module) -> Iterator[None]:
            with cutting(module, name, True) as found:
                cuts.append(found)
                yield

        ctx.check()
        outputs = self._folded.forward(inputs, RunContext(), mode)  # one pass; its graph outlives this context
        ctx.tick(len(inputs))
        if cuts[0]:
            self._cut = (name, True, inputs, cuts[0][-1])
        return outputs


class _FastPasses(Passes):
    """See :class:`explainers.passes.Passes`: batches by memory, layers and windows kept, the fastest way measured.

    The network is held for one batch at a time, so that other work can go between.
    """

    def __init__(self, model: PreparedModel, ctx: RunContext, show: Show) -> None:
        self._model, self.ctx, self._show = model, ctx, show
        self._held: nn.Module | None = None

    @contextmanager
    def network(self) -> Iterator[nn.Module]:
        if self._held is not None:  # by the method, around the passes that it asks for
            yield self._held
            return
        with self._model.exact.exclusive(self.ctx) as self._held:
            try:
                yield self._held
            finally:
                self._held = None

    def _between(self) -> None:
        if self._held is None:
            self.ctx.between()

    def logits(self, inputs: Tensor) -> Tensor:
        self._between()
        return self._model.logits(inputs, self.ctx)

    def gradients(
        self, count: int, make: Callable[[slice], Tensor], targets: Sequence[Target]
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        def one(part: slice) -> tuple[Tensor, Tensor]:
            self._between()
            began = time.perf_counter()
            with self.network() as module:
                found = gradients(module, make(part), targets)
            self._model.took("gradient", _now(found[1]) - began, part.stop - part.start, len(targets))
            return found

        for part, found in in_batches(count, self._model.gradient_batch, one):
            yield part, *found

    def layer(self, name: str, image: Tensor, needs_gradient: bool) -> LayerPass:
        self._between()
        return self._model.cut(name, image, needs_gradient, self.ctx)

    def hidden(self, image: Tensor, fill: Tensor, boxes: Boxes) -> Tensor:
        self._between()
        return self._model.hidden(image, fill, boxes, self.ctx)

    @property
    def windows(self) -> int:
        return 2 * most(self._model.exact.device)

    def show(self, attributions: Sequence[Attribution]) -> None:
        self._show(attributions)


@contextmanager
def _opened(model: PreparedModel, ctx: RunContext, show: Show) -> Iterator[Passes]:
    try:
        yield _FastPasses(model, ctx, show)
    finally:
        model.rest()


def _timed(module: nn.Module, probe: Tensor) -> dict[str, float]:
    """Seconds an input by family of methods, of single inputs."""
    began = _now(probe)
    gradients(module, probe, [Target("first", 0)])
    there = _now(probe)
    with torch.no_grad():
        module(probe)
    forward = _now(probe) - there
    # Batches of a compiled network take about a third, which is known once some have been passed.
    return {"gradient": there - began, "perturbation": forward, "activation": forward, "scores": forward / 3}


def _now(tensor: Tensor) -> float:
    """The time when all that was asked of the tensor's device is done, in seconds."""
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()


class _Answers:
    """Logits of windows hidden lately, by what was asked; the least recently used go. Safe from any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Tensor | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: bytes, logits: Tensor) -> None:
        with self._lock:
            self._known[key] = logits
            while len(self._known) > _KEPT_ANSWERS:
                self._known.popitem(last=False)


def _digest(image: Tensor, fill: Tensor, boxes: Boxes) -> bytes:
    digest = hashlib.sha256()
    for array in (image.cpu().numpy(), fill.cpu().numpy(), boxes):
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()

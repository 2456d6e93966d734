"""A loaded network that only one piece of work can touch at a time, and that is left as it was found."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from models.card import ModelCard
from models.context import RunContext
from models.errors import ModelError
from models.novelty import NoveltyModel
from models.preprocess import Prepared, prepare
from models.project import input_to_image
from models.segmentation import UNet, pool
from models.types import FloatArray, Image, Modality, Prediction
from models.weights import load_into, read_tensors

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
UNUSUAL_PERCENTILE = 99.0


@dataclass(frozen=True)
class DryRun:
    """What loading proved: output finite, gradient reaches the input, target layers run."""

    outputs: int
    parameters: int
    target_layers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one forward pass gives of a batch.

    Attributes:
        logits: (n, K) float32.
        features: (n, F) float32 penultimate features; F = 0 where no head is found.
        pixels: (n, K, H, W) float32 pixel logits on the input grid; None for a network that does not segment.
    """

    logits: FloatArray
    features: FloatArray
    pixels: FloatArray | None = None


class ModelHandle:
    """Module, card and device. ``exclusive`` is the only way to the module."""

    def __init__(
        self, card: ModelCard, module: nn.Module, device: str = "cpu", novelty: NoveltyModel | None = None
    ) -> None:
        self.card = card
        self.device = torch.device(device)
        self._module = module.to(self.device).eval()
        self._novelty = novelty
        self._lock = threading.Lock()
        self._ctx = RunContext()
        self._parts = tuple(self._module.modules())
        self._hooks = {part: _hook_ids(part) for part in self._parts}  # its own; none, as a rule
        self._watch()
        self.dry_run = self._prove()

    @classmethod
    def load(cls, card: ModelCard, device: str = "cpu") -> ModelHandle:
        """Build the card's network, check and load its weights, try it once. Raises ModelError or Unavailable."""
        from models.architectures import (
            build,  # reads timm and torchvision: seconds that the first screen can do without
        )

        module = build(card)
        load_into(
            module,
            read_tensors(card.folder / card.weights.file, card.weights.sha256),
            len(card.classes),
            card.weights.file,
        )
        novelty = None
        if card.novelty is not None:
            try:
                novelty = NoveltyModel.from_tensors(read_tensors(card.folder / card.novelty.file, card.novelty.sha256))
            except KeyError as error:
                raise ModelError(f"Card field novelty: {card.novelty.file} lacks {error}.") from None
        return cls(card, module, device, novelty)

    def clone(self, change: Callable[[nn.Module], nn.Module] = copy.deepcopy) -> ModelHandle:
        """A second handle on a copy of the network, so that quick scores need not wait for long explanations.

        Args:
            change: makes the copy, which may run otherwise as long as it gives the same scores.
        """
        return ModelHandle(self.card, self.copied(change), str(self.device), self._novelty)

    def copied(self, change: Callable[[nn.Module], nn.Module] = copy.deepcopy) -> nn.Module:
        """A copy of the network alone, for whoever runs it by other means."""
        with self._lock:
            self._remove_hooks()  # which would go on watching this one
            try:
                return change(self._module)
            finally:
                self._watch()

    def prepare(self, image: Image) -> Prepared:
        """A plane image as this network's input, on its device."""
        return prepare(image, self.card.input.spec, self.device)

    @contextmanager
    def exclusive(self, ctx: RunContext) -> Iterator[nn.Module]:
        """The module, alone: eval mode, parameters without gradients, every forward ticking ``ctx`` once an input.

        Cancelling stops a pass at the next layer, forwards and backwards.

        On the way out (success, error or cancel) training flags, ``requires_grad`` and gradients are restored and
        any hook left behind is removed.

        Raises:
            ModelError: the work succeeded but had left hooks behind.
        """
        with self._lock:
            training = {part: part.training for part in self._parts}
            parameters = [(p, p.requires_grad, p.grad) for p in self._module.parameters()]
            if any(training.values()):
                self._module.eval()
            for parameter, _, _ in parameters:
                parameter.requires_grad_(False)
            self._ctx, watched = ctx, self._count_hooks()
            left = 0
            try:
                yield self._module
            finally:
                self._ctx = RunContext()
                left = self._count_hooks() - watched
                if left:
                    self._remove_hooks()
                    self._watch()
                for parameter, required, gradient in parameters:
                    parameter.requires_grad_(required)
                    parameter.grad = gradient
                for part, flag in training.items():
                    part.training = flag
            if left:
                raise ModelError(
                    f"An explanation left {left} hooks on model {self.card.id}; they were removed, but its maps cannot be trusted."
                )

    def _watch(self) -> None:
        """Hooks for good, which speak to the context of the work at hand: setting them each time would take longer
        than a small network's pass."""
        self._module.register_forward_pre_hook(lambda _, given: self._ctx.tick(len(given[0])))
        for part in self._parts:
            stoppable(part, lambda: self._ctx)

    def _count_hooks(self) -> int:
        return sum(len(getattr(part, kind)) for part in self._parts for kind in _HOOKS)

    def _remove_hooks(self) -> None:
        """All but those that the network came with."""
        for part, known in self._hooks.items():
            for kind, keys in known.items():
                table = getattr(part, kind)
                for key in [key for key in table if key not in keys]:
                    del table[key]

    def predict(
        self,
        images: Sequence[Image],
        ctx: RunContext | None = None,
        batch_size: int = 8,
        run: Callable[[torch.Tensor, RunContext], Outputs] | None = None,
    ) -> tuple[Prediction, ...]:
        """Scores of plane images, in order, in batches; ticks once an image. Raises DataError for a volume.

        Args:
            run: stands in for :meth:`forward`.
        """
        ctx, run = ctx or RunContext(), run or self.forward
        predictions: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            prepared = [self.prepare(image) for image in part]
            outputs = run(torch.cat([one.tensor for one in prepared]), ctx)
            distances = zip(self._percentiles(outputs.features), self._ratios(outputs.features), strict=True)
            for number, (image, place, unusual) in enumerate(zip(part, prepared, distances, strict=True)):
                masks = None if outputs.pixels is None else self._masks(outputs.pixels[number], place)
                predictions.append(self._prediction(image, outputs.logits[number], *unusual, masks))
        return tuple(predictions)

    def forward(
        self,
        inputs: torch.Tensor,
        ctx: RunContext,
        mode: Callable[[nn.Module], AbstractContextManager[object]] = lambda _: torch.inference_mode(),
    ) -> Outputs:
        """One pass of a batch, (n, C, H, W) as :meth:`prepare` makes them; ticks once an input.

        Args:
            mode: what the network runs in, given the network.
        """
        seen: list[torch.Tensor] = []
        pixels = None
        with self.exclusive(ctx) as module, mode(module):
            head = reads_features(module)
            hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0])) if head is not None else None
            try:
                if isinstance(module, UNet):
                    ctx.tick(len(inputs))  # which a call of the module itself would do
                    answers = module.masks(inputs)
                    logits, pixels = pool(answers).float().cpu().numpy(), answers.float().cpu().numpy()
                else:
                    logits = module(inputs).detach().float().cpu().numpy()
            finally:
                if hook is not None:
                    hook.remove()
        features = (
            seen[-1].detach().reshape(len(inputs), -1).float().cpu().numpy()
            if seen
            else np.zeros((len(inputs), 0), np.float32)
        )
        return Outputs(logits, features, pixels)

    def _masks(self, pixels: FloatArray, prepared: Prepared) -> FloatArray:
        """(K, h, w) pixel logits of the input grid to (K, H, W) calibrated probabilities of the image."""
        planes = np.moveaxis(self.card.probabilities(np.moveaxis(pixels, 0, -1)), -1, 0)
        return np.stack([input_to_image(one, prepared.grid_to_image, prepared.image_shape) for one in planes])

    def _percentiles(self, features: FloatArray) -> Sequence[float | None]:
        return (
            [None] * len(features) if self._novelty is None else [float(v) for v in self._novelty.percentiles(features)]
        )

    def _ratios(self, features: FloatArray) -> Sequence[float | None]:
        return [None] * len(features) if self._novelty is None else [float(v) for v in self._novelty.ratio(features)]

    def _prediction(
        self,
        image: Image,
        logits: FloatArray,
        percentile: float | None,
        ratio: float | None,
        masks: FloatArray | None,
    ) -> Prediction:
        if not np.isfinite(logits).all():
            raise ModelError(f"Model {self.card.id} gives scores that are not finite for this image.")
        warnings = []
        expected = self.card.input.modality
        if image.modality not in (*expected, Modality.UNKNOWN):
            names = " or ".join(kind.label for kind in expected)
            warnings.append(
                f"This model reads {names} images; this one is {image.modality.label}. Its scores mean nothing here."
            )
        elif image.modality is Modality.UNKNOWN:
            warnings.append(
                f"The file does not say what made it; this model reads {' or '.join(kind.label for kind in expected)} images only."
            )
        if percentile is not None and ratio is not None and percentile >= UNUSUAL_PERCENTILE:
            warnings.append(
                f"Unlike the training images: {ratio:.1f} times the usual feature distance, farther than "
                f"{'all' if percentile >= 100 else f'{percentile:.0f} % of'} the images held out from training."
            )
        return Prediction(
            model_id=self.card.id,
            classes=self.card.classes,
            logits=logits,
            probabilities=self.card.probabilities(logits),
            thresholds=self.card.threshold_array,
            exclusive=self.card.exclusive,
            distance=percentile,
            warnings=tuple(warnings),
            masks=masks,
        )

    def _prove(self) -> DryRun:
        """Forward, gradient and target layers on one grey input. Raises ModelError."""
        spec = self.card.input
        probe = torch.full((1, spec.channels, spec.height, spec.width), 0.1, device=self.device, requires_grad=True)
        names = dict(self._module.named_modules())
        ran: set[str] = set()
        with self.exclusive(RunContext()) as module:
            watched = []
            for name in self.card.target_layers:
                if name not in names or not name:
                    raise ModelError(f"Card field target_layers: the network has no layer {name!r}.")
                watched.append(names[name].register_forward_hook(lambda *_, seen=name: ran.add(seen)))
            try:
                output = module(probe)
            except Exception as error:  # a network may raise anything on an input it was not made for
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise ModelError(
                    f"Model {self.card.id} fails on a {spec.height} x {spec.width} input: {reason}."
                ) from None
            finally:
                for hook in watched:
                    hook.remove()
            if not isinstance(output, torch.Tensor) or output.shape != (1, len(self.card.classes)):
                shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise ModelError(
                    f"Card field classes lists {len(self.card.classes)} names, but the network's output is {shape}."
                )
            try:
                (gradient,) = torch.autograd.grad(output.sum(), probe)
            except RuntimeError:
                raise ModelError(f"Model {self.card.id} passes no gradient from its scores to its input.") from None
            if not (torch.isfinite(output).all() and torch.isfinite(gradient).all()):
                raise ModelError(
                    f"Model {self.card.id} gives scores or gradients that are not finite; the weights look damaged."
                )
        idle = [name for name in self.card.target_layers if name not in ran]
        if idle:
            raise ModelError(f"Card field target_layers: layer {idle[0]!r} does not run in a forward pass.")
        return DryRun(output.shape[1], sum(p.numel() for p in self._module.parameters()), self.card.target_layers)


def reads_features(module: nn.Module) -> nn.Module | None:
    """The last linear layer, or the U-Net's marked place: what comes in are the penultimate features."""
    if isinstance(module, UNet):
        return module.penultimate
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return linear[-1] if linear else None


def stoppable(part: nn.Module, context: Callable[[], RunContext]) -> list[RemovableHandle]:
    """Hooks of a layer with weights that ask, before it runs and before its gradient does, whether to go on."""
    if next(part.children(), None) is not None or next(part.parameters(), None) is None:
        return []

    def watch(_module: nn.Module, _given: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            ctx = context()  # of this pass, whoever holds the network when its gradient is asked for
            output.register_hook(lambda _: ctx.check())

    return [part.register_forward_pre_hook(lambda *_: context().check()), part.register_forward_hook(watch)]


def _hook_ids(part: nn.Module) -> dict[str, set[int]]:
    return {kind: set(getattr(part, kind)) for kind in _HOOKS}

"""Ways to score an image with windows hidden, and which of them a model takes on this machine: the fastest, measured."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from explainers.passes import Boxes, with_hidden
from explainers.runtime import openvino
from explainers.runtime.choices import Choice, Choices
from explainers.runtime.regions import CleanPass, Regions
from models.context import RunContext
from models.errors import SightlineError

log = logging.getLogger(__name__)
TOLERANCE = 1e-5  # of the range of the windows' effects
_ROUNDING = 4e-6  # of the largest logit: a few units of single precision, after hundreds of layers
PLAIN, REGIONS, OPENVINO = "torch", "changed regions only", "OpenVINO"


class Way(Protocol):
    """Logits (n, K) of the image (1, C, H, W) with one box each showing ``fill``; ticks once a box."""

    def __call__(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Tensor: ...


class Ways:
    """The ways of one network; made ready in the background, measured on the first image.

    Args:
        plain: the way that is always there.
        module: makes a copy of the folded network, on the CPU.
        probe: makes an input, (1, C, H, W).
        network: its digest, under which the choice is kept in ``choices``.
    """

    def __init__(
        self,
        plain: Way,
        module: Callable[[], nn.Module],
        probe: Callable[[], Tensor],
        network: str = "",
        choices: Choices | None = None,
    ) -> None:
        self._ways: dict[str, Way] = {PLAIN: plain}
        self._module, self._probe = module, probe
        self._refused: dict[str, str] = {}
        self._ready = threading.Thread(target=self._make, name="sightline-prepare", daemon=True)
        self._started = False
        self._starting, self._measuring = threading.Lock(), threading.Lock()
        self._network, self._choices = network, choices or Choices(None)
        self.choice: Choice | None = None

    @property
    def copies(self) -> int:
        """Of the network, beside that of the plain way."""
        return len(self._ways) - 1

    def start(self) -> None:
        """Begin to make the ways ready."""
        with self._starting:
            if not self._started:
                self._started = True
                self._ready.start()

    def close(self) -> None:
        """Wait until nothing is being made ready."""
        if self._started:
            self._ready.join()

    def best(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Way:
        """The fastest, measured once, with these windows."""
        self.start()
        while self._ready.is_alive():
            ctx.check()
            self._ready.join(0.05)
        with self._measuring:
            if self.choice is None or self.choice.name not in self._ways:  # the one kept can no longer be made
                self.choice = self._measure(image, fill, boxes, ctx)
                self._choices.put(self._network, self.choice)
            chosen = self.choice.name
            self._ways = {name: way for name, way in self._ways.items() if name in (PLAIN, chosen)}
            return self._ways[chosen]

    def rest(self) -> None:
        """Let go of what was kept of the last image."""
        for way in list(self._ways.values()):
            if isinstance(way, _ByRegions):
                way.rest()

    def _make(self) -> None:
        self.choice = self._choices.get(self._network)
        if self.choice is not None and self.choice.name == PLAIN:
            return
        module, probe = self._module(), self._probe()
        makers: dict[str, Callable[[], Way]] = {
            REGIONS: lambda: _ByRegions(Regions.trace(module, probe)),
            OPENVINO: lambda: _Compiled(openvino.compile(module, probe)),
        }
        for name, make in makers.items():
            if self.choice is not None and name != self.choice.name:
                continue
            try:
                self._ways[name] = make()
            except SightlineError as error:
                self._refused[name] = str(error)
            except Exception as error:  # of libraries at work on any network whatever; plain calls are always there
                log.warning("A network could not be made ready for %s.", name, exc_info=error)
                self._refused[name] = f"It failed ({type(error).__name__})."

    def _measure(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Choice:
        """Two rounds, the first to warm up; a way whose logits differ is left out."""
        taken: dict[str, float] = {}
        expected = torch.zeros(0)
        quiet = ctx.quietly()
        for name, way in list(self._ways.items()):
            logits = way(image, fill, boxes, quiet)
            began = time.perf_counter()
            way(image, fill, boxes, quiet)
            taken[name] = (time.perf_counter() - began) * 1000 / len(boxes)
            if name == PLAIN:
                expected = logits
            elif not _alike(logits, expected):
                self._refused[name] = "Its scores differ from the network's."
                del taken[name], self._ways[name]
        return Choice(min(taken, key=lambda name: taken[name]), taken, self._refused)


def _alike(logits: Tensor, expected: Tensor) -> bool:
    """Within 1e-5 of the range of the windows' effects, or of what rounding in single precision leaves open."""
    spans = expected.amax(dim=0) - expected.amin(dim=0)
    allowed = TOLERANCE * float(spans.max()) + _ROUNDING * float(expected.abs().max())
    return float((logits - expected).abs().max()) <= allowed


class _ByRegions:
    """Recomputes what a window changes; the feature maps of the last image are kept between calls."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._kept: tuple[Tensor, CleanPass] | None = None

    def __call__(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Tensor:
        kept = self._kept  # others may let go of it meanwhile
        if kept is None or not torch.equal(kept[0], image):
            kept = (image, self._regions.begin(image, ctx.check))
            self._kept = kept
        logits = kept[1].logits(fill, boxes, ctx.check)
        ctx.tick(len(boxes))
        return logits

    def rest(self) -> None:
        self._kept = None


class _Compiled:
    """Whole passes by OpenVINO."""

    def __init__(self, network: openvino.Compiled) -> None:
        self._network = network

    def __call__(self, image: Tensor, fill: Tensor, boxes: Boxes, ctx: RunContext) -> Tensor:
        logits = self._network(with_hidden(image, fill, boxes), ctx.check)
        ctx.tick(len(boxes))
        return logits

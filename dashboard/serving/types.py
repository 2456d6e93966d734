"""What the screen asks of an engine, and what it gets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from explainers.quality.types import Verdict
from explainers.runtime.pace import Pace
from explainers.types import Attribution, ParamValue
from models.card import ModelCard
from models.context import RunContext
from models.inspect import Inspection
from models.preprocess import InputSpec, stack
from models.types import FloatArray, Image, Prediction, Target

CODE_VERSION = "3"  # raise when a method's numbers change: stored results of older code are then not found


@dataclass(frozen=True, eq=False)
class ExplainRequest:
    """One method on one plane image, for one target.

    Attributes:
        params: as the reader set them; missing ones take the method's defaults.
    """

    model_id: str
    image: Image
    method: str
    target: Target
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Explanation:
    """An attribution with what is needed to lay it on the image and to trace it.

    Attributes:
        grid_to_image: (3, 3) float64, (column, row, 1) on the input grid to image pixels.
        image_shape: (H, W).
        provenance: model, weights and image digests, versions, date-free so that equal work gives equal bytes.
    """

    attribution: Attribution
    grid_to_image: NDArray[np.float64]
    image_shape: tuple[int, int]
    provenance: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class JudgeRequest:
    """Maps of one plane image and target, by one model, to be checked.

    Attributes:
        maps: how each was asked for, and what came of it.
        places: (H, W) masks of the image by name, of what it is known to show.
        parts: (H, W) masks of parts of the body by name.
        known: final verdicts that are had already, by map; their checks are not run again.
    """

    maps: tuple[tuple[ExplainRequest, Explanation], ...]
    places: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    parts: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    known: tuple[tuple[Verdict, ...], ...] = ()


Verdicts = tuple[tuple[Verdict, ...], ...]  # by map, in the order of the checks


@dataclass(frozen=True)
class ModelFault:
    """A model folder that cannot be used, and why."""

    name: str
    message: str


LoadState = Literal["on disk", "loaded", "failed"]


EDGES_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
Work = Literal["scores", "explanation", "checks", "other"]


@dataclass(frozen=True)
class DeviceHealth:
    """One device and what it does.

    Attributes:
        free_bytes, total_bytes: of its memory; None where that cannot be told.
        model_bytes, limit_bytes: of networks loaded on it, and beyond which the one longest unused goes.
        waiting: pieces of work that wait for it; ``running`` is the kind under way, "" for none.
    """

    name: str
    free_bytes: int | None
    total_bytes: int | None
    model_bytes: int
    limit_bytes: int
    waiting: int
    running: Work | Literal[""]


@dataclass(frozen=True)
class LoadedModel:
    """A network on a device; ``used_s`` ago it was last used, in seconds."""

    model_id: str
    device: str
    bytes: int
    used_s: float


@dataclass(frozen=True)
class Traffic:
    """Work of one kind that ended within a stretch of time.

    Attributes:
        start: of the stretch, in seconds since 1970; it is ``TRAFFIC_S`` long.
        done, failed, stopped: pieces of work; ``inputs`` is how many inputs networks passed for them.
        took: (len(EDGES_S) + 1,) how many of those done took, waiting included, up to each edge, and longer than the last.
        waited_s, worked_s: seconds that they waited for a device, and held one, in sum.
    """

    start: float
    kind: Work
    done: int
    failed: int
    stopped: int
    inputs: int
    took: tuple[int, ...]
    waited_s: float
    worked_s: float


TRAFFIC_S = 10.0


@dataclass(frozen=True)
class Health:
    """What an engine says of itself.

    Attributes:
        devices: at least one.
        traffic: of the last hour, oldest first.
        address: of the server, "" for this process.
        replica: which of the server's processes tells this; "" where there is one.
        message: a sentence, where something is wrong; what else is told is then the last that was known.
    """

    devices: tuple[DeviceHealth, ...]
    models: tuple[LoadedModel, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    address: str = ""
    replica: str = ""
    message: str = ""

    @property
    def device(self) -> str:
        """Names of the devices, each once."""
        return ", ".join(dict.fromkeys(device.name for device in self.devices)) or "none"

    @property
    def waiting(self) -> int:
        """Pieces of work that wait or run."""
        return sum(device.waiting + bool(device.running) for device in self.devices)


@dataclass(frozen=True)
class ModelStatus:
    """What an engine knows of a model without working for it.

    Attributes:
        pace: None while it is not loaded.
        how: by what means windows are hidden, in words; "" while that is not known.
    """

    state: LoadState
    pace: Pace | None = None
    how: str = ""


class Engine(Protocol):
    """Where networks run. Every call may come from any thread.

    Work waits for a device in turns that are fair between sessions (``ctx.session``), and raises Busy where too much
    waits already.
    """

    def cards(self) -> Mapping[str, ModelCard]: ...

    def faults(self) -> tuple[ModelFault, ...]: ...

    def rescan(self) -> None:
        """Look through the model folders again: one added is found, one removed or changed is let go."""
        ...

    def state(self, model_id: str) -> LoadState: ...

    def status(self, model_id: str) -> ModelStatus:
        """Does not load the model, and does not wait."""
        ...

    def inspect(self, model_id: str) -> Inspection: ...

    def layers(self, model_id: str) -> tuple[str, ...]: ...

    def unsupported(self, model_id: str) -> Mapping[str, str]:
        """Methods that cannot explain this model, with the reason."""
        ...

    def predict(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        """Scores of plane images, in order; a few at a time share a pass with those that other sessions ask for."""
        ...

    def expect_many(self, model_id: str) -> None:
        """Hundreds of images are to be scored: it pays to make ready for them."""
        ...

    def key(self, request: ExplainRequest) -> str: ...

    def expect(self, request: ExplainRequest) -> None:
        """The request will come soon: make ready for it in the background."""
        ...

    def forecast(self, model_id: str, method: str, params: Mapping[str, ParamValue]) -> float:
        """Seconds the method will take on this model, from what its passes took; 0 while it is not loaded. Does not wait."""
        ...

    def how(self, model_id: str, method: str) -> str:
        """By what means the method runs on this machine and why, in words; "" while that is not known."""
        ...

    def explain(self, request: ExplainRequest, ctx: RunContext) -> Explanation:
        """One explanation; what can be shown on the way goes to ``ctx.show``."""
        ...

    def explain_targets(
        self, request: ExplainRequest, targets: Sequence[Target], ctx: RunContext
    ) -> tuple[Explanation, ...]:
        """The request for several targets, which share the passes of the network; its own target does not count."""
        ...

    def judge(self, request: JudgeRequest, ctx: RunContext) -> Verdicts:
        """Every check of every map; what is found on the way goes to ``ctx.show`` as ``Verdicts``, coarse ones first."""
        ...

    def judging_s(self, requests: Sequence[ExplainRequest]) -> float:
        """Seconds that checking maps of such requests will take; 0 while the model is not loaded. Does not wait."""
        ...

    def hidden(
        self,
        model_id: str,
        image: Image,
        boxes: NDArray[np.int64],
        fill: str,
        channels: tuple[int, int] | None,
        ctx: RunContext,
    ) -> FloatArray:
        """Logits (n, K) of a plane image with one box (top, left, height, width on the input grid) at a time hidden.

        Args:
            fill: what hides, as of occlusion.
            channels: first and stop of those that are hidden; None for all.
        """
        ...

    def covered(
        self, model_id: str, image: Image, masks: Sequence[NDArray[np.bool_]], fill: str, ctx: RunContext
    ) -> FloatArray:
        """Logits (n, K) of a plane image with one (H, W) mask of it at a time covered.

        Args:
            fill: what covers, as of occlusion.
        """
        ...

    def features(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> FloatArray:
        """(n, D) float32, what the network's last layer reads of each image; D is 0 where it reads no such vector."""
        ...

    def health(self) -> Health:
        """Does not wait."""
        ...

    def close(self) -> None: ...


_digests: WeakKeyDictionary[Image, dict[tuple[int, float], str]] = WeakKeyDictionary()


def image_digest(image: Image, spec: InputSpec) -> str:
    """SHA-256 of everything of an image that a network can see: values, default window, pixel shape, polarity.

    For a network of several slices the values include the neighbours. An image is immutable, so each object is
    hashed once.
    """
    known = _digests.setdefault(image, {})
    sees = (spec.slices, spec.slice_step_mm if spec.slices > 1 else 0.0)
    if sees not in known:
        known[sees] = _digest(image, stack(image, spec))
    return known[sees]


def _digest(image: Image, values: FloatArray) -> str:
    window = image.windows[0]
    facts: list[Any] = [image.unit, str(image.modality), image.inverted]
    facts += [image.geometry is None, image.plane_spacing, values.shape]
    facts += [window.center, window.width, window.shape, window.table]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def request_key(request: ExplainRequest, card: ModelCard, params: Mapping[str, ParamValue]) -> str:
    """The content address of a result: equal exactly when the answer must be equal."""
    target = request.target
    facts: dict[str, Any] = {
        "code": CODE_VERSION,
        "image": image_digest(request.image, card.input.spec),
        "weights": card.weights.sha256,
        "architecture": [card.architecture, dict(card.architecture_args)],
        "input": card.input_digest,
        "method": request.method,
        "params": dict(params),
        "target": [target.index, target.output, target.activation, target.against_index],
        "seed": request.seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

"""The engine in this process: loads networks when first asked, divides devices between sessions."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dashboard.serving import judging
from dashboard.serving.devices import Device, Loaded
from dashboard.serving.traffic import Books
from dashboard.serving.turns import Turn
from dashboard.serving.types import (
    ExplainRequest,
    Explanation,
    Health,
    JudgeRequest,
    LoadState,
    ModelFault,
    ModelStatus,
    Verdicts,
    Work,
    image_digest,
    request_key,
)
from explainers import EXPLAINERS
from explainers.quality.masks import cover
from explainers.runtime.choices import Choices
from explainers.runtime.memory import few_heaps
from explainers.types import Attribution, ParamValue
from explainers.volume import hide
from models.card import ModelCard, find_cards
from models.context import RunContext
from models.errors import Cancelled, ExplainError, ModelError, SightlineError, Unavailable
from models.inspect import Inspection
from models.types import FloatArray, Image, Prediction, Target

FEW = 4  # inputs: images that share a pass with those of other sessions, and maps so cheap that they go before others


class LocalEngine:
    """See :class:`dashboard.serving.types.Engine`.

    Args:
        folders: where model folders are looked for.
        device: "cpu", "cuda:0" ...; several, separated by commas, share the work.
        choices: folder for what was measured of the networks on this machine; None to measure in each process.
        models_mb: megabytes of networks on one device; None for half of the memory that is free at the start.
    """

    def __init__(
        self, folders: Sequence[Path], device: str = "cpu", choices: Path | None = None, models_mb: int | None = None
    ) -> None:
        few_heaps()
        self._folders = tuple(folders)
        measured = Choices(choices)
        self._devices = [Device(name.strip(), measured, models_mb) for name in device.split(",")]
        self._books = Books()
        self._cards: dict[str, ModelCard] = {}
        self._broken: dict[str, SightlineError] = {}
        self._lock = threading.Lock()
        self.rescan()

    def rescan(self) -> None:
        cards, wrong = find_cards(self._folders)
        with self._lock:
            changed = [name for name, card in self._cards.items() if cards.get(name) != card]
            self._broken.clear()
            self._cards = cards
            self._faults = {name: ModelFault(name, message) for name, message in wrong.items()}
        for name in changed:
            for device in self._devices:
                device.drop(name)

    def cards(self) -> Mapping[str, ModelCard]:
        return dict(self._cards)

    def faults(self) -> tuple[ModelFault, ...]:
        return tuple(self._faults.values())

    def state(self, model_id: str) -> LoadState:
        if model_id in self._broken:
            return "failed"
        return "on disk" if self._known(model_id) is None else "loaded"

    def status(self, model_id: str) -> ModelStatus:
        model = self._known(model_id)
        if model is None:
            return ModelStatus(self.state(model_id))
        return ModelStatus("loaded", model.pace, "" if model.choice is None else model.choice.words)

    def inspect(self, model_id: str) -> Inspection:
        with self._model(model_id) as (_, model):
            return model.inspection

    def layers(self, model_id: str) -> tuple[str, ...]:
        with self._model(model_id) as (_, model):
            return model.layers

    def unsupported(self, model_id: str) -> Mapping[str, str]:
        with self._model(model_id) as (_, model):
            return model.unsupported

    def predict(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        if len(images) > FEW:
            with self._work(model_id, "scores", ctx) as model:
                return model.predict(images, ctx)
        with self._model(model_id) as (_, model), self._booked("scores", ctx) as turns:
            found, turn = model.shared.predict(images, ctx)
            turns.append(turn)
            return found

    def expect_many(self, model_id: str) -> None:
        with self._model(model_id) as (_, model):
            model.expect_many()

    def key(self, request: ExplainRequest) -> str:
        return request_key(request, self._card(request.model_id), self._params(request))

    def explain(self, request: ExplainRequest, ctx: RunContext) -> Explanation:
        """Raises ExplainError, ModelError, DataError, Busy or Cancelled."""
        (found,) = self.explain_targets(request, [request.target], ctx)
        return found

    def explain_targets(
        self, request: ExplainRequest, targets: Sequence[Target], ctx: RunContext
    ) -> tuple[Explanation, ...]:
        """The request for several targets, which share the passes of the network; its own target does not count."""
        params = self._params(request)
        explainer = EXPLAINERS.get(request.method, ExplainError)
        size = self._card(request.model_id).input
        quick = explainer.spec.cost(params, (size.height, size.width)) <= FEW
        with self._work(request.model_id, "explanation", ctx, quick) as model:
            prepared = model.exact.prepare(request.image)
            ctx.total = max(1, explainer.spec.cost(params, prepared.grid_shape))

            def explanations(attributions: Sequence[Attribution]) -> tuple[Explanation, ...]:
                about = self._provenance(request, model)
                if explainer.spec.family == "perturbation" and model.choice is not None:
                    about["windows by"] = model.choice.name
                where, shape = prepared.grid_to_image, prepared.image_shape
                return tuple(Explanation(one, where, shape, about) for one in attributions)

            with model.passes(ctx, lambda partial: ctx.show(explanations(partial)[0])) as passes:
                with passes.network() as module:
                    support = explainer.supports(module, str(params.get("layer", "")))
                if not support.ok:
                    raise ExplainError(support.reason)
                return explanations(explainer.explain(passes, prepared, targets, params, request.seed))

    def judge(self, request: JudgeRequest, ctx: RunContext) -> Verdicts:
        if not request.maps:
            raise ExplainError("There is no map to check; give one or more.")
        with self._work(request.maps[0][0].model_id, "checks", ctx) as model:
            return judging.judge(model, request, ctx)

    def judging_s(self, requests: Sequence[ExplainRequest]) -> float:
        model = self._known(requests[0].model_id) if requests else None
        return 0.0 if model is None else judging.forecast(model.pace, model.card.input.spec.channels, requests)

    def hidden(
        self,
        model_id: str,
        image: Image,
        boxes: NDArray[np.int64],
        fill: str,
        channels: tuple[int, int] | None,
        ctx: RunContext,
    ) -> FloatArray:
        with self._work(model_id, "other", ctx) as model, model.passes(ctx) as passes:
            return hide(passes, model.exact.prepare(image), boxes, fill, channels)

    def covered(
        self, model_id: str, image: Image, masks: Sequence[NDArray[np.bool_]], fill: str, ctx: RunContext
    ) -> FloatArray:
        with self._work(model_id, "other", ctx) as model, model.passes(ctx) as passes:
            return cover(passes, model.exact.prepare(image), masks, fill)

    def features(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> FloatArray:
        with self._work(model_id, "other", ctx) as model:
            return model.features(images, ctx)

    def expect(self, request: ExplainRequest) -> None:
        model = self._known(request.model_id)
        if model is not None and EXPLAINERS.get(request.method, ExplainError).spec.family == "perturbation":
            model.start()

    def forecast(self, model_id: str, method: str, params: Mapping[str, ParamValue]) -> float:
        spec, model = EXPLAINERS.get(method, ExplainError).spec, self._known(model_id)
        return 0.0 if model is None else model.pace.forecast(spec, spec.resolve(params))

    def how(self, model_id: str, method: str) -> str:
        spec = EXPLAINERS.get(method, ExplainError).spec
        return self.status(model_id).how if spec.family == "perturbation" else ""

    def health(self) -> Health:
        devices = tuple(device.health() for device in self._devices)
        models = tuple(model for device in self._devices for model in device.models())
        return Health(devices, models, self._books.recent())

    def close(self) -> None:
        for device in self._devices:
            device.close()

    def _card(self, model_id: str) -> ModelCard:
        if model_id not in self._cards:
            raise ModelError(f"There is no model {model_id!r}; known: {', '.join(self._cards) or 'none'}.")
        return self._cards[model_id]

    def _known(self, model_id: str) -> Loaded | None:
        """The network where it is loaded."""
        return next((model for device in self._devices if (model := device.get(model_id)) is not None), None)

    @contextmanager
    def _model(self, model_id: str) -> Iterator[tuple[Device, Loaded]]:
        """Loaded once a device, however many sessions ask; one that cannot be loaded says so again without trying."""
        card = self._card(model_id)
        with self._lock:
            known = self._broken.get(model_id)
        if known is not None:  # a new one each time: what was raised holds on to the work it ended
            raise type(known)(str(known))
        device = min(self._devices, key=lambda one: _load(one, model_id))
        entered = False
        try:
            with device.using(card) as model:
                entered = True
                yield device, model
        except (ModelError, Unavailable) as error:
            if not entered:
                self._broken[model_id] = type(error)(str(error))
            raise

    @contextmanager
    def _work(self, model_id: str, kind: Work, ctx: RunContext, quick: bool = False) -> Iterator[Loaded]:
        """The network and its device, in turn; ``quick`` as of :meth:`dashboard.serving.turns.Turns.turn`."""
        with (
            self._model(model_id) as (device, model),
            self._booked(kind, ctx) as turns,
            device.turns.turn(ctx, kind, quick and not ctx.background) as turn,
        ):
            turns.append(turn)
            yield model

    @contextmanager
    def _booked(self, kind: Work, ctx: RunContext) -> Iterator[list[Turn]]:
        """Enter in the books what comes of the work; the list takes its turn."""
        turns: list[Turn] = []
        outcome, before = "failed", ctx.ticks
        try:
            yield turns
            outcome = "done"
        except Cancelled:
            outcome = "stopped"
            raise
        finally:
            waited, worked = sum(turn.waited_s for turn in turns), sum(turn.worked_s for turn in turns)
            self._books.add(kind, outcome, ctx.ticks - before, waited, worked)

    def _params(self, request: ExplainRequest) -> dict[str, ParamValue]:
        """Resolved parameters, the empty layer replaced by this model's default."""
        params = EXPLAINERS.get(request.method, ExplainError).spec.resolve(request.params)
        if params.get("layer") == "":
            with self._model(request.model_id) as (_, model):
                params["layer"] = model.default_layer
        return params

    def _provenance(self, request: ExplainRequest, model: Loaded) -> dict[str, str]:
        card = model.card
        return {
            "model": card.id,
            "model version": card.version,
            "weights sha256": card.weights.sha256,
            "image sha256": image_digest(request.image, card.input.spec),
            "device": str(model.exact.device),
            "torch": version("torch"),
            "python": platform.python_version(),
        }


def _load(device: Device, model_id: str) -> float:
    """How long work with that network would wait there, in pieces of work; to load one counts for two."""
    waiting = device.turns.waiting + (device.turns.working is not None)
    return waiting + (0 if device.get(model_id) is not None else 2)

"""The engine in this process: loads networks when first asked, explains on one device."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dashboard.serving import judging
from dashboard.serving.types import (
    DeviceHealth,
    ExplainRequest,
    Explanation,
    Health,
    JudgeRequest,
    LoadState,
    ModelFault,
    ModelStatus,
    Verdicts,
    image_digest,
    request_key,
)
from explainers import EXPLAINERS
from explainers.quality.masks import cover
from explainers.runtime.choices import Choices
from explainers.runtime.memory import free_bytes
from explainers.runtime.model import PreparedModel
from explainers.types import Attribution, ParamValue
from explainers.volume import hide
from models.card import ModelCard, find_cards
from models.context import RunContext
from models.errors import ExplainError, ModelError, SightlineError
from models.handle import ModelHandle
from models.inspect import Inspection, inspect
from models.types import FloatArray, Image, Prediction, Target


class _Loaded(PreparedModel):
    """A prepared network, and what is known of it.

    Attributes:
        inspection: its size and layers.
        unsupported: methods that cannot explain this network, with the reason.
    """

    inspection: Inspection
    unsupported: dict[str, str]

    def learn(self, module: nn.Module) -> None:
        self.inspection = inspect(module, self.probe)
        answers = {method.spec.id: method.supports(module, self.default_layer) for method in EXPLAINERS}
        self.unsupported = {method: answer.reason for method, answer in answers.items() if not answer.ok}


class LocalEngine:
    """See :class:`dashboard.serving.types.Engine`.

    Args:
        folders: where model folders are looked for.
        device: "cpu", "cuda:0" ...
        choices: folder for what was measured of the networks on this machine; None to measure in each process.
    """

    def __init__(self, folders: Sequence[Path], device: str = "cpu", choices: Path | None = None) -> None:
        self._folders = tuple(folders)
        self._device = device
        self._choices = Choices(choices)
        self._cards: dict[str, ModelCard] = {}
        self._loaded: dict[str, _Loaded] = {}
        self._broken: dict[str, SightlineError] = {}
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.rescan()

    def rescan(self) -> None:
        cards, wrong = find_cards(self._folders)
        with self._lock:
            changed = [name for name, card in self._cards.items() if cards.get(name) != card]
            gone = [self._loaded.pop(name) for name in changed if name in self._loaded]
            self._broken.clear()
            self._cards = cards
            self._faults = {name: ModelFault(name, message) for name, message in wrong.items()}
        for model in gone:
            model.close()

    def cards(self) -> Mapping[str, ModelCard]:
        return dict(self._cards)

    def faults(self) -> tuple[ModelFault, ...]:
        return tuple(self._faults.values())

    def state(self, model_id: str) -> LoadState:
        if model_id in self._broken:
            return "failed"
        return "loaded" if model_id in self._loaded else "on disk"

    def inspect(self, model_id: str) -> Inspection:
        return self._model(model_id).inspection

    def layers(self, model_id: str) -> tuple[str, ...]:
        return self._model(model_id).layers

    def unsupported(self, model_id: str) -> Mapping[str, str]:
        return self._model(model_id).unsupported

    def predict(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        return self._model(model_id).predict(images, ctx)

    def expect_many(self, model_id: str) -> None:
        self._model(model_id).expect_many()

    def key(self, request: ExplainRequest) -> str:
        return request_key(request, self._card(request.model_id), self._params(request))

    def explain(self, request: ExplainRequest, ctx: RunContext) -> Explanation:
        """Raises ExplainError, ModelError, DataError or Cancelled."""
        (found,) = self.explain_targets(request, [request.target], ctx)
        return found

    def explain_targets(
        self, request: ExplainRequest, targets: Sequence[Target], ctx: RunContext
    ) -> tuple[Explanation, ...]:
        """The request for several targets, which share the passes of the network; its own target does not count."""
        card, model = self._card(request.model_id), self._model(request.model_id)
        params = self._params(request)
        explainer = EXPLAINERS.get(request.method, ExplainError)
        prepared = model.exact.prepare(request.image)
        ctx.total = max(1, explainer.spec.cost(params, prepared.grid_shape))

        def explanations(attributions: Sequence[Attribution]) -> tuple[Explanation, ...]:
            about = self._provenance(request, card)
            if explainer.spec.family == "perturbation" and model.choice is not None:
                about["windows by"] = model.choice.name
            return tuple(Explanation(one, prepared.grid_to_image, prepared.image_shape, about) for one in attributions)

        with model.passes(ctx, lambda partial: ctx.show(explanations(partial)[0])) as passes:
            support = explainer.supports(passes.module, str(params.get("layer", "")))
            if not support.ok:
                raise ExplainError(support.reason)
            return explanations(explainer.explain(passes, prepared, targets, params, request.seed))

    def judge(self, request: JudgeRequest, ctx: RunContext) -> Verdicts:
        if not request.maps:
            raise ExplainError("There is no map to check; give one or more.")
        return judging.judge(self._model(request.maps[0][0].model_id), request, ctx)

    def judging_s(self, requests: Sequence[ExplainRequest]) -> float:
        model = self._loaded.get(requests[0].model_id) if requests else None
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
        model = self._model(model_id)
        with model.passes(ctx) as passes:
            return hide(passes, model.exact.prepare(image), boxes, fill, channels)

    def covered(
        self, model_id: str, image: Image, masks: Sequence[NDArray[np.bool_]], fill: str, ctx: RunContext
    ) -> FloatArray:
        model = self._model(model_id)
        with model.passes(ctx) as passes:
            return cover(passes, model.exact.prepare(image), masks, fill)

    def features(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> FloatArray:
        return self._model(model_id).features(images, ctx)

    def expect(self, request: ExplainRequest) -> None:
        model = self._loaded.get(request.model_id)
        if model is not None and EXPLAINERS.get(request.method, ExplainError).spec.family == "perturbation":
            model.start()

    def forecast(self, model_id: str, method: str, params: Mapping[str, ParamValue]) -> float:
        spec, model = EXPLAINERS.get(method, ExplainError).spec, self._loaded.get(model_id)
        return 0.0 if model is None else model.pace.forecast(spec, spec.resolve(params))

    def how(self, model_id: str, method: str) -> str:
        spec = EXPLAINERS.get(method, ExplainError).spec
        model = self._loaded.get(model_id)
        return "" if model is None or spec.family != "perturbation" or model.choice is None else model.choice.words

    def status(self, model_id: str) -> ModelStatus:
        model = self._loaded.get(model_id)
        if model is None:
            return ModelStatus(self.state(model_id))
        return ModelStatus("loaded", model.pace, "" if model.choice is None else model.choice.words)

    def health(self) -> Health:
        free = free_bytes(torch.device(self._device))
        return Health((DeviceHealth(self._device, free, None, 0, 0, 0, ""),))

    def close(self) -> None:
        with self._lock:
            loaded = list(self._loaded.values())
            self._loaded.clear()
        for model in loaded:
            model.close()

    def _card(self, model_id: str) -> ModelCard:
        if model_id not in self._cards:
            raise ModelError(f"There is no model {model_id!r}; known: {', '.join(self._cards) or 'none'}.")
        return self._cards[model_id]

    def _model(self, model_id: str) -> _Loaded:
        """Loaded once, however many sessions ask; a model that cannot be loaded says so again without trying."""
        card = self._card(model_id)
        with self._lock:
            loading = self._loading.setdefault(model_id, threading.Lock())
        with loading:  # another model can be loaded or used meanwhile
            if model_id in self._broken:
                raise self._broken[model_id]
            known = self._loaded.get(model_id)
            if known is None or known.card != card:  # changed while it was being loaded
                try:
                    self._loaded[model_id] = _Loaded(ModelHandle.load(card, self._device), self._choices)
                except SightlineError as error:
                    self._broken[model_id] = error
                    raise
            return self._loaded[model_id]

    def _params(self, request: ExplainRequest) -> dict[str, ParamValue]:
        """Resolved parameters, the empty layer replaced by this model's default."""
        params = EXPLAINERS.get(request.method, ExplainError).spec.resolve(request.params)
        if params.get("layer") == "":
            params["layer"] = self._model(request.model_id).default_layer
        return params

    def _provenance(self, request: ExplainRequest, card: ModelCard) -> dict[str, str]:
        return {
            "model": card.id,
            "model version": card.version,
            "weights sha256": card.weights.sha256,
            "image sha256": image_digest(request.image, card.input.spec),
            "device": self._device,
            "torch": version("torch"),
            "python": platform.python_version(),
        }

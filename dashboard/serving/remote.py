"""The engine of a server, asked over HTTP: to whoever uses it, no different from one in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dashboard.serving import judging, protocol
from dashboard.serving.protocol import (
    OPERATIONS,
    AskCovered,
    AskExplanations,
    AskHidden,
    AskImages,
    AskModel,
    AskVerdicts,
    Described,
    Kind,
)
from dashboard.serving.remote_line import Line
from dashboard.serving.remote_watch import Watch
from dashboard.serving.types import (
    ExplainRequest,
    Explanation,
    Health,
    JudgeRequest,
    LoadState,
    ModelFault,
    ModelStatus,
    Verdicts,
    request_key,
)
from dashboard.serving.wire import decode, encode
from explainers import EXPLAINERS
from explainers.types import ParamValue
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError, ExplainError, ModelError, SightlineError
from models.inspect import Inspection
from models.preprocess import prepare
from models.types import FloatArray, Image, Prediction, Target

T = TypeVar("T")
PART_BYTES = 32 * 2**20  # of values in one request; larger questions are asked in parts
PART_IMAGES = 64
FAILED_S = 5.0  # that a model which cannot be loaded is not asked for again


class RemoteEngine:
    """See :class:`dashboard.serving.types.Engine`.

    What a page asks several times a second is answered from what the server said last, at most ``STALE_S`` ago while it
    answers.

    Args:
        address: "http://host:port".
        token: that the server asks for; "" for none.
        cache: folder in which the server's model folders are mirrored, without their weights.
        patience_s: how long the server may be away before work that waits for it fails.
    """

    def __init__(self, address: str, token: str, cache: Path, patience_s: float = 60.0) -> None:
        self._line = Line(address, token, patience_s)
        self._watch = Watch(self._line, cache / "served")
        self._described: dict[str, Described] = {}
        self._failed: dict[str, tuple[float, SightlineError]] = {}
        self._lock = threading.Lock()

    def rescan(self) -> None:
        with self._lock:
            self._failed.clear()
        self._watch.rescan()

    def cards(self) -> Mapping[str, ModelCard]:
        return dict(self._watch.cards())

    def faults(self) -> tuple[ModelFault, ...]:
        return self._watch.faults()

    def state(self, model_id: str) -> LoadState:
        return self.status(model_id).state

    def status(self, model_id: str) -> ModelStatus:
        return self._watch.status(model_id)

    def health(self) -> Health:
        return self._watch.health()

    def inspect(self, model_id: str) -> Inspection:
        return self._about(model_id).inspection

    def layers(self, model_id: str) -> tuple[str, ...]:
        return self._about(model_id).layers

    def unsupported(self, model_id: str) -> Mapping[str, str]:
        return self._about(model_id).unsupported

    def predict(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        card = self._card(model_id)
        given = [self._lean(image, card) for image in images]
        found: list[Prediction] = []
        for part in _parts(given, [image.values.nbytes for image in given]):
            found += self._ask("predict", card, AskImages(model_id, tuple(part)), ctx, len(part))
        return tuple(found)

    def features(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> FloatArray:
        card = self._card(model_id)
        given = [self._lean(image, card) for image in images]
        parts = _parts(given, [image.values.nbytes for image in given])
        return np.concatenate(
            [self._ask("features", card, AskImages(model_id, tuple(part)), ctx, len(part)) for part in parts]
        )

    def expect_many(self, model_id: str) -> None:
        self._ask("expect-many", self._card(model_id), AskModel(model_id), RunContext())

    def expect(self, request: ExplainRequest) -> None:
        """Nothing to do: the server makes ready as soon as the request is there."""

    def key(self, request: ExplainRequest) -> str:
        return request_key(request, self._card(request.model_id), self._params(request))

    def explain(self, request: ExplainRequest, ctx: RunContext) -> Explanation:
        """Raises ExplainError, ModelError, DataError, Busy, Unavailable or Cancelled."""
        (found,) = self.explain_targets(request, [request.target], ctx)
        return found

    def explain_targets(
        self, request: ExplainRequest, targets: Sequence[Target], ctx: RunContext
    ) -> tuple[Explanation, ...]:
        """The request for several targets, which share the passes of the network; its own target does not count."""
        card = self._card(request.model_id)
        self._params(request)  # what is wrong with them is said without asking the server
        asked = replace(request, image=self._lean(request.image, card))
        found: tuple[Explanation, ...] = self._ask("explain", card, AskExplanations(asked, tuple(targets)), ctx)
        return found

    def judge(self, request: JudgeRequest, ctx: RunContext) -> Verdicts:
        if not request.maps:
            raise ExplainError("There is no map to check; give one or more.")
        card = self._card(request.maps[0][0].model_id)
        lean = _once(lambda image: self._lean(image, card))
        maps = tuple((replace(asked, image=lean(asked.image)), done) for asked, done in request.maps)
        found: Verdicts = self._ask("judge", card, AskVerdicts(card.id, replace(request, maps=maps)), ctx)
        return found

    def hidden(
        self,
        model_id: str,
        image: Image,
        boxes: NDArray[np.int64],
        fill: str,
        channels: tuple[int, int] | None,
        ctx: RunContext,
    ) -> FloatArray:
        card = self._card(model_id)
        asked = AskHidden(model_id, self._lean(image, card), np.asarray(boxes, np.int64), fill, channels)
        found: FloatArray = self._ask("hidden", card, asked, ctx, len(boxes))
        return found

    def covered(
        self, model_id: str, image: Image, masks: Sequence[NDArray[np.bool_]], fill: str, ctx: RunContext
    ) -> FloatArray:
        card = self._card(model_id)
        given = self._lean(image, card)
        parts = _parts(masks, [mask.nbytes // 8 for mask in masks], most=len(masks))
        found = [
            self._ask("covered", card, AskCovered(model_id, given, tuple(part), fill), ctx, len(part)) for part in parts
        ]
        return np.concatenate(found)

    def forecast(self, model_id: str, method: str, params: Mapping[str, ParamValue]) -> float:
        spec, pace = EXPLAINERS.get(method, ExplainError).spec, self.status(model_id).pace
        return 0.0 if pace is None else pace.forecast(spec, spec.resolve(params))

    def judging_s(self, requests: Sequence[ExplainRequest]) -> float:
        pace = self.status(requests[0].model_id).pace if requests else None
        if pace is None:
            return 0.0
        return judging.forecast(pace, self._card(requests[0].model_id).input.spec.channels, requests)

    def how(self, model_id: str, method: str) -> str:
        spec = EXPLAINERS.get(method, ExplainError).spec
        return self.status(model_id).how if spec.family == "perturbation" else ""

    def close(self) -> None:
        self._watch.close()
        self._line.close()

    def _card(self, model_id: str) -> ModelCard:
        cards = self._watch.cards()
        if model_id not in cards:
            self._watch.insist()  # without a server nothing is known of its models
            cards = self._watch.cards()
        if model_id not in cards:
            raise ModelError(f"There is no model {model_id!r}; known: {', '.join(cards) or 'none'}.")
        return cards[model_id]

    def _about(self, model_id: str) -> Described:
        """Asked once; a model that cannot be loaded is asked for again after a while."""
        card = self._card(model_id)
        stamp = protocol.stamp(card)
        with self._lock:
            known, (failed_at, error) = self._described.get(stamp), self._failed.get(stamp, (0.0, None))
        if known is not None:
            return known
        if error is not None and time.monotonic() - failed_at < FAILED_S:
            raise error
        try:
            found: Described = self._ask("describe", card, AskModel(model_id), RunContext())
        except SightlineError as error:
            with self._lock:
                self._failed[stamp] = time.monotonic(), error
            raise
        with self._lock:
            self._described[stamp] = found
        return found

    def _params(self, request: ExplainRequest) -> dict[str, ParamValue]:
        """Resolved parameters, the empty layer replaced by this model's default."""
        params = EXPLAINERS.get(request.method, ExplainError).spec.resolve(request.params)
        if params.get("layer") == "":
            params["layer"] = next(iter(self._about(request.model_id).layers), "")
        return params

    @staticmethod
    def _lean(image: Image, card: ModelCard) -> Image:
        if image.is_volume:
            prepare(image, card.input.spec)  # which says what is wrong
        return protocol.lean(image, card.input.spec)

    def _ask(self, operation: str, card: ModelCard, question: Any, ctx: RunContext, ticks: int = 0) -> Any:
        """The answer; what comes on the way goes to ``ctx``.

        Args:
            ticks: that the work is worth, where it has no total of its own.
        """
        body, limit = encode(question), self._watch.request_mb
        if len(body) > limit * protocol.MB:
            raise DataError(protocol.too_large(limit))
        kinds = OPERATIONS[operation]
        reached = 0

        def tell(kind: Kind, payload: bytes) -> None:
            nonlocal reached
            if kind is Kind.WAITING:
                ctx.wait(protocol.read_waiting(payload))
            elif kind is Kind.PARTIAL:
                ctx.show(decode(payload, kinds.shows))
            elif kind is Kind.PROGRESS:
                count, total = protocol.read_progress(payload)
                if kinds.counts:
                    ctx.total = total
                if count > reached:  # not so for a while after work had to begin anew
                    ctx.tick(count - reached)
                    reached = count

        about = {protocol.NAME_HEADER: card.id, protocol.CARD_HEADER: protocol.stamp(card)}
        if self._watch.idle_with(card.id):
            about[protocol.MODEL_HEADER] = card.id
        try:
            answer = decode(self._line.ask(operation, body, about, ctx, tell), kinds.answers)
        except ModelError:
            self._watch.refresh()  # the model may have been changed
            raise
        if self._watch.status(card.id).state != "loaded":
            self._watch.refresh()
        worth = ctx.total if kinds.counts else ticks
        ctx.tick(max(0, worth - reached))
        return answer


def _parts(items: Sequence[T], sizes: Sequence[int], most: int = PART_IMAGES) -> list[Sequence[T]]:
    """Neighbours together, as many as go into one request; one at least."""
    parts: list[Sequence[T]] = []
    start = held = 0
    for index, size in enumerate(sizes):
        if index > start and (held + size > PART_BYTES or index - start >= most):
            parts.append(items[start:index])
            start, held = index, 0
        held += size
    return [*parts, items[start:]]


def _once(make: Callable[[Image], Image]) -> Callable[[Image], Image]:
    """The same object for the same one, so that its values are sent once."""
    made: dict[int, Image] = {}

    def known(image: Image) -> Image:
        if id(image) not in made:
            made[id(image)] = make(image)
        return made[id(image)]

    return known

"""How each operation of a server is done by its engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dashboard.jobs.store import ResultStore
from dashboard.serving.protocol import (
    AskCovered,
    AskExplanations,
    AskHidden,
    AskImages,
    AskModel,
    AskVerdicts,
    Described,
)
from dashboard.serving.types import Engine, Explanation, Verdicts
from models.context import RunContext
from models.types import FloatArray, Prediction

log = logging.getLogger(__name__)


class Answers:
    """Every method waits for a device, and raises what the engine raises.

    Args:
        store: explanations that any process with this folder made are found in it, and put there.
    """

    def __init__(self, engine: Engine, store: ResultStore) -> None:
        self._engine, self._store = engine, store
        self.by_operation: Mapping[str, Callable[[Any, RunContext], Any]] = {
            "predict": self._predict,
            "features": self._features,
            "explain": self._explain,
            "judge": self._judge,
            "hidden": self._hidden,
            "covered": self._covered,
            "describe": self._describe,
            "expect-many": self._expect_many,
        }

    def _predict(self, ask: AskImages, ctx: RunContext) -> tuple[Prediction, ...]:
        return self._engine.predict(ask.model_id, ask.images, ctx)

    def _features(self, ask: AskImages, ctx: RunContext) -> FloatArray:
        return self._engine.features(ask.model_id, ask.images, ctx)

    def _explain(self, ask: AskExplanations, ctx: RunContext) -> tuple[Explanation, ...]:
        keys = [self._engine.key(replace(ask.request, target=target)) for target in ask.targets]
        known = [self._store.get(key) for key in keys]
        found = tuple(one for one in known if one is not None)
        if len(found) == len(keys):
            return found
        self._engine.expect(ask.request)
        made = self._engine.explain_targets(ask.request, ask.targets, ctx)
        for key, explanation in zip(keys, made, strict=True):
            try:
                self._store.put(key, explanation)
            except OSError as error:  # costs the next who asks some time, not this one the map
                log.warning("A result could not be stored (%s); free some disk space.", type(error).__name__)
        return made

    def _judge(self, ask: AskVerdicts, ctx: RunContext) -> Verdicts:
        return self._engine.judge(ask.request, ctx)

    def _hidden(self, ask: AskHidden, ctx: RunContext) -> FloatArray:
        return self._engine.hidden(ask.model_id, ask.image, ask.boxes, ask.fill, ask.channels, ctx)

    def _covered(self, ask: AskCovered, ctx: RunContext) -> FloatArray:
        return self._engine.covered(ask.model_id, ask.image, ask.masks, ask.fill, ctx)

    def _describe(self, ask: AskModel, ctx: RunContext) -> Described:
        engine, model_id = self._engine, ask.model_id
        return Described(engine.layers(model_id), dict(engine.unsupported(model_id)), engine.inspect(model_id))

    def _expect_many(self, ask: AskModel, ctx: RunContext) -> None:
        self._engine.expect_many(ask.model_id)

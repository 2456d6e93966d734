"""Cohorts and engines with a known make: networks that read one number of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.table import AuditTable, Rows
from dashboard.hunting.cohort import Cohort
from dashboard.images import ImageFolder
from dashboard.serving.types import Engine, ExplainRequest, Explanation
from explainers.types import Attribution
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError
from models.types import FloatArray, Image, Prediction, Target
from tests.conftest import card_fields

NO_FOLDER = cast(ImageFolder, None)


def made_card(classes: Sequence[str] = ("Alpha",), **changes: Any) -> ModelCard:
    weights = {"file": "weights.safetensors", "sha256": "a" * 64}
    return ModelCard(**card_fields(classes=list(classes), weights=weights, target_layers=[], **changes))


@dataclass(frozen=True, eq=False)
class MadeCohort(Cohort):
    """Pictures in memory, by row of the table; None cannot be read."""

    pictures: Sequence[Image | None] = ()

    def image(self, number: int) -> Image:
        found = self.pictures[int(self.rows[number])]
        if found is None:
            raise DataError("unreadable")
        return found


def made_cohort(
    table: AuditTable, card: ModelCard, pictures: Sequence[Image | None] = (), rows: Rows | None = None
) -> MadeCohort:
    return MadeCohort(table, NO_FOLDER, card, np.arange(len(table)) if rows is None else rows, pictures)


@dataclass(eq=False)
class Reader:
    """An engine whose logits are a function of the displayed picture, and whose maps are the picture itself."""

    card: ModelCard
    logits: Callable[[FloatArray], NDArray[np.float64]]
    seen: list[Image] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)

    def as_engine(self) -> Engine:
        return cast(Engine, self)

    def predict(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        ctx.tick(len(images))
        self.seen += images
        found = []
        for image in images:
            logits = self.logits(image.display()).astype(np.float32)
            scores = self.card.probabilities(logits)
            found.append(Prediction(model_id, self.card.classes, logits, scores, self.card.threshold_array, False))
        return tuple(found)

    def explain_targets(
        self, request: ExplainRequest, targets: Sequence[Target], ctx: RunContext
    ) -> tuple[Explanation, ...]:
        self.explained += [target.name for target in targets]
        values = request.image.display().mean(axis=0, keepdims=True).astype(np.float32)
        return tuple(
            Explanation(
                Attribution(request.method, request.method, target, values, True, "logit", {}, 0, 0.0),
                np.eye(3),
                values.shape[1:],
                {},
            )
            for target in targets
        )

    def features(self, model_id: str, images: Sequence[Image], ctx: RunContext) -> FloatArray:
        return np.stack([image.display().ravel() for image in images]).astype(np.float32)

"""An engine whose network reads two places of a grey picture, so that every answer is known by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from numpy.typing import NDArray

from dashboard.audit.reading import build, guess
from dashboard.audit.table import AuditTable
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.types import ExplainRequest, Explanation, image_digest
from explainers.types import Attribution
from models.card import ModelCard
from models.context import RunContext
from models.types import Image, Target

SIZE = 40
CORNER, MIDDLE = (slice(1, 7), slice(1, 7)), (slice(16, 26), slice(14, 24))
GAIN = 8.0  # logit of a place that is white throughout
BIAS = -4.0


class Reader:
    """Logit: BIAS + GAIN * mean of the corner (if it looks there) + GAIN * mean of the middle; black covers."""

    def __init__(self, card: ModelCard, looks_at_corner: bool = True) -> None:
        self.card, self.explained = card, 0
        self.weights = np.zeros((SIZE, SIZE))
        for place in ([CORNER] if looks_at_corner else []) + [MIDDLE]:
            self.weights[place] = GAIN / self.weights[place].size

    def cards(self) -> Mapping[str, ModelCard]:
        return {self.card.id: self.card}

    def logit(self, picture: NDArray[Any]) -> float:
        return float(BIAS + (self.weights * picture).sum())

    def key(self, request: ExplainRequest) -> str:
        return image_digest(request.image, self.card.input.spec)

    def explain(self, request: ExplainRequest, ctx: RunContext) -> Explanation:
        ctx.tick()
        self.explained += 1
        values = (self.weights * request.image.display()[0]).astype(np.float32)[None]
        made = Attribution("made", "Made", Target("Finding", 0), values, True, "logit", {}, 0, 0.0)
        return Explanation(made, np.eye(3), (SIZE, SIZE), {})

    def covered(
        self, model_id: str, image: Image, masks: Sequence[NDArray[np.bool_]], fill: str, ctx: RunContext
    ) -> NDArray[np.float32]:
        ctx.tick(len(masks))
        return np.array([[self.logit(np.where(mask, 0, image.display()[0]))] for mask in masks], dtype=np.float32)

    def close(self) -> None:
        pass


def desk_of(engine: Reader, folder: Path) -> Desk:
    return Desk(engine, ResultStore(folder / "cache" / "results"))  # type: ignore[arg-type]


def pictures(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """(n, SIZE, SIZE) 8-bit pictures; which have the finding in the middle; which have the tag in the corner.

    The tag is on half of those with the finding, which is then faint, and on a tenth of the others.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2 == 0
    tagged = np.where(labels, np.arange(count) % 4 == 0, np.arange(count) % 20 == 1)
    shown = rng.uniform(0, 0.08, (count, SIZE, SIZE))
    for picture, finding, tag in zip(shown, labels, tagged, strict=True):
        picture[MIDDLE] += 0.3 if finding and tag else 0.8 if finding else 0
        picture[CORNER] += 0.85 if tag else 0
    return np.rint(255 * shown).astype(np.uint8), labels, tagged


def written(values: NDArray[np.uint8], folder: Path) -> Path:
    folder.mkdir()
    for number, picture in enumerate(values):
        PIL.Image.fromarray(picture).save(folder / f"case-{number:03d}.png")
    return folder


def table_of(reader: Reader, values: NDArray[np.uint8], labels: NDArray[np.bool_]) -> AuditTable:
    logits = np.array([reader.logit(one / 255) for one in values])
    facts = {
        "case_id": [f"case-{number:03d}" for number in range(len(values))],
        "patient_id": [f"p{number // 2}" for number in range(len(values))],
        "label_Finding": labels.astype(int),
        "score_Finding": 1 / (1 + np.exp(-logits)),
    }
    frame = pd.DataFrame(facts)
    return build(frame, guess(frame), "Made", thresholds=[0.5], model_id="tiny")

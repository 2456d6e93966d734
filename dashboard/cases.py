"""Cases to choose from, and the plane of a case that a 2-D network is shown."""

from __future__ import annotations

from models.card import ModelCard
from models.types import Case, Image, Modality

RESEARCH_NOTE = "Research and teaching use. It supports a reader's judgement and never replaces it."


def middle_slice(image: Image) -> int:
    """Where a volume is opened."""
    return image.depth // 2


def facts_line(case: Case) -> str:
    """What identifies the kind of study in a few words: "x-ray, PA, F, 61 y"."""
    known = [case.attributes[name] for name in ("view", "sex", "age") if case.attributes.get(name)]
    modality = "" if case.image.modality is Modality.UNKNOWN else str(case.image.modality)
    return " · ".join(part for part in (modality, *known) if part) or "unknown modality"


def fitting_model(image: Image, cards: dict[str, ModelCard]) -> str | None:
    """The first model that reads this kind of image, else the first model."""
    for model_id, card in cards.items():
        if image.modality in card.input.modality:
            return model_id
    return next(iter(cards), None)

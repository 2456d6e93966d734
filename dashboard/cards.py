"""Model cards in words."""

from __future__ import annotations

import re

from models.card import Measure, ModelCard
from models.types import Modality

ICONS = {
    Modality.XRAY: ":material/radiology:",
    Modality.CT: ":material/radiology:",
    Modality.MR: ":material/neurology:",
    Modality.DERMOSCOPY: ":material/dermatology:",
    Modality.PHOTO: ":material/photo_camera:",
}
_TASKS = {
    "multiclass": "one class of {n}",
    "multilabel": "{n} findings, any number at once",
    "binary": "one finding",
    "segmentation": "segmentation, {n}",
}


def modalities(card: ModelCard) -> str:
    """ "CT", "dermoscopy or photo"."""
    return " or ".join(kind.label for kind in card.input.modality)


def icon(card: ModelCard) -> str:
    return ICONS.get(card.input.modality[0], ":material/image:")


def task(card: ModelCard) -> str:
    """What kind of answer the model gives, and among how many classes."""
    count = len(card.classes)
    words = f"{count} class" + ("" if count == 1 else "es")
    return _TASKS[card.task].format(n=words if card.task == "segmentation" else count)


def licence(text: str) -> str:
    """The licence, marked in words where it forbids commercial use."""
    limited = re.search(r"\bNC\b|non-?\s?commercial", text, re.IGNORECASE)
    return f"{text} (non-commercial use only)" if limited and "only" not in text.casefold() else text


def file_size(size: int) -> str:
    """Bytes as MB, in powers of ten."""
    return f"{size / 1e6:.1f} MB"


def calibration(card: ModelCard) -> str:
    """How scores become probabilities, in one sentence."""
    table = card.calibration
    names = {
        "none": "Scores are shown as the network gives them; they were not calibrated",
        "temperature": "Temperature scaling",
        "platt": "A Platt line for all classes",
        "platt-per-class": "A Platt line for each class",
        "vector": "Vector scaling",
    }
    source = f", {table.source}" if table.source else ""
    return f"{names[table.method]}{source}."


def value(measure: Measure) -> str:
    """The figure with three decimals, or why there is none."""
    return f"too few (n = {measure.n})" if measure.value is None else f"{measure.value:.3f}"


def interval(measure: Measure) -> str:
    """ "0.674 to 0.755", or nothing."""
    return "" if measure.low is None or measure.high is None else f"{measure.low:.3f} to {measure.high:.3f}"


def scale_of(metric: str) -> tuple[float, float]:
    """The values a metric's bar runs between: AUROC from chance to 1, all others from 0 to 1."""
    return (0.5, 1.0) if "AUROC" in metric else (0.0, 1.0)

"""Model cards in words."""

from __future__ import annotations

import re

from models.card import InputTable, Measure, ModelCard
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
_FITS = {
    "stretch": "stretched to {size} pixels",
    "letterbox": "scaled to fit {size} pixels, the rest padded with black",
    "center-crop": "scaled to fill {size} pixels, what sticks out cut off",
    "spacing": "resampled to {spacing:g} mm a pixel, cut or padded to {size} pixels around the centre",
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


def preprocessing(table: InputTable) -> list[str]:
    """The steps from an image to the network's input, in order."""
    if table.window is not None:
        low, high = table.window.center - table.window.width / 2, table.window.center + table.window.width / 2
        steps = [f"Grey values: {low:g} to {high:g} HU become 0 to 1; images in other units keep their own window."]
    else:
        steps = ["Grey values: the image's own window, or its full range, becomes 0 to 1."]
    if table.slices > 1:
        steps.append(
            f"Slices: the slice shown, and those {table.slice_step_mm:g} mm before and after it, one a channel."
        )
    elif table.channels == 3:
        steps.append("Channels: red, green, blue; grey is repeated.")
    else:
        steps.append("Channels: one; colour is turned to grey.")
    fit = _FITS[table.fit].format(size=f"{table.width} x {table.height}", spacing=table.spacing_mm or 0)
    steps.append(f"Size: {fit}.")
    if any(table.mean) or any(value != 1 for value in table.std):
        steps.append(f"Scale: minus {_numbers(table.mean)}, divided by {_numbers(table.std)}.")
    return steps


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(round(value, 4) for value in values))


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

"""Lists of steps to start from."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.preparation.trace import StepChoice
from models.errors import DataError
from models.types import Image, Modality


@dataclass(frozen=True)
class Preset:
    """Steps in their order; those that are off are offered, not run."""

    id: str
    title: str
    choices: tuple[StepChoice, ...]


BRAIN_MR = Preset(
    "brain-mr",
    "Brain MR",
    (
        StepChoice("skull-strip"),
        StepChoice("bias-field"),
        StepChoice("denoise", on=False),
        StepChoice("z-score"),
        StepChoice("white-stripe", on=False),
        StepChoice("percentile", on=False),
        StepChoice("resample", on=False),
        StepChoice("register", on=False),
    ),
)
CHEST_CT = Preset(
    "chest-ct",
    "Chest CT",
    (
        StepChoice("lung-crop"),
        StepChoice("denoise"),
        StepChoice("resample", on=False),
        StepChoice("register", on=False),
        StepChoice("hu-window"),
    ),
)
MODEL = Preset("model", "As the model does", ())
PRESETS = {preset.id: preset for preset in (BRAIN_MR, CHEST_CT, MODEL)}


def preset(preset_id: str) -> Preset:
    """Raises DataError for an unknown id."""
    if preset_id not in PRESETS:
        raise DataError(f"There is no preset {preset_id!r}; known: {', '.join(PRESETS)}.")
    return PRESETS[preset_id]


def preset_for(image: Image) -> Preset:
    """What suits the kind of image."""
    return CHEST_CT if image.modality is Modality.CT else BRAIN_MR if image.modality is Modality.MR else MODEL

"""What each system was asked to reach on its test part, and what it aims for."""

from __future__ import annotations

from dataclasses import dataclass

from models.card import Measure, ModelCard


@dataclass(frozen=True)
class Goal:
    """A figure of the test part, of one class where ``subject`` names it."""

    metric: str
    required: float
    aim: float | None = None
    subject: str = ""


GOALS: dict[str, tuple[Goal, ...]] = {
    "chest-xray-14": (Goal("macro AUROC", 0.72, 0.76),),
    "skin-lesion-7": (
        Goal("macro AUROC", 0.94, 0.96),
        Goal("balanced accuracy", 0.72, 0.78),
        Goal("accuracy", 0.80, 0.85),
    ),
    "brain-tumor-mri": (Goal("accuracy", 0.95, 0.97), Goal("macro AUROC", 0.99)),
    "lung-cancer-ct": (
        Goal("AUROC", 0.97, 0.99, "Malignant"),
        Goal("sensitivity at specificity 0.90", 0.93, None, "Malignant"),
    ),
    "lung-nodule": (Goal("AUROC", 0.86, 0.90, "Malignant"),),
    "pneumonia-ct": (
        Goal("Dice at 0.5", 0.70, 0.77),
        Goal("mean Dice over 256 thresholds", 0.66, None, "Infection"),
    ),
}


def measured(card: ModelCard, metric: str, subject: str = "", split: str = "test") -> Measure | None:
    """The card's figure of that name over all cases."""
    for one in card.performance:
        if (one.metric, one.subject, one.subgroup, one.split) == (metric, subject, "", split):
            return one
    return None

"""A model folder with invented figures of every kind, for tests of what shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MEASURES = [
    {"metric": "macro AUROC", "value": 0.81, "low": 0.78, "high": 0.84, "n": 400, "split": "test"},
    {"metric": "AUROC", "subject": "Alpha", "value": 0.9, "low": 0.85, "high": 0.93, "n": 400, "split": "test"},
    {"metric": "AUROC", "subject": "Beta", "value": None, "n": 7, "split": "test"},
    {"metric": "macro AUROC", "subgroup": "sex F", "value": 0.8, "low": 0.7, "high": 0.9, "n": 190, "split": "test"},
    {"metric": "macro AUROC", "subgroup": "age over 60", "value": None, "n": 4, "split": "test"},
]
EVALUATION = {
    "measures": MEASURES,
    "confusion": {"classes": ["Alpha", "Beta", "Gamma"], "matrix": [[5, 1, 0], [0, 4, 2], [1, 0, 9]]},
    "counts": {"train": {"Alpha": 1200, "Beta": 30, "Gamma": 8}, "test": {"Alpha": 300, "Beta": 7, "Gamma": 2}},
    "cases": {"train": 1300, "test": 400},
    "groups": {"train": 900, "test": 250},
    "calibration": {
        "method": "temperature",
        "unit": "image and class",
        "validation": [{"method": "none", "nll": 0.6, "ece": 0.1}, {"method": "temperature", "nll": 0.5, "ece": 0.02}],
        "test": {"before": {"nll": 0.62, "ece": 0.11}, "after": {"nll": 0.52, "ece": 0.03}},
    },
}
MEASURED: dict[str, Any] = {
    "licence": "CC-BY-NC-4.0",
    "not_for": ["Screening."],
    "failures": ["Misses small ones."],
    "training": {
        "data": "Some images",
        "licence": "none",
        "loss": "focal",
        "epochs": 2,
        "minutes": 12.4,
        "machine": "2 cores",
        "history": "history.csv",
    },
    "performance": MEASURES[:1],
    "losses": [
        {"loss": "focal", "metric": "macro AUROC", "value": 0.8, "epochs": 2},
        {"loss": "bce", "metric": "macro AUROC", "value": 0.77, "epochs": 2},
    ],
    "robustness": [
        {"corruption": "none", "strength": 0, "metric": "macro AUROC", "value": 0.81, "n": 60},
        {"corruption": "noise", "strength": 1, "metric": "macro AUROC", "value": 0.8, "n": 60},
        {"corruption": "noise", "strength": 3, "metric": "macro AUROC", "value": 0.6, "n": 60},
    ],
    "unusual": {"kept": 0.99, "auroc": {"other modality": 0.97}, "n": {"other modality": 40}},
    "published": [
        {"name": "Other", "metric": "AUROC", "value": 0.85, "source": "A 2020", "comparable": "No: other images."}
    ],
}


def write_evaluation(folder: Path) -> Path:
    """Puts history and evaluation beside a card that was written with ``MEASURED``."""
    (folder / "history.csv").write_text("epoch,loss,validation,seconds\n1,0.5,0.7,3\n2,0.4,0.8,3\n")
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(EVALUATION))
    return folder

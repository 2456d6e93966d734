"""Cards in words: nothing is claimed that the card does not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboard import cards as words
from models.card import InputTable, Measure, ModelCard
from models.preprocessing_words import preprocessing
from tests.conftest import card_fields


def card(**changes: Any) -> ModelCard:
    return ModelCard(
        **card_fields(weights={"file": "w.safetensors", "sha256": "0" * 64}) | changes, folder=Path("nowhere")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Apache-2.0", "Apache-2.0"),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0 (non-commercial use only)"),
        ("CC BY-NC 4.0", "CC BY-NC 4.0 (non-commercial use only)"),
        ("Non-commercial research", "Non-commercial research (non-commercial use only)"),
        ("non-commercial use only", "non-commercial use only"),
        ("INCORPORATED", "INCORPORATED"),
        ("BSD-3-Clause", "BSD-3-Clause"),
    ],
)
def test_non_commercial_is_said_in_words(text: str, said: str) -> None:
    assert words.licence(text) == said


def test_the_task_in_words() -> None:
    assert words.task(card()) == "3 findings, any number at once"
    assert words.task(card(task="multiclass")) == "one class of 3"
    assert words.task(card(task="binary", classes=["Malignant"])) == "one finding"
    unet = card(task="segmentation", classes=["Infection"], architecture="unet:tf_efficientnet_lite0")
    assert words.task(unet) == "segmentation, 1 class"


def test_preprocessing_in_words() -> None:
    ct: dict[str, Any] = {"height": 64, "width": 48, "modality": ["ct"], "window": {"center": -600, "width": 1500}}
    plain = " ".join(preprocessing(InputTable(**ct)))
    assert "-1350 to 150 HU" in plain
    assert "48 x 64 pixels" in plain
    assert "Scale" not in plain
    thick = InputTable(**ct, fit="spacing", spacing_mm=0.7, slices=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    said = " ".join(preprocessing(thick))
    assert "2.5 mm before and after" in said
    assert "0.7 mm a pixel" in said
    assert "minus 0.5, divided by 0.25" in said


def test_figures_in_words() -> None:
    few = Measure(metric="AUROC", value=None, n=7, split="test")
    assert (words.value(few), words.interval(few)) == ("too few (n = 7)", "")
    known = Measure(metric="AUROC", value=0.72, low=0.6741, high=0.7549, n=1361, split="test")
    assert (words.value(known), words.interval(known)) == ("0.720", "0.674 to 0.755")
    assert words.scale_of("macro AUROC") == (0.5, 1.0)
    assert words.scale_of("Dice at 0.5") == (0.0, 1.0)
    assert words.file_size(6_949_000) == "6.9 MB"

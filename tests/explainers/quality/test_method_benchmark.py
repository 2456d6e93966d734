"""How the comparison of methods is stored and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from explainers.quality.localisation import Located, SetResult, localise_set
from explainers.quality.method_benchmark import FILE, GroundTruthSet, MethodRow, StoredMethods, stored_methods
from models.card import ModelCard, read_card


def _result(blur: float, seed: int) -> SetResult:
    cases = []
    for number in range(8):
        rng = np.random.default_rng((seed, number))
        mask = np.zeros((32, 32), dtype=bool)
        top, left = rng.integers(2, 22, 2)
        mask[top : top + 6, left : left + 6] = True
        values = ndimage.gaussian_filter(mask.astype(np.float32), blur) if blur else rng.normal(size=mask.shape)
        cases.append(Located(values.astype(np.float32), mask))
    return localise_set(cases)


@pytest.fixture
def card(make_model: Callable[..., Path]) -> ModelCard:
    return read_card(make_model())


def _set(**blurs: float) -> GroundTruthSet:
    rows = {
        name: MethodRow(method=name, title=name, params={"layer": "x"}, seconds=0.1, passes=3, result=_result(blur, 0))
        for name, blur in blurs.items()
    }
    return GroundTruthSet(name="drawn", cases=8, called=8, note="", methods=rows)


def test_what_was_stored_is_read_for_the_same_weights_only(card: ModelCard) -> None:
    assert not stored_methods(card)
    made = StoredMethods(
        model=card.id, weights_sha256=card.weights.sha256, seed=0, sets={"drawn": _set(sharp=1.0, noise=0)}
    )
    (card.folder / "evaluation").mkdir()
    path = card.folder / FILE
    path.write_text(made.model_dump_json())
    assert stored_methods(card) == made.sets
    path.write_text(made.model_copy(update={"weights_sha256": "0" * 64}).model_dump_json())
    assert not stored_methods(card)
    path.write_text("{}")
    assert not stored_methods(card)

"""Scores of many images by another library: those of the network itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from explainers.runtime import openvino
from explainers.runtime.model import PreparedModel
from models.card import read_card
from models.context import RunContext
from models.handle import ModelHandle
from models.types import Image, Modality

MakeModel = Callable[..., Path]
ready = openvino.available()
pytestmark = pytest.mark.skipif(not ready.ok, reason=ready.reason or "OpenVINO")


def films(count: int, modality: Modality) -> list[Image]:
    draw = np.random.default_rng(1)
    return [Image(draw.random((1, 64, 80)).astype(np.float32), "1", modality) for _ in range(count)]


@pytest.mark.parametrize("kind", ["classes", "masks"])
def test_predictions_are_those_of_torch(kind: str, make_model: MakeModel, segmenter: MakeModel) -> None:
    folder, modality = (make_model(), Modality.XRAY) if kind == "classes" else (segmenter(), Modality.CT)
    model = PreparedModel(ModelHandle.load(read_card(folder)))
    images = films(11, modality)
    expected = model.predict(images, RunContext())
    model.expect_many()
    assert model._scorer is not None
    ctx = RunContext(11)
    found = model.predict(images, ctx)
    assert ctx.ticks == 11
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=2e-5)
        assert (one.masks is None) == (kind == "classes")
        if one.masks is not None and other.masks is not None:
            np.testing.assert_allclose(one.masks, other.masks, atol=2e-5)
    plane = model.exact.prepare(images[0]).tensor
    again = model._scorer(plane, RunContext())
    np.testing.assert_allclose(again.features, model.exact.forward(plane, RunContext()).features, atol=2e-4)
    model.close()

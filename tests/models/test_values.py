"""Windows, geometry, calibration, novelty and the worker's context against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError, ModelError
from models.novelty import NoveltyModel
from models.types import Geometry, Image, Prediction, Window
from tests.conftest import card_fields

HASH = "0" * 64


def test_a_linear_window_maps_its_edges_to_black_and_white() -> None:
    window = Window("lung", -600, 1500)
    values = np.array([-2000, -1350, -600, 150, 900], np.float32)
    np.testing.assert_allclose(window.apply(values), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_a_sigmoid_window_follows_the_standard() -> None:
    """DICOM PS3.3 C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w))."""
    values = np.linspace(-100, 300, 9, dtype=np.float32)
    expected = 1 / (1 + np.exp(-4 * (values.astype(float) - 40) / 80))
    np.testing.assert_allclose(Window("s", 40, 80, "sigmoid").apply(values), expected, rtol=1e-5)


def test_a_table_window_interpolates() -> None:
    window = Window("t", 50, 100, "table", (0.0, 0.1, 1.0))
    np.testing.assert_allclose(
        window.apply(np.array([0, 25, 50, 75, 100], np.float32)), [0, 0.05, 0.1, 0.55, 1], atol=1e-6
    )


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan")])
def test_a_window_needs_a_width(width: float) -> None:
    with pytest.raises(DataError, match="positive width"):
        Window("bad", 0, width)


def test_an_image_cannot_be_changed_and_refuses_nan() -> None:
    image = Image(np.zeros((1, 4, 4), np.float32), "unit interval")
    with pytest.raises(ValueError, match="read-only"):
        image.values[0, 0, 0] = 1
    for shape in ((4, 4), (2, 4, 4), (1, 0, 4)):
        with pytest.raises(DataError, match="shape"):
            Image(np.zeros(shape, np.float32), "unit interval")
    with pytest.raises(DataError, match="not numbers"):
        Image(np.full((1, 4, 4), np.nan, np.float32), "unit interval")


def test_a_slice_lies_where_it_lay_in_the_volume() -> None:
    rng = np.random.default_rng(0)
    affine = np.eye(4)
    affine[:3] = rng.normal(size=(3, 4))
    image = Image(rng.random((1, 5, 6, 7)).astype(np.float32), "HU", geometry=Geometry(affine))
    plane = image.slice(3)
    assert plane.geometry is not None
    np.testing.assert_allclose(plane.geometry.to_world(np.array([[2.0, 1.0, 0.0]]))[0], affine[:3] @ [2, 1, 3, 1])
    np.testing.assert_array_equal(plane.values, image.values[:, 3])
    with pytest.raises(DataError, match="slices 0 to 4"):
        image.slice(5)


def test_calibrated_probabilities_follow_the_card() -> None:
    logits = np.array([[-1.0, 0.5, 2.0]], np.float32)
    files = {"weights": {"file": "w.pt", "sha256": HASH}}
    platt = ModelCard(**card_fields(**files, calibration={"method": "platt", "scale": 2.0, "offset": -0.3}))
    np.testing.assert_allclose(platt.probabilities(logits), 1 / (1 + np.exp(-(2 * logits - 0.3))), rtol=1e-5)
    soft = ModelCard(**card_fields(**files, task="multiclass", calibration={"method": "temperature", "scale": 0.5}))
    expected = np.exp(0.5 * logits) / np.exp(0.5 * logits).sum()
    np.testing.assert_allclose(soft.probabilities(logits), expected, rtol=1e-5)


def test_targets_are_found_by_readable_names() -> None:
    card = ModelCard(
        **card_fields(weights={"file": "w.pt", "sha256": HASH}, classes=["Pleural_Thickening", "Mass", "Edema"])
    )
    assert card.target("pleural thickening").index == 0
    assert card.target("Mass", "contrast", "Edema").against_index == 2
    with pytest.raises(ModelError, match="no class 'Nodule'; it has Pleural_Thickening"):
        card.target("Nodule")
    with pytest.raises(ModelError, match="two different classes"):
        card.target("Mass", "contrast", "mass")


def test_flagged_and_order() -> None:
    scores = np.array([0.4, 0.1, 0.9], np.float32)
    many = Prediction("m", ("a", "b", "c"), scores, scores, np.array([0.5, 0.05, 0.95], np.float32), exclusive=False)
    one = Prediction("m", ("a", "b", "c"), scores, scores, np.full(3, 0.5, np.float32), exclusive=True)
    assert many.flagged == (1,)
    assert one.flagged == (2,)
    assert many.order == (2, 0, 1)


@pytest.mark.parametrize("unit", [False, True])
def test_novelty_is_the_mahalanobis_distance_when_every_direction_is_kept(unit: bool) -> None:
    rng = np.random.default_rng(0)
    training = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))).astype(np.float32)
    model = NoveltyModel.fit(training, training[:50], components=6, unit=unit)
    if unit:
        training = training / np.linalg.norm(training, axis=1, keepdims=True)
    inverse = np.linalg.inv(np.cov(training.astype(np.float64), rowvar=False))
    probes = rng.normal(size=(5, 6)).astype(np.float32) * 4
    shown = probes / np.linalg.norm(probes, axis=1, keepdims=True) if unit else probes
    expected = [mahalanobis(row, training.mean(0), inverse) for row in shown]
    np.testing.assert_allclose(model.distances(probes) * np.sqrt(6), expected, rtol=2e-3)


@pytest.mark.parametrize("unit", [False, True])
def test_novelty_ranks_far_images_last_and_survives_saving(unit: bool) -> None:
    rng = np.random.default_rng(1)
    usual = np.linspace(1, 9, 40)
    training, held_out = ((rng.normal(size=(n, 40)) + usual).astype(np.float32) for n in (500, 200))
    model = NoveltyModel.fit(training, held_out, components=8, unit=unit)
    again = NoveltyModel.from_tensors(model.to_tensors())
    assert again.unit == unit
    far = held_out[:20, ::-1].copy()
    dull = held_out[:20] * np.float32(0.8)
    assert ((again.percentiles(dull) > 99).mean() < 0.2) == unit
    assert (again.percentiles(far) > 99).all()
    assert abs(float(np.median(again.percentiles(held_out))) - 50) < 2
    np.testing.assert_allclose(again.distances(far), model.distances(far), rtol=1e-2)


def test_novelty_of_few_training_images_stays_finite_and_moderate() -> None:
    rng = np.random.default_rng(2)
    training, held_out = (rng.random((n, 80)).astype(np.float32) for n in (40, 60))
    model = NoveltyModel.fit(training, held_out)
    assert len(model.axes) == 20
    assert float(np.median(model.distances(held_out))) < 3


def test_context_counts_and_stops() -> None:
    seen: list[float] = []
    ctx = RunContext(total=4, on_progress=seen.append)
    for _ in range(6):
        ctx.tick()
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    ctx.cancel()
    with pytest.raises(Cancelled):
        ctx.tick()

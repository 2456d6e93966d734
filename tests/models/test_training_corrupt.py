"""Corruptions: what they do to a picture, and that the picture reaches the network as it would uncorrupted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.card import ModelCard
from models.preprocess import prepare
from models.training.corrupt import CORRUPTIONS, STRENGTHS, corrupted, in_display
from models.training.robustness import stratified
from models.types import Geometry, Image, Modality, Window
from tests.conftest import card_fields

PIN = {"file": "w.safetensors", "sha256": "0" * 64}


def card_of(**changes: object) -> ModelCard:
    size = {"height": 48, "width": 48, "modality": ["ct"]}
    return ModelCard(**card_fields(weights=PIN, input=size | changes))


def smooth(channels: int = 1, depth: int | None = None, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:60, :50] / 60
    plane = (0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y)).astype(np.float32)
    planes = np.stack([plane * (1 - 0.1 * k) for k in range(channels)])
    if depth is not None:
        planes = np.stack([planes * (0.6 + 0.4 * z / depth) for z in range(depth)], axis=1)
    return planes * np.float32(scale) + np.float32(shift)


def images() -> dict[str, Image]:
    volume = Image(
        smooth(depth=9, scale=1400, shift=-1300),
        "HU",
        Modality.CT,
        Geometry(np.diag([0.7, 0.7, 1.5, 1.0])),
        windows=(Window("bone", 400, 1800),),
    )
    stored = Image(smooth(scale=200), "stored value", windows=(Window("w", 100, 150),), inverted=True)
    return {"colour": Image(smooth(3), "unit interval"), "inverted": stored, "slice": volume.slice(1)}


@pytest.mark.parametrize("name", ["colour", "inverted", "slice"])
@pytest.mark.parametrize("slices", [1, 3])
def test_an_unchanged_picture_reaches_the_network_unchanged(name: str, slices: int) -> None:
    image = images()[name]
    card = card_of(window={"center": -500, "width": 1500}, slices=slices, slice_step_mm=2.5)
    seen = in_display(image, card, lambda plane: plane)
    expected = prepare(image, card.input.spec)
    np.testing.assert_allclose(prepare(seen, card.input.spec).tensor, expected.tensor, atol=1e-5)


@pytest.mark.parametrize("kind", list(CORRUPTIONS))
@pytest.mark.parametrize("channels", [1, 3])
def test_each_strength_moves_the_picture_farther(kind: str, channels: int) -> None:
    image, card = Image(smooth(channels), "unit interval"), card_of()
    before = image.values.copy()
    moved = []
    for strength in STRENGTHS:
        change = corrupted(kind, strength, card)
        out, again = (change(image, np.random.default_rng(5)).values for _ in range(2))
        assert np.array_equal(out, again)
        assert out.shape == image.values.shape
        assert 0 <= out.min() <= out.max() <= 1
        moved.append(float(np.abs(out - image.values).mean()))
    assert 0 < moved[0] < moved[1] < moved[2]
    assert np.array_equal(image.values, before)


def test_noise_and_blur_have_the_strengths_they_say() -> None:
    flat, card = Image(np.full((1, 200, 200), 0.5, np.float32), "unit interval"), card_of()
    noisy = corrupted("gaussian noise", 2, card)(flat, np.random.default_rng(0)).values
    assert noisy.std() == pytest.approx(0.08, rel=0.02)
    point = np.zeros((1, 101, 101), np.float32)
    point[0, 50, 50] = 1
    spread = corrupted("gaussian blur", 3, card)(Image(point, "unit interval"), np.random.default_rng(0)).values[0]
    y = np.arange(101) - 50
    assert (spread.sum(1) * y**2).sum() / spread.sum() == pytest.approx(2.02**2, rel=0.02)


def test_neighbouring_slices_are_corrupted_too() -> None:
    image, card = images()["slice"], card_of(slices=3, window={"center": -500, "width": 1500}, fit="stretch")
    brighter = prepare(corrupted("brightness", 1, card)(image, np.random.default_rng(0)), card.input.spec).tensor
    np.testing.assert_allclose(brighter - prepare(image, card.input.spec).tensor, 0.1, atol=1e-4)


def test_a_stratified_sample_keeps_the_proportions() -> None:
    labels = np.zeros((1000, 3), dtype=int)
    labels[:, 0] = 1
    labels[:200, 1] = 1
    labels[150:200, 2] = 1
    rows = pd.DataFrame(labels, columns=["a", "b", "c"]).sample(frac=1, random_state=0).reset_index(drop=True)
    chosen = stratified(rows, ("a", "b", "c"), 100)
    assert len(chosen) == 100
    assert chosen["c"].sum() == 5
    assert chosen["b"].sum() == pytest.approx(20, abs=1)
    assert chosen.equals(stratified(rows, ("a", "b", "c"), 100))
    assert stratified(rows, ("a", "b", "c"), 5000) is rows

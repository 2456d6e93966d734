"""The registration as a step: a known motion is taken back, and what does not match is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dashboard.preparation import grids
from dashboard.preparation.trace import StepChoice, run_steps
from models.types import Geometry, Image, Modality
from sample_data.phantoms._head import draw_head
from sample_data.phantoms._thorax import Grid

REGISTER = [StepChoice("register")]


@pytest.fixture(scope="module")
def reference() -> Image:
    grid = Grid(60, 70, 36, 3.5, 4.0, -60.0)
    signal = draw_head(np.random.default_rng(3), grid).signal
    noise = np.random.default_rng(4).normal(0, 0.01, signal.shape)
    return Image((np.abs(signal + noise) * 1000).astype(np.float32)[None], "stored value", Modality.MR, grid.geometry)


def moved(image: Image, degrees: float, shift_mm: tuple[float, float, float]) -> tuple[Image, np.ndarray]:
    """The head turned and shifted on the grid of the scan; and the motion, mm of the reference to mm of the copy."""
    angle = np.radians(degrees)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = shift_mm
    assert image.geometry is not None
    affine = image.geometry.affine
    back = np.linalg.inv(affine) @ np.linalg.inv(motion) @ affine
    return replace(image, values=grids.resampled(image.values[0], back, image.values.shape[1:])[None]), motion


def test_a_known_motion_is_taken_back_and_the_way_to_the_native_grid_knows_it(reference: Image) -> None:
    image, motion = moved(reference, 8.0, (6.0, -4.0, 5.0))
    trace = run_steps(image, REGISTER, reference=reference)
    (record,) = trace.records
    assert record.verdict.level != "fail"
    after, before = (measure.value for measure in record.verdict.measures[:2])
    assert after > before
    geometry = reference.geometry
    assert geometry is not None
    points = np.array([[20.0, 20, 10], [40, 50, 25], [30, 35, 18], [30, 20, 30]])
    ones = np.column_stack([points, np.ones(4)])
    expected = (motion @ geometry.affine @ ones.T)[:3]  # where the reference's anatomy lies in the copy
    found = (geometry.affine @ trace.to_native @ ones.T)[:3]
    assert np.linalg.norm(found - expected, axis=0).mean() < 3.5  # a voxel
    straight = np.corrcoef(trace.image.values.ravel(), reference.values.ravel())[0, 1]
    assert straight > np.corrcoef(image.values.ravel(), reference.values.ravel())[0, 1] + 0.1


def test_noise_is_refused_and_stays_where_it_was(reference: Image) -> None:
    noise = np.random.default_rng(0).random(reference.values.shape).astype(np.float32) * 1000
    image = Image(noise, "stored value", Modality.MR, Geometry(reference.geometry.affine))  # type: ignore[union-attr]
    trace = run_steps(image, REGISTER, reference=reference)
    assert trace.records[0].verdict.level == "fail"
    assert trace.records[0].verdict.sentence.endswith("The image stays where it was.")
    assert trace.image is image
    np.testing.assert_array_equal(trace.to_native, np.eye(4))

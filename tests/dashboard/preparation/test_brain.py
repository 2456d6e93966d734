"""The brain mask on a drawn head whose brain is known, and on a real one."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dashboard.preparation import brain_network
from dashboard.preparation.brain_classical import classical_brain
from dashboard.preparation.tissue import dice
from dashboard.preparation.trace import StepChoice, run_steps
from dashboard.preparation.types import STEPS, State
from models.errors import Unavailable
from models.types import Image, Modality
from sample_data.phantoms._head import draw_head
from sample_data.phantoms._thorax import Grid
from sample_data.samples import load_sample


def installed() -> bool:
    try:
        return bool(files("deepbet"))
    except PackageNotFoundError:
        return False


needs_network = pytest.mark.skipif(not installed(), reason="deepbet is optional and not installed")


@pytest.fixture(scope="module")
def head() -> tuple[Image, np.ndarray]:
    """A drawn head on a coarse grid, and all that lies inside its skull but for the outer fluid."""
    grid = Grid(84, 100, 24, 2.5, 5.0, -40.0)
    drawn = draw_head(np.random.default_rng(3), grid)
    noise = np.random.default_rng(4).normal(0, 0.01, drawn.signal.shape)
    values = np.abs(drawn.signal + noise) * 1000
    inside = np.stack([ndimage.binary_fill_holes(plane) for plane in ndimage.binary_closing(drawn.brain, iterations=2)])
    return Image(values.astype(np.float32)[None], "stored value", Modality.MR, grid.geometry), inside


def test_the_classical_mask_is_the_brain_that_was_drawn(head: tuple[Image, np.ndarray]) -> None:
    image, brain = head
    assert dice(classical_brain(image.values[0], (5.0, 2.5, 2.5)), brain) > 0.9


@needs_network
def test_the_network_finds_the_brain_of_a_real_head() -> None:
    """Volume plausible, tumour inside."""
    case = load_sample("brain-mr-tumour-1")
    trace = run_steps(case.image, [StepChoice("skull-strip")])
    (record,) = trace.records
    volume, overlap = record.verdict.measures
    assert record.verdict.level == "pass"
    assert 1200 < volume.value < 1600
    assert overlap.value > 0.85
    assert trace.mask is not None
    tumour = next(region.mask for region in case.regions if region.mask is not None)
    assert (trace.mask & tumour).sum() > 0.9 * tumour.sum()
    assert not trace.image.values[0][~trace.mask].any()


def test_without_the_network_the_classical_method_stands_in_and_says_so(
    head: tuple[Image, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    brain_network._networks.cache_clear()
    monkeypatch.setattr(brain_network, "files", missing)
    image, brain = head
    step = STEPS.get("skull-strip")
    result = step.run(image, step.spec.resolve({}), State())
    assert "not installed" in result.verdict.sentence
    assert "classical method stood in" in result.verdict.sentence
    assert result.mask is not None
    assert dice(result.mask, brain) > 0.9
    assert len(result.verdict.measures) == 1  # nothing to compare with


@needs_network
def test_weights_that_are_not_the_known_ones_are_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "model.pt"
    wrong.write_bytes(b"not a network")
    brain_network._networks.cache_clear()
    monkeypatch.setattr(brain_network, "_paths", lambda: {"model.pt": wrong})
    with pytest.raises(Unavailable, match="SHA-256 differs"):
        brain_network._networks()
    brain_network._networks.cache_clear()


def test_the_mask_follows_the_axes_of_the_file(head: tuple[Image, np.ndarray]) -> None:
    """Stored sagittally, the same voxels are brain."""
    image, _ = head
    step = STEPS.get("skull-strip")
    straight = step.run(image, step.spec.resolve({"method": "classical"}), State()).mask
    assert straight is not None
    assert image.geometry is not None
    from models.types import Geometry

    # (slice, row, column) become (column reversed, slice, row)
    stored = image.values[0].transpose(2, 0, 1)[::-1]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = image.geometry.affine[:3, 1], image.geometry.affine[:3, 2]
    affine[:3, 2] = -image.geometry.affine[:3, 0]
    affine[:3, 3] = image.geometry.affine[:3, 3] + image.geometry.affine[:3, 0] * (stored.shape[0] - 1)
    other = Image(np.ascontiguousarray(stored)[None], "stored value", Modality.MR, Geometry(affine))
    found = step.run(other, step.spec.resolve({"method": "classical"}), State()).mask
    assert found is not None
    np.testing.assert_array_equal(found, straight.transpose(2, 0, 1)[::-1])

"""Quantities of planted masks, and the line that tells them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dashboard.quantities import dice, extent, reference_of, sentence
from models.types import Case, Geometry, Image, Prediction, Provenance, Region

SHAPE = (40, 50)


def planted() -> np.ndarray:
    """A 10 x 8 block; a 3 x 3 block that a single pixel touches at a corner: 90 pixels in two parts."""
    mask = np.zeros(SHAPE, bool)
    mask[2:12, 5:13] = True
    mask[20:23, 30:33] = True
    mask[23, 33] = True
    return mask


def prediction(*masks: np.ndarray) -> Prediction:
    values = np.stack([mask * np.float32(0.6) for mask in masks]).astype(np.float32)
    half = np.full(len(masks), 0.5, np.float32)
    names = ("Infection", "Pleural_Effusion")[: len(masks)]
    return Prediction("m", names, half, half, half, False, masks=values)


def case(*regions: Region, geometry: Geometry | None = None, depth: int = 0) -> Case:
    shape = (1, depth, *SHAPE) if depth else (1, *SHAPE)
    image = Image(np.zeros(shape, np.float32), "unit interval", geometry=geometry)
    return Case("c", "C", image, Provenance("here", "0" * 64, "raster"), regions=regions)


def test_extent_of_a_planted_mask() -> None:
    found = extent(planted(), Geometry(np.diag([0.5, 2.0, 7.0, 1.0])))
    assert found.share == pytest.approx(90 / 2000)
    assert found.area_mm2 == pytest.approx(90 * 0.5 * 2.0)
    assert found.parts == 2


def test_without_a_spacing_there_is_no_area_and_an_empty_mask_has_no_parts() -> None:
    assert extent(planted(), None).area_mm2 is None
    nothing = extent(np.zeros(SHAPE, bool), Geometry.from_spacing(1, 1))
    assert (nothing.share, nothing.area_mm2, nothing.parts) == (0.0, 0.0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_dice_is_the_f1_score_of_the_pixels(seed: int) -> None:
    one, other = np.random.default_rng(seed).random((2, *SHAPE)) < 0.3
    assert dice(one, other) == pytest.approx(f1_score(one.ravel(), other.ravel()))


def test_two_empty_masks_agree() -> None:
    empty = np.zeros(SHAPE, bool)
    assert dice(empty, empty) == 1.0
    assert dice(empty, planted()) == 0.0


def test_the_reference_is_the_region_of_that_name_on_that_slice() -> None:
    volume = np.zeros((3, *SHAPE), bool)
    volume[1] = planted()
    found = case(Region("Nodule", box=(0, 0, 3, 3)), Region("infection", volume), depth=3)
    np.testing.assert_array_equal(reference_of(found, "Infection", 1), planted())
    assert reference_of(found, "Nodule", 1) is None
    assert reference_of(found, "Effusion", 1) is None


def test_the_line_gives_share_area_parts_and_dice() -> None:
    half = planted()
    half[:7] = False
    geometry = Geometry(np.diag([5.0, 2.0, 1.0, 1.0]))
    said = sentence(case(Region("Infection", half), geometry=geometry), prediction(planted()), 0, 0)
    assert said == "Infection: 4.5 % of the slice, 9.0 cm², in 2 separate areas. Dice 0.71 against the reference."
    small = sentence(case(geometry=Geometry.from_spacing(0.5, 0.5)), prediction(planted()), 0, 0)
    assert small == "Infection: 4.5 % of the slice, 22 mm², in 2 separate areas."
    assert sentence(case(), prediction(planted()), 0, 0) == "Infection: 4.5 % of the slice, in 2 separate areas."


def test_nothing_found_is_said_and_other_networks_say_nothing() -> None:
    empty = np.zeros(SHAPE, bool)
    said = sentence(case(Region("Infection", planted())), prediction(empty, planted()), 0, 0)
    assert said == "Infection: no pixel reaches the threshold. Dice 0.00 against the reference."
    assert sentence(case(), prediction(empty, planted()), 1, 0).startswith("Pleural Effusion: 4.5 %")
    assert sentence(case(), replace(prediction(empty), masks=None), 0, 0) == ""

"""Parts of chest films: phantoms whose lungs and heart are known, and pictures that are no chest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dashboard.anatomy import parts_of
from dashboard.anatomy._contour import ANGLES, RADII, Star, outline
from explainers.quality.anatomy import BORDERS, MARKERS, OUTSIDE
from models.types import Case, Image, Modality
from sample_data.phantoms import make


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.fixture(scope="module")
def film() -> Case:
    return make("chest-film", 3, finding="none", size_px=512)


def _truth(case: Case) -> dict[str, np.ndarray]:
    return {region.name: region.mask for region in case.regions if region.mask is not None}


def test_lungs_and_heart_of_a_phantom(film: Case) -> None:
    found, truth = parts_of(film.image), _truth(film)
    visible = {side: truth[f"{side} lung"] & ~truth["Heart"] for side in ("Right", "Left")}
    assert overlap(found.masks["right lung"], visible["Right"]) > 0.75
    assert overlap(found.masks["left lung"], visible["Left"]) > 0.65
    heart = found.masks["heart region"]
    assert (heart & truth["Heart"]).sum() > 0.7 * heart.sum()
    assert not (heart & (found.masks["right lung"] | found.masks["left lung"])).any()
    assert np.nonzero(found.masks["right lung"])[1].mean() < np.nonzero(found.masks["left lung"])[1].mean()
    for name, mask in found.masks.items():
        assert mask.shape == film.image.plane_shape
        assert found.notes[name]


def test_air_outside_is_outside_the_lungs(film: Case) -> None:
    found, truth = parts_of(film.image), _truth(film)
    outside = found.masks[OUTSIDE]
    assert outside[0, 0]
    assert outside[0, -1]
    assert not (outside & (truth["Right lung"] | truth["Left lung"])).any()
    assert film.image.display()[0][outside].mean() < 0.3
    assert found.masks[BORDERS][0].all()
    assert not found.masks[BORDERS][200:300, 200:300].any()


def test_a_film_stored_black_for_white_is_read_alike(film: Case) -> None:
    turned = replace(film.image, values=4095 - film.image.values, inverted=True)
    upright, inverted = parts_of(film.image), parts_of(turned)
    for name in ("right lung", "left lung"):
        assert overlap(upright.masks[name], inverted.masks[name]) > 0.97


def test_brightness_and_size_do_not_matter(film: Case) -> None:
    own = parts_of(film.image)
    values = film.image.display()
    coarse = values.reshape(1, 128, 4, 128, 4).mean(axis=(2, 4))
    for changed in (0.2 + 0.5 * values, coarse):
        found = parts_of(Image(changed.astype(np.float32), "unit interval", Modality.XRAY))
        for name in ("right lung", "left lung"):
            truth = own.masks[name] if changed is not coarse else own.masks[name][2::4, 2::4]
            assert overlap(found.masks[name], truth) > 0.85


def test_markers_are_found_and_other_films_have_none(film: Case) -> None:
    assert MARKERS not in parts_of(film.image).masks
    values = film.image.display().copy()
    letter = np.zeros((34, 24), dtype=bool)
    letter[:, :8] = letter[-8:, :] = True
    place = np.s_[0, 40:74, 440:464]
    values[place][letter] = 1.0
    found = parts_of(Image(values, "unit interval", Modality.XRAY)).masks[MARKERS]
    assert found[40:74, 440:464][letter].mean() > 0.9
    assert found.mean() < 0.02


@pytest.mark.parametrize("kind", ["noise", "grey", "one side white", "gradient"])
def test_what_is_no_pair_of_lungs_is_left_out_with_a_reason(film: Case, kind: str) -> None:
    shape = (1, 256, 256)
    if kind == "one side white":
        values = film.image.display().copy()
        values[0, :, 256:] = 0.85
    else:
        values = {
            "noise": np.random.default_rng(0).random(shape),
            "grey": np.full(shape, 0.5),
            "gradient": np.linspace(0, 1, 256)[None, :, None] * np.ones(shape),
        }[kind]
    found = parts_of(Image(values.astype(np.float32), "unit interval", Modality.XRAY))
    for name in ("right lung", "left lung", "heart region"):
        assert name not in found.masks
        assert found.missing[name]


def test_the_cheapest_outline_is_found() -> None:
    """A circle off the seed: at every angle its own distance is cheapest."""
    star = Star(40.0, 50.0, np.full(ANGLES, 30.0))
    rows, columns = star.points()
    away = np.abs(np.hypot(rows - 42, columns - 46) - 15)
    ends = outline(away, 0.01)
    at = np.arange(ANGLES)
    assert away[at, ends].max() < 0.6
    assert np.abs(np.diff(np.append(ends, ends[0]))).max() <= 3
    y, x = np.indices((90, 100))
    assert overlap(star.mask(ends, (90, 100)), np.hypot(y - 42, x - 46) < 15) > 0.93
    flat = outline(np.where(np.arange(RADII) == 20, 0.0, 1.0)[None].repeat(ANGLES, 0), 0.1)
    assert (flat == 20).all()

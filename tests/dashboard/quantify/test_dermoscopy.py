"""ABCD measures on drawn lesions whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dashboard.quantify.abcd_ranges import LEVELS, Range, Ranges, range_of, shares_below
from dashboard.quantify.colour import PALETTE, SKIN, _light_of, colours, hair, lab_of, linear, on_standard_skin
from dashboard.quantify.dermoscopy import abcd
from models.errors import DataError
from models.types import Geometry, Image, Modality
from sample_data.samples import load_sample

HEIGHT, WIDTH = 150, 200
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
BROWN, BLACK, SKIN_RGB = (0.55, 0.36, 0.26), (0.13, 0.09, 0.08), (0.80, 0.63, 0.65)


def disc(radius: float, column: float = 99.5, row: float = 74.5) -> NDArray[np.bool_]:
    return np.asarray((X - column) ** 2 + (Y - row) ** 2 <= radius**2)


def picture(*layers: tuple[NDArray[np.bool_], tuple[float, float, float]], geometry: Geometry | None = None) -> Image:
    """Colours on skin, later ones on top."""
    values = np.broadcast_to(np.array(SKIN_RGB)[:, None, None], (3, HEIGHT, WIDTH)).astype(np.float32)
    for mask, colour in layers:
        values = np.where(mask, np.array(colour, np.float32)[:, None, None], values)
    return Image(values.astype(np.float32), "unit interval", Modality.DERMOSCOPY, geometry)


def values(image: Image, mask: NDArray[np.bool_]) -> dict[str, float | None]:
    return {one.id: one.value for one in abcd(image, mask).measures}


def test_a_flat_disc_is_symmetric_compact_and_of_one_colour() -> None:
    mask = disc(40)
    found = values(picture((mask, BROWN)), mask)
    assert found["asymmetry"] < 0.01
    assert found["asymmetry_colour"] < 0.1
    assert found["compactness"] == pytest.approx(1, abs=0.02)
    assert found["solidity"] > 0.98
    assert found["variegation"] < 0.1
    assert found["colours"] == 1
    assert found["abrupt_sectors"] == 8
    assert found["diameter"] == pytest.approx(80, abs=1)


def test_two_colours_side_by_side_make_colour_asymmetric_not_shape() -> None:
    mask = disc(40)
    found = abcd(picture((mask, BROWN), (mask & (X > 99.5), BLACK)), mask)
    assert found.colours.present == ("light brown", "black")
    shares = found.colours.shares
    assert shares["light brown"] == pytest.approx(0.5, abs=0.02)
    assert shares["black"] == pytest.approx(0.5, abs=0.02)
    # Halves of two flat colours lie as far from their mean as they are apart, by two.
    lab = lab_of(linear(np.array([BROWN, BLACK], np.float32)))
    apart = float(np.linalg.norm(lab[0] - lab[1]))
    assert found["variegation"].value == pytest.approx(apart / 2, rel=0.15)
    # Folded along the line between them every place meets the other colour, along the other axis its own.
    assert found["asymmetry_colour"].value == pytest.approx(apart / 2, rel=0.2)
    assert found["asymmetry"].value < 0.01


def test_a_faded_border_is_not_abrupt() -> None:
    mask = disc(45)
    away = np.hypot(X - 99.5, Y - 74.5)
    fade = np.clip((60 - away) / 30, 0, 1).astype(np.float32)  # over a third of the diameter
    plain = np.array(SKIN_RGB, np.float32)[:, None, None]
    values_ = plain + fade * (np.array(BROWN, np.float32)[:, None, None] - plain)
    found = abcd(Image(values_.astype(np.float32), "unit interval", Modality.DERMOSCOPY), mask)
    assert found["abrupt_sectors"].value == 0


def test_half_of_a_border_is_abrupt() -> None:
    mask = disc(45)
    away = np.hypot(X - 99.5, Y - 74.5)
    fade = np.where(X > 99.5, away <= 45, np.clip((60 - away) / 30, 0, 1)).astype(np.float32)
    plain = np.array(SKIN_RGB, np.float32)[:, None, None]
    values_ = plain + fade * (np.array(BROWN, np.float32)[:, None, None] - plain)
    found = abcd(Image(values_.astype(np.float32), "unit interval", Modality.DERMOSCOPY), mask)
    assert found["abrupt_sectors"].value == 4


def test_the_diameter_has_the_unit_of_the_header() -> None:
    mask = (abs(X - 99.5) <= 30) & (abs(Y - 74.5) <= 20)
    in_pixels = abcd(picture((mask, BROWN)), mask)["diameter"]
    in_mm = abcd(picture((mask, BROWN), geometry=Geometry.from_spacing(0.05, 0.05)), mask)["diameter"]
    # A rectangle of 60 x 40 pixels, from the middle of the one corner pixel's edge to that of the other's.
    assert in_pixels.value == pytest.approx(np.hypot(60, 39))
    assert (in_pixels.unit, in_mm.unit) == ("px", "mm")
    assert in_mm.value == pytest.approx(0.05 * in_pixels.value)


def test_a_lesion_beyond_the_edge_has_no_shape_and_no_size() -> None:
    mask = disc(40, column=20)
    found = abcd(picture((mask, BROWN)), mask)
    for name in ("asymmetry", "compactness", "solidity", "abrupt_sectors", "diameter"):
        assert found[name].value is None
        assert "edge of the picture" in found[name].reason
    assert found["colours"].value == 1
    assert any("beyond the edge" in note for note in found.notes)


def test_the_same_lesion_at_three_times_the_pixels() -> None:
    small = picture((mask := disc(40), BROWN), (disc(15, 110, 80), BLACK))
    large = Image(np.kron(small.values, np.ones((1, 3, 3), np.float32)), "unit interval", Modality.DERMOSCOPY)
    one, other = values(small, mask), values(large, np.kron(mask, np.ones((3, 3))).astype(bool))
    assert other.pop("diameter") == pytest.approx(3 * one.pop("diameter"), rel=0.01)
    assert other == pytest.approx(one, rel=1e-3, abs=1e-3)


def test_light_and_white_balance_of_the_camera_do_not_change_the_colours() -> None:
    mask = disc(40)
    plain = picture((mask, BROWN), (mask & (X > 99.5), BLACK))
    light = linear(plain.values) * np.array([0.8, 0.7, 0.55])[:, None, None]
    tinted = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)
    found, other = abcd(plain, mask), abcd(Image(tinted, "unit interval", Modality.DERMOSCOPY), mask)
    assert other.colours.shares == pytest.approx(found.colours.shares, abs=1e-3)
    assert other.colours.spread == pytest.approx(found.colours.spread, rel=1e-3)


def test_lab_of_the_primaries() -> None:
    known = {(1, 1, 1): (100, 0, 0), (1, 0, 0): (53.24, 80.09, 67.20), (0, 1, 0): (87.73, -86.18, 83.18),
             (0, 0, 1): (32.30, 79.19, -107.86), (0, 0, 0): (0, 0, 0)}  # fmt: skip
    for rgb, lab in known.items():
        np.testing.assert_allclose(lab_of(linear(np.array(rgb, np.float32))), lab, atol=0.02)


def test_each_reference_colour_is_found_as_itself() -> None:
    for name, shades in PALETTE.items():
        for shade in shades:
            lab = np.broadcast_to(np.array(shade, float), (4, 5, 3))
            assert colours(lab, np.ones((4, 5), bool)).present == (name,)
    assert colours(np.broadcast_to(np.array(SKIN), (4, 5, 3)), np.ones((4, 5), bool)).present == ()
    np.testing.assert_allclose(lab_of(_light_of(SKIN)), SKIN, atol=1e-6)


def test_hair_is_not_counted_as_a_colour() -> None:
    mask = disc(40)
    lines = np.zeros_like(mask)
    for shift in range(-60, 80, 12):
        lines |= abs(Y - 74.5 - 0.4 * (X - 99.5) - shift) <= 1
    image = picture((mask, BROWN), (lines, BLACK))
    found = abcd(image, mask)
    assert found.colours.present == ("light brown",)
    assert any(note.startswith("Hair") for note in found.notes)
    # A dark spot of the lesion is no hair.
    lab = on_standard_skin(np.moveaxis(picture((mask, BROWN), (disc(3), BLACK)).values, 0, -1), ~mask)
    assert not hair(lab, mask).any()


@pytest.mark.parametrize(
    ("image", "mask", "said"),
    [
        (Image(np.zeros((1, 20, 20), np.float32), "stored value"), np.ones((20, 20), bool), "colour picture"),
        (picture(), np.ones((3, 3), bool), "3 x 3 pixels"),
        (picture(), np.zeros((HEIGHT, WIDTH), bool), "next to nothing"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(image: Image, mask: NDArray[np.bool_], said: str) -> None:
    with pytest.raises(DataError, match=said):
        abcd(image, mask)


def test_phantoms_are_ordered_as_they_were_drawn() -> None:
    plain, ragged = (load_sample(f"phantom-skin-{name}") for name in ("symmetric", "irregular"))
    one, other = (abcd(case.image, case.regions[0].mask) for case in (plain, ragged))
    for name in ("asymmetry", "compactness", "colours", "variegation", "diameter"):
        assert other[name].value > one[name].value
    # Folded by another method, at the principal axes, as the phantom tells of itself.
    said = float(ragged.attributes["asymmetry"].split()[0])
    assert other["asymmetry"].value == pytest.approx(said, abs=0.08)


def test_the_place_among_other_lesions_is_the_share_below() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.gamma(3, size=4001)
    spread = range_of("variegation", drawn)
    for value in (0.5, 2.0, 6.0):
        assert spread.below(value) == pytest.approx((drawn < value).mean(), abs=0.02)
    assert (spread.below(-1), spread.below(1e6)) == (0, 1)
    assert spread.middle == pytest.approx(np.quantile(drawn, [0.1, 0.9]), rel=0.01)
    counted = rng.integers(0, 6, 500)
    counts = range_of("colours", counted)
    assert counts.below(3) == (counted < 3).mean()
    assert counts.middle == (0, 5)
    assert len(spread.quantiles) == len(LEVELS)


def test_lesions_are_compared_with_classes_that_have_enough() -> None:
    mask = disc(40)
    found = abcd(picture((mask, BROWN)), mask)
    few, enough = Range(n=5, quantiles=(1.0,) * len(LEVELS)), range_of("compactness", [1.2, 1.3, 1.4] * 10)
    ranges = Ranges(made_of="x.", by={"model": {"Melanoma": {"compactness": enough, "solidity": few}}})
    assert shares_below(found, ranges, "model", "Melanoma") == {"compactness": 0.0}
    assert shares_below(found, ranges, "reference", "Melanoma") == {}

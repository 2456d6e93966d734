"""Edits of a picture against closed forms: where a point lies afterwards, what the window shows, what is filled in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dashboard.whatif.edits import EDITS, apply_edits, carry
from dashboard.whatif.fill import fill_in
from dashboard.whatif.types import Edit, Through
from explainers.quality._imputation import impute
from models.errors import DataError
from models.preprocess import InputSpec, prepare, stack
from models.types import Geometry, Image, Modality, Window

SPEC = InputSpec(32, 32, 1)


def noise(height: int = 40, width: int = 50, unit: str = "unit interval", **facts: object) -> Image:
    values = np.random.default_rng(1).random((1, height, width)).astype(np.float32)
    return Image(values, unit, Modality.XRAY, **facts)  # type: ignore[arg-type]


def block(shape: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize(
    "edits",
    [
        [Edit("flip")],
        [Edit("flip", {"axis": "top-bottom"})],
        [Edit("crop", {"left": 10, "top": 5, "right": 20, "bottom": 5})],
        [Edit("rotate", {"angle": 25})],
        [Edit("crop", {"left": 8, "top": 10}), Edit("rotate", {"angle": -40}), Edit("flip")],
    ],
)
def test_a_point_stays_at_its_millimetres(edits: list[Edit]) -> None:
    """A bright block in an oblique scan with oblong pixels, found again by its centre of mass."""
    axes, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * (0.5, 0.9, 3.0), (12, -7, 30)
    values = np.zeros((1, 60, 90), dtype=np.float32)
    values[0, 26:31, 50:57] = 1

    def centre(image: Image) -> np.ndarray:
        assert image.geometry is not None
        weights = image.values[0]
        rows, columns = (np.average(index, weights=weights) for index in np.indices(weights.shape))
        return image.geometry.to_world(np.array([[columns, rows, 0.0]]))[0]

    image = Image(values, "unit interval", geometry=Geometry(affine), windows=(Window("as stored", 0.5, 1),))
    edited = apply_edits(image, edits)
    assert np.linalg.norm(centre(edited) - centre(image)) < 0.05
    assert edited.geometry is not None
    assert np.allclose(edited.geometry.spacing, image.geometry.spacing)  # type: ignore[union-attr]
    assert edited.windows == image.windows
    assert edited.values.sum() == pytest.approx(values.sum(), rel=0.02)
    there = carry(values[0] > 0, image, edits)
    assert edited.values[0][there].min() > 0.3


def test_quarter_and_half_turns_are_exact() -> None:
    image = noise(40, 40)
    turned = apply_edits(image, [Edit("rotate", {"angle": 90})])
    assert np.allclose(turned.values[0], np.rot90(image.values[0], -1), atol=1e-6)  # clockwise
    assert np.allclose(
        apply_edits(noise(), [Edit("rotate", {"angle": 180})]).values, noise().values[:, ::-1, ::-1], atol=1e-6
    )


def test_a_region_goes_along_and_edits_can_be_left_out() -> None:
    image, mask = noise(), block((40, 50), slice(4, 12), slice(5, 20))
    cover, flip = Edit("cover", {"shade": "black"}, mask), Edit("flip")
    first, last = apply_edits(image, [cover, flip]), apply_edits(image, [flip, cover])
    assert np.array_equal(first.values, last.values)
    assert not first.values[0, 4:12, 30:45].any()
    without = apply_edits(image, [Edit("flip", on=False), cover])
    assert np.array_equal(without.values[:, :, ::-1], first.values)
    assert apply_edits(image, [Edit("flip", on=False)]) is image
    # Order counts: brightened, then covered with black.
    bright = apply_edits(image, [Edit("brightness", {"shift": 50}), cover])
    assert bright.values[0][mask].max() == 0
    assert apply_edits(image, [cover, Edit("brightness", {"shift": 50})]).values[0][mask].min() == 0.5


def test_the_network_sees_what_the_new_window_shows() -> None:
    """Also one with a fixed window of its own, and through a curved window of the image's."""
    values = np.linspace(-1200, 800, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    new = Window("new", 40, 400)
    edit = Edit("window", {"center": 40, "width": 400})
    scan = Image(values, "HU", Modality.CT)
    fixed = InputSpec(32, 32, 1, window=Window("the model's", -600, 1500))
    seen = prepare(apply_edits(scan, [edit], fixed), fixed).tensor.numpy()[0]
    assert np.allclose(seen, new.apply(values), atol=1e-5)
    curved = Image(values, "stored value", windows=(Window("curve", 0, 900, "sigmoid"),))
    assert np.allclose(apply_edits(curved, [edit], SPEC).display(), new.apply(values), atol=1e-5)
    same = EDITS.get("window").start(scan, Through.of(scan, fixed.window), None)
    again = prepare(apply_edits(scan, [Edit("window", same)], fixed), fixed).tensor
    assert np.allclose(again, prepare(scan, fixed).tensor, atol=1e-5)


def test_brighter_is_brighter_where_values_are_inverted() -> None:
    image = Image(noise().values * 1000, "stored value", inverted=True, windows=(Window("w", 500, 1000),))
    shown = apply_edits(image, [Edit("brightness", {"shift": 10})], SPEC).display()
    assert np.allclose(shown, np.clip(image.display() + 0.1, 0, 1), atol=1e-5)
    black = apply_edits(image, [Edit("cover", {"shade": "black"}, np.ones((40, 50), bool))]).display()
    assert not black.any()
    strong = apply_edits(image, [Edit("contrast", {"factor": 2})], SPEC).display()
    assert np.allclose(strong, np.clip(0.5 + 2 * (image.display() - 0.5), 0, 1), atol=1e-5)


def test_cover_and_blur_against_their_definitions() -> None:
    colour = Image(np.random.default_rng(0).random((3, 60, 60)).astype(np.float32), "unit interval")
    mask = block((60, 60), slice(20, 30), slice(22, 40))
    covered = apply_edits(colour, [Edit("cover", {"shade": "mean"}, mask)]).values
    assert np.allclose(covered[:, 25, 25], colour.values.mean(axis=(1, 2)))
    assert np.array_equal(covered[:, ~mask], colour.values[:, ~mask])
    blurred = apply_edits(colour, [Edit("blur", {"strength": 5}, mask)]).values
    whole = gaussian_filter(colour.values, (0, 3, 3), mode="nearest", truncate=3)
    assert np.allclose(blurred, np.where(mask, whole, colour.values), atol=1e-6)


def test_neighbouring_slices_are_edited_alike(ct_volume: Image) -> None:
    spec = InputSpec(40, 50, 3, slices=3, slice_step_mm=1.0)
    for index in (0, 3, 6):
        plane = ct_volume.slice(index)
        flipped = apply_edits(plane, [Edit("flip")], spec)
        assert np.array_equal(stack(flipped, spec), stack(plane, spec)[..., ::-1])
        assert np.array_equal(flipped.values, plane.values[..., ::-1])
        assert flipped.geometry is not None
        assert plane.geometry is not None
        assert np.allclose(flipped.geometry.to_world([[49, 3, 0]]), plane.geometry.to_world([[0, 3, 0]]))  # type: ignore[arg-type]


def test_filling_in_continues_a_slope_and_large_regions_agree_with_the_direct_solution() -> None:
    rows, columns = np.indices((60, 80), dtype=np.float32)
    slope = (0.01 * rows + 0.02 * columns)[None]
    mask = block((60, 80), slice(15, 40), slice(20, 60))
    assert np.allclose(fill_in(np.where(mask, 9, slope).astype(np.float32), mask), slope, atol=1e-4)
    plane = gaussian_filter(np.random.default_rng(0).random((1, 210, 210)), (0, 6, 6)).astype(np.float32)
    yes = (np.indices((210, 210)) - 105) ** 2
    disc = yes[0] + yes[1] < 85**2
    disc[20:60, 20:60] = True
    off = np.abs(fill_in(plane, disc) - impute(plane, disc)).max()
    assert off < 0.03 * np.ptp(plane)


def test_a_crop_begins_around_the_region_drawn() -> None:
    image = noise(100, 200)
    for mask in (block((100, 200), slice(40, 60), slice(50, 120)), block((100, 200), slice(0, 1), slice(199, 200))):
        start = EDITS.get("crop").start(image, Through.of(image), mask)
        left = carry(mask, image, [Edit("crop", start)])
        assert left.sum() == mask.sum()
        assert left.size < mask.size / 2


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit("cover"), "draw one"),
        (Edit("cover", {}, np.ones((3, 3), bool)), "draw it on this picture"),
        (Edit("melt"), "known: cover"),
        (Edit("crop", {"left": 60, "right": 60}), "cut off less"),
        (Edit("rotate", {"angle": 700}), "between -180 and 180"),
        (Edit("rotate", {"angel": 7}), "has no setting"),
        (Edit("window", {"width": 0.0}), "width"),
        (Edit("inpaint", {}, np.ones((40, 50), bool)), "smaller"),
    ],
)
def test_bad_edits_are_refused_in_one_sentence(edit: Edit, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        apply_edits(noise(), [edit])
    assert str(caught.value).endswith(".")
    assert ". " not in str(caught.value)

"""What is sent of a volume, decoded here by its own description and compared with the image."""

from __future__ import annotations

from unittest import mock

import nibabel
import numpy as np
import pytest
from nibabel.orientations import io_orientation
from scipy.spatial.transform import Rotation

from dashboard.widgets.volume_viewer import Overlay, Strip, packing
from dashboard.widgets.volume_viewer.overlays import UNKNOWN, pack_overlay, strip_facts
from dashboard.widgets.volume_viewer.packing import PackedVolume, block_factors, block_mean, chunk, pack_volume
from dashboard.widgets.volume_viewer.planes import Plane, planes_of
from models.errors import DataError
from models.types import FloatArray, Geometry, Image, Modality

SHAPE = (11, 14, 9)  # slices, rows, columns


def volume(values: np.ndarray, spacing: tuple[float, float, float] = (0.7, 0.7, 2.0)) -> Image:
    return Image(values.astype(np.float32)[None], "HU", Modality.CT, Geometry(np.diag([*spacing, 1.0])))


def numbers(packed: PackedVolume, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    sent = np.frombuffer(data[32:], packed.coarse.facts["dtype"]).reshape(shape)
    return sent * packed.scale + packed.offset


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(-1024, 3071, "i2"), (0, 255, "u1"), (0, 65535, "i2"), (40000, 40010, "u1")],
    ids=lambda end: str(end),
)
def test_whole_numbers_come_through_exactly(low: int, high: int, kind: str) -> None:
    values = np.random.default_rng(0).integers(low, high + 1, SHAPE)
    values.flat[:2] = low, high
    packed = pack_volume(volume(values))
    assert packed.coarse.facts["dtype"] == kind
    assert packed.coarse.facts["exact"]
    assert packed.coarse.facts["factors"] == [1, 1, 1]
    np.testing.assert_array_equal(numbers(packed, packed.coarse.data, SHAPE), values)


def test_other_values_are_within_half_a_step_and_say_so() -> None:
    values = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    packed = pack_volume(volume(values))
    assert not packed.coarse.facts["exact"]
    step = float(np.ptp(values)) / 65535
    np.testing.assert_allclose(numbers(packed, packed.coarse.data, SHAPE), values, atol=0.51 * step)


@pytest.mark.parametrize("factors", [(2, 2, 2), (3, 2, 1), (1, 1, 4), (9, 14, 11)])
def test_the_small_copy_is_the_mean_of_blocks(factors: tuple[int, int, int]) -> None:
    values = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32) * 500
    means = block_mean(values, factors)
    across, down, through = factors
    for slab, row, column in ((0, 0, 0), tuple(length - 1 for length in means.shape)):
        block = values[
            slab * through : (slab + 1) * through,
            row * down : (row + 1) * down,
            column * across : (column + 1) * across,
        ]
        assert means[slab, row, column] == pytest.approx(block.mean(dtype=np.float64), rel=1e-5, abs=1e-3)
    assert means.shape == tuple(-(-length // factor) for length, factor in zip(SHAPE, factors[::-1], strict=True))
    # The whole again: every block weighted by the voxels it holds.
    counts = [np.diff([*range(0, n, f), n]) for n, f in zip(SHAPE, factors[::-1], strict=True)]
    total = np.einsum("ijk,i,j,k->", means.astype(np.float64), *counts)
    assert total == pytest.approx(values.sum(dtype=np.float64), rel=1e-4, abs=0.05)


def test_blocks_are_nearly_cubes_that_fit_the_budget() -> None:
    assert block_factors((512, 512, 300), (0.7, 0.7, 1.0), 2, 20_000_000) == (2, 2, 2)
    assert block_factors((512, 512, 40), (0.7, 0.7, 5.0), 2, 20_000_000) == (2, 1, 1)
    assert block_factors((256, 256, 150), (1, 1, 1), 2, 20_000_000) == (1, 1, 1)
    assert block_factors((2, 2, 2), (1, 1, 1), 2, 2) == (2, 2, 2)


def test_chunks_hold_the_very_planes() -> None:
    values = np.random.default_rng(4).integers(-1024, 3000, SHAPE)
    image = volume(values)
    with mock.patch.object(packing, "CHUNK_BYTES", 600):
        packed = pack_volume(image)
    assert packed.run == (2, 3, 2)
    for axis, run in enumerate(packed.run):
        planes = np.moveaxis(values, 2 - axis, 0)
        seen = []
        for number in range(-(-len(planes) // run)):
            name = f"{packed.id}{axis}{number:07d}"
            sent = chunk(image, packed, name)
            assert sent is not None
            assert sent.data[:32].decode() == sent.blob == name
            expected = planes[number * run : (number + 1) * run]
            seen.append(len(expected))
            np.testing.assert_array_equal(numbers(packed, sent.data, expected.shape), expected)
        assert sum(seen) == len(planes)
        for kind, project in ((3, np.max), (6, np.min)):
            sent = chunk(image, packed, f"{packed.id}{axis + kind}{0:07d}")
            assert sent is not None
            np.testing.assert_array_equal(numbers(packed, sent.data, planes[0].shape), project(planes, axis=0))


@pytest.mark.parametrize("name", ["x" * 24 + "00000000", "{id}20000099", "{id}90000000", "{id}0-000001", "{id}2000000"])
def test_a_name_that_means_nothing_gets_no_answer(name: str) -> None:
    image = volume(np.zeros(SHAPE))
    packed = pack_volume(image)
    assert chunk(image, packed, name.format(id=packed.id)) is None


def test_the_name_of_a_volume_is_its_content() -> None:
    values = np.random.default_rng(5).integers(0, 3000, SHAPE)
    changed = values.copy()
    changed[-1, -1, -1] += 1
    assert pack_volume(volume(values)).id == pack_volume(volume(values.copy())).id != pack_volume(volume(changed)).id


def oblique(seed: int) -> tuple[np.ndarray, Geometry]:
    """Axes in any order and direction, turned by up to 25 degrees; with the affine as NIfTI has it (RAS)."""
    rng = np.random.default_rng(seed)
    order, signs = rng.permutation(3), rng.choice([-1, 1], 3)
    axes = np.zeros((3, 3))
    axes[order, range(3)] = signs
    turn = Rotation.from_rotvec(np.radians(rng.uniform(0, 25)) * rng.normal(size=3) / np.sqrt(3)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes @ np.diag(rng.uniform(0.5, 5, 3))
    affine[:3, 3] = rng.normal(size=3) * 50
    return affine, Geometry(np.diag([-1.0, -1, 1, 1]) @ affine)


@pytest.mark.parametrize("seed", range(20))
def test_planes_are_those_of_nibabels_canonical_orientation(seed: int) -> None:
    affine, geometry = oblique(seed)
    axial, coronal, sagittal = planes_of(geometry)
    # nibabel: for each array axis the nearest axis of (right, anterior, superior) and whether it runs that way.
    nearest = io_orientation(affine)
    towards = {int(world): (axis, int(way)) for axis, (world, way) in enumerate(nearest)}
    left, back, foot = ((axis, -way) for axis, way in (towards[0], towards[1], towards[2]))
    assert (axial.through, axial.across, axial.down) == (foot[0], left, back)
    assert (coronal.through, coronal.across, coronal.down) == (back[0], left, foot)
    assert (sagittal.through, sagittal.across, sagittal.down) == (left[0], back, foot)


def test_pictures_equal_slices_of_nibabels_canonical_copy() -> None:
    """A sagittal series stored from left to right, as its reader sees it, against nibabel's own reordering."""
    values = np.random.default_rng(6).integers(0, 100, (5, 6, 7)).astype(np.int16)
    affine = np.array([[0, 0, -3.0, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
    image = nibabel.Nifti1Image(np.moveaxis(values, (0, 1, 2), (2, 1, 0)), affine)
    right_front_head = np.asarray(nibabel.as_closest_canonical(image).dataobj)
    axial, coronal, sagittal = planes_of(Geometry(np.diag([-1.0, -1, 1, 1]) @ affine))

    def picture(plane: Plane) -> np.ndarray:
        moved = np.moveaxis(values, (2 - plane.through, 2 - plane.down[0], 2 - plane.across[0]), (0, 1, 2))[0]
        return moved[:: plane.down[1], :: plane.across[1]]

    canonical = right_front_head[::-1, ::-1, ::-1]  # left, back, foot
    first = {way: 0 if way > 0 else -1 for way in (1, -1)}
    np.testing.assert_array_equal(picture(axial), canonical[:, :, first[coronal.down[1]]].T)
    np.testing.assert_array_equal(picture(coronal), canonical[:, first[axial.down[1]], :].T)
    np.testing.assert_array_equal(picture(sagittal), canonical[first[axial.across[1]], :, :].T)


def test_without_patient_coordinates_the_planes_are_those_of_the_array() -> None:
    for geometry in (None, Geometry.from_spacing(0.5, 0.5)):
        assert [plane.title for plane in planes_of(geometry)] == ["Slices", "Rows", "Columns"]
        assert [plane.through for plane in planes_of(geometry)] == [2, 1, 0]


def test_masks_travel_as_the_bits_of_their_box() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[3:7, 5, 2:8] = np.random.default_rng(7).random((4, 6)) > 0.3
    mask[3, 5, 2] = mask[6, 5, 7] = True
    packed = pack_overlay(Overlay("m", "Mask", mask), SHAPE[::-1])
    shape, first = packed.facts["shape"], packed.facts["first"]
    assert (shape, first) == ([4, 1, 6], [2, 5, 3])
    bits = np.unpackbits(np.frombuffer(packed.data[32:], np.uint8))[: np.prod(shape)].reshape(shape)
    np.testing.assert_array_equal(bits, mask[3:7, 5:6, 2:8])
    empty = pack_overlay(Overlay("m", "Mask", np.zeros(SHAPE, bool)), SHAPE[::-1])
    assert (empty.blob, empty.facts["shape"]) == ("", [0, 0, 0])


def test_maps_keep_their_values_and_say_where_they_have_none() -> None:
    values: FloatArray = np.random.default_rng(8).normal(size=(5, 6, 7)).astype(np.float32)
    values[0, 0, 0] = np.nan
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])  # column 5 would lie at 10, beyond the image's nine columns
    packed = pack_overlay(Overlay("v", "Map", values=values, grid_to_image=matrix), SHAPE[::-1])
    sent = np.frombuffer(packed.data[32:], np.int16).reshape(packed.facts["shape"])
    inside = np.zeros(values.shape, bool)
    inside[:, :, :5] = True
    inside[0, 0, 0] = False
    np.testing.assert_array_equal(sent != UNKNOWN, inside)
    scale = packed.facts["scale"]
    np.testing.assert_allclose(sent[inside] * scale, values[inside], atol=0.51 * scale)


def test_large_maps_are_averaged_and_keep_their_place() -> None:
    values = np.random.default_rng(9).normal(size=(4, 6, 8)).astype(np.float32)
    matrix = np.eye(4)
    with mock.patch("dashboard.widgets.volume_viewer.overlays.MAP_BYTES", 60):
        packed = pack_overlay(Overlay("v", "Map", values=values, grid_to_image=matrix), (8, 6, 4))
    assert packed.facts["shape"] == [2, 3, 4]
    assert not packed.facts["exact"]
    placed = np.reshape(packed.facts["grid_to_image"], (3, 4))
    np.testing.assert_allclose(placed @ [0, 0, 0, 1], [0.5, 0.5, 0.5])
    np.testing.assert_allclose(placed @ [1, 2, 1, 1], [2.5, 4.5, 2.5])
    sent = np.frombuffer(packed.data[32:], np.int16).reshape(2, 3, 4) * packed.facts["scale"]
    np.testing.assert_allclose(sent[0, 0, 0], values[:2, :2, :2].mean(), atol=1e-4)


def test_read_only_arrays_are_packed_once() -> None:
    mask = np.ones(SHAPE, bool)
    first = pack_overlay(Overlay("a", "A", mask), SHAPE[::-1])
    assert pack_overlay(Overlay("a", "A", mask), SHAPE[::-1]).data is not first.data, "a writeable array may change"
    mask.setflags(write=False)
    kept = pack_overlay(Overlay("a", "A", mask), SHAPE[::-1])
    again = pack_overlay(Overlay("b", "B", mask), SHAPE[::-1])
    assert again.data is kept.data
    assert again.facts["title"] == "B"


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    plane = Image(np.zeros((1, 8, 8), np.float32), "HU")
    with pytest.raises(DataError, match="at least two slices"):
        pack_volume(plane)
    with pytest.raises(DataError, match="at least two slices"):
        pack_volume(Image(np.zeros((1, 1, 8, 8), np.float32), "HU"))
    with pytest.raises(DataError, match="colours"):
        pack_volume(Image(np.zeros((3, 4, 8, 8), np.float32), "unit interval"))
    with pytest.raises(DataError, match=r"\(2, 3, 4\) but the image has \(11, 14, 9\)"):
        pack_overlay(Overlay("m", "Mask", np.zeros((2, 3, 4), bool)), SHAPE[::-1])
    with pytest.raises(DataError, match="either a mask or values"):
        Overlay("m", "Mask")
    with pytest.raises(DataError, match="invertible"):
        Overlay("m", "Map", values=np.zeros((2, 2, 2), np.float32), grid_to_image=np.zeros((4, 4)))
    with pytest.raises(DataError, match="one number for each of 11 slices"):
        strip_facts(Strip("s", "Score", np.zeros(3, np.float32)), 11)


def test_unknown_numbers_of_a_strip_stay_unknown() -> None:
    facts = strip_facts(Strip("s", "Score", np.array([0.5, np.nan, 1], np.float32), threshold=0.7), 3)
    assert facts["values"] == [0.5, None, 1.0]

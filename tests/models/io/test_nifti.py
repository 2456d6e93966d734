"""NIfTI: the same voxel at the same millimetre whatever the order of axes, and values as nibabel scales them."""

from __future__ import annotations

import gzip
import itertools

import nibabel
import numpy as np
import pytest

from models.io import Case, read_bytes
from models.types import Modality

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn, (a, b) = np.eye(3), [index for index in range(3) if index != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def nifti(data: np.ndarray, affine: np.ndarray | None = None, kind: type = nibabel.Nifti1Image) -> bytes:
    image = kind(data, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def read(data: bytes, **options: object) -> Case:
    result = read_bytes("x.nii", data, **options)
    assert not result.failures, result.failures
    (case,) = result.cases
    return case


def message(data: bytes) -> str:
    result = read_bytes("x.nii", data)
    assert not result.cases
    (failure,) = result.failures
    return failure.message


ORIENTATIONS = [
    "".join(pair[flip] for pair, flip in zip(pairs, flips, strict=True))
    for pairs in itertools.permutations(("LR", "PA", "IS"))
    for flips in itertools.product((0, 1), repeat=3)
]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_axis_order_keeps_each_voxel_at_its_millimetre(codes):
    base = np.eye(4)
    base[:3, :3] = rotation((12, -8, 20)) @ np.diag([0.9, 1.3, 2.5])
    base[:3, 3] = [-40, 15, 60]
    shape = (5, 6, 7)
    change = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt(tuple(codes)), nibabel.orientations.axcodes2ornt("RAS")
    )
    back = nibabel.orientations.inv_ornt_aff(change, [shape[int(axis)] for axis in np.argsort(change[:, 0])])
    affine = base @ np.linalg.inv(back)
    values = np.random.default_rng(7).permutation(210).reshape([shape[int(axis)] for axis in change[:, 0]])
    case = read(nifti(values.astype(np.int16), affine))
    assert nibabel.aff2axcodes(RAS_TO_LPS @ case.image.geometry.affine) == ("L", "P", "S")
    assert case.image.values.shape == (1, 7, 6, 5)
    for stored in [(0, 0, 0), tuple(size - 1 for size in values.shape), (2, 1, 3)]:
        slice_, row, column = np.argwhere(case.image.values[0] == values[stored])[0]
        ours = case.image.geometry.to_world(np.array([[column, row, slice_]], dtype=float))[0]
        theirs = (RAS_TO_LPS @ affine @ [*stored, 1])[:3]
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_bright_block_in_an_oblique_volume_lies_at_its_millimetre():
    affine = np.eye(4)
    affine[:3, :3] = rotation((0, 15, -30)) @ np.diag([-1.0, 1.0, 3.0])
    affine[:3, 3] = [50, -60, -20]
    data = np.zeros((20, 24, 10), dtype=np.uint8)
    data[4:7, 10:13, 6:9] = 200
    image = read(nifti(data, affine)).image
    found = np.argwhere(image.values[0] > 100).mean(axis=0)[::-1][None]
    np.testing.assert_allclose(image.geometry.to_world(found)[0], (RAS_TO_LPS @ affine @ [5, 11, 7, 1])[:3], atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((1, 6, 7), "PI"), ((5, 1, 7), "LI"), ((5, 6, 1), "LP"), ((5, 6), "LP")],
)
def test_a_single_slice_hangs_as_usual(shape, axes):
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    image = read(nifti(values)).image
    assert not image.is_volume
    assert "".join(nibabel.aff2axcodes(RAS_TO_LPS @ image.geometry.affine)[:2]) == axes
    assert np.linalg.det(image.geometry.affine) > 0
    ours = image.geometry.to_world(np.array([[0.0, 0, 0]]))[0]
    stored = np.argwhere(values.reshape((*shape, 1)[:3]) == image.values[0, 0, 0])[0]
    np.testing.assert_allclose(ours, (RAS_TO_LPS @ [*stored, 1.0])[:3], atol=1e-6)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_scaling_versions_byte_order_and_gzip(kind, order):
    stored = (np.arange(60).reshape(3, 4, 5) * 11 - 300).astype(np.int16)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = kind(stored, np.diag([-1.0, -1, 1, 1]), header)
    image.header.set_slope_inter(0.25, -7)
    # nibabel scales on writing so that reading gives the array back; 0.25 divides nothing here.
    plain = image.to_bytes()
    expected = kind.from_bytes(plain).get_fdata()
    for data in (plain, gzip.compress(plain)):
        np.testing.assert_allclose(read(data).image.values[0], expected.transpose(2, 1, 0), rtol=1e-6)


def test_slope_and_intercept_of_the_header():
    data = bytearray(nifti(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.diag([-1.0, -1, 1, 1])))
    data[112:120] = np.array([2.5, -100], dtype="<f4").tobytes()
    np.testing.assert_array_equal(read(bytes(data)).image.values.ravel()[[0, 1]], [-100, -90])


@pytest.mark.parametrize(("code", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1)])
def test_units_of_length(code, factor):
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8) + 5, np.diag([2.0, 3, 4, 1]))
    image.header.set_xyzt_units(code)
    assert read(image.to_bytes()).image.geometry.spacing == pytest.approx((2 * factor, 3 * factor, 4 * factor))


def test_no_orientation_is_noted_and_claims_no_place():
    data = bytearray(nifti(np.ones((2, 3, 4), np.uint8), np.diag([2.0, 3, 4, 1])))
    data[252:256] = bytes(4)  # qform_code, sform_code
    case = read(bytes(data))
    assert case.image.geometry.frame == "plane"
    assert case.image.geometry.spacing == pytest.approx((2, 3, 4))
    assert "left and right are a guess" in case.provenance.notes[0]


def test_the_first_of_several_volumes():
    data = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 6)).astype(np.int16)
    case = read(nifti(data, np.diag([-1.0, -1, 1, 1])))
    np.testing.assert_array_equal(case.image.values[0], data[..., 0].T)
    assert "Volume 1 of 6" in case.provenance.notes[0]
    assert not read(nifti(data[..., :1])).provenance.notes


@pytest.mark.parametrize("codes", ["LPS", "SAR", "PIL"])
@pytest.mark.parametrize(("dtype", "slope"), [(">i2", 1), ("<i2", 0.1), ("<f8", 1), ("<u1", 3)])
def test_thick_volumes_are_put_together_piece_by_piece(codes, dtype, slope):
    stored = np.random.default_rng(4).integers(0, 255, (9, 18, 37)).astype(dtype)
    turn = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(codes), stored.shape)
    header = nibabel.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(stored.dtype)
    image = nibabel.Nifti1Image(stored, np.linalg.inv(turn), header)
    image.header.set_slope_inter(slope, -7 if slope != 1 else 0)
    data = image.to_bytes()
    whole = nibabel.as_closest_canonical(nibabel.Nifti1Image.from_bytes(data))
    expected = whole.get_fdata()[::-1, ::-1].T.astype(np.float32)
    np.testing.assert_array_equal(read(data).image.values[0], expected)


def test_a_sheared_volume_is_noted():
    affine = np.diag([-1.0, -1.0, 4.0, 1.0])
    affine[1, 2] = 4 * np.tan(np.deg2rad(20))
    case = read(nifti(np.ones((5, 6, 7), np.uint8), affine))
    assert "lean by 20.0 degrees" in case.provenance.notes[0]
    assert abs(np.linalg.det(case.image.geometry.affine)) == pytest.approx(4, rel=1e-6)


def test_rgb():
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 2, 3)).astype(np.uint8)
    packed = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    image = read(nifti(packed, np.diag([-1.0, -1, 1, 1]))).image
    assert image.unit == "unit interval"
    np.testing.assert_allclose(image.values, colours.transpose(3, 2, 1, 0) / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("low", "modality", "unit", "result"),
    [
        (-1000, None, "HU", Modality.CT),
        (0, None, "stored value", Modality.UNKNOWN),
        (0, Modality.CT, "HU", Modality.CT),
        (-1000, Modality.MR, "stored value", Modality.MR),
    ],
)
def test_hounsfield_units_by_look_or_by_word(low, modality, unit, result):
    data = np.linspace(low, 900, 60).astype(np.int16).reshape(3, 4, 5)
    image = read(nifti(data), modality=modality).image
    assert (image.unit, image.modality) == (unit, result)


def test_holes_take_the_smallest_value_and_are_noted():
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 5
    data[1, 1, 1], data[0, 0, 0] = np.nan, np.inf
    case = read(nifti(data))
    assert case.image.values.min() == -4
    assert np.isfinite(case.image.values).all()
    assert case.provenance.notes[0].startswith("2 of 24 values")


def test_refusals():
    assert "no numbers at all" in message(nifti(np.full((2, 2, 2), np.nan, np.float32)))
    assert "complex" in message(nifti(np.ones((2, 2, 2), np.complex64)))
    assert "more than four axes" in message(nifti(np.ones((2, 2, 2, 1, 3), np.float32)))
    assert "cut short" in message(nifti(np.ones((9, 9, 9), np.float32))[:-100])
    pair = bytearray(nifti(np.ones((2, 2, 2), np.uint8)))
    pair[344:348] = b"ni1\0"
    assert "one half of a NIfTI pair" in message(bytes(pair))
    huge = bytearray(nifti(np.ones((2, 2, 2), np.uint8)))
    huge[40:48] = np.array([3, 32000, 32000, 32000], "<i2").tobytes()
    assert "over the limit" in message(bytes(huge))
    huge[40:48] = np.array([3, 600, 600, 600], "<i2").tobytes()
    assert "cut short" in message(bytes(huge))
    huge[40:48] = np.array([3, 0, 600, 600], "<i2").tobytes()
    assert "empty" in message(bytes(huge))
    singular = bytearray(nifti(np.ones((2, 2, 2), np.uint8)))
    singular[312:328] = np.array([0, 1, 0, 0], "<f4").tobytes()  # srow_z
    assert "does not state its voxel size" in message(bytes(singular))
    singular[312:328] = np.array([0, 1, 1e-13, 0], "<f4").tobytes()
    assert "orientation cannot be used" in message(bytes(singular))

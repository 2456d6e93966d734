"""Which slices make a volume: repeats, copies, localisers, tilted and uneven stacks; the same content any way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from models.errors import DataError, SightlineError
from models.io import read_case, read_uploads
from models.io.base import Options, decoding
from models.io.dicom_header import parse, unit_of
from models.io.dicom_pixels import VALUE_KEYWORDS, decode, pixel_info, to_values
from models.types import Geometry
from tests.models.io.test_dicom_geometry import ds_list, shuffled

AXIAL = ["1", "0", "0", "0", "1", "0"]


def series(make_dicom, count: int = 4, first: int = 0, **elements: Any) -> list[bytes]:
    """Axial slices 2 mm apart, slice k filled with ``first + k``; elements may be functions of k."""
    files = []
    for index in range(count):
        own = {name: value(index) if callable(value) else value for name, value in elements.items()}
        place = {
            "ImageOrientationPatient": AXIAL,
            "ImagePositionPatient": ds_list(np.array([0.0, 0, 2 * index])),
            "PixelSpacing": ["0.5", "0.5"],
            "SeriesInstanceUID": "1.2.3",
        }
        pixels = np.full((3, 4), first + index, dtype=np.int16)
        files.append(make_dicom(pixels, **({key: value for key, value in (place | own).items() if value is not None})))
    return files


def levels(case) -> list[float]:
    """The value of each slice."""
    return case.image.values[0, :, 0, 0].tolist()


@pytest.mark.parametrize(
    "order",
    [
        lambda phase, index: {"AcquisitionNumber": str(phase), "InstanceNumber": str(index)},
        lambda phase, index: {"AcquisitionNumber": "1", "InstanceNumber": str(4 * phase + index)},
        lambda phase, index: {"InstanceNumber": str(2 * index + phase)},
        lambda phase, index: {"ContentTime": f"10{phase:02}0{index}.5"},
        lambda phase, index: {"TemporalPositionIdentifier": str(phase), "ContentTime": "101500"},
    ],
)
def test_every_position_held_twice_makes_two_volumes(make_dicom, order):
    files = []
    for phase in (1, 2):
        own = {key: lambda k, key=key, phase=phase: order(phase, k)[key] for key in order(phase, 0)}
        files += series(make_dicom, first=100 * phase, **own)
    result = read_uploads(shuffled(files, 5))
    assert not result.failures
    assert [levels(case) for case in result.cases] == [[100, 101, 102, 103], [200, 201, 202, 203]]
    assert [case.provenance.notes[0][:13] for case in result.cases] == ["Number 1 of 2", "Number 2 of 2"]
    assert all("holds every slice 2 times" in case.provenance.notes[0] for case in result.cases)
    np.testing.assert_array_equal(*(case.image.geometry.affine for case in result.cases))


def test_of_slices_that_are_held_twice_in_part_the_first_taken_are_kept(make_dicom):
    files = series(make_dicom, first=100, AcquisitionNumber="1") + series(make_dicom, 2, 200, AcquisitionNumber="2")
    for seed in range(3):
        (case,) = read_uploads(shuffled(files, seed)).cases
        assert levels(case) == [100, 101, 102, 103]
        assert case.provenance.notes == ("2 slice(s) at a position already taken were left out.",)


def test_repeats_that_nothing_tells_apart_are_not_mixed_into_volumes(make_dicom):
    (case,) = read_uploads(shuffled(series(make_dicom) + series(make_dicom, first=9))).cases
    assert case.image.depth == 4
    assert "4 slice(s) at a position already taken" in case.provenance.notes[0]


def test_copies_of_a_file_are_used_once(make_dicom):
    files = series(make_dicom, InstanceNumber=lambda k: str(k))
    (case,) = read_uploads(shuffled(files * 2)).cases
    assert levels(case) == [0, 1, 2, 3]
    assert case.provenance.notes == ("4 slice(s) were there twice, as copies of the same file, and were used once.",)


def test_a_localiser_is_kept_apart_and_left_out_beside_one_scan(make_dicom, tmp_path):
    scout = series(
        make_dicom,
        1,
        ImagePositionPatient=ds_list(np.array([0.0, 0, 7])),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    for name, data in shuffled(series(make_dicom) + scout):
        (tmp_path / name).write_bytes(data)
    case = read_case(tmp_path)
    assert levels(case) == [0, 1, 2, 3]
    assert case.provenance.notes == ("1 localiser image(s) at the same place were left out.",)
    (alone,) = read_uploads([("x", scout[0])]).cases
    assert "localiser (scout)" in alone.provenance.notes[0]


def test_what_several_images_are_is_said(make_dicom, tmp_path):
    coronal = ["1", "0", "0", "0", "0", "-1"]
    along = lambda k: ds_list(np.array([0.0, 3.0 * k, 0]))  # noqa: E731
    files = series(make_dicom) + series(make_dicom, 3, ImageOrientationPatient=coronal, ImagePositionPatient=along)
    files += series(make_dicom, 1, SeriesInstanceUID="1.2.9")
    for name, data in shuffled(files):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"There are 3 images .*volumes of [34], [34] slices, 1 single picture\(s\)"):
        read_case(tmp_path)


def test_slices_without_pixel_spacing_make_a_volume_that_cannot_be_measured(make_dicom):
    (case,) = read_uploads(shuffled(series(make_dicom, PixelSpacing=None))).cases
    assert levels(case) == [0, 1, 2, 3]
    assert case.image.geometry is None
    assert "do not state their pixel spacing" in case.provenance.notes[0]


def test_slices_of_another_size_are_kept_apart(make_dicom, ramp):
    other = make_dicom(
        ramp,
        ImageOrientationPatient=AXIAL,
        ImagePositionPatient=["0", "0", "9"],
        SeriesInstanceUID="1.2.3",
        PixelSpacing=["0.5", "0.5"],
    )
    result = read_uploads(shuffled([*series(make_dicom), other]))
    assert sorted(case.image.depth for case in result.cases) == [1, 4]


def test_a_file_cut_off_in_its_header_is_listed_and_leaves_a_gap(make_dicom):
    files = series(make_dicom, 6)
    files[2] = files[2][:400]
    result = read_uploads(shuffled(files))
    assert sorted(len(levels(case)) for case in result.cases) == [5]
    assert len(result.failures) == 1
    (case,) = result.cases
    assert "1 slice(s) are missing" in case.provenance.notes[0]
    assert case.image.geometry.uneven_mm == pytest.approx((2, 4))


def test_a_slice_that_cannot_be_decoded_makes_the_grid_uneven(make_dicom):
    files = series(make_dicom, 6)
    files[3] = files[3][:-10]
    (case,) = read_uploads(shuffled(files)).cases
    assert levels(case) == [0, 1, 2, 4, 5]
    assert case.image.geometry.uneven_mm == pytest.approx((2, 4))
    assert case.image.slice(1).geometry.uneven_mm is None


@pytest.mark.parametrize(
    ("heights", "uneven_mm"),
    [([0, 2, 4, 6], None), ([0, 2, 4.02, 6], None), ([0, 2, 4, 9], (2, 5)), ([0, 1, 2.5, 4.5], (1, 2))],
)
def test_uneven_spacing_is_told(make_dicom, heights, uneven_mm):
    at = lambda k: ds_list(np.array([0.0, 0, heights[k]]))  # noqa: E731
    (case,) = read_uploads(shuffled(series(make_dicom, ImagePositionPatient=at))).cases
    found = case.image.geometry.uneven_mm
    assert found == (None if uneven_mm is None else pytest.approx(uneven_mm))
    assert any("unevenly spaced" in note for note in case.provenance.notes) == (uneven_mm is not None)


def test_slices_shifted_sideways_are_noted_but_even(make_dicom):
    at = lambda k: ds_list(np.array([5.0 * (k == 2), 0, 2 * k]))  # noqa: E731
    (case,) = read_uploads(shuffled(series(make_dicom, ImagePositionPatient=at))).cases
    assert case.image.geometry.uneven_mm is None
    assert "shifted sideways" in case.provenance.notes[0]


@pytest.mark.parametrize(
    ("degrees", "stated", "words"),
    [
        (0, None, []),
        (0, "0", []),
        (15, None, ["lean by 15.0 degrees"]),
        (15, "-15.2", ["lean by 15.0 degrees"]),
        (
            15,
            "0",
            ["lean by 15.0 degrees", "states a gantry tilt of 0 degrees, the positions of the slices one of 15.0"],
        ),
        (0, "12.5", ["states a gantry tilt of 12.5 degrees, the positions of the slices none"]),
    ],
)
def test_a_tilted_gantry(make_dicom, degrees, stated, words):
    """The table moves along z, the slices are turned about x: PS3.3 gives each its own corner, and the grid is sheared."""
    angle = np.deg2rad(degrees)
    axes = np.array([1, 0, 0, 0, np.cos(angle), np.sin(angle)])
    extra = {} if stated is None else {"GantryDetectorTilt": stated}
    files = series(make_dicom, ImageOrientationPatient=ds_list(axes), **extra)
    (case,) = read_uploads(shuffled(files)).cases
    geometry = case.image.geometry
    np.testing.assert_allclose(geometry.affine[:3, :3].T, [axes[:3] * 0.5, axes[3:] * 0.5, [0, 0, 2]], atol=1e-9)
    assert geometry.tilt_degrees == pytest.approx(degrees, abs=1e-5)
    assert abs(np.linalg.det(geometry.affine)) == pytest.approx(0.5 * 0.5 * 2 * np.cos(angle))
    assert len(case.provenance.notes) == len(words)
    for note, part in zip(case.provenance.notes, words, strict=True):
        assert part in note


def test_tilt_is_that_of_the_axis_that_leaves_the_right_angle():
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.4, 0.7, 5])
    assert Geometry(affine).tilt_degrees == pytest.approx(0, abs=1e-5)
    affine[:3, 2] = turn @ [3 * np.sin(0.3), 0, 3 * np.cos(0.3)]
    assert Geometry(affine).tilt_degrees == pytest.approx(np.rad2deg(0.3))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_flipped_and_turned_copies_hold_the_same_values_at_the_same_millimetres(make_dicom, turned, flips):
    content = np.random.default_rng(1).permutation(60).reshape(5, 4, 3).astype(np.int16)  # z, y, x
    axes, steps = np.eye(3), np.array([0.5, 0.7, 2])
    across, down = (1, 0) if turned else (0, 1)
    files = []
    for index, plane in enumerate(content):
        pixels = (plane.T if turned else plane)[:: flips[1], :: flips[0]]
        corner = np.array([0, 0, index * steps[2]])
        for axis, flip in ((across, flips[0]), (down, flips[1])):
            corner[axis] = (content.shape[2 - axis] - 1) * steps[axis] if flip < 0 else 0
        place = {
            "ImageOrientationPatient": ds_list(np.concatenate([axes[across] * flips[0], axes[down] * flips[1]])),
            "ImagePositionPatient": ds_list(corner),
            "PixelSpacing": [str(steps[down]), str(steps[across])],
        }
        files.append(make_dicom(np.ascontiguousarray(pixels), SeriesInstanceUID="1.2.3", **place))
    (case,) = read_uploads(shuffled(files)).cases
    points = np.argwhere(np.ones(case.image.values.shape[1:]))
    millimetres = case.image.geometry.to_world(points[:, ::-1].astype(float))
    z, y, x = np.rint(millimetres / steps).astype(int).T[::-1]
    np.testing.assert_array_equal(case.image.values[0][tuple(points.T)], content[z, y, x])


def test_slices_whose_rescale_stands_in_functional_groups(make_dicom):
    def groups(index: int) -> Sequence:
        scale, frame = Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = "3", "-1000", "HU"
        frame.PixelValueTransformationSequence = Sequence([scale])
        return Sequence([frame])

    (case,) = read_uploads(shuffled(series(make_dicom, PerFrameFunctionalGroupsSequence=groups))).cases
    assert levels(case) == [-1000, -997, -994, -991]
    assert case.image.unit == "HU"


def test_an_implicit_series_with_private_elements_and_palette(make_dicom):
    """The elements that are not looked at do not matter, those that are needed are all there."""
    red = np.arange(16, dtype=np.uint16) * 4000
    tables = {f"{name}PaletteColorLookupTableDescriptor": [16, 0, 16] for name in ("Red", "Green", "Blue")}
    tables |= {f"{name}PaletteColorLookupTableData": red.tobytes() for name in ("Red", "Green", "Blue")}
    files = []
    for index in range(3):
        pixels = (np.arange(12, dtype=np.uint8) + index).reshape(3, 4)
        place = {
            "ImageOrientationPatient": AXIAL,
            "ImagePositionPatient": ["0", "0", str(index)],
            "SeriesInstanceUID": "1.2.3",
        }
        extra = {
            "PhotometricInterpretation": "PALETTE COLOR",
            "PixelSpacing": ["1", "1"],
            "syntax": ImplicitVRLittleEndian,
        }
        files.append(make_dicom(pixels, **place, **extra, **tables))
    (case,) = read_uploads(shuffled(files)).cases
    expected = red[np.arange(12).reshape(3, 4) + np.arange(3)[:, None, None]] / 65535
    np.testing.assert_allclose(case.image.values, np.stack([expected] * 3), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, ">i2"])
@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, 0), (1, -1024), (-1, 5), (255, -1024), (300, 1), (0.1, 0), (1, 0.5)]
)
def test_rescaling_gives_what_double_precision_gives(make_dicom, dtype, slope, intercept):
    kind = np.dtype(dtype)
    info = np.iinfo(kind)
    frame = np.linspace(info.min, info.max, 1001).astype(kind).reshape(7, 143)
    ds = Dataset()
    ds.RescaleSlope, ds.RescaleIntercept = str(slope), str(intercept)

    class Grey:
        photometric, is_colour = "MONOCHROME2", False

    found = to_values(ds, Grey(), frame, [ds])  # type: ignore[arg-type]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], (frame.astype(np.float64) * slope + intercept).astype(np.float32))


def test_the_elements_read_of_a_slice_are_all_that_its_values_need():
    """Against the whole data set, over the small files that pydicom ships: every compression and colour model."""
    compared = 0
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        data, options = path.read_bytes(), Options()
        if len(data) > 100_000:
            continue
        try:
            with decoding("DICOM file"):
                whole = parse(data, options)
                info = pixel_info(whole, options.limits)
                expected = to_values(whole, info, next(decode(whole, info, options.limits)), [whole])
        except SightlineError:
            continue
        with decoding("DICOM file"):
            part = parse(data, options, VALUE_KEYWORDS)
            assert pixel_info(part, options.limits) == info
            found = to_values(part, info, next(decode(part, info, options.limits)), [part])
        np.testing.assert_array_equal(found, expected)
        assert unit_of(part, [part]) == unit_of(whole, [whole])
        compared += 1
    assert compared > 40

"""Where DICOM pixels lie, against the standard's formula written out, and how slices become volumes."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.errors import DataError
from models.io import Limits, read_bytes, read_case, read_cases, read_uploads

# An oblique right-handed frame: rows run along X, columns along Y.
_ANGLE, _TILT = np.deg2rad(25), np.deg2rad(-40)
X = np.array([np.cos(_ANGLE), np.sin(_ANGLE), 0])
Y = np.array([-np.sin(_ANGLE) * np.cos(_TILT), np.cos(_ANGLE) * np.cos(_TILT), np.sin(_TILT)])
NORMAL = np.cross(X, Y)
ORIGIN = np.array([-31.5, 12.25, 87.0])
ROW_SPACING, COLUMN_SPACING, STEP = 0.7, 0.4, 2.5


def ds_list(vector: np.ndarray) -> list[str]:
    return [f"{value:.10f}" for value in vector]


def slices(make_dicom, count: int = 5, step: float = STEP, **elements: object) -> list[bytes]:
    """A series along the normal; slice k is filled with its own number pattern."""
    files = []
    for index in range(count):
        pixels = (np.arange(12, dtype=np.int16) + 100 * index).reshape(3, 4)
        place = {
            "ImageOrientationPatient": ds_list(np.concatenate([X, Y])),
            "ImagePositionPatient": ds_list(ORIGIN + NORMAL * step * index),
            "PixelSpacing": [str(ROW_SPACING), str(COLUMN_SPACING)],
            "SliceThickness": "1",
            "SeriesInstanceUID": "1.2.3",
            "InstanceNumber": str(count - index),
        }
        files.append(make_dicom(pixels, **(place | elements)))
    return files


def shuffled(files: list[bytes], seed: int = 0) -> list[tuple[str, bytes]]:
    order = np.random.default_rng(seed).permutation(len(files))
    return [(f"slice{index}", files[index]) for index in order]


def world(column: float, row: float, index: float) -> np.ndarray:
    """PS3.3 equation C.7.6.2.1-1, with the slices along the normal."""
    return ORIGIN + X * COLUMN_SPACING * column + Y * ROW_SPACING * row + NORMAL * STEP * index


def test_corners_of_an_oblique_series_in_any_order_of_files(make_dicom):
    result = read_uploads(shuffled(slices(make_dicom)))
    (case,) = result.cases
    assert not result.failures
    assert not case.provenance.notes
    assert case.image.values.shape == (1, 5, 3, 4)
    np.testing.assert_array_equal(case.image.values[0, :, 0, 0], [0, 100, 200, 300, 400])
    assert case.image.geometry.frame == "patient"
    corners = np.array([(c, r, s) for c in (0, 3) for r in (0, 2) for s in (0, 4)], dtype=float)
    np.testing.assert_allclose(case.image.geometry.to_world(corners), [world(*corner) for corner in corners], atol=1e-6)


def test_one_slice_takes_its_depth_from_the_thickness(make_dicom):
    (case,) = read_bytes("x", slices(make_dicom, 1)[0]).cases
    np.testing.assert_allclose(case.image.geometry.spacing, (COLUMN_SPACING, ROW_SPACING, 1.0), atol=1e-9)
    np.testing.assert_allclose(case.image.geometry.to_world(np.array([[3.0, 2, 0]])), [world(3, 2, 0)], atol=1e-6)


def test_folder_zip_and_upload_give_the_same_case(make_dicom, tmp_path):
    files = shuffled(slices(make_dicom), 3)
    folder = tmp_path / "series"
    (folder / "deeper").mkdir(parents=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for index, (name, data) in enumerate(files):
            (folder / ("deeper" if index % 2 else ".") / name).write_bytes(data)
            packed.writestr(f"a/{name}", data)
    (folder / ".DS_Store").write_bytes(b"x")
    (tmp_path / "series.zip").write_bytes(archive.getvalue())
    cases = [
        read_case(folder),
        read_case(tmp_path / "series.zip"),
        *read_bytes("series.zip", archive.getvalue()).cases,
        *read_uploads(files).cases,
    ]
    assert len(cases) == 4
    assert len({case.id for case in cases}) == 1
    for case in cases[1:]:
        np.testing.assert_array_equal(case.image.values, cases[0].image.values)


def test_an_unrelated_file_beside_a_series_is_noted_or_listed(make_dicom, tmp_path):
    for name, data in shuffled(slices(make_dicom)):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "readme.txt").write_text("nothing")
    assert any("1 other file" in note for note in read_case(tmp_path).provenance.notes)
    result = read_cases(tmp_path)
    assert (len(result.cases), [failure.name for failure in result.failures]) == (1, ["readme.txt"])


def test_each_slice_has_its_own_rescale(make_dicom):
    files = [
        slices(make_dicom, 2, RescaleSlope="2", RescaleIntercept="-5")[0],
        slices(make_dicom, 2, RescaleSlope="3", RescaleIntercept="10")[1],
    ]
    (case,) = read_uploads(shuffled(files)).cases
    stored = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(case.image.values[0], [stored * 2 - 5, (stored + 100) * 3 + 10])


def test_a_gap_is_noted(make_dicom):
    files = slices(make_dicom, 6)
    del files[2]
    (case,) = read_uploads(shuffled(files)).cases
    assert case.image.depth == 5
    assert "1 slice(s) are missing" in case.provenance.notes[0]
    ends = case.image.geometry.to_world(np.array([[0.0, 0, 0], [0, 0, 4]]))
    np.testing.assert_allclose(ends, [world(0, 0, 0), world(0, 0, 5)], atol=1e-6)


def test_uneven_spacing_is_noted(make_dicom):
    files = slices(make_dicom, 3) + slices(make_dicom, 6, step=2.9)[4:]
    (case,) = read_uploads(shuffled(files)).cases
    assert "unevenly spaced" in case.provenance.notes[0]


def test_a_position_taken_twice_is_noted(make_dicom):
    files = [*slices(make_dicom), *slices(make_dicom, 3, EchoTime="7")]
    (case,) = read_uploads(shuffled(files)).cases
    assert case.image.depth == 5
    assert "3 slice(s) at a position already taken" in case.provenance.notes[0]


def test_a_cine_at_one_position_gives_a_case_each(make_dicom):
    place = ds_list(ORIGIN)
    files = [slices(make_dicom, 4, ImagePositionPatient=place)[index] for index in range(4)]
    assert [case.image.depth for case in read_uploads(shuffled(files)).cases] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"SeriesInstanceUID": "1.2.4"},
        {"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"]},
        {"PixelSpacing": ["0.5", "0.5"]},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
)
def test_what_does_not_belong_together_is_kept_apart(make_dicom, other):
    result = read_uploads(shuffled(slices(make_dicom) + slices(make_dicom, 3, **other)))
    assert not result.failures
    assert sorted(case.image.depth for case in result.cases) == [3, 5]


def test_one_bad_slice_is_listed_and_the_rest_opens(make_dicom):
    files = dict(shuffled(slices(make_dicom)))
    files["slice2"] = files["slice2"][:-10]
    result = read_uploads(list(files.items()))
    (case,), (failure,) = result.cases, result.failures
    assert case.image.depth == 4
    assert failure.name == "slice2"
    assert "cut short" in failure.message
    assert any("could not be read" in note for note in case.provenance.notes)
    assert any("missing" in note for note in case.provenance.notes)


def test_a_series_larger_than_the_limit_is_one_sentence(make_dicom):
    result = read_uploads(shuffled(slices(make_dicom)), limits=Limits(samples=40))
    assert not result.cases
    (failure,) = result.failures
    assert "over the limit" in failure.message


@pytest.mark.parametrize(
    ("elements", "spacing", "note"),
    [
        ({"PixelSpacing": ["0.3", "0.2"]}, (0.2, 0.3), False),
        ({"ImagerPixelSpacing": ["0.3", "0.2"]}, (0.2, 0.3), True),
        ({"PixelSpacing": ["0.3", "0.2"], "ImagerPixelSpacing": ["0.4", "0.4"]}, (0.2, 0.3), False),
        ({"PixelSpacing": ["0", "0.2"]}, None, False),
        ({}, None, False),
    ],
)
def test_projection_films(make_dicom, ramp, elements, spacing, note):
    (case,) = read_bytes("x", make_dicom(ramp, Modality="DX", **elements)).cases
    geometry = case.image.geometry
    assert (geometry is None) == (spacing is None)
    if geometry is not None:
        assert geometry.frame == "plane"
        assert geometry.spacing[:2] == pytest.approx(spacing)
    assert any("detector" in text for text in case.provenance.notes) == note


def functional_groups(positions: np.ndarray, slopes: list[int]) -> dict[str, object]:
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [str(ROW_SPACING), str(COLUMN_SPACING)], "9"
    orientation.ImageOrientationPatient = ds_list(np.concatenate([X, Y]))
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    frames = []
    for position, slope in zip(positions, slopes, strict=True):
        place, scale, window, frame = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = ds_list(position)
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = str(slope), "-3", "HU"
        window.WindowCenter, window.WindowWidth = "50", "101"
        frame.PlanePositionSequence = Sequence([place])
        frame.PixelValueTransformationSequence = Sequence([scale])
        frame.FrameVOILUTSequence = Sequence([window])
        frames.append(frame)
    return {
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(frames),
    }


def test_multi_frame_functional_groups(make_dicom):
    stored = np.arange(48, dtype=np.int16).reshape(4, 3, 4)
    places = [2, 0, 3, 1]
    positions = np.array([ORIGIN + NORMAL * STEP * place for place in places])
    (case,) = read_bytes("x", make_dicom(stored, **functional_groups(positions, [1, 2, 3, 4]))).cases
    for frame, place in enumerate(places):
        np.testing.assert_array_equal(case.image.values[0, place], stored[frame] * (frame + 1) - 3)
    assert case.image.unit == "HU"
    assert (case.image.windows[0].center, case.image.windows[0].width) == (49.5, 100)
    np.testing.assert_allclose(case.image.geometry.to_world(np.array([[3.0, 2, 3]])), [world(3, 2, 3)], atol=1e-6)


def test_frames_that_share_a_place_have_no_geometry(make_dicom):
    stored = np.arange(48, dtype=np.int16).reshape(4, 3, 4)
    (case,) = read_bytes("x", make_dicom(stored, **functional_groups(np.array([ORIGIN] * 4), [1] * 4))).cases
    np.testing.assert_array_equal(case.image.values[0], stored - 3)
    assert case.image.geometry is None
    assert "as stored" in case.provenance.notes[0]


def test_a_gantry_tilt_shears_the_affine(make_dicom):
    files = []
    for index in range(4):
        position = np.array([0.0, 1.2 * index, 5.0 * index])
        pixels = np.full((3, 4), index, dtype=np.int16)
        place = {"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"], "PixelSpacing": ["1", "1"]}
        files.append(make_dicom(pixels, ImagePositionPatient=ds_list(position), SeriesInstanceUID="1.2.3", **place))
    (case,) = read_uploads(shuffled(files)).cases
    assert "lean by 13.5 degrees" in case.provenance.notes[0]
    np.testing.assert_allclose(case.image.geometry.affine[:3, 2], [0, 1.2, 5.0], atol=1e-9)


def test_a_folder_of_two_series_is_not_one_case(make_dicom, tmp_path):
    for name, data in shuffled(slices(make_dicom) + slices(make_dicom, SeriesInstanceUID="1.2.9")):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match="There are 2 images"):
        read_case(tmp_path)

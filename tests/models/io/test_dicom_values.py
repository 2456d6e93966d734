"""Stored values, units, windows and colour of DICOM files whose every number is known."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.io import Case, read_bytes
from models.types import CT_WINDOWS, Image, Modality, Window


def read(data: bytes, **options: object) -> Case:
    result = read_bytes("x", data, **options)
    assert not result.failures, result.failures
    (case,) = result.cases
    return case


def image_of(data: bytes) -> Image:
    return read(data).image


def test_rescaled_ct_is_in_hounsfield_units(make_dicom, ramp):
    image = image_of(make_dicom(ramp, RescaleSlope="2.5", RescaleIntercept="-1024"))
    assert image.unit == "HU"
    assert image.modality is Modality.CT
    np.testing.assert_array_equal(image.values[0], ramp * np.float32(2.5) - 1024)
    assert image.windows == CT_WINDOWS


@pytest.mark.parametrize(
    ("elements", "unit"),
    [
        ({"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "HU"}, "HU"),
        ({"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "MGML"}, "stored value"),
        ({}, "stored value"),
        ({"Modality": "MR", "RescaleSlope": "1", "RescaleIntercept": "0"}, "stored value"),
    ],
)
def test_the_unit_is_hu_only_where_the_file_means_it(make_dicom, ramp, elements, unit):
    assert image_of(make_dicom(ramp, **elements)).unit == unit


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_extremes_of_every_stored_type(make_dicom, dtype):
    info = np.iinfo(dtype)
    stored = np.array([[info.min, info.max, 1], [0, 3, info.max // 2]], dtype=dtype)
    np.testing.assert_array_equal(image_of(make_dicom(stored)).values[0], stored.astype(np.float32))


@pytest.mark.parametrize("signed", [0, 1])
def test_bits_above_the_stored_ones_are_ignored(make_dicom, signed):
    stored = np.array([[0x0123, 0x07FF], [0x0800, 0x0FFF]], dtype=np.uint16)
    dirty = stored | np.array([[0xA000, 0x5000], [0x3000, 0xC000]], dtype=np.uint16)
    data = make_dicom(dirty, BitsStored=12, HighBit=11, PixelRepresentation=signed)
    expected = np.where(stored >= 2048, stored.astype(int) - 4096, stored) if signed else stored
    np.testing.assert_array_equal(image_of(data).values[0], expected)


def test_one_bit_pixels(make_dicom):
    bits = np.random.default_rng(0).integers(0, 2, (8, 16)).astype(np.uint8)
    data = make_dicom(
        bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=np.packbits(bits, bitorder="little").tobytes()
    )
    image = image_of(data)
    np.testing.assert_array_equal(image.values[0], bits)
    np.testing.assert_array_equal(image.display()[0], bits)


def test_float_pixels_and_their_holes(make_dicom, ramp):
    stored = ramp.astype(np.float32) / 7
    stored[2, 3] = np.nan
    shape = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 0, "PixelData": None}
    case = read(make_dicom(ramp, **shape, FloatPixelData=stored.tobytes()))
    expected = np.where(np.isnan(stored), np.nanmin(stored), stored)
    np.testing.assert_array_equal(case.image.values[0], expected)
    assert any("not numbers" in note for note in case.provenance.notes)


def test_monochrome1_keeps_values_and_turns_the_display_round(make_dicom, ramp):
    plain = image_of(make_dicom(ramp, Modality="CR", WindowCenter="100", WindowWidth="800"))
    film = image_of(
        make_dicom(ramp, Modality="CR", WindowCenter="100", WindowWidth="800", PhotometricInterpretation="MONOCHROME1")
    )
    assert film.inverted
    assert not plain.inverted
    np.testing.assert_array_equal(film.values, plain.values)
    np.testing.assert_allclose(film.display(), 1 - plain.display(), atol=1e-6)


def dicom_window(x: float, center: float, width: float, function: str) -> float:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3 as written, for an output range of [0, 1]."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (x - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0.0
        return 1.0 if x > center + width / 2 else (x - center) / width + 0.5
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize(("center", "width"), [(40, 400), (-600, 1500.5), (0.5, 2), (3, 1), (127.5, 256)])
def test_window_functions_follow_the_standard(make_dicom, ramp, function, center, width):
    extra = {"VOILUTFunction": function} if function else {}
    image = image_of(make_dicom(ramp, Modality="MR", WindowCenter=str(center), WindowWidth=str(width), **extra))
    expected = [[dicom_window(float(x), center, width, function or "LINEAR") for x in row] for row in ramp]
    np.testing.assert_allclose(image.display()[0], expected, atol=2e-5)


def test_every_preset_becomes_a_window_and_ct_gets_the_usual_ones_after(make_dicom, ramp):
    image = image_of(
        make_dicom(
            ramp,
            RescaleSlope="1",
            RescaleIntercept="0",
            WindowCenter=["40", "300", "77"],
            WindowWidth=["80", "1500", "0"],
            WindowCenterWidthExplanation=["BRAIN", "BONE", "BROKEN"],
        )
    )
    assert image.windows == (Window("BRAIN", 39.5, 79), Window("BONE", 299.5, 1499), *CT_WINDOWS)


def lut_item(first: int, table: np.ndarray, bits: int, vr: str) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(table), first, bits]
    item.add_new("LUTData", vr, table.tolist() if vr == "US" else table.astype("<u2").tobytes())
    return item


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_voi_table_is_sampled_exactly(make_dicom, vr):
    stored = np.arange(0, 64, dtype=np.uint8).reshape(8, 8)
    table = np.random.default_rng(1).integers(0, 4096, 32)
    item = lut_item(10, table, 12, vr)
    item.LUTExplanation = "HARD"
    image = image_of(
        make_dicom(stored, Modality="CR", VOILUTSequence=Sequence([item]), WindowCenter="9", WindowWidth="9")
    )
    assert [window.name for window in image.windows] == ["HARD", "as stored"]
    expected = table[np.clip(stored.astype(int) - 10, 0, 31)] / 4095
    np.testing.assert_allclose(image.display()[0], expected, atol=2e-6)


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_modality_table_replaces_rescale(make_dicom, vr):
    stored = np.arange(0, 24, dtype=np.uint8).reshape(4, 6)
    table = np.random.default_rng(2).integers(0, 65536, 12)
    item = lut_item(5, table, 16, vr)
    item.ModalityLUTType = "US"
    image = image_of(make_dicom(stored, ModalityLUTSequence=Sequence([item])))
    np.testing.assert_array_equal(image.values[0], table[np.clip(stored.astype(int) - 5, 0, 11)])
    assert image.unit == "stored value"


def test_padding_is_left_out_of_the_automatic_window(make_dicom):
    inside = np.random.default_rng(3).normal(500, 20, (40, 40)).astype(np.int16)
    padded = np.full((80, 80), -2000, dtype=np.int16)
    padded[20:60, 20:60] = inside
    window = image_of(make_dicom(padded, Modality="MR", PixelPaddingValue=-2000)).windows[0]
    low, high = np.percentile(inside, (0.5, 99.5))
    assert window.center - window.width / 2 == pytest.approx(low, abs=1e-3)
    assert window.center + window.width / 2 == pytest.approx(high, abs=1e-3)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_in_both_layouts(make_dicom, planar):
    rgb = np.random.default_rng(4).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    layout = rgb if planar == 0 else rgb.transpose(2, 0, 1)
    image = image_of(make_dicom(rgb, PlanarConfiguration=planar, PixelData=layout.tobytes()))
    assert image.unit == "unit interval"
    np.testing.assert_allclose(image.values, rgb.transpose(2, 0, 1) / 255, atol=1e-7)


@pytest.mark.parametrize("order", ["little", "big"])
def test_palette_colour(make_dicom, order):
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

    rng = np.random.default_rng(5)
    stored = rng.integers(0, 20, (6, 6)).astype(np.uint16)
    tables = {name: rng.integers(0, 65536, 16) for name in ("Red", "Green", "Blue")}
    code = "<u2" if order == "little" else ">u2"
    elements: dict[str, object] = {"PixelData": stored.astype(code).tobytes()}
    for name, table in tables.items():
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [16, 2, 16]
        elements[f"{name}PaletteColorLookupTableData"] = table.astype(code).tobytes()
    syntax = ExplicitVRLittleEndian if order == "little" else ExplicitVRBigEndian
    image = image_of(make_dicom(stored, PhotometricInterpretation="PALETTE COLOR", syntax=syntax, **elements))
    index = np.clip(stored.astype(int) - 2, 0, 15)
    expected = np.stack([tables[name][index] for name in ("Red", "Green", "Blue")]) / 65535
    np.testing.assert_allclose(image.values, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("code", "modality"),
    [
        ("CR", "x-ray"),
        ("DX", "x-ray"),
        ("PX", "x-ray"),
        ("MG", "x-ray"),
        ("MR", "mr"),
        ("XC", "photo"),
        ("US", "other"),
    ],
)
def test_modalities(make_dicom, ramp, code, modality):
    assert image_of(make_dicom(ramp, Modality=code)).modality == modality


def test_the_caller_may_overrule_the_modality(make_dicom, ramp):
    assert read(make_dicom(ramp, Modality="OT"), modality=Modality.XRAY).image.modality is Modality.XRAY


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        ({"BurnedInAnnotation": "YES"}, "Flagged as having annotations burned in"),
        ({"Modality": "US"}, "often have text burned in"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "often have text burned in"),
        ({"LossyImageCompression": "01"}, "compressed with loss"),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, None),
        ({}, None),
    ],
)
def test_notes(make_dicom, ramp, elements, word):
    notes = read(make_dicom(ramp, **elements)).provenance.notes
    assert (not notes) if word is None else word in notes[0]

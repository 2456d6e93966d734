"""Every DICOM file that pydicom and pydicom-data install: right values, or one sentence.

The values are compared with an independent chain: GDCM's own file reader (or, for what Sightline itself decodes with
GDCM, the slow decoder of ``jpeg_reference``), then rescale, palette and colour formulas written out here.
``SIGHTLINE_WRITE_DOCS=1`` rewrites ``docs/dicom-support.md`` from what was seen.
"""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, RLELossless

from models.errors import SightlineError
from models.io import read_case
from tests.models.io.jpeg_reference import decode

gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")
gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()

DOCS = Path(__file__).parents[3] / "docs" / "dicom-support.md"
ROOTS = [
    Path(pydicom.__file__).parent / "data",
    Path(importlib.util.find_spec("data_store").origin).parent / "data",
]
NOT_DICOM = {".py", ".pyc", ".json", ".md", ".txt", ".dump", ".icc", ".gz"}
DECODED_BY_GDCM = {JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1}


@dataclass(frozen=True)
class Row:
    name: str
    syntax: str
    photometric: str
    outcome: str


def shipped() -> list[Path]:
    """Every installed file but a disc whose forty members are no pictures and are tried as a folder elsewhere."""
    files = [path for root in ROOTS for path in sorted(root.rglob("*")) if path.is_file()]
    return [path for path in files if path.suffix not in NOT_DICOM and "TINY_ALPHA" not in path.parts]


def header(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, force=True)
        ds.walk(lambda _ds, _element: None)  # converts every element while warnings are off
    return ds


def syntax_of(ds: pydicom.Dataset) -> UID:
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    return UID(syntax or ("1.2.840.10008.1.2" if ds.original_encoding[0] else "1.2.840.10008.1.2.1"))


def native(ds: pydicom.Dataset, little: bool) -> np.ndarray:
    """Uncompressed samples (N, H, W, C) as stored."""
    frames, rows, columns = int(ds.get("NumberOfFrames", 1)), ds.Rows, ds.Columns
    samples, bits = ds.SamplesPerPixel, ds.BitsAllocated
    count, data = frames * rows * columns * samples, ds.PixelData
    if bits <= 8 and not little and ds["PixelData"].VR == "OW":
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    if bits == 1:
        flat = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:count]
    else:
        flat = np.frombuffer(data, f"{'<' if little else '>'}u{bits // 8}")
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        pairs = flat.reshape(frames, rows, columns // 2, 4)
        luma = pairs[..., :2].reshape(frames, rows, columns)
        blue, red = (np.repeat(pairs[..., index], 2, axis=-1) for index in (2, 3))
        return np.stack([luma, blue, red], axis=-1)
    if samples == 3 and ds.PlanarConfiguration == 1:
        return np.moveaxis(flat[:count].reshape(frames, 3, rows, columns), 1, -1)
    return flat[:count].reshape(frames, rows, columns, samples)


def run_length(ds: pydicom.Dataset) -> np.ndarray:
    """RLE samples (N, H, W, C): byte planes, the most significant first (PS3.5 annex G)."""
    frames, width = int(ds.get("NumberOfFrames", 1)), ds.BitsAllocated // 8
    out = []
    for frame in generate_frames(ds.PixelData, number_of_frames=frames):
        offsets = np.frombuffer(frame[:64], "<u4")
        ends = [*offsets[2 : offsets[0] + 1], len(frame)]
        planes = [packbits(frame[a:b], ds.Rows * ds.Columns) for a, b in zip(offsets[1:], ends, strict=False)]
        value = np.zeros((ds.Rows * ds.Columns, ds.SamplesPerPixel), dtype=np.int64)
        for index, plane in enumerate(planes):
            value[:, index // width] |= plane.astype(np.int64) << (8 * (width - 1 - index % width))
        out.append(value.reshape(ds.Rows, ds.Columns, ds.SamplesPerPixel))
    return np.stack(out)


def packbits(segment: bytes, size: int) -> np.ndarray:
    out, position = bytearray(), 0
    while len(out) < size:
        head = segment[position]
        if head < 128:
            out += segment[position + 1 : position + 2 + head]
            position += 2 + head
        else:
            out += segment[position + 1 : position + 2] * (257 - head) if head > 128 else b""
            position += 2 if head > 128 else 1
    return np.frombuffer(bytes(out[:size]), np.uint8)


def by_gdcm(path: Path) -> np.ndarray:
    """Samples (N, H, W, C) of a compressed file by GDCM's file reader."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    kind = image.GetPixelFormat()
    bits, samples, shape = kind.GetBitsAllocated(), kind.GetSamplesPerPixel(), [*image.GetDimensions(), 1][:3]
    code = f"{'i' if kind.GetPixelRepresentation() else 'u'}{bits // 8}"
    flat = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), code)
    columns, rows, frames = shape
    if samples == 3 and image.GetPlanarConfiguration() == 1:
        return np.moveaxis(flat.reshape(frames, 3, rows, columns), 1, -1)
    return flat.reshape(frames, rows, columns, samples)


def stored_values(path: Path, ds: pydicom.Dataset) -> np.ndarray:
    syntax = syntax_of(ds)
    if not syntax.is_encapsulated:
        return native(ds, syntax.is_little_endian)
    if syntax == RLELossless:
        return run_length(ds)
    if syntax in DECODED_BY_GDCM:
        frames = generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1)))
        return np.stack([decode(frame) for frame in frames])
    return by_gdcm(path)


def expected_values(ds: pydicom.Dataset, samples: np.ndarray) -> np.ndarray:
    """Samples (N, H, W, C) to (C, N, H, W): values as Sightline promises them, by formulas of the standard."""
    stored = np.moveaxis(samples.astype(np.int64), -1, 0)
    photometric, bits = ds.PhotometricInterpretation, ds.BitsStored
    if photometric == "PALETTE COLOR":
        return palette(ds, stored[0])
    if photometric.startswith("YBR_FULL"):
        luma, blue, red = stored[0], stored[1] - 128, stored[2] - 128
        rgb = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
        return np.clip(rgb, 0, 255) / 255
    if len(stored) == 3:
        return stored / (2.0**bits - 1)
    stored &= (1 << bits) - 1
    if ds.PixelRepresentation:
        stored = np.where(stored >= 1 << (bits - 1), stored - (1 << bits), stored)
    if "ModalityLUTSequence" in ds:
        count, first, _ = ds.ModalityLUTSequence[0].LUTDescriptor
        data = ds.ModalityLUTSequence[0].LUTData
        table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
        return table[np.clip(stored - first, 0, count - 1)]
    holder = ds
    if "SharedFunctionalGroupsSequence" in ds:
        transform = ds.SharedFunctionalGroupsSequence[0].get("PixelValueTransformationSequence")
        frames = ds.get("PerFrameFunctionalGroupsSequence") or [{}]
        transform = transform or frames[0].get("PixelValueTransformationSequence")
        holder = transform[0] if transform else ds
    return stored * float(holder.get("RescaleSlope") or 1) + float(holder.get("RescaleIntercept") or 0)


def frame_order(ds: pydicom.Dataset) -> list[int]:
    """Frames with a place of their own are expected along the slice normal, others as stored."""
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    if not all("PlanePositionSequence" in group for group in groups):
        groups = []
    if len(groups) != int(ds.get("NumberOfFrames", 1)):
        return list(range(int(ds.get("NumberOfFrames", 1))))
    orientation = [group.get("PlaneOrientationSequence") for group in (groups[0], ds.SharedFunctionalGroupsSequence[0])]
    cosines = np.array(next(item for item in orientation if item)[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    depths = [np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float) @ normal for group in groups]
    return np.argsort(depths).tolist()


def palette(ds: pydicom.Dataset, index: np.ndarray) -> np.ndarray:
    little = syntax_of(ds).is_little_endian
    channels = []
    for name in ("Red", "Green", "Blue"):
        count, first, _ = ds[f"{name}PaletteColorLookupTableDescriptor"].value
        plain, code = f"{name}PaletteColorLookupTableData", "<u2" if little else ">u2"
        data = np.frombuffer(ds[plain if plain in ds else f"Segmented{plain}"].value, code).astype(int)
        table = data if plain in ds else segmented(data)
        assert len(table) == (count or 65536)
        channels.append(table[np.clip(index - first, 0, len(table) - 1)] / 65535)
    return np.stack(channels)


def segmented(data: np.ndarray) -> np.ndarray:
    """Discrete and linear segments (PS3.3 C.7.9.2)."""
    out: list[int] = []
    position = 0
    while position < len(data):
        kind, count = data[position : position + 2]
        if kind == 0:
            out += data[position + 2 : position + 2 + count].tolist()
            position += 2 + count
        else:
            assert kind == 1
            out += np.rint(np.linspace(out[-1], data[position + 2], count + 1)[1:]).astype(int).tolist()
            position += 3
    return np.array(out)


def is_one_sentence(message: str) -> bool:
    return bool(re.fullmatch(r"[A-Z][^\n]*\.", message)) and ". " not in message and "Traceback" not in message


def outcome(path: Path) -> Row:
    """Reads the file; raises AssertionError where the values differ."""
    ds = header(path)
    syntax, photometric = syntax_of(ds).name, str(ds.get("PhotometricInterpretation", ""))
    try:
        image = read_case(path).image
    except SightlineError as error:
        failure = str(error)
    else:
        failure = ""
    if failure:
        assert is_one_sentence(failure), failure
        return Row(path.name, syntax, photometric, failure)
    values = image.values if image.is_volume else image.values[:, None]
    samples = stored_values(path, ds)[frame_order(ds)]
    assert values.shape[1:] == samples.shape[:3]
    few = slice(None, None, max(1, len(samples) // 4))  # a long cine need not be compared frame by frame
    values, expected = values[:, few], expected_values(ds, samples[few])
    assert values.shape == expected.shape
    # Lossy colour: each decoder rounds the colour conversion its own way; 12-bit JPEG: the inverse DCT.
    lossy_colour = photometric.startswith("YBR_FULL")
    tolerance = 0.51 / 255 if lossy_colour else 1.0 if syntax_of(ds) == JPEGExtended12Bit else 0.0
    slack = 1e-6 * max(1.0, float(np.abs(expected).max()))
    assert float(np.abs(values - expected).max()) <= tolerance + slack
    note = " (within rounding of the colour conversion)" if lossy_colour else " (within 1)" if tolerance else ""
    return Row(path.name, syntax, photometric, "values equal" + note)


@pytest.fixture(scope="module")
def rows() -> dict[Path, Row | AssertionError]:
    seen: dict[Path, Row | AssertionError] = {}
    for path in shipped():
        try:
            seen[path] = outcome(path)
        except AssertionError as error:
            seen[path] = error
    return seen


def test_every_file_opens_with_right_values_or_fails_with_one_sentence(rows):
    wrong = {path.name: str(error) for path, error in rows.items() if isinstance(error, AssertionError)}
    assert not wrong
    assert len(rows) > 150


# The only files with pixel data that do not open, and why.
UNREADABLE = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "declares 3722445056 x 1024",
    "MR_truncated.dcm": "cut short",
    "badVR.dcm": "damaged",
    "meta_missing_tsyntax.dcm": "does not say Rows",
    "nested_priv_SQ.dcm": "does not say Rows",
}


def test_only_damaged_files_with_pixel_data_fail(rows):
    failed = {
        path.name: row.outcome
        for path, row in rows.items()
        if "equal" not in row.outcome and any(name in header(path) for name in ("PixelData", "FloatPixelData"))
    }
    assert failed.keys() == UNREADABLE.keys()
    for name, words in UNREADABLE.items():
        assert words in failed[name]


def test_the_documented_table_is_what_was_seen(rows):
    text = document([row for row in rows.values() if isinstance(row, Row)])
    if os.environ.get("SIGHTLINE_WRITE_DOCS"):
        DOCS.write_text(text)
    assert DOCS.read_text() == text, "run this test with SIGHTLINE_WRITE_DOCS=1 to write docs/dicom-support.md again"


def document(rows: list[Row]) -> str:
    """The table of docs/dicom-support.md."""
    opened = sorted((row for row in rows if "equal" in row.outcome), key=lambda row: row.name.lower())
    refused = sorted((row for row in rows if "equal" not in row.outcome), key=lambda row: row.name.lower())
    lines = [
        "# DICOM files tried",
        "",
        "Every file that `pydicom` and `pydicom-data` install, read by Sightline and compared with an independent",
        "decoder. Written by `tests/models/io/test_shipped_dicom.py`, which fails when this page is out of date.",
        "",
        f"## {len(opened)} files open with right values",
        "",
        "| file | transfer syntax | colour model | outcome |",
        "|---|---|---|---|",
        *(f"| {row.name} | {row.syntax} | {row.photometric} | {row.outcome} |" for row in opened),
        "",
        f"## {len(refused)} files hold no usable picture and fail with one sentence",
        "",
        "| file | sentence |",
        "|---|---|",
        *(f"| {row.name} | {row.outcome} |" for row in refused),
        "",
    ]
    return "\n".join(lines)

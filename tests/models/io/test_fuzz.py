"""Damaged bytes of real files: a sound case or a Sightline error, in bounded time and memory."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from models.io import Limits, read_uploads

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
# Small, so that a declared size that slips through shows as a slow test and not as a full memory.
LIMITS = Limits(pixels=2_000_000, samples=4_000_000, file_bytes=2_000_000, total_bytes=8_000_000, members=50)
FUZZ = settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def picture(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def tiff() -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.arange(240, dtype=np.float64).reshape(2, 10, 12), photometric="minisblack")
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", picture("PNG"))
        packed.writestr("b.dcm", (SHIPPED / "MR_small_RLE.dcm").read_bytes())
    return buffer.getvalue()


def nifti(kind: type = nibabel.Nifti1Image) -> bytes:
    return kind(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.diag([2.0, -3, 4, 1])).to_bytes()


SEEDS = {
    "native": (SHIPPED / "MR_small.dcm").read_bytes(),
    "implicit": (SHIPPED / "rtdose.dcm").read_bytes(),
    "big-endian": (SHIPPED / "ExplVR_BigEnd.dcm").read_bytes(),
    "deflated": (SHIPPED / "image_dfl.dcm").read_bytes(),
    "rle": (SHIPPED / "SC_rgb_rle_2frame.dcm").read_bytes(),
    "jpeg": (SHIPPED / "SC_rgb_small_odd_jpeg.dcm").read_bytes(),
    "jpeg-ls": (SHIPPED / "MR_small_jpeg_ls_lossless.dcm").read_bytes(),
    "jpeg-2000": (SHIPPED / "MR_small_jp2klossless.dcm").read_bytes(),
    "slice": (SHIPPED / "dicomdirtests/98892001/CT5N/2392").read_bytes(),
    "nifti-1": nifti(),
    "nifti-2": nifti(nibabel.Nifti2Image),
    "nifti-gz": gzip.compress(nifti(), mtime=0),
    "png": picture("PNG"),
    "jpg": picture("JPEG"),
    "tiff": picture("TIFF"),
    "tiff-lzw": picture("TIFF", compression="tiff_lzw"),
    "tiff-float": tiff(),
    "bmp": picture("BMP"),
    "webp": picture("WEBP"),
    "gif": picture("GIF"),
    "zip": archive(),
}
INTERESTING = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF])


@st.composite
def damage(draw: st.DrawFn, seed: bytes) -> bytes:
    """A few bytes changed (half of them in the header), then perhaps a piece cut out, doubled or cut off."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(0, 6))):
        last = len(data) - 1 if draw(st.booleans()) else min(len(data) - 1, 700)
        position = draw(st.integers(0, last))
        width = draw(st.sampled_from([1, 1, 2, 4]))
        value = draw(st.one_of(INTERESTING, st.integers(0, 255)))
        data[position : position + width] = bytes([value]) * width
    cut = draw(st.sampled_from(["none", "none", "end", "piece", "double"]))
    if cut != "none":
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 64)))
        replacement = {"end": b"", "piece": b"", "double": bytes(data[start:stop]) * 2}[cut]
        data[start : len(data) if cut == "end" else stop] = replacement
    return bytes(data)


def check(files: list[tuple[str, bytes]]) -> None:
    """Whatever the files hold, each is a sound case or a failure of one line; anything else raises here."""
    result = read_uploads(files, limits=LIMITS)
    for case in result.cases:
        assert np.isfinite(case.image.values).all()
        assert case.image.values.size <= LIMITS.samples
        assert not case.image.values.flags.writeable
        display = case.image.display()
        assert display.min() >= 0
        assert display.max() <= 1
    for failure in result.failures:
        assert failure.message.endswith(".")
        assert "\n" not in failure.message


@pytest.mark.parametrize("name", SEEDS)
def test_the_seed_itself_opens(name):
    result = read_uploads([("x", SEEDS[name])], limits=LIMITS)
    assert result.cases
    assert not result.failures


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_file(name):
    @FUZZ
    @given(data=damage(SEEDS[name]))
    def run(data: bytes) -> None:
        check([("x", data)])

    run()


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_damaged_frame_that_may_end_the_decoder(name):
    @settings(FUZZ, max_examples=40)
    @given(data=damage((SHIPPED / name).read_bytes()))
    def run(data: bytes) -> None:
        check([("x", data)])

    run()


@FUZZ
@given(data=damage(SEEDS["slice"]))
def test_damaged_slice_in_a_series(data):
    folder = SHIPPED / "dicomdirtests/98892001/CT5N"
    check(
        [(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.name != "2392"] + [("2392", data)]
    )


@FUZZ
@given(
    st.binary(max_size=600),
    st.sampled_from([b"", b"\0" * 128 + b"DICM", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\x08\0\5\0"]),
)
def test_noise(tail, start):
    check([("x", start + tail)])


NUMBERS = st.sampled_from(["0", "1", "-1", "2147483647", "1e400", "NaN", "inf", "1E5", "", "x", "1\\2\\3", "9" * 16])


@FUZZ
@given(st.dictionaries(st.sampled_from([
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "ImagerPixelSpacing",
]), NUMBERS, max_size=4), st.dictionaries(st.sampled_from([
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PlanarConfiguration", "PixelPaddingValue",
]), st.sampled_from([0, 1, 2, 7, 8, 12, 16, 32, 64, 65535]), max_size=3))  # fmt: skip
def test_header_values(texts, integers):
    ds = pydicom.dcmread(io.BytesIO(SEEDS["native"]))
    for keyword, text in texts.items():
        tag = pydicom.datadict.tag_for_keyword(keyword)
        value = text.encode().ljust(len(text) + len(text) % 2)
        ds[tag] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(tag), pydicom.datadict.dictionary_VR(tag), len(value), value, 0, False, True
        )
    for keyword, number in integers.items():
        ds.add_new(keyword, "US", number)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds)
    check([("x", buffer.getvalue())])

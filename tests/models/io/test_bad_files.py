"""Files that are not what they seem: one sentence each, and nothing left behind."""

from __future__ import annotations

import gzip
import io
import logging
import os
import re
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from models.errors import DataError, Unavailable
from models.io import READERS, Limits, dicom_codecs, gdcm_process, read_bytes, read_case, read_cases, read_uploads

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
SMALL = (SHIPPED / "MR_small.dcm").read_bytes()


# Start of a JPEG 2000 code stream that declares 100,000 x 100,000 pixels of one component.
HUGE_J2K = b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">4I", 100_000, 100_000, 0, 0) + bytes(16) + b"\0\1" + bytes(30)


def png() -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def nifti() -> bytes:
    return nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_bytes()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fails where more bytes than ``size`` are held at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def sentence(name: str, data: bytes, limits: Limits | None = None) -> str:
    """The one failure of a file, checked to be one sentence that tells nothing of the file."""
    result = read_bytes(name, data, limits=limits or Limits())
    assert not result.cases
    (failure,) = result.failures
    assert re.fullmatch(r"[A-Z][^\n]*\.", failure.message)
    assert ". " not in failure.message
    assert failure.name == name
    return failure.message


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.dcm", b"", "is empty"),
        ("a.png", b"", "is empty"),
        ("a.dcm", b"Dear colleague, please find attached", "named like DICOM but holds something else"),
        ("a.nii.gz", gzip.compress(b"hello" * 99, mtime=0), "named like NIfTI but holds something else"),
        ("a.jpg", b"<html></html>", "named like a picture but holds something else"),
        ("a.txt", b"hello", "not an image of a known format"),
        ("a", bytes(5000), "not an image of a known format"),
        ("a.dcm", SMALL[:200], "holds no picture"),
        ("a.dcm", SMALL[:5000], "cut short"),
        ("a.dcm", SMALL[:132], "holds no picture"),
        ("a.png", png()[:50], "damaged, cut short"),
        ("a.png", png()[:20], "damaged, cut short"),
        ("a.nii", nifti()[:400], "cut short"),
        ("a.nii", nifti()[:349], "cut short"),
        ("a.nii.gz", gzip.compress(nifti(), mtime=0)[:-40], "damaged, cut short"),
        ("a.nii.gz", b"\x1f\x8b" + bytes(50), "damaged, cut short"),
        ("a.tif", b"II*\0" + bytes(60), "damaged, cut short"),
        ("a.zip", b"PK\x03\x04" + bytes(60), "zip archive is damaged"),
        ("a.gz", gzip.compress(gzip.compress(SMALL, mtime=0), mtime=0), "not an image of a known format"),
    ],
)
def test_damaged_or_mislabelled(name, data, words):
    assert words in sentence(name, data)


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"Rows": 0}, "empty size"),
        ({"Columns": 0}, "empty size"),
        ({"Rows": None}, "does not say Rows"),
        ({"BitsAllocated": 17}, "17 bits allocated"),
        ({"BitsStored": 40}, "40 stored"),
        ({"NumberOfFrames": "0"}, "empty size"),
        ({"NumberOfFrames": "-3"}, "empty size"),
        ({"NumberOfFrames": "2147483647"}, "over the limit"),
        ({"NumberOfFrames": "5000"}, "cut short"),
        ({"Rows": 65535, "Columns": 65535}, "over the limit"),
        ({"Rows": 9000, "Columns": 9000}, "cut short"),
        ({"PhotometricInterpretation": "XYZ"}, "colour model"),
        ({"SamplesPerPixel": 3}, "disagree"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "rescale"),
        ({"PixelData": None}, "holds no picture"),
        ({"PixelData": None, "Modality": "SR"}, "structured report"),
        ({"PixelData": None, "Modality": "RTSTRUCT"}, "contours"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette"),
        ({"syntax": MPEG2MPML, "PixelData": encapsulate([b"\0" * 64])}, "is not supported"),
        ({"syntax": "1.2.840.10008.1.2.4.94", "PixelData": encapsulate([b"\0" * 64])}, "is not supported"),
        ({"syntax": RLELossless, "PixelData": encapsulate([b"\1" * 64])}, "damaged"),
        ({"syntax": JPEG2000Lossless, "PixelData": encapsulate([HUGE_J2K])}, "over the limit"),
        ({"syntax": JPEG2000Lossless, "PixelData": encapsulate([b"\0" * 64])}, "has no size"),
        ({"syntax": JPEGLSLossless, "PixelData": encapsulate([b"\xff\xd8\xff\xd9"])}, "has no size"),
    ],
)
def test_dicom_headers_that_make_no_sense(make_dicom, ramp, elements, words):
    assert words in sentence("a.dcm", make_dicom(ramp, **elements))


def test_a_compressed_frame_must_be_of_the_size_declared():
    ds = pydicom.dcmread(SHIPPED / "MR_small_jp2klossless.dcm")
    ds.Rows = 32
    buffer = io.BytesIO()
    ds.save_as(buffer)
    assert "declares 64 x 32 pixels of 1 sample(s), its compressed picture 64 x 64" in sentence("a", buffer.getvalue())
    ds.Rows, ds.NumberOfFrames = 64, 3
    buffer = io.BytesIO()
    ds.save_as(buffer)
    assert sentence("a", buffer.getvalue())


def test_gdcm_may_die_without_harm():
    path = SHIPPED / "SC_rgb_jpeg_gdcm.dcm"
    good = read_case(path).image.values
    process = gdcm_process.GDCM._process
    process.kill()
    process.wait()
    np.testing.assert_array_equal(read_case(path).image.values, good)
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xd8")
    data[start + 30 : start + 400] = b"\xff\xc4" * 185
    assert sentence("a.dcm", bytes(data))
    np.testing.assert_array_equal(read_case(path).image.values, good)


def test_a_decoder_that_hangs_is_stopped(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(gdcm_process, "_WORKER", worker)
    monkeypatch.setattr(gdcm_process, "_SECONDS", 0.2)
    layout = gdcm_process.FrameLayout(2, 2, 1, 0, 8, 8, 0, "MONOCHROME2", "1.2.840.10008.1.2.4.70")
    with pytest.raises(DataError, match="damaged"):
        gdcm_process.GdcmProcess().decode(layout, b"\xff\xd8")


def test_a_missing_codec_says_what_to_install(monkeypatch):
    monkeypatch.setitem(dicom_codecs._PLUGINS, JPEG2000Lossless, ("nothing", "some-package"))
    with pytest.raises(Unavailable, match="needs the package some-package"):
        read_case(SHIPPED / "MR_small_jp2klossless.dcm")
    monkeypatch.setitem(dicom_codecs._PLUGINS, JPEGExtended12Bit, ("nothing", "some-package"))
    assert read_cases(SHIPPED / "JPGExtended.dcm").failures[0].error is Unavailable


def test_every_library_used_is_there():
    for plugin, package in dicom_codecs._PLUGINS.values():
        assert plugin
        assert package
    assert READERS.ids() == ("dicom", "nifti", "raster")


def test_a_gzip_bomb_is_read_no_further_than_the_limit():
    bomb = gzip.compress(nifti() + bytes(30_000_000))
    with at_most(8_000_000):
        assert "larger than the limit" in sentence("a.nii.gz", bomb, Limits(file_bytes=1_000_000))


def test_a_deflated_dicom_bomb_is_read_no_further_than_the_limit(make_dicom, ramp):
    plain = make_dicom(ramp, syntax=DeflatedExplicitVRLittleEndian)
    assert read_bytes("a", plain).cases
    bomb = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    start = 132 + 12 + struct.unpack("<I", plain[140:144])[0]
    packed = plain[:start] + bomb.compress(bytes(30_000_000)) + bomb.flush()
    with at_most(8_000_000):
        assert "larger than the limit" in sentence("a", packed, Limits(file_bytes=1_000_000))


def test_zip_bombs_and_odd_members(tmp_path):
    bomb = zipped({"a.nii": bytes(3_000_000)})
    assert "decompression bomb" in sentence("a.zip", bomb, Limits(file_bytes=1_000_000))
    assert "more than 2 files" in sentence("a.zip", zipped({str(i): b"x" for i in range(3)}), Limits(members=2))
    assert "1 MB" in sentence("a.zip", zipped({"a": os.urandom(1_500_000)}), Limits(total_bytes=1_000_000))
    members = {"../../evil.png": png(), "/etc/passwd": b"root", "C:\\x\\y.dcm": SMALL, "in.zip": zipped({"a": b""})}
    members |= {"__MACOSX/._a": b"x", ".DS_Store": b"x", "DICOMDIR": b"x", "empty/": b""}
    before = set(tmp_path.parent.rglob("*"))
    result = read_bytes("a.zip", zipped(members))
    assert {case.provenance.reader for case in result.cases} == {"dicom", "raster"}
    assert {failure.name for failure in result.failures} == {"passwd", "in.zip"}
    assert set(tmp_path.parent.rglob("*")) == before


def test_a_zip_that_lies_about_a_size():
    data = bytearray(zipped({"a.nii": nifti() + bytes(100_000)}))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 400)
    result = read_bytes("a.zip", bytes(data))
    assert not result.cases
    assert len(result.failures) == 1


def test_an_encrypted_zip():
    data = bytearray(zipped({"a.png": png()}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    result = read_bytes("a.zip", bytes(data))
    assert "encrypted" in result.failures[0].message


def test_unusable_paths(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        read_case(tmp_path / "nothing.dcm")
    with pytest.raises(DataError, match="Nothing at the path"):
        read_case(tmp_path)
    assert read_cases(tmp_path).cases == ()
    for index in range(3):
        (tmp_path / f"{index}.txt").write_text("x")
    with pytest.raises(DataError, match="None of the 3 files"):
        read_case(tmp_path)
    with pytest.raises(DataError, match="more than 2 files"):
        read_cases(tmp_path, limits=Limits(members=2))
    with pytest.raises(DataError, match="more than 2 files"):
        read_uploads([("a", b"")] * 3, limits=Limits(members=2))
    (tmp_path / "big").write_bytes(bytes(2000))
    with pytest.raises(DataError, match="larger than the limit"):
        read_case(tmp_path / "big", limits=Limits(file_bytes=1000))


def test_links_and_pipes_in_a_folder_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png())
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file.png").symlink_to(outside / "secret.png")
    (inside / "folder").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    result = read_cases(inside)
    assert (result.cases, result.failures) == ((), ())


def test_good_files_among_bad_ones(make_dicom, ramp):
    files = [
        ("bad.dcm", b"text"),
        ("a.dcm", make_dicom(ramp)),
        ("b.png", png()),
        ("c.nii", nifti()),
        ("d.png", b"\x89PNG"),
    ]
    result = read_uploads(files)
    assert {case.provenance.reader for case in result.cases} == {"dicom", "raster", "nifti"}
    assert {failure.name for failure in result.failures} == {"bad.dcm", "d.png"}
    assert len(result.names) == len(result.cases)


def test_library_messages_are_silenced_and_settings_put_back(recwarn, caplog, capfd):
    filters, level = list(warnings.filters), logging.getLogger("pydicom").level
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read_cases, sorted(SHIPPED.glob("*.dcm"))[:40]))
    assert all(result.cases or result.failures for result in results)
    assert not recwarn.list
    assert not caplog.records
    assert capfd.readouterr().out == ""
    assert (list(warnings.filters), logging.getLogger("pydicom").level) == (filters, level)

"""PNG, JPEG, TIFF, BMP, WebP and GIF, with values known beforehand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from models.io import Case, Limits, read_bytes, read_case
from models.types import Modality, Window

RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)
RGB = RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)
# What a viewer does for each EXIF orientation (TIFF 6.0, tag 274).
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


def encode(picture: Pillow.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(data: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, **options)
    return buffer.getvalue()


def read(data: bytes, **options: object) -> Case:
    result = read_bytes("x", data, **options)
    assert not result.failures, result.failures
    (case,) = result.cases
    return case


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_eight_bit_grey(kind):
    image = read(encode(GREY, kind)).image
    assert image.unit == "stored value"
    assert image.windows == (Window("full range", 127.5, 255.0),)
    np.testing.assert_array_equal(image.values[0], GREY)
    np.testing.assert_allclose(image.display()[0], GREY / 255, atol=1e-6)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_colour_is_in_the_unit_interval(kind, options):
    image = read(encode(RGB, kind, **options)).image
    assert (image.unit, image.modality, image.geometry) == ("unit interval", Modality.UNKNOWN, None)
    np.testing.assert_allclose(image.values, RGB.transpose(2, 0, 1) / 255, atol=1e-7)


def test_jpeg_is_what_another_library_decodes():
    cv2 = pytest.importorskip("cv2")
    data = encode(np.kron(RGB, np.ones((8, 8, 1), np.uint8)), "JPEG", quality=90, subsampling=0)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_allclose(read(data).image.values, theirs.transpose(2, 0, 1) / 255, atol=2.01 / 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64])
def test_tiff_of_every_number_type(dtype):
    scale = 3000.0 if np.dtype(dtype).itemsize == 2 or dtype in (np.float32, np.float64) else 2**23
    data = (RNG.uniform(0 if np.dtype(dtype).kind == "u" else -1, 1, (6, 5)) * scale).astype(dtype)
    image = read(tiff(data)).image
    assert image.unit == "stored value"
    np.testing.assert_array_equal(image.values[0], data.astype(np.float32))


def test_large_unsigned_tiff_values_stay_positive():
    data = np.array([[0, 2**31], [2**32 - 1, 5]], dtype=np.uint32)
    np.testing.assert_array_equal(read(tiff(data)).image.values[0], data.astype(np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey(order):
    data = RNG.integers(0, 65536, (6, 5)).astype(np.uint16)
    np.testing.assert_array_equal(read(tiff(data, byteorder=order)).image.values[0], data)
    np.testing.assert_array_equal(read(encode(data, "PNG")).image.values[0], data)


def test_sixteen_bit_tiff_with_white_as_zero_is_shown_inverted():
    data = RNG.integers(0, 65536, (6, 5)).astype(np.uint16)
    image = read(tiff(data, photometric="miniswhite")).image
    assert image.inverted
    np.testing.assert_array_equal(image.values[0], data)


def test_stack_of_pages():
    data = RNG.integers(0, 65536, (4, 6, 5)).astype(np.uint16)
    image = read(tiff(data, photometric="minisblack")).image
    np.testing.assert_array_equal(image.values[0], data)
    pages = [Pillow.fromarray(GREY), Pillow.fromarray(GREY[:3])]
    case = read(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    np.testing.assert_array_equal(case.image.values[0], GREY)
    assert "differ in size" in case.provenance.notes[0]


def test_stack_of_colour_pages_of_which_one_is_grey():
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    image = read(tiff(np.stack([RGB, grey]), photometric="rgb")).image
    np.testing.assert_allclose(image.values, np.stack([RGB, grey]).transpose(3, 0, 1, 2) / 255, atol=1e-7)


def test_compressed_tiff():
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        np.testing.assert_array_equal(read(encode(GREY, "TIFF", compression=compression)).image.values[0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "source"), [("PNG", RGB), ("TIFF", RGB), ("PNG", GREY), ("WEBP", RGB)])
def test_exif_orientation(kind, source, orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    data = encode(source, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    image = read(data).image
    expected = UPRIGHT[orientation](source)
    if source is GREY:
        np.testing.assert_array_equal(image.values[0], expected)
    else:
        np.testing.assert_allclose(image.values, expected.transpose(2, 0, 1) / 255, atol=1e-7)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_jpeg(orientation):
    blocks = np.zeros((32, 48), np.uint8)
    blocks[:16, :16], blocks[16:, 32:] = 250, 120
    exif = Pillow.Exif()
    exif[274] = orientation
    image = read(encode(blocks, "JPEG", quality=100, exif=exif)).image
    np.testing.assert_allclose(image.values[0], UPRIGHT[orientation](blocks), atol=2)


def test_nothing_of_exif_is_kept():
    exif = Pillow.Exif()
    exif[315], exif[270] = "Jane Roe", "Roe 1961"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    case = read(encode(RGB, "JPEG", exif=exif))
    assert not case.attributes
    assert not case.provenance.kept
    assert "Roe" not in repr(case)


def test_alpha_on_black():
    rgba = np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])
    assert not read(encode(rgba, "PNG")).provenance.notes
    rgba[2:5, :, 3] = 0
    case = read(encode(rgba, "PNG"))
    assert "on black" in case.provenance.notes[0]
    expected = RGB * (rgba[..., 3:] > 0)
    np.testing.assert_allclose(case.image.values, expected.transpose(2, 0, 1) / 255, atol=1e-7)


def test_grey_with_alpha_and_half_transparency():
    alpha = np.full(GREY.shape, 128, np.uint8)
    picture = Pillow.merge("LA", [Pillow.fromarray(GREY), Pillow.fromarray(alpha)])
    np.testing.assert_allclose(read(encode(picture, "PNG")).image.values[0], GREY * (128 / 255), atol=0.51)


def test_grey_stored_as_colour_has_one_channel():
    image = read(encode(np.repeat(GREY[..., None], 3, axis=-1), "PNG")).image
    assert image.unit == "stored value"
    np.testing.assert_array_equal(image.values[0], GREY)


def test_palette_bilevel_and_cmyk():
    palette = Pillow.fromarray(RGB // 128 * 255).quantize(8)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_allclose(read(encode(palette, "PNG")).image.values, expected.transpose(2, 0, 1) / 255, atol=1e-7)
    bits = GREY > 127
    np.testing.assert_array_equal(read(encode(Pillow.fromarray(bits), "PNG")).image.values[0], bits * 255)
    cmyk = Pillow.new("CMYK", (4, 4), (255, 0, 0, 0))
    np.testing.assert_allclose(read(encode(cmyk, "TIFF")).image.values[:, 0, 0], [0, 1, 1], atol=0.01)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_shows_its_first_frame(kind):
    frames = [Pillow.fromarray(RGB), Pillow.fromarray(255 - RGB)]
    options = {"save_all": True, "append_images": frames[1:]} | ({"lossless": True} if kind == "WEBP" else {})
    case = read(encode(frames[0], kind, **options))
    assert "first of 2 frames" in case.provenance.notes[0]
    assert not case.image.is_volume
    if kind != "GIF":  # GIF reduces the colours
        np.testing.assert_allclose(case.image.values, RGB.transpose(2, 0, 1) / 255, atol=1e-7)


def test_holes_in_a_float_tiff():
    data = np.array([[1.5, np.nan], [-2.0, np.inf]], np.float32)
    case = read(tiff(data))
    np.testing.assert_array_equal(case.image.values[0], [[1.5, -2], [-2, -2]])
    assert "2 of 4 values" in case.provenance.notes[0]


def test_an_extension_that_lies_does_not_matter(tmp_path):
    path = tmp_path / "scan.dcm"
    path.write_bytes(encode(GREY, "PNG"))
    case = read_case(path, title="Film", modality=Modality.XRAY, source="a test", licence="CC0-1.0")
    assert (case.title, case.image.modality) == ("Film", Modality.XRAY)
    assert (case.provenance.source, case.provenance.licence, case.provenance.reader) == ("a test", "CC0-1.0", "raster")


def test_the_size_is_checked_before_decoding():
    png = bytearray(encode(GREY, "PNG"))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    (failure,) = read_bytes("x.png", bytes(png)).failures
    assert "60000 x 60000 pixels" in failure.message or "damaged" in failure.message
    (failure,) = read_bytes("x.png", encode(GREY, "PNG"), limits=Limits(pixels=50)).failures
    assert "over the limit" in failure.message
    stack = tiff(np.zeros((40, 6, 5), np.uint8), photometric="minisblack")
    (failure,) = read_bytes("x.tif", stack, limits=Limits(samples=1000)).failures
    assert "over the limit" in failure.message

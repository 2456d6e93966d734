"""PNG, JPEG, TIFF, BMP, WebP and GIF. EXIF turns the picture and is then dropped, place and camera with it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence, UnidentifiedImageError

from models.errors import DataError
from models.io.base import (
    READERS,
    Member,
    Options,
    Reader,
    ReadResult,
    decoding,
    digest_of,
    freeze,
    make_case,
    read_each,
)
from models.io.limits import Limits
from models.types import Case, FloatArray, Image, Modality, Unit, Window

_READER = "raster"
_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MAGIC = (*_TIFF_MAGIC, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a")
_NUMBERS = {"I;16": np.uint16, "I;16L": np.uint16, "I;16B": np.uint16, "I": np.int32, "F": np.float32}
_TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT, _WHITE_IS_ZERO, _UNSIGNED = 262, 339, 0, 1


def recognises(head: bytes) -> bool:
    """The magic of one of the formats."""
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read(members: Sequence[Member], options: Options) -> Iterator[ReadResult]:
    return read_each(members, options, _read_one)


def _read_one(member: Member, options: Options) -> Case:
    data = member.load(options.limits)
    with decoding("picture"):
        try:
            picture = Pillow.open(io.BytesIO(data), formats=_FORMATS)
        except UnidentifiedImageError:
            if not data.startswith(_TIFF_MAGIC):
                raise
            return _case(_other_tiff(data, options.limits), data, options)
        with picture:
            options.limits.check_shape(picture.height, picture.width)
            inverted, eight_bit = _stored_inverted(picture), picture.mode not in _NUMBERS
            pages, notes = _pages(picture, options.limits)
        return _case(pages, data, options, notes, eight_bit=eight_bit, inverted=inverted)


def _case(
    pages: list[FloatArray],
    data: bytes,
    options: Options,
    notes: tuple[str, ...] = (),
    *,
    eight_bit: bool = False,
    inverted: bool = False,
) -> Case:
    values, more = freeze(pages[0] if len(pages) == 1 else np.stack(pages, axis=1))
    unit: Unit = "unit interval" if values.shape[0] == 3 else "stored value"
    windows = (Window.from_range("full range", 0.0, 255.0),) if unit == "stored value" and eight_bit else ()
    image = Image(values, unit, options.modality or Modality.UNKNOWN, windows=windows, inverted=inverted)
    return make_case(image, digest_of(data), _READER, options, notes=(*notes, *more))


def _other_tiff(data: bytes, limits: Limits) -> list[FloatArray]:
    """Uncompressed grey pages of a number type that Pillow does not know (64-bit or half-precision, for two)."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = list(itertools.islice(file.pages, limits.members))
        first = pages[0]
        grey = first.samplesperpixel == 1 and first.dtype is not None and first.dtype.kind in "iuf"
        if not grey or any(
            (page.compression, page.shape, page.dtype) != (1, first.shape, first.dtype) for page in pages
        ):
            raise DataError("The TIFF picture is of a kind that is not supported; save it as 8- or 16-bit grey or RGB.")
        limits.check_shape(first.imagelength, first.imagewidth, len(pages))
        if first.nbytes * len(pages) > len(data):
            raise DataError("The TIFF picture is cut short: it holds fewer pixels than it declares; export it again.")
        with np.errstate(over="ignore"):
            return [page.asarray().reshape(first.shape[-2:])[None].astype(np.float32) for page in pages]


def _stored_inverted(picture: Pillow.Image) -> bool:
    """A 16-bit TIFF in which 0 is white; Pillow turns only 8-bit ones round."""
    tags = getattr(picture, "tag_v2", {})
    return picture.mode in _NUMBERS and tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO


def _pages(picture: Pillow.Image, limits: Limits) -> tuple[list[FloatArray], tuple[str, ...]]:
    """Pages as (C, H, W) float32: all of a TIFF whose pages are alike, else the first."""
    count = int(getattr(picture, "n_frames", 1))
    if count > 1 and picture.format == "TIFF":
        layouts = set()
        for index in range(count):
            picture.seek(index)
            layouts.add((picture.size, picture.mode))
        picture.seek(0)
        if len(layouts) == 1:
            limits.check_shape(picture.height, picture.width, count, 3 if picture.mode not in ("L", *_NUMBERS) else 1)
            read = [_page(frame) for frame in ImageSequence.Iterator(picture)]
            notes = tuple(note for _, more in read for note in more)
            return _same_channels([page for page, _ in read]), notes
        page, notes = _page(picture)
        return [page], (*notes, f"The {count} pages differ in size or kind; only the first is shown.")
    page, notes = _page(picture)
    if count > 1:
        notes += (f"The picture is animated; only the first of {count} frames is shown.",)
    return [page], notes


def _page(picture: Pillow.Image) -> tuple[FloatArray, tuple[str, ...]]:
    """One page the right way up, as numbers (1, H, W) in stored values or colour (3, H, W) in [0, 1]."""
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in _NUMBERS:
        stored = np.asarray(upright).astype(_NUMBERS[upright.mode])
        if upright.mode == "I" and picture.format == "TIFF" and _is_unsigned(picture):
            stored = stored.view(np.uint32)
        return stored[None].astype(np.float32), ()
    if upright.mode in ("1", "L"):
        return np.asarray(upright.convert("L"))[None].astype(np.float32), ()
    notes: tuple[str, ...] = ()
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes = ("Transparent parts of the picture are shown on black.",)
        black = Pillow.new("RGBA", rgba.size, (0, 0, 0, 255))
        upright = Pillow.alpha_composite(black, rgba)
    return _grey_if_equal(np.asarray(upright.convert("RGB"))), notes


def _is_unsigned(picture: Pillow.Image) -> bool:
    """Whether a TIFF's 32-bit numbers are unsigned (the default), which Pillow reads as signed."""
    kinds = getattr(picture, "tag_v2", {}).get(_TIFF_SAMPLE_FORMAT, _UNSIGNED)
    return kinds in (_UNSIGNED, (_UNSIGNED,))


def _grey_if_equal(rgb: NDArray[np.uint8]) -> FloatArray:
    """(H, W, 3) bytes to one channel of stored values where all three are the same, else to colour in [0, 1]."""
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all():
        return rgb[..., 0][None].astype(np.float32)
    return np.moveaxis(rgb, -1, 0).astype(np.float32) / np.float32(255)


def _same_channels(pages: list[FloatArray]) -> list[FloatArray]:
    """Colour pages among which some happen to be grey: all to colour."""
    if len({page.shape[0] for page in pages}) == 1:
        return pages
    return [page if page.shape[0] == 3 else np.repeat(page / np.float32(255), 3, axis=0) for page in pages]


READERS.register(
    _READER,
    Reader(_READER, "a picture", _EXTENSIONS, recognises, read),
)

"""DICOM pixel data to values: checked before it is decoded, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.sequence import Sequence as DicomSequence

from models.errors import DataError
from models.io.dicom_codecs import check_frame, plugin_for
from models.io.dicom_header import GROUPS, LAYOUT
from models.io.dicom_windows import read_lut
from models.io.limits import Limits
from models.types import FloatArray

_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_COLOURS = ("Red", "Green", "Blue")
# All that the functions here, ``unit_of`` and pydicom's decoders look at, for a file of one frame.
VALUE_KEYWORDS = (
    *LAYOUT,
    *GROUPS,
    *("SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelPaddingValue", "PaletteColorLookupTableUID"),
    *("Modality", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "DirectoryRecordSequence"),
    *(f"{name}PaletteColorLookupTable{part}" for name in _COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{name}PaletteColorLookupTableData" for name in _COLOURS),
    *_PIXEL_ELEMENTS,
)
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_BITS = {"PixelData": (1, 8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}
_WITHOUT_PICTURE = {
    "SR": "a structured report",
    "KO": "a selection of key images",
    "PR": "a presentation state",
    "RTSTRUCT": "contours for radiotherapy",
    "RTPLAN": "a radiotherapy plan",
    "RTRECORD": "a radiotherapy record",
    "ECG": "a waveform",
    "HD": "a waveform",
    "AU": "a sound recording",
    "DOC": "a document",
    "REG": "a registration",
    "PLAN": "a plan",
}


@dataclass(frozen=True)
class PixelInfo:
    """What the header declares about the pixels, checked for sense and size."""

    element: str
    rows: int
    columns: int
    frames: int
    samples: int
    bits_stored: int
    photometric: str

    @property
    def is_colour(self) -> bool:
        return self.photometric in _COLOUR

    @property
    def channels(self) -> int:
        return 3 if self.is_colour else 1


def pixel_info(ds: Dataset, limits: Limits) -> PixelInfo:
    """Raises DataError where there is no picture, or where its declared layout makes no sense or is too large."""
    element = next((name for name in _PIXEL_ELEMENTS if name in ds), None)
    if element is None:
        raise DataError(_no_picture(ds))
    numbers = {}
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        numbers[keyword] = _integer(ds, keyword)
    samples, frames = _integer(ds, "SamplesPerPixel", 1), _integer(ds, "NumberOfFrames", 1)
    allocated = numbers["BitsAllocated"]
    stored = _integer(ds, "BitsStored", allocated)
    photometric = str(ds.get("PhotometricInterpretation", "")).strip()
    if photometric not in _GREY + _COLOUR:
        raise DataError("The DICOM file's colour model is missing or not supported; export it as MONOCHROME2 or RGB.")
    if samples != (3 if photometric in _COLOUR and photometric != "PALETTE COLOR" else 1):
        raise DataError("The DICOM file's colour model and number of samples per pixel disagree; export it again.")
    if allocated not in _BITS[element] or not 1 <= stored <= allocated:
        raise DataError(
            f"The DICOM file declares {allocated} bits allocated and {stored} stored, which cannot be; export it again."
        )
    info = PixelInfo(element, numbers["Rows"], numbers["Columns"], frames, samples, stored, photometric)
    limits.check_shape(info.rows, info.columns, info.frames, info.channels)
    return info


def decode(ds: Dataset, info: PixelInfo, limits: Limits) -> Iterator[NDArray[Any]]:
    """Frames in stored order, (H, W) grey or palette index, or (H, W, 3) RGB, in the stored type.

    Raises:
        DataError: the pixel data is too short or of a compression that is not supported.
        Unavailable: the library for its compression is missing.
    """
    syntax = _transfer_syntax(ds)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        name = syntax.name if not syntax.is_private else "a private one"
        raise DataError(f"The DICOM file's compression ({name}) is not supported; export it uncompressed.") from None
    plugin = plugin_for(decoder)
    data = ds[info.element].value
    if syntax.is_encapsulated:
        held = 0
        for frame in generate_frames(data, number_of_frames=info.frames):
            held += 1
            if syntax != uid.RLELossless:
                check_frame(frame, info.rows, info.columns, info.samples, limits)
        if held < info.frames:
            raise DataError(
                f"The DICOM file declares {info.frames} frames but holds {held}; it is cut short, export it again."
            )
    else:
        bits = info.rows * info.columns * info.frames * info.samples * int(ds.BitsAllocated)
        if info.photometric == "YBR_FULL_422":
            bits = bits * 2 // 3
        if len(data) * 8 < bits:
            raise DataError(
                "The DICOM file is cut short: it holds fewer pixels than it declares; copy or export it again."
            )
    for frame, _ in decoder.iter_array(ds, decoding_plugin=plugin):
        yield frame


def to_values(ds: Dataset, info: PixelInfo, frame: NDArray[Any], holders: list[Dataset]) -> FloatArray:
    """One decoded frame as (C, H, W) float32: modality LUT applied, or colour in [0, 1].

    Args:
        holders: data sets that may hold the rescale elements, the most specific first.
    """
    if info.photometric == "PALETTE COLOR":
        return _palette_colour(ds, frame)
    if info.is_colour:
        return _unit_interval(frame, info.bits_stored)
    tables = ds.get("ModalityLUTSequence")
    lut = read_lut(tables[0]) if isinstance(tables, DicomSequence) and len(tables) else None
    if lut is not None:
        return _look_up(frame, lut[0], lut[1])[None].astype(np.float32)
    slope, intercept = rescale(holders)
    if _is_exact(frame.dtype, slope, intercept):
        return np.add(np.multiply(frame, np.float32(slope), dtype=np.float32), np.float32(intercept))[None]
    with np.errstate(over="ignore", invalid="ignore"):
        return (frame.astype(np.float64) * slope + intercept)[None].astype(np.float32)


def rescale(holders: list[Dataset]) -> tuple[float, float]:
    """(slope, intercept) of the modality LUT; (1, 0) where there is none.

    Raises:
        DataError: they are not usable numbers.
    """
    for holder in holders:
        if holder.get("RescaleSlope") is None and holder.get("RescaleIntercept") is None:
            continue
        slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
        pair = (1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept))
        if not np.isfinite(pair).all() or pair[0] == 0:
            raise DataError("The DICOM file's rescale slope or intercept is not a usable number; export it again.")
        return pair
    return 1.0, 0.0


def _is_exact(dtype: np.dtype[Any], slope: float, intercept: float) -> bool:
    """Whether rescaling in single precision gives what double precision does: whole numbers below 2^24."""
    small = dtype.kind in "iu" and dtype.itemsize <= 2 and slope.is_integer() and intercept.is_integer()
    return small and abs(slope) * 2**16 + abs(intercept) < 2**24


def _palette_colour(ds: Dataset, frame: NDArray[Any]) -> FloatArray:
    """(H, W) palette index to (3, H, W) in [0, 1] (PS3.3 C.7.6.3.1.5)."""
    if "SegmentedRedPaletteColorLookupTableData" in ds:
        colour = apply_color_lut(frame, ds)[..., :3]
        return _unit_interval(colour, 8 * colour.dtype.itemsize)
    channels = []
    for name in _COLOURS:
        stem = f"{name}PaletteColorLookupTable"
        lut = read_lut(ds, f"{stem}Descriptor", f"{stem}Data")
        if lut is None:
            raise DataError("The DICOM file's colour palette is missing or damaged; export it as RGB.")
        first, outputs, bits = lut
        channels.append(_look_up(frame, first, outputs) / (2.0**bits - 1))
    return np.clip(np.stack(channels), 0.0, 1.0).astype(np.float32)


def _look_up(frame: NDArray[Any], first: float, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each stored value's table entry; values beyond an end take that end's."""
    return outputs[np.clip(frame.astype(np.int64) - int(first), 0, len(outputs) - 1)]


def _unit_interval(frame: NDArray[Any], bits: int) -> FloatArray:
    scaled = frame.astype(np.float64) / (2.0**bits - 1)
    return np.clip(np.moveaxis(scaled, -1, 0), 0.0, 1.0).astype(np.float32)


def _transfer_syntax(ds: Dataset) -> uid.UID:
    """The file's syntax; where its meta information lacks one, that in which the data set was found to be written."""
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    if syntax:
        return uid.UID(str(syntax))
    implicit, little = ds.original_encoding
    explicit = uid.ExplicitVRBigEndian if little is False else uid.ExplicitVRLittleEndian
    guessed = uid.ImplicitVRLittleEndian if implicit else explicit
    if getattr(ds, "file_meta", None) is not None:
        ds.file_meta.TransferSyntaxUID = guessed
    return guessed


def _integer(ds: Dataset, keyword: str, default: int | None = None) -> int:
    value = ds.get(keyword)
    if value is None or value == "":
        if default is not None:
            return default
        raise DataError(f"The DICOM file does not say {keyword}, which its picture needs; export it again.")
    return int(value)


def _no_picture(ds: Dataset) -> str:
    if "DirectoryRecordSequence" in ds:
        return "The file is the index of a DICOM disc and holds no picture; open the disc's folder instead."
    kind = _WITHOUT_PICTURE.get(str(ds.get("Modality", "")))
    return f"The DICOM file holds no picture{f' but {kind}' if kind else ''}; open the images it belongs to."

"""DICOM: single images, multi-frame images and series of slices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import Dataset

from models.errors import DataError, SightlineError
from models.io.base import (
    QUIET,
    READERS,
    Failure,
    Member,
    Options,
    Reader,
    ReadResult,
    decoding,
    digest_of,
    freeze,
    make_case,
)
from models.io.deidentify import readable_attributes
from models.io.dicom_geometry import film_geometry, numbers, stack, tilt_of
from models.io.dicom_header import frame_holders, modality_of, notes_of, parse, recognises, unit_of
from models.io.dicom_pixels import VALUE_KEYWORDS, PixelInfo, decode, pixel_info, rescale, to_values
from models.io.dicom_series import Groups, Header, Volume, look, plane_of, volumes_of
from models.io.dicom_windows import windows_of
from models.types import Case, FloatArray, Geometry, Image, Unit, Window, default_window

_READER = "dicom"
_VALUES, _WINDOWS = "PixelValueTransformationSequence", "FrameVOILUTSequence"


def read(members: Sequence[Member], options: Options) -> Iterator[ReadResult]:
    """Slices of a series as one volume, every other image as its own case."""
    groups, failures = _grouped(members, options)
    yield from (ReadResult(failures=(failure,)) for failure in failures)
    for group in groups:
        volumes = volumes_of(group)
        for volume in volumes:
            yield _read_volume(volume, options)
        for header in () if volumes else group:  # one image, or several at one place (a cine): a case each
            try:
                with decoding("DICOM file"):
                    case = _read_file(header.member.load(options.limits), options)
            except SightlineError as error:
                yield ReadResult(failures=(Failure.of(header.member.name, error),))
            else:
                yield ReadResult((case,), names=(header.member.name,))


@QUIET
def _grouped(members: Sequence[Member], options: Options) -> tuple[list[list[Header]], list[Failure]]:
    """The files that belong together by their headers, and those that have none."""
    groups, failures = Groups(), []
    for index, member in enumerate(members):
        try:
            with decoding("DICOM file"):
                groups.add(look(member, index, options))
        except SightlineError as error:
            failures.append(Failure.of(member.name, error))
    return groups.all(), failures


def _read_file(data: bytes, options: Options) -> Case:
    """One file, of one frame or many."""
    ds = parse(data, options)
    info = pixel_info(ds, options.limits)
    order, geometry, notes = _frame_order(ds, info)
    slots = np.argsort(order)
    values = np.empty((info.channels, info.frames, info.rows, info.columns), dtype=np.float32)
    for index, frame in enumerate(decode(ds, info, options.limits)):
        values[:, slots[index]] = to_values(ds, info, frame, frame_holders(ds, index, _VALUES))
    plane_or_volume = values[:, 0] if info.frames == 1 else values
    return _case(ds, info, plane_or_volume, geometry, digest_of(data), notes, options)


@QUIET
def _read_volume(volume: Volume, options: Options) -> ReadResult:
    """Slices along their normal as one image; a slice that cannot be read is listed and left out."""
    failures: list[Failure] = []
    first = volume.headers[0].member.name
    try:
        case = _volume_case(volume, options, failures)
    except SightlineError as error:
        failures.append(Failure.of(first, error))
        case = None
    return ReadResult(failures=tuple(failures)) if case is None else ReadResult((case,), tuple(failures), (first,))


def _volume_case(volume: Volume, options: Options, failures: list[Failure]) -> Case | None:
    """The slices that can be read, as one case; None where there are none. The others are added to ``failures``.

    Raises:
        DataError: the volume would be larger than the limit, or holds no numbers.
    """
    count = len(volume.headers)
    options.limits.check_shape(*volume.headers[0].size, count)
    values: FloatArray | None = None
    used: list[Header] = []
    digests = hashlib.sha256()
    units: set[Unit] = set()
    # One after the other: the decoders hold the interpreter's lock, so threads gain nothing.
    for header in volume.headers:
        try:
            with decoding("DICOM file"):
                data = header.member.load(options.limits)
                ds = parse(data, options, VALUE_KEYWORDS)
                info = pixel_info(ds, options.limits)
                if values is None:
                    options.limits.check_shape(info.rows, info.columns, count, info.channels)
                    values = np.empty((info.channels, count, info.rows, info.columns), dtype=np.float32)
                holders = frame_holders(ds, 0, _VALUES)
                values[:, len(used)] = to_values(ds, info, next(decode(ds, info, options.limits)), holders)
                units.add(unit_of(ds, holders))
                digests.update(digest_of(data).encode())
                used.append(header)
        except SightlineError as error:
            failures.append(Failure.of(header.member.name, error))
    if values is None or not used:
        return None
    kept = stack([header.plane for header in used if header.plane is not None])
    notes = [*volume.notes, *kept.notes]
    if failures:
        notes.append(f"{len(failures)} slice(s) of the series could not be read and were left out.")
    if len(units) > 1:
        notes.append("Some slices are in HU and some are not; all are shown as stored values.")
    with decoding("DICOM series"):
        ds = parse(used[min(count // 2, len(used) - 1)].member.load(options.limits), options)
        plane_or_volume = values[:, : len(used)] if len(used) > 1 else values[:, 0]
        unit: Unit = units.pop() if len(units) == 1 else "stored value"
        notes += tilt_of(kept.geometry if len(used) > 1 else None, ds)
        info = pixel_info(ds, options.limits)
        return _case(ds, info, plane_or_volume, kept.geometry, digests.hexdigest(), notes, options, unit)


def _case(
    ds: Dataset,
    info: PixelInfo,
    values: FloatArray,
    geometry: Geometry | None,
    digest: str,
    notes: Sequence[str],
    options: Options,
    unit: Unit | None = None,
) -> Case:
    values, more = freeze(values)
    holders = frame_holders(ds, 0, _VALUES)
    if info.is_colour:
        unit = "unit interval"
    elif unit is None:
        unit = unit_of(ds, holders)
    windows: tuple[Window, ...] = ()
    if not info.is_colour:
        windows = windows_of(ds, frame_holders(ds, 0, _WINDOWS), unit) or (_own_window(ds, info, values, unit),)
    image = Image(
        values=values,
        unit=unit,
        modality=modality_of(ds, options),
        geometry=geometry,
        windows=windows,
        inverted=info.photometric == "MONOCHROME1",
    )
    attributes, kept = readable_attributes(ds)
    all_notes = (*notes_of(ds), *notes, *more)
    return make_case(image, digest, _READER, options, attributes=attributes, kept=kept, notes=all_notes)


def _own_window(ds: Dataset, info: PixelInfo, values: FloatArray, unit: Unit) -> Window:
    """For an image without presets: all of 8 bits, else the bulk of the values that are not padding."""
    slope, intercept = rescale([ds])
    if info.bits_stored <= 8 and (slope, intercept) == (1.0, 0.0) and not ds.get("PixelRepresentation"):
        return Window.from_range("full range", 0.0, 2.0**info.bits_stored - 1)
    padding = numbers(ds.get("PixelPaddingValue"), 1)
    if padding is None:
        return default_window(values, unit)
    limit = numbers(ds.get("PixelPaddingRangeLimit"), 1)
    low, high = sorted(
        _signed(ds, end[0]) * slope + intercept for end in (padding, padding if limit is None else limit)
    )
    inside = values[(values < low) | (values > high)]
    return default_window(inside if inside.size else values, unit)


def _signed(ds: Dataset, value: float) -> float:
    """A 16-bit header value read as unsigned although the pixels are signed."""
    return value - 65536 if ds.get("PixelRepresentation") == 1 and value > 32767 else float(value)


def _frame_order(ds: Dataset, info: PixelInfo) -> tuple[tuple[int, ...], Geometry | None, tuple[str, ...]]:
    """Frame indices along the normal, the geometry, and notes."""
    stored = tuple(range(info.frames))
    planes = [plane for plane in (plane_of(ds, index) for index in stored) if plane and plane.spacing]
    if info.frames == 1 and planes:
        return stored, planes[0].geometry(), ()
    if len(planes) == info.frames:
        try:
            frames = stack(planes)
        except DataError:
            frames = None
        if frames is not None and len(frames.order) == info.frames:
            return frames.order, frames.geometry, (*frames.notes, *tilt_of(frames.geometry, ds))
        geometry, notes = film_geometry(ds)
        return (
            stored,
            geometry,
            (*notes, "The frames do not each have a place of their own in space; they are shown as stored."),
        )
    return stored, *film_geometry(ds)


READERS.register(_READER, Reader(_READER, "DICOM", (".dcm", ".dicom", ".ima"), recognises, read))

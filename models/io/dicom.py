"""DICOM: single images, multi-frame images and series of slices."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from models.errors import DataError, SightlineError
from models.io.base import READERS, Failure, Member, Options, Reader, ReadResult, decoding, digest_of, freeze, make_case
from models.io.deidentify import readable_attributes
from models.io.dicom_geometry import Plane, film_geometry, numbers, read_plane, stack
from models.io.dicom_header import (
    first_value,
    frame_holders,
    modality_of,
    notes_of,
    parse,
    recognises,
    unit_of,
)
from models.io.dicom_pixels import PixelInfo, decode, pixel_info, rescale, to_values
from models.io.dicom_windows import windows_of
from models.types import Case, FloatArray, Geometry, Image, Unit, Window, default_window

_READER = "dicom"
_VALUES, _WINDOWS = "PixelValueTransformationSequence", "FrameVOILUTSequence"


@dataclass(frozen=True, eq=False)
class _Header:
    """A file that passed the first look.

    Attributes:
        key: equal for slices of one series and size.
        size: (rows, columns) as declared.
        plane: None where the file is not one slice in space.
    """

    member: Member
    key: Hashable
    size: tuple[int, int]
    plane: Plane | None


def read(members: Sequence[Member], options: Options) -> Iterator[ReadResult]:
    """Slices of a series as one volume, every other image as its own case."""
    groups: dict[Hashable, list[list[_Header]]] = {}
    for index, member in enumerate(members):
        try:
            with decoding("DICOM file"):
                _join(groups, _look(member, index, options))
        except SightlineError as error:
            yield ReadResult(failures=(Failure.of(member.name, error),))
    for group in (group for alike in groups.values() for group in alike):
        try:
            yield from _read_group(group, options)
        except SightlineError as error:
            yield ReadResult(failures=(Failure.of(group[0].member.name, error),))


def _join(groups: dict[Hashable, list[list[_Header]]], header: _Header) -> None:
    """Add the file to the group whose planes lie as its own does, or begin one."""
    alike = groups.setdefault(header.key, [])
    for group in alike:
        if header.plane is not None and group[0].plane is not None and header.plane.matches(group[0].plane):
            group.append(header)
            return
    alike.append([header])


def _look(member: Member, index: int, options: Options) -> _Header:
    """What decides with which other files this one belongs."""
    ds = parse(member.load(options.limits), options, header_only=True)
    series, plane = ds.get("SeriesInstanceUID"), _plane(ds, 0)
    if not series or plane is None or int(ds.get("NumberOfFrames") or 1) != 1:
        return _Header(member, index, (0, 0), None)
    size = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    return _Header(member, (str(series), size, str(ds.get("PhotometricInterpretation"))), size, plane)


def _read_group(group: list[_Header], options: Options) -> Iterator[ReadResult]:
    planes = [header.plane for header in group if header.plane is not None]
    if len(planes) > 1 and len(stack(planes).order) > 1:
        yield _read_series(group, options)
        return
    for header in group:  # one image, or several at one place (a cine): a case each
        try:
            with decoding("DICOM file"):
                case = _read_file(header.member.load(options.limits), options)
        except SightlineError as error:
            yield ReadResult(failures=(Failure.of(header.member.name, error),))
        else:
            yield ReadResult((case,), names=(header.member.name,))


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


def _read_series(group: list[_Header], options: Options) -> ReadResult:
    """Slices along their normal as one volume; a slice that cannot be read is listed and left out.

    Raises:
        DataError: the volume would be larger than the limit.
    """
    planes = {header.member: header.plane for header in group if header.plane is not None}
    ordered = [group[index].member for index in stack(list(planes.values())).order]
    options.limits.check_shape(*group[0].size, len(ordered))
    failures: list[Failure] = []
    used: list[Member] = []
    digests = hashlib.sha256()
    values: FloatArray | None = None
    units: set[Unit] = set()
    middle: tuple[Dataset, PixelInfo] | None = None
    for member in ordered:
        try:
            with decoding("DICOM file"):
                data = member.load(options.limits)
                ds = parse(data, options)
                info = pixel_info(ds, options.limits)
                if values is None:
                    options.limits.check_shape(info.rows, info.columns, len(ordered), info.channels)
                    values = np.empty((info.channels, len(ordered), info.rows, info.columns), dtype=np.float32)
                values[:, len(used)] = to_values(ds, info, next(decode(ds, info, options.limits)), [ds])
        except SightlineError as error:
            failures.append(Failure.of(member.name, error))
            continue
        if len(used) <= len(ordered) // 2:
            middle = ds, info
        units.add(unit_of(ds, [ds]))
        digests.update(digest_of(data).encode())
        used.append(member)
    if values is None or middle is None:
        return ReadResult(failures=tuple(failures))
    kept = stack([plane for member in used if (plane := planes[member])])
    left_out = len(group) - len(ordered)
    notes = [f"{left_out} slice(s) at a position already taken were left out."] if left_out else []
    notes += kept.notes
    if failures:
        notes.append(f"{len(failures)} slice(s) of the series could not be read and were left out.")
    if len(units) > 1:
        notes.append("Some slices are in HU and some are not; all are shown as stored values.")
    try:
        with decoding("DICOM series"):
            volume = values[:, : len(used)] if len(used) > 1 else values[:, 0]
            unit: Unit | None = units.pop() if len(units) == 1 else "stored value"
            case = _case(*middle, volume, kept.geometry, digests.hexdigest(), notes, options, unit)
    except SightlineError as error:
        return ReadResult(failures=(*failures, Failure.of(group[0].member.name, error)))
    return ReadResult((case,), tuple(failures), (group[0].member.name,))


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
    planes = [plane for plane in (_plane(ds, index) for index in stored) if plane is not None]
    if info.frames == 1 and planes:
        return stored, planes[0].geometry(), ()
    if len(planes) == info.frames:
        try:
            frames = stack(planes)
        except DataError:
            frames = None
        if frames is not None and len(frames.order) == info.frames:
            return frames.order, frames.geometry, frames.notes
        geometry, notes = film_geometry(ds)
        return (
            stored,
            geometry,
            (*notes, "The frames do not each have a place of their own in space; they are shown as stored."),
        )
    return stored, *film_geometry(ds)


def _plane(ds: Dataset, frame: int) -> Plane | None:
    measures = frame_holders(ds, frame, "PixelMeasuresSequence")
    return read_plane(
        first_value(frame_holders(ds, frame, "PlaneOrientationSequence"), "ImageOrientationPatient"),
        first_value(frame_holders(ds, frame, "PlanePositionSequence"), "ImagePositionPatient"),
        first_value(measures, "PixelSpacing"),
        (first_value(measures, "SpacingBetweenSlices"), first_value(measures, "SliceThickness")),
    )


READERS.register(_READER, Reader(_READER, "DICOM", (".dcm", ".dicom", ".ima"), recognises, read))

"""Image files in, cases out: DICOM, NIfTI and raster pictures, one file each, single or in folders and zips.

A format is added by one module that registers a :class:`Reader`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models.errors import DataError, SightlineError
from models.io.archive import from_path, from_uploads
from models.io.base import LOCALISER, QUIET, READERS, Failure, Member, Options, Reader, ReadResult
from models.io.limits import DEFAULT_LIMITS, LOCAL_LIMITS, Limits
from models.registry import discover
from models.types import Case, Modality

__all__ = [
    "READERS",
    "Failure",
    "Limits",
    "ReadResult",
    "Reader",
    "iterate_cases",
    "read_bytes",
    "read_case",
    "read_cases",
    "read_uploads",
]

_LISTED = 5  # volumes named in a message
_FORMATS = "a DICOM, NIfTI, PNG, JPEG, TIFF, BMP or WebP file"


def read_case(
    path: Path | str,
    *,
    title: str | None = None,
    source: str = "file",
    licence: str = "",
    modality: Modality | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Case:
    """One image: a file, or a folder or zip that holds one image or one series of slices, localisers beside it or not.

    Args:
        title: for the worklist; None makes one of the modality and a hash.
        source, licence: copied to the provenance.
        modality: overrides what the file says, for formats that do not say.

    Raises:
        DataError: the path is unusable, or holds no image, several, or a bad one.
        Unavailable: a library for the image's compression is missing.
    """
    options = Options(title, source, licence, modality, limits)
    result = _read(*from_path(Path(path), limits), options)
    scans = [case for case in result.cases if LOCALISER not in case.provenance.notes] or result.cases
    if len(scans) == 1:
        return _with_notes(scans[0], len(result.cases) - 1, len(result.failures))
    if scans:
        raise DataError(
            f"There are {len(scans)} images at the path given where one is expected ({_depths(scans)}); choose one of them."
        )
    if len(result.failures) == 1:
        raise result.failures[0].error(result.failures[0].message)
    what = f"None of the {len(result.failures)} files" if result.failures else "Nothing"
    raise DataError(
        f"{what} at the path given can be read as an image; choose a DICOM, NIfTI, PNG, JPEG, TIFF, BMP or WebP file."
    )


def read_cases(
    path: Path | str,
    *,
    source: str = "file",
    licence: str = "",
    modality: Modality | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> ReadResult:
    """Every image at a path: DICOM slices put together by series, each other image by itself.

    Raises:
        DataError: the path itself is unusable; a bad file among others is listed in the result instead.
    """
    return _read(*from_path(Path(path), limits), Options(None, source, licence, modality, limits))


def iterate_cases(
    path: Path | str,
    *,
    source: str = "file",
    licence: str = "",
    modality: Modality | None = None,
    limits: Limits = LOCAL_LIMITS,
) -> Iterator[ReadResult]:
    """As :func:`read_cases`, piece by piece: a folder of any size is read with one image in memory at a time.

    Raises:
        DataError: the path itself is unusable.
    """
    yield from _iterate(*from_path(Path(path), limits), Options(None, source, licence, modality, limits))


def read_uploads(
    files: Sequence[tuple[str, bytes]],
    *,
    source: str = "uploaded file",
    licence: str = "",
    modality: Modality | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> ReadResult:
    """Files uploaded together, as (name, content): zips are opened, DICOM slices put together.

    Raises:
        DataError: there are more files than the limit.
    """
    return _read(*from_uploads(files, limits), Options(None, source, licence, modality, limits))


def read_bytes(
    name: str,
    data: bytes,
    *,
    source: str = "uploaded file",
    licence: str = "",
    modality: Modality | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> ReadResult:
    """One uploaded file, which may be a zip of many. Nothing is written to disk."""
    return read_uploads([(name, data)], source=source, licence=licence, modality=modality, limits=limits)


def _with_notes(case: Case, localisers: int, others: int) -> Case:
    notes = case.provenance.notes
    if localisers:
        notes += (f"{localisers} localiser image(s) at the same place were left out.",)
    if others:
        notes += (f"{others} other file(s) at the same place could not be read as part of it.",)
    return replace(case, provenance=replace(case.provenance, notes=notes))


def _depths(cases: Sequence[Case]) -> str:
    """How many slices each has: "volumes of 120 and 30 slices, 2 single pictures"."""
    volumes = [str(case.image.depth) for case in cases if case.image.is_volume]
    single = len(cases) - len(volumes)
    listed = ", ".join(volumes[:_LISTED]) + (" ..." if len(volumes) > _LISTED else "")
    parts = [f"volumes of {listed} slices"] if volumes else []
    return ", ".join(parts + ([f"{single} single picture(s)"] if single else []))


def _read(members: Iterable[Member], failures: Iterable[Failure], options: Options) -> ReadResult:
    return sum(_iterate(members, failures, options), ReadResult())


def _iterate(members: Iterable[Member], failures: Iterable[Failure], options: Options) -> Iterator[ReadResult]:
    """Each file to the reader that recognises it."""
    yield ReadResult(failures=tuple(failures))
    by_reader, unknown = _by_reader(members)
    yield ReadResult(failures=tuple(unknown))
    for reader_id, group in by_reader.items():
        yield from READERS.get(reader_id).read(group, options)


@QUIET
def _by_reader(members: Iterable[Member]) -> tuple[dict[str, list[Member]], list[Failure]]:
    """Files by the id of their reader, and those that no reader knows."""
    found: dict[str, list[Member]] = {}
    unknown: list[Failure] = []
    for member in members:
        try:
            found.setdefault(_reader_for(member).id, []).append(member)
        except SightlineError as error:
            unknown.append(Failure.of(member.name, error))
    return found, unknown


def _reader_for(member: Member) -> Reader:
    """By content; a wrong extension does not matter, as long as some reader knows the content."""
    head = member.head()
    if not head:
        raise DataError("The file is empty; copy or export it again.")
    for reader in READERS:
        if reader.recognises(head):
            return reader
    for reader in READERS:
        if member.extension in reader.extensions:
            raise DataError(f"The file is named like {reader.title} but holds something else; export it again.")
    raise DataError(f"The file is not an image of a known format; choose {_FORMATS}.")


discover(sys.modules[__name__])

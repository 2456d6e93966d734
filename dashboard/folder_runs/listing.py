"""What a folder or a listing holds, as units of files to be read together. Lists and looks at first bytes; decodes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dashboard.folder_runs.manifest import is_manifest, listed
from dashboard.folder_runs.planes import Unit
from models.errors import SightlineError
from models.io import READERS
from models.io.archive import from_path, is_clutter
from models.io.base import HEAD_BYTES, Member, Options, decoding
from models.io.dicom_header import parse_header
from models.io.limits import LOCAL_LIMITS

_GZIP_MAGIC = b"\x1f\x8b"
SIGN = 256  # files between signs of life
_FIRST_BYTES = 1 << 16  # of a DICOM file; the series stands near the start
_File = tuple[int, str, Path, str]


def units_of(paths: Sequence[Path], sign: Callable[[], None] = lambda: None) -> Iterator[Unit]:
    """The image files at the paths (files, zips, listings, folders and what is below them); links are not followed.

    Slices of one DICOM series are one unit, wherever they lie below a path. Units come in no particular order, but
    ``place`` follows the paths and, below each, the names.

    Args:
        sign: called every ``SIGN`` files, of which the DICOM ones are opened: on a network drive that takes a while.
    """
    place = 0
    for path in paths:
        series: dict[str, list[_File]] = {}
        of_several = f" {path.as_posix()}" if len(paths) > 1 else ""
        for name, file, stamp in _files(path):
            found = place, _printable(name), file, f"{stamp}{_printable(of_several)}"
            place += 1
            if place % SIGN == 0:
                sign()
            uid = _series(file)
            if uid is None:
                yield _unit([found])
            else:
                series.setdefault(uid, []).append(found)
        for files in series.values():
            yield _unit(files)


def _unit(files: Sequence[_File]) -> Unit:
    place, name, _, stamp = files[0]
    if len(files) > 1:
        stamp = hashlib.sha256("\n".join(f"{own} {mark}" for _, own, _, mark in files).encode()).hexdigest()
    return Unit(place, name, tuple(str(path) for _, _, path, _ in files), tuple(own for _, own, _, _ in files), stamp)


def _files(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Name below the path, place, and size with time of change. A path that is nothing is left for the reader to say."""
    if is_manifest(path):
        yield from _listed_files(path)
        return
    if not path.is_dir():
        yield path.name, path, _stamp_of(path)
        return
    for parent, folders, names in os.walk(path):
        folders.sort()
        below = os.path.relpath(parent, path)
        for name in sorted(names):
            relative = name if below == "." else f"{Path(below).as_posix()}/{name}"
            try:
                facts = os.lstat(f"{parent}/{name}")
            except FileNotFoundError:  # gone since the folder was read
                continue
            if stat.S_ISREG(facts.st_mode) and not is_clutter(relative):
                yield relative, Path(parent, name), _stamp(facts)


def _listed_files(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Those that a listing names, and those in folders that it names, each once."""
    seen: set[str] = set()
    for name, place in listed(path):
        for below, file, stamp in _files(place) if place.is_dir() else ((place.name, place, _stamp_of(place)),):
            whole = f"{name}/{below}" if file is not place else name
            if whole not in seen:
                seen.add(whole)
                yield whole, file, stamp


def _stamp_of(path: Path) -> str:
    """Of a path that may be nothing."""
    return _stamp(path.stat()) if path.exists() else ""


def _stamp(facts: os.stat_result) -> str:
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _printable(name: str) -> str:
    """A name with bytes that are not UTF-8 written out, so that tables can hold it."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _series(path: Path) -> str | None:
    """The DICOM series that a file belongs to; None for anything else, and where only reading it will tell."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not head.startswith(_GZIP_MAGIC) and not READERS.get("dicom").recognises(head):
                return None
            start = head + file.read(_FIRST_BYTES - HEAD_BYTES)
        if head.startswith(_GZIP_MAGIC):
            (member,), _ = from_path(path, LOCAL_LIMITS)
            return _uid(member) if READERS.get("dicom").recognises(member.head()) else None
        try:
            return _uid(Member.of_bytes(path.name, start)) or _uid(Member(path.name, lambda: path.open("rb")))
        except SightlineError:  # cut short where it matters
            return _uid(Member(path.name, lambda: path.open("rb")))
    except (SightlineError, OSError):
        return None


def _uid(member: Member) -> str | None:
    options = Options(limits=LOCAL_LIMITS)
    with decoding("DICOM file"):
        return str(parse_header(member, options, ("SeriesInstanceUID",)).get("SeriesInstanceUID") or "") or None

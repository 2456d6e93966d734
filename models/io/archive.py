"""Files out of folders, zip archives and gzip streams. Nothing is unpacked to disk, so no member can name a place."""

from __future__ import annotations

import gzip
import os
import weakref
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from models.errors import DataError, SightlineError
from models.io.base import QUIET, Failure, Member, base_name, decoding
from models.io.limits import MB, Limits

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"
_CLUTTER = {"thumbs.db", "desktop.ini", "dicomdir"}

Found = tuple[list[Member], list[Failure]]


@QUIET
def from_path(path: Path, limits: Limits) -> Found:
    """The files at ``path``: itself, a folder's, or a zip's.

    Raises:
        DataError: the path itself is unusable.
    """
    try:
        if path.is_dir():
            return _unpack(_walk(path, limits), limits)
        if not path.is_file():
            raise DataError("There is no file or folder at the path given; check the path.")
        member = Member(path.name, lambda: path.open("rb"))
        if member.head().startswith(_ZIP_MAGIC):
            return _open_zip(lambda: path.open("rb"), limits)
        limits.check_bytes(path.stat().st_size)
    except OSError as error:
        raise DataError(f"The path given cannot be read ({type(error).__name__}); check its permissions.") from None
    return [_gunzipped(member)], []


@QUIET
def from_uploads(files: Iterable[tuple[str, bytes]], limits: Limits) -> Found:
    """The files uploaded together, those inside zips included."""
    members = [Member.of_bytes(name, data) for name, data in files]
    if len(members) > limits.members:
        raise DataError(f"There are more than {limits.members} files; read them in smaller groups.")
    return _unpack(members, limits)


def _unpack(members: Sequence[Member], limits: Limits) -> Found:
    """Replace each zip by its members; a zip that cannot be used is listed."""
    found: list[Member] = []
    failures: list[Failure] = []
    for member in members:
        try:
            if member.head().startswith(_ZIP_MAGIC):
                inside, bad = _open_zip(member.open, limits)
                found += inside
                failures += bad
            else:
                found.append(_gunzipped(member))
        except SightlineError as error:
            failures.append(Failure.of(member.name, error))
    return found, failures


def _walk(folder: Path, limits: Limits) -> list[Member]:
    """Regular files below ``folder`` in name order. Links are not followed: they may lead anywhere."""
    members: list[Member] = []
    total = 0
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for path in (Path(parent, name) for name in sorted(names)):
            if is_clutter(str(path.relative_to(folder))) or path.is_symlink() or not path.is_file():
                continue
            total += path.stat().st_size
            members.append(Member(path.relative_to(folder).as_posix(), partial(_open_path, path)))
            if len(members) > limits.members or total > limits.total_bytes:
                raise DataError(
                    f"The folder holds more than {limits.members} files or {limits.total_bytes / MB:g} MB; "
                    "choose the folder of one series."
                )
    return members


def _open_zip(open_archive: Callable[[], BinaryIO], limits: Limits) -> Found:
    """Members of a zip, by the sizes it declares; reading a member is bounded again by ``Member.load``.

    Raises:
        DataError: the archive is damaged, or too large when unpacked.
    """
    with decoding("zip archive"):
        stream = open_archive()
        archive = zipfile.ZipFile(stream)
        weakref.finalize(archive, stream.close)  # stays open as long as a member refers to the archive
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not is_clutter(entry.filename)]
    total = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if len(entries) > limits.members or total > limits.total_bytes:
        raise DataError(
            f"The zip archive unpacks to more than {limits.members} files or {limits.total_bytes / MB:g} MB; "
            "split it into one archive per series."
        )
    if total > limits.file_bytes and total / packed > limits.ratio:
        raise DataError(
            "The zip archive unpacks to far more than a picture would; it is refused as a decompression bomb."
        )
    members: list[Member] = []
    failures: list[Failure] = []
    for entry in sorted(entries, key=lambda entry: entry.filename):
        member = Member(base_name(entry.filename), partial(_open_entry, archive, entry))
        try:
            if entry.flag_bits & 1:
                raise DataError("The file is encrypted; unpack the archive with its password first.")
            limits.check_bytes(entry.file_size)
            if member.head().startswith(_ZIP_MAGIC):
                raise DataError("The file is a zip archive inside another; unpack the outer one first.")
            members.append(_gunzipped(member))
        except SightlineError as error:
            failures.append(Failure.of(member.name, error))
    return members, failures


def _open_path(path: Path) -> BinaryIO:
    return path.open("rb")


def _open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO:
    return cast(BinaryIO, archive.open(entry))


def _gunzipped(member: Member) -> Member:
    """The member with its gzip layer, if any, taken off while it is read."""
    if not member.head().startswith(_GZIP_MAGIC):
        return member
    return Member(member.name, lambda: cast(BinaryIO, gzip.GzipFile(fileobj=member.open())))


def is_clutter(path: str) -> bool:
    """Files that operating systems and DICOM discs add, which hold no picture."""
    parts = path.replace("\\", "/").split("/")
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1].lower() in _CLUTTER

"""What the readers share: files to read, options, results, the registry, and the one boundary to decoding libraries."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ContextDecorator, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from models.errors import DataError, SightlineError
from models.io.limits import Limits
from models.registry import Registry
from models.types import Case, FloatArray, Geometry, Image, Modality, Provenance

HEAD_BYTES = 4096
# Streams that jump at no cost; any other jumps back by unpacking anew.
SEEKING = (io.BufferedReader, io.BytesIO)
# Smaller angles come from rounded positions.
TILT_DEGREES = 0.5
LOCALISER = "A localiser (scout): an overview for planning the scan, not a part of it."
_LIBRARY_LOGGERS = ("pydicom", "nibabel", "nibabel.global", "PIL", "tifffile", "pylibjpeg", "openjpeg")


@dataclass(frozen=True)
class Member:
    """One file, opened only when it is read.

    Attributes:
        name: base name, or the path below the folder that was read; shown beside a failure, never in a case.
        open: a fresh binary stream at the start of the (unpacked) content.
    """

    name: str
    open: Callable[[], BinaryIO]

    @property
    def extension(self) -> str:
        """Lower case, with the dot; "" where there is none. ".nii.gz" is ".nii", as content is unpacked."""
        stem = self.name.lower().removesuffix(".gz")
        return f".{stem.rpartition('.')[2]}" if "." in stem else ""

    def head(self) -> bytes:
        """The first bytes, enough to recognise a format."""
        with decoding("file"), self.open() as stream:
            return stream.read(HEAD_BYTES)

    def load(self, limits: Limits) -> bytes:
        """All bytes. Raises DataError as soon as there are more than the limit, whatever was declared."""
        with decoding("file"), self.open() as stream:
            most = limits.file_bytes + 1
            if isinstance(stream, SEEKING):  # a buffer of the file's size is used again, one of the limit's never
                most = min(most, stream.seek(0, io.SEEK_END) + 1)
                stream.seek(0)
            data = stream.read(most)
        limits.check_bytes(len(data))
        return data

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> Member:
        return cls(base_name(name), lambda: io.BytesIO(data))


@dataclass(frozen=True)
class Options:
    """What the caller says about the files.

    Attributes:
        title: for the worklist; None makes one of the modality and a short hash (a file name may be a patient's name).
        source, licence: copied to the provenance.
        modality: overrides what the file says.
    """

    title: str | None = None
    source: str = "file"
    licence: str = ""
    modality: Modality | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Failure:
    """What could not be read.

    Attributes:
        name: the file's base name, for the person who gave the file; do not log it.
        message: one sentence without anything from the file's content or name.
        error: the class to raise when this is all there is.
    """

    name: str
    message: str
    error: type[SightlineError] = DataError

    @classmethod
    def of(cls, name: str, error: SightlineError) -> Failure:
        return cls(name, str(error), type(error))


@dataclass(frozen=True, eq=False)
class ReadResult:
    """Everything that opened and everything that did not.

    Attributes:
        names: ``Member.name`` of each case's file (the first of a series), for the person who gave it; do not log it.
    """

    cases: tuple[Case, ...] = ()
    failures: tuple[Failure, ...] = ()
    names: tuple[str, ...] = ()

    def __add__(self, other: ReadResult) -> ReadResult:
        return ReadResult(self.cases + other.cases, self.failures + other.failures, self.names + other.names)


@dataclass(frozen=True)
class Reader:
    """One file format.

    Attributes:
        title: for messages ("DICOM").
        extensions: lower case, with the dot; used only where the content says nothing.
        recognises: whether a file's first ``HEAD_BYTES`` bytes are of this format.
        read: all files of the format at once, so that slices can be put together; yields what it has read piece by
            piece, so that memory stays flat over a large folder; raises nothing for a bad file.
    """

    id: str
    title: str
    extensions: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    read: Callable[[Sequence[Member], Options], Iterator[ReadResult]]


READERS: Registry[Reader] = Registry("reader")


def base_name(path: str) -> str:
    """Last part of a path written on any system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or "file"


def read_each(
    members: Sequence[Member], options: Options, read_one: Callable[[Member, Options], Case]
) -> Iterator[ReadResult]:
    """One case per file; a file that fails is listed."""
    for member in members:
        try:
            yield ReadResult(cases=(read_one(member, options),), names=(member.name,))
        except SightlineError as error:
            yield ReadResult(failures=(Failure.of(member.name, error),))


def make_case(
    image: Image,
    digest: str,
    reader: str,
    options: Options,
    *,
    attributes: Mapping[str, str] | None = None,
    kept: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Case:
    """A case named after its content's hash alone."""
    kind = {Modality.UNKNOWN: "image", Modality.OTHER: "image"}.get(image.modality, str(image.modality))
    words = kind.upper() if kind in ("ct", "mr") else kind.capitalize()
    return Case(
        id=f"upload-{digest[:12]}",
        title=options.title or f"{words} {digest[:6]}",
        image=image,
        provenance=Provenance(
            source=options.source,
            licence=options.licence,
            sha256=digest,
            reader=reader,
            kept=tuple(kept),
            notes=tuple(dict.fromkeys(notes)),
        ),
        attributes=attributes or {},
    )


def digest_of(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def freeze(values: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Make ``values`` ready for an Image without a second copy of it.

    Voxels that are not numbers (common in computed maps) take the smallest value, with a note.

    Returns:
        The same array, finite and read-only, and the notes.

    Raises:
        DataError: not one voxel is a number.
    """
    notes: tuple[str, ...] = ()
    # Plane by plane, as a mask of a whole volume takes longer to allocate than to compute.
    planes = [plane for channel in values for plane in channel]
    count = values.size - sum(np.count_nonzero(np.isfinite(plane)) for plane in planes)
    if count == values.size:
        raise DataError("The image holds no numbers at all (every value is NaN or infinite); export it again.")
    if count:
        least = min(float(plane.min(where=np.isfinite(plane), initial=np.inf)) for plane in planes)
        for plane in planes:
            plane[~np.isfinite(plane)] = least
        notes = (
            f"{count} of {values.size} values were not numbers (NaN or infinite) and are shown as the smallest value.",
        )
    values.setflags(write=False)
    return values, notes


def tilt_notes(geometry: Geometry) -> tuple[str, ...]:
    """A sentence on slices that do not lie squarely on each other."""
    if geometry.tilt_degrees < TILT_DEGREES:
        return ()
    return (
        f"The slices lean by {geometry.tilt_degrees:.1f} degrees (a tilted gantry, for one): positions in mm and volumes in"
        " ml take it into account, but planes across the slices are drawn upright, so shapes in them look slanted.",
    )


class _Quiet(ContextDecorator):
    """Silences the libraries' warnings and logs while any thread decodes, and puts everything back after the last.

    Both are process-wide, so that each thread saving and restoring them for itself could leave them off for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._undo.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                for name in _LIBRARY_LOGGERS:
                    logger = logging.getLogger(name)
                    self._undo.callback(logger.setLevel, logger.level)
                    logger.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._undo.close()


# To hold while many files are read: doing and undoing it for each takes longer than reading a small one.
QUIET = _Quiet()


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """The boundary to the decoding libraries: a SightlineError or nothing comes out, and nothing is printed.

    The libraries' own messages are dropped, as they may quote the file (a patient's name in a bad element).
    """
    try:
        with QUIET:
            yield
    except SightlineError:
        raise
    except MemoryError:
        raise DataError(f"The {what} needs more memory than there is; crop or downsample it.") from None
    # Decoders fed with damaged bytes raise whatever their parsing runs into: struct.error, KeyError, RecursionError,
    # zlib.error, AssertionError, bare Exception. All mean the same to the person who gave the file.
    except Exception as error:
        raise DataError(
            f"The {what} is damaged, cut short or of an unknown kind ({type(error).__name__}); export it again."
        ) from None

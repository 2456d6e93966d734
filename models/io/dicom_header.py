"""DICOM bytes to a data set, and the header values that a case needs."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from functools import cache
from typing import BinaryIO

from pydicom import Dataset, FileDataset, dcmread, uid
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.tag import BaseTag, Tag

from models.io.base import LOCALISER, SEEKING, Member, Options
from models.types import Modality, Unit

_MODALITIES = {
    **dict.fromkeys(("CR", "DX", "DR", "RG", "MG", "PX", "IO", "XA", "RF"), Modality.XRAY),
    "CT": Modality.CT,
    "MR": Modality.MR,
    "DMS": Modality.DERMOSCOPY,
    "XC": Modality.PHOTO,
}
# Modalities whose pixels often carry text, and the secondary capture classes.
_OFTEN_ANNOTATED = {"US", "IVUS", "OT", "SC", "XC", "ES", "OP", "DMS", "XA", "RF", "DOC"}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DEFLATED = uid.DeflatedExplicitVRLittleEndian
# What says how many pixels there are, and where they lie.
LAYOUT = ("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation")
GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
PLACE = (
    *("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness"),
    *GROUPS,
)
# Group numbers that a data set without preamble starts with.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")


def recognises(head: bytes) -> bool:
    """The DICM mark after the preamble, or a first element of group 0002 or 0008 (little endian)."""
    if head[128:132] == b"DICM":
        return True
    if head[:2] not in _FIRST_GROUPS or len(head) < 8:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or (head[3] == 0 and int.from_bytes(head[4:8], "little") < 1024)


def parse(data: bytes, options: Options, keywords: Sequence[str] | None = None) -> FileDataset:
    """A data set, or of it the elements named: the others take most of the time.

    Raises:
        DataError: deflated data would swell beyond the limit.
    """
    return _parse(io.BytesIO(data), options, keywords)


def parse_header(member: Member, options: Options, keywords: Sequence[str]) -> FileDataset:
    """The elements named, of those before the pixels; of a file on disk no more is read than that."""
    with member.open() as stream:
        if isinstance(stream, SEEKING):
            options.limits.check_bytes(stream.seek(0, io.SEEK_END))
            stream.seek(0)
            return _parse(stream, options, keywords, header_only=True)
    return _parse(io.BytesIO(member.load(options.limits)), options, keywords, header_only=True)


def _parse(
    stream: BinaryIO, options: Options, keywords: Sequence[str] | None, *, header_only: bool = False
) -> FileDataset:
    # The same two steps that dcmread starts with, as it inflates a deflated data set without a bound.
    read_preamble(stream, force=True)
    if _read_file_meta_info(stream).get("TransferSyntaxUID") == _DEFLATED:
        limit = options.limits.file_bytes
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), limit + 1)
        options.limits.check_bytes(len(inflated))
    stream.seek(0)
    tags = None if keywords is None else _tags(tuple(keywords))
    return dcmread(stream, force=True, stop_before_pixels=header_only, specific_tags=tags)


@cache
def _tags(keywords: tuple[str, ...]) -> list[BaseTag | int | str | tuple[int, int]]:
    return [Tag(keyword) for keyword in keywords]


def modality_of(ds: Dataset, options: Options) -> Modality:
    if options.modality is not None:
        return options.modality
    code = str(ds.get("Modality") or "").strip()
    return _MODALITIES.get(code, Modality.OTHER) if code else Modality.UNKNOWN


def is_localiser(ds: Dataset) -> bool:
    """Whether the image is an overview for planning (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1)."""
    kinds = ds.get("ImageType")
    return not isinstance(kinds, str) and "LOCALIZER" in [str(kind) for kind in kinds or ()]


def frame_holders(ds: Dataset, frame: int, macro: str) -> list[Dataset]:
    """Where the elements of a functional group may stand: the frame's own, the shared, the top level."""
    holders: list[Dataset] = []
    for groups, index in zip((ds.get(keyword) for keyword in GROUPS), (frame, 0), strict=True):
        if groups and index < len(groups):
            holders += list(groups[index].get(macro) or ())[:1]
    return [*holders, ds]


def first_value(holders: list[Dataset], keyword: str) -> object:
    """The first non-empty value of ``keyword``, or None."""
    return next((value for value in (holder.get(keyword) for holder in holders) if value not in (None, "")), None)


def unit_of(ds: Dataset, holders: list[Dataset]) -> Unit:
    """HU for CT whose modality LUT says so or does not say; else "stored value"."""
    if str(ds.get("Modality") or "") != "CT":
        return "stored value"
    tables = ds.get("ModalityLUTSequence")
    if tables:
        return "HU" if str(tables[0].get("ModalityLUTType") or "") == "HU" else "stored value"
    if first_value(holders, "RescaleIntercept") is None:
        return "stored value"
    return "HU" if str(first_value(holders, "RescaleType") or "HU").strip() == "HU" else "stored value"


def notes_of(ds: Dataset) -> tuple[str, ...]:
    """Sentences on what the picture is for, on text in it and on lossy compression."""
    notes = [LOCALISER] if is_localiser(ds) else []
    burned = str(ds.get("BurnedInAnnotation") or "").strip().upper()
    captured = str(ds.get("SOPClassUID") or "").startswith(_SECONDARY_CAPTURE)
    if burned == "YES":
        notes.append("Flagged as having annotations burned in: the picture itself may show who the patient is.")
    elif burned != "NO" and (captured or str(ds.get("Modality") or "") in _OFTEN_ANNOTATED):
        notes.append(
            "Pictures of this kind often have text burned in, and the file does not say; check before sharing."
        )
    if str(ds.get("LossyImageCompression") or "").strip() == "01":
        notes.append("The picture was compressed with loss.")
    return tuple(notes)

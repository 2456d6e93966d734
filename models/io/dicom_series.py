"""Which DICOM files belong together: slices into series, and series that hold each slice several times into volumes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from models.io.base import Member, Options
from models.io.dicom_geometry import Plane, at_one_place, numbers, read_plane
from models.io.dicom_header import LAYOUT, PLACE, first_value, frame_holders, is_localiser, parse_header

# In which order the images of one position were taken; the first that tells them apart decides.
_ORDER = ("AcquisitionNumber", "TemporalPositionIdentifier", "InstanceNumber", "AcquisitionTime", "ContentTime")
_KEYWORDS = (*LAYOUT, *PLACE, *_ORDER, "SeriesInstanceUID", "SOPInstanceUID", "ImageType")


@dataclass(frozen=True, eq=False)
class Header:
    """A file that passed the first look.

    Attributes:
        key: equal for slices of one series and size.
        size: (rows, columns) as declared.
        plane: None where the file is not one slice in space.
        order: numbers and times by which images of one position follow each other; -1 where missing.
        uid: of the image; equal for copies of it.
    """

    member: Member
    key: Hashable
    size: tuple[int, int] = (0, 0)
    plane: Plane | None = None
    order: tuple[float, ...] = ()
    uid: str = ""


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one series that make a volume: sorted, each position once.

    Attributes:
        headers: slices along their normal.
        notes: sentences on what was left out or is in another volume.
    """

    headers: tuple[Header, ...]
    notes: tuple[str, ...] = ()


def look(member: Member, index: int, options: Options) -> Header:
    """What decides with which other files this one belongs; ``index`` sets a file that is no slice apart."""
    ds = parse_header(member, options, _KEYWORDS)
    series, plane = ds.get("SeriesInstanceUID"), plane_of(ds, 0)
    if not series or plane is None or int(ds.get("NumberOfFrames") or 1) != 1:
        return Header(member, index)
    size = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    key = str(series), size, str(ds.get("PhotometricInterpretation")), is_localiser(ds)
    found = [numbers(ds.get(keyword), 1) for keyword in _ORDER]
    order = tuple(-1.0 if number is None else float(number[0]) for number in found)
    return Header(member, key, size, plane, order, str(ds.get("SOPInstanceUID") or ""))


def plane_of(ds: Dataset, frame: int) -> Plane | None:
    """A frame's place; None where the file does not say."""
    measures = frame_holders(ds, frame, "PixelMeasuresSequence")
    return read_plane(
        first_value(frame_holders(ds, frame, "PlaneOrientationSequence"), "ImageOrientationPatient"),
        first_value(frame_holders(ds, frame, "PlanePositionSequence"), "ImagePositionPatient"),
        first_value(measures, "PixelSpacing"),
        (first_value(measures, "SpacingBetweenSlices"), first_value(measures, "SliceThickness")),
    )


class Groups:
    """Files put together as they come: those of one series whose planes lie alike."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, list[list[Header]]] = {}

    def add(self, header: Header) -> None:
        alike = self._by_key.setdefault(header.key, [])
        for group in alike:
            if header.plane is not None and group[0].plane is not None and header.plane.matches(group[0].plane):
                group.append(header)
                return
        alike.append([header])

    def all(self) -> list[list[Header]]:
        return [group for alike in self._by_key.values() for group in alike]


def volumes_of(group: Sequence[Header]) -> list[Volume]:
    """The volumes that the files of a group make; none where they all lie at one position.

    A series that holds every position k times (contrast phases, echoes, time points) makes k volumes, in the order of
    their numbers. Where only some positions are held several times, the first image of each is kept.
    """
    planes = [header.plane for header in group if header.plane is not None]
    if len(planes) < 2:
        return []
    places = [_originals([group[index] for index in place]) for place in at_one_place(planes)]
    if len(places) == 1:
        return []
    copies = len(group) - sum(map(len, places))
    notes: tuple[str, ...] = ()
    if copies:
        notes = (f"{copies} slice(s) were there twice, as copies of the same file, and were used once.",)
    times = len(places[0])
    apart = all(len({header.order for header in place}) == len(place) == times for place in places)
    if times > 1 and apart:
        every = f"of {times} volumes of this series, which holds every slice {times} times"
        return [
            Volume(
                tuple(place[number] for place in places),
                (f"Number {number + 1} {every} (contrast phases, echoes or time points).", *notes),
            )
            for number in range(times)
        ]
    repeated = sum(len(place) - 1 for place in places)
    if repeated:
        notes += (f"{repeated} slice(s) at a position already taken were left out.",)
    return [Volume(tuple(place[0] for place in places), notes)]


def _originals(place: Sequence[Header]) -> list[Header]:
    """The images of one position in the order in which they were taken, each once."""
    found: dict[Hashable, Header] = {}
    for index, header in enumerate(place):
        found.setdefault((header.uid or index, header.order), header)
    return sorted(found.values(), key=lambda header: header.order)

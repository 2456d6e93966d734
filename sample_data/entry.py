"""One line of the sample list, and the helpers its loaders share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from models.errors import DataError
from models.io import read_case
from models.types import Case, Image, Modality, Region

Kind = Literal["package", "committed", "phantom", "folder"]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class SampleEntry:
    """A sample that has not been decoded yet.

    Attributes:
        system: id of the system it belongs to, "" where none (images for trying the readers and the warnings).
        kind: "package" (in an installed package), "committed" (in this repository), "phantom" (drawn by code),
            "folder" (in the data folder or the MedMNIST cache of this machine).
        source, licence, citation: in words; a citation may be "".
        sha256: of the image file where the manifest records it, else "".
        labels, attributes: added to what the file itself says.
        load: decodes or draws the case.
        model: id of the model that it is meant for; the system's own if not given.
    """

    id: str
    title: str
    system: str
    kind: Kind
    modality: Modality
    source: str
    licence: str
    load: Callable[[SampleEntry], Case] = field(repr=False)
    citation: str = ""
    sha256: str = ""
    labels: Mapping[str, bool] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model or self.system)


def read_sample(
    entry: SampleEntry, path: Path, regions: Callable[[Image], Sequence[Region]] | None = None, grey: bool = False
) -> Case:
    """The case of a sample that is an image file.

    Args:
        regions: makes the regions once the image is known.
        grey: turn a grey picture stored as RGB back into one channel.

    Raises:
        DataError: the image or a mask is missing, broken or of another size.
    """
    if not path.exists():
        raise DataError(f"The file of the sample {entry.id!r} is missing; restore the folder or package it came with.")
    case = read_case(path, title=entry.title, source=entry.source, licence=entry.licence, modality=entry.modality)
    image = _one_channel(case.image) if grey else case.image
    return finish(entry, replace(case, image=image), tuple(regions(image)) if regions else ())


def finish(entry: SampleEntry, case: Case, regions: tuple[Region, ...] = ()) -> Case:
    """Lay what the list knows over what the file says."""
    notes = (*case.provenance.notes, f"Cite: {entry.citation}") if entry.citation else case.provenance.notes
    return replace(
        case,
        id=entry.id,
        title=entry.title,
        labels=dict(entry.labels) or case.labels,
        attributes={**case.attributes, **entry.attributes},
        regions=regions or case.regions,
        provenance=replace(case.provenance, source=entry.source, licence=entry.licence, notes=notes),
    )


def read_region(name: str, path: Path, image: Image) -> Region:
    """A mask file (any reader's format; non-zero is inside) as a region of ``image``."""
    if not path.exists():
        raise DataError(
            f"The mask of {name!r} is missing beside its image; restore the folder or package it came with."
        )
    values = read_case(path, modality=Modality.OTHER).image.values
    if values.shape[1:] != image.values.shape[1:]:
        raise DataError(
            f"The mask of {name!r} has shape {values.shape[1:]}, its image {image.values.shape[1:]}; use masks of the same size."
        )
    return Region(name, np.asarray(values[0] > 0.5 * values.max() if values.max() > 0 else values[0] > 0))


def balanced(items: Sequence[T], classes: Callable[[T], Sequence[str]], limit: int) -> tuple[T, ...]:
    """At most ``limit`` items, taken evenly: the rarest class chooses first, then the next, and round again.

    Within a class the order of ``items`` decides, so the same items always give the same choice.
    """
    queues: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        for name in classes(item):
            queues.setdefault(name, []).append(index)
    order = sorted(queues, key=lambda name: (len(queues[name]), name))
    chosen: dict[int, T] = {}
    while len(chosen) < limit:
        before = len(chosen)
        for name in order:
            free = next((index for index in queues[name] if index not in chosen), None)
            if free is not None and len(chosen) < limit:
                chosen[free] = items[free]
        if len(chosen) == before:
            break
    return tuple(chosen.values())


def spread(items: Sequence[T], count: int) -> tuple[T, ...]:
    """At most ``count`` items at even distances."""
    if len(items) <= count:
        return tuple(items)
    return tuple(items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int))


def kebab(text: str) -> str:
    """Lower case, with single hyphens between letters and digits."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _one_channel(image: Image) -> Image:
    if not image.is_colour or float(np.ptp(image.values, axis=0).max()) > 0.06:
        return image
    return replace(image, values=image.values.mean(axis=0, keepdims=True, dtype=np.float32), windows=())

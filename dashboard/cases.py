"""Small facts about cases that several pages and the command line share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from models.types import Case, Image, Modality
from sample_data.samples import SampleEntry

if TYPE_CHECKING:  # torch is behind it, which the processes that decode do without
    from models.card import ModelCard

RESEARCH_NOTE = "Research and teaching use. It supports a reader's judgement and never replaces it."


SYSTEMS = {
    "chest-xray-14": "Chest X-ray",
    "lung-cancer-ct": "Lung CT",
    "pneumonia-ct": "Pneumonia CT",
    "brain-tumor-mri": "Brain MRI",
    "skin-lesion-7": "Skin",
    "": "Other images",
}


def listed(entries: Iterable[SampleEntry]) -> list[SampleEntry]:
    """The order of the worklist: by system, and in each the real images before the phantoms."""
    order = list(SYSTEMS)
    return sorted(entries, key=lambda entry: (order.index(entry.system), entry.kind == "phantom"))


def entry_title(entry: SampleEntry) -> str:
    """The title without what :func:`entry_line` says beside it."""
    title = entry.title.removeprefix("Phantom: ")
    return title[:1].upper() + title[1:]


def entry_line(entry: SampleEntry) -> str:
    """The kind of sample in a few words, before it has been opened: "x-ray · phantom"."""
    known = [entry.attributes[name] for name in ("view", "sex", "age") if entry.attributes.get(name)]
    honest = "phantom" if entry.kind == "phantom" else "real"
    return " · ".join([entry.modality.label, *known, honest])


def middle_slice(image: Image) -> int:
    """Where a volume is opened."""
    return image.depth // 2


def as_read_by(image: Image, card: ModelCard) -> Image:
    """The image; one that does not say what made it is taken for the first kind that the model reads."""
    return replace(image, modality=card.input.modality[0]) if image.modality is Modality.UNKNOWN else image


def facts_line(case: Case) -> str:
    """The kind of study in a few words: "x-ray · PA · F · 61"."""
    known = [case.attributes[name] for name in ("view", "sex", "age") if case.attributes.get(name)]
    modality = "" if case.image.modality is Modality.UNKNOWN else case.image.modality.label
    size = f"{case.image.depth} slices" if case.image.is_volume else ""
    return " · ".join(part for part in (modality, *known, size) if part) or "unknown modality"


def readable(name: str) -> str:
    """A class name for people: data sets write "Pleural_Thickening"."""
    return name.replace("_", " ")

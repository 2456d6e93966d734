"""Small facts about cases that several pages and the command line share."""

from __future__ import annotations

from models.types import Case, Image, Modality

RESEARCH_NOTE = "Research and teaching use. It supports a reader's judgement and never replaces it."


def middle_slice(image: Image) -> int:
    """Where a volume is opened."""
    return image.depth // 2


def facts_line(case: Case) -> str:
    """The kind of study in a few words: "x-ray · PA · F · 61"."""
    known = [case.attributes[name] for name in ("view", "sex", "age") if case.attributes.get(name)]
    modality = "" if case.image.modality is Modality.UNKNOWN else str(case.image.modality)
    size = f"{case.image.depth} slices" if case.image.is_volume else ""
    return " · ".join(part for part in (modality, *known, size) if part) or "unknown modality"


def readable(name: str) -> str:
    """A class name for people: data sets write "Pleural_Thickening"."""
    return name.replace("_", " ")

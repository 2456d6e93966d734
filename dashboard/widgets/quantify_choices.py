"""What is measured on the Quantify page: a scan, where its lesions come from, and what it is compared with."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import streamlit as st

from dashboard.cases import entry_title
from dashboard.library import Library
from dashboard.quantify.grid import check_fits, mask_of
from dashboard.quantify.lesions import CONNECTIVITY
from dashboard.quantify.visits import Settings, own_lesions
from dashboard.state import QuantifyView, Uploads
from models.card import ModelCard
from models.errors import DataError
from models.types import Case, Image, Modality, Region

FIRST_CASE = "phantom-chest-ct-follow-up"
SAMPLES = (FIRST_CASE, "phantom-chest-ct-baseline", "phantom-pneumonia-volume")
_EARLIER = {FIRST_CASE: "phantom-chest-ct-baseline"}  # of the same patient
_CONNECTIVITY = {26: "faces, edges and corners (26)", 18: "faces and edges (18)", 6: "faces only (6)"}

_masks: WeakKeyDictionary[Image, WeakKeyDictionary[Image, bool]] = WeakKeyDictionary()


def measurable(case: Case) -> bool:
    """Whether it is a CT volume in HU."""
    image = case.image
    return image.is_volume and image.unit == "HU" and image.modality in (Modality.CT, Modality.UNKNOWN)


def other_scans(library: Library, uploads: Uploads, without: str) -> dict[str, str]:
    """Titles of chest CTs by id: the reader's own first."""
    found = {own.id: own.title for own in uploads.cases.values() if measurable(own)}
    found |= {name: entry_title(library.entries[name]) for name in SAMPLES if name in library.entries}
    found.pop(without, None)
    return found


def masks_on(case: Case, uploads: Uploads) -> dict[str, Case]:
    """Uploaded masks on the grid of a scan, by id."""
    return {
        own.id: own
        for own in uploads.cases.values()
        if own.id != case.id and not measurable(own) and _is_mask(own.image, case.image)
    }


def _is_mask(image: Image, scan: Image) -> bool:
    """Whether an image is a mask on the grid of a scan; looked at once, as a volume is large."""
    known = _masks.setdefault(image, WeakKeyDictionary())
    if scan not in known:
        try:
            check_fits(image, scan, "The mask")
            known[scan] = bool(mask_of(image, "The mask").any())
        except DataError:
            known[scan] = False
    return known[scan]


def with_mask(case: Case, mask: Case | None) -> Case:
    """The case with an uploaded mask for its own; None for as it is."""
    if mask is None:
        return case
    return replace(case, regions=(Region("Lesions", mask.image.values[0] != 0),))


def no_scan(case: Case, offered: dict[str, str]) -> str | None:
    """Says that the case cannot be measured and what to open instead; returns the scan that the reader chooses."""
    st.subheader(case.title, anchor=False)
    st.info(
        "This page measures a chest CT of several slices: choose one below, or drop a NIfTI file, the DICOM files of a "
        "series, or a zip of them on “Open images” at the left.",
        icon=":material/view_in_ar:",
    )
    chosen = None
    for place, (case_id, title) in zip(st.columns(max(1, len(offered))), offered.items(), strict=False):
        if place.button(title, key=f"open-{case_id}", width="stretch"):
            chosen = case_id
    return chosen


def choose(
    case: Case, mine: QuantifyView, cards: dict[str, ModelCard], offered: dict[str, str], masks: dict[str, Case]
) -> tuple[Settings, ModelCard | None, str]:
    """How lesions are marked and counted, by which model, and the id of the earlier scan ("" for none).

    Args:
        offered: titles of scans to compare with, by id.
        masks: uploads that can stand for the case's own mask, by id.
    """
    lesions, earlier, settings = st.columns([4, 5, 2], vertical_alignment="bottom")
    segmenting = {
        card.id: card for card in cards.values() if card.task == "segmentation" and Modality.CT in card.input.modality
    }
    own = own_lesions(case) is not None
    options = [*segmenting, *([""] if own else []), *masks]
    if not options:
        lesions.warning("No model that marks lesions on CT is installed.", icon=":material/warning:")
        return Settings(), None, ""
    usual = mine.lesions.get(case.id, "" if own else options[0])
    named = (
        {"": "the case's own mask"}
        | {one.id: f"marked by {one.title}" for one in segmenting.values()}
        | {one.id: f"uploaded mask: {one.title}" for one in masks.values()}
    )
    source = lesions.selectbox(
        "Lesions",
        options,
        index=options.index(usual) if usual in options else 0,
        format_func=lambda name: named.get(name, name),
        key=f"quantify-choose-lesions-{case.id}",
        help="Marked by a model, slice by slice in the lungs, or as a mask has them: the case's own, or one on the grid of "
        "this scan that you drop on “Open images”.",
    )
    mine.lesions[case.id] = source
    scans = ["", *offered]
    before = mine.prior.get(case.id, _EARLIER.get(case.id, ""))
    prior = earlier.selectbox(
        "Compare with an earlier scan",
        scans,
        index=scans.index(before) if before in scans else 0,
        format_func=lambda name: offered.get(name, "none"),
        key=f"quantify-choose-prior-{case.id}",
        help="Of the same patient. It is brought into line with this one first, and refused where that fails. To add "
        "one, drop it on “Open images”, then come back to this scan.",
    )
    mine.prior[case.id] = prior
    with settings.popover("Settings", icon=":material/tune:", width="stretch"):
        mine.connectivity = st.selectbox(
            "Voxels that belong together",
            list(_CONNECTIVITY),
            index=list(_CONNECTIVITY).index(mine.connectivity if mine.connectivity in _CONNECTIVITY else CONNECTIVITY),
            format_func=_CONNECTIVITY.__getitem__,
            help="Voxels that meet at these make one lesion.",
        )
        mine.minimum_mm3 = st.number_input(
            "Smallest lesion (mm³)",
            min_value=0.0,
            value=mine.minimum_mm3,
            step=10.0,
            placeholder="0 for a mask, 100 for a model",
            help="Smaller lesions are left out of all numbers.",
        )
    mask = source if source in masks else ""
    return (
        Settings(source not in segmenting, mask, mine.connectivity, mine.minimum_mm3),
        segmenting.get(source),
        prior,
    )

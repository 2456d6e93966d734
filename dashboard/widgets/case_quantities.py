"""Measurements of the case shown, made when the reader asks for them: ABCD of a skin lesion, size of a nodule."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import streamlit as st

from dashboard.jobs.desk import Desk
from dashboard.quantify.abcd_ranges import Outline, Ranges, read_ranges, shares_below
from dashboard.quantify.dermoscopy import CUT, NOT_A_DIAGNOSIS, OUTLINE_MODEL, Abcd, Measure, abcd, outline_of
from dashboard.quantify.grid import BoolArray
from dashboard.quantify.nodule import SOLID_HU, Nodule, measure_nodule, outline_nodule
from dashboard.quantities import dice
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Image, Modality, Region

NODULE_MODEL = "lung-nodule"
BY_MODEL, BY_REFERENCE, BY_POINT = "Model", "Reference", "From a point"
COMPARED = ("Melanocytic nevus", "Melanoma")
Kind = Literal["skin", "nodule"]


@dataclass(frozen=True, eq=False)
class Shown:
    """What was measured, ready to be drawn and written.

    Attributes:
        drawn: outlines for the viewer; empty where the viewer draws them anyway.
        message: why there is nothing.
    """

    found: Abcd | Nodule | None = None
    drawn: tuple[Region, ...] = ()
    overlap: float | None = None
    message: str = ""


KEPT = 4  # outlines of an image: each point has one, of a volume's size
_known: WeakKeyDictionary[Image, OrderedDict[tuple[object, ...], Shown]] = WeakKeyDictionary()


def quantities_region(case: Case, card: ModelCard | None, index: int, desk: Desk) -> tuple[Region, ...]:
    """What is outlined for the measurements, to be drawn in the viewer; nothing until the reader has asked for them."""
    return _measured(case, card, index, desk).drawn if st.session_state.get(_key(case, "open")) else ()


def quantities_panel(case: Case, card: ModelCard | None, index: int, desk: Desk) -> None:
    """The switch and, when it is on, the measurements; nothing for other cases."""
    kind = kind_of(case, card)
    if kind is None or not _sources(case, kind, desk):
        return
    title = "Measure shape and colours (ABCD)" if kind == "skin" else "Measure the nodule"
    if not st.toggle(title, key=_key(case, "open")):
        return
    _choices(case, kind, index, desk)
    shown = _measured(case, card, index, desk)
    if isinstance(shown.found, Abcd):
        _abcd_table(case, shown.found, shown.overlap, desk)
    elif isinstance(shown.found, Nodule):
        _nodule_figures(shown.found, _chosen(case, kind, desk), shown.overlap)
    else:
        st.warning(shown.message, icon=":material/warning:")


def kind_of(case: Case, card: ModelCard | None) -> Kind | None:
    """What can be measured of a case that is shown to a model."""
    image = case.image
    reads_skin = card is not None and Modality.DERMOSCOPY in card.input.modality
    skin = image.modality is Modality.DERMOSCOPY or (
        reads_skin and image.modality in (Modality.PHOTO, Modality.UNKNOWN)
    )
    if skin and image.is_colour and not image.is_volume:
        return "skin"
    nodule = (card is not None and card.id == NODULE_MODEL) or _reference(case) is not None
    if nodule and image.is_volume and image.unit == "HU" and image.geometry is not None:
        return "nodule"
    return None


def _key(case: Case, name: str) -> str:
    return f"quantities-{name}-{case.id}"


def _reference(case: Case) -> BoolArray | None:
    """The case's own mask of the lesion or nodule."""
    for region in case.regions:
        fits = region.mask is not None and region.mask.shape == case.image.values.shape[1:]
        if fits and region.name.casefold() in ("lesion", "nodule"):
            return region.mask
    return None


def _sources(case: Case, kind: Kind, desk: Desk) -> list[str]:
    """Whose outlines there are, the one shown at first before: a nodule's reference, the model's outline of a skin lesion,
    which is what an upload would get."""
    reference = [BY_REFERENCE] if _reference(case) is not None else []
    if kind == "nodule":
        return [*reference, BY_POINT]
    return [*([BY_MODEL] if OUTLINE_MODEL in desk.engine.cards() else []), *reference]


def _chosen(case: Case, kind: Kind, desk: Desk) -> str:
    return str(st.session_state.get(_key(case, "by")) or _sources(case, kind, desk)[0])


def _choices(case: Case, kind: Kind, index: int, desk: Desk) -> None:
    """Whose outline is measured and, for a nodule, the point to start from."""
    sources = _sources(case, kind, desk)
    if len(sources) > 1:
        st.segmented_control("Outline", sources, default=sources[0], key=_key(case, "by"), required=True)
    if _chosen(case, kind, desk) != BY_POINT:
        return
    height, width = case.image.plane_shape
    sizes = {"Column": (0, width - 1, width // 2), "Row": (0, height - 1, height // 2)}
    sizes["Slice"] = (1, case.image.depth, index + 1)  # counted from 1, as in the viewer
    for place, (name, (least, most, first)) in zip(st.columns(3), sizes.items(), strict=True):
        place.number_input(name, least, most, first, key=_key(case, name.lower()), help="Of a point in the nodule.")


def _seed(case: Case, index: int) -> tuple[int, int, int]:
    height, width = case.image.plane_shape
    column = st.session_state.get(_key(case, "column"), width // 2)
    row = st.session_state.get(_key(case, "row"), height // 2)
    return int(column), int(row), int(st.session_state.get(_key(case, "slice"), index + 1)) - 1


def _measured(case: Case, card: ModelCard | None, index: int, desk: Desk) -> Shown:
    """Measured once for each outline."""
    kind = kind_of(case, card)
    if kind is None or not _sources(case, kind, desk):
        return Shown()
    by = _chosen(case, kind, desk)
    wanted = (by, _seed(case, index) if by == BY_POINT else ())
    known = _known.setdefault(case.image, OrderedDict())
    if wanted not in known:
        try:
            with st.spinner("Measuring ...", show_time=True):
                known[wanted] = _skin(case, by, desk) if kind == "skin" else _nodule(case, by, _seed(case, index))
        except SightlineError as error:
            known[wanted] = Shown(message=str(error))
    known.move_to_end(wanted)
    while len(known) > KEPT:
        known.popitem(last=False)
    shown = known[wanted]
    if card is not None and card.id == OUTLINE_MODEL:  # which draws its outline itself
        return Shown(shown.found, (), shown.overlap, shown.message)
    return shown


def _skin(case: Case, by: str, desk: Desk) -> Shown:
    reference = _reference(case)
    if by == BY_REFERENCE and reference is not None:
        return Shown(abcd(case.image, reference))
    found = abcd(case.image, outline_of(desk.predict(OUTLINE_MODEL, case.image, masks=True)))
    overlap = None if reference is None else dice(found.mask, reference)
    return Shown(found, (Region("Lesion (model)", found.mask),), overlap)


def _nodule(case: Case, by: str, seed: tuple[int, int, int]) -> Shown:
    image, reference = case.image, _reference(case)
    if image.geometry is None:
        return Shown(message="The scan does not state its voxel spacing, so nothing can be measured in mm.")
    hu = image.values[0]
    if by == BY_REFERENCE and reference is not None:
        return Shown(measure_nodule(reference, image.geometry, hu))
    mask = outline_nodule(image, seed)
    overlap = None if reference is None else dice(mask, reference)
    return Shown(measure_nodule(mask, image.geometry, hu), (Region("Nodule (from a point)", mask),), overlap)


def _abcd_table(case: Case, found: Abcd, overlap: float | None, desk: Desk) -> None:
    st.caption(NOT_A_DIAGNOSIS)
    for note in found.notes:
        st.warning(note, icon=":material/warning:")
    outline: Outline = "reference" if _chosen(case, "skin", desk) == BY_REFERENCE else "model"
    cards = desk.engine.cards()
    ranges = read_ranges(cards[OUTLINE_MODEL].folder) if OUTLINE_MODEL in cards else None
    lesions = [] if ranges is None else list(ranges.by.get(outline, {}))
    compared: Sequence[str] = ()
    if lesions:
        compared = st.multiselect(
            "Compare with", lesions, [name for name in COMPARED if name in lesions], key=_key(case, "compare")
        )
    st.table(_rows(found, ranges, outline, compared), hide_index=True)
    if ranges is not None:
        st.caption(
            f"Compared with {ranges.made_of} Below: share of those lesions with a smaller "
            "number; most: the middle 80 % of them; –: too few, or not comparable."
        )
    if overlap is not None:
        st.caption(f"Dice {overlap:.2f} of the model's outline against the reference.")


def _rows(found: Abcd, ranges: Ranges | None, outline: Outline, compared: Sequence[str]) -> list[dict[str, str]]:
    below = {} if ranges is None else {name: shares_below(found, ranges, outline, name) for name in compared}
    rows = []
    for one in found.measures:
        row = {"": one.part, "Measure": one.title, "This lesion": value_of(one)}
        for name, shares in below.items():
            own = ranges.of(outline, name, one.id) if ranges is not None else None
            row[name] = "–"
            if own is not None and one.id in shares:
                low, high = (_number(edge, one) for edge in own.middle)
                row[name] = f"{shares[one.id]:.0%} below; most {low} to {high}".replace("%", " %")
        rows.append(row | {"What it means": one.meaning})
    return rows


def value_of(one: Measure) -> str:
    """With its unit, or why there is none."""
    if one.value is None:
        return "not assessable" if one.reason == CUT else f"not assessable: {one.reason}"  # a warning says the one
    return f"{_number(one.value, one)} {one.unit}".strip()


def _number(value: float, one: Measure) -> str:
    whole = one.unit.startswith("of ") or one.unit == "px"
    return f"{value:.0f}" if whole else f"{value:.1f}" if one.unit else f"{value:.2f}"


def _nodule_figures(found: Nodule, by: str, overlap: float | None) -> None:
    for note in found.notes:
        st.warning(note, icon=":material/warning:")
    figures = [
        ("Mean diameter", f"{found.mean_mm:.1f} mm", "Mean of the two axial diameters, as the Fleischner Society measures nodules."),
        ("Longest axial", f"{found.longest_mm:.1f} mm", "The largest distance within one axial slice."),
        ("Perpendicular", f"{found.perpendicular_mm:.1f} mm", "The largest at a right angle to it on the same slice."),
        ("Volume", f"{found.volume_ml:.2f} ml", "Voxels of the outline times the volume of one."),
    ]  # fmt: skip
    if found.mean_hu is not None and found.solid_share is not None:
        figures += [
            ("Mean density", f"{found.mean_hu:.0f} HU", "Edge voxels that are partly lung lower it."),
            ("Solid share", f"{found.solid_share:.0%}".replace("%", " %"), f"Share of the volume of at least {SOLID_HU:.0f} HU."),
        ]  # fmt: skip
    with st.container(horizontal=True, gap="medium"):
        for name, value, said in figures:
            st.metric(name, value, help=said, width="content")
    source = (
        "Outlined from a point by density; check the dashed outline."
        if by == BY_POINT
        else "Outline: the case's reference mask."
    )
    compared = "" if overlap is None else f" Dice {overlap:.2f} against the reference."
    st.caption(source + compared)

"""What is looked at on the Volume page: a volume, a model, a class, and how it is explained."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard.cases import entry_title, middle_slice, readable
from dashboard.library import Library, reading_model
from dashboard.state import CaseView, Uploads, VolumeView
from dashboard.volumes.scan import steps_needed
from dashboard.volumes.types import Kind
from dashboard.widgets.case_header import NO_MODEL
from dashboard.widgets.params import edit_params
from explainers import EXPLAINERS
from explainers.types import ExplainerSpec, ParamValue
from explainers.volume import VOLUME_OCCLUSION
from models.card import ModelCard
from models.types import Case, Image

SAMPLES = (
    "lung-ct-nodule",
    "brain-mr-tumour-1",
    "brain-mr-tumour-2",
    "phantom-chest-ct-baseline",
    "phantom-chest-ct-follow-up",
    "phantom-pneumonia-volume",
    "phantom-lung-volume",
    "phantom-brain-volume",
)
_KINDS: dict[Kind, str] = {"slices": "Every slice", "around": "One slice in depth", "blocks": "Blocks in 3-D"}
_HELP = (
    "Every slice: one map a slice, as on the Case page. One slice in depth: the score of the slice shown, over the "
    "neighbouring slices that the model sees. Blocks in 3-D: how much the score drops when a block of the volume is hidden."
)


@dataclass(frozen=True)
class Choice:
    """How the volume is explained; the fields mean the same in a volume request."""

    kind: Kind
    method: str
    params: dict[str, ParamValue]
    slices: range


def no_volume(library: Library, uploads: Uploads, case: Case) -> str | None:
    """Says that the case is a single slice and what to open instead; returns the volume that the reader chooses."""
    st.subheader(case.title, anchor=False)
    st.info(
        "This case is a single picture. A volume is a CT or MR scan of several slices: choose one below, or drop a NIfTI "
        "file, the DICOM files of a series, or a zip of them on “Open images” at the left.",
        icon=":material/view_in_ar:",
    )
    offered = {own.id: own.title for own in uploads.cases.values() if own.image.is_volume}
    offered |= {name: entry_title(library.entries[name]) for name in SAMPLES if name in library.entries}
    columns = st.columns(3)
    chosen = None
    for number, (case_id, title) in enumerate(offered.items()):
        if columns[number % 3].button(title, key=f"open-{case_id}", width="stretch"):
            chosen = case_id
    return chosen


def first_place(image: Image, index: int | None) -> tuple[int, int, int]:
    """(column, row, slice): the middle of a slice, or of the volume."""
    height, width = image.plane_shape
    return width // 2, height // 2, min(middle_slice(image) if index is None else index, image.depth - 1)


def choose_model(case: Case, view: CaseView, cards: dict[str, ModelCard], made_for: str) -> ModelCard | None:
    """The model that reads the volume, at first the one that the case is made for."""
    likely = view.chosen_models.get(made_for, made_for)
    reading = reading_model(case, cards, likely if likely in cards else view.preferred_model)
    if view.model_id not in (NO_MODEL, *cards):
        view.model_id = reading.id if reading else NO_MODEL
    options = [NO_MODEL, *cards]
    chosen = st.selectbox(
        "Model",
        options,
        index=options.index(view.model_id),
        key=f"volume-model-{case.id}",
        format_func=lambda name: cards[name].title if name in cards else name,
    )
    if chosen != view.model_id:
        view.choose_model(chosen, made_for)
    return cards.get(view.model_id)


def choose_finding(view: CaseView, card: ModelCard) -> bool:
    """The class to explain; True when the reader has just chosen another."""
    chosen = st.selectbox(
        "Finding",
        range(len(card.classes)),
        index=view.finding or 0,
        key=f"volume-finding-{view.case_id}-{card.id}-{view.finding}",
        format_func=lambda index: readable(card.classes[index]),
    )
    if chosen == view.finding:
        return False
    view.finding, view.against = chosen, None
    return True


def choose_work(
    view: VolumeView, card: ModelCard, image: Image, layers: tuple[str, ...], unsupported: tuple[str, ...]
) -> Choice:
    """How to explain: kind, method, which slices, and the method's settings.

    Args:
        layers: of the network, the default first.
        unsupported: methods that cannot explain it.
    """
    kinds = [kind for kind in _KINDS if kind != "around" or card.input.slices > 1]
    first, second, third = st.columns([5, 4, 2], vertical_alignment="bottom")
    kind = first.segmented_control(
        "Explain",
        kinds,
        default=view.kind if view.kind in kinds else "slices",
        format_func=_KINDS.__getitem__,
        key=f"volume-kind-{card.id}",
        help=_HELP,
        required=True,
    )
    view.kind = kind
    spec = VOLUME_OCCLUSION if kind == "blocks" else _method(view, unsupported, second)
    with third.popover("Settings", icon=":material/tune:", width="stretch"):
        slices = range(image.depth)
        if kind == "slices" or (kind == "blocks" and card.input.slices == 1):
            slices = _slices(image, card)
        st.markdown(f"**{spec.title}**", help=f"{spec.summary} {spec.paper}")
        current = view.params.get(spec.id, {})
        default = layers[0] if layers else ""
        view.params[spec.id] = edit_params(spec, layers, default, current, f"volume-{card.id}-{spec.id}")
    return Choice(kind, view.method, dict(view.params[spec.id]), slices)


def _method(view: VolumeView, unsupported: tuple[str, ...], place: st.delta_generator.DeltaGenerator) -> ExplainerSpec:
    specs = {e.spec.id: e.spec for e in sorted(EXPLAINERS, key=lambda e: e.spec.order) if e.spec.id not in unsupported}
    options = list(specs)
    view.method = place.selectbox(
        "Method",
        options,
        index=options.index(view.method) if view.method in options else 0,
        format_func=lambda name: specs[name].title,
        key="volume-method",
    )
    return specs[view.method]


def _slices(image: Image, card: ModelCard) -> range:
    """A part of the volume, and every so many slices of it."""
    key = f"{card.id}-{image.depth}"
    first, last = st.slider("Slices", 1, image.depth, (1, image.depth), key=f"volume-part-{key}")
    least = steps_needed(image, card, last - first + 1)
    step = st.number_input(
        "Explain every so many slices",
        least,
        max(least, 20),
        least,
        key=f"volume-step-{key}-{least}",
        help="All slices are scored.",
    )
    if least > 1:
        st.caption(
            f"The map of every slice would take too much memory: one slice in {least} at most, or a shorter part."
        )
    return range(first - 1, last, int(step))

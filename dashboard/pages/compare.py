"""The Compare page: one case under two models, or two cases under one model, with the difference of scores."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from dashboard.cases import RESEARCH_NOTE, facts_line, middle_slice, readable
from dashboard.library import reading_model, require
from dashboard.serving.types import ExplainRequest
from dashboard.state import Services, case_view, compare_view, owner, services, uploads
from dashboard.widgets import maps
from dashboard.widgets.case_picker import rows
from dashboard.widgets.viewer.viewer import Pane, viewer
from explainers import EXPLAINERS, get
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Image, Prediction, Target

HALF_HEIGHT = 280  # CSS pixels of a picture where two viewers stand under each other
TWO_MODELS, TWO_CASES = "One case, two models", "Two cases, one model"


@dataclass(frozen=True, eq=False)
class Side:
    """One half of a comparison."""

    name: str
    case: Case
    slice: int
    card: ModelCard
    prediction: Prediction

    @property
    def image(self) -> Image:
        return self.case.image.slice(self.slice)

    def target(self, wanted: str) -> Target:
        """The class of that name, or this model's most probable one where it has none."""
        names = {readable(name).casefold(): name for name in self.card.classes}
        return self.card.target(names.get(wanted.casefold(), self.card.classes[self.prediction.order[0]]))


def page() -> None:
    """Everything of the page, top to bottom."""
    found = services()
    cards = dict(found.desk.engine.cards())
    titles = {row.id: row.title for row in rows(found.library, uploads())}
    mode = st.segmented_control("Compare", [TWO_MODELS, TWO_CASES], default=TWO_CASES, key="compare-mode") or TWO_CASES
    if mode == TWO_MODELS and len(cards) < 2:
        st.info(
            "Only one model is installed; add a second model folder to compare two (see the Models page).",
            icon=":material/info:",
        )
        return
    try:
        sides = _sides(found, cards, titles, mode)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    for side in sides:
        for warning in side.prediction.warnings:
            st.warning(f"**{side.name}**: {warning}", icon=":material/warning:")
    finding, methods = _choices(sides)
    requests = {
        f"{number}-{method}": ExplainRequest(side.card.id, side.image, method, side.target(finding))
        for number, side in enumerate(sides)
        for method in methods
    }
    view = compare_view()
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    every = 0.3 if any(answer.active for answer in known.values()) else None
    st.fragment(_viewers, run_every=every)(found, sides, requests, mode, every is not None)
    _differences(sides)


def _sides(found: Services, cards: dict[str, ModelCard], titles: dict[str, str], mode: str) -> list[Side]:
    first, second, third = st.columns(3, vertical_alignment="bottom")
    ids = list(titles)
    start = case_view().case_id if case_view().case_id in ids else ids[0]
    left_id = first.selectbox("Case", ids, index=ids.index(start), format_func=titles.__getitem__, key="compare-left")
    left = require(uploads().cases, found.library, left_id)
    names = {card.id: card.title for card in cards.values()}
    reading = reading_model(left, cards)
    order = sorted(cards, key=lambda name: reading is not None and name != reading.id)
    if mode == TWO_MODELS:
        one = second.selectbox("Model", order, format_func=names.__getitem__, key="compare-model-1")
        two = third.selectbox(
            "Other model", [name for name in order if name != one], format_func=names.__getitem__, key="compare-model-2"
        )
        return [_side(found, names[one], left, cards[one]), _side(found, names[two], left, cards[two])]
    alike = [i for i in ids if i != left_id]
    same_group = [
        row.id
        for row in rows(found.library, uploads())
        if row.id != left_id and _group(found, row.id) == _group(found, left_id)
    ]
    right_id = second.selectbox(
        "Other case",
        alike,
        index=alike.index(same_group[0]) if same_group else 0,
        format_func=titles.__getitem__,
        key=f"compare-right-{left_id}",
    )
    right = require(uploads().cases, found.library, right_id)
    model = third.selectbox("Model", order, format_func=names.__getitem__, key=f"compare-model-{left_id}")
    return [_side(found, left.title, left, cards[model]), _side(found, right.title, right, cards[model])]


def _group(found: Services, case_id: str) -> str:
    entry = found.library.entries.get(case_id)
    return entry.system if entry else "Uploads"


def _side(found: Services, name: str, case: Case, card: ModelCard) -> Side:
    index = case_view().slices.get(case.id, middle_slice(case.image))
    return Side(name, case, index, card, found.desk.predict(card.id, case.image.slice(index)))


def _choices(sides: list[Side]) -> tuple[str, list[str]]:
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    first = sides[0]
    flagged = first.prediction.flagged or first.prediction.order
    classes = [readable(name) for name in first.card.classes]
    finding = left.selectbox(
        "Finding", classes, index=flagged[0], key=f"compare-finding-{first.card.id}-{first.case.id}"
    )
    titles = {e.spec.id: e.spec.title for e in sorted(EXPLAINERS, key=lambda e: e.spec.order)}
    methods = right.multiselect(
        "Explanations",
        list(titles),
        default=["grad-cam", "occlusion"],
        format_func=titles.__getitem__,
        key="compare-methods",
        max_selections=3,
    )
    return finding, methods


def _viewers(
    found: Services, sides: list[Side], requests: dict[str, ExplainRequest], mode: str, was_active: bool
) -> None:
    """A fragment: while work is under way it alone runs again."""
    view = compare_view()
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    groups = [range(len(sides))] if mode == TWO_MODELS else [[number] for number in range(len(sides))]
    for group in groups:
        case = sides[group[0]].case
        panes = [Pane("image", case.title if mode == TWO_CASES else "Image", facts_line(case))]
        for number in group:
            for pane_id, answer in known.items():
                if pane_id.startswith(f"{number}-"):
                    request = requests[pane_id]
                    who = f"{sides[number].card.title}: " if mode == TWO_MODELS else ""
                    title = f"{who}{readable(request.target.label)} · {get(request.method).spec.title}"
                    panes.append(maps.pane(pane_id, request.method, answer, title))
        events = viewer(
            case.image,
            panes,
            key=f"compare-{group[0]}",
            group="compare",
            height=None if mode == TWO_MODELS else HALF_HEIGHT,
            slice_index=sides[group[0]].slice,
            regions=case.regions,
            caption=[f"{case.title} · {facts_line(case)}", RESEARCH_NOTE],
            file_name=f"{case.id}-compare.png",
        )
        if events.cancel in known:
            view.stopped.add(known[events.cancel].key)
            st.rerun()
        if events.retry in known:
            view.stopped.discard(known[events.retry].key)
            found.desk.retry(known[events.retry].key)
            st.rerun()
        if events.slice is not None and events.slice != sides[group[0]].slice:
            case_view().slices[case.id] = events.slice
            st.rerun()
    if was_active and not any(answer.active for answer in known.values()):
        st.rerun()  # the whole page, so that polling ends


def _differences(sides: list[Side]) -> None:
    """Scores of the classes that both sides know, and their difference."""
    one, two = sides
    scores = [
        {
            readable(name): float(p)
            for name, p in zip(side.prediction.classes, side.prediction.probabilities, strict=True)
        }
        for side in sides
    ]
    common = [name for name in scores[0] if name in scores[1]]
    if not common:
        st.info("The two models have no class in common, so their scores cannot be subtracted.", icon=":material/info:")
        return
    left, right = (one.name, two.name) if one.name != two.name else (f"{one.name} (first)", f"{two.name} (second)")
    table = pd.DataFrame(
        {"Finding": common, left: [scores[0][n] for n in common], right: [scores[1][n] for n in common]}
    )
    table["Difference"] = table[right] - table[left]
    table = table.sort_values("Difference", key=abs, ascending=False)
    number = st.column_config.NumberColumn(format="%.3f")
    signed = st.column_config.NumberColumn(format="%+.3f")
    st.dataframe(table, hide_index=True, column_config={left: number, right: number, "Difference": signed})

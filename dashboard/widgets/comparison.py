"""What is compared on the Compare page, and the difference of scores."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from dashboard.cases import middle_slice, readable
from dashboard.library import reading_model
from dashboard.state import Services, case_view, uploads
from dashboard.widgets.case_picker import find_case, rows
from explainers import EXPLAINERS
from models.card import ModelCard
from models.types import Case, Image, Prediction, Target

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


def choose_sides(found: Services, cards: dict[str, ModelCard], titles: dict[str, str], mode: str) -> list[Side]:
    """Two cases, or two models, as the reader picks them."""
    first, second, third = st.columns(3, vertical_alignment="bottom")
    ids = list(titles)
    start = case_view().case_id if case_view().case_id in ids else ids[0]
    left_id = first.selectbox("Case", ids, index=ids.index(start), format_func=titles.__getitem__, key="compare-left")
    left = find_case(found.library, uploads(), left_id)
    names = {card.id: card.title for card in cards.values()}
    reading = reading_model(left, cards, found.library.made_for(left.id))
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
    right = find_case(found.library, uploads(), right_id)
    model = third.selectbox("Model", order, format_func=names.__getitem__, key=f"compare-model-{left_id}")
    return [_side(found, left.title, left, cards[model]), _side(found, right.title, right, cards[model])]


def _group(found: Services, case_id: str) -> str:
    entry = found.library.entries.get(case_id)
    return entry.system if entry else "Uploads"


def _side(found: Services, name: str, case: Case, card: ModelCard) -> Side:
    index = case_view().slices.get(case.id, middle_slice(case.image))
    return Side(name, case, index, card, found.desk.predict(card.id, case.image.slice(index)))


def choices(sides: list[Side]) -> tuple[str, list[str]]:
    """The finding and the methods to compare."""
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    first = sides[0]
    classes = [readable(name) for name in first.card.classes]
    finding = left.selectbox(
        "Finding", classes, index=first.prediction.leading, key=f"compare-finding-{first.card.id}-{first.case.id}"
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


def differences(sides: list[Side]) -> None:
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

"""The gallery of installed models: one tile a model, which opens it."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st

from dashboard import cards as words
from dashboard.serving.types import Engine
from dashboard.settings import settings
from models.card import Measure, ModelCard
from models.install import is_own

_CSS = Path(__file__).with_suffix(".css")
_STATES = {
    "on disk": "not loaded yet",
    "loaded": ":material/check_circle: loaded",
    "failed": ":material/error: cannot be loaded",
}
LINK = "model"


def gallery(engine: Engine) -> None:
    """All models as tiles, then the folders that could not be used."""
    st.html(_CSS)
    with st.container(key="model-gallery"):
        for card in engine.cards().values():
            with st.container(border=True, key=f"model-tile-{card.id}"):
                _tile(engine, card)
    for fault in engine.faults():
        st.error(f"**{fault.name}**: {fault.message}", icon=":material/error:")


def _tile(engine: Engine, card: ModelCard) -> None:
    st.button(card.title, key=f"open-{card.id}", type="tertiary", on_click=_open, args=(card.id,))
    st.markdown(f"{words.icon(card)} {words.modalities(card)} · {words.task(card)}")
    st.html(performance_strip(card.performance[0] if card.performance else None))
    facts = [words.licence(card.licence), *weights_size(card), _STATES[engine.state(card.id)]]
    if is_own(card, settings().own_models):
        facts.append(":material/person: added by you")
    st.caption(" · ".join(facts))


def weights_size(card: ModelCard) -> list[str]:
    """In words; nothing for weights that are not here, because a server has them or they are lost."""
    path = card.folder / card.weights.file
    return [words.file_size(path.stat().st_size)] if path.is_file() else []


def _open(model_id: str) -> None:
    st.query_params[LINK] = model_id


def performance_strip(measure: Measure | None) -> str:
    """HTML of the main figure, its interval as words and as a bar on the metric's scale."""
    if measure is None or measure.value is None:
        return '<p class="model-strip"><span class="name">The card states no performance.</span></p>'
    low, high = words.scale_of(measure.metric)

    def place(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - low) / (high - low)))

    start, end = place(measure.low or measure.value), place(measure.high or measure.value)
    spread = f"95 % interval {words.interval(measure)}" if words.interval(measure) else "no interval"
    said = f"{spread} · n = {measure.n:,} · {measure.split} part"
    chance = " (chance)" if low == 0.5 else ""
    return (
        f'<div class="model-strip"><span class="name">{escape(measure.metric)}</span>'
        f'<span class="value">{words.value(measure)}</span>'
        f'<span class="model-bar" aria-hidden="true"><i class="scale"></i>'
        f'<i class="reach" style="left:{start:.2f}%;width:{end - start:.2f}%"></i>'
        f'<i class="mark" style="left:{place(measure.value):.2f}%"></i></span>'
        f'<span class="model-ends" aria-hidden="true"><span>{low:g}{chance}</span><span>{high:g}</span></span>'
        f'<span class="note">{escape(said)}</span></div>'
    )

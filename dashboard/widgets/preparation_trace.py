"""What became of the image, step by step, and what that changed in the model's answer."""

from __future__ import annotations

import base64
import io
import zipfile
from html import escape

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.cases import readable
from dashboard.preparation.effects import Effects
from dashboard.preparation.outcome import Outcome
from dashboard.preparation.pictures import Picture
from dashboard.preparation.report import files_of
from dashboard.preparation.trace import Record
from dashboard.preparation.types import Measure
from models.types import Case

_ICONS = {
    "pass": ":green[:material/check_circle:]",
    "warn": ":orange[:material/warning:]",
    "fail": ":red[:material/error:]",
}
_WORDS = {"pass": "as expected", "warn": "look at it", "fail": "not done"}
MOST_CLASSES = 5


def trace_rows(outcome: Outcome) -> None:
    """One row a step: verdict, time, and the planes before and after it."""
    for number, record in enumerate(outcome.trace.records):
        _row(record, number)
    if outcome.missing:
        st.warning(f"The model is not asked: {outcome.missing}", icon=":material/warning:")
    if outcome.model_records:
        _model_row(outcome.model_records)


def _model_row(records: tuple[Record, ...]) -> None:
    """The model's own input steps beside each other: each picture is what the step before left."""
    with st.container(border=True, gap="xsmall"):
        st.markdown(
            "**The model's own input steps**, on the slice it is asked about; the last picture is what it is given"
        )
        for place, record in zip(st.columns(len(records)), records, strict=True):
            with place:
                st.markdown(f"{_ICONS[record.verdict.level]} **{record.title}**")
                said = record.verdict.sentence.removeprefix(f"{record.title}: ")
                _picture(st.container(), said[:1].upper() + said[1:], record.after, record.title)
        with st.expander("Measures", key="preparation-model-measures"):
            measures = tuple(measure for record in records for measure in record.verdict.measures)
            st.dataframe(_measures(measures), hide_index=True, width="stretch")


def _row(record: Record, number: int) -> None:
    verdict = record.verdict
    with st.container(border=True, gap="xsmall"):
        title, time = st.columns([6, 1], vertical_alignment="center")
        title.markdown(f"{_ICONS[verdict.level]} **{record.title}**: {_WORDS[verdict.level]}")
        headline = verdict.measures[0] if verdict.measures else None
        time.caption(f"{record.seconds:.1f} s" if record.seconds >= 0.05 else "< 0.1 s")
        st.markdown(verdict.sentence)
        pictures = [("Before", record.before), ("After", record.after)]
        if record.extra is not None:
            pictures.append((record.extra_name.capitalize(), record.extra))
        if verdict.level != "fail":
            for place, (name, shown) in zip(st.columns(len(pictures)), pictures, strict=True):
                _picture(place, name, shown, record.title)
        if headline is not None or record.params:
            with st.expander("Measures and settings", key=f"preparation-row-{number}"):
                if verdict.measures:
                    st.dataframe(_measures(verdict.measures), hide_index=True, width="stretch")
                if record.params:
                    st.caption("Settings: " + ", ".join(f"{name} {value}" for name, value in record.params.items()))


def _picture(place: DeltaGenerator, name: str, shown: Picture, what: str) -> None:
    """A picture with a caption and, unlike Streamlit's own, with words for those who cannot see it."""
    planes = "axial, coronal and sagittal plane" if len(shown.planes) == 3 else "one plane"
    data = base64.b64encode(shown.png()).decode()
    widest = "100%" if len(shown.planes) > 1 else "240px"
    place.html(
        f'<figure style="margin:0"><img alt="{escape(f"{what}, {name.lower()}: {planes}")}" src="data:image/png;base64,{data}"'
        f' style="width:100%;max-width:{widest};border-radius:8px;display:block">'
        f'<figcaption style="font-size:0.85rem;opacity:0.8;padding-top:0.25rem">{escape(name)}</figcaption></figure>'
    )


def _measures(measures: tuple[Measure, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Measure": [measure.name for measure in measures],
            "Value": [f"{measure.value:.3g} {measure.unit}".strip() if abs(measure.value) < 1000
                      else f"{measure.value:.0f} {measure.unit}".strip() for measure in measures],
            "Expected": [measure.bounds for measure in measures],
            "Where that comes from": [measure.source for measure in measures],
        }
    )  # fmt: skip


def effects_panel(effects: Effects, depth: int) -> None:
    """Which step flipped the call: a sentence, and a table of the answers."""
    st.markdown("#### What the steps changed in the answer")
    flips = bool(effects.flipping) or effects.rows[-1].flips
    tell = st.warning if flips else st.info
    tell(effects.sentence(), icon=":material/swap_horiz:" if flips else ":material/check:")
    frame = pd.DataFrame(
        {
            "Steps": [row.name for row in effects.rows],
            "The call": [readable(row.call) for row in effects.rows],
            "Changes the call": ["" if number == 0 else "⇄ yes" if row.flips else "no" for number, row in enumerate(effects.rows)],
        }
        | {
            readable(effects.classes[k]): [float(row.probabilities[k]) for row in effects.rows] for k in _shown(effects)
        }
    )  # fmt: skip
    columns = {
        readable(effects.classes[k]): st.column_config.NumberColumn(format="%.2f", help="Probability")
        for k in _shown(effects)
    }
    st.dataframe(frame, hide_index=True, width="stretch", column_config=columns)
    where = f"Slice {effects.native_slice + 1} of the scan" if depth > 1 else "The same picture"
    st.caption(
        f"{where} in every row, wherever the steps put it; the card's operating points. A step that only rescales all "
        "values alike changes nothing for a model that stretches each image's own range to 0 to 1."
    )


def _shown(effects: Effects) -> list[int]:
    """Columns: the classes of any decision, then the most probable ones."""
    decided = {effects.classes.index(name) for row in effects.rows for name in row.decision}
    likely = [int(k) for k in np.argsort(-effects.rows[0].probabilities)]
    order = sorted(decided, key=likely.index) + [k for k in likely if k not in decided]
    return order[: max(MOST_CLASSES, len(decided))] if len(effects.classes) > 1 else order


def download(case: Case, outcome: Outcome) -> None:
    """The prepared image, masks, pictures and trace.json as one zip, made when asked for."""
    st.download_button(
        "Prepared image and trace (zip)",
        data=lambda: _zip(outcome),
        file_name=f"{case.id}-prepared.zip",
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
        help="NIfTI of the prepared image, its mask and further arrays, pictures before and after each step, and trace.json.",
    )


def _zip(outcome: Outcome) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files_of(outcome, slice=outcome.native_slice).items():
            archive.writestr(name, content)
    return buffer.getvalue()

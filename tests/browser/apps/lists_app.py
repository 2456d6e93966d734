"""The worklist and the findings beside each other, and below them what reached Python."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard.serving.types import Health
from dashboard.thumbnail import thumbnail
from dashboard.widgets import style
from dashboard.widgets.findings import Finding, findings
from dashboard.widgets.worklist import WorklistRow, worklist
from models.types import Image

NAMES = [
    *("Cardiomegaly", "Effusion", "Infiltration", "Atelectasis", "Edema", "Mass", "Nodule", "Pleural_Thickening"),
    *("Consolidation", "Pneumothorax", "Emphysema", "Fibrosis", "Hernia", "Pneumonia"),
]


def picture(number: int) -> bytes:
    noise = np.random.default_rng(number).normal(0.45, 0.12, (1, 72, 64))
    return thumbnail(Image(np.clip(noise, 0, 1).astype(np.float32), "unit interval"))


@st.cache_data
def cases() -> list[WorklistRow]:
    rows = []
    for number in range(40):
        group = "Chest X-ray" if number < 25 else "Phantoms" if number < 34 else "Uploads"
        score = None if group == "Uploads" else round((number * 37 % 100) / 100, 2)
        rows.append(
            WorklistRow(
                id=f"case-{number}",
                title=f"CXR-{number:04d}" if number != 3 else "Lung nodule in the left upper lobe, follow-up",
                subtitle=("x-ray · PA · F 61", "x-ray · AP · M 47")[number % 2],
                group=group,
                score=score,
                finding="" if score is None else NAMES[number % len(NAMES)],
                flagged=score is not None and score >= 0.6,
                thumbnail=b"" if number == 5 else picture(number),
            )
        )
    return rows


def table() -> list[Finding]:
    rows = []
    for index, name in enumerate(NAMES):
        probability, threshold = 0.86 * 0.74**index, 0.42 - 0.02 * index
        flagged = index < 13 and probability >= threshold
        rows.append(
            Finding(
                index=index,
                name=name,
                probability=probability,
                threshold=None if index == 13 else threshold,
                flagged=flagged,
                decision="flagged" if flagged else "no threshold" if index == 13 else "below",
                truth=(index == 0) if st.query_params.get("truth") else None,
            )
        )
    return rows


st.set_page_config(page_title="Lists", layout="wide")
style.inject()
state = st.session_state
state.setdefault("case", "case-1")
state.setdefault("finding", 0)
state.setdefault("heard", [])
state.runs = state.get("runs", 0) + 1

left, right = st.columns([260, 1100])
case = None
if not state.get("away"):
    with left, st.container(width=240):
        case = worklist(cases(), selected=state.case, key="cases", height=620)
with right, st.container(width=600):
    finding = findings(
        table(),
        chosen=state.finding,
        key="findings",
        note="Thresholds at sensitivity 0.90 on the validation images.",
        calibrated=not st.query_params.get("raw"),
    )
    if st.button("Next case"):
        state.case = f"case-{int(state.case.split('-')[1]) + 20}"
        st.rerun()
    st.toggle("Away", key="away")
if case is not None:
    state.heard.append(case)
    state.case = case
    st.rerun()
if finding is not None:
    state.heard.append(finding)
    state.finding = finding
    st.rerun()
with right:
    st.text(f"runs {state.runs} heard {','.join(map(str, state.heard))} case {state.case} finding {state.finding}")
style.footer(Health(()))

"""The Quantify, Volume and Case pages on small scans that they find as uploads; the case in the address chooses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from dashboard.library import Summary
from dashboard.pages import case as case_page
from dashboard.pages import quantify, volume
from dashboard.state import CASE_PAGE, case_view, quantify_view, services, uploads
from dashboard.widgets import style
from models.types import Case, Geometry, Image, Modality, Provenance, Region
from tests.dashboard.quantify.thorax import Ball, draw

NOW, EARLIER, NOISE = "upload-00000000000a", "upload-00000000000b", "upload-00000000000c"


@st.cache_resource
def chest(case_id: str, title: str, balls: tuple[Ball, ...]) -> Case:
    drawn = draw((5, 5, 8), balls)
    lesions = Region("Infection", drawn.infected)
    return Case(case_id, title, drawn.image, Provenance("uploaded file", case_id[-1] * 64, "nifti"), regions=(lesions,))


@st.cache_resource
def noise() -> Case:
    """No two slices alike; as scanners give, from -1024 HU."""
    values = np.random.default_rng(3).normal(-500, 300, (1, 7, 40, 50)).astype(np.float32).round()
    image = Image(values.clip(-1024, 900), "HU", Modality.CT, Geometry(np.diag([0.7, 0.8, 1.5, 1.0])))
    return Case(NOISE, "CT of noise", image, Provenance("uploaded file", "c" * 64, "nifti"))


def scan() -> None:
    """The page whose case the address names."""
    (quantify if st.query_params.get("case") == NOW else volume).page()


st.set_page_config(layout="wide")
style.inject()
ball = Ball(-76, 30, 0, 14, -100)
now = chest(NOW, "Now", (replace(ball, radius=18), Ball(76, 30, 24, 12, -100)))
earlier = chest(EARLIER, "Earlier", (ball,))
for one in (now, earlier, noise()):
    services().library.keep(one)
    uploads().summaries[one.id] = Summary(b"")  # else a model would be asked for the worklist
uploads().cases[EARLIER] = earlier
quantify_view().prior.setdefault(NOW, EARLIER)
case_view().methods = ("grad-cam",)
pages = [st.Page(scan, default=True), st.Page(case_page.page, title="Case", url_path="one")]
st.session_state[CASE_PAGE] = pages[1]
st.navigation(pages, position="hidden").run()

"""The Preparation page alone, on a small drawn volume that it finds as an upload."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard.library import Summary
from dashboard.pages.preparation import page
from dashboard.state import services, uploads
from dashboard.widgets import style
from models.types import Case, Geometry, Image, Modality, Provenance

st.set_page_config(layout="wide")
style.inject()
values = np.random.default_rng(0).normal(0, 8, (12, 48, 48))
values[2:10, 8:40, 8:40] += 300
values[4:8, 16:32, 16:32] += 200
image = Image(
    np.abs(values).astype(np.float32)[None], "stored value", Modality.MR, Geometry(np.diag([2.0, 2.0, 3.0, 1.0]))
)
case = Case("upload-00aa11bb22cc", "MR 00aa11", image, Provenance("uploaded file", "0" * 64, "nifti"))
services().library.keep(case)
uploads().summaries[case.id] = Summary(b"")  # else a model would be asked for the worklist
page()

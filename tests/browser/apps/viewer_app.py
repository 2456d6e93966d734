"""A page with nothing but the viewer over synthetic images; query parameters choose what it shows."""

import numpy as np
import streamlit as st

from dashboard.widgets.viewer import MapLayer, Pane, viewer
from models.types import CT_WINDOWS, Geometry, Image, Modality, Region

st.set_page_config(layout="wide")


@st.cache_resource
def ramp() -> Image:
    """HU rising by 2 along columns and by 5 along rows from -1000; pixels twice as tall as wide."""
    rows, columns = np.mgrid[0:160, 0:320]
    values = (2.0 * columns + 5.0 * rows - 1000).astype(np.float32)[None]
    return Image(values, "HU", Modality.CT, Geometry.from_spacing(0.5, 1.0), CT_WINDOWS)


@st.cache_resource
def volume() -> Image:
    """12 slices; slice k is a disc of 100 * k HU in air, in an axial frame with the patient's left on the right."""
    rows, columns = np.mgrid[0:128, 0:128]
    disc = (rows - 64) ** 2 + (columns - 64) ** 2 < 40**2
    stack = np.stack([np.where(disc, 100.0 * k, -1000.0) for k in range(12)]).astype(np.float32)[None]
    affine = np.diag([0.8, 0.8, 3.0, 1.0])
    affine[:3, 3] = (-51.2, -40.0, 10.0)
    return Image(stack, "HU", Modality.CT, Geometry(affine), CT_WINDOWS)


@st.cache_resource
def film() -> Image:
    """A smooth stand-in for a film, 2600 x 2400 pixels: larger than is sent in full."""
    rows, columns = np.mgrid[0:2600, 0:2400].astype(np.float32)
    values = 2000 + 900 * np.cos(rows / 300) * np.sin(columns / 260) + columns / 4
    return Image(
        np.rint(values)[None], "stored value", Modality.XRAY, Geometry.from_spacing(0.143, 0.143), (), inverted=True
    )


@st.cache_resource
def photo() -> Image:
    rows, columns = np.mgrid[0:90, 0:120]
    rgb = np.stack([columns * 2, rows * 2, np.full_like(rows, 64)]) / 255
    return Image(rgb.astype(np.float32), "unit interval", Modality.PHOTO)


@st.cache_resource
def block_map(size: int, height: int, width: int, amount: float) -> MapLayer:
    """One block of `amount` (grid cells 2 to 3 of 8 across, 4 to 5 of 8 down), the rest 0, stretched over the image."""
    values = np.zeros((size, size), np.float32)
    eighth = size // 8
    values[4 * eighth : 6 * eighth, 2 * eighth : 4 * eighth] = amount
    sx, sy = width / size, height / size
    return MapLayer(values, np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]]), False, "logit", amount)


@st.cache_resource
def hills(size: int, height: int, width: int, seed: int, signed: bool) -> MapLayer:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size] / size
    values = np.zeros((size, size))
    for _ in range(5):
        x, y, s = (*rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.15))
        values += rng.choice([-1, 1] if signed else [1]) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * s * s))
    sx, sy = width / size, height / size
    matrix = np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]])
    return MapLayer((0.3 * values).astype(np.float32), matrix, signed, "logit")


@st.cache_resource
def outlines(scene: str) -> list[Region]:
    if scene == "volume":
        mask = np.zeros((12, 128, 128), bool)
        mask[5, 50:70, 40:60] = True
        return [Region("Nodule", mask)]
    if scene == "film":
        rows, columns = np.ogrid[0:2600, 0:2400]
        ellipse = (rows - 1700) ** 2 + ((columns - 700) * 1.4) ** 2 < 300**2
        return [Region("Effusion", ellipse), Region("Mass", box=(1500, 600, 1900, 1000))]
    return []


@st.cache_resource
def found_by_a_model() -> list[Region]:
    mask = np.zeros((128, 128), bool)
    mask[80:95, 55:80] = True
    return [Region("Nodule (model)", mask)]


scene = st.query_params.get("scene", "ramp")
state = st.session_state
state.setdefault("runs", 0)
state.runs += 1

image = {"ramp": ramp, "volume": volume, "film": film, "photo": photo}[scene]()
height, width = image.plane_shape
amount = st.select_slider("Map value", [0.5, 0.75, 1.5], key="amount")
methods = st.toggle("Methods", True, key="methods")
panes = [Pane("image", "Image", f"{width} × {height}", "like the training images (41st percentile)")]
if methods:
    panes += [
        Pane(
            "block",
            "Block",
            "8 × 8 cells",
            "✓ holds up: 4 of 4 checks",
            tone="good",
            map=block_map(224, height, width, amount),
        ),
        Pane(
            "hills",
            "Integrated gradients",
            "32 points · 1.1 s",
            "△ weak: completeness error 1.2 %",
            tone="warn",
            map=hills(224, height, width, 3, True),
        ),
    ]
if methods and scene != "film":
    busy = Pane("busy", "Occlusion", "32 / 16", status="running", progress=0.42, message="Occluding")
    stopped = Pane("busy", "Occlusion", "32 / 16", status="cancelled")
    failed = Pane(
        "busy",
        "Occlusion",
        "32 / 16",
        status="failed",
        message="The window is larger than the image; choose a smaller one.",
    )
    panes.append({"busy": busy, "stopped": stopped, "failed": failed}[state.get("work", "busy")])
elif methods:
    panes.append(
        Pane(
            "cam",
            "Grad-CAM",
            "norm5 · 0.06 s",
            "✓ holds up: 3 of 3 checks",
            tone="good",
            map=hills(224, height, width, 8, False),
        )
    )

regions = outlines(scene)
events = viewer(
    image,
    panes,
    key="viewer",
    slice_index=state.get("slice", 5) if image.is_volume else 0,
    regions=regions,
    found=found_by_a_model() if "found" in st.query_params else (),
    caption=("Synthetic case, model none, target none", "Research and teaching use; not for diagnosis."),
    file_name="synthetic.png",
    pickable="pick" in st.query_params,
)
if events.cancel:
    state.work = "stopped"
    st.rerun()
if events.retry:
    state.work = "failed" if state.get("work") == "stopped" else "busy"
    st.rerun()
if events.slice is not None and "follow" in st.query_params and events.slice != state.get("slice", 5):
    state.slice = events.slice
    st.rerun()
state["pages"] = state.get("pages", 0) + events.page
st.text(f"runs={state.runs} pages={state.pages} slice={events.slice} picked={events.picked} work={state.get('work')}")

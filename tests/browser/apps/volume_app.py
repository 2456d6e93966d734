"""A page with nothing but the volume viewer over phantoms; query parameters choose what it shows."""

import numpy as np
import streamlit as st

from dashboard.widgets.volume_viewer import Overlay, Strip, packing, volume_viewer
from models.types import CT_WINDOWS, Geometry, Image, Modality

st.set_page_config(layout="wide")

SIZES = {"small": (96, 80, 40), "large": (192, 160, 80)}
# As a volume of two hundred megabytes is treated, so are five here.
packing.COARSE_BYTES, packing.CHUNK_BYTES, packing.HELD_BYTES = 700_000, 300_000, 6_000_000
SPACING = (0.8, 1.0, 2.0)


@st.cache_resource
def phantom(scene: str) -> tuple[Image, tuple[Overlay, ...], tuple[Strip, ...]]:
    """Air, in it tissue of 200 HU and 3 more with each slice, in it a block of 900 HU; slices run from the head down.

    The block covers columns 1/4 to 3/8, rows 1/2 to 5/8 and slices 1/4 to 3/8 of the volume. The mask is the block,
    the map is 1 in it.
    """
    columns, rows, slices = SIZES[scene]
    values = np.full((slices, rows, columns), -1000, np.float32)
    inner = values[:, rows // 10 : -rows // 10, columns // 10 : -columns // 10]
    inner[:] = 200 + 3 * np.arange(slices, dtype=np.float32)[:, None, None]
    block = np.zeros(values.shape, bool)
    block[slices // 4 : slices * 3 // 8, rows // 2 : rows * 5 // 8, columns // 4 : columns * 3 // 8] = True
    values[block] = 900
    block.setflags(write=False)
    affine = np.diag([*SPACING, 1.0])
    affine[2, 2] = -SPACING[2]
    affine[:3, 3] = (-0.5 * columns * SPACING[0], -40.0, 100.0)
    image = Image(values[None], "HU", Modality.CT, Geometry(affine), CT_WINDOWS)
    coarse = block[::4, ::4, ::4].astype(np.float32)
    coarse.setflags(write=False)
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    overlays = (
        Overlay("lesion", "Lesion", mask=block),
        Overlay("map", "Occlusion", values=coarse, grid_to_image=matrix, unit="logit"),
    )
    score = np.linspace(0.1, 0.4, slices, dtype=np.float32)
    score[slices * 3 // 4] = 0.9
    score[:2] = np.nan
    strips = (Strip("score", "Probability", score, threshold=0.5),)
    return image, overlays, strips


scene = st.query_params.get("scene", "small")
state = st.session_state
state["runs"] = state.get("runs", 0) + 1

image, overlays, strips = phantom(scene)
if st.button("Jump"):
    state.at = tuple(length // 3 for length in SIZES[scene])
st.button("Again")
if "pair" in st.query_params:
    volume_viewer(image, overlays[:1], key="other", group="pair", title="Prior")
events = volume_viewer(
    image, overlays, key="volume", at=state.get("at"), strips=strips, group="pair" if "pair" in st.query_params else ""
)
if "echo" in st.query_params:
    state.at = events.at  # passed back at the next run, when the reader may be elsewhere
st.text(f"runs={state.runs} at={events.at}")

"""A page with nothing but a large volume, for ``benchmarks.volume_screen``."""

import time

import numpy as np
import streamlit as st

from dashboard.widgets.volume_viewer import Overlay, Strip, volume_viewer
from models.types import CT_WINDOWS, Geometry, Image, Modality

SHAPE = (300, 512, 512)


@st.cache_resource
def scan() -> tuple[Image, tuple[Overlay, ...], tuple[Strip, ...]]:
    """A body with two lungs of wavy outline and a scanner's noise; the mask is the lungs, the map smooth hills."""
    rng = np.random.default_rng(0)
    z, y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in SHAPE)
    z, y = z[:, None, None], y[:, None]
    wave = 1 + 0.06 * np.sin(40 * np.arctan2(y, x + 1e-6)) + 0.05 * np.sin(25 * z)
    body = (x / 0.85) ** 2 + (y / 0.65) ** 2 < 1
    lungs = ((np.abs(x) - 0.38) / 0.26) ** 2 + (y / 0.42) ** 2 + (z / 0.95) ** 2 < wave
    noise = rng.normal(0, 20, SHAPE[1:]).astype(np.float32)
    values = np.where(lungs, -820, np.where(body, 40, -1000)).astype(np.float32)
    for index in range(SHAPE[0]):
        values[index] = np.rint(values[index] + np.roll(noise, 37 * index))
    lungs.setflags(write=False)
    geometry = Geometry(np.diag([0.7, 0.7, 1.0, 1.0]))
    image = Image(values[None], "HU", Modality.CT, geometry, CT_WINDOWS)
    grid = [np.linspace(-1, 1, length, dtype=np.float32) for length in (75, 64, 64)]
    hills = np.exp(-8 * ((grid[0] - 0.2)[:, None, None] ** 2 + (grid[1])[:, None] ** 2 + (grid[2] - 0.4) ** 2))
    hills.setflags(write=False)
    matrix = np.diag([8.0, 8.0, 4.0, 1.0])
    overlays = (
        Overlay("lungs", "Lungs", mask=lungs),
        Overlay("map", "Occlusion", values=hills, grid_to_image=matrix, unit="logit"),
    )
    return image, overlays, (Strip("score", "Score", np.linspace(0, 1, SHAPE[0], dtype=np.float32), threshold=0.5),)


st.set_page_config(layout="wide")
image, overlays, strips = scan()
began = time.perf_counter()
volume_viewer(image, overlays, key="volume", strips=strips)
st.text(f"Python: {time.perf_counter() - began:.2f} s")

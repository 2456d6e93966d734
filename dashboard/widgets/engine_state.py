"""The engine in words and tables."""

from __future__ import annotations

import time

import pandas as pd
import streamlit as st

from dashboard.cards import file_size
from dashboard.figures.traffic import KINDS, latency, throughput
from dashboard.serving.traffic import between, quantile
from dashboard.serving.types import Health, Traffic
from dashboard.settings import settings
from dashboard.widgets.model_figure import show

HOUR_S = 3600.0


def headline(health: Health) -> None:
    """What an administrator looks at first."""
    now = time.time()
    done = {kind: between(health.traffic, kind, now - HOUR_S, now + 1) for kind in KINDS}
    maps = done["explanation"]
    half, most = quantile(maps.took, 0.5), quantile(maps.took, 0.95)
    failed = sum(span.failed for span in done.values())
    figures = [
        ("In the queue", str(health.waiting), "Pieces of work that wait for a device or run on it now."),
        ("Answers in the last hour", str(sum(span.done for span in done.values())), "Scores, maps, checks and other."),
        ("Half of the maps within", "none yet" if half is None else f"{half:.2g} s", "From asking to the map, waiting included."),
        ("95 % within", "none yet" if most is None else f"{most:.2g} s", "From asking to the map, waiting included."),
        ("Failed in the last hour", str(failed), "Pieces of work that ended with an error; whoever asked was told why."),
    ]  # fmt: skip
    with st.container(horizontal=True, gap="large"):
        for title, value, said in figures:
            st.metric(title, value, help=said, width="content")


def devices(health: Health) -> None:
    """One row a device."""
    rows = [
        {
            "Device": device.name,
            "Now": KINDS[device.running] if device.running else "idle",
            "Waiting": device.waiting,
            "Memory": _of(device.free_bytes, device.total_bytes),
            "Loaded models": f"{file_size(device.model_bytes)} of at most {device.limit_bytes / 1e9:.1f} GB",
        }
        for device in health.devices
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def models(health: Health, titles: dict[str, str]) -> None:
    """One row a loaded network."""
    if not health.models:
        st.caption("No model is loaded; one is when it is first asked for something.")
        return
    rows = [
        {
            "Model": titles.get(model.model_id, model.model_id),
            "Device": model.device,
            "Takes": file_size(model.bytes),
            "Last used": "now" if model.used_s < 1 else f"{_ago(model.used_s)} ago",
        }
        for model in health.models
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def last_hour(traffic: tuple[Traffic, ...]) -> None:
    """Throughput and time to answer."""
    now = time.time()
    if not any(one.done for one in traffic):
        st.caption("Nothing was asked of the engine in the last hour.")
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**Answers a minute**")
        show(lambda dark: throughput(traffic, now, dark), "throughput", "Answers a minute over the last hour, by kind.")
    with right:
        st.markdown(
            "**Time to the answer**", help="Points: half of the answers of that minute came within. Bars: 95 % did."
        )
        show(lambda dark: latency(traffic, now, dark), "latency", "Time to the answer over the last hour, by kind.")


def how_to_change() -> None:
    """Where networks run is set before the start."""
    st.caption(
        f"Models run on {settings().engine}."
        if settings().engine
        else "Models run in this process. To run them on a server, start one there with `make serve` and this app with "
        "`SIGHTLINE_ENGINE=http://server:8600` (docs/deployment.md)."
    )


def _of(free: int | None, total: int | None) -> str:
    if free is None:
        return "not known"
    return f"{free / 1e9:.1f} GB free" if total is None else f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

"""Pages run in this process, each test with services of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from dashboard.jobs.desk import Desk
from dashboard.library import Library


@pytest.fixture(autouse=True)
def own_folders(own_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No data sets, and services made anew."""
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    monkeypatch.setattr(Library, "start_scan", lambda self: None)  # six models would be loaded beside every test
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def no_work_left_over(own_folders: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Explanations that a page asked for and a test did not wait for end with it, not beside those that follow."""
    desks: list[Desk] = []

    class Noted(Desk):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            desks.append(self)

    monkeypatch.setattr("dashboard.state.Desk", Noted)
    yield
    for desk in desks:
        desk.close()

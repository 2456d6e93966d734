"""Pages run in this process, each test with services of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dashboard.jobs.desk import Desk


@pytest.fixture(autouse=True)
def no_work_left_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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

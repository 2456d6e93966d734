"""The pages, by file, each with its icon, in the order of the menu; the first opens."""

from __future__ import annotations

import importlib
from collections.abc import Callable

PAGES = {
    "case": "radiology",
    "compare": "compare",
    "volume": "view_in_ar",
    "quantify": "straighten",
    "preparation": "tune",
    "audit": "fact_check",
    "batch": "dynamic_feed",
    "models": "deployed_code",
    "system": "dns",
}


def drawn_by(name: str) -> Callable[[], None]:
    """A page whose code, and the libraries behind it, are read when it is first opened."""
    return lambda: importlib.import_module(f"dashboard.pages.{name}").page()

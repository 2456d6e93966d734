"""captum's classes, read when a map is first asked for: reading the library would hold up the start of the app."""

from __future__ import annotations

import importlib
from typing import Any


def captum(name: str) -> Any:
    """A class of ``captum.attr``."""
    return getattr(importlib.import_module("captum.attr"), name)

"""The engine that the settings ask for."""

from __future__ import annotations

from dashboard.serving.local import LocalEngine
from dashboard.serving.types import Engine
from dashboard.settings import Settings


def make_engine(settings: Settings) -> Engine:
    return LocalEngine(settings.model_folders, settings.resolved_device, settings.cache / "choices", settings.models_mb)

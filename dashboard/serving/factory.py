"""The engine that the settings ask for."""

from __future__ import annotations

from dashboard.serving.types import Engine
from dashboard.settings import Settings


def make_engine(settings: Settings) -> Engine:
    """In this process, or on a server where an address is set. Raises Unavailable for what is no address."""
    if settings.engine:
        from dashboard.serving.remote import RemoteEngine  # which the other need not read

        return RemoteEngine(settings.engine, settings.token.get_secret_value(), settings.cache)
    from dashboard.serving.local import LocalEngine

    return LocalEngine(settings.model_folders, settings.resolved_device, settings.cache / "choices", settings.models_mb)

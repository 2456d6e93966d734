"""What a model server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dashboard.jobs.store import ResultStore
from dashboard.server.metrics import Meter
from dashboard.server.service import Service
from dashboard.serving.local import LocalEngine
from dashboard.settings import settings


@dataclass(frozen=True)
class Options:
    """Attributes:
    folders: where models are looked for.
    device: as of the settings; "auto" is decided where the engine runs.
    cache: results live here; processes of one machine share them.
    token: that every request must bring; "" for none.
    """

    folders: tuple[Path, ...]
    device: str
    cache: Path
    cache_mb: int = 2048
    models_mb: int | None = None
    token: str = field(default="", repr=False)
    request_mb: int = 256
    host: str = "127.0.0.1"
    port: int = 8600


def options_from(**changes: Any) -> Options:
    """As the settings of this process say."""
    config = settings()
    found = Options(
        config.model_folders,
        config.device,
        config.cache,
        config.cache_mb,
        config.models_mb,
        config.token.get_secret_value(),
        config.request_mb,
    )
    return replace(found, **changes)


def make_service(options: Options, replica: str = "", meter: Meter | None = None) -> Service:
    """A service with an engine of its own."""
    device = settings().resolved_device if options.device == "auto" else options.device
    engine = LocalEngine(options.folders, device, options.cache / "choices", options.models_mb)
    return Service(
        engine,
        ResultStore(options.cache / "results", options.cache_mb),
        options.folders,
        token=options.token,
        request_mb=options.request_mb,
        replica=replica,
        meter=meter,
    )

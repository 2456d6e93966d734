"""Settings from the environment (``SIGHTLINE_*``); every default works on a laptop."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "models" / "zoo"


class Settings(BaseSettings):
    """Attributes:
    device: "auto" takes every CUDA device, else the CPU; several names are separated by commas.
    engine: "" to run networks in this process, or the address of a server, "http://host:port".
    token: a secret that the server asks for, "" for none.
    ray: address of a Ray cluster for the Batch page; this machine alone if not given.
    batch: the folder within which the Batch page may read and write; any folder if not given.
    request_mb: megabytes of the largest request that a server takes.
    login: ask who opens the app to log in, as ``.streamlit/secrets.toml`` says.
    models_mb: megabytes of networks on one device, beyond which the one longest unused goes; half of its free memory if not
        given.
    models: a folder of the user's own model folders, or one model folder.
    cache: results live here, readable by the user alone.
    cache_mb: oldest results go first beyond this size.
    trust: "auto" checks the maps of a case as soon as they are there, where that takes a minute and a half at most; "ask" waits
        to be asked.
    """

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", extra="ignore")

    device: str = "auto"
    engine: str = ""
    token: SecretStr = SecretStr("")
    login: bool = False
    ray: str = ""
    batch: Path | None = None
    request_mb: int = Field(default=256, ge=1)
    models_mb: int | None = Field(default=None, ge=1)
    models: Path | None = None
    cache: Path = Field(default_factory=lambda: user_cache_path("sightline"))
    cache_mb: int = Field(default=2048, ge=16)
    trust: Literal["auto", "ask"] = "auto"

    @property
    def verdicts_mb(self) -> int:
        """What trust checks may take of the cache."""
        return max(16, self.cache_mb // 8)

    @property
    def resolved_device(self) -> str:
        if self.device != "auto":
            return self.device
        import torch  # seconds, which the first thing on the screen need not wait for

        found = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        return ",".join(found) or "cpu"

    @property
    def first_device(self) -> str:
        """For work that uses one."""
        return self.resolved_device.split(",")[0].strip()

    @property
    def model_folders(self) -> tuple[Path, ...]:
        named = () if self.models is None else (self.models,)
        return (ZOO, *named, self.own_models)

    @property
    def operating_points(self) -> Path:
        """Thresholds kept on the Audit page."""
        return self.cache / "operating-points"

    @property
    def own_models(self) -> Path:
        """Models added on the Models page."""
        return self.cache / "models"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()

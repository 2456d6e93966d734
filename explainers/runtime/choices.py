"""Which way a network takes on this machine, kept on disk: measured once, and the same from then on, so that equal
requests give equal bytes and the next start prepares one way only."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


@dataclass(frozen=True)
class Choice:
    """The way taken, and the measurement behind it.

    Attributes:
        name: of the way.
        milliseconds: for one window, by name, of every way tried.
        refused: why a way is not there, by name.
    """

    name: str
    milliseconds: Mapping[str, float]
    refused: Mapping[str, str]

    @property
    def words(self) -> str:
        others = [f"{name} {taken:.1f} ms" for name, taken in self.milliseconds.items() if name != self.name]
        why = f", the fastest measured here: {self.milliseconds[self.name]:.1f} ms a window"
        return f"{self.name}{why}{'; ' if others else ''}{', '.join(others)}"


class Choices:
    """Choices in one small file each.

    Args:
        folder: None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, network: str) -> Choice | None:
        """What was chosen for the network of that digest with these libraries, this processor and as many threads."""
        if self._folder is None:
            return None
        try:
            found = Choice(**json.loads(self._path(self._folder, network).read_text()))
            return found if found.words else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # not there, or damaged: measured anew
            return None

    def put(self, network: str, choice: Choice) -> None:
        if self._folder is None:
            return
        path = self._path(self._folder, network)
        draft = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps(asdict(choice)))
            draft.replace(path)
        except OSError:  # then the next start measures again
            draft.unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, network: str) -> Path:
        facts = [network, torch.get_num_threads(), os.cpu_count(), *_machine()]
        return folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}.json"


@cache
def _machine() -> tuple[str, ...]:
    """Processor and libraries."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    processor = next((line for line in lines if line.startswith("model name")), platform.processor())
    try:
        library = version("openvino")
    except PackageNotFoundError:
        library = ""
    return processor, version("torch"), library

"""Results on disk, found again by content address: npz without pickle, JSON beside the arrays.

A file holds maps and digests, no image and no patient data; its name is a hash.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.serving.types import Explanation
from explainers.types import Attribution
from models.errors import SightlineError
from models.types import Target


class ResultStore:
    """A folder of explanations, mode 0700, bounded in size.

    Args:
        limit_mb: when a new result passes it, the least recently used go.
    """

    def __init__(self, folder: Path, limit_mb: int = 2048) -> None:
        self._folder = folder
        self._limit = limit_mb * 2**20
        for level in (folder.parent, folder):
            level.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for draft in folder.glob("*.tmp"):
            draft.unlink(missing_ok=True)

    def get(self, key: str) -> Explanation | None:
        """The stored result, or None; a damaged file counts as absent and is removed."""
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = _from_arrays(dict(arrays))
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, SightlineError):
            path.unlink(missing_ok=True)
            return None
        return found

    def put(self, key: str, explanation: Explanation) -> None:
        """Write whole or not at all."""
        path = self._path(key)
        draft = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        with draft.open("wb") as file:
            np.savez_compressed(file, **_to_arrays(explanation))
        draft.replace(path)
        self._trim()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"

    def _trim(self) -> None:
        files = sorted(_stats(self._folder), key=lambda entry: entry[1])
        excess = sum(size for _, _, size in files) - self._limit
        for path, _, size in files:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _stats(folder: Path) -> Iterator[tuple[Path, float, int]]:
    """(path, time last used, bytes); a file that another session removes meanwhile is skipped."""
    for path in folder.glob("*.npz"):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        yield path, stat.st_mtime, stat.st_size


def _to_arrays(explanation: Explanation) -> dict[str, Any]:
    attribution = explanation.attribution
    facts = {
        name: getattr(attribution, name)
        for name in ("method", "title", "signed", "unit", "seed", "runtime_s", "completeness_error")
    }
    facts["params"], facts["facts"] = dict(attribution.params), dict(attribution.facts)
    facts["target"] = asdict(attribution.target)
    facts["image_shape"], facts["provenance"] = explanation.image_shape, dict(explanation.provenance)
    arrays: dict[str, Any] = {
        "values": attribution.values,
        "grid_to_image": explanation.grid_to_image,
        "facts": np.array(json.dumps(facts)),
    }
    if attribution.native is not None:
        arrays["native"] = attribution.native
    return arrays


def _from_arrays(arrays: dict[str, Any]) -> Explanation:
    facts = json.loads(str(arrays["facts"]))
    provenance, shape = facts.pop("provenance"), facts.pop("image_shape")
    target = Target(**facts.pop("target"))
    attribution = Attribution(target=target, values=arrays["values"], native=arrays.get("native"), **facts)
    return Explanation(attribution, arrays["grid_to_image"], (shape[0], shape[1]), provenance)

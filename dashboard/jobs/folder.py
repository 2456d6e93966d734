"""Results on disk, found again by content address: npz without pickle, JSON beside the arrays.

A file holds results and digests, no image and no patient data; its name is a hash. Any number of processes may share a
folder: a file appears whole or not at all, and one that another process removes is as if it had never been there.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from models.errors import SightlineError

T = TypeVar("T")
PUTS = 64  # between two looks at what other processes have put
DRAFT_S = 3600.0  # a draft this old is nobody's any more
LOW = 0.9  # share of the limit that trimming leaves


class ResultFolder(ABC, Generic[T]):
    """A folder of results of one kind, mode 0700, bounded in size. Safe to call from any thread and process.

    Args:
        limit_mb: when results pass it, the least recently used go. Each process counts what it puts and looks at
            the folder only now and then, so that several may together pass it for a while by ``PUTS`` results each.
    """

    def __init__(self, folder: Path, limit_mb: int = 2048) -> None:
        self._folder = folder
        self._limit = limit_mb * 2**20
        self._size = 0
        self._puts = 0
        self._lock = threading.Lock()
        for level in (folder.parent, folder):
            level.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for path, used, _ in _stats(folder, ".tmp"):
            if time.time() - used > DRAFT_S:
                _discard(path)

    @abstractmethod
    def pack(self, result: T) -> dict[str, Any]:
        """Arrays that hold the result; none is named ``key``."""

    @abstractmethod
    def unpack(self, arrays: dict[str, Any]) -> T:
        """What :meth:`pack` packed."""

    def get(self, key: str) -> T | None:
        """The stored result, or None; a damaged file, or another result's, counts as absent and is removed."""
        path = self._path(key)
        try:
            # In one read, so that a file which is replaced meanwhile is not read half. Zip keeps a CRC-32 of each array.
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                if str(arrays["key"]) != key:
                    raise ValueError(key)
                found = self.unpack(dict(arrays))
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, SightlineError):
            _discard(path)
            return None
        with suppress(OSError):  # trimmed since it was read
            os.utime(path)
        return found

    def put(self, key: str, result: T) -> None:
        """Write whole or not at all. Raises OSError where it cannot be written."""
        path = self._path(key)
        draft = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            with draft.open("wb") as file:
                # Not compressed: maps hardly shrink, and to inflate one takes longer than to read it.
                np.savez(file, key=np.array(key), **self.pack(result))
                size = file.tell()
            draft.replace(path)
        finally:
            _discard(draft)
        with self._lock:
            self._size += size
            due = self._puts % PUTS == 0 or self._size > self._limit
            self._puts += 1
            if due:
                self._trim()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"

    def _trim(self) -> None:
        """Count what is there, and remove the least recently used of what is too much."""
        files = sorted(_stats(self._folder, ".npz"), key=lambda entry: entry[1])
        self._size = sum(size for _, _, size in files)
        if self._size <= self._limit:
            return
        for path, _, size in files:
            if self._size <= LOW * self._limit:
                return
            _discard(path)
            self._size -= size


def _discard(path: Path) -> None:
    with suppress(OSError):  # gone already, or not a file of ours
        path.unlink()


def _stats(folder: Path, ending: str) -> Iterator[tuple[Path, float, int]]:
    """(path, time last used, bytes); a file that another process removes meanwhile is skipped."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(ending):
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Path(entry.path), facts.st_mtime, facts.st_size

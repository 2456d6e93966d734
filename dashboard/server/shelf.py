"""The model folders of a server: what changed in them, and their files for dashboards, without the weights."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dashboard.serving.protocol import Files
from models.card import CARD_FILE, ModelCard
from models.weights import sha256_of

# What cards, evaluations, pictures and notes are written in; a model folder may hold much else.
KINDS = frozenset((".toml", ".json", ".csv", ".parquet", ".npz", ".png", ".jpg", ".jpeg", ".svg", ".md", ".txt"))
LARGEST = 64 * 2**20  # bytes of one file
_Print = tuple[tuple[str, int, int], ...]  # (path inside the folder, bytes, time of the last change in ns)


class Shelf:
    """Safe to call from any thread.

    Args:
        folders: where model folders are looked for.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._digests: dict[Path, tuple[_Print, str]] = {}
        self._lock = threading.Lock()
        self._cards = self._look()

    def changed(self) -> bool:
        """Whether a card, or a file beside one, was added, changed or removed since this was last asked."""
        found = self._look()
        with self._lock:
            before, self._cards = self._cards, found
        return found != before

    def digest(self, card: ModelCard) -> str:
        """SHA-256 of the names and contents of a model's files, but for weights; read again only where they changed."""
        files = _files(card)
        seen = tuple((name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files)
        with self._lock:
            known = self._digests.get(card.folder)
        if known is None or known[0] != seen:
            digest = hashlib.sha256()
            for name, path in files:
                digest.update(f"{name}\n{sha256_of(path)}\n".encode())
            known = seen, digest.hexdigest()
            with self._lock:
                self._digests[card.folder] = known
        return known[1]

    def files(self, card: ModelCard) -> Files:
        return {name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in _files(card)}

    def _look(self) -> frozenset[tuple[Path, int]]:
        cards = [path for root in self._folders for path in (root / CARD_FILE, *root.glob(f"*/{CARD_FILE}"))]
        beside = (path for card in cards if card.is_file() for path in card.parent.iterdir())  # weights that come later
        return frozenset((path, path.lstat().st_mtime_ns) for path in beside)


def _files(card: ModelCard) -> list[tuple[str, Path]]:
    """(path inside the folder, path) in order. Drafts, links, hidden files and what dashboards do not read do not count."""
    heavy = {card.weights.file} | ({card.novelty.file} if card.novelty is not None else set())
    inside = ((path.relative_to(card.folder), path) for path in sorted(card.folder.rglob("*")))
    return [
        (name.as_posix(), path)
        for name, path in inside
        if path.is_file()
        and not path.is_symlink()
        and path.suffix.lower() in KINDS
        and path.stat().st_size <= LARGEST
        and str(name) not in heavy
        and not any(part.startswith(".") for part in name.parts)
    ]

"""Model folders of a server, without their weights, kept on this disk by digest: cards, evaluations, pictures."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath

from dashboard.serving.protocol import Files
from models.card import ModelCard, read_card
from models.errors import DataError, ModelError

KEPT_S = 30 * 86400.0  # a folder that no server has offered for so long goes
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Mirror:
    """The models of one server, as they were last seen.

    Args:
        folder: of all mirrored models; made, readable by the user alone.
        address: of the server.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._list = folder / f"{sha256(address.encode()).hexdigest()[:16]}.json"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def known(self) -> dict[str, ModelCard]:
        """Cards by id, of the last time that the server answered."""
        try:
            listed = json.loads(self._list.read_text(encoding="utf-8"))
            return {str(name): read_card(self._place(str(digest))) for name, digest in listed.items()}
        except (OSError, ValueError, AttributeError, ModelError, DataError):
            return {}

    def take(self, offered: Mapping[str, str], fetch: Callable[[str], Files]) -> dict[str, ModelCard]:
        """Cards by id of what the server offers, digests by id; what is not here yet is fetched by id.

        Raises:
            SightlineError: the server sends what is no model folder, or cannot be reached.
            OSError: the folder cannot be written.
        """
        cards = {}
        for model_id, digest in offered.items():
            place = self._place(digest)
            if not place.is_dir():
                self._write(place, fetch(model_id))
            os.utime(place)
            cards[model_id] = read_card(place)
        draft = self._list.with_suffix(f".{secrets.token_hex(4)}.tmp")
        draft.write_text(json.dumps(dict(offered)), encoding="utf-8")
        draft.replace(self._list)
        self._tidy()
        return cards

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise DataError("The server names a model folder in a way that cannot be read; update it to this version.")
        return self._folder / digest

    def _write(self, place: Path, files: Files) -> None:
        """Whole or not at all."""
        draft = place.with_name(f"{place.name}.{secrets.token_hex(4)}.tmp")
        try:
            for name, data in files.items():
                path = PurePosixPath(name)
                if path.is_absolute() or not path.parts or any(not _plain(part) for part in path.parts):
                    raise DataError(f"The server sends a file that leads out of its model's folder ({name!r}).")
                (draft / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (draft / path).write_bytes(data.tobytes())
            with suppress(OSError):  # another process was first, with the same files
                draft.replace(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _tidy(self) -> None:
        for path in self._folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _plain(part: str) -> bool:
    return part != ".." and not any(sign in part for sign in "\\:\0")

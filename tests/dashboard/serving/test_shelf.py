"""What a server sees of its model folders, and what it sends of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.server import shelf
from dashboard.server.shelf import Shelf
from models.card import find_cards
from tests.dashboard.serving.conftest import write_model


def test_weights_that_come_later_are_a_change(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "zoo" / "tiny")
    weights = folder / "weights.safetensors"
    aside = weights.rename(tmp_path / "aside")
    seen = Shelf([tmp_path / "zoo"])
    assert not seen.changed()
    aside.rename(weights)
    assert (seen.changed(), seen.changed()) == (True, False)
    write_model(tmp_path / "zoo" / "other", id="other")
    assert (seen.changed(), seen.changed()) == (True, False)


def test_dashboards_get_what_they_read_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LARGEST", 2000)
    folder = write_model(tmp_path / "zoo" / "tiny")
    for name, size in (("evaluation/roc.json", 100), ("huge.json", 3000), ("patients.db", 5), (".secret.json", 5)):
        (folder / name).write_bytes(b"x" * size)
    (folder / "link.json").symlink_to(tmp_path)
    cards, _ = find_cards([tmp_path / "zoo"])
    sent = Shelf([tmp_path / "zoo"]).files(cards["tiny"])
    assert set(sent) == {"card.toml", "evaluation/notes.txt", "evaluation/roc.json"}
    assert sent["evaluation/roc.json"].tobytes() == b"x" * 100

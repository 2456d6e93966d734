"""Models that come, change and go while the engine runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from models.errors import ModelError
from models.types import Image, Modality

MakeModel = Callable[..., Path]
GREY = Image(np.full((1, 64, 64), 0.5, np.float32), "unit interval", Modality.XRAY)


def test_a_model_comes_changes_and_goes(make_model: MakeModel, tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    root.mkdir()
    desk = Desk(LocalEngine([root]), ResultStore(tmp_path / "results"))
    engine = desk.engine
    assert not engine.cards()
    folder = make_model()
    assert not engine.cards()
    desk.rescan()
    assert engine.state("tiny") == "on disk"
    first = desk.predict("tiny", GREY)
    assert engine.state("tiny") == "loaded"
    desk.rescan()
    assert engine.state("tiny") == "loaded"  # nothing changed: the network stays
    text = (folder / "card.toml").read_text()
    (folder / "card.toml").write_text(
        text.replace("Alpha", "Omega") + '\n[calibration]\nmethod = "platt"\noffset = 2.0\n'
    )
    desk.rescan()
    assert engine.state("tiny") == "on disk"
    second = desk.predict("tiny", GREY)
    assert second.classes[0] == "Omega"
    np.testing.assert_allclose(second.probabilities, 1 / (1 + np.exp(-first.logits - 2)), rtol=1e-5)
    shutil.rmtree(folder)
    desk.rescan()
    with pytest.raises(ModelError, match="no model 'tiny'"):
        desk.predict("tiny", GREY)
    desk.close()


def test_a_model_that_was_mended_is_tried_again(make_model: MakeModel) -> None:
    folder = make_model()
    weights = folder / "weights.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    engine = LocalEngine([folder.parent])
    with pytest.raises(ModelError, match="missing"):
        engine.inspect("tiny")
    assert engine.state("tiny") == "failed"
    weights.write_bytes(data)
    engine.rescan()
    layers = {layer.name for layer in engine.inspect("tiny").layers}
    assert set(engine.layers("tiny")) <= layers
    assert engine.state("tiny") == "loaded"

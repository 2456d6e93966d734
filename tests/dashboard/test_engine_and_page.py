"""What a page asks of the engine while something else goes on, or goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest
from models.context import RunContext
from models.types import Image, Modality

MakeModel = Callable[..., Path]


@pytest.fixture
def desk(make_model: MakeModel, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(LocalEngine([make_model().parent]), ResultStore(tmp_path / "results"))
    yield made
    made.close()


def film(seed: int = 0) -> Image:
    values = np.random.default_rng(seed).random((1, 64, 64)).astype(np.float32)
    return Image(values, "unit interval", Modality.XRAY)


def asked(desk: Desk, method: str) -> ExplainRequest:
    return ExplainRequest("tiny", film(), method, desk.engine.cards()["tiny"].target("Beta"))


def test_the_page_never_waits_behind_an_explanation(desk: Desk) -> None:
    """All that a page asks for comes while another thread holds the network."""
    request = asked(desk, "occlusion")
    desk.predict(request.model_id, request.image)
    engine = desk.engine
    assert isinstance(engine, LocalEngine)
    answered: list[object] = []

    def ask() -> None:
        engine.expect(request)
        answered.extend([engine.layers("tiny"), engine.unsupported("tiny"), engine.inspect("tiny")])
        answered.extend(
            [engine.forecast("tiny", "occlusion", {}), engine.key(request), engine.how("tiny", "occlusion")]
        )
        answered.append(desk.predict("tiny", film(7)))

    with engine._devices[0].get("tiny").exact.exclusive(RunContext()):
        page = threading.Thread(target=ask)
        page.start()
        page.join(30)
        assert len(answered) == 7


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients", "occlusion"])
def test_a_model_that_cannot_be_loaded_fails_in_one_sentence(
    method: str, make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model()
    (folder / "weights.safetensors").write_bytes(b"damaged")
    broken = Desk(LocalEngine([folder.parent]), ResultStore(tmp_path / "results"))
    answer = broken.ask(asked(broken, method), "one")
    while answer.active:
        time.sleep(0.02)
        answer = broken.ask(asked(broken, method), "one")
    broken.close()
    assert answer.state == "failed"
    assert answer.message.endswith(".")

"""What every engine promises, whether it runs here or behind a server: the same answers, errors, progress and cancelling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dashboard.serving.local import LocalEngine
from dashboard.serving.types import Engine, ExplainRequest, Explanation, JudgeRequest, Verdicts
from explainers.quality.types import Verdict
from models.context import RunContext
from models.errors import Cancelled, SightlineError
from models.types import Image, Modality, Target, Window
from tests.dashboard.serving.conftest import Both

METHODS = ("grad-cam", "integrated-gradients", "occlusion")
BETA = Target("Beta", 1)


def asked(image: Image, method: str = "grad-cam", **changes: Any) -> ExplainRequest:
    return replace(ExplainRequest("tiny", image, method, BETA), **changes)


def another(seed: int) -> Image:
    values = np.random.default_rng(seed).random((1, 64, 64)).astype(np.float32)
    return Image(values, "unit interval", Modality.XRAY)


def pictures(film: Image, volume: Image) -> list[Image]:
    """Grey, colour, whole numbers, turned round, a slice with its volume, a table for a window."""
    rng = np.random.default_rng(1)
    colour = Image(rng.random((3, 30, 40)).astype(np.float32), "unit interval", Modality.DERMOSCOPY)
    whole = Image(rng.integers(0, 4096, (1, 30, 40)).astype(np.float32), "stored value", inverted=True)
    windows = (Window("as stored", 2000, 3000, "table", (0.0, 0.2, 1.0)), Window("wide", 2000.5, 4096))
    return [film, colour, whole, replace(whole, windows=windows), volume.slice(0), volume.slice(4)]


def same_map(one: Explanation, other: Explanation) -> None:
    ours, theirs = one.attribution, other.attribution
    scale = float(np.abs(theirs.values).max())
    np.testing.assert_allclose(ours.values, theirs.values, atol=2e-4 * scale)
    assert (ours.native is None) == (theirs.native is None)
    if ours.native is not None and theirs.native is not None:
        np.testing.assert_allclose(ours.native, theirs.native, atol=2e-4 * float(np.abs(theirs.native).max()))
    np.testing.assert_array_equal(one.grid_to_image, other.grid_to_image)
    assert one.image_shape == other.image_shape
    for name in ("method", "title", "target", "signed", "unit", "seed"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert dict(ours.params) == dict(theirs.params)
    assert [type(value) for value in ours.params.values()] == [type(value) for value in theirs.params.values()]
    told = [{name: text for name, text in one.provenance.items() if name != "windows by"} for one in (one, other)]
    assert told[0] == told[1]


def test_models_are_the_same_but_for_their_weights(engine: Engine, local: LocalEngine) -> None:
    ours, theirs = engine.cards(), local.cards()
    assert list(ours) == list(theirs)
    for name, card in ours.items():
        assert card.model_copy(update={"folder": theirs[name].folder}) == theirs[name]
        assert (card.folder / "evaluation" / "notes.txt").read_text() == "Measured on nothing."
        if engine is not local:
            assert not (card.folder / card.weights.file).exists()
    assert engine.faults() == local.faults()
    assert engine.faults()


def test_networks_are_described_alike(both: Both) -> None:
    for name in ("tiny", "segmenter"):
        for ask in ("layers", "unsupported", "inspect"):
            ours, theirs = both((ask, name), lambda one, ask=ask, name=name: getattr(one, ask)(name))
            assert ours == theirs


@pytest.mark.parametrize("model_id", ["tiny", "nodule", "segmenter"])
def test_scores_are_the_same(model_id: str, both: Both, film: Image, volume: Image) -> None:
    given = pictures(film, volume)
    if model_id == "nodule":
        given = given[-2:]  # it needs the spacing
    ctx = RunContext()
    for ours, theirs in zip(*both(("scores", model_id), lambda one: one.predict(model_id, given, ctx)), strict=True):
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)
        np.testing.assert_array_equal(ours.thresholds, theirs.thresholds)
        assert ours.probabilities.dtype == np.float32
        assert (ours.classes, ours.warnings, ours.distance) == (theirs.classes, theirs.warnings, theirs.distance)
        if theirs.masks is not None:
            np.testing.assert_allclose(ours.masks, theirs.masks, atol=1e-5)
    assert ctx.ticks % len(given) == 0


def test_keys_are_the_same(engine: Engine, local: LocalEngine, film: Image, volume: Image) -> None:
    for image in pictures(film, volume):
        for method in METHODS:
            assert engine.key(asked(image, method)) == local.key(asked(image, method))
    one = ExplainRequest("nodule", volume.slice(3), "occlusion", Target("Malignant", 0))
    assert engine.key(one) == local.key(one)


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_the_same(method: str, both: Both, film: Image, volume: Image) -> None:
    nodule = ExplainRequest("nodule", volume.slice(5), method, Target("Malignant", 0))
    for request in (asked(film, method), nodule)[: 1 if method == "occlusion" else 2]:  # which makes ready for seconds
        key = (request.model_id, method)
        same_map(*both(key, lambda one, request=request: one.explain(request, RunContext())))


def test_several_targets_at_once(both: Both) -> None:
    contrast = Target("Alpha", 0, "contrast", "sigmoid", "Beta", 1)
    targets = (Target("Alpha", 0), Target("Gamma", 2, "probability"), contrast)
    request = asked(another(2), "integrated-gradients", params={"steps": 9})
    for ours, theirs in zip(
        *both("several", lambda one: one.explain_targets(request, targets, RunContext())), strict=True
    ):
        same_map(ours, theirs)


def test_checks_are_the_same(both: Both, local: LocalEngine, film: Image) -> None:
    request = asked(film)
    done, _ = both("checked", lambda _: local.explain(request, RunContext()))
    mask = np.zeros((64, 64), bool)
    mask[10:30, 20:50] = True
    had = tuple(
        Verdict(name, "ok", "It was had.", 0.5) for name in ("randomisation", "stability", "road")
    )  # they take long
    question = JudgeRequest(((request, done),), {"reference: mass": mask}, {"left lung": ~mask}, (had,))
    shown: list[Verdicts] = []
    (ours,), (theirs,) = both("verdicts", lambda one: one.judge(question, RunContext(on_partial=shown.append)))
    for one, other in zip(ours, theirs, strict=True):
        assert (one.check, one.level, one.n, one.final) == (other.check, other.level, other.n, other.final)
        assert one.value == (None if other.value is None else pytest.approx(other.value, abs=1e-3))
        assert [(name, values.shape) for name, values in one.curves.items()] == [
            (name, values.shape) for name, values in other.curves.items()
        ]
    assert all(verdict.check for verdicts in shown for (one,) in [verdicts] for verdict in one)


def test_hidden_covered_and_features(both: Both, film: Image, volume: Image) -> None:
    boxes = np.array([[0, 0, 16, 16], [20, 24, 16, 16], [40, 40, 24, 24]])
    masks = list(np.random.default_rng(5).random((3, 64, 64)) > 0.7)
    plane = volume.slice(2)
    asks: dict[str, Callable[[Engine], Any]] = {
        "hidden": lambda one: one.hidden("nodule", plane, boxes, "black", None, RunContext()),
        "hidden in a slice": lambda one: one.hidden("nodule", plane, boxes, "black", (1, 2), RunContext()),
        "covered": lambda one: one.covered("tiny", film, masks, "mean", RunContext()),
        "features": lambda one: one.features("tiny", [film, another(3)], RunContext()),
    }
    for name, ask in asks.items():
        ours, theirs = both(name, ask)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_progress_rises_to_the_end_and_maps_are_shown_on_the_way(engine: Engine) -> None:
    told: list[float] = []
    shown: list[Explanation] = []
    ctx = RunContext(on_progress=told.append, on_partial=shown.append)
    request = asked(another(4), "occlusion", params={"window": 12, "stride": 2})
    found = engine.explain(request, ctx)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert all(one.attribution.values.shape == found.attribution.values.shape for one in shown)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda engine, film: engine.predict("nowhere", [film], RunContext()),
        lambda engine, film: engine.layers("nowhere"),
        lambda engine, film: engine.layers("broken"),
        lambda engine, film: engine.predict("broken", [film], RunContext()),
        lambda engine, film: engine.explain(asked(film, params={"no": 1}), RunContext()),
        lambda engine, film: engine.explain(asked(film, "occlusion", params={"window": -3}), RunContext()),
        lambda engine, film: engine.explain(asked(film, params={"layer": "no.such"}), RunContext()),
        lambda engine, film: engine.explain(asked(film, "no-method"), RunContext()),
        lambda engine, film: engine.judge(JudgeRequest(()), RunContext()),
        lambda engine, film: engine.predict("nodule", [film], RunContext()),
    ],
)
def test_errors_are_the_same(
    wrong: Callable[[Engine, Image], Any], engine: Engine, local: LocalEngine, film: Image
) -> None:
    with pytest.raises(SightlineError) as theirs:
        wrong(local, film)
    with pytest.raises(SightlineError) as ours:
        wrong(engine, film)
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))


def test_a_volume_is_refused_alike(engine: Engine, local: LocalEngine, volume: Image) -> None:
    told = []
    for one in (engine, local):
        with pytest.raises(SightlineError) as caught:
            one.predict("tiny", [volume], RunContext())
        told.append((type(caught.value), str(caught.value)))
    assert told[0] == told[1]


def test_cancelling_frees_the_device(engine: Engine) -> None:
    engine.layers("tiny")
    before = sum(one.stopped for one in engine.health().traffic)
    stop = threading.Event()
    ctx = RunContext(on_progress=lambda _: stop.set(), cancelled=stop)
    request = asked(another(6), "integrated-gradients", params={"steps": 1000})
    began = time.monotonic()
    with pytest.raises(Cancelled):
        engine.explain_targets(request, [Target("Alpha", 0), BETA, Target("Gamma", 2)], ctx)
    until = began + 20
    while sum(one.stopped for one in engine.health().traffic) == before or engine.health().waiting:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert engine.explain(asked(another(6)), RunContext()).attribution.method == "grad-cam"


def test_what_a_page_asks_again_and_again(engine: Engine, film: Image) -> None:
    engine.predict("tiny", [film], RunContext())
    until = time.monotonic() + 10
    while engine.status("tiny").pace is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert engine.state("tiny") == "loaded"
    assert engine.forecast("tiny", "occlusion", {}) > 0
    assert engine.judging_s([asked(film)]) > 0
    assert engine.how("tiny", "grad-cam") == ""
    engine.expect(asked(film, "occlusion"))
    engine.expect_many("tiny")
    assert "tiny" in [one.model_id for one in engine.health().models]
    assert engine.health().device == "cpu"
    assert engine.health().message == ""

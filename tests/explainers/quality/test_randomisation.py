"""Which methods survive random weights, and how the answer is stored and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from explainers import get
from explainers.passes import Passes
from explainers.quality.randomisation import (
    FILE,
    Randomisation,
    RandomisationResult,
    StoredRandomisation,
    measure,
    stored,
)
from explainers.quality.types import Evidence, Subject, Verdict
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, ExplainError
from tests.explainers.quality.nets import SIZE, Stack, as_images, handle_of, pictures, trained
from tests.explainers.quality.stand_ins import EdgeDetector, GuidedBackprop
from tests.explainers.support import explain, prepared_input, smooth_net

LAYER = {"layer": "blocks.5"}
METHODS = [(GuidedBackprop(), {}), (EdgeDetector(), {}), (get("saliency"), {}), (get("grad-cam"), LAYER)]


@pytest.fixture(scope="module")
def net() -> Stack:
    return trained()


@pytest.fixture
def folder(make_model: Callable[..., Path]) -> Path:
    size = {"height": SIZE, "width": SIZE, "modality": ["x-ray"], "mean": [0.5] * 3, "std": [0.25] * 3}
    return make_model(input=size)


@pytest.fixture(scope="module")
def results() -> dict[str, RandomisationResult]:
    """Filled by the first test that measures."""
    return {}


def _measured(net: Stack, folder: Path, found: dict[str, RandomisationResult]) -> dict[str, RandomisationResult]:
    """Measured once for all tests of this file."""
    if not found:
        handle = handle_of(net, folder)
        for step in measure(handle, as_images(pictures(8, 5)[0]), METHODS, RunContext(), copies=2):
            found.update(step)
    return found


def test_what_follows_the_picture_fails_and_gradients_pass(
    net: Stack, folder: Path, results: dict[str, RandomisationResult]
) -> None:
    found = _measured(net, folder, results)
    levels = {name: result.level for name, result in found.items()}
    assert levels["guided-backprop"] == "fails"
    assert levels["edges"] == "fails"
    assert levels["saliency"] == "ok"
    assert levels["grad-cam"] in ("ok", "weak")
    edges = found["edges"]
    assert edges.upper_third.ssim["absolute"].mean == pytest.approx(1.0)
    assert found["grad-cam"].margin.mean is not None
    assert found["grad-cam"].margin.mean > 0


def test_stages_and_counts(net: Stack, folder: Path, results: dict[str, RandomisationResult]) -> None:
    saliency = _measured(net, folder, results)["saliency"]
    names = ["head", *(f"blocks.{number}" for number in range(5, -1, -1))]
    assert [stage.stage for stage in saliency.cascade] == names
    assert [stage.depth for stage in saliency.cascade] == pytest.approx([number / 7 for number in range(1, 8)])
    assert [stage.stage for stage in saliency.similarities if stage.mode == "independent"] == names[1:]
    assert saliency.upper_third.stage == "blocks.4"  # three of seven
    assert all(stage.ssim["absolute"].n == 8 for stage in saliency.similarities)
    assert saliency.pairs["absolute"].n == 28  # all pairs of eight maps, fewer than fifty
    margin = saliency.pairs["absolute"].mean - saliency.cascade[-1].ssim["absolute"].mean
    assert saliency.margin.mean == pytest.approx(margin)


def test_dear_methods_are_measured_at_few_stages(net: Stack, folder: Path) -> None:
    params = get("integrated-gradients").spec.resolve({"steps": 9})
    *_, found = measure(
        handle_of(net, folder),
        as_images(pictures(5, 6)[0]),
        [(get("integrated-gradients"), params)],
        RunContext(),
        copies=1,
    )
    (result,) = found.values()
    assert [stage.stage for stage in result.cascade] == ["head", "blocks.4", "blocks.0"]
    assert len(result.similarities) == 3


def test_the_network_is_left_as_it_was_and_work_can_be_stopped(net: Stack, folder: Path) -> None:
    handle, images = handle_of(net, folder), as_images(pictures(5, 7)[0])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ctx = RunContext()
    steps = measure(handle, images, [(get("saliency"), {})], ctx, copies=1)
    next(steps)
    ctx.cancel()
    with pytest.raises(Cancelled):
        next(steps)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with pytest.raises(ExplainError, match="5 images or more"):
        next(measure(handle, images[:4], [(get("saliency"), {})], RunContext()))


def _stored(card: ModelCard, methods: dict[str, RandomisationResult], **changes: str) -> None:
    fields = {"model": card.id, "weights_sha256": card.weights.sha256, "source": "tests"} | changes
    made = StoredRandomisation(images=8, copies=2, seed=0, methods=methods, **fields)
    (card.folder / "evaluation").mkdir(exist_ok=True)
    (card.folder / FILE).write_text(made.model_dump_json())


def _verdict(method: str, card: ModelCard | None, **params: str) -> Verdict:
    given, module = prepared_input(), smooth_net()
    (made,) = explain("grad-cam", module, given)
    made = type(made)(**{**vars(made), "method": method, "params": params})
    subject = Subject(given, made.target, Passes(module, RunContext()), card=card)
    (verdict,) = Randomisation().run(Evidence(subject, made, lambda _: made))
    return verdict


def test_the_check_answers_from_what_is_stored(
    net: Stack, folder: Path, results: dict[str, RandomisationResult]
) -> None:
    card = handle_of(net, folder).card
    assert not stored(card)
    missing = _verdict("saliency", card)
    assert missing.level == "not assessable"
    assert "python -m" in missing.sentence
    assert card.id in missing.sentence
    found = _measured(net, folder, results)
    _stored(card, found)
    assert stored(card)["saliency"] == found["saliency"]
    for name in ("edges", "guided-backprop", "saliency"):
        verdict = _verdict(name, card)
        assert verdict.level == found[name].level
        assert verdict.value == found[name].margin.mean
        assert verdict.n == 8
        assert len(verdict.curves["structural similarity, absolute"]) == 7
    assert "looks the same" in _verdict("edges", card).sentence
    assert _verdict("grad-cam", card, layer="blocks.5").level == found["grad-cam"].level
    assert "layer blocks.5 only" in _verdict("grad-cam", card, layer="blocks.2").sentence
    assert _verdict("saliency", None).level == "not assessable"


def test_what_belongs_to_other_weights_or_is_damaged_is_not_read(
    net: Stack, folder: Path, results: dict[str, RandomisationResult]
) -> None:
    card = handle_of(net, folder).card
    _stored(card, _measured(net, folder, results), weights_sha256="0" * 64)
    assert not stored(card)
    for text in ("{", "[]", json.dumps({"methods": 1}), "\udcff"):
        (card.folder / FILE).write_bytes(text.encode(errors="surrogateescape"))
        assert not stored(card)


def test_a_map_that_is_the_same_for_every_class_is_weak(
    net: Stack, folder: Path, results: dict[str, RandomisationResult]
) -> None:
    found = _measured(net, folder, results)
    saliency, edges = found["saliency"], found["edges"]
    first = saliency.cascade[0].model_copy(update={"ssim": edges.cascade[0].ssim})
    changed = saliency.model_copy(update={"similarities": (first, *saliency.similarities[1:])})
    assert saliency.level == "ok"
    assert changed.level == "weak"
    card = handle_of(net, folder).card
    _stored(card, {"saliency": changed})
    assert "another class" in _verdict("saliency", card).sentence
    assert np.isfinite(_verdict("saliency", card).curves["rank correlation, signed"]).all()

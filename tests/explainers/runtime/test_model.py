"""The prepared network against plain calls of it: the same maps, fewer passes, bounded memory, quick to stop."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explainers import EXPLAINERS, get
from explainers.passes import Passes
from explainers.runtime import openvino
from explainers.runtime.choices import Choices
from explainers.runtime.hidden import OPENVINO, PLAIN, REGIONS, Ways
from explainers.runtime.model import PreparedModel
from explainers.runtime.regions import Regions
from explainers.types import Attribution
from models.card import read_card
from models.context import RunContext
from models.errors import Cancelled
from models.handle import ModelHandle
from models.preprocess import Prepared
from models.types import Image, Modality, Target
from tests.explainers.support import QUICK, assert_close_to_range

MakeModel = Callable[..., Path]
TARGETS = [Target("Alpha", 0), Target("Beta", 1, "probability", "sigmoid"), Target("Gamma", 2)]


@pytest.fixture
def model(make_model: MakeModel) -> Iterator[PreparedModel]:
    made = PreparedModel(ModelHandle.load(read_card(make_model())))
    yield made
    made.close()


def film(seed: int = 0) -> Image:
    values = np.random.default_rng(seed).random((1, 64, 64)).astype(np.float32)
    return Image(values, "1", Modality.XRAY)


def run(
    model: PreparedModel, method: str, prepared: Prepared, targets: Sequence[Target], **given: object
) -> tuple[tuple[Attribution, ...], RunContext]:
    explainer = get(method)
    params = explainer.spec.resolve(QUICK.get(method, {}) | given)
    if "layer" in params:
        params["layer"] = model.layers[0]
    ctx = RunContext(explainer.spec.cost(params, prepared.grid_shape))
    with model.passes(ctx) as passes:
        return explainer.explain(passes, prepared, targets, params, 0), ctx


def plainly(model: PreparedModel, method: str, prepared: Prepared, targets: Sequence[Target]) -> list[Attribution]:
    """By plain calls of the network as it was loaded, one target at a time."""
    explainer = get(method)
    params = explainer.spec.resolve(QUICK.get(method, {}))
    if "layer" in params:
        params["layer"] = model.layers[0]
    with model.exact.exclusive(RunContext()) as module:
        return [explainer.explain(Passes(module, RunContext()), prepared, [t], params, 0)[0] for t in targets]


@pytest.mark.parametrize("method", EXPLAINERS.ids())
def test_maps_are_those_of_plain_calls_of_the_network(method: str, model: PreparedModel) -> None:
    prepared = model.exact.prepare(film())
    found, ctx = run(model, method, prepared, TARGETS)
    assert ctx.ticks == ctx.total
    for one, expected in zip(found, plainly(model, method, prepared, TARGETS), strict=True):
        assert one.target == expected.target
        # Small random networks have small effects: rounding of the scores is then up to 1e-4 of a map.
        assert_close_to_range(one.values, expected.values, 1e-4 if method == "occlusion" else 1e-5)


def forwards(module: nn.Module, seen: list[int]) -> torch.utils.hooks.RemovableHandle:
    return module.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))


def test_scores_leave_behind_what_the_maps_of_every_class_need(model: PreparedModel) -> None:
    seen: list[int] = []
    assert model.layers
    assert model.gradient_batch == 8
    handles = [forwards(model._folded._module, seen), forwards(model.exact._module, seen)]
    image = film()
    (prediction,) = model.predict([image], RunContext())
    assert seen == [1]
    found, _ = run(model, "grad-cam", model.exact.prepare(image), TARGETS)
    more, _ = run(model, "layer-cam", model.exact.prepare(image), TARGETS)
    assert seen == [1]
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose([float(one.facts["score"]) for one in more[::2]], prediction.logits[::2], rtol=1e-3)
    other, _ = run(model, "grad-cam", model.exact.prepare(film(5)), TARGETS)
    assert np.abs(other[0].values - found[0].values).max() > 1e-3


def test_several_targets_share_the_forward_passes(model: PreparedModel) -> None:
    seen: list[int] = []
    assert model.layers
    assert model.gradient_batch == 8
    handle = forwards(model.exact._module, seen)
    run(model, "integrated-gradients", model.exact.prepare(film()), TARGETS, rule="midpoint", steps=24)
    handle.remove()
    assert sum(seen) == 24


def test_occlusion_of_a_further_class_passes_no_window_again(model: PreparedModel) -> None:
    prepared = model.exact.prepare(film())
    given = {"window": 8, "stride": 4}
    (first, second), _ = run(model, "occlusion", prepared, TARGETS[:2], **given)
    asked: list[int] = []
    for name, way in model._ways._ways.items():
        model._ways._ways[name] = lambda *given, way=way: (asked.append(1), way(*given))[1]
    (third, again), ctx = run(model, "occlusion", prepared, [TARGETS[2], TARGETS[0]], **given)
    assert not asked
    assert ctx.ticks == ctx.total
    assert again.values.tobytes() == first.values.tobytes()
    assert np.abs(third.values - second.values).max() > 0
    run(model, "occlusion", prepared, TARGETS[:1], fill="black", **given)
    assert asked


@pytest.mark.parametrize("way", [PLAIN, REGIONS, OPENVINO])
def test_a_map_does_not_depend_on_what_else_was_asked(
    way: str, model: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, after another class, together with it, or after a run that was stopped: the same bytes."""
    if way == OPENVINO and not openvino.available().ok:
        pytest.skip(openvino.available().reason)
    model.start()
    model.close()
    monkeypatch.setattr(Ways, "best", lambda ways, *_: ways._ways[way])
    prepared, given = model.exact.prepare(film()), {"window": 8, "stride": 4}
    (alone,), _ = run(model, "occlusion", prepared, TARGETS[:1], **given)
    model.forget()
    run(model, "occlusion", prepared, TARGETS[2:], **given)
    (after,), _ = run(model, "occlusion", prepared, TARGETS[:1], **given)
    model.forget()
    together, _ = run(model, "occlusion", prepared, TARGETS[::-1], **given)
    model.forget()
    stopping = RunContext(226, lambda done: stopping.cancel() if done > 0.5 else None)
    with pytest.raises(Cancelled), model.passes(stopping) as passes:
        get("occlusion").explain(passes, prepared, TARGETS[1:], get("occlusion").spec.resolve(given), 0)
    (resumed,), _ = run(model, "occlusion", prepared, TARGETS[:1], **given)
    assert alone.values.tobytes() == after.values.tobytes() == together[2].values.tobytes() == resumed.values.tobytes()


def test_a_coarse_map_comes_first_and_the_complete_one_does_not_depend_on_it(model: PreparedModel) -> None:
    prepared, explainer = model.exact.prepare(film()), get("occlusion")
    params = explainer.spec.resolve({"window": 8, "stride": 4})
    shown: list[tuple[int, Attribution]] = []
    ctx = RunContext()
    with model.passes(ctx, lambda partial: shown.append((ctx.ticks, partial[0]))) as passes:
        (complete,) = explainer.explain(passes, prepared, TARGETS[:1], params, 0)
    windows = 15 * 15
    ticks, coarse = shown[0]
    assert ticks <= 0.1 * windows + 1 + 16  # the image itself, and a batch begun
    assert coarse.facts["windows"] == f"{ticks - 1} of {windows}"
    assert complete.facts["windows"] == str(windows)
    assert [int(one.facts["windows"].split()[0]) for _, one in shown] == sorted({t - 1 for t, _ in shown})
    closer = [float(np.corrcoef(one.values.ravel(), complete.values.ravel())[0, 1]) for _, one in shown]
    assert closer[0] > 0.2
    assert closer[-1] > max(0.9, closer[0])
    expected = plain_occlusion(model, prepared, params)
    assert_close_to_range(complete.values, expected, 1e-4)


def plain_occlusion(model: PreparedModel, prepared: Prepared, params: dict) -> np.ndarray:
    with model.exact.exclusive(RunContext()) as module:
        passes = Passes(module, RunContext())
        return get("occlusion").explain(passes, prepared, TARGETS[:1], params, 0)[0].values


class Slow(nn.Module):
    """Twenty layers of 5 ms each, forwards and backwards, counted."""

    passed = 0

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.full((1,), 1.01))

        def forward(self, given: Tensor) -> Tensor:
            Slow.work()
            out = given * self.factor
            if out.requires_grad:
                out.register_hook(lambda _: Slow.work())
            return out

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Slow.Layer() for _ in range(20)))
        self.head = nn.Conv2d(3, 3, 3)

    @staticmethod
    def work() -> None:
        Slow.passed += 1
        time.sleep(0.005)

    def forward(self, given: Tensor) -> Tensor:
        return self.head(self.layers(given)).mean(dim=(2, 3))


@pytest.mark.parametrize("method", ["integrated-gradients", "smooth-grad", "occlusion"])
def test_cancelling_stops_at_the_next_layer(method: str, model: PreparedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are counted, not milliseconds, which a busy machine stretches."""
    monkeypatch.setattr(Ways, "best", lambda ways, *_: ways._ways[PLAIN])  # the others do not run these layers
    handle = ModelHandle(model.card.model_copy(update={"target_layers": ("head",)}), Slow())
    slow = PreparedModel(handle)
    prepared = slow.exact.prepare(film())
    cancelled = threading.Event()
    ctx, explainer = RunContext(cancelled=cancelled), get(method)
    long = {
        "integrated-gradients": {"rule": "midpoint", "steps": 900},
        "smooth-grad": {"samples": 500},
        "occlusion": {"window": 4, "stride": 2},
    }
    ended: list[int] = []

    def work() -> None:
        with pytest.raises(Cancelled), slow.passes(ctx) as passes:
            explainer.explain(passes, prepared, TARGETS[:1], explainer.spec.resolve(long[method]), 0)
        ended.append(Slow.passed)

    thread = threading.Thread(target=work)
    begun = Slow.passed
    thread.start()
    while Slow.passed < begun + 30:
        time.sleep(0.001)
    cancelled.set()
    at = Slow.passed
    thread.join(20)
    assert ended[0] - at <= 2
    slow.close()


def test_the_forecast_learns_from_what_passes_took(model: PreparedModel) -> None:
    spec = get("smooth-grad").spec
    before = model.pace.forecast(spec, spec.resolve({"samples": 100}))
    assert before > 0
    for _ in range(20):
        model.took("gradient", 4.0, 8)  # half a second an input
    assert model.pace.forecast(spec, spec.resolve({"samples": 100})) == pytest.approx(50, rel=0.05)
    assert model.pace.forecast(spec, spec.resolve({"samples": 100}), targets=4) == pytest.approx(150, rel=0.05)
    model.took("gradient", 1.0, 1)  # a remainder, with all that a batch costs besides
    assert model.pace.forecast(spec, spec.resolve({"samples": 100})) < 60


def test_the_way_is_measured_once_and_kept(make_model: MakeModel, tmp_path: Path) -> None:
    handle = ModelHandle.load(read_card(make_model()))
    first = PreparedModel(handle, Choices(tmp_path / "choices"))
    prepared = handle.prepare(film())
    (found,), _ = run(first, "occlusion", prepared, TARGETS[:1])
    first.close()
    (file,) = (tmp_path / "choices").iterdir()
    assert first.choice is not None
    assert len(first.choice.milliseconds) >= 2  # torch and the changed regions at least
    again = PreparedModel(handle, Choices(tmp_path / "choices"))
    (same,), _ = run(again, "occlusion", prepared, TARGETS[:1])
    again.close()
    assert again.choice == first.choice
    assert set(again._ways._ways) == {PLAIN, first.choice.name}  # nothing else was made ready
    assert same.values.tobytes() == found.values.tobytes()
    file.write_text("{")
    third = PreparedModel(handle, Choices(tmp_path / "choices"))
    run(third, "occlusion", prepared, TARGETS[:1])
    third.close()
    assert third.choice is not None
    assert json.loads(file.read_text())["name"] == third.choice.name


def test_a_network_that_nothing_can_make_ready_is_called_plainly(
    model: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a library's fault")

    monkeypatch.setattr(Regions, "trace", fail)
    monkeypatch.setattr(openvino, "compile", fail)
    prepared = model.exact.prepare(film())
    (found,), _ = run(model, "occlusion", prepared, TARGETS[:1])
    assert model.choice is not None
    assert model.choice.name == PLAIN
    assert model.choice.refused == {REGIONS: "It failed (RuntimeError).", OPENVINO: "It failed (RuntimeError)."}
    assert_close_to_range(found.values, plainly(model, "occlusion", prepared, TARGETS[:1])[0].values, 1e-4)


def test_a_method_may_use_the_graph_and_leaves_it_whole(model: PreparedModel) -> None:
    image = film()
    model.predict([image], RunContext())
    prepared = model.exact.prepare(image)
    (before,), _ = run(model, "grad-cam", prepared, TARGETS[:1])
    with model.passes(RunContext()) as passes:
        captured = passes.layer(model.default_layer, prepared.tensor, True)
        first, again = captured.gradient(TARGETS[0]), captured.gradient(TARGETS[0])
        assert first[1] is not None
        assert again[1] is not None
        assert torch.equal(first[1], again[1])
        assert not captured.output.requires_grad
    (after,), _ = run(model, "grad-cam", prepared, TARGETS[:1])
    assert after.values.tobytes() == before.values.tobytes()


def test_a_box_over_the_edge_hides_the_part_inside(model: PreparedModel) -> None:
    prepared = model.exact.prepare(film())
    fill = torch.zeros_like(prepared.tensor)
    over, inside = np.array([[-8, -4, 16, 16]]), np.array([[0, 0, 8, 12]])
    with model.passes(RunContext()) as passes:
        one, other = passes.hidden(prepared.tensor, fill, over), passes.hidden(prepared.tensor, fill, inside)
        clean = passes.logits(prepared.tensor)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert (one - clean).abs().max() > 1e-4


def test_only_the_way_chosen_is_kept(model: PreparedModel) -> None:
    run(model, "occlusion", model.exact.prepare(film()), TARGETS[:1])
    assert model.choice is not None
    assert set(model._ways._ways) == {PLAIN, model.choice.name}
    assert len(model.choice.milliseconds) >= 2

"""One engine for many sessions: shared passes, work set aside on the same network, networks let go by bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import dashboard.serving.devices as devices
from dashboard.serving.devices import Device
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest, Explanation
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.handle import ModelHandle
from models.types import Image, Modality, Prediction

MakeModel = Callable[..., Path]


def film(seed: int, size: int = 64) -> Image:
    return Image(np.random.default_rng(seed).random((1, size, size)).astype(np.float32), "unit interval", Modality.XRAY)


def volume() -> Image:
    return Image(np.zeros((1, 3, 8, 8), np.float32), "unit interval", Modality.XRAY)


@pytest.fixture
def engine(make_model: MakeModel) -> Iterator[LocalEngine]:
    make_model("second", id="second")
    made = LocalEngine([make_model().parent])
    yield made
    made.close()


def device(engine: LocalEngine) -> Device:
    return engine._devices[0]


def asked_together(engine: LocalEngine, images: Sequence[Image]) -> list[Prediction | Exception]:
    """Everybody asks while the device is held, so that all wait together."""
    answers: list[Prediction | Exception | None] = [None] * len(images)

    def ask(place: int) -> None:
        try:
            (answers[place],) = engine.predict("tiny", [images[place]], RunContext(session=str(place)))
        except Exception as error:
            answers[place] = error

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(images))]
    with device(engine).turns.turn(RunContext(), "other"):
        for thread in threads:
            thread.start()
        while device(engine).turns.waiting < len(images):
            time.sleep(0.005)
    for thread in threads:
        thread.join(30)
    assert None not in answers
    return answers  # type: ignore[return-value]


def test_scores_that_wait_together_share_a_pass(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [film(seed) for seed in range(11)]
    alone = [engine.predict("tiny", [image], RunContext())[0] for image in images]
    sizes: list[int] = []
    model = device(engine).get("tiny")
    assert model is not None

    def counting(given: Sequence[Image], ctx: RunContext) -> tuple[Prediction, ...]:
        sizes.append(len(given))
        return model.predict(given, ctx)

    monkeypatch.setattr(model.shared, "_score", counting)
    found = asked_together(engine, images)
    assert sorted(sizes) == [3, 8]
    for one, other in zip(found, alone, strict=True):
        assert isinstance(one, Prediction)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)


def test_one_bad_picture_among_those_that_share_a_pass_fails_alone(engine: LocalEngine) -> None:
    engine.predict("tiny", [film(0)], RunContext())
    found = asked_together(engine, [film(1), volume(), film(2)])
    assert [type(one) for one in found] == [Prediction, DataError, Prediction]


def same(one: Explanation, other: Explanation) -> bool:
    return one.attribution.values.tobytes() == other.attribution.values.tobytes()


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients", "smooth-grad", "grad-cam"])
def test_work_set_aside_for_other_work_on_the_same_network_gives_the_same_map(
    method: str, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every place where a session may be set aside, another explains another picture on the same network."""
    target = engine.cards()["tiny"].target("Beta")
    ours = ExplainRequest("tiny", film(1), method, target, {"window": 16, "stride": 8} if method == "occlusion" else {})
    others = [
        ExplainRequest("tiny", film(2), name, target) for name in ("grad-cam", "integrated-gradients", "occlusion")
    ]
    expected = engine.explain(ours, RunContext())
    expected_others = [engine.explain(other, RunContext()) for other in others]
    monkeypatch.setattr("dashboard.serving.turns.QUANTUM_S", 0.0)
    again: list[Explanation] = []
    ended = threading.Event()

    def disturb() -> None:
        while not ended.is_set() and len(again) < 60:
            for other in others:
                again.append(engine.explain(other, RunContext(session="other")))

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        found = [engine.explain(ours, RunContext(session="ours")) for _ in range(3)]
    finally:
        ended.set()
        disturber.join(60)
    assert all(same(one, expected) for one in found)
    assert again
    assert all(same(one, expected_others[index % len(others)]) for index, one in enumerate(again))


def test_a_second_readers_map_comes_before_the_end_of_a_long_one(engine: LocalEngine) -> None:
    target = engine.cards()["tiny"].target("Beta")
    engine.explain(ExplainRequest("tiny", film(1), "occlusion", target), RunContext())
    stop, begun = threading.Event(), threading.Event()
    long = RunContext(session="first", cancelled=stop, on_progress=lambda share: begun.set())
    outcome: list[str] = []

    def occlude() -> None:
        try:
            engine.explain(ExplainRequest("tiny", film(1), "occlusion", target, {"window": 8, "stride": 1}), long)
            outcome.append("done")
        except Cancelled:
            outcome.append("stopped")

    thread = threading.Thread(target=occlude)
    thread.start()
    assert begun.wait(20)
    engine.explain(ExplainRequest("tiny", film(2), "grad-cam", target), RunContext(session="second"))
    assert outcome == []
    stop.set()
    thread.join(20)
    assert outcome == ["stopped"]
    health = engine.health()
    assert health.waiting == 0
    done = {(one.kind, one.stopped > 0) for one in health.traffic if one.kind == "explanation"}
    assert ("explanation", True) in done


def test_the_network_longest_unused_goes_first(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.predict("tiny", [film(0)], RunContext())
    weights = sum(parameter.numel() * 4 for parameter in ModelHandle.load(engine.cards()["tiny"]).copied().parameters())
    (loaded,) = engine.health().models
    assert 2 * weights <= loaded.bytes <= 3 * weights  # as given, folded; buffers beside
    monkeypatch.setattr(device(engine), "_limit", loaded.bytes)
    engine.predict("second", [film(0)], RunContext())
    assert [model.model_id for model in engine.health().models] == ["second"]
    assert engine.state("tiny") == "on disk"
    with device(engine).using(engine.cards()["second"]):  # at work: the limit waits
        engine.predict("tiny", [film(0)], RunContext())
        assert {model.model_id for model in engine.health().models} == {"second", "tiny"}
    engine.layers("tiny")
    assert [model.model_id for model in engine.health().models] == ["tiny"]


def test_where_memory_runs_out_while_loading_idle_networks_make_room(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.predict("tiny", [film(0)], RunContext())
    load, failures = ModelHandle.load, [torch.OutOfMemoryError("full")]

    def once_full(card: object, name: str = "cpu") -> ModelHandle:
        if failures:
            raise failures.pop()
        return load(card, name)  # type: ignore[arg-type]

    monkeypatch.setattr(devices.ModelHandle, "load", once_full)
    engine.predict("second", [film(0)], RunContext())
    assert [model.model_id for model in engine.health().models] == ["second"]


def test_what_work_has_freed_is_given_back_soon_after_and_not_each_time(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(devices, "REST_S", 0.3)
    monkeypatch.setattr(devices, "give_back", lambda: given.append(time.monotonic()))
    for expected in (1, 2):
        for _ in range(3):
            engine.predict("tiny", [film(0)], RunContext())
        until = time.monotonic() + 20
        while len(given) < expected and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.4)
    assert len(given) in (2, 3)  # six pieces of work; three of them may have taken longer than 0.3 s
    engine.predict("tiny", [film(0)], RunContext())
    engine.close()
    time.sleep(0.4)
    assert len(given) in (2, 3)


def test_two_devices_share_the_work(make_model: MakeModel) -> None:
    engine = LocalEngine([make_model().parent], "cpu,cpu")
    first, second = engine._devices
    engine.predict("tiny", [film(0)], RunContext())
    assert (first.get("tiny") is None) != (second.get("tiny") is None)
    busy = first if first.get("tiny") is not None else second
    waiting = []
    with busy.turns.turn(RunContext(), "other"):
        for _ in range(2):  # two wait for the device that has the network: the other is now the quicker one
            thread = threading.Thread(target=lambda: engine.predict("tiny", [film(1)], RunContext()))
            thread.start()
            waiting.append(thread)
        while busy.turns.waiting < 2:
            time.sleep(0.005)
        engine.predict("tiny", [film(2)] * 5, RunContext())
        assert first.get("tiny") is not None
        assert second.get("tiny") is not None
    for thread in waiting:
        thread.join(20)
    engine.close()


def test_the_books_count_what_was_done_and_how_long_it_took(engine: LocalEngine) -> None:
    engine.predict("tiny", [film(0)], RunContext())
    engine.predict("tiny", [film(seed) for seed in range(9)], RunContext())
    with pytest.raises(DataError):
        engine.predict("tiny", [volume()], RunContext())
    scores = [one for one in engine.health().traffic if one.kind == "scores"]
    assert sum(one.done for one in scores) == 2
    assert sum(one.failed for one in scores) == 1
    assert sum(one.inputs for one in scores) == 10
    assert sum(sum(one.took) for one in scores) == 2

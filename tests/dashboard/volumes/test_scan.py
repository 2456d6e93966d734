"""Whole volumes scored and explained: what the Case page would give, in a good order, found again, readers first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dashboard.volumes.scan as scan_module
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from dashboard.serving.turns import Turns
from dashboard.serving.types import ExplainRequest
from dashboard.volumes.depth import explain_around, hide_blocks, over_neighbours
from dashboard.volumes.desk import VolumeAnswer, VolumeDesk
from dashboard.volumes.scan import explain_slices, steps_needed
from dashboard.volumes.scores import score_slices
from dashboard.volumes.types import VolumeRequest, VolumeResult
from explainers.passes import Passes
from explainers.runtime.hidden import Ways
from explainers.volume import VOLUME_OCCLUSION, VolumeGrid, hide, occlude
from models.context import RunContext
from models.errors import Cancelled, DataError, ExplainError
from models.handle import ModelHandle
from models.types import Geometry, Image

Segmenter = Callable[..., Path]


@pytest.fixture
def zoo(segmenter: Segmenter, nodule_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Ways, "_make", lambda self: None)  # compiled for each test anew
    return segmenter().parent


@pytest.fixture
def desk(zoo: Path, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(LocalEngine([zoo]), ResultStore(tmp_path / "results"))
    yield made
    made.close()


def request_of(
    desk: Desk, image: Image, kind: str = "slices", model: str = "segmenter", **changes: object
) -> VolumeRequest:
    card = desk.engine.cards()[model]
    made = VolumeRequest(model, image, card.target(card.classes[0]), kind, "grad-cam", range(image.depth), 2)  # type: ignore[arg-type]
    return replace(made, **changes)  # type: ignore[arg-type]


def test_slices_are_scored_as_one_by_one(desk: Desk, ct_volume: Image) -> None:
    shown: list[int] = []
    ctx = RunContext()
    found = score_slices(desk, "segmenter", ct_volume, "me", ctx, lambda part: shown.append(part.known))
    handle = ModelHandle.load(desk.engine.cards()["segmenter"])
    alone = [handle.predict([ct_volume.slice(index)])[0] for index in range(7)]
    np.testing.assert_allclose(found.logits, [one.logits for one in alone], atol=1e-5)
    np.testing.assert_allclose(found.probabilities, [one.probabilities for one in alone], atol=1e-5)
    assert (found.highest(1), found.known, ctx.ticks) == (int(np.argmax([one.probabilities[1] for one in alone])), 7, 7)
    for index in range(2):
        mask = found.mask(index, 50)
        assert mask is not None
        assert mask.shape == (7, 40, 50)
        differing = (mask != np.stack([one.found[index] for one in alone])).mean()
        assert differing < 1e-3  # pixels at the threshold itself
    assert shown == [7]


def test_each_slice_is_explained_as_on_the_case_page_and_found_again(
    desk: Desk, zoo: Path, ct_volume: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(desk, ct_volume, slices=range(0, 7, 2))
    result = explain_slices(desk, request, "me", RunContext())
    assert result.complete
    assert result.map is not None
    strengths = []
    for number, index in enumerate(request.slices):
        one = ExplainRequest("segmenter", ct_volume.slice(index), "grad-cam", request.target)
        answer = desk.ask(one, "a reader")
        assert answer.explanation is not None
        np.testing.assert_array_equal(result.map.values[number], answer.explanation.attribution.values[0])
        corner = result.map.grid_to_image @ [3, 5, number, 1]
        np.testing.assert_allclose(corner[:2], (answer.explanation.grid_to_image @ [3, 5, 1])[:2])
        assert corner[2] == index
        rows, columns = np.indices(result.map.values[number].shape)
        x, y, _ = np.tensordot(answer.explanation.grid_to_image, [columns, rows, np.ones_like(rows)], axes=1)
        on_image = (x >= -0.5) & (x <= 49.5) & (y >= -0.5) & (y <= 39.5)
        assert not on_image.all()  # a letterbox
        strengths.append(np.maximum(result.map.values[number], 0)[on_image].sum(dtype=np.float64))
    np.testing.assert_allclose(result.mass[::2], np.array(strengths) / sum(strengths), rtol=1e-5)
    assert np.isnan(result.mass[1::2]).all()

    later = Desk(LocalEngine([zoo]), ResultStore(tmp_path / "results"))
    monkeypatch.setattr(later.engine, "explain", lambda *_: pytest.fail("computed again"))
    again = explain_slices(later, request, "me", RunContext())
    later.close()
    assert again.map is not None
    np.testing.assert_array_equal(again.map.values, result.map.values)


def test_the_slice_shown_comes_first_then_the_highest_scores_and_results_are_shown_on_the_way(
    desk: Desk, ct_volume: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[int] = []
    own = desk.in_turn
    monkeypatch.setattr(desk, "in_turn", lambda one, *rest: order.append(one.image.within[1]) or own(one, *rest))
    shown: list[VolumeResult] = []
    ctx = RunContext()
    result = explain_slices(desk, request_of(desk, ct_volume, model="nodule"), "me", ctx, shown.append)
    scores = result.scores.probabilities[:, 0]
    assert order == [2, *(index for index in np.argsort(-scores, kind="stable").tolist() if index != 2)]
    first = shown[0]
    assert (first.done, first.of, first.scores.known) == (1, 7, 0)
    assert first.map is not None
    assert first.map.known.tolist() == [index == 2 for index in range(7)]
    assert np.isnan(first.map.values[[0, 1, 3]]).all()
    assert np.isfinite(first.map.values[2]).all()
    assert first.mass[2] == 1
    assert [part.done for part in shown] == sorted(part.done for part in shown)
    assert ctx.ticks == ctx.total == 14


def test_a_map_that_would_not_fit_is_refused_with_a_way_out(
    desk: Desk, ct_volume: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "MOST_VALUES", 3 * 48 * 48)
    card = desk.engine.cards()["nodule"]
    assert steps_needed(ct_volume, card) == 3
    with pytest.raises(DataError, match="one slice in 3"):
        explain_slices(desk, request_of(desk, ct_volume, model="nodule"), "me", RunContext())
    assert explain_slices(
        desk, request_of(desk, ct_volume, model="nodule", slices=range(0, 7, 3)), "me", RunContext()
    ).complete


def until(volumes: VolumeDesk, request: VolumeRequest, ready: Callable[[VolumeAnswer], bool]) -> VolumeAnswer:
    for _ in range(2000):
        answer = volumes.ask(request, "me")
        if ready(answer):
            return answer
        time.sleep(0.01)
    raise TimeoutError


def test_work_on_a_volume_can_be_stopped_kept_and_taken_up(
    desk: Desk, ct_volume: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes, request, gate = VolumeDesk(desk), request_of(desk, ct_volume, model="nodule"), threading.Event()
    own = desk.in_turn

    def slow(one: ExplainRequest, owner: str, ctx: RunContext) -> object:
        if one.image.within[1] != 2:
            while not gate.wait(0.01):
                ctx.check()
        return own(one, owner, ctx)

    monkeypatch.setattr(desk, "in_turn", slow)
    assert volumes.look(request).state == "none"
    answer = until(volumes, request, lambda now: now.result is not None and now.result.scores.known == 7)
    assert answer.active
    volumes.stop(answer.key, "me")
    for _ in range(500):
        answer = volumes.look(request)
        if not answer.active:
            break
        time.sleep(0.01)
    assert answer.state == "cancelled"
    assert answer.result is not None
    assert answer.result.done == 1
    gate.set()
    done = until(volumes, request, lambda now: now.state == "done")
    assert done.result is not None
    assert done.result.done == 7
    moved = replace(request, at=5)  # where the reader looks does not make it other work
    assert volumes.look(moved).result is done.result
    failed = until(volumes, request_of(desk, ct_volume, "around"), lambda now: not now.active)
    assert failed.state == "failed"
    assert "one slice at a time" in failed.message
    volumes.close()


def test_a_reader_does_not_wait_for_a_volume(desk: Desk) -> None:
    order: list[str] = []
    turns = Turns("cpu")

    def work(name: str) -> Callable[[RunContext], None]:
        def do(ctx: RunContext) -> None:
            with turns.turn(ctx, "other"):
                order.append(name)

        return do

    def wait_for(count: int) -> None:
        until = time.monotonic() + 20
        while turns.waiting < count and time.monotonic() < until:
            time.sleep(0.005)

    background = threading.Thread(target=lambda: desk.do_in_turn("volume", work("volume"), "me", RunContext()))
    with turns.turn(RunContext(), "other"):
        background.start()
        wait_for(1)
        reader = desk._runner.submit("reader", work("reader"), "one", priority=30)
        wait_for(2)
    background.join(20)
    assert reader.finished.wait(20)
    assert order == ["reader", "volume"]
    ctx = RunContext()
    ctx.cancel()
    with pytest.raises(Cancelled):
        desk.do_in_turn("more", lambda own: time.sleep(0.3), "me", ctx)


def test_a_map_of_each_channel_lies_where_its_slice_was_taken_from(desk: Desk, ct_volume: Image) -> None:
    """Slices of 1.5 mm, seen at -2.5, 0 and 2.5 mm: the outer channels lie two thirds of the way to the second slice."""
    plane, spec = ct_volume.slice(3), desk.engine.cards()["nodule"].input.spec
    request = request_of(desk, ct_volume, "around", "nodule", at=3, method="integrated-gradients", params={"steps": 9})
    result = explain_around(desk, request, "me", RunContext())
    found = result.map
    assert found is not None
    assert found.values.shape == (5, 48, 48)
    assert found.grid_to_image[2].tolist() == [0, 0, 1, 1]
    one = ExplainRequest("nodule", plane, "integrated-gradients", request.target, {"steps": 9})
    channels = desk.in_turn(one, "me", RunContext()).attribution.values
    assert channels.shape[0] == 3
    np.testing.assert_allclose(found.values[0], channels[0] * 2 / 3, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.values[1], channels[0] / 3, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.values[2], channels[1], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.values[4], channels[2] * 2 / 3, rtol=1e-5, atol=1e-9)
    assert found.values.sum(dtype=np.float64) == pytest.approx(channels.sum(dtype=np.float64), rel=1e-5)
    assert np.isnan(result.mass[[0, 6]]).all()
    assert np.nansum(result.mass) == pytest.approx(1)
    wide = replace(ct_volume, geometry=Geometry(np.diag([0.7, 0.8, 1.25, 1.0])))
    cam = desk.in_turn(ExplainRequest("nodule", wide.slice(3), "grad-cam", request.target), "me", RunContext())
    laid = over_neighbours(cam, wide.slice(3), spec)
    assert laid.known.tolist() == [True, False, True, False, True]  # 1, 3 and 5: nothing of 2 and 4 is seen
    np.testing.assert_array_equal(laid.values[0], laid.values[4])
    assert np.isnan(laid.values[1]).all()


@pytest.mark.parametrize(("model", "at", "seen"), [("segmenter", 2, 3), ("nodule", 2, 5), ("nodule", 6, 3)])
def test_blocks_are_hidden_as_by_plain_passes_and_the_map_is_found_again(
    desk: Desk, ct_volume: Image, model: str, at: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"coarse": 12, "finest": 6, "passes": 80, "fill": "black"}
    slices = range(0, 7, 3) if model == "segmenter" else range(7)
    request = request_of(desk, ct_volume, "blocks", model, slices=slices, at=at, params=given)
    shown: list[VolumeResult] = []
    result = hide_blocks(desk, request, "me", RunContext(), shown.append)
    assert result.map is not None
    assert shown[-1].map is not None
    card = desk.engine.cards()[model]
    handle = ModelHandle.load(card)
    planes = [at] if model == "nodule" else list(slices)
    grid = VolumeGrid.of(ct_volume, card.input.spec, slices, at)
    with handle.exclusive(RunContext()) as module:
        passes = Passes(module, RunContext())
        ready = [handle.prepare(ct_volume.slice(index)) for index in planes]
        clean = np.concatenate([passes.logits(one.tensor).numpy() for one in ready])
        expected = occlude(
            grid,
            clean,
            lambda number, boxes, channels: hide(passes, ready[number], boxes, "black", channels),
            request.target,
            VOLUME_OCCLUSION.resolve(given),
            RunContext(),
        )
    values = grid.laid(expected.values[0])
    np.testing.assert_allclose(result.map.values, values, atol=2e-4 * np.nanmax(np.abs(values)))
    assert np.nansum(result.mass) == pytest.approx(1)
    assert np.isfinite(result.mass).sum() == seen  # 2.5 mm lie between slices of 1.5 mm
    monkeypatch.setattr(desk.engine, "hidden", lambda *_: pytest.fail("computed again"))
    again = hide_blocks(desk, request, "another", RunContext(), scores=result.scores)
    assert again.map is not None
    np.testing.assert_array_equal(again.map.values, result.map.values)
    with pytest.raises(ExplainError, match="spacing"):
        hide_blocks(desk, replace(request, image=replace(ct_volume, geometry=None)), "me", RunContext())

"""Checks in the background give what the checks give alone; what is known is not worked out again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest, JudgeRequest, Verdicts
from dashboard.trust.judge import Judge, Judged, Maps
from dashboard.trust.store import VerdictStore
from explainers import get
from explainers.passes import Passes
from explainers.quality.masks import seen_of, to_grid
from explainers.quality.strip import checks, evidence_of, strip
from explainers.quality.types import Subject, Verdict
from explainers.types import Attribution
from models.context import RunContext
from models.errors import ExplainError
from models.handle import ModelHandle
from models.types import Case, Image, Modality, Provenance, Region

METHODS = {"grad-cam": {}, "saliency": {}}


@pytest.fixture
def desk(make_model: Callable[..., Path], tmp_path: Path) -> Iterator[Desk]:
    made = Desk(LocalEngine([make_model().parent]), ResultStore(tmp_path / "results"))
    yield made
    made.close()


@pytest.fixture
def judge(desk: Desk, tmp_path: Path) -> Judge:
    return Judge(desk, VerdictStore(tmp_path / "verdicts"))


def case_of(place: bool = True) -> Case:
    values = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:36, 24:44] = True
    regions = (Region("Beta", mask),) if place else ()
    image = Image(values, "unit interval", Modality.XRAY)
    return Case("one", "One", image, regions=regions, provenance=Provenance("a test", sha256="0" * 64, reader="test"))


def maps_of(desk: Desk, case: Case, methods: dict[str, dict[str, int]] = METHODS) -> Maps:
    card = desk.engine.cards()["tiny"]
    asked = {
        name: ExplainRequest("tiny", case.image.slice(0), name, card.target("Beta"), dict(params))
        for name, params in methods.items()
    }
    explained = {name: (request, desk.engine.explain(request, RunContext())) for name, request in asked.items()}
    return Maps(case, 0, card, explained)


def until_done(judge: Judge, maps: Maps) -> Judged:
    deadline = time.time() + 120
    while (found := judge.ask(maps, "one")).active:
        assert time.time() < deadline
        time.sleep(0.02)
    return found


def alone(desk: Desk, maps: Maps, folder: Path) -> list[dict[str, Verdict]]:
    """The same checks with plain passes of the network and nothing kept."""
    handle = ModelHandle.load(maps.card)
    (first, _), *_ = maps.explained.values()
    prepared = handle.prepare(first.image)
    found: list[dict[str, Verdict]] = [{} for _ in maps.explained]
    with handle.exclusive(RunContext()) as module:
        passes = Passes(module, RunContext())
        place = {"Beta": to_grid(maps.case.regions[0].mask, prepared)}  # type: ignore[arg-type]
        subject = Subject(prepared, first.target, passes, places=place, seen=seen_of(prepared), card=maps.card)

        def repeat(made: Attribution) -> Callable[..., Attribution]:
            def again(tensor):  # type: ignore[no-untyped-def]
                other = replace(prepared, tensor=tensor)
                return get(made.method).explain(passes, other, [first.target], made.params, 0)[0]

            return again

        attributions = [done.attribution for _, done in maps.explained.values()]
        for index, verdict in strip(evidence_of(subject, attributions, [repeat(one) for one in attributions])):
            found[index][verdict.check] = verdict
    return found


def test_verdicts_are_those_of_the_checks_alone(desk: Desk, judge: Judge, tmp_path: Path) -> None:
    maps = maps_of(desk, case_of())
    done = until_done(judge, maps)
    assert done.state == "done", done.message
    for verdicts, expected in zip(done.verdicts.values(), alone(desk, maps, tmp_path), strict=True):
        assert [one.check for one in verdicts] == [check.spec.id for check in checks()]
        for verdict in verdicts:
            own = expected[verdict.check]
            assert verdict.final
            if verdict.check != "anatomy":  # needs the picture, which the checks alone were not given
                assert (verdict.level, verdict.n) == (own.level, own.n), verdict.check
                assert verdict.value == pytest.approx(own.value, abs=2e-3)
                assert set(verdict.curves) == set(own.curves)
                for name, values in verdict.curves.items():
                    np.testing.assert_allclose(values, own.curves[name], atol=1e-4)
    by_check = {one.check: one for one in done.verdicts["grad-cam"]}
    assert by_check["localisation"].level != "not assessable"
    assert by_check["randomisation"].level == "not assessable"  # nothing is stored with this model


def test_a_further_map_does_not_run_known_checks_again(
    desk: Desk, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[JudgeRequest] = []
    own = desk.engine.judge

    def noted(request: JudgeRequest, ctx: RunContext) -> Verdicts:
        asked.append(request)
        return own(request, ctx)

    monkeypatch.setattr(desk.engine, "judge", noted)
    first = until_done(judge, maps_of(desk, case_of(), {"grad-cam": {}}))
    later = Judge(desk, VerdictStore(tmp_path / "verdicts"))
    both = until_done(later, maps_of(desk, case_of()))
    assert [len(known) for known in asked[1].known] == [3, 0]
    before = {one.check: one for one in first.verdicts["grad-cam"]}
    after = {one.check: one for one in both.verdicts["grad-cam"]}
    for name in ("faithfulness", "stability", "road"):
        assert after[name].value == before[name].value
        assert {key: row.tobytes() for key, row in after[name].curves.items()} == {
            key: row.tobytes() for key, row in before[name].curves.items()
        }
    assert before["agreement"].level == "not assessable"
    assert after["agreement"].level != "not assessable"


def test_what_is_known_of_the_case_is_part_of_the_key(desk: Desk, judge: Judge) -> None:
    with_place, without = (maps_of(desk, case_of(place), {"grad-cam": {}}) for place in (True, False))
    assert judge.key(with_place) != judge.key(without)
    assert judge.key(with_place) == judge.key(maps_of(desk, case_of(), {"grad-cam": {}}))


def test_checks_that_nobody_wants_any_more_stop(desk: Desk, judge: Judge) -> None:
    maps = maps_of(desk, case_of(), {"grad-cam": {}})
    key = judge.ask(maps, "one").key
    desk.keep_only(set(), {key}, "one")
    deadline = time.time() + 60
    while desk.waiting:
        assert time.time() < deadline
        time.sleep(0.01)
    assert judge.look(maps).state == "cancelled"  # type: ignore[union-attr]
    assert until_done(judge, maps).state == "done"


def test_maps_of_different_classes_are_not_judged_together(desk: Desk) -> None:
    maps = maps_of(desk, case_of(), {"grad-cam": {}})
    ((request, made),) = maps.explained.values()
    other = replace(request, target=maps.card.target("Alpha"))
    with pytest.raises(ExplainError, match="same class"):
        desk.engine.judge(JudgeRequest(((request, made), (other, made))), RunContext())
    with pytest.raises(ExplainError, match="no map"):
        desk.engine.judge(JudgeRequest(()), RunContext())


def test_stored_verdicts_come_back_whole(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path / "verdicts")
    given = Verdict(
        "agreement", "weak", "A sentence.", 0.25, 0.1, 0.4, 36, "at least 0.5",
        curves={"share": np.linspace(0, 1, 5), "deletion, edges": np.arange(5.0)},
        maps={"consensus": np.eye(3, dtype=np.float32)}, facts={"drop": "3"},
    )  # fmt: skip
    plain = Verdict("stability", "not assessable", "No.")
    store.put("a" * 64, (given, plain))
    found, other = store.get("a" * 64) or ()
    for name in ("check", "level", "sentence", "value", "low", "high", "n", "expected", "final"):
        assert getattr(found, name) == getattr(given, name)
    assert dict(found.facts) == {"drop": "3"}
    assert np.array_equal(found.curves["deletion, edges"], np.arange(5.0))
    assert np.array_equal(found.maps["consensus"], np.eye(3))
    assert (other.value, dict(other.curves)) == (None, {})
    path = next((tmp_path / "verdicts").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:-40])
    assert store.get("a" * 64) is None

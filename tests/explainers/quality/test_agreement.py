"""Agreement against scipy and a loop; the strip's order, errors and one-line summary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import spearmanr

from explainers.quality import strip as strips
from explainers.quality.agreement import Agreement, overlap
from explainers.quality.completeness import Completeness
from explainers.quality.faithfulness import Faithfulness
from explainers.quality.road import Road
from explainers.quality.stability import Stability
from explainers.quality.types import CheckSpec, Evidence, Verdict
from models.context import RunContext
from models.errors import Cancelled, ExplainError
from tests.explainers.quality.subjects import (
    CORNER,
    SIZE,
    RegionNet,
    attribution,
    evidence,
    final,
    marks,
    subject_of,
)

DRAW = np.random.default_rng(0)
ONE, NOISE, OTHER = DRAW.standard_normal((3, SIZE, SIZE)).astype(np.float32)


def test_pairs_are_compared_by_ranks_and_by_their_strongest_tenth() -> None:
    near, far = ONE + 0.5 * NOISE, OTHER
    given = evidence(subject_of(RegionNet(CORNER)), ONE, others=[attribution(near, "near"), attribution(far, "far")])
    verdict = final(Agreement(), given)
    found = [spearmanr(ONE.ravel(), other.ravel()).statistic for other in (near, far)]
    assert verdict.value == pytest.approx(np.mean(found))
    assert verdict.low is not None
    assert verdict.low < verdict.value < verdict.high  # type: ignore[operator]
    top = [set(np.argsort(values.ravel())[-102:]) for values in (ONE, near)]  # a tenth of 1024, rounded down
    shared = len(top[0] & top[1]) / len(top[0] | top[1])
    assert f"rank correlation {found[0]:.2f}" in verdict.facts["Near"]
    assert f"overlaps by {100 * shared:.0f} %" in verdict.facts["Near"]


def test_overlap_of_equal_and_of_opposite_maps() -> None:
    ranks = np.arange(200) / 200
    assert overlap(ranks, ranks) == 1.0
    assert overlap(ranks, ranks[::-1]) == 0.0


def test_equal_maps_agree_and_unrelated_ones_do_not() -> None:
    subject = subject_of(RegionNet(CORNER))
    same = final(Agreement(), evidence(subject, ONE, others=[attribution(3 * ONE + 1)]))
    assert (same.level, same.value) == ("ok", pytest.approx(1))
    assert final(Agreement(), evidence(subject, ONE, others=[attribution(OTHER)])).level == "fails"


def test_consensus_and_disagreement() -> None:
    inside = np.ones((SIZE, SIZE), dtype=bool)
    inside[:, :6] = False
    subject = subject_of(RegionNet(CORNER), seen=inside)
    verdict = final(Agreement(), evidence(subject, ONE, others=[attribution(ONE), attribution(-ONE)]))
    ranks = np.argsort(np.argsort(ONE[inside])) / inside.sum() + 0.5 / inside.sum()
    np.testing.assert_allclose(verdict.maps["consensus"][inside], (ranks + 1) / 3, atol=1e-6)
    expected = np.std([ranks, ranks, 1 - ranks], axis=0)
    np.testing.assert_allclose(verdict.maps["disagreement"][inside], expected, atol=1e-6)
    assert (verdict.maps["consensus"][~inside] == 0.5).all()
    assert (verdict.maps["disagreement"][~inside] == 0).all()


def test_nothing_to_compare_with_is_not_assessable() -> None:
    subject = subject_of(RegionNet(CORNER))
    flat = attribution(np.zeros((SIZE, SIZE)))
    for values, others in ((ONE, []), (ONE, [flat]), (np.ones((SIZE, SIZE)), [attribution(ONE)])):
        assert final(Agreement(), evidence(subject, values, others=others)).level == "not assessable"


OURS = (Completeness(), Agreement(), Faithfulness(), Stability(), Road())


def three(ctx: RunContext | None = None) -> tuple[Evidence, ...]:
    subject = subject_of(RegionNet(CORNER), ctx=ctx)
    maps = [attribution(values) for values in (marks(CORNER) + 0.01 * NOISE, ONE, OTHER)]
    return strips.evidence_of(subject, maps, [lambda _, made=made: made for made in maps])


def test_every_check_answers_coarsely_for_every_map_before_any_goes_on() -> None:
    found = list(strips.strip(three(), OURS))
    expected = [(index, check.spec.id) for check in OURS for index in range(3)]
    assert [(index, verdict.check) for index, verdict in found[: len(expected)]] == expected
    last = {(index, verdict.check): verdict for index, verdict in found}
    assert set(last) == set(expected)
    assert all(verdict.final for verdict in last.values())
    assert last[0, "faithfulness"].level == "ok"
    assert {last[index, "faithfulness"].level for index in (1, 2)} <= {"weak", "fails"}


def test_the_registered_checks_come_cheap_first() -> None:
    ids = [check.spec.id for check in strips.checks()]
    assert [one for one in ids if one in {check.spec.id for check in OURS}] == [check.spec.id for check in OURS]
    assert all("{}" in check.spec.brief for check in OURS)


class Broken:
    spec = CheckSpec("broken", "Broken", "?", "number", "", "")

    def cost(self, evidence: Evidence) -> int:
        return 0

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        yield Verdict("broken", "weak", "So far.", final=False)
        raise ExplainError("It cannot go on.")


def test_a_check_that_cannot_run_says_so_and_the_others_go_on() -> None:
    found = list(strips.strip(three(), (Broken(), Completeness())))
    assert [verdict.sentence for _, verdict in found if verdict.check == "broken"][3:] == ["It cannot go on."] * 3
    assert found[-1][1].level == "not assessable"
    assert sum(verdict.check == "completeness" for _, verdict in found) == 3


def test_stopping_ends_the_strip() -> None:
    ctx = RunContext()
    ctx.cancel()
    with pytest.raises(Cancelled):
        list(strips.strip(three(ctx), (Road(),)))


def test_the_summary_names_the_worst_first() -> None:
    verdicts = [
        Verdict("faithfulness", "ok", "", 0.123),
        Verdict("completeness", "not assessable", ""),
        Verdict("stability", "ok", "", 0.934),
        Verdict("agreement", "weak", "", -0.02, final=False),
    ]
    found = strips.summary(verdicts)
    assert (found.level, found.final) == ("weak", False)
    assert found.sentence == "weak: agrees −.02 · faithful .12 over best control · stable .93"
    none = strips.summary([Verdict("completeness", "not assessable", "")])
    assert (none.level, none.sentence, none.final) == ("not assessable", "not assessable", True)
    gone = strips.summary([Verdict("faithfulness", "fails", "")])
    assert gone.sentence == "fails: faithful"
    assert strips.summary([Verdict("completeness", "fails", "", 45.4)]).sentence == "fails: adds up within 45 %"

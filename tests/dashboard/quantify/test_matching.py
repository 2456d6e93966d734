"""Which lesion became what, on balls whose volumes, places and fates are known."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.quantify.grid import voxel_ml
from dashboard.quantify.lesions import find_lesions
from dashboard.quantify.matching import Change, Seen, match
from models.types import Geometry

SHAPE = (40, 60, 80)
GEOMETRY = Geometry(np.array([[1.5, 0, 0, -60.0], [0, 1.5, 0, -40.0], [0, 0, 2.0, 100.0], [0, 0, 0, 1.0]]))
Balls = list[tuple[float, float, float, float]]  # column, row, slice, radius in mm


def drawn(balls: Balls) -> np.ndarray:
    slices, rows, columns = np.indices(SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    for column, row, index, radius in balls:
        mask |= 2.25 * (columns - column) ** 2 + 2.25 * (rows - row) ** 2 + 4 * (slices - index) ** 2 < radius**2
    return mask


def changes(
    before: Balls, after: Balls, matrix: np.ndarray | None = None, prior: Seen = Seen(), current: Seen = Seen()
):
    """Of balls given on one grid, though the prior's own places are ``matrix`` away."""
    matrix = np.eye(4) if matrix is None else matrix
    old, new = find_lesions(drawn(before), GEOMETRY), find_lesions(drawn(after), GEOMETRY)
    there = find_lesions(drawn(before), Geometry(matrix @ GEOMETRY.affine))
    edge = float((1000 * voxel_ml(GEOMETRY)) ** (1 / 3))
    return match(there.items, old.labels, new.items, new.labels, GEOMETRY, matrix, edge, prior, current)


def one(found: tuple[Change, ...]) -> Change:
    (change,) = found
    return change


def test_every_fate_is_told_with_its_numbers() -> None:
    before = [(15, 15, 20, 10), (40, 15, 20, 9), (65, 15, 20, 8), (15, 45, 20, 7)]
    after = [(15, 15, 20, 13), (40, 15, 20, 7), (66, 15, 20, 8), (65, 45, 20, 6)]
    found = changes(before, after)
    told = {change.verdict: change for change in found}
    assert list(told) == [change.verdict for change in sorted(found, key=lambda one: -abs(one.change_ml))]
    assert set(told) == {"grown", "shrunk", "stable", "resolved", "new"}
    ml = 1.5 * 1.5 * 2 / 1000
    pairs = {"grown": (0, 0), "shrunk": (1, 1), "stable": (2, 2), "resolved": (3, None), "new": (None, 3)}
    for verdict, (old, new) in pairs.items():
        was = 0.0 if old is None else float(drawn([before[old]]).sum()) * ml
        now = 0.0 if new is None else float(drawn([after[new]]).sum()) * ml
        change = told[verdict]
        assert (change.prior_ml, change.current_ml) == pytest.approx((was, now))
        assert change.change_percent == (None if old is None else pytest.approx(100 * (now / was - 1)))
        assert change.relation == ("one to one" if None not in (old, new) else "")
    assert told["stable"].apart_mm == pytest.approx(1.5)
    both = (drawn([before[2]]) & drawn([after[2]])).sum()
    sizes = drawn([before[2]]).sum() + drawn([after[2]]).sum()
    assert told["stable"].overlap == pytest.approx(2 * both / sizes)
    assert told["new"].centre_mm == pytest.approx((65 * 1.5 - 60, 45 * 1.5 - 40, 140))


def test_lesions_that_merge_and_that_split_are_one_change() -> None:
    two, large = [(30, 30, 20, 8), (42, 30, 20, 8)], [(36, 30, 20, 15)]
    merged, split = one(changes(two, large)), one(changes(large, two))
    assert (merged.relation, merged.prior, merged.current) == ("merged", (1, 2), (1,))
    assert (split.relation, split.prior, split.current) == ("split", (1,), (1, 2))
    ml = 1.5 * 1.5 * 2 / 1000
    assert merged.prior_ml == pytest.approx(drawn(two).sum() * ml)
    assert (merged.verdict, split.verdict) == ("grown", "shrunk")
    crossed = one(changes([(24, 30, 20, 12), (44, 30, 20, 12)], [(34, 30, 20, 9), (50, 30, 20, 10)]))
    assert (crossed.relation, crossed.prior, crossed.current) == ("regrouped", (1, 2), (1, 2))


def test_small_lesions_beside_each_other_are_one_and_far_ones_are_two() -> None:
    near = one(changes([(30, 30, 20, 4)], [(35.5, 30, 20, 4)]))
    assert (near.verdict, near.overlap) == ("stable", 0)
    assert near.apart_mm == pytest.approx(8.25, abs=1.0)
    far = changes([(30, 30, 20, 4)], [(40, 30, 20, 4)])
    assert sorted(change.verdict for change in far) == ["new", "resolved"]


def test_the_nearest_of_several_is_taken() -> None:
    found = changes([(30, 30, 20, 4)], [(35.5, 30, 20, 4), (30, 35, 20, 4)])
    assert sorted(change.verdict for change in found) == ["new", "stable"]
    paired = next(change for change in found if change.verdict == "stable")
    assert paired.centre_mm[1] > 30 * 1.5 - 40 + 4


def test_small_changes_of_small_lesions_are_within_the_outline() -> None:
    small = one(changes([(30, 30, 20, 3.6)], [(30, 30, 20, 4.2)]))
    assert small.limit_percent > 25
    radius = (3 * small.prior_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    assert small.limit_percent == pytest.approx(100 * 0.25 * 4.5 ** (1 / 3) * 3 / radius)
    large = one(changes([(30, 30, 20, 14)], [(30, 30, 20, 14.8)]))
    assert (large.verdict, large.limit_percent) == ("stable", 25)


@pytest.mark.parametrize(
    ("before", "after", "seen", "verdict"),
    [
        (0, 1, {"current": Seen(outside={1})}, "not comparable"),
        (1, 0, {"prior": Seen(outside={1})}, "not comparable"),
        (1, 1, {"prior": Seen(cut={1})}, "not comparable"),
        (1, 1, {"current": Seen(cut={1})}, "not comparable"),
        (1, 1, {"current": Seen(outside={1})}, "not comparable"),
        (1, 1, {"prior": Seen({2}, {2}), "current": Seen({2}, {2})}, "grown"),
        (0, 1, {"current": Seen(cut={1})}, "new"),
        (1, 0, {"prior": Seen(cut={1})}, "resolved"),
    ],
)
def test_what_a_scan_does_not_show_whole_is_not_compared(
    before: int, after: int, seen: dict[str, Seen], verdict: str
) -> None:
    change = one(changes([(30, 30, 30, 6)][:before], [(30, 30, 30, 9)][:after], **seen))
    assert change.verdict == verdict
    assert bool(change.reason) == (verdict == "not comparable")


def test_places_of_the_prior_are_brought_onto_the_current_grid() -> None:
    turn = np.array([[0.0, -1, 0, 12], [1, 0, 0, -7], [0, 0, 1, 40], [0, 0, 0, 1]])
    assert one(changes([(30, 30, 20, 6)], [(30, 30, 20, 6)], turn)).apart_mm == pytest.approx(0, abs=1e-9)


def test_nothing_in_either_scan_is_no_change() -> None:
    assert changes([], []) == ()

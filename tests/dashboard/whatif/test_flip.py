"""The smallest region that turns a call: closed forms, all regions tried, a known block, and calls that stand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from dashboard.whatif.flip import Call, Flip, smallest_flip, tiles_of
from models.context import RunContext
from models.errors import Cancelled, DataError

SIDE = 4  # pixels of a tile
Network = Callable[[np.ndarray], Sequence[float]]  # (n,) share of each tile that is left to logits


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def flag(stands: bool = True, threshold: float = 0.5) -> Call:
    return Call(0, stands, False, np.array([threshold], dtype=np.float32))


def search(
    network: Network, grid: int, call: Call, effects: Any = None, ctx: RunContext | None = None, exclusive: bool = False
) -> tuple[Flip, np.ndarray]:
    """The answer, and the tiles of its region (n,) bool."""
    tiles = tiles_of((grid * SIDE, grid * SIDE), (1.0, 1.0), grid)

    def ask(masks: Sequence[np.ndarray]) -> np.ndarray:
        left = [1 - np.bincount(tiles.ravel(), mask.ravel()) / SIDE**2 for mask in masks]
        return np.array([network(one) for one in left], dtype=np.float32)

    found = smallest_flip(tiles, effects, call, ask, softmax if exclusive else sigmoid, ctx or RunContext())
    region = np.bincount(tiles.ravel(), found.mask.ravel()) > 0
    assert found.share == pytest.approx(region.mean())
    assert found.tiles == region.sum()
    assert (found.grid, found.mask.shape) == (grid**2, (grid * SIDE, grid * SIDE))
    return found, region


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stands", [True, False])
@pytest.mark.parametrize("ranking", ["exact", "none", "misleading"])
def test_on_a_linear_network_it_is_the_largest_weights(seed: int, stands: bool, ranking: str) -> None:
    """The fewest tiles whose weights add up to the margin."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=49) * (1 if stands else -1)
    margin = 0.35 * np.maximum(weights, 0).sum()
    sign = 1 if stands else -1
    effects = {"exact": weights, "none": None, "misleading": weights + rng.normal(size=49)}[ranking]
    found, region = search(
        lambda left: [sign * (margin - weights @ (1 - left))], 7, flag(stands), None if effects is None else effects
    )
    needed = int(np.argmax(np.cumsum(np.sort(weights)[::-1]) > margin)) + 1
    assert found.turned
    if ranking == "misleading":  # greedy over a wrong ranking may take more, yet nothing that is not needed
        assert region.sum() <= needed + 2
        assert weights[region].sum() - weights[region].min() <= margin
    else:
        assert set(np.flatnonzero(region)) == set(np.argsort(-weights)[:needed])
    assert (found.before[0] >= 0.5) == stands
    assert (found.after[0] >= 0.5) != stands
    assert found.after[0] == pytest.approx(float(sigmoid(np.array(sign * (margin - weights[region].sum())))), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_against_all_regions_of_three_by_three_tiles(seed: int) -> None:
    """Tiles that act together in pairs: never larger than needed tile by tile, and as small as the smallest of all."""
    rng = np.random.default_rng(seed)
    single, pairs = rng.random(9), 0.3 * rng.random((9, 9))

    def network(left: np.ndarray) -> list[float]:
        return [float(single @ left + left @ pairs @ left) - 0.5 * float(single.sum() + pairs.sum())]

    found, region = search(network, 3, flag())
    turning = [
        size
        for size in range(10)
        if any(network(np.isin(np.arange(9), chosen, invert=True).astype(float))[0] < 0 for chosen in combinations(range(9), size))
    ]  # fmt: skip
    assert found.turned
    assert region.sum() == turning[0]
    for tile in np.flatnonzero(region):
        left = (~region).astype(float)
        left[tile] = 1
        assert network(left)[0] >= 0


def test_a_block_that_must_be_covered_whole_is_found_exactly() -> None:
    block = np.zeros((12, 12), dtype=bool)
    block[3:6, 7:10] = True
    alike = block.ravel()
    found, region = search(lambda left: [float(left[alike].sum()) - 0.5], 12, flag())
    assert found.turned
    assert np.array_equal(region, alike)
    assert found.passes < 144 + 100
    assert [step.what for step in found.history if step.what == "ranked"]


def test_exclusive_classes_turn_when_another_leads() -> None:
    weights = np.zeros((3, 25))
    weights[0, 7], weights[0, 8], weights[1, 20] = 3, 2, 1
    call = Call(0, True, True, np.array([0.5, 0.5, 0.5], dtype=np.float32))
    found, region = search(lambda left: list(weights @ left), 5, call, exclusive=True)
    assert found.turned
    assert list(np.flatnonzero(region)) == [7, 8]
    assert found.after.argmax() == 1


def test_a_call_that_stands_is_said_to_stand() -> None:
    found, region = search(lambda left: [1 + float(left[5])], 4, flag())
    assert not found.turned
    assert region[5]
    assert found.after[0] == pytest.approx(float(sigmoid(np.array(1.0))), abs=1e-6)
    assert found.covered[0] == pytest.approx(found.after[0])
    blind, _ = search(lambda left: [2.0], 4, flag())  # a network that ignores its input
    assert not blind.turned
    assert blind.passes < 120


def test_a_ranking_that_never_turns_the_call_is_left_behind() -> None:
    """Every second tile of the ranking works against the region: no first few of it turn the call, the good ones do."""
    weights = np.where(np.arange(36) < 16, np.tile([1.0, -1.0], 18), -1.0)
    found, region = search(lambda left: [7.5 - weights @ (1 - left)], 6, flag(), np.arange(36.0)[::-1])
    assert found.turned
    assert list(np.flatnonzero(region)) == list(range(0, 16, 2))


def test_it_shows_its_way_and_stops_when_asked() -> None:
    shown: list[Flip] = []
    stop = threading.Event()

    def keep(partial: Flip) -> None:
        shown.append(partial)
        if len(shown) == 4:
            stop.set()

    weights = np.random.default_rng(0).random(100)
    with pytest.raises(Cancelled):
        search(lambda left: [float(weights @ left) - 20], 10, flag(), ctx=RunContext(cancelled=stop, on_partial=keep))
    assert len(shown) == 4
    assert [len(one.history) for one in shown] == [1, 2, 3, 4]
    assert all(one.passes > 100 for one in shown)


def test_tiles_are_square_in_millimetres_and_leave_out_what_is_not_seen() -> None:
    tiles = tiles_of((100, 100), (1.0, 2.0), 5)
    assert (len(np.unique(tiles[:, 0])), len(np.unique(tiles[0]))) == (10, 5)
    seen = np.zeros((100, 100), dtype=bool)
    seen[:, :40] = True
    part = tiles_of((100, 100), (1.0, 2.0), 5, seen)
    assert (part[:, 40:] == -1).all()
    assert sorted(np.unique(part[:, :40])) == list(range(20))
    with pytest.raises(DataError, match="ask for fewer"):
        tiles_of((6, 60), (1.0, 1.0), 12)
    with pytest.raises(DataError, match="sees nothing"):
        tiles_of((60, 60), (1.0, 1.0), 12, np.zeros((60, 60), bool))

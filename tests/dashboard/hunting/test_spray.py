"""Groups of maps: eigenvalues against a plain Laplacian, planted groups found, one kind left whole."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, laplacian
from sklearn.metrics import homogeneity_score

from dashboard.hunting.spray import MOST_GROUPS, affinity, grouped, groups_in, rank_classes
from models.errors import DataError

SIDE = 16


def blobs(places: list[tuple[float, float]], seed: int = 0, loose: float = 0.7) -> NDArray[np.float64]:
    """One map a place: a blob near it, on a noisy ground."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    made = []
    for y, x in places:
        y, x = y + loose * rng.normal(), x + loose * rng.normal()
        one = np.exp(-((row - y) ** 2 + (column - x) ** 2) / 6) + 0.01 * rng.random((SIDE, SIDE))
        made.append(one.ravel() / one.sum())
    return np.array(made)


def test_eigenvalues_are_those_of_the_normalised_laplacian() -> None:
    maps = blobs([(4, 4)] * 15 + [(11, 11)] * 12)
    found = grouped(maps)
    distance = np.linalg.norm(np.sqrt(maps)[:, None] - np.sqrt(maps), axis=2)
    np.fill_diagonal(distance, np.inf)
    near = distance <= np.sort(distance, axis=1)[:, [found.neighbours - 1]]
    graph = (near | near.T).astype(float)
    np.testing.assert_array_equal(affinity(np.sqrt(maps), found.neighbours), graph)
    direct = np.sort(np.linalg.eigvalsh(laplacian(graph, normed=True)))
    np.testing.assert_allclose(found.eigenvalues, np.maximum(direct[: len(found.eigenvalues)], 0), atol=1e-9)
    assert (found.eigenvalues < 1e-9).sum() == connected_components(graph)[0]


@pytest.mark.parametrize("sizes", [(40, 12), (30, 20, 8), (14, 14)])
def test_no_group_mixes_what_was_planted_apart(sizes: tuple[int, ...]) -> None:
    truth = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(1).permutation(len(truth))
    found = grouped(blobs([((3, 3), (12, 12), (3, 12))[k] for k in truth[order]]))
    assert homogeneity_score(truth[order], found.labels) == pytest.approx(1)
    assert len(sizes) <= found.count <= MOST_GROUPS
    counts = np.bincount(found.labels)
    assert counts.tolist() == sorted(counts, reverse=True)


def test_maps_of_one_kind_stay_together() -> None:
    row, column = np.mgrid[:SIDE, :SIDE]
    rng = np.random.default_rng(2)
    maps = np.exp(-((row - 8) ** 2 + (column - 8) ** 2) / 20).ravel() * rng.uniform(0.5, 1.5, (80, SIDE**2))
    found = grouped(maps / maps.sum(axis=1, keepdims=True))
    assert found.count == 1
    assert np.isnan(found.separation).all()


def test_the_same_maps_give_the_same_groups() -> None:
    maps = blobs([(4, 4)] * 30 + [(11, 8)] * 30, loose=2.0)
    one, two = grouped(maps, seed=3), grouped(maps, seed=3)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.embedding, two.embedding)


def test_the_drawing_keeps_groups_apart() -> None:
    places = grouped(blobs([(3, 3)] * 25 + [(12, 12)] * 15)).positions
    assert np.abs(places).max() == pytest.approx(1)
    first, second = places[:25], places[25:]
    across = second.mean(axis=0) - first.mean(axis=0)
    along = places @ across / np.linalg.norm(across)
    assert along[:25].max() < along[25:].min()


def test_as_many_groups_as_eigenvalues_before_the_last_wide_gap() -> None:
    assert groups_in(np.array([0, 0, 0, 0.4, 0.5, 0.6])) == 3
    assert groups_in(np.array([0, 0.5, 0.55, 0.6, 0.7])) == 1
    assert groups_in(np.array([0, 0.02, 0.4, 0.61, 0.83])) == 2  # the widest absolute gap is a later one
    assert groups_in(np.array([0, 0.004, 0.058, 0.065, 0.148, 0.168])) == 4  # nearly as wide, and later


def test_classes_are_ranked_by_how_clearly_their_maps_fall_apart() -> None:
    ranks = rank_classes(
        {"one kind": grouped(blobs([(8, 8)] * 40)), "two": grouped(blobs([(3, 3)] * 30 + [(12, 12)] * 30))}
    )
    assert [rank.name for rank in ranks] == ["two", "one kind"]
    assert ranks[0].groups >= 2
    assert ranks[0].n == 60
    assert ranks[0].eigengap > ranks[1].eigengap


def test_too_few_maps_are_said() -> None:
    with pytest.raises(DataError, match=r"at least 10 cases, too few \(n=9\)"):
        grouped(blobs([(8, 8)] * 9))

"""Nearest cases against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from dashboard.audit.table import AuditTable
from dashboard.hunting.neighbours import FILE, Index, build, compress, nearest, overlap, read_index, write_index
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError
from models.types import Image, Modality
from tests.dashboard.audit.tables import make_table
from tests.dashboard.hunting.made import Reader, made_card, made_cohort

N, D = 150, 90


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, AuditTable, ModelCard, Index]:
    table = make_table(N, seed=2, unknown=0.1)
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(N, D)) * np.linspace(3, 0.1, D) + 2 * table.scores[:, :1]).astype(np.float32)
    card = made_card(table.classes, folder=tmp_path_factory.mktemp("card"))
    return features, table, card, compress(features, np.arange(N), table, card)


def test_the_nearest_are_those_of_brute_force(known: tuple[np.ndarray, AuditTable, ModelCard, Index]) -> None:
    features, table, card, index = known
    target = card.target("B")
    rng = np.random.default_rng(1)
    for _ in range(5):
        query = rng.normal(size=D).astype(np.float32)
        found = nearest(index, query, card, target, k=3)
        away = [np.linalg.norm((query - features[row]) @ index.components.T) for row in range(N)]
        right, wrong, around = [], [], []
        for row in np.argsort(away):
            label = table.labels[row, 1]
            if np.isnan(label):
                continue
            around.append(label)
            (right if (label == 1) == (table.scores[row, 1] >= 0.5) else wrong).append(row)
        assert [one.row for one in found.right] == right[:3]
        assert [one.row for one in found.wrong] == wrong[:3]
        assert [one.name for one in found.right] == table.cases["case_id"].iloc[right[:3]].tolist()
        assert all(one.called == (one.has is True) for one in found.right)
        assert all(one.called != one.has for one in found.wrong)
        assert found.right[0].distance == pytest.approx(away[right[0]], rel=2e-3)
        assert found.distance == pytest.approx(min(away), rel=2e-3)
        ends = binomtest(int(sum(around[:20])), 20).proportion_ci(method="wilson")
        assert (found.share.low, found.share.high) == pytest.approx((ends.low, ends.high), abs=1e-9)
        assert (found.share.value, found.share.n) == (pytest.approx(np.mean(around[:20])), 20)


def test_percentiles_are_those_of_the_set(known: tuple[np.ndarray, AuditTable, ModelCard, Index]) -> None:
    features, table, card, index = known
    pairs = np.linalg.norm(index.points[:, None] - index.points[None], axis=2)
    found = nearest(index, features[7], card, card.target("A"))
    one = found.right[0]
    expected = (pairs[np.triu_indices(N, 1)] > one.distance).mean() * 100
    assert one.farther == pytest.approx(expected, abs=1.0)
    others = np.where(table.groups[:, None] == table.groups[None], np.inf, pairs).min(axis=1)
    assert found.unusual == pytest.approx((others < found.distance).mean() * 100, abs=2.0)
    far = nearest(index, features[7] + 100, card, card.target("A"))
    assert far.unusual == 100.0
    assert far.right[0].farther == 0.0


def test_the_case_itself_and_its_patient_are_left_out(known: tuple[np.ndarray, AuditTable, ModelCard, Index]) -> None:
    features, table, card, index = known
    row = int(np.flatnonzero(table.cases.duplicated("patient_id", keep=False))[0])
    same = table.groups == table.groups[row]
    listed = nearest(index, features[row], card, card.target("A"), k=N)
    rows = {one.row for one in (*listed.right, *listed.wrong)}
    assert not rows & set(np.flatnonzero(same))
    assert len(rows) == int((table.known[:, 0] & ~same).sum())
    assert listed.itself
    assert not nearest(index, features[row] + 1, card, card.target("A")).itself


def test_the_compression_is_principal_components_and_says_what_it_keeps(
    known: tuple[np.ndarray, AuditTable, ModelCard, Index],
) -> None:
    features, _, _, index = known
    theirs = PCA(64, svd_solver="full").fit(features)
    assert np.allclose(np.abs(index.components @ theirs.components_.T), np.eye(64), atol=2e-3)
    full = NearestNeighbors(n_neighbors=11).fit(features).kneighbors(features, return_distance=False)[:, 1:]
    near = NearestNeighbors(n_neighbors=11).fit(index.points).kneighbors(index.points, return_distance=False)[:, 1:]
    expected = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(full, near, strict=True)])
    assert index.kept == pytest.approx(expected, abs=2e-3)
    assert 0.8 < index.kept < 1
    square = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    assert overlap(square, square, 10) == 1.0


def test_the_file_is_small_plain_and_of_these_weights(known: tuple[np.ndarray, AuditTable, ModelCard, Index]) -> None:
    features, _, card, index = known
    assert read_index(card) is None
    write_index(index, card.folder / FILE)
    again = read_index(card)
    assert again is not None
    assert len(again) == N
    assert np.array_equal(again.points, index.points)
    assert again.names.tolist() == index.names.tolist()
    assert np.array_equal(again.labels, index.labels)
    assert np.array_equal(again.decided, index.decided)
    first, second = (nearest(one, features[3], card, card.target("A")) for one in (index, again))
    assert [one.row for one in first.right] == [one.row for one in second.right]
    other = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "b" * 64})})
    assert read_index(other) is None
    with pytest.raises(DataError, match="other weights"):
        nearest(index, features[3], other, card.target("A"))
    (card.folder / FILE).write_bytes(b"torn")
    assert read_index(card) is None
    np.savez(card.folder / FILE, model=np.array([object()], dtype=object))
    assert read_index(card) is None


def test_features_are_gathered_in_parts_and_unreadable_pictures_left_out() -> None:
    table = make_table(40, classes=("Alpha",), task="binary", seed=5)
    card = made_card(task="binary")
    rng = np.random.default_rng(0)
    pictures: list[Image | None] = [
        Image(rng.random((1, 6, 6)).astype(np.float32), "unit interval", Modality.XRAY) for _ in range(40)
    ]
    pictures[17] = None
    reader = Reader(card, lambda _: np.zeros(1))
    index = build(reader.as_engine(), made_cohort(table, card, pictures), RunContext())
    assert len(index) == 39
    assert "case-00017" not in index.names
    shown = pictures[20]
    assert shown is not None
    found = nearest(index, shown.display().ravel(), card, card.target("Alpha"), k=40)
    assert found.itself
    assert "case-00020" not in [one.name for one in (*found.right, *found.wrong)]
    with pytest.raises(DataError, match="Only 10 pictures"):
        build(reader.as_engine(), made_cohort(table, card, pictures, np.arange(10)), RunContext())

"""The whole hunt on a network that reads a corner tag: found, covered, numbers as worked out by hand."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dashboard.hunting.cohort import Cohort
from dashboard.hunting.masking import CONTROLS, elsewhere, mask_and_predict, own_place, places_of, region_of
from dashboard.hunting.montage import GAP, TILE, Tile, montage
from dashboard.hunting.patients import difference_over, mean_over, share_over
from dashboard.hunting.shortcuts import Cluster, HuntProgress, HuntSettings, ShortcutHunt, cases_for, hunt, hunt_key
from dashboard.hunting.signatures import on_image
from dashboard.images import ImageFolder
from dashboard.jobs.desk import Desk
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.types import Image, Modality
from tests.dashboard.hunting.made import made_card
from tests.dashboard.hunting.reading import CORNER, SIZE, Reader, desk_of, pictures, table_of, written

N = 60
SETTINGS = HuntSettings("Finding", most=N)


@pytest.fixture(scope="module")
def card() -> ModelCard:
    size = {"height": 64, "width": 64, "modality": ["other"], "mean": [0.5] * 3, "std": [0.25] * 3}
    return made_card(["Finding"], task="binary", input=size)


@dataclass(frozen=True, eq=False)
class Made:
    """A desk, the cases of a hunt on it, and what was found."""

    desk: Desk
    cases: Cohort
    reader: Reader
    values: NDArray[np.uint8]
    found: ShortcutHunt


@pytest.fixture(scope="module")
def made(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("hunt")
    reader = Reader(card)
    values, labels, _ = pictures(2 * N)
    desk = desk_of(reader, folder)
    cases = cases_for(table_of(reader, values, labels), ImageFolder(written(values, folder / "images")), card, SETTINGS)
    yield Made(desk, cases, reader, values, hunt(cases, SETTINGS, desk, "me", RunContext()))
    desk.close()


def on_tag(cluster: Cluster) -> bool:
    return float(cluster.mean_map[:6, :6].sum()) > 0.5


def test_the_tag_makes_clusters_of_its_own_and_covering_it_turns_the_calls(made: Made) -> None:
    tagged = [one for one in made.found.clusters if on_tag(one)]
    rows = np.concatenate([made.found.rows[one.members] for one in tagged])
    expected = [row for row in made.found.rows if made.values[row][CORNER].mean() > 128]
    np.testing.assert_array_equal(np.sort(rows), expected)
    for cluster in tagged:
        assert cluster.beside.level == "fails"
        assert cluster.beside.where == "corners of the picture"
        assert cluster.separation is not None
        assert cluster.separation > 0.3
        whole = mask_and_predict(made.found, cluster, made.cases, made.desk, "me", RunContext(), fill="black")[0]
        region = np.asarray(on_image(whole.region, made.cases.image(0)), dtype=bool)
        shown = made.values[made.found.rows[cluster.members]] / 255
        by_hand = [-(made.reader.weights * np.where(region, one, 0)).sum() for one in shown]
        turned = [made.reader.logit(np.where(region, 0, one)) < 0 for one in shown]
        assert whole.score_change.value == pytest.approx(np.mean(by_hand), abs=1e-4)
        assert whole.called == len(cluster)
        assert whole.turned.value == pytest.approx(np.mean(turned))
        assert whole.finding == "shortcut"
        assert whole.beside > 0.9
        assert whole.excess.high is not None
        assert whole.excess.high < -2


def test_the_other_clusters_decide_by_the_finding(made: Made) -> None:
    others = [one for one in made.found.clusters if not on_tag(one)]
    assert others
    for cluster in others:
        assert cluster.beside.level == "ok"
        whole = mask_and_predict(made.found, cluster, made.cases, made.desk, "me", RunContext(), fill="black")[0]
        assert whole.finding == "decides"
        assert whole.beside < 0.1


def test_errors_are_those_of_the_table(made: Made) -> None:
    found, table = made.found, made.cases.table
    for cluster in found.clusters:
        rows = found.rows[cluster.members]
        rest = np.setdiff1d(found.rows, rows)
        wrong, others = (table.decided[part, 0] != table.positive[part, 0] for part in (rows, rest))
        assert cluster.patients == len(set(table.groups[rows]))
        if cluster.patients < 10:
            assert cluster.error.note == f"too few patients (n={cluster.patients})"
        else:
            assert cluster.error.value == pytest.approx(wrong.mean())
            assert cluster.difference.value == pytest.approx(wrong.mean() - others.mean())
    np.testing.assert_array_equal(np.sort(np.concatenate([one.members for one in found.clusters])), range(len(found)))


def test_a_second_hunt_finds_its_maps_again_and_says_how_far_it_is(made: Made) -> None:
    count = made.reader.explained
    shown: list[HuntProgress] = []
    again = hunt(made.cases, SETTINGS, made.desk, "me", RunContext(on_partial=shown.append))
    assert made.reader.explained == count == len(made.cases)
    assert json.dumps(again.as_dict()) == json.dumps(made.found.as_dict())
    assert [one.done for one in shown] == list(range(len(made.cases)))
    assert hunt_key(made.cases, SETTINGS) != hunt_key(made.cases, HuntSettings("Finding", method="saliency", most=N))


def test_a_hunt_stops_when_told(made: Made, card: ModelCard, tmp_path: Path) -> None:
    event, reader = threading.Event(), Reader(card)
    desk = desk_of(reader, tmp_path)

    def stop(shown: HuntProgress) -> None:
        if shown.done == 3:
            event.set()

    try:
        with pytest.raises(Cancelled):
            hunt(made.cases, SETTINGS, desk, "me", RunContext(cancelled=event, on_partial=stop))
    finally:
        desk.close()
    assert reader.explained <= 4


def test_a_network_that_leaves_the_tag_alone_raises_no_alarm(card: ModelCard, tmp_path: Path) -> None:
    reader = Reader(card, looks_at_corner=False)
    values, labels, _ = pictures(2 * N)
    folder = ImageFolder(written(values, tmp_path / "images"))
    table = table_of(reader, values, labels)
    desk = desk_of(reader, tmp_path)
    try:
        cases = cases_for(table, folder, card, HuntSettings("Finding", "labelled"))
        found = hunt(cases, HuntSettings("Finding", "labelled"), desk, "me", RunContext())
        covered = [
            one
            for cluster in found.clusters
            for one in mask_and_predict(found, cluster, cases, desk, "me", RunContext())
        ]
    finally:
        desk.close()
    assert all(one.beside.level == "ok" for one in found.clusters)
    assert {one.finding for one in covered} <= {"decides", "no more than elsewhere"}


def test_a_class_that_is_never_called_is_said(card: ModelCard, tmp_path: Path) -> None:
    values, labels, _ = pictures(20)
    folder = ImageFolder(written(values, tmp_path / "images"))
    table = table_of(Reader(card), values, labels).with_thresholds([1.1])
    with pytest.raises(DataError, match="No case is called for Finding"):
        cases_for(table, folder, card, SETTINGS)


def test_the_region_is_the_fewest_cells_with_half_of_the_mass() -> None:
    cells = np.random.default_rng(0).random((9, 9)).astype(np.float32) ** 4
    region = region_of(cells)
    assert cells[region].sum() >= 0.5 * cells.sum() - 1e-6
    assert np.sort(cells.ravel())[::-1][: region.sum() - 1].sum() < 0.5 * cells.sum()
    assert cells[region].min() >= cells[~region].max()


def test_two_hills_are_two_places() -> None:
    row, column = np.mgrid[:28, :28]
    near = np.exp(-((row - 5) ** 2 + (column - 5) ** 2) / 8)
    far = 2 * np.exp(-((row - 20) ** 2 + (column - 18) ** 2) / 8)
    mean_map = ((near + far) / (near + far).sum()).astype(np.float32)
    first, second = places_of(mean_map, mass=0.8)
    assert first[20, 18]
    assert second[5, 5]
    assert not (first & second).any()
    np.testing.assert_array_equal(first | second, region_of(mean_map, 0.8))
    assert places_of((near / near.sum()).astype(np.float32)) == ()


def test_what_the_nearest_cluster_leaves_out_is_the_tag(made: Made) -> None:
    row, column = np.mgrid[:28, :28]
    lung = np.exp(-((row - 14) ** 2 + (column - 18) ** 2) / 20)
    tag = 0.6 * np.exp(-((row - 14) ** 2 + (column - 12) ** 2) / 6)  # on the slope of the other, no hill of its own
    maps = [lung + tag, lung, np.roll(lung, -12, axis=1)]
    clusters = [
        replace(made.found.clusters[0], number=number, mean_map=(one / one.sum()).astype(np.float32))
        for number, one in enumerate(maps, 1)
    ]
    own = own_place(clusters[0], clusters)
    assert own is not None
    rows, columns = np.nonzero(own)
    assert abs(rows.mean() - 14) < 0.5
    assert abs(columns.mean() - 12) < 1
    assert own_place(clusters[0], clusters[:1]) is None
    assert own_place(clusters[1], [clusters[1], replace(clusters[1], number=4)]) is None


@pytest.mark.parametrize("size", [4, 12, 22])
def test_controls_are_as_large_and_elsewhere(size: int) -> None:
    region = np.zeros((28, 28), dtype=bool)
    region[2 : 2 + size, 1 : 1 + size] = True
    controls = elsewhere(region)
    assert (controls.sum(axis=(1, 2)) == region.sum()).all()
    assert len(controls) <= CONTROLS
    if size <= 12:
        assert len(controls) == CONTROLS
        assert (controls & region).sum(axis=(1, 2)).max() <= 0.1 * region.sum()
    if size == 4:  # moved whole
        assert all(np.ptp(np.nonzero(one)[0]) == 3 and np.ptp(np.nonzero(one)[1]) == 3 for one in controls)


def test_means_over_patients_hold_few_and_many() -> None:
    groups = np.repeat(np.arange(20), 3).astype(np.intp)
    values = np.random.default_rng(1).normal(size=60)
    found = mean_over(values, groups)
    assert found.value == pytest.approx(values.mean())
    assert found.low is not None
    assert found.high is not None
    by_patient = values.reshape(20, 3).mean(axis=1)
    half = 1.96 * by_patient.std(ddof=1) / np.sqrt(20)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    assert mean_over(values[:12], groups[:12]).note == "too few patients (n=4)"
    assert share_over(values[:27] > 0, groups[:27]).note == "too few patients (n=9)"
    inside = np.arange(60) < 30
    difference = difference_over(values > 0, inside, groups)
    assert difference.value == pytest.approx((values[:30] > 0).mean() - (values[30:] > 0).mean())


def test_the_montage_colours_where_the_map_is() -> None:
    cells = np.zeros((28, 28), np.float32)
    cells[4:9, 18:24] = 1
    image = Image(np.full((1, SIZE, SIZE), 0.5, np.float32), "unit interval", Modality.OTHER)
    sheet = np.asarray(PIL.Image.open(io.BytesIO(montage([Tile(image, cells)] * 3, across=2))))
    assert sheet.shape == (2 * TILE + GAP, 2 * TILE + GAP, 3)
    shown = sheet[:TILE, :TILE].astype(int)
    coloured = np.ptp(shown, axis=2) > 20
    rows, columns = np.nonzero(coloured)
    assert abs(rows.mean() / TILE - 6.5 / 28) < 0.03
    assert abs(columns.mean() / TILE - 21 / 28) < 0.03
    assert (shown[~coloured] == 128).mean() > 0.9
    assert not sheet[TILE + GAP :, TILE + GAP :].any()

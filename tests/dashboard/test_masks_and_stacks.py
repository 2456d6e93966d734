"""Segmentation networks and networks of several slices behind the desk: keys, caches, explanations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dashboard.jobs.desk as desk_module
from dashboard import library as library_module
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.library import Library, Summary, reading_model
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest, image_digest
from dashboard.widgets.maps import found_regions
from explainers import EXPLAINERS
from models.context import RunContext
from models.errors import Busy, DataError
from models.handle import ModelHandle
from models.preprocess import InputSpec
from models.types import Case, Geometry, Image, Modality, Provenance
from sample_data.samples import list_samples

Segmenter = Callable[..., Path]
ONE = InputSpec(48, 48)
THREE = InputSpec(48, 48, slices=3, slice_step_mm=2.5)


@pytest.fixture
def desk(segmenter: Segmenter, nodule_model: Path, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(LocalEngine([segmenter().parent]), ResultStore(tmp_path / "results"))
    yield made
    made.close()


def other_neighbours(volume: Image) -> Image:
    """The same middle slice between others."""
    values = volume.values[:, ::-1].copy()
    assert np.array_equal(values[:, 3], volume.values[:, 3])
    return replace(volume, values=values)


def plane(seed: int = 0) -> Image:
    values = np.random.default_rng(seed).random((1, 70, 80)).astype(np.float32)
    return Image(values, "unit interval", Modality.CT)


def test_two_volumes_with_one_equal_slice_share_results_only_where_the_rest_is_not_seen(ct_volume: Image) -> None:
    slices = [volume.slice(3) for volume in (ct_volume, other_neighbours(ct_volume))]
    assert len({image_digest(image, ONE) for image in slices}) == 1
    assert len({image_digest(image, THREE) for image in slices}) == 2
    assert image_digest(slices[0], THREE) == image_digest(ct_volume.slice(3), THREE)
    assert image_digest(slices[0], THREE) != image_digest(slices[0], replace(THREE, slice_step_mm=1.0))


def test_slices_out_of_reach_change_nothing(ct_volume: Image) -> None:
    values = ct_volume.values.copy()
    values[:, 0] += 5  # 4.5 mm from slice 3; the network reaches 2.5 mm
    far = replace(ct_volume, values=values)
    assert image_digest(far.slice(3), THREE) == image_digest(ct_volume.slice(3), THREE)
    assert image_digest(far.slice(2), THREE) != image_digest(ct_volume.slice(2), THREE)


def test_scores_and_explanations_of_the_two_volumes_stay_apart(desk: Desk, ct_volume: Image) -> None:
    slices = [volume.slice(3) for volume in (ct_volume, other_neighbours(ct_volume))]
    first, second = (desk.predict("nodule", image) for image in slices)
    assert first.logits[0] != second.logits[0]
    handle = ModelHandle.load(desk.engine.cards()["nodule"])
    for image, found in zip(slices, (first, second), strict=True):
        np.testing.assert_allclose(found.logits, handle.predict([image])[0].logits, atol=1e-5)
    target = desk.engine.cards()["nodule"].target("Malignant")
    keys = {desk.engine.key(ExplainRequest("nodule", image, "grad-cam", target)) for image in slices}
    assert len(keys) == 2


def test_an_image_without_spacing_is_refused_in_one_sentence(desk: Desk) -> None:
    with pytest.raises(DataError, match="pixel spacing in mm"):
        desk.predict("nodule", plane())
    target = desk.engine.cards()["nodule"].target("Malignant")
    with pytest.raises(DataError, match="pixel spacing in mm"):
        desk.engine.explain(ExplainRequest("nodule", plane(), "grad-cam", target), RunContext())


def test_masks_are_given_where_asked_for_and_few_are_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "KEPT_MASKS", 2)
    assert desk.predict("segmenter", plane()).masks is None  # the worklist needs the scores alone
    images = [plane(seed) for seed in range(4)]
    found = [desk.predict("segmenter", image, masks=True) for image in images]
    assert all(prediction.masks is not None for prediction in found)
    assert desk.predict("segmenter", images[3], masks=True) is found[3]
    assert len(desk._masked) == 2
    assert all(prediction.masks is None for prediction in desk._predictions.values())
    again = desk.predict("segmenter", images[0], masks=True)
    np.testing.assert_array_equal(again.masks, found[0].masks)
    assert desk.predict("nodule", plane_with_spacing(), masks=True).masks is None


def plane_with_spacing() -> Image:
    values = np.random.default_rng(1).normal(-500, 300, (1, 6, 40, 50)).astype(np.float32)
    return Image(values, "HU", Modality.CT, Geometry(np.eye(4))).slice(2)


def test_what_was_found_becomes_outlines_once(desk: Desk) -> None:
    prediction = desk.predict("segmenter", plane(), masks=True)
    prediction = replace(prediction, thresholds=np.median(prediction.masks, axis=(1, 2)))
    regions = found_regions(prediction)
    assert [region.name for region in regions] == ["Infection (model)", "Effusion (model)"]
    np.testing.assert_array_equal(regions[1].mask, prediction.found[1])
    assert found_regions(prediction) is regions
    assert found_regions(desk.predict("nodule", plane_with_spacing())) == ()
    assert found_regions(None) == ()


@pytest.mark.parametrize("model", ["segmenter", "nodule"])
def test_no_method_is_refused_and_each_gives_a_map(desk: Desk, model: str, ct_volume: Image) -> None:
    card = desk.engine.cards()[model]
    assert desk.engine.unsupported(model) == {}
    quick = {"steps": 9, "samples": 4, "window": 24, "stride": 24}
    for method in EXPLAINERS:
        params = {p.name: quick[p.name] for p in method.spec.params if p.name in quick}
        request = ExplainRequest(model, ct_volume.slice(3), method.spec.id, card.target(card.classes[0]), params)
        explanation = desk.engine.explain(request, RunContext())
        assert np.isfinite(explanation.attribution.values).all()
        assert explanation.image_shape == (40, 50)
        channels = 3 if method.spec.family == "gradient" else 1
        assert explanation.attribution.values.shape[0] == channels


def test_each_sample_opens_with_the_model_made_for_it(desk: Desk) -> None:
    """All CT: what decides is the set that a case is of, not the kind of image."""
    card = desk.engine.cards()["nodule"]
    cards = {
        name: card.model_copy(update={"id": name})
        for name in ("brain-tumor-mri", "lung-cancer-ct", "lung-nodule", "pneumonia-ct")
    }
    library = Library(desk)
    expected = {
        "iqothnccd": "lung-cancer-ct", "lidc": "lung-nodule", "covid-semiseg": "pneumonia-ct",
        "phantom-lung": "lung-cancer-ct", "phantom-pneumonia": "pneumonia-ct", "lung-ct-nodule": "lung-cancer-ct",
    }  # fmt: skip
    seen = set()
    for entry in list_samples():
        prefix = next((name for name in expected if entry.id.startswith(name)), None)
        if prefix is None:
            continue
        seen.add(prefix)
        case = Case(entry.id, "C", plane(), Provenance("here", "0" * 64, "raster"))
        reading = reading_model(case, cards, library.made_for(entry.id))
        assert reading is not None
        assert reading.id == expected[prefix]
    assert {"phantom-lung", "phantom-pneumonia", "lung-ct-nodule"} <= seen
    assert library.made_for("upload-123") == ""


def test_a_busy_engine_is_asked_again_for_the_worklist(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "PAUSES_S", (0, 0.01, 0.01))
    library, asked = Library(desk), []
    library.entries = dict(list(library.entries.items())[:2])
    first = next(iter(library.entries))

    def summarise(case: Case, background: bool = False) -> Summary:
        asked.append(case.id)
        return Summary(b"picture", later=case.id == first and len(asked) < 4)

    monkeypatch.setattr(library, "summarise", summarise)
    library.start_scan()
    until = time.monotonic() + 60
    while library.scanning and time.monotonic() < until:
        time.sleep(0.01)
    assert asked == [*library.entries, first, first]
    assert not library.summary(first).later


@pytest.mark.parametrize(("error", "later"), [(Busy("Wait."), True), (DataError("Odd."), False)])
def test_what_may_be_had_later_is_told_from_what_may_not(
    nodule_model: Path,
    ct_volume: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    later: bool,
) -> None:
    desk = Desk(LocalEngine([nodule_model.parent]), ResultStore(tmp_path / "r"))

    def refuse(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(desk.engine, "predict", refuse)
    summary = Library(desk).summarise(Case("c", "C", ct_volume, Provenance("here", "0" * 64, "nifti")))
    assert (bool(summary.thumbnail), summary.score, summary.later) == (True, None, later)
    desk.close()


def test_a_case_its_model_cannot_read_keeps_its_place_in_the_worklist(nodule_model: Path, tmp_path: Path) -> None:
    desk = Desk(LocalEngine([nodule_model.parent]), ResultStore(tmp_path / "r"))
    case = Case("c", "C", plane(), Provenance("here", "0" * 64, "raster"))
    summary = Library(desk).summarise(case)
    assert summary.thumbnail
    assert summary.score is None
    desk.close()

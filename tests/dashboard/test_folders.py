"""Folder runs: the same table however it is decoded, stopped and taken up; nothing lost, nothing double."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image as Picture

from dashboard.folder_runs import work
from dashboard.folder_runs.journal import Journal
from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.planes import Wish
from dashboard.folder_runs.runs import explain_paths, predict_path
from dashboard.folder_runs.told import Told
from dashboard.folder_runs.work import FEW, settings_of
from dashboard.serving.local import LocalEngine
from dashboard.settings import ROOT, ZOO
from models.card import read_card
from models.errors import DataError, ModelError
from models.handle import ModelHandle
from models.io import iterate_cases
from models.io.archive import from_path
from models.io.limits import LOCAL_LIMITS
from models.preprocess import InputSpec

MakeModel = Callable[..., Path]
RNG = np.random.default_rng(0)
WISH = Wish(asdict(InputSpec(32, 32)))


def picture(path: Path, size: tuple[int, int] = (40, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(RNG.integers(0, 255, size, dtype=np.uint8)).save(path)
    return path


def dicom_slice(path: Path, series: str, position: int) -> Path:
    """One of pydicom's own CT files as a slice of a series."""
    ds = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    ds.SeriesInstanceUID, ds.SOPInstanceUID = series, f"{series}.{position}"
    ds.ImagePositionPatient[2] = 2.0 * position
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty-six pictures of three sizes in two folders, a series of slices over both, a single slice, and damage."""
    root = tmp_path / "in"
    for number in range(36):
        picture(
            root / ("b" if number % 3 else "") / f"film {number:02d}.png", ((40, 50), (90, 70), (300, 320))[number % 3]
        )
    for position in range(4):
        dicom_slice(root / "ba"[position % 2] / f"slice{position}", "1.2.3", position)
    dicom_slice(root / "single.dcm", "1.2.4", 0)
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (root / ".hidden.png").write_bytes(b"")
    (root / "link.png").symlink_to(root / "film 00.png")
    return root


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of an engine scores."""
    calls: list[int] = []
    own = LocalEngine.predict

    def counting(self, model_id, images, ctx):
        calls.append(len(images))
        return own(self, model_id, images, ctx)

    monkeypatch.setattr(LocalEngine, "predict", counting)
    return calls


def expected(model: Path, folder: Path) -> pd.DataFrame:
    """One image after the other, by the reader and the network alone."""
    handle, rows = ModelHandle.load(read_card(model)), {}
    for found in iterate_cases(folder):
        for case, name in zip(found.cases, found.names, strict=True):
            (answer,) = handle.predict([case.image.slice(case.image.depth // 2)])
            rows[name] = answer.probabilities
    return pd.DataFrame.from_dict(rows, orient="index", columns=["score_Alpha", "score_Beta", "score_Gamma"])


def test_the_table_is_that_of_one_image_after_the_other(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    model, out, seen = make_model(), tmp_path / "scores.parquet", []
    done = predict_path(folder, str(model), out, None, lambda *where: seen.append(where))
    table, reference = pd.read_parquet(out), expected(model, folder)
    assert sorted(table.image) == sorted(reference.index)
    assert len(table) == done.written == 38
    np.testing.assert_allclose(
        table.set_index("image").loc[reference.index].to_numpy(), reference.to_numpy(), atol=1e-5
    )
    assert table.image[:2].tolist() == ["film 00.png", "film 03.png"]
    assert list(done.failures.sentences.values()) == [(1, ["broken.png"])]
    assert (seen[0], seen[-1]) == ((0, 39), (39, 39))


def test_workers_change_no_byte(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    model = str(make_model())
    for workers in (0, 2):
        predict_path(folder, model, tmp_path / f"{workers}.parquet", None, workers=workers)
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    names = [json.loads((tmp_path / f"{workers}.manifest.json").read_text()) for workers in (0, 2)]
    assert names[0] == names[1]
    assert len(names[0]["warnings"]) == 36 + 2


KILLED = """
import os, signal, sys
from pathlib import Path
from dashboard.folder_runs.runs import predict_path
calls = []
def show(done, total):
    calls.append(done)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
predict_path(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), None, show, int(sys.argv[4]))
"""


def test_a_killed_run_goes_on_where_it_was(
    make_model: MakeModel, folder: Path, tmp_path: Path, scored: list[int]
) -> None:
    model, out = str(make_model()), tmp_path / "killed.csv"
    script = [sys.executable, "-c", KILLED, str(folder), model, str(out), "1"]
    killed = subprocess.run(script, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    done = predict_path(folder, model, out, None, workers=0)
    assert sum(scored) == 38 - 3 * FEW
    assert scored[0] == FEW  # in the same groups as an unbroken run, which decide the last bit of a score
    assert done.written == 38
    predict_path(folder, model, tmp_path / "whole.csv", None)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "killed.manifest.json").read_text() == (tmp_path / "whole.manifest.json").read_text()


def test_a_later_call_scores_what_is_new_or_changed_and_forgets_what_is_gone(
    make_model: MakeModel, folder: Path, tmp_path: Path, scored: list[int]
) -> None:
    model, out = str(make_model()), tmp_path / "s.csv"
    predict_path(folder, model, out, None)
    scored.clear()
    picture(folder / "broken.png")
    picture(folder / "film 03.png", (41, 50))
    picture(folder / "z" / "new.png")
    (folder / "film 00.png").unlink()
    (folder / "a" / "slice1").unlink()
    predict_path(folder, model, out, None)
    assert sum(scored) == 4  # the repaired, the changed, the new, and the series that lost a slice
    predict_path(folder, model, tmp_path / "anew.csv", None)
    found, anew = (pd.read_csv(tmp_path / name) for name in ("s.csv", "anew.csv"))
    assert found.image.tolist() == anew.image.tolist()
    np.testing.assert_allclose(found.iloc[:, 1:], anew.iloc[:, 1:], atol=1e-6)
    scored.clear()
    predict_path(folder, model, out, None, restart=True)
    assert sum(scored) == 39


def test_many_small_images_go_together_and_whole_ones_do_not(
    make_model: MakeModel,
    segmenter: MakeModel,
    folder: Path,
    tmp_path: Path,
    scored: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "MANY", 20)
    monkeypatch.setattr(LocalEngine, "expect_many", lambda self, model: None)
    predict_path(folder, str(make_model()), tmp_path / "s.csv", None)
    assert scored == [38]
    scored.clear()
    predict_path(folder, str(segmenter()), tmp_path / "m.csv", None)
    assert max(scored) == FEW


def test_other_settings_use_no_old_scores(
    make_model: MakeModel, folder: Path, tmp_path: Path, scored: list[int]
) -> None:
    out = tmp_path / "s.csv"
    predict_path(folder, str(make_model()), out, None)
    scored.clear()
    predict_path(folder, str(make_model("other", calibration={"method": "temperature", "scale": 2.0})), out, None)
    assert sum(scored) == 38


def test_the_listing_is_that_of_the_readers(folder: Path) -> None:
    units = sorted(units_of([folder]), key=lambda unit: unit.place)
    listed = sorted(name for unit in units for name in unit.names)
    assert listed == sorted(member.name for member in from_path(folder, LOCAL_LIMITS)[0])
    (series,) = [unit for unit in units if len(unit.files) > 1]
    assert series.names == ("a/slice1", "a/slice3", "b/slice0", "b/slice2")


def test_maps_that_are_there_are_kept(
    make_model: MakeModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    own = LocalEngine.explain_targets

    def counting(self, request, targets, ctx):
        if stop and len(made) == 5:
            raise KeyboardInterrupt
        made.append(request.method)
        return own(self, request, targets, ctx)

    monkeypatch.setattr(LocalEngine, "explain_targets", counting)
    (tmp_path / "again").mkdir()
    same_name = picture(tmp_path / "again" / "film 00.png")
    paths, model = [folder / "film 00.png", folder / "film 03.png", same_name], str(make_model())

    def explain(out: str, restart: bool = False) -> None:
        show = lambda done, total: None  # noqa: E731
        explain_paths(paths, model, ["grad-cam", "occlusion"], "Beta", tmp_path / out, None, 0, show, None, restart)

    stop = True
    with pytest.raises(KeyboardInterrupt):
        explain("maps")
    stop = False
    assert not (tmp_path / "maps" / "manifest.json").exists()
    explain("maps")
    assert len(made) == 6
    explain("whole")
    entries = [json.loads((tmp_path / out / "manifest.json").read_text())["maps"] for out in ("maps", "whole")]
    for entry in [*entries[0], *entries[1]]:
        entry.pop("runtime_s")
    assert entries[0] == entries[1]
    assert [entry["file"].split(".")[0] for entry in entries[0]] == ["film_00"] * 2 + ["film_03"] * 2 + [
        "film_00-2"
    ] * 2
    (tmp_path / "maps" / entries[0][3]["file"]).write_bytes(b"short")
    made.clear()
    explain("maps")
    assert made == ["occlusion"]
    for entry in entries[1]:
        files = [np.load(tmp_path / out / entry["file"])["values"] for out in ("maps", "whole")]
        np.testing.assert_array_equal(*files)
    made.clear()
    explain("maps", restart=True)
    assert len(made) == 6


def test_maps_of_other_settings_are_removed_and_no_other_file(
    make_model: MakeModel, folder: Path, tmp_path: Path
) -> None:
    out, model = tmp_path / "maps", str(make_model())

    def explain(methods: list[str], show: Callable[[int, int | None], None]) -> set[str]:
        explain_paths([folder / "film 00.png"], model, methods, "Beta", out, None, 0, show)
        listed = {entry["file"] for entry in json.loads((out / "manifest.json").read_text())["maps"]}
        return {path.name for path in out.glob("*.npz")} - listed

    def stop(done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    assert not explain(["grad-cam", "occlusion"], lambda done, total: None)
    (out / "film_00.own.Beta.npz").write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):
        explain(["grad-cam"], stop)
    assert (out / "film_00.occlusion.Beta.npz").exists()  # until what takes its place is whole
    assert explain(["grad-cam"], lambda done, total: None) == {"film_00.own.Beta.npz"}
    assert {path.name for path in out.glob("*.png")} == {"film_00.grad-cam.Beta.png"}


def test_results_depend_on_what_tells_unusual_images() -> None:
    card = read_card(ZOO / "chest-xray-14")
    changed = card.model_copy(update={"novelty": card.novelty.model_copy(update={"sha256": "0" * 64})})
    settings = [settings_of(one, None) for one in (card, changed, card.model_copy(update={"novelty": None}))]
    assert all(one != other for one, other in itertools.combinations(settings, 2))


def test_an_image_the_model_has_no_number_for_costs_itself_alone(
    make_model: MakeModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = LocalEngine.predict

    def predict(self, model_id, images, ctx):
        if any(image.plane_shape == (41, 50) for image in images):
            raise ModelError("The scores are not finite.")
        return own(self, model_id, images, ctx)

    monkeypatch.setattr(LocalEngine, "predict", predict)
    picture(folder / "film 03.png", (41, 50))
    model, out = str(make_model()), tmp_path / "s.csv"
    for _ in range(2):
        assert predict_path(folder, model, out, None).written == 37
        skipped = json.loads((tmp_path / "s.manifest.json").read_text())["skipped"]
        assert skipped["film 03.png"] == "The scores are not finite."
    paths = [folder / "film 03.png", folder / "film 00.png"]
    show = lambda done, total: None  # noqa: E731
    assert explain_paths(paths, model, ["grad-cam"], "Beta", tmp_path / "maps", None, 0, show).written == 1


def test_a_model_that_cannot_be_loaded_ends_the_run(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    model = make_model()
    (model / read_card(model).weights.file).write_bytes(b"damaged")
    seen: list[int] = []
    with pytest.raises(ModelError):
        predict_path(folder, str(model), tmp_path / "s.csv", None, lambda done, total: seen.append(done))
    assert seen == [0]


def test_a_name_is_listed_once_with_all_its_reasons(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", {}, restart=False) as journal:
        for name, reason in (("a", "It is cut."), ("b", "It is bad."), ("a", "It is dark."), ("a", "It is cut.")):
            journal.skip(name, reason)
        assert list(journal.skips()) == [("a", "It is cut. It is dark."), ("b", "It is bad.")]


def test_a_mask_that_is_gone_is_made_again(segmenter: MakeModel, tmp_path: Path, scored: list[int]) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "in" / f"{name}.png")
    model, out = str(segmenter()), tmp_path / "s.csv"
    predict_path(tmp_path / "in", model, out, None)
    before = {path.name: path.read_bytes() for path in (tmp_path / "s.masks").iterdir()}
    (tmp_path / "s.masks" / "b.Effusion.png").unlink()
    scored.clear()
    predict_path(tmp_path / "in", model, out, None)
    assert scored == [1]
    assert {path.name: path.read_bytes() for path in (tmp_path / "s.masks").iterdir()} == before


def test_a_journal_that_is_none_and_one_in_use_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"something else" * 100)
    with pytest.raises(DataError, match="--restart"):
        Journal(tmp_path / "a", {}, restart=False)
    Journal(tmp_path / "a", {}, restart=True).close()
    with Journal(tmp_path / "b", {}, restart=False), pytest.raises(DataError, match="Another run"):
        Journal(tmp_path / "b", {}, restart=False)


def test_sentences_are_counted_and_the_rest_left_to_the_manifest() -> None:
    told = Told()
    for number in range(200):
        told.add(f"{number}", f"sentence {chr(ord('A') + number % 60)}")
    assert told.sentences["sentence D"] == (4, ["3", "63", "123"])
    assert told.images == 200
    assert told.unsaid == 200 - 170


def test_sentences_that_differ_in_numbers_are_one_with_their_span() -> None:
    told = Told()
    for name, distance in (("a", 9.5), ("b", 10.0), ("c", 2.25), ("d", 3.0)):
        told.add(name, f"Unlike the training images: {distance} times the usual, of 40 held out.", "Small.")
    assert told.sentences == {
        "Unlike the training images: 2.25 to 10.0 times the usual, of 40 held out.": (4, ["a", "b", "c"]),
        "Small.": (4, ["a", "b", "c"]),
    }

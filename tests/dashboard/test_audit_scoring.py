"""A folder scored for an audit: every image gets its own score and labels, and work done is not done again."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from dashboard.audit.reading import zoo_table
from dashboard.audit_scoring import ScoringRuns, score_folder
from dashboard.folder_runs.work import FEW
from dashboard.settings import ZOO
from models.card import read_card
from models.errors import Cancelled, DataError
from models.types import Prediction
from sample_data.folders import image_folder

CARD = read_card(ZOO / "chest-xray-14")
COUNT = len(CARD.classes)


class Engine:
    """Scores tell the image: its mean grey over 255, less a hundredth for each class before."""

    def __init__(self, stop_after: int | None = None, cancelled: threading.Event | None = None) -> None:
        self.seen = 0
        self._stop_after, self._cancelled = stop_after, cancelled

    def state(self, model_id):
        return "loaded"

    def predict(self, model_id, images, ctx):
        if any(image.plane_shape == (3, 3) for image in images):
            raise DataError("The image is too small for the network.")
        self.seen += len(images)
        if self._cancelled is not None and self.seen >= self._stop_after:
            self._cancelled.set()
        means = [float(image.values.mean()) for image in images]
        rows = [np.asarray([mean / 255 - k / 100 for k in range(COUNT)], np.float32) for mean in means]
        return tuple(Prediction(model_id, CARD.classes, row, row, CARD.threshold_array, False) for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures of one grey each, 100 to 119; every second one in a folder below."""
    for row in range(20):
        place = tmp_path / "images" / ("deep" if row % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(np.full((20, 24), 100 + row, np.uint8)).save(place / f"film {row:02d}.png")
    return tmp_path / "images"


def labels(n: int = 20) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "picture": [f"film {row:02d}.png" for row in range(n)],
            "patient_id": [row // 2 for row in range(n)],
            "Edema": [row % 3 == 0 for row in range(n)],
            "label_Pleural Thickening": [0, 1] * (n // 2),
            "sex": ["F", "M"] * (n // 2),
        }
    )


def score(engine, folder, table, tmp_path, show=lambda done, total: None, cancelled=None):
    cancelled = cancelled or threading.Event()
    return score_folder(engine, CARD, folder, table, "films", tmp_path / "cache" / "scores", show, cancelled)


def test_each_image_gets_its_score_and_labels(folder, tmp_path):
    shown = []
    scored = score(Engine(), folder, labels(), tmp_path, lambda done, total: shown.append((done, total)))
    table = scored.table
    greys = 100 + np.arange(20)
    np.testing.assert_allclose(table.scores, greys[:, None] / 255 - np.arange(COUNT) / 100, atol=1e-6)
    assert table.cases["case_id"].tolist() == labels()["picture"].tolist()
    assert table.positive[:, CARD.classes.index("Edema")].tolist() == labels()["Edema"].tolist()
    assert table.positive[:, CARD.classes.index("Pleural_Thickening")].tolist() == [False, True] * 10
    assert np.isnan(table.labels[:, CARD.classes.index("Mass")]).all()
    assert table.patients == 10
    assert table.attributes == ("sex",)
    assert table.model_id == CARD.id
    assert not scored.failures
    np.testing.assert_allclose(table.thresholds, CARD.threshold_array)
    assert shown[0] == (0, 20)
    assert shown[-1] == (20, 20)


def test_names_without_ending_and_with_a_path_are_found(folder, tmp_path):
    table = labels(2).assign(picture=["film 00", "deep/film 01.png"])
    np.testing.assert_allclose(score(Engine(), folder, table, tmp_path).table.scores[:, 0], [100 / 255, 101 / 255])


def test_what_cannot_be_scored_is_listed_with_its_reason(folder, tmp_path):
    (folder / "film 04.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Picture.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "film 06.png")
    (folder / "film 08.png").unlink()
    Picture.fromarray(np.zeros((20, 20), np.uint8)).save(folder / "deep" / "film 00.png")
    scored = score(Engine(), folder, labels(), tmp_path)
    assert set(scored.failures) == {"film 00.png", "film 04.png", "film 06.png", "film 08.png"}
    assert "too small" in scored.failures["film 06.png"]
    assert "No image of that name" in scored.failures["film 08.png"]
    assert len(scored.table) == 16
    np.testing.assert_allclose(scored.table.scores[0, 0], 101 / 255)
    assert "4 of 20 images have no score" in scored.table.notes[0]


def test_a_file_with_an_image_that_can_be_read_has_a_score_and_no_fault(folder, tmp_path):
    with zipfile.ZipFile(folder / "both.dcm", "w") as archive:
        archive.writestr("a.png", b"\x89PNG\r\n\x1a\n broken")
        archive.write(folder / "film 04.png", "b.png")
    scored = score(Engine(), folder, labels(2).assign(picture=["both.dcm", "film 00.png"]), tmp_path)
    np.testing.assert_allclose(scored.table.scores[:, 0], [104 / 255, 100 / 255])
    assert not scored.failures
    assert len(scored.table.notes) == len(score(Engine(), folder, labels(2), tmp_path).table.notes)


def test_a_stopped_run_goes_on_where_it_was(folder, tmp_path):
    cancelled = threading.Event()
    first = Engine(stop_after=1, cancelled=cancelled)
    with pytest.raises(Cancelled):
        score(first, folder, labels(), tmp_path, cancelled=cancelled)
    assert first.seen == FEW
    second, whole, fresh = Engine(), Engine(), Engine()
    resumed = score(second, folder, labels(), tmp_path)
    assert second.seen == 20 - FEW
    assert resumed.table.digest == score(fresh, folder, labels(), tmp_path / "other").table.digest
    parts = sorted((tmp_path / "cache" / "scores").iterdir())
    assert all(len(part.stem) == 64 and part.suffix == ".npz" for part in parts)
    parts[0].write_bytes(b"damaged")
    (folder / "film 19.png").touch()
    score(whole, folder, labels(), tmp_path)
    assert 0 < whole.seen <= FEW + 20 % FEW


def test_another_picture_under_the_same_name_is_scored_anew(folder, tmp_path):
    score(Engine(), folder, labels(2), tmp_path)
    Picture.fromarray(np.full((21, 24), 77, np.uint8)).save(folder / "film 00.png")
    assert score(Engine(), folder, labels(2), tmp_path).table.scores[0, 0] == pytest.approx(77 / 255)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.assign(picture="film 00.png"), "Row 2 of the label table: picture"),
        (lambda table: table[["picture", "sex"]], "has no labels of"),
        (lambda table: table.assign(Edema=[0, 2] * 10), "Row 2 of films: Edema holds 2"),
        (lambda table: table.assign(picture=[f"x{row}" for row in range(20)]), "None of the 20 images"),
    ],
)
def test_a_bad_label_table_is_refused_before_any_image_is_scored(change, says, folder, tmp_path):
    engine = Engine()
    with pytest.raises(DataError, match=says):
        score(engine, folder, change(labels()), tmp_path)
    assert engine.seen == 0


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        score(Engine(), tmp_path / "no", labels(), tmp_path)


def test_runs_end_in_a_state_and_are_found_again():
    runs, release = ScoringRuns(), threading.Event()

    def work(show, cancelled):
        show(1, 2)
        release.wait(10)
        raise DataError("It is broken.") if not cancelled.is_set() else Cancelled("Stopped.")

    run = runs.start("a", work)
    assert runs.start("a", work) is run
    release.set()
    run.join(10)
    assert (run.state, run.message, run.done, run.total) == ("failed", "It is broken.", 1, 2)
    release.clear()
    again = runs.start("a", work)
    assert again is not run
    again.stop()
    release.set()
    again.join(10)
    assert again.state == "stopped"
    odd = runs.start("b", lambda show, cancelled: 1 / 0)
    odd.join(10)
    assert odd.state == "failed"
    assert "ZeroDivisionError" in odd.message
    runs.close()


def test_a_shipped_model_scores_its_test_images_as_it_was_evaluated(tmp_path):
    images = image_folder(CARD.id)
    if images is None:
        pytest.skip("the data folder has no chest films")
    from dashboard.serving.local import LocalEngine

    stored = zoo_table(CARD).in_split("test")
    stored = stored.part(np.arange(len(stored)) % 150 == 0)
    frame = stored.cases[["case_id", "patient_id", "sex"]].assign(
        **{name: stored.labels[:, k] for k, name in enumerate(CARD.classes)}
    )
    show = lambda done, total: None  # noqa: E731
    engine = LocalEngine((ZOO,))
    scored = score_folder(engine, CARD, images, frame, "t", tmp_path / "c" / "s", show, threading.Event())
    np.testing.assert_allclose(scored.table.scores, stored.scores, atol=2e-3)
    np.testing.assert_array_equal(scored.table.labels, stored.labels)

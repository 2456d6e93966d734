"""From a training to a model folder that reproduces its own figures, and what stops it."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from models.card import ModelCard, read_card
from models.errors import DataError, ModelError
from models.evaluation import read_evaluation, read_history
from models.handle import ModelHandle
from models.registry import discover
from models.training import half, recipes
from models.training.evaluate import difference, evaluate
from models.training.leaks import LEAKED, check_splits
from models.training.model_page import write_index, write_page
from models.training.publish import release
from models.training.recipe import GROUP, ID, RECIPES, SPLIT, Recipe
from models.training.scoring import records_of, rows_of
from models.training.tables import widen
from sample_data.samples import data_folder
from tests.conftest import card_fields
from tests.models.fake_recipe import CLASSES, fake_recipe, image_of, rows_of_task, write_run

DATA = data_folder()
PLACES = {
    "chest-xray-14": "images_128/{file}",
    "skin-lesion-7": "images/{case_id}.jpg",
    "brain-tumor-mri": "{file}",
}  # of the large sets, a row's file
FOLDERS = {
    "chest-xray-14": "nih_cxr14",
    "skin-lesion-7": "ham10000_200x150",
    "brain-tumor-mri": "brain_tumor_mri_224",
    "lung-cancer-ct": "iqothnccd_256",
    "lung-nodule": "lidc_nodules",
    "pneumonia-ct": "covid_semiseg",
}


@pytest.fixture(scope="module", params=list(CLASSES))
def released(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, ModelCard]:
    recipe, folder = fake_recipe(request.param), tmp_path_factory.mktemp(request.param)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error")
        patch.setattr("models.training.robustness.MOST", 30)
        return recipe, release(recipe, folder, write_run(recipe, folder / "run"), folder / "zoo" / recipe.id)


def test_the_card_and_its_files_are_whole(released: tuple[Recipe, ModelCard]) -> None:
    recipe, card = released
    assert {path.name for path in card.folder.iterdir()} == {
        "card.toml",
        "weights.safetensors",
        "novelty.safetensors",
        "history.csv",
        "evaluation",
    }
    assert card.performance
    assert all(one.split == "test" for one in card.performance)
    assert card.losses[0].value == 0.7
    assert (card.training.loss, card.training.machine) == ("cross-entropy", "none")
    assert card.training.history is not None
    assert read_history(card.folder / card.training.history)[0].validation == 0.7
    assert len(card.robustness) == 1 + 6 * 3
    assert (card.robustness[0].corruption, card.robustness[0].n) == ("none", 30)
    assert card.unusual is not None
    assert card.unusual.kept >= 0.98
    evaluation = read_evaluation(card.folder)
    assert evaluation is not None
    assert evaluation.cases == {"train": 60, "val": 60, "test": 90}
    assert evaluation.counts["val"][recipe.classes[0]] == rows_of_task(card.task).query("split == 'val'")["Alpha"].sum()
    assert (evaluation.confusion is None) == (card.task in ("multilabel", "segmentation"))
    assert card.calibration.method in [one.method for one in evaluation.calibration.validation]
    assert set(evaluation.calibration.test) == {"before", "after"}


def test_tables_hold_what_the_served_model_says(released: tuple[Recipe, ModelCard]) -> None:
    recipe, card = released
    handle = ModelHandle.load(card)
    for split, file in (("val", "validation"), ("test", "test")):
        table = pd.read_parquet(card.folder / "evaluation" / f"{file}.parquet")
        rows = rows_of(recipe, Path(), split)
        predictions = handle.predict([recipe.image(Path(), row) for row in rows.to_dict("records")])
        scores = np.stack([one.probabilities for one in predictions])
        wide = widen(table, card.classes)
        np.testing.assert_allclose(wide.scores, scores, atol=1e-5)
        assert table["score"].dtype == table["raw_score"].dtype == np.float32
        assert table["label"].dtype == np.int8
        assert wide.cases["case_id"].tolist() == rows[ID].tolist()
        assert wide.cases["sex"].tolist() == rows["sex"].tolist()
        assert set(table["split"]) == {split}
    if card.task == "segmentation":
        for number, one in enumerate(predictions[:5]):
            assert one.found is not None
            assert table["found_share"][number] == pytest.approx(float(one.found[0].mean()), abs=1e-6)
    else:
        first = next(one for one in card.performance if one.metric == "AUROC")
        ranks = wide.scores if card.exclusive else wide.raw
        assert first.value == pytest.approx(roc_auc_score(wide.labels[:, 0], ranks[:, 0]), abs=1e-6)


def test_an_evaluation_reproduces_the_stored_one(released: tuple[Recipe, ModelCard], tmp_path: Path) -> None:
    recipe, card = released
    again = evaluate(recipe, tmp_path, card)
    assert difference(again, card) < 1e-5
    again.metrics["measures"][0]["value"] += 0.25
    assert difference(again, card) == pytest.approx(0.25, abs=1e-4)
    others = replace(recipe, rows=lambda data: rows_of_task(card.task).iloc[:-2])
    with pytest.raises(DataError, match="other cases"):
        difference(evaluate(others, tmp_path, card), card)


def test_the_page_says_what_was_measured(released: tuple[Recipe, ModelCard], tmp_path: Path) -> None:
    _, card = released
    text = write_page(card, tmp_path).read_text(encoding="utf-8")
    for heading in ("Intended use", "Data", "Preprocessing", "Training", "Performance", "Calibration", "Robustness"):
        assert f"\n## {heading}" in text
    assert "never replaces it" in text
    assert "- Anything else." in text
    shown = card.performance[0]
    assert shown.value is not None
    assert f"{shown.value:.3f} (" in text
    assert "gaussian noise" in text
    assert "None" not in text
    assert "nan" not in text.split()
    for table in text.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1


@pytest.mark.parametrize(("value", "word"), [(0.5, "missed"), (0.73, "yes"), (0.8, "aim")])
def test_the_index_compares_with_what_was_asked(value: float, word: str, tmp_path: Path) -> None:
    measure = {"metric": "macro AUROC", "value": value, "low": 0.4, "high": 0.9, "n": 90, "split": "test"}
    pin = {"file": "w.safetensors", "sha256": "0" * 64}
    card = ModelCard(**card_fields(id="chest-xray-14", weights=pin, performance=[measure]))
    text = write_index([card], tmp_path).read_text(encoding="utf-8")
    assert (
        f"| [chest-xray-14](chest-xray-14.md) | macro AUROC | {value:.3f} (0.400 to 0.900) | 90 | 0.72 | 0.76 | {word} |"
        in text
    )


def planted(change: Callable[[pd.DataFrame], None]) -> Recipe:
    def rows(data: Path) -> pd.DataFrame:
        table = rows_of_task("multilabel")
        change(table)
        return table

    return fake_recipe(rows=rows)


def test_a_group_on_two_sides_is_refused() -> None:
    def leak(table: pd.DataFrame) -> None:
        table.loc[130, GROUP] = table.loc[3, GROUP]

    with pytest.raises(
        DataError, match=r"both sides of a split 1 times, first in case-002 \(train\) and case-130 \(test"
    ):
        check_splits(planted(leak), Path())


def test_an_identical_image_on_two_sides_is_refused() -> None:
    def image(data: Path, row: Any) -> Any:
        return image_of(dict(row) | ({ID: "case-007"} | dict.fromkeys(CLASSES["multilabel"], 0)), CLASSES["multilabel"])

    def only_some(data: Path, row: Any) -> Any:
        return image(data, row) if row[ID] in ("case-009", "case-070") else image_of(row, CLASSES["multilabel"])

    with pytest.raises(DataError, match=r"identical image .*case-009 \(train\) and case-070 \(val\)"):
        check_splits(fake_recipe(image=only_some), Path())


def test_leaked_rows_are_no_part_of_a_split_but_are_measured_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_aside(table: pd.DataFrame) -> None:
        table.loc[200:209, SPLIT] = LEAKED
        table.loc[200:209, GROUP] = table.loc[3, GROUP]

    monkeypatch.setattr("models.training.publish.robustness", lambda handle, recipe, data: ())
    recipe = planted(set_aside)
    assert check_splits(recipe, tmp_path).cases == {"leaked": 10, "test": 80, "train": 60, "val": 60}
    card = release(recipe, tmp_path, write_run(recipe, tmp_path / "run"), tmp_path / "zoo")
    sizes = {one.split: one.n for one in card.performance if one.metric == "macro AUROC"}
    assert sizes == {"test": 80, "test as published": 90}
    assert "as it was published" in write_page(card, tmp_path).read_text()


def test_an_empty_part_is_refused() -> None:
    def empty(table: pd.DataFrame) -> None:
        table.loc[table[SPLIT] == "val", SPLIT] = "train"

    with pytest.raises(DataError, match="no val images"):
        check_splits(planted(empty), Path())


def test_a_training_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    recipe = fake_recipe()
    with pytest.raises(ModelError, match="not complete"):
        release(recipe, tmp_path, tmp_path / "nowhere", tmp_path / "zoo")
    run = write_run(recipe, tmp_path / "run")
    torch.save({"other": torch.zeros(2)}, run / "best.pt")
    with pytest.raises(ModelError, match="does not fit"):
        release(recipe, tmp_path, run, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("wrong", ["too large", "scores move"])
def test_weights_that_do_not_ship_leave_nothing(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = fake_recipe()
    run = write_run(recipe, tmp_path / "run")
    if wrong == "too large":
        monkeypatch.setattr(half, "MOST_BYTES", 1000)
    else:
        state = torch.load(run / "best.pt", weights_only=True)
        state["classifier.weight"] += 1000.0  # half precision has steps of 0.5 there
        state["classifier.weight"] += torch.rand(state["classifier.weight"].shape)
        monkeypatch.setattr("models.training.publish.KEPT", (0,))
        torch.save(state, run / "best.pt")
    with pytest.raises(ModelError, match="MB, more than" if wrong == "too large" else "In half precision"):
        release(recipe, tmp_path, run, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_small_tensors_stay_in_single_precision(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    module = fake_recipe().build()
    half.save_weights(module, tmp_path / "w.safetensors", kept=1000)
    for name, value in load_file(tmp_path / "w.safetensors").items():
        assert value.dtype == (torch.float16 if value.numel() > 1000 else torch.float32), name


def test_metrics_hold_no_number_that_json_lacks(released: tuple[Recipe, ModelCard]) -> None:
    _, card = released
    text = (card.folder / "evaluation" / "metrics.json").read_text()
    stored = json.loads(text, parse_constant=pytest.fail)
    assert stored["fp16"]["largest_difference"] < 1e-3
    assert read_card(card.folder) == card


@pytest.mark.skipif(DATA is None, reason="no data folder (SIGHTLINE_DATA or ../shared/data)")
@pytest.mark.parametrize("recipe_id", list(FOLDERS))
def test_no_group_and_no_image_crosses_the_shipped_splits(recipe_id: str) -> None:
    discover(recipes)
    recipe = RECIPES.get(recipe_id)
    assert DATA is not None
    folder = DATA / FOLDERS[recipe_id]
    if not folder.is_dir():
        pytest.skip(f"the data folder has no {folder.name}")
    rows = recipe.rows(folder)
    if len(rows) > 1500:  # decoding all would take minutes, which the release does; here the files' bytes must do
        rows = rows[rows[SPLIT] != LEAKED]
        assert rows.groupby(GROUP)[SPLIT].nunique().max() == 1
        digests = [
            hashlib.sha256((folder / PLACES[recipe_id].format(**row)).read_bytes()).digest() for row in records_of(rows)
        ]
        assert rows.groupby(digests)[SPLIT].nunique().max() == 1
        return
    assert min(check_splits(recipe, folder).cases.values()) > 0

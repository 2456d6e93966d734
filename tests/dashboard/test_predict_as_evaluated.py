"""A folder scored by the command line's code gives the scores stored beside each shipped model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from dashboard.folder_runs.runs import predict_path
from dashboard.settings import ZOO
from models.card import read_card
from models.registry import discover
from models.training import recipes
from models.training.recipe import ID, RECIPES
from sample_data.samples import data_folder

discover(recipes)
PLACES = {
    "chest-xray-14": "images_128/{file}",
    "skin-lesion-7": "images/{case_id}.jpg",
    "skin-lesion-outline": "images/{case_id}.jpg",
    "brain-tumor-mri": "{file}",
    "lung-cancer-ct": "{file}",
    "lung-nodule": "image/{file}",
    "pneumonia-ct": "{file}",
}
MANY = 12


@pytest.mark.parametrize("model", sorted(PLACES))
def test_predicting_a_folder_gives_the_stored_scores(model: str, tmp_path: Path) -> None:
    recipe, data = RECIPES.get(model), data_folder()
    if data is None or not (data / recipe.folder).is_dir():
        pytest.skip(f"the data folder has no {recipe.folder}")
    rows = recipe.rows(data / recipe.folder)
    rows = rows[rows.split == "test"]
    chosen = rows.iloc[:: max(1, len(rows) // MANY)].head(MANY)
    images = tmp_path / "images"
    images.mkdir()
    for number, row in enumerate(chosen.to_dict("records")):
        source = data / recipe.folder / PLACES[model].format(**row)
        shutil.copy(
            source,
            images / f"{number:02d}{''.join(source.suffixes[-2:] if source.suffix == '.gz' else [source.suffix])}",
        )
    out = tmp_path / "scores.csv"
    done = predict_path(images, model, out, None)
    assert done.written == len(chosen)
    found = pd.read_csv(out).sort_values("image").reset_index(drop=True)
    table = pd.read_parquet(ZOO / model / "evaluation" / "test.parquet")
    stored = table.set_index(["class", "case_id"]).score
    for name in read_card(ZOO / model).classes:
        expected = stored[name][chosen[ID]].to_numpy()
        assert found[f"score_{name}"].to_numpy() == pytest.approx(expected, abs=1e-4), name

"""What the recipes state holds on the real data, and none of the cases shown in the app was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from models.card import ModelCard, read_card
from models.registry import discover
from models.training import recipes
from models.training.losses import LOSSES
from models.training.publish import WORDS
from models.training.recipe import GROUP, ID, RECIPES, SPLIT, Recipe, balanced_accuracy, dice, macro_auroc
from models.training.recipes.brain_tumor_mri import near_duplicates
from models.training.splits import blocks
from sample_data.samples import data_folder, list_samples

discover(recipes)
SYSTEMS = {
    "chest-xray-14",
    "skin-lesion-7",
    "skin-lesion-outline",
    "brain-tumor-mri",
    "lung-cancer-ct",
    "lung-nodule",
    "pneumonia-ct",
}
DATA = data_folder()
ZOO = Path(__file__).parents[2] / "models" / "zoo"
each = pytest.mark.parametrize("recipe", list(RECIPES), ids=lambda recipe: recipe.id)


def _rows(recipe: Recipe):  # type: ignore[no-untyped-def]
    if DATA is None or not (DATA / recipe.folder).is_dir():
        pytest.skip("no data folder (SIGHTLINE_DATA or ../shared/data)")
    return recipe.rows(DATA / recipe.folder)


def test_there_is_a_recipe_for_each_system() -> None:
    assert set(RECIPES.ids()) == SYSTEMS


@each
def test_the_card_is_valid_and_the_loss_is_known(recipe: Recipe) -> None:
    weights = {"file": "weights.safetensors", "sha256": "0" * 64}
    try:
        card = ModelCard(**(dict(recipe.card) | {"weights": weights}))
    except ValidationError as error:
        pytest.fail(str(error))
    assert card.limits
    assert card.not_for
    assert card.published
    assert {recipe.loss, *recipe.losses} <= set(LOSSES)
    assert (Path(__file__).parents[2] / card.training.recipe).is_file()


@each
def test_the_shipped_card_says_what_the_recipe_says(recipe: Recipe) -> None:
    card = read_card(ZOO / recipe.id)
    words = ModelCard(**(dict(recipe.card) | {"weights": card.weights.model_dump()}))
    for name in WORDS:
        assert getattr(card, name) == getattr(words, name), name
    assert (card.training.data, card.training.loss_note) == (words.training.data, words.training.loss_note)


@each
def test_no_group_is_on_two_sides(recipe: Recipe) -> None:
    rows = _rows(recipe)
    kept = rows[rows[SPLIT].isin(["train", "val", "test"])]
    assert (kept.groupby(GROUP)[SPLIT].nunique() == 1).all()
    assert rows[ID].is_unique
    assert set(kept[SPLIT]) == {"train", "val", "test"}
    labels = rows[list(recipe.classes)].to_numpy()
    assert set(np.unique(labels)) <= {0, 1}
    if recipe.card["task"] == "multiclass":
        assert (labels.sum(1) == 1).all()


# The end of a case's name in the app, as the recipe spells it.
SPELT = {
    "skin-lesion-7": ("ham10000-isic-", lambda row: row[ID].removeprefix("ISIC_")),
    "skin-lesion-outline": ("ham10000-isic-", lambda row: row[ID].removeprefix("ISIC_")),
    "lung-nodule": ("lidc-", lambda row: row[ID].removeprefix("LIDC-IDRI-").replace("_R_", "-")),
    "lung-cancer-ct": ("iqothnccd-", lambda row: row["kind"][0] + "-" + f"{int(row['file'].split('(')[1][:-5]):03d}"),
    "pneumonia-ct": (
        "covid-semiseg-",
        lambda row: f"{int(Path(row['file']).stem):03d}" if row[SPLIT] == "test" else "",
    ),
}


@pytest.mark.parametrize("recipe_id", sorted(SPELT))
def test_the_cases_of_the_app_are_held_out(recipe_id: str) -> None:
    prefix, spell = SPELT[recipe_id]
    rows = _rows(RECIPES.get(recipe_id))
    split = dict(zip(rows.apply(spell, axis=1), rows[SPLIT], strict=True))
    shown = [sample.id.removeprefix(prefix) for sample in list_samples() if sample.id.startswith(prefix)]
    assert len(shown) >= 12
    assert {split.get(name) for name in shown} == {"test"}


def test_no_film_of_the_app_is_of_a_patient_trained_on() -> None:
    rows = _rows(RECIPES.get("chest-xray-14"))
    trained = set(rows[GROUP][rows[SPLIT] != "test"])
    shown = {str(int(sample.id.split("-")[1])) for sample in list_samples() if sample.id.startswith("nih-")}
    assert len(shown) >= 12
    assert not shown & trained


def test_both_skin_models_share_their_parts() -> None:
    outlined, named = (_rows(RECIPES.get(name)) for name in ("skin-lesion-outline", "skin-lesion-7"))
    parts = dict(zip(named[ID], named[SPLIT], strict=True))
    assert len(outlined) > 9000
    assert [parts[name] for name in outlined[ID]] == outlined[SPLIT].tolist()


def test_the_test_cases_of_the_brain_set_are_published_as_such() -> None:
    rows = _rows(RECIPES.get("brain-tumor-mri"))
    testing = rows.file.str.startswith("Testing")
    assert set(rows[SPLIT][testing]) == {"test", "leaked"}
    assert set(rows[SPLIT][~testing]) == {"train", "val"}
    assert 600 < (rows[SPLIT] == "test").sum() < 1031


def test_near_duplicates_are_found_by_look() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(6, 200)).astype(np.float32)
    pictures[4] = 3 * pictures[1] + 7  # other contrast and brightness
    pictures[5] = pictures[4] + 0.05 * rng.normal(size=200)  # and a little noise
    group = near_duplicates(pictures)
    assert group[1] == group[4] == group[5]
    assert len(set(group)) == 4


def test_blocks_are_contiguous_and_of_the_asked_shares() -> None:
    parts = blocks(100)
    assert parts == ["train"] * 70 + ["val"] * 10 + ["test"] * 20
    assert [blocks(7).count(name) for name in ("train", "val", "test")] == [5, 1, 1]


def test_figures_against_their_definitions() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((200, 3)) < [0.5, 0.2, 0.01]).astype(np.float32)  # the third has too few positives
    scores = rng.normal(size=(200, 3)).astype(np.float32) + labels
    pairs = []
    for k in (0, 1):
        positive, negative = scores[labels[:, k] == 1, k], scores[labels[:, k] == 0, k]
        pairs.append((positive[:, None] > negative).mean())
    assert macro_auroc(labels, scores) == pytest.approx(np.mean(pairs))

    one = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 200)]
    recalls = [(scores.argmax(1) == k)[one[:, k] == 1].mean() for k in range(3)]
    assert balanced_accuracy(one, scores) == pytest.approx(np.mean(recalls))

    masks = (rng.random((5, 1, 8, 8)) < 0.3).astype(np.float32)
    masks[0] = 0
    logits = rng.normal(size=masks.shape).astype(np.float32)
    logits[0] = -1
    found = [
        1.0 if not (m.any() or (x > 0).any()) else 2 * ((x > 0) & (m > 0)).sum() / ((x > 0).sum() + (m > 0).sum())
        for m, x in zip(masks, logits, strict=True)
    ]
    assert dice(masks, logits) == pytest.approx(np.mean(found))

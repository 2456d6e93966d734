"""A trained network becomes a model folder: weights, calibration, operating points, evaluation, card.

Everything is measured through the code that serves the model, on the fp16 weights that ship. Calibration and
operating points come from the validation part; the test part is measured at the end and changes nothing. The folder is only written
when all of it is done.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
import torch
from safetensors.torch import save_file
from torch import nn

from models.card import CARD_FILE, CalibrationTable, Measure, ModelCard, read_card
from models.errors import ModelError
from models.evaluation import METRICS_FILE
from models.handle import ModelHandle
from models.novelty import NoveltyModel
from models.training.calibrate import Candidate, calibrate, quality, report
from models.training.evaluate import AS_PUBLISHED, FOLDER, TEST, VALIDATION, Evaluation, evaluate_with
from models.training.half import KEPT, HalfPrecision, compare, refuse, save_weights
from models.training.leaks import check_splits, show
from models.training.masks import drawn_pixels
from models.training.metadata import with_and_without
from models.training.operating import operating_points
from models.training.recipe import Recipe
from models.training.robustness import robustness
from models.training.scoring import Scored, probabilities, rows_of, score
from models.training.tables import long_table, widen, write_table
from models.training.unusual import unusual
from models.weights import sha256_of

WEIGHTS, NOVELTY, HISTORY = "weights.safetensors", "novelty.safetensors", "history.csv"
WORDS = ("title", "licence", "intended_use", "not_for", "limits", "failures", "published")
REFERENCE = 2000  # training images behind the feature statistics
PIXELS = 200_000


def release(recipe: Recipe, data: Path, run: Path, folder: Path) -> ModelCard:
    """Make the model folder of a training.

    Args:
        run: the training's folder with ``best.pt``, ``history.csv``, ``training.json`` and, where losses were
            compared, ``losses.json``.
        folder: receives ``card.toml``, weights, feature statistics, history and ``evaluation/``.

    Raises:
        DataError: a group or an image is in two parts.
        ModelError: the training is not complete, the weights are too large, or fp16 changes the scores.
    """
    module, fields = _trained(recipe, run)
    show(check_splits(recipe, data))
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name) / recipe.id
        (draft / FOLDER).mkdir(parents=True)
        shutil.copyfile(run / HISTORY, draft / HISTORY)
        card, validation, candidates, half = _fitted(recipe, data, module, fields, draft)
        scores = probabilities(card, validation.logits)
        points = operating_points(card, scores, validation.labels, validation.groups)

        handle = ModelHandle.load(card)
        reference = score(handle, recipe, data, rows_of(recipe, data, "train", REFERENCE), "training part")
        novelty = NoveltyModel.fit(reference.features, validation.features)
        save_file(novelty.to_tensors(), draft / NOVELTY)
        calibrated = {
            "calibration": card.calibration.model_dump(),
            "thresholds": points.model_dump(),
            "weights": card.weights.model_dump(),
            "novelty": _pinned(draft / NOVELTY),
        }
        handle = ModelHandle.load(_write(draft, fields | calibrated))

        found = evaluate_with(handle, recipe, data)
        strange = unusual(handle, novelty, validation, found.scored, recipe, data)
        sturdy = robustness(handle, recipe, data)
        extra: list[Measure] = []
        if recipe.metadata is not None:
            tables = [
                widen(table, card.classes) for table in (long_table(recipe, handle.card, validation), found.table)
            ]
            extra = with_and_without(tables[0], tables[1], *recipe.metadata)
        measured = {
            "performance": [one.model_dump(exclude_none=True) for one in (*found.measures, *extra) if _in_card(one)],
            "unusual": strange.model_dump(),
            "robustness": [one.model_dump() for one in sturdy],
        }
        _write(draft, fields | calibrated | measured)
        write_table(found.table, draft / FOLDER / TEST)
        write_table(long_table(recipe, handle.card, validation), draft / FOLDER / VALIDATION)
        metrics = found.metrics | {
            "calibration": _calibration_report(handle.card, found, candidates),
            "fp16": asdict(half),
            "metadata": [one.model_dump() for one in extra],
        }
        text = json.dumps(metrics, indent=1, allow_nan=False)
        (draft / METRICS_FILE).write_text(text + "\n", encoding="utf-8")
        shutil.copytree(draft, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return read_card(folder)


def add_losses(folder: Path, losses: list[dict[str, Any]]) -> ModelCard:
    """Put a comparison of losses into the card of a released model."""
    fields = tomllib.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    return _write(folder, fields | {"losses": losses})


def add_words(folder: Path, recipe: Recipe) -> ModelCard:
    """Put what the recipe says in words (use, limits, failures ...) into the card of a released model."""
    fields = tomllib.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    training = {"training": fields["training"] | dict(recipe.card["training"])}
    measured = {name: value for name, value in fields.items() if name not in WORDS}
    words = {name: recipe.card[name] for name in WORDS if name in recipe.card}
    return _write(folder, measured | words | training)


def _trained(recipe: Recipe, run: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of the best epoch, and the card's fields that are known before measuring."""
    try:
        state = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
        facts = json.loads((run / "training.json").read_text(encoding="utf-8"))
        pd.read_csv(run / HISTORY)
    except (OSError, ValueError) as error:
        raise ModelError(f"The training of {recipe.id} is not complete ({error}); run the recipe to its end.") from None
    losses = run / "losses.json"
    module = recipe.build()
    try:
        module.load_state_dict(state)
    except RuntimeError:
        raise ModelError(
            f"{run.name}/best.pt does not fit the network of recipe {recipe.id}; train it again."
        ) from None
    fields = dict(recipe.card)
    fields["training"] = dict(fields["training"]) | facts | {"history": HISTORY}
    if losses.is_file():
        fields["losses"] = json.loads(losses.read_text(encoding="utf-8"))
    return module.eval(), fields


def _fitted(
    recipe: Recipe, data: Path, module: nn.Module, fields: dict[str, Any], draft: Path
) -> tuple[ModelCard, Scored, tuple[Candidate, ...], HalfPrecision]:
    """The calibrated card of the weights that ship, their validation part, and what was tried and compared."""
    full: Scored | None = None
    for kept in KEPT:
        save_weights(module, draft / WEIGHTS, kept)
        card = _write(draft, fields | {"weights": _pinned(draft / WEIGHTS)})
        rows = rows_of(recipe, data, "val")
        full = full or score(ModelHandle(card, module), recipe, data, rows, "validation part, fp32")
        validation = score(ModelHandle.load(card), recipe, data, rows, "validation part")
        table, candidates = _calibration(card, validation)
        card = card.model_copy(update={"calibration": table})
        half = compare(card, validation, full, kept)
        if half.holds:
            return card, validation, candidates, half
    raise refuse(card, half)


def _calibration(card: ModelCard, validation: Scored) -> tuple[CalibrationTable, tuple[Candidate, ...]]:
    source = f"validation part, n = {len(validation.rows)}"
    if validation.pixels is None:
        return calibrate(validation.logits, validation.labels, validation.groups, card.exclusive, source)
    logits, truth, image = drawn_pixels(validation.pixels, PIXELS)
    return calibrate(logits, truth, validation.groups[image], False, f"{len(logits)} pixels of the {source}")


def _calibration_report(card: ModelCard, evaluation: Evaluation, candidates: tuple[Candidate, ...]) -> dict[str, Any]:
    scored = evaluation.scored
    logits, truth = (scored.logits, scored.labels) if scored.pixels is None else drawn_pixels(scored.pixels, PIXELS)[:2]
    before, after = (
        quality(probabilities(card, logits, raw).astype(np.float64), truth.astype(np.float64), card.exclusive)
        for raw in (True, False)
    )
    unit = "pixel" if scored.pixels is not None else "image and class" if card.task == "multilabel" else "image"
    return {"method": card.calibration.method, "unit": unit} | report(candidates, before, after)


def _in_card(measure: Measure) -> bool:
    """The card holds what a reader asks for first; all the rest is in ``metrics.json``."""
    if measure.subgroup:
        return False
    return not measure.subject or measure.metric not in ("AUPRC", "PPV", "NPV") or measure.split == AS_PUBLISHED


def _write(folder: Path, fields: dict[str, Any]) -> ModelCard:
    (folder / CARD_FILE).write_text(tomli_w.dumps(fields), encoding="utf-8")
    return read_card(folder)


def _pinned(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": sha256_of(path)}

"""A trained network becomes a model folder: weights, calibration, thresholds, novelty, evaluation, card.

Everything is measured through the code that serves the model, on the fp16 weights that are shipped. Calibration and
thresholds come from the validation part; the test part is read once, at the end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from torch import nn

from models.card import ModelCard, read_card
from models.context import RunContext
from models.handle import ModelHandle
from models.novelty import NoveltyModel
from models.types import FloatArray, Image
from models.weights import sha256_of

REPLICATES = 1000
FEW = 10  # positives below which a class is not estimated


@dataclass(frozen=True, eq=False)
class Part:
    """One split: images, (n, K) labels in {0, 1}, and the group (patient, lesion) of each image."""

    name: str
    ids: Sequence[str]
    images: Sequence[Image]
    labels: FloatArray
    groups: Sequence[str]


def publish(folder: Path, fields: dict[str, Any], module: nn.Module, train: Part, val: Part, test: Part) -> ModelCard:
    """Write the model folder; ``fields`` is the card without what is computed here."""
    (folder / "evaluation").mkdir(parents=True, exist_ok=True)
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file({name: value.contiguous() for name, value in halves.items()}, folder / "weights.safetensors")
    card = _write(folder, fields | {"weights": _pinned(folder / "weights.safetensors")})
    handle = ModelHandle.load(card)

    logits, features = _outputs(handle, val)
    _, training_features = _outputs(handle, train)
    novelty = NoveltyModel.fit(training_features, features)
    save_file(novelty.to_tensors(), folder / "novelty.safetensors")
    extra: dict[str, Any] = {
        "novelty": _pinned(folder / "novelty.safetensors"),
        "calibration": _calibration(card, logits, val),
    }
    card = _write(folder, fields | {"weights": card.weights.model_dump()} | extra)
    extra["thresholds"] = _thresholds(card, card.probabilities(logits), val)

    logits, _ = _outputs(handle, test)
    measures = _measures(card, card.probabilities(logits), test)
    table = pd.DataFrame({"image": list(test.ids), "group": list(test.groups)})
    for k, name in enumerate(card.classes):
        table[f"score_{name}"] = card.probabilities(logits)[:, k]
        table[f"label_{name}"] = test.labels[:, k].astype(np.int8)
    table.to_parquet(folder / "evaluation" / "test.parquet", index=False)
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(measures, indent=1) + "\n", encoding="utf-8")
    shown = [measure for measure in measures if measure["metric"].startswith(("macro", "balanced", "accuracy"))]
    return _write(folder, fields | {"weights": card.weights.model_dump(), "performance": shown} | extra)


def _write(folder: Path, fields: dict[str, Any]) -> ModelCard:
    (folder / "card.toml").write_text(tomli_w.dumps(fields), encoding="utf-8")
    return read_card(folder)


def _pinned(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": sha256_of(path)}


def _outputs(handle: ModelHandle, part: Part, batch_size: int = 16) -> tuple[FloatArray, FloatArray]:
    rows = []
    for start in range(0, len(part.images), batch_size):
        batch = torch.cat([handle.prepare(image).tensor for image in part.images[start : start + batch_size]])
        rows.append(handle.run(batch, RunContext()))
    return np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])


def _calibration(card: ModelCard, logits: FloatArray, part: Part) -> dict[str, Any]:
    """Temperature for exclusive classes (Guo et al. 2017), one Platt line for all findings otherwise."""
    source = f"fitted on the {part.name} part, n = {len(part.images)}"
    if card.exclusive:
        truth = part.labels.argmax(1)

        def loss(log_scale: NDArray[np.float64]) -> float:
            scaled = torch.from_numpy(logits * np.exp(log_scale[0]))
            return float(torch.nn.functional.cross_entropy(scaled, torch.from_numpy(truth)))

        scale = float(np.exp(minimize(loss, np.zeros(1), method="Nelder-Mead").x[0]))
        return {"method": "temperature", "scale": round(scale, 4), "offset": 0.0, "source": source}
    line = LogisticRegression(C=1e6).fit(logits.reshape(-1, 1), part.labels.ravel())
    scale, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    return {"method": "platt", "scale": round(scale, 4), "offset": round(offset, 4), "source": source}


def _thresholds(card: ModelCard, scores: FloatArray, part: Part) -> dict[str, Any]:
    """Youden's index where there are enough positives, else specificity 0.95."""
    values, few = {}, []
    for k, name in enumerate(card.classes):
        truth = part.labels[:, k]
        if truth.sum() >= FEW:
            false_rate, true_rate, cuts = roc_curve(truth, scores[:, k])
            values[name] = round(float(np.clip(cuts[np.argmax(true_rate - false_rate)], 0, 1)), 4)
        else:
            few.append(name)
            values[name] = round(float(np.quantile(scores[truth == 0, k], 0.95)), 4)
    rest = f"; too few positives for {', '.join(few)}: specificity 0.95 there" if few else ""
    return {"values": values, "source": f"largest Youden index on the {part.name} part, n = {len(part.images)}{rest}"}


def _measures(card: ModelCard, scores: FloatArray, part: Part) -> list[dict[str, Any]]:
    """AUROC per class and macro, and for exclusive classes accuracy and balanced accuracy, with 95 % intervals
    from resampling groups."""
    labels = part.labels
    kept = [k for k in range(len(card.classes)) if FEW * 2 <= labels[:, k].sum() < len(labels)]

    def figures(rows: NDArray[np.int64]) -> dict[str, float]:
        truth, score = labels[rows], scores[rows]
        alive = [k for k in kept if 0 < truth[:, k].sum() < len(truth)]
        found = {f"AUROC {card.classes[k]}": float(roc_auc_score(truth[:, k], score[:, k])) for k in alive}
        found = {
            f"macro AUROC ({len(kept)} classes with at least {FEW * 2} positives)": float(np.mean(list(found.values())))
        } | found
        if card.exclusive:
            top = score.argmax(1)
            found["accuracy"] = float((top == truth.argmax(1)).mean())
            found["balanced accuracy"] = float(balanced_accuracy_score(truth.argmax(1), top))
        return found

    names, group = np.unique(np.asarray(part.groups), return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    rng = np.random.default_rng(0)
    replicates = pd.DataFrame(
        [
            figures(np.concatenate([members[g] for g in rng.integers(0, len(names), len(names))]))
            for _ in range(REPLICATES)
        ]
    )
    exact = figures(np.arange(len(labels)))
    return [
        {
            "metric": metric,
            "value": round(value, 4),
            "low": round(float(replicates[metric].quantile(0.025)), 4),
            "high": round(float(replicates[metric].quantile(0.975)), 4),
            "n": len(labels),
            "split": part.name,
        }
        for metric, value in exact.items()
    ]

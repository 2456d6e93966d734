"""Many images at once, for the command line: explanations to files, scores to a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.cases import middle_slice
from dashboard.reports.files import manifest_bytes, manifest_entry, npz_bytes, overlay_png
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest
from dashboard.settings import ZOO, settings
from explainers import get
from models.card import CARD_FILE, ModelCard, read_card
from models.context import RunContext
from models.errors import DataError, ModelError, SightlineError
from models.io import read_cases
from models.types import Image, Prediction, Target

ShowProgress = Callable[[float], None]
BATCH = 8


@dataclass
class Done:
    """What a run over many images came to."""

    read: int = 0
    written: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def open_model(model: str) -> tuple[LocalEngine, ModelCard]:
    """An engine that knows the model, given its id or its folder. Raises ModelError."""
    folder = Path(model)
    config = settings()
    if (folder / CARD_FILE).is_file():
        wanted = read_card(folder).id
        roots: tuple[Path, ...] = (folder,)
    elif folder.is_dir() and model not in {path.name for path in ZOO.iterdir()}:
        raise ModelError(f"The folder {folder.name!r} has no {CARD_FILE}; see docs/model-cards.md.")
    else:
        wanted, roots = model, config.model_folders
    engine = LocalEngine(roots, config.resolved_device)
    cards = engine.cards()
    if wanted not in cards:
        faults = {fault.name: fault.message for fault in engine.faults()}
        raise ModelError(faults.get(wanted) or f"There is no model {wanted!r}; known: {', '.join(cards) or 'none'}.")
    return engine, cards[wanted]


def explain_paths(
    paths: Sequence[Path],
    model: str,
    methods: Sequence[str],
    target: str | None,
    out: Path,
    slice_index: int | None,
    seed: int,
    show: ShowProgress,
) -> Done:
    """Maps of every image, method and target under ``out``. Raises ModelError, ExplainError or DataError."""
    engine, card = open_model(model)
    for method in methods:
        get(method)
    fixed = None if target is None else card.target(target)
    out.mkdir(parents=True, exist_ok=True)
    done = Done()
    entries: list[dict[str, Any]] = []
    names = _Names()
    for position, path in enumerate(paths):
        for name, image in _planes(path, slice_index, done):
            stem = names.unique(name)
            (prediction,) = engine.predict(card.id, [image], RunContext())
            scores = _scores(prediction)
            targets = [fixed] if fixed else _flagged(card, prediction)
            steps = len(targets) * len(methods)
            for step, (wanted, method) in enumerate((t, m) for t in targets for m in methods):
                fraction = (position + step / steps) / len(paths)
                share = 1 / steps / len(paths)
                ctx = RunContext(on_progress=lambda part, base=fraction, width=share: show(base + width * part))  # type: ignore[misc]
                request = ExplainRequest(card.id, image, method, wanted, seed=seed)
                file = f"{stem}.{method}.{_safe(wanted.name)}"
                try:
                    explanation = engine.explain(request, ctx)
                except SightlineError as error:
                    done.failures[file] = str(error)
                    continue
                (out / f"{file}.npz").write_bytes(npz_bytes(explanation))
                (out / f"{file}.png").write_bytes(overlay_png(image, explanation))
                warnings = list(prediction.warnings)
                entries.append(
                    {"file": f"{file}.npz", "image": name, "warnings": warnings, **manifest_entry(explanation, scores)}
                )
                done.written += 1
    (out / "manifest.json").write_bytes(manifest_bytes(entries, model=card.id, skipped=done.failures))
    return done


def predict_path(path: Path, model: str, out: Path, slice_index: int | None, show: ShowProgress) -> Done:
    """A parquet table of scores, one row an image. Raises ModelError or DataError."""
    engine, card = open_model(model)
    done = Done()
    members = list(_planes(path, slice_index, done))
    rows = []
    for start in range(0, len(members), BATCH):
        part = members[start : start + BATCH]
        predictions = engine.predict(card.id, [image for _, image in part], RunContext())
        for (name, _), prediction in zip(part, predictions, strict=True):
            rows.append({"image": name} | {f"score_{c}": v for c, v in _scores(prediction).items()})
        show((start + len(part)) / len(members))
    if rows:
        out.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(out, index=False)
        (out.with_name(out.stem + ".manifest.json")).write_bytes(
            manifest_bytes(
                [], model=card.id, weights_sha256=card.weights.sha256, images=len(rows), skipped=done.failures
            )
        )
    return done


def _planes(path: Path, slice_index: int | None, done: Done) -> list[tuple[str, Image]]:
    """(name, plane image) of every case under ``path``; what cannot be read is noted."""
    try:
        found = read_cases(path)
    except DataError as error:
        done.failures[path.name] = str(error)
        return []
    done.failures.update({failure.name: failure.message for failure in found.failures})
    planes = []
    for case, name in zip(found.cases, found.names, strict=True):
        try:
            index = middle_slice(case.image) if slice_index is None or not case.image.is_volume else slice_index
            planes.append((name, case.image.slice(index)))
        except DataError as error:
            done.failures[name] = str(error)
    done.read += len(planes)
    return planes


def _flagged(card: ModelCard, prediction: Prediction) -> list[Target]:
    chosen = prediction.flagged or prediction.order[:1]
    return [card.target(card.classes[index]) for index in chosen]


def _scores(prediction: Prediction) -> dict[str, float]:
    return {name: float(value) for name, value in zip(prediction.classes, prediction.probabilities, strict=True)}


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "image"


class _Names:
    """File stems that do not overwrite each other."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        stem = _safe(Path(name).stem.removesuffix(".nii"))
        candidate, count = stem, 2
        while candidate in self._taken:
            candidate, count = f"{stem}-{count}", count + 1
        self._taken.add(candidate)
        return candidate

"""Many images at once, for the command line: explanations to files, scores to a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.cases import middle_slice
from dashboard.quantities import extent
from dashboard.reports.files import manifest_bytes, manifest_entry, mask_file, npz_bytes, overlay_png, scores_of
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest
from dashboard.settings import ZOO, settings
from explainers import get
from models.card import CARD_FILE, ModelCard, read_card
from models.context import RunContext
from models.errors import DataError, ModelError, SightlineError
from models.io import iterate_cases
from models.types import Case, Image, Prediction, Target

ShowProgress = Callable[[float], None]
BATCH = 8
TABLES = (".parquet", ".csv")


@dataclass
class Done:
    """What a run over many images came to."""

    read: int = 0
    written: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def note(self, name: str, prediction: Prediction) -> None:
        """Keep what a reader of the scores must know of this image."""
        if prediction.warnings:
            self.warnings[name] = list(prediction.warnings)


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
    """Maps of every image, method and target under ``out``. Raises ModelError, ExplainError or OSError."""
    engine, card = open_model(model)
    for method in methods:
        get(method)
    fixed = None if target is None else card.target(target)
    out.mkdir(parents=True, exist_ok=True)
    done = Done()
    entries: list[dict[str, Any]] = []
    names = _Names()
    for position, path in enumerate(paths):
        for plane in _planes(path, slice_index, done):
            stem = names.unique(plane.name)
            scored = _score(engine, card, [plane], done)
            if not scored:
                continue
            prediction = scored[0][1]
            about = {"image": plane.name, "warnings": list(prediction.warnings), "scores": scores_of(prediction)}
            done.note(plane.name, prediction)
            for wanted in [fixed] if fixed else _flagged(card, prediction):
                for method in methods:
                    request = ExplainRequest(card.id, plane.image, method, wanted, seed=seed)
                    file = f"{stem}.{method}.{_safe(wanted.name)}"
                    try:
                        explanation = engine.explain(request, RunContext())
                    except SightlineError as error:
                        done.failures[file] = str(error)
                        continue
                    (out / f"{file}.npz").write_bytes(npz_bytes(explanation))
                    (out / f"{file}.png").write_bytes(overlay_png(plane.image, explanation))
                    entries.append(
                        {"file": f"{file}.npz", **about, **manifest_entry(explanation, plane.case, plane.slice)}
                    )
                    done.written += 1
        show((position + 1) / len(paths))
    (out / "manifest.json").write_bytes(manifest_bytes(entries, **_head(card, done)))
    return done


def predict_path(path: Path, model: str, out: Path, slice_index: int | None) -> Done:
    """A parquet or CSV table of scores, one row an image, and a manifest beside it.

    A segmentation model's table also holds the quantities of what it found, and the pixel probabilities go to the
    folder ``<table>.masks``. ``image`` is the file's path below ``path``.

    Raises:
        DataError, ModelError, OSError: the table's name, the model or the output is unusable.
    """
    if out.suffix not in TABLES:
        raise DataError(f"The scores go to a file that ends in {' or '.join(TABLES)}, got {out.name!r}.")
    engine, card = open_model(model)
    done = Done()
    rows: list[dict[str, Any]] = []
    masks = _MaskFolder(out.with_name(f"{out.stem}.masks"))
    out.parent.mkdir(parents=True, exist_ok=True)
    for part in _batches(_planes(path, slice_index, done)):
        for plane, prediction in _score(engine, card, part, done):
            scores = {f"score_{name}": entry["probability"] for name, entry in scores_of(prediction).items()}
            rows.append({"image": plane.name, **scores, **masks.write(plane, prediction)})
            done.note(plane.name, prediction)
    if rows:
        table = pd.DataFrame(rows)
        table.to_csv(out, index=False) if out.suffix == ".csv" else table.to_parquet(out, index=False)
        done.written = len(rows)
    manifest = manifest_bytes([], **_head(card, done))
    out.with_name(f"{out.stem}.manifest.json").write_bytes(manifest)
    return done


@dataclass(frozen=True, eq=False)
class _Plane:
    """One plane image to score: its file's name, the case it is of, and the slice it is."""

    name: str
    case: Case
    slice: int
    image: Image


def _planes(path: Path, slice_index: int | None, done: Done) -> Iterator[_Plane]:
    """Every case under ``path``, one at a time; what cannot be read is noted."""
    try:
        for found in iterate_cases(path):
            done.failures.update({failure.name: failure.message for failure in found.failures})
            for case, name in zip(found.cases, found.names, strict=True):
                volume = case.image.is_volume
                index = slice_index if volume and slice_index is not None else middle_slice(case.image)
                try:
                    plane = _Plane(name, case, index, case.image.slice(index))
                except DataError as error:
                    done.failures[name] = str(error)
                    continue
                done.read += 1
                yield plane
    except DataError as error:
        done.failures[path.name] = str(error)


def _score(engine: LocalEngine, card: ModelCard, part: Sequence[_Plane], done: Done) -> list[tuple[_Plane, Prediction]]:
    """Planes with their scores; one that the model cannot be shown is noted and left out."""
    try:
        predictions = engine.predict(card.id, [plane.image for plane in part], RunContext())
    except DataError as error:
        if len(part) > 1:
            return [scored for plane in part for scored in _score(engine, card, [plane], done)]
        done.failures[part[0].name] = str(error)
        return []
    return list(zip(part, predictions, strict=True))


def _head(card: ModelCard, done: Done) -> dict[str, Any]:
    """What a manifest says of the whole run; probability = activation(scale * logit + offset)."""
    return {
        "model": card.id,
        "weights_sha256": card.weights.sha256,
        "activation": card.activation,
        "calibration": card.calibration.model_dump(),
        "images": done.read,
        "warnings": done.warnings,
        "skipped": done.failures,
    }


def _batches(planes: Iterable[_Plane]) -> Iterator[list[_Plane]]:
    remaining = iter(planes)
    while part := list(islice(remaining, BATCH)):
        yield part


def _flagged(card: ModelCard, prediction: Prediction) -> list[Target]:
    chosen = prediction.flagged or prediction.order[:1]
    return [card.target(card.classes[index]) for index in chosen]


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


class _MaskFolder:
    """Where the masks of a run go; made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = _Names()

    def write(self, plane: _Plane, prediction: Prediction) -> dict[str, Any]:
        """One file a class, and the columns that go with it; none for a network that gives no masks."""
        if prediction.masks is None or prediction.found is None:
            return {}
        self._folder.mkdir(exist_ok=True)
        stem = self._names.unique(plane.name)
        columns: dict[str, Any] = {}
        for name, values, found in zip(prediction.classes, prediction.masks, prediction.found, strict=True):
            of_class = f".{_safe(name)}" if len(prediction.classes) > 1 else ""
            ending, content = mask_file(values, plane.image.geometry)
            (self._folder / f"{stem}{of_class}{ending}").write_bytes(content)
            size = extent(found, plane.image.geometry)
            area = float("nan") if size.area_mm2 is None else size.area_mm2
            columns |= {f"share_{name}": size.share, f"area_mm2_{name}": area, f"parts_{name}": size.parts}
            columns[f"mask_{name}"] = f"{self._folder.name}/{stem}{of_class}{ending}"
        return columns

"""Scores of a folder of images with a label table, as a table to audit; stopped or killed, it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dashboard.audit.columns import guess, pairs_in
from dashboard.audit.labels import read_text
from dashboard.audit.reading import build, task_of
from dashboard.audit.table import CASE, AuditTable
from dashboard.folder_runs.planes import Item, Unit, Wish
from dashboard.folder_runs.prefetch import decoded, default_workers
from dashboard.folder_runs.work import score_images, together
from dashboard.images import ImageFolder
from dashboard.serving.types import CODE_VERSION, Engine
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.io import Failure
from models.types import FloatArray, Image

log = logging.getLogger(__name__)
Show = Callable[[int, int], None]
KEPT_DAYS = 30


@dataclass(frozen=True, eq=False)
class Scored:
    """What a run came to.

    Attributes:
        failures: why an image has no score, by the name in the label table.
    """

    table: AuditTable
    failures: dict[str, str] = field(default_factory=dict)


def score_folder(
    engine: Engine,
    card: ModelCard,
    folder: Path,
    labels: pd.DataFrame,
    title: str,
    cache: Path,
    show: Show,
    cancelled: threading.Event,
) -> Scored:
    """Score the images that a label table names; of a volume the middle slice, of a zip the first image.

    Args:
        labels: the first column names the images by file name, path below ``folder`` or name without ending; labels
            are in columns named like the classes, ``label_<class>``, or one column that holds the class.
        cache: a folder for the finished parts. Their names are hashes of model and image files, so that the same
            work is found again; nothing in them names an image.
        show: called with images done and in all.
        cancelled: once set, the run ends at the next image; what is scored stays in the cache.

    Raises:
        DataError: folder or label table cannot be used, or no image could be scored.
        ModelError: the network cannot be loaded.
        Cancelled: the run was stopped.
    """
    names = _names(labels)
    _table(card, labels, np.full((len(labels), len(card.classes)), 1 / len(card.classes), np.float32), title)
    images = ImageFolder(folder)
    listed = pd.DataFrame({CASE: names})
    paths = [images.find(listed, row) for row in range(len(names))]
    absent = "No image of that name is in the folder, or several are; give the path below the folder."
    failures = {name: absent for name, path in zip(names, paths, strict=True) if path is None}
    rows = [row for row, path in enumerate(paths) if path is not None]
    scores = np.full((len(names), len(card.classes)), np.nan, np.float32)
    parts = _Parts(cache, card)
    show(0, len(rows))
    wish = Wish(asdict(card.input.spec), shrink=True)
    size = together(len(rows), wish)
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    chosen = [[path for path in (paths[row] for row in chunk) if path is not None] for chunk in chunks]
    known = [parts.get(files) for files in chosen]
    missing = [path for files, part in zip(chosen, known, strict=True) if part is None for path in files]
    units = (Unit(place, path.name, (str(path),), (path.name,), "") for place, path in enumerate(missing))
    with closing(decoded(units, wish, default_workers(len(missing)))) as images_of:
        done = 0
        for chunk, files, part in zip(chunks, chosen, known, strict=True):
            found = part or parts.put(files, *_score(engine, card, len(files), images_of, cancelled))
            scores[chunk], messages = found
            failures.update({names[row]: text for row, text in zip(chunk, messages, strict=True) if text})
            done += len(chunk)
            show(done, len(rows))
    there = np.flatnonzero(~np.isnan(scores).any(axis=1))
    if not len(there):
        reason = next(iter(failures.values()))
        raise DataError(f"None of the {len(names):,} images of {title} could be scored; the first: {reason}")
    table = _table(card, labels.iloc[there], scores[there], title)
    if failures:
        note = f"{len(failures):,} of {len(names):,} images have no score and are left out."
        table = replace(table, notes=(note, *table.notes))
    return Scored(table, failures)


def _names(labels: pd.DataFrame) -> list[str]:
    """The images as named in the first column. Raises DataError for an empty or repeated name."""
    column = str(labels.columns[0])
    named = read_text(labels[column])
    wrong = np.flatnonzero(named.isna() | named.duplicated())
    if len(wrong):
        raise DataError(
            f"Row {wrong[0] + 1:,} of the label table: {column}, the first column, is empty or repeats an image; "
            "it must name each image once."
        )
    return [str(name) for name in named]


def _table(card: ModelCard, labels: pd.DataFrame, scores: FloatArray, title: str) -> AuditTable:
    """Labels and (n, K) scores as a table. Raises DataError where no label is found, or one is wrong."""
    frame = labels.reset_index(drop=True).assign(
        **{f"score_{name}": scores[:, k] for k, name in enumerate(card.classes)}
    )
    found = pairs_in(frame)
    if not set(found) & set(card.classes):
        raise DataError(
            f"The label table has no labels of {card.title}; it needs a column {card.classes[0]} or "
            f"label_{card.classes[0]} of 0 and 1, or one column that names the class."
        )
    unlabelled = {f"label_{name}": np.nan for name in card.classes if name not in found}
    first = str(frame.columns[0])
    columns = guess(frame.assign(**{CASE: np.arange(len(frame))}))
    free = tuple(name for name in columns.attributes if name != first)
    pairs = {name: found.get(name, (f"score_{name}", f"label_{name}")) for name in card.classes}
    columns = replace(columns, case=first, form="wide", attributes=free, wide=pairs)
    points = card.threshold_array.tolist()
    return build(frame.assign(**unlabelled), columns, title, task_of(card), points, card.id)


def _score(
    engine: Engine,
    card: ModelCard,
    count: int,
    images_of: Iterator[tuple[Unit, Item | None]],
    cancelled: threading.Event,
) -> tuple[FloatArray, list[str]]:
    """The next ``count`` files as (count, K) float32 probabilities; NaN where one cannot be read or shown to the model.

    Second is why not, else "". Of a file of several images the first that can be read counts, and only it.
    """
    scores = np.full((count, len(card.classes)), np.nan, np.float32)
    messages = [""] * count
    images: dict[int, Image] = {}
    for place in range(count):
        for _, item in images_of:
            if cancelled.is_set():
                raise Cancelled("Stopped by the user.")
            if item is None:
                break
            if isinstance(item, Failure):
                messages[place] = item.message
            else:
                images.setdefault(place, item.image)
        if place in images:
            messages[place] = ""
    answers = score_images(engine, card, list(images.values()), RunContext(cancelled=cancelled, background=True))
    for place, answer in zip(images, answers, strict=True):
        if isinstance(answer, SightlineError):
            messages[place] = str(answer)
        else:
            scores[place] = answer.probabilities
    return scores, messages


class _Parts:
    """Scores of a few images each, in files whose names tell model and images only to who has both."""

    def __init__(self, folder: Path, card: ModelCard) -> None:
        self._folder = folder
        facts = [CODE_VERSION, card.weights.sha256, card.architecture, card.input_digest, card.activation]
        self._model = json.dumps([*facts, card.calibration.model_dump(mode="json"), list(card.classes)])
        self._classes = len(card.classes)
        for level in (folder.parent, folder):
            level.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for old in [*folder.glob("*.npz"), *folder.glob("*.tmp")]:
            if time.time() - old.stat().st_mtime > KEPT_DAYS * 86_400:
                old.unlink(missing_ok=True)

    def get(self, files: Sequence[Path]) -> tuple[FloatArray, list[str]] | None:
        """None where the part is not there, or damaged."""
        try:
            with np.load(self._path(files), allow_pickle=False) as stored:
                scores, messages = stored["scores"], json.loads(str(stored["messages"]))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return (scores, messages) if scores.shape == (len(files), self._classes) else None

    def put(self, files: Sequence[Path], scores: FloatArray, messages: list[str]) -> tuple[FloatArray, list[str]]:
        """Write whole or not at all; the part itself is returned. A full disk costs only the resuming."""
        path = self._path(files)
        draft = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            with draft.open("wb") as file:
                np.savez(file, scores=scores, messages=np.array(json.dumps(messages)))
            draft.replace(path)
        except OSError as error:
            log.warning("A part of the scores could not be stored (%s); free some disk space.", type(error).__name__)
            draft.unlink(missing_ok=True)
        return scores, messages

    def _path(self, files: Sequence[Path]) -> Path:
        found = hashlib.sha256(self._model.encode())
        for path in files:
            stat = path.stat()
            found.update(f"\0{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        return self._folder / f"{found.hexdigest()}.npz"


class ScoringRun:
    """One run in a thread of its own; read from any thread.

    Attributes:
        done, total: images.
        message: the sentence to show when it failed.
    """

    def __init__(self, work: Callable[[Show, threading.Event], Scored]) -> None:
        self.state: Literal["running", "done", "stopped", "failed"] = "running"
        self.done, self.total, self.message = 0, 0, ""
        self.result: Scored | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name="sightline-scoring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the image at hand."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def _run(self, work: Callable[[Show, threading.Event], Scored]) -> None:
        try:
            self.result = work(self._show, self._stop)
        except Cancelled:
            self.state = "stopped"
        except SightlineError as error:
            self.message, self.state = str(error), "failed"
        except Exception as error:  # a fault of a library must be told on the page, not lost with the thread
            log.exception("Scoring a folder failed.")
            self.message = (
                f"Scoring failed unexpectedly ({type(error).__name__}); try again, and report it with the log."
            )
            self.state = "failed"
        else:
            self.state = "done"

    def _show(self, done: int, total: int) -> None:
        self.done, self.total = done, total


class ScoringRuns:
    """The runs of this process, by what they work on: asked for again, a run under way is found again."""

    def __init__(self) -> None:
        self._runs: dict[str, ScoringRun] = {}
        self._lock = threading.Lock()

    def start(self, key: str, work: Callable[[Show, threading.Event], Scored]) -> ScoringRun:
        with self._lock:
            run = self._runs.get(key)
            if run is None or run.state in ("stopped", "failed"):
                for other in [name for name, old in self._runs.items() if old.state != "running"]:
                    del self._runs[other]
                run = self._runs[key] = ScoringRun(work)
            return run

    def close(self) -> None:
        """Stop all; threads inside torch must end before the interpreter does."""
        for run in self._runs.values():
            run.stop()
        for run in self._runs.values():
            run.join(30)

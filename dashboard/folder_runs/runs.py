"""Many images at once, for the command line: explanations to files, scores to a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dashboard.folder_runs.journal import Journal
from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.output import safe_name, safe_stem, write_manifest, write_masks, write_table, write_whole
from dashboard.folder_runs.planes import Plane, Unit, Wish
from dashboard.folder_runs.prefetch import decoded, default_workers
from dashboard.reports.files import manifest_entry, npz_bytes, overlay_png, scores_of
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import CODE_VERSION, Engine, ExplainRequest, Explanation
from dashboard.settings import ZOO, settings
from explainers import get
from models.card import CARD_FILE, ModelCard, read_card
from models.context import RunContext
from models.errors import Cancelled, DataError, ModelError, SightlineError
from models.io import Failure
from models.types import Case, Image, Prediction, Provenance, Target

ShowProgress = Callable[[int, int | None], None]
FEW, BATCH = 8, 64  # images at a time
MANY = 100  # units of files for which making the network ready, and telling of progress less often, pays
SENTENCES, NAMED = 50, 3  # kept to be told at the end; the manifest has all
TABLES = (".parquet", ".csv")


@dataclass(frozen=True, eq=False)
class _Read:
    """An image of a unit, the how-manieth it is there, and what an earlier call left of it, by part."""

    unit: Unit
    number: int
    plane: Plane
    known: dict[int, dict[str, Any]]


@dataclass
class Told:
    """Sentences about images, each with the number of images that it is true of and the first few of them."""

    images: int = 0
    sentences: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    unsaid: int = 0  # sentences beyond those kept

    def add(self, name: str, *sentences: str) -> None:
        self.images += 1
        for sentence in sentences:
            if sentence not in self.sentences and len(self.sentences) == SENTENCES:
                self.unsaid += 1
                continue
            count, names = self.sentences.get(sentence, (0, []))
            self.sentences[sentence] = count + 1, [*names, name][:NAMED]


@dataclass
class Done:
    """What a run over many images came to.

    Attributes:
        read: images read, in this call or in one before.
        written: images with scores, or maps.
        fresh, seconds: images worked on in this call, and the time that took.
        failures, warnings: what a reader of the results must know.
    """

    read: int = 0
    written: int = 0
    fresh: int = 0
    seconds: float = 0.0
    failures: Told = field(default_factory=Told)
    warnings: Told = field(default_factory=Told)

    @property
    def rate(self) -> float:
        """Images a second."""
        return round(self.fresh / self.seconds, 2) if self.seconds else 0.0


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
    engine = LocalEngine(roots, config.resolved_device, config.cache / "choices")
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
    workers: int | None = None,
    restart: bool = False,
) -> Done:
    """Maps of every image, method and target under ``out``; those that an earlier call left there whole are kept.

    Where that call had other settings, its maps are made anew or removed.

    Args:
        show: called with units of files done and in all; with None while the files are looked through.
        workers: processes that decode; 0 for none, None for what suits the number of files.
        restart: compute everything anew.

    Raises:
        DataError, ModelError, ExplainError, OSError: an argument or the output is unusable.
    """
    engine, card = open_model(model)
    for method in methods:
        get(method)
    fixed = None if target is None else card.target(target)
    out.mkdir(parents=True, exist_ok=True)
    asked = {"methods": list(methods), "target": None if fixed is None else fixed.name, "seed": seed}
    with Journal(out / "explain.journal", _settings(card, slice_index) | asked, restart) as journal:

        def work(part: Sequence[_Read]) -> Iterator[Unit]:
            for one in part:
                unit, number, plane = one.unit, one.number, one.plane
                (scored,) = score_images(engine, card, [plane.image])
                if isinstance(scored, SightlineError):
                    journal.skip(plane.name, str(scored))
                    yield unit
                    continue
                stem = journal.stem(safe_stem(plane.name), unit, number)
                about = {"image": plane.name, "warnings": list(scored.warnings), "scores": scores_of(scored)}
                wanted = [
                    (named, method) for named in ([fixed] if fixed else _flagged(card, scored)) for method in methods
                ]
                for method in methods:
                    open_ = {place: named for place, (named, of) in enumerate(wanted) if of == method}
                    open_ = {place: named for place, named in open_.items() if place not in one.known}
                    names = {place: f"{stem}.{method}.{safe_name(named.name)}" for place, named in open_.items()}
                    if not open_:
                        continue
                    targets = list(open_.values())  # which share the passes of the network
                    request = ExplainRequest(card.id, plane.image, method, targets[0], seed=seed)
                    try:
                        found = engine.explain_targets(request, targets, RunContext())
                    except SightlineError as error:
                        for name in names.values():
                            journal.skip(name, str(error))
                        yield unit
                        continue
                    for (place, name), explanation in zip(names.items(), found, strict=True):
                        entry = _write_map(explanation, plane, out, name)
                        facts = {"entry": {"file": f"{name}.npz", **about, **entry}, "files": _sizes(out, name)}
                        journal.add(unit, number, facts, place)
                    journal.commit()

        total = journal.plan(units_of(paths, lambda: show(0, None)))
        journal.check(lambda facts: _are_there(out, facts["files"]))
        done = _run(journal, total, Wish(asdict(card.input.spec), slice_index), workers, 1, work, show, again=True)
        done.written = journal.count
        _finish(journal, done, out / "manifest.json", card, (facts["entry"] for facts in journal.results()))
        _remove_stale(journal, out)
    return done


def predict_path(
    path: Path,
    model: str,
    out: Path,
    slice_index: int | None,
    show: ShowProgress = lambda done, total: None,
    workers: int | None = None,
    restart: bool = False,
) -> Done:
    """A parquet or CSV table of scores, one row an image, and a manifest beside it.

    A segmentation model's table also holds the quantities of what it found, and the pixel probabilities go to the
    folder ``<table>.masks``. ``image`` is the file's path below ``path``. Scores go to ``<table>.journal`` as they come:
    a call that was stopped is taken up where it was, and a later one works on new, changed and skipped files only.

    Args:
        show: called with units of files done and in all; with None while the files are looked through.
        workers: processes that decode; 0 for none, None for what suits the number of files.
        restart: score everything anew.

    Raises:
        DataError, ModelError, OSError: the table's name, the model or the output is unusable.
    """
    if out.suffix not in TABLES:
        raise DataError(f"The scores go to a file that ends in {' or '.join(TABLES)}, got {out.name!r}.")
    engine, card = open_model(model)
    masks = out.with_name(f"{out.stem}.masks")
    out.parent.mkdir(parents=True, exist_ok=True)
    with Journal(out.with_name(f"{out.stem}.journal"), _settings(card, slice_index), restart) as journal:

        def work(part: Sequence[_Read]) -> Iterator[Unit]:
            scored = score_images(engine, card, [one.plane.image for one in part])
            for one, answer in zip(part, scored, strict=True):
                unit, number, plane = one.unit, one.number, one.plane
                if isinstance(answer, SightlineError):
                    journal.skip(plane.name, str(answer))
                    yield unit
                    continue
                row: dict[str, Any] = {"image": plane.name}
                row |= {f"score_{name}": entry["probability"] for name, entry in scores_of(answer).items()}
                files: dict[str, int] = {}
                if answer.masks is not None:
                    stem = journal.stem(safe_stem(plane.name), unit, number)
                    columns, files = write_masks(masks, stem, plane.image, answer)
                    row |= columns
                about = {"image": plane.name, "warnings": list(answer.warnings)}
                journal.add(unit, number, {"row": row, "entry": about, "files": files})

        total = journal.plan(units_of([path], lambda: show(0, None)))
        if card.task == "segmentation":
            journal.check(lambda facts: _are_there(masks, facts["files"]))
        if total >= MANY:  # of the whole folder, so that a run taken up again scores alike
            engine.expect_many(card.id)
        wish = Wish(asdict(card.input.spec), slice_index, shrink=card.task != "segmentation")
        done = _run(journal, total, wish, workers, together(total, wish), work, show, again=False)
        done.written = write_table(out, (facts["row"] for facts in journal.results()))
        _finish(journal, done, out.with_name(f"{out.stem}.manifest.json"), card, ())
        _remove_stale(journal, masks)
    return done


def together(total: int, wish: Wish) -> int:
    """Images to decode and score before progress is told; few where they are whole, and may be large."""
    return BATCH if total >= MANY and wish.shrink else FEW


def score_images(
    engine: Engine, card: ModelCard, images: Sequence[Image], ctx: RunContext | None = None
) -> list[Prediction | SightlineError]:
    """Scores of plane images, and why one has none: the model cannot be shown it, or answers with no number.

    Raises:
        ModelError: the model cannot be loaded.
        Cancelled: ``ctx`` was.
    """
    if not images:
        return []
    try:
        return list(engine.predict(card.id, images, ctx or RunContext()))
    except SightlineError as error:
        if isinstance(error, Cancelled) or engine.state(card.id) == "failed":
            raise
        if len(images) == 1:
            return [error]
        return [answer for image in images for answer in score_images(engine, card, [image], ctx)]


def _run(
    journal: Journal,
    total: int,
    wish: Wish,
    workers: int | None,
    size: int,
    work: Callable[[Sequence[_Read]], Iterator[Unit]],
    show: ShowProgress,
    again: bool,
) -> Done:
    """Decode what is not done and give it, ``size`` images at a time, to ``work``, which yields units it cannot finish.

    Args:
        again: an image with results may lack some, and is to be worked on.
    """
    finished = journal.ended
    done = Done(read=journal.planes)
    part: list[_Read] = []
    closed: list[Unit] = []
    faulty: set[int] = set()

    def settle() -> None:
        nonlocal finished
        faulty.update(unit.place for unit in work(part))
        for unit in closed:
            if unit.place not in faulty:
                journal.end(unit)
            faulty.discard(unit.place)
        journal.commit()
        finished += len(closed)
        done.fresh += len(part)
        part.clear()
        closed.clear()
        show(finished, total)

    show(finished, total)
    began = time.perf_counter()
    number = 0
    if workers is None:
        workers = default_workers(total - finished)
    with closing(decoded(journal.pending(), wish, workers, size + 2 * workers)) as stream:
        for unit, item in stream:
            if item is None:
                closed.append(unit)
                number = 0
            elif isinstance(item, Failure):
                journal.skip(item.name, item.message)
                faulty.add(unit.place)
            else:
                known = journal.known(unit, number)
                done.read += not known
                if again or not known:
                    part.append(_Read(unit, number, item, known))
                number += 1
                if len(part) == size:
                    settle()
    settle()
    done.seconds = time.perf_counter() - began
    return done


def _settings(card: ModelCard, slice_index: int | None) -> dict[str, Any]:
    """What results depend on besides the files."""
    network = [card.id, card.weights.sha256, card.architecture, card.architecture_args, card.input_digest, card.classes]
    answers = [card.calibration.model_dump(mode="json"), card.threshold_array.tolist(), card.activation]
    answers.append(None if card.novelty is None else card.novelty.sha256)
    return {"code": CODE_VERSION, "network": network, "answers": answers, "slice": slice_index}


def _write_map(explanation: Explanation, plane: Plane, out: Path, name: str) -> dict[str, Any]:
    """A map and its picture; the manifest's entry is returned."""
    write_whole(out / f"{name}.npz", npz_bytes(explanation))
    write_whole(out / f"{name}.png", overlay_png(plane.image, explanation))
    case = Case("", "", plane.image, Provenance("", plane.sha256, ""))
    return manifest_entry(explanation, case, 0) | {"slice": plane.slice}


def _sizes(folder: Path, stem: str) -> dict[str, int]:
    """Bytes of a map's files."""
    return {name: (folder / name).stat().st_size for name in (f"{stem}.npz", f"{stem}.png")}


def _are_there(folder: Path, sizes: dict[str, int]) -> bool:
    files = ((folder / name, size) for name, size in sizes.items())
    return all(file.is_file() and file.stat().st_size == size for file, size in files)


def _remove_stale(journal: Journal, folder: Path) -> None:
    """What was made with other settings, is in no manifest any more and would be taken for a result."""
    for name in journal.stale:
        if Path(name).name == name:  # a journal may come from elsewhere
            (folder / name).unlink(missing_ok=True)
    journal.forget_stale()


def _flagged(card: ModelCard, prediction: Prediction) -> list[Target]:
    chosen = prediction.flagged or prediction.order[:1]
    return [card.target(card.classes[index]) for index in chosen]


def _finish(
    journal: Journal, done: Done, path: Path, card: ModelCard, maps: Iterator[dict[str, Any]] | tuple[()]
) -> None:
    """The manifest, and the sentences to tell; probability = activation(scale * logit + offset)."""

    def warned() -> Iterator[tuple[str, list[str]]]:
        last = None
        for entry in (facts["entry"] for facts in journal.results()):
            if entry["warnings"] and entry["image"] != last:
                yield entry["image"], entry["warnings"]
            last = entry["image"]

    for name, sentences in warned():
        done.warnings.add(name, *sentences)
    for name, sentence in journal.skips():
        done.failures.add(name, sentence)
    head = {
        "model": card.id,
        "weights_sha256": card.weights.sha256,
        "activation": card.activation,
        "calibration": card.calibration.model_dump(),
        "images": done.read,
    }
    write_manifest(path, head, warned(), journal.skips(), maps)

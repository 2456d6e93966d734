"""Many images at once: explanations to files, scores to a table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from dashboard.folder_runs.journal import Journal, Tell
from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.output import write_manifest, write_table
from dashboard.folder_runs.pool import make_pool
from dashboard.folder_runs.prefetch import decoded, default_workers
from dashboard.folder_runs.sharded import run_shards, take_left
from dashboard.folder_runs.told import Done, ShowProgress
from dashboard.folder_runs.where import HERE, Where
from dashboard.folder_runs.work import Order, Work, go_through, open_model, settings_of
from dashboard.serving.local import LocalEngine
from explainers import get
from models.card import ModelCard
from models.errors import DataError

TABLES = (".parquet", ".csv")


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
    where: Where = HERE,
    tell: Tell = lambda *_: None,
) -> Done:
    """Maps of every image, method and target under ``out``; those that an earlier call left there whole are kept.

    Where that call had other settings, its maps are made anew or removed.

    Args:
        paths: files, folders, zips, or listings of files (:mod:`dashboard.folder_runs.manifest`).
        show: called with units of files done and in all; with None while the files are looked through.
        workers: as of ``where``, which it overrules.
        restart: compute everything anew.
        tell: called with name and reason of what cannot be read or explained, as it comes.

    Raises:
        DataError, ModelError, ExplainError, OSError: an argument or the output is unusable.
        Unavailable: the workers are.
    """
    where = where if workers is None else replace(where, workers=workers)
    engine, card = open_model(model)
    for method in methods:
        get(method)
    fixed = None if target is None else card.target(target).name
    out.mkdir(parents=True, exist_ok=True)
    asked = {"methods": list(methods), "target": fixed, "seed": seed}
    about = settings_of(card, slice_index) | asked
    order = Order("maps", str(card.folder.resolve()), about, 0, slice_index, tuple(methods), fixed or "", seed)
    with Journal(out / "explain.journal", about, restart, tell) as journal:
        done = _run(journal, order, engine, card, paths, out / "explain.shards", out, show, where, restart)
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
    where: Where = HERE,
    tell: Tell = lambda *_: None,
) -> Done:
    """A parquet or CSV table of scores, one row an image, and a manifest beside it.

    A segmentation model's table also holds the quantities of what it found, and the pixel probabilities go to the
    folder ``<table>.masks``. ``image`` is the file's path below ``path``, or as a listing has it. Scores go to
    ``<table>.journal`` as they come: a call that was stopped is taken up where it was, whoever did the work, and a later
    one works on new, changed and skipped files only.

    Args:
        path: a file, folder, zip, or listing of files (:mod:`dashboard.folder_runs.manifest`).
        show: called with units of files done and in all; with None while the files are looked through.
        workers: as of ``where``, which it overrules.
        restart: score everything anew.
        tell: called with name and reason of what cannot be read or scored, as it comes.

    Raises:
        DataError, ModelError, OSError: the table's name, the model or the output is unusable.
        Unavailable: the workers are.
    """
    if out.suffix not in TABLES:
        raise DataError(f"The scores go to a file that ends in {' or '.join(TABLES)}, got {out.name!r}.")
    where = where if workers is None else replace(where, workers=workers)
    engine, card = open_model(model)
    masks = out.with_name(f"{out.stem}.masks")
    out.parent.mkdir(parents=True, exist_ok=True)
    about = settings_of(card, slice_index)
    order = Order("scores", str(card.folder.resolve()), about, slice_index=slice_index)
    with Journal(out.with_name(f"{out.stem}.journal"), about, restart, tell) as journal:
        done = _run(
            journal, order, engine, card, [path], out.with_name(f"{out.stem}.shards"), masks, show, where, restart
        )
        done.written = write_table(out, (facts["row"] for facts in journal.results()))
        _finish(journal, done, out.with_name(f"{out.stem}.manifest.json"), card, ())
        _remove_stale(journal, masks)
    return done


def _run(
    journal: Journal,
    order: Order,
    engine: LocalEngine,
    card: ModelCard,
    paths: Sequence[Path],
    shards: Path,
    out: Path,
    show: ShowProgress,
    where: Where,
    restart: bool,
) -> Done:
    """Everything that is not done yet, ``out`` being the folder of the results' files."""
    if restart:
        shutil.rmtree(shards, ignore_errors=True)
    take_left(journal, order, shards, out)
    order = replace(order, units=journal.plan(units_of(paths, lambda: show(0, None))))
    if order.has_files(card):
        journal.check(lambda facts: _are_there(out, facts["files"]))
    finished = journal.ended
    done = Done(read=journal.planes)
    group = order.group(order.wish(card))
    if where.engine != "local":
        if finished == order.units:
            return done
        with closing(make_pool(where)) as pool:
            return run_shards(journal, order, group, pool, shards, out, show)

    def settled(units: int) -> None:
        nonlocal finished
        finished += units
        show(finished, order.units)

    order.make_ready(engine, card)
    workers = default_workers(order.units - finished) if where.workers is None else where.workers
    settled(0)
    began = perf_counter()
    with closing(decoded(journal.pending(), order.wish(card), workers, group + 2 * workers)) as stream:
        count = go_through(stream, Work(order, engine, card, journal, out), group, settled)
    done.read, done.fresh, done.seconds = done.read + count.read, count.fresh, perf_counter() - began
    return done


def _are_there(folder: Path, sizes: dict[str, int]) -> bool:
    files = ((folder / name, size) for name, size in sizes.items())
    return all(file.is_file() and file.stat().st_size == size for file, size in files)


def _remove_stale(journal: Journal, folder: Path) -> None:
    """What was made with other settings, is in no manifest any more and would be taken for a result."""
    for name in journal.stale:
        if Path(name).name == name:  # a journal may come from elsewhere
            (folder / name).unlink(missing_ok=True)
    journal.forget_stale()


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

"""What is done with every image of a run, in this process or another: scored, or explained."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from dashboard.folder_runs.output import safe_name, safe_stem, write_masks, write_whole
from dashboard.folder_runs.planes import Item, Plane, Unit, Wish
from dashboard.reports.files import manifest_entry, npz_bytes, overlay_png, scores_of
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import CODE_VERSION, Engine, ExplainRequest, Explanation
from dashboard.settings import ZOO, settings
from models.card import CARD_FILE, ModelCard, read_card
from models.context import RunContext
from models.errors import Busy, Cancelled, ModelError, SightlineError, Unavailable
from models.io import Failure
from models.types import Case, Image, Prediction, Provenance, Target

FEW, BATCH = 8, 64  # images at a time
MANY = 100  # units of files for which making the network ready, and telling of progress less often, pays
Stream = Iterator[tuple[Unit, Item | None]]


@dataclass(frozen=True)
class Order:
    """What a run asks of every image, as JSON can carry it to another process.

    Attributes:
        model: its folder.
        settings: everything the results depend on besides the files.
        units: of files, in all.
        methods, target, seed: of maps; "" explains the flagged classes.
    """

    doing: Literal["scores", "maps"]
    model: str
    settings: dict[str, Any]
    units: int = 0
    slice_index: int | None = None
    methods: tuple[str, ...] = ()
    target: str = ""
    seed: int = 0

    def wish(self, card: ModelCard) -> Wish:
        """Masks and maps lie on the image as it is; for scores alone it may be brought to the network's size."""
        return Wish(asdict(card.input.spec), self.slice_index, shrink=not self.has_files(card))

    def has_files(self, card: ModelCard) -> bool:
        """Whether results have files of their own."""
        return self.doing == "maps" or card.task == "segmentation"

    def group(self, wish: Wish) -> int:
        """Images to decode and work on before progress is told."""
        return 1 if self.doing == "maps" else together(self.units, wish)

    def make_ready(self, engine: LocalEngine, card: ModelCard) -> None:
        """Load the model, for scores of so many units. Raises ModelError where it is not the one that was asked for."""
        here = settings_of(card, self.slice_index)
        if json.dumps(here, default=str) != json.dumps({name: self.settings[name] for name in here}, default=str):
            raise ModelError(
                f"The model in {card.folder.name!r} has changed since the run began, or is another one on the machine "
                f"{platform.node()!r}; give all machines the same model folder, and start again."
            )
        if self.doing == "scores" and self.units >= MANY:  # of all, so that a run taken up again scores alike
            engine.expect_many(card.id)


class Results(Protocol):
    """Where what comes of units goes: the journal of the run, or a shard of it."""

    def known(self, unit: Unit, plane: int) -> Collection[int]:
        """Parts of an image that are there already."""
        ...

    def add(self, unit: Unit, plane: int, facts: dict[str, Any], part: int = 0) -> None: ...

    def skip(self, name: str, message: str) -> None: ...

    def end(self, unit: Unit) -> None: ...

    def stem(self, wanted: str, unit: Unit, plane: int) -> str: ...

    def commit(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Read:
    """An image of a unit, the how-manieth it is there, and which parts of its results an earlier call left."""

    unit: Unit
    number: int
    plane: Plane
    known: Collection[int]


@dataclass
class Count:
    """Images read, and those worked on."""

    read: int = 0
    fresh: int = 0


@dataclass(frozen=True, eq=False)
class Work:
    """Called with decoded images, it does what the order says and yields the units that it cannot finish.

    Attributes:
        folder: for the files of results.
    """

    order: Order
    engine: Engine
    card: ModelCard
    results: Results
    folder: Path

    def __call__(self, part: Sequence[Read]) -> Iterator[Unit]:
        yield from self._score(part) if self.order.doing == "scores" else self._explain(part)

    def _score(self, part: Sequence[Read]) -> Iterator[Unit]:
        scored = score_images(self.engine, self.card, [one.plane.image for one in part])
        for one, answer in zip(part, scored, strict=True):
            unit, number, plane = one.unit, one.number, one.plane
            if isinstance(answer, SightlineError):
                self.results.skip(plane.name, str(answer))
                yield unit
                continue
            row: dict[str, Any] = {"image": plane.name}
            row |= {f"score_{name}": entry["probability"] for name, entry in scores_of(answer).items()}
            files: dict[str, int] = {}
            if answer.masks is not None:
                stem = self.results.stem(safe_stem(plane.name), unit, number)
                columns, files = write_masks(self.folder, stem, plane.image, answer)
                row |= columns
            about = {"image": plane.name, "warnings": list(answer.warnings)}
            self.results.add(unit, number, {"row": row, "entry": about, "files": files})

    def _explain(self, part: Sequence[Read]) -> Iterator[Unit]:
        for one in part:
            unit, number, plane = one.unit, one.number, one.plane
            (scored,) = score_images(self.engine, self.card, [plane.image])
            if isinstance(scored, SightlineError):
                self.results.skip(plane.name, str(scored))
                yield unit
                continue
            stem = self.results.stem(safe_stem(plane.name), unit, number)
            about = {"image": plane.name, "warnings": list(scored.warnings), "scores": scores_of(scored)}
            targets = [self.card.target(self.order.target)] if self.order.target else _flagged(self.card, scored)
            wanted = [(target, method) for target in targets for method in self.order.methods]
            for method in self.order.methods:
                open_ = {place: target for place, (target, of) in enumerate(wanted) if of == method}
                open_ = {place: target for place, target in open_.items() if place not in one.known}
                names = {place: f"{stem}.{method}.{safe_name(target.name)}" for place, target in open_.items()}
                if not open_:
                    continue
                together = list(open_.values())  # which share the passes of the network
                request = ExplainRequest(self.card.id, plane.image, method, together[0], seed=self.order.seed)
                try:
                    found = self.engine.explain_targets(request, together, RunContext())
                except SightlineError as error:
                    for name in names.values():
                        self.results.skip(name, str(error))
                    yield unit
                    continue
                for (place, name), explanation in zip(names.items(), found, strict=True):
                    entry = _write_map(explanation, plane, self.folder, name)
                    facts = {"entry": {"file": f"{name}.npz", **about, **entry}, "files": _sizes(self.folder, name)}
                    self.results.add(unit, number, facts, place)
                self.results.commit()


def go_through(stream: Stream, work: Work, size: int, show: Callable[[int], None] = lambda units: None) -> Count:
    """Give decoded images, ``size`` at a time, to ``work``; units it finishes, and whose images all came, are ended.

    Args:
        show: called with the number of units closed since the last call, once what came of them is there to stay.
    """
    count = Count()
    part: list[Read] = []
    closed: list[Unit] = []
    faulty: set[int] = set()
    results = work.results

    def settle() -> None:
        faulty.update(unit.place for unit in work(part))
        for unit in closed:
            if unit.place not in faulty:
                results.end(unit)
            faulty.discard(unit.place)
        results.commit()
        units = len(closed)
        count.fresh += len(part)
        part.clear()
        closed.clear()
        show(units)

    number = 0
    for unit, item in stream:
        if item is None:
            closed.append(unit)
            number = 0
        elif isinstance(item, Failure):
            results.skip(item.name, item.message)
            faulty.add(unit.place)
        else:
            known = results.known(unit, number)
            count.read += not known
            if work.order.doing == "maps" or not known:  # of maps some may be there and others not
                part.append(Read(unit, number, item, known))
            number += 1
            if len(part) == size:
                settle()
    settle()
    return count


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


def together(units: int, wish: Wish) -> int:
    """Images to decode and score before progress is told; few where they are whole, and may be large."""
    return BATCH if units >= MANY and wish.shrink else FEW


def score_images(
    engine: Engine, card: ModelCard, images: Sequence[Image], ctx: RunContext | None = None
) -> list[Prediction | SightlineError]:
    """Scores of plane images, and why one has none: the model cannot be shown it, or answers with no number.

    Raises:
        ModelError: the model cannot be loaded.
        Cancelled: ``ctx`` was.
        Busy, Unavailable: the engine cannot take the work now, whatever the images.
    """
    if not images:
        return []
    try:
        return list(engine.predict(card.id, images, ctx or RunContext()))
    except SightlineError as error:
        if isinstance(error, Cancelled | Busy | Unavailable) or engine.state(card.id) == "failed":
            raise
        if len(images) == 1:
            return [error]
        return [answer for image in images for answer in score_images(engine, card, [image], ctx)]


def settings_of(card: ModelCard, slice_index: int | None) -> dict[str, Any]:
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


def _flagged(card: ModelCard, prediction: Prediction) -> list[Target]:
    chosen = prediction.flagged or prediction.order[:1]
    return [card.target(card.classes[index]) for index in chosen]

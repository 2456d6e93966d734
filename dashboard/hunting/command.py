"""``python -m dashboard hunt``: a model and a folder of images in, what was found of its failures out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dashboard.audit.columns import guess
from dashboard.audit.frames import read_frame
from dashboard.audit.reading import build_for, zoo_table
from dashboard.audit.table import AuditTable
from dashboard.folder_runs.output import safe_name
from dashboard.folder_runs.work import open_model
from dashboard.hunting import drift, evidence, neighbours, robustness
from dashboard.hunting.cohort import Cohort, cohort
from dashboard.hunting.drift_result import FILE as DRIFT
from dashboard.hunting.masking import mask_and_predict, region_of
from dashboard.hunting.montage import Tile, montage
from dashboard.hunting.robustness_result import FILE as ROBUSTNESS
from dashboard.hunting.shortcuts import HuntSettings, ShortcutHunt, cases_for, hunt
from dashboard.hunting.spray import rank_classes
from dashboard.hunting.stored import Result, plain, write_result
from dashboard.hunting.turns import at_once
from dashboard.images import ImageFolder
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.settings import settings
from dashboard.trust.judge import Judge
from dashboard.trust.store import VerdictStore
from explainers.quality.randomisation import FILE as RANDOMISATION
from explainers.quality.randomisation import RandomisationResult, StoredRandomisation, usual
from explainers.quality.randomisation import measure as measure_randomisation
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.handle import ModelHandle

Part = Literal["weights", "shortcuts", "trust", "robustness", "drift", "neighbours"]
PARTS: tuple[Part, ...] = ("weights", "shortcuts", "trust", "robustness", "drift", "neighbours")
RECORD = "hunt.json"
RANDOMISED = 20  # cases for the random weights
MASKED_CLUSTERS = 3  # of a class, the first to look at
SHOWN = 24  # cases of a cluster in its picture
ShowProgress = Callable[[str, int, int | None], None]


@dataclass
class Hunted:
    """What was found.

    Attributes:
        cases: with an image.
        suspicions: sentences, of clusters that the network decides by though no finding can be there.
        failures: parts, or classes, that could not be hunted in, and why.
        files: written.
    """

    cases: int
    suspicions: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Hunt:
    """What every part is given; ``keep`` stores results with the model, where the Audit page finds them."""

    cases: Cohort
    desk: Desk
    judge: Judge
    out: Path
    classes: tuple[str, ...]
    most: int
    seed: int
    keep: bool
    own: bool  # the cases are those of the model's own evaluation, whose ids lie beside the card anyway
    show: ShowProgress
    done: Hunted

    def ctx(self, part: str) -> RunContext:
        ctx = RunContext(on_progress=lambda _: self.show(part, ctx.ticks, ctx.total))
        return ctx

    def write(self, name: str, content: bytes) -> None:
        path = self.out / name
        path.write_bytes(content)
        self.done.files.append(path)

    def store(self, name: str, place: str, result: Result) -> None:
        self.write(name, (json.dumps(plain(result), indent=1) + "\n").encode())
        if self.keep:
            write_result(self.cases.card, place, result)


def hunt_model(
    model: str,
    data: Path,
    out: Path,
    table: Path | None = None,
    parts: Sequence[str] = PARTS,
    classes: Sequence[str] = (),
    most: int = 100,
    seed: int = 0,
    keep: bool = False,
    show: ShowProgress = lambda part, done, total: None,
) -> Hunted:
    """Hunts for failures of a model over the cases of a table whose images are in ``data``.

    Args:
        table: scores and labels; None for the test part of the model's own evaluation.
        parts: of ``PARTS``.
        classes: whose shortcuts are hunted; all if none.
        most: cases of each part (of each class, for shortcuts and drift).
        keep: store results beside the card too.
        show: called with the part, and how much of it is done.

    Raises:
        SightlineError, OSError: the model, table, folder or output is unusable.
    """
    wrong = [part for part in parts if part not in PARTS]
    if wrong or not parts:
        raise DataError(f"There is no part {wrong[0] if wrong else ''!r} of a hunt; choose of {', '.join(PARTS)}.")
    engine, card = open_model(model)
    cases = cohort(_table(card, table), ImageFolder(data), card)
    unknown = [name for name in classes if name not in card.classes]
    if unknown:
        raise DataError(f"There is no class {unknown[0]!r}; the model has {', '.join(card.classes)}.")
    out.mkdir(parents=True, exist_ok=True)
    config = settings()
    desk = Desk(engine, ResultStore(config.cache / "results", config.cache_mb))
    judge = Judge(desk, VerdictStore(config.cache / "verdicts", config.verdicts_mb))
    done = Hunted(len(cases))
    given = _Hunt(cases, desk, judge, out, tuple(classes) or card.classes, most, seed, keep, table is None, show, done)
    record: dict[str, Any] = {"model": card.id, "weights_sha256": card.weights.sha256, "cases": len(cases)}
    try:
        for part in PARTS:
            if part in parts:
                try:
                    record[part] = _HUNTS[part](given)
                except Cancelled:
                    raise
                except SightlineError as error:
                    done.failures[part] = str(error)
    finally:
        desk.close()
    if len(done.failures) == len(set(parts)) and not done.files:
        raise DataError(f"Nothing could be hunted: {' '.join(done.failures.values())}")
    record |= {"suspicions": done.suspicions, "failures": done.failures}
    given.write(RECORD, (json.dumps(record, indent=1) + "\n").encode())
    return done


def _table(card: ModelCard, path: Path | None) -> AuditTable:
    if path is not None:
        frame = read_frame(path, path.name)
        return build_for(card, frame, guess(frame), path.stem, logits=False)
    found = zoo_table(card)
    return found.in_split("test") if "test" in found.splits else found


def _weights(given: _Hunt) -> str:
    """Maps of copies with random weights against the network's own; first, as the trust checks read its result."""
    card = given.cases.card
    cases = given.cases.drawn(min(given.most, RANDOMISED), given.seed)
    images = [cases.image(number) for number in range(len(cases))]
    handle = ModelHandle.load(card, settings().first_device)
    results: dict[str, RandomisationResult] = {}
    for found in measure_randomisation(handle, images, usual(card), given.ctx("random weights"), seed=given.seed):
        results = dict(found)
    made = StoredRandomisation(
        model=card.id,
        weights_sha256=card.weights.sha256,
        images=len(images),
        source=f"{len(images)} cases, drawn at random",
        copies=2,
        seed=given.seed,
        methods=results,
    )
    content = (json.dumps(made.model_dump(mode="json"), indent=1) + "\n").encode()
    given.write("randomisation.json", content)
    if given.keep:
        path = card.folder / RANDOMISATION
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return "randomisation.json"


def _shortcuts(given: _Hunt) -> dict[str, Any]:
    """Every class by itself: clusters, what covering their place does, and their pictures."""
    owner = secrets.token_hex(8)
    found: dict[str, ShortcutHunt] = {}
    masked: dict[str, list[dict[str, Any]]] = {}
    for name in given.classes:
        wanted = HuntSettings(name, most=given.most, seed=given.seed)
        try:
            cases = cases_for(given.cases.table, given.cases.folder, given.cases.card, wanted)
            found[name] = hunt(cases, wanted, given.desk, owner, given.ctx(f"shortcuts of {name}"))
            masked[name] = _masked(given, name, found[name], cases, owner)
        except Cancelled:
            raise
        except SightlineError as error:
            given.done.failures[f"shortcuts of {name}"] = str(error)
    ranks = rank_classes({name: one.groups for name, one in found.items()})
    return {
        "classes": {name: one.as_dict() | {"masked": masked.get(name, [])} for name, one in found.items()},
        "ranked_by_eigengap": [rank.name for rank in ranks],
    }


def _masked(given: _Hunt, name: str, found: ShortcutHunt, cases: Cohort, owner: str) -> list[dict[str, Any]]:
    """The first clusters with their place covered; their pictures go to files."""
    number_of = {int(row): number for number, row in enumerate(cases.rows)}
    answers: list[dict[str, Any]] = []
    for cluster in found.clusters[:MASKED_CLUSTERS]:
        for one in mask_and_predict(
            found, cluster, cases, given.desk, owner, given.ctx(f"covering, {name}, cluster {cluster.number}")
        ):
            answers.append(one.as_dict())
            if one.finding == "shortcut":
                given.done.suspicions.append(f"{name}, cluster {cluster.number}: {one.sentence}")
        members = cluster.members[:SHOWN]
        side = cluster.mean_map.shape
        tiles = [
            Tile(cases.image(number_of[int(found.rows[at])]), found.signatures[at].reshape(side)) for at in members
        ]
        picture = montage(tiles, region=region_of(cluster.mean_map))
        given.write(f"shortcuts-{safe_name(name)}-{cluster.number}.png", picture)
    return answers


def _trust(given: _Hunt) -> str:
    ctx = given.ctx("trust checks")
    cases = given.cases.drawn(min(given.most, evidence.MOST), given.seed)
    found = evidence.measure(
        cases, given.desk, given.judge, at_once(ctx), ctx, source="drawn at random", seed=given.seed
    )
    given.store("trust.json", evidence.FILE, found)
    return "trust.json"


def _robustness(given: _Hunt) -> str:
    cases = robustness.enriched(given.cases, given.most, given.seed)
    found = robustness.measure(given.desk.engine, cases, given.ctx("robustness"), part="cases", seed=given.seed)
    given.store("robustness.json", ROBUSTNESS, found)
    return "robustness.json"


def _drift(given: _Hunt) -> str:
    ctx = given.ctx("maps by group")
    found = drift.measure(given.desk.engine, given.cases, ctx, part="cases", most=given.most, seed=given.seed)
    given.store("drift.json", DRIFT, found)
    return "drift.json"


def _neighbours(given: _Hunt) -> str:
    ctx = given.ctx("nearest cases")
    index = neighbours.build(given.desk.engine, given.cases.drawn(neighbours.MOST, given.seed), ctx, part="cases")
    path = given.out / "neighbours.npz"
    neighbours.write_index(index, path)
    given.done.files.append(path)
    if given.keep and given.own:
        neighbours.write_index(index, given.cases.card.folder / neighbours.FILE)
    return "neighbours.npz"


_HUNTS: dict[Part, Callable[[_Hunt], Any]] = {
    "weights": _weights,
    "shortcuts": _shortcuts,
    "trust": _trust,
    "robustness": _robustness,
    "drift": _drift,
    "neighbours": _neighbours,
}

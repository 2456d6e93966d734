"""The hunt for shortcuts of one class: its maps over many cases in groups, and what sets each group apart.

A group of maps that lie where no finding can be (a marker, a ruler, the edge of the picture), or on which the network
errs more or less than elsewhere, is where to look for a rule that was not meant. Whether the network decides by that
place is found out by covering it: :mod:`dashboard.hunting.masking`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.anatomy import parts_of
from dashboard.audit.intervals import Estimate
from dashboard.audit.table import AuditTable, Mask, Rows
from dashboard.hunting.beside import BESIDE, Beside, beside_of, judged
from dashboard.hunting.cohort import Cohort, cohort
from dashboard.hunting.patients import difference_over, share_over
from dashboard.hunting.signatures import on_cells, picture, shares_of, signature
from dashboard.hunting.spray import LEAST, Groups, grouped
from dashboard.images import ImageFolder
from dashboard.jobs.desk import Desk
from dashboard.quantify.dermoscopy import OUTLINE_MODEL, outline_of
from dashboard.serving.types import ExplainRequest, image_digest
from explainers.types import ParamValue
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.types import FloatArray, Image, Modality

Among = Literal["called", "labelled"]


@dataclass(frozen=True)
class HuntSettings:
    """What is hunted for.

    Attributes:
        finding: class as the card names it.
        among: the cases called for it, right or wrong, or those labelled with it.
        method, params: of the maps.
        most: so many cases are drawn at random where there are more.
    """

    finding: str
    among: Among = "called"
    method: str = "grad-cam"
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    most: int = 150
    seed: int = 0


@dataclass(frozen=True)
class HuntProgress:
    """Shown on the way: cases done, of how many."""

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Cluster:
    """Cases whose maps are alike.

    Attributes:
        number: from 1, the one to look at first.
        members: places in ``ShortcutHunt.rows``; ``patients`` counts whom they come from.
        mean_map: (side, side) float32, sum 1, on the common grid.
        separation: in [-1, 1], how far apart its maps are from those of the next cluster; None where there is one only.
        error: share of wrong decisions; ``difference`` is less that of all other cases.
        parts: by part of the picture, mean share of the map and mean share of the area, [0, 1]; over the cases in
            which the part was found.
        beside: whether it marks where no finding can be.
        beside_cells: (side, side) float32 in [0, 1], how much of each cell lies there, mean over its cases.
    """

    number: int
    members: Rows
    patients: int
    mean_map: FloatArray
    separation: float | None
    error: Estimate
    difference: Estimate
    parts: Mapping[str, tuple[float, float]]
    beside: Beside
    beside_cells: FloatArray

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, eq=False)
class ShortcutHunt:
    """What a hunt found.

    Attributes:
        model_id, weights_sha256: of the network.
        rows: (n,) rows of the table, in its order. patients: (n,) their patients' numbers.
        names: (n,) case ids.
        unit: what intervals are drawn over ("patients").
        signatures: (n, side * side) float32, where the maps lie on the common grid.
        wrong: (n,) the decision for the class was wrong; ``known`` where the label is known.
        groups: the clustering, its numbers being those before ranking.
        clusters: ranked.
        left_out: cases without a map and why, by case id.
    """

    model_id: str
    weights_sha256: str
    settings: HuntSettings
    rows: Rows
    patients: Rows
    names: tuple[str, ...]
    unit: str
    signatures: NDArray[np.float32]
    wrong: Mask
    known: Mask
    groups: Groups
    clusters: tuple[Cluster, ...]
    left_out: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "left_out", MappingProxyType(dict(self.left_out)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def cluster_of(self) -> NDArray[np.intp]:
        """(n,) place in ``clusters`` of each case."""
        found = np.zeros(len(self), dtype=np.intp)
        for place, cluster in enumerate(self.clusters):
            found[cluster.members] = place
        return found

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for a file; no pictures and no case ids beyond the members'."""
        return {
            "model": self.model_id,
            "weights_sha256": self.weights_sha256,
            "class": self.settings.finding,
            "among": self.settings.among,
            "method": self.settings.method,
            "params": dict(self.settings.params),
            "seed": self.settings.seed,
            "cases": len(self),
            "patients": len(np.unique(self.patients)),
            "patients_are": self.unit,
            "left_out": len(self.left_out),
            "neighbours": self.groups.neighbours,
            "eigenvalues": [round(float(value), 5) for value in self.groups.eigenvalues],
            "eigengap": self.groups.eigengap,
            "clusters": [_as_dict(cluster, self.names) for cluster in self.clusters],
        }


def cases_for(table: AuditTable, folder: ImageFolder, card: ModelCard, settings: HuntSettings) -> Cohort:
    """The cases of a hunt that have an image. Raises DataError where there are none, or not the class."""
    column = table.column(settings.finding)
    held = table.decided[:, column] if settings.among == "called" else table.positive[:, column]
    if not held.any():
        said = "called for" if settings.among == "called" else "labelled with"
        raise DataError(f"No case is {said} {settings.finding}; choose another class.")
    return cohort(table, folder, card, held, settings.most, settings.seed)


def hunt_key(cases: Cohort, settings: HuntSettings) -> str:
    """The same for the same hunt: of the cases, the network and the settings."""
    facts = [cases.card.id, cases.card.weights.sha256, cases.table.digest, cases.rows.tolist(), settings.finding]
    facts += [settings.among, settings.method, sorted(settings.params.items()), settings.most, settings.seed]
    facts += [str(cases.folder.folder)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def hunt(cases: Cohort, settings: HuntSettings, desk: Desk, owner: str, ctx: RunContext) -> ShortcutHunt:
    """Make the maps one image at a time, behind what readers wait for, and group them.

    Raises:
        DataError: fewer than ten cases have a map.
        SightlineError: the method cannot explain the network; Cancelled.
    """
    ctx.total = len(cases)
    target = cases.card.target(settings.finding)
    kept: list[int] = []
    vectors: list[FloatArray] = []
    shares: list[dict[str, tuple[float, float]]] = []
    beside: list[FloatArray] = []
    left_out: dict[str, str] = {}
    for number in range(len(cases)):
        ctx.show(HuntProgress(number, len(cases)))
        try:
            image = cases.image(number)
            request = ExplainRequest(cases.card.id, image, settings.method, target, settings.params, settings.seed)
            explanation = desk.in_turn(request, owner, ctx)
            vector = signature(explanation, image)
            if vector is None:
                left_out[cases.name(number)] = "Its map is zero everywhere."
            else:
                parts = beside_of(parts_of(image, _lesion(image, desk, owner, ctx)), image)
                shares.append(shares_of(explanation, parts))
                beside.append(on_cells(parts[BESIDE], image))
                vectors.append(vector)
                kept.append(number)
        except Cancelled:
            raise
        except SightlineError as error:
            left_out[cases.name(number)] = str(error)
        ctx.tick()
    if len(kept) < LEAST and left_out:
        name, why = next(iter(left_out.items()))
        raise DataError(f"Only {len(kept)} of {len(cases)} cases have a map; of {name}: {why}")
    return _found(cases, settings, np.array(kept, dtype=np.intp), np.array(vectors), shares, np.array(beside), left_out)


def _lesion(image: Image, desk: Desk, owner: str, ctx: RunContext) -> Mask | None:
    """The outline of a skin lesion, where the model for it is at hand."""
    card = desk.engine.cards().get(OUTLINE_MODEL)
    if card is None or image.modality is not Modality.DERMOSCOPY:
        return None
    key = f"outline-{owner}-{image_digest(image, card.input.spec)}"
    return outline_of(desk.do_in_turn(key, lambda _: desk.predict(OUTLINE_MODEL, image, masks=True), owner, ctx))


def _found(
    cases: Cohort,
    settings: HuntSettings,
    kept: Rows,
    vectors: NDArray[np.float32],
    shares: list[dict[str, tuple[float, float]]],
    beside: NDArray[np.float32],
    left_out: dict[str, str],
) -> ShortcutHunt:
    table, rows = cases.table, cases.rows[kept]
    column = table.column(settings.finding)
    groups = grouped(vectors, settings.seed)
    known = table.known[rows, column]
    wrong = known & (table.decided[rows, column] != table.positive[rows, column])
    patients = table.groups[rows]
    clusters = []
    for label in range(groups.count):
        inside = groups.labels == label
        members = np.flatnonzero(inside)
        own = [shares[member] for member in members]
        separation = float(groups.separation[label])
        clusters.append(
            Cluster(
                number=label + 1,
                members=members,
                patients=len(np.unique(patients[members])),
                mean_map=picture(vectors[members].mean(axis=0)),
                separation=None if np.isnan(separation) else separation,
                error=share_over(wrong[inside & known], patients[inside & known], settings.seed, table.unit),
                difference=difference_over(
                    wrong[known], inside[known], patients[known], settings.seed, table.unit
                ),
                parts=_mean_parts(own),
                beside=judged(own, patients[members], settings.seed),
                beside_cells=beside[members].mean(axis=0),
            )
        )  # fmt: skip
    return ShortcutHunt(
        model_id=cases.card.id,
        weights_sha256=cases.card.weights.sha256,
        settings=settings,
        rows=rows,
        patients=patients,
        names=tuple(cases.name(int(number)) for number in kept),
        unit=table.unit,
        signatures=vectors,
        wrong=wrong,
        known=known,
        groups=groups,
        clusters=ranked(clusters),
        left_out=left_out,
    )


def ranked(clusters: list[Cluster]) -> tuple[Cluster, ...]:
    """The ones to look at first, numbered anew: by the mean of three places, ties by size.

    Places are by how far apart a cluster is, by how much its share of errors differs from that of the rest, and by how
    strongly it marks where no finding can be.
    """

    def places(numbers: list[float]) -> list[int]:
        return [sum(other > own for other in numbers) for own in numbers]

    apart = places([-2.0 if one.separation is None else one.separation for one in clusters])
    error = places([abs(one.difference.value or 0.0) for one in clusters])
    aside = places([one.beside.ratio or 0.0 for one in clusters])
    order = sorted(range(len(clusters)), key=lambda k: (apart[k] + error[k] + aside[k], -len(clusters[k])))
    return tuple(replace(clusters[k], number=place + 1) for place, k in enumerate(order))


def _mean_parts(shares: list[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Of the parts found in at least half of the cases, and of those that count as beside the patient in any."""
    names = dict.fromkeys(name for one in shares for name in one if name != BESIDE)
    found = {}
    for name in names:
        held = np.array([one[name] for one in shares if name in one])
        if len(held) * 2 >= len(shares):
            found[name] = (float(held[:, 0].mean()), float(held[:, 1].mean()))
    return found


def _as_dict(cluster: Cluster, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "number": cluster.number,
        "cases": len(cluster),
        "patients": cluster.patients,
        "members": [names[member] for member in cluster.members],
        "separation": cluster.separation,
        "error": estimate_dict(cluster.error),
        "error_less_that_of_the_rest": estimate_dict(cluster.difference),
        "parts": {name: {"map": part[0], "area": part[1]} for name, part in cluster.parts.items()},
        "beside_the_patient": cluster.beside.as_dict(),
    }


def estimate_dict(one: Estimate) -> dict[str, Any]:
    """For a file."""
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n, "note": one.note}

"""Maps that reach through several slices: of a network of neighbouring slices, and by hiding blocks."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboard.jobs.desk import Desk
from dashboard.serving.types import ExplainRequest, Explanation, image_digest
from dashboard.volumes.scan import Show, check_size
from dashboard.volumes.scores import card_of, no_scores, score_slices
from dashboard.volumes.types import SliceScores, VolumeMap, VolumeRequest, VolumeResult, mass_by_slice, strength
from explainers.passes import Boxes
from explainers.types import Attribution
from explainers.volume import VOLUME_OCCLUSION, Channels, VolumeGrid, occlude
from models.context import RunContext
from models.errors import ExplainError
from models.preprocess import InputSpec, neighbour_shares
from models.types import FloatArray, Image

TOGETHER = 64  # passes in one piece of work


def explain_around(
    desk: Desk,
    request: VolumeRequest,
    owner: str,
    ctx: RunContext,
    show: Show = lambda _: None,
    scores: SliceScores | None = None,
) -> VolumeResult:
    """The score of one slice explained over the slices that a network of neighbouring slices sees of it.

    Raises:
        ExplainError: the network sees one slice at a time.
        SightlineError, Cancelled: as :func:`dashboard.volumes.scan.explain_slices`.
    """
    card, image = card_of(desk, request.model_id), request.image
    spec = card.input.spec
    if spec.slices == 1:
        raise ExplainError(f"{card.title} sees one slice at a time; explain slice by slice instead.")
    ctx.total = image.depth + 1
    plane = image.slice(request.at)
    one = ExplainRequest(request.model_id, plane, request.method, request.target, request.params, request.seed)
    found = over_neighbours(desk.in_turn(one, owner, ctx), plane, spec)
    ctx.tick()
    mass = _mass(found, image)
    show(VolumeResult(scores or no_scores(desk, request.model_id, image.depth), found, mass, 1, 1))
    if scores is None:
        scores = score_slices(
            desk, request.model_id, image, owner, ctx, lambda known: show(VolumeResult(known, found, mass, 1, 1))
        )
    return VolumeResult(scores, found, mass, 1, 1, True)


def over_neighbours(explanation: Explanation, plane: Image, spec: InputSpec) -> VolumeMap:
    """The map of a slice laid over those that the network sees, on the volume's own slices.

    A method with one map a channel has one a slice: a channel that lies between two slices of the volume is shared out as it was
    mixed (:func:`models.preprocess.neighbours`), so that the sum stays. One map for all channels, as of a class activation
    map, is repeated on each slice.
    """
    attribution = explanation.attribution
    first, weights = neighbour_shares(plane, spec)
    if attribution.values.shape[0] == spec.slices:
        values = np.tensordot(weights, attribution.values.astype(np.float64), axes=1).astype(np.float32)
        said = "each of its own"
    else:
        values = np.repeat(attribution.values[:1], len(weights), axis=0)
        said = f"one map for the {spec.slices} that the network sees"
    known = np.asarray(weights.any(axis=1))
    values[~known] = np.nan
    to_image = np.eye(4)
    to_image[np.ix_([0, 1, 3], [0, 1, 3])] = explanation.grid_to_image
    to_image[2, 3] = first
    return VolumeMap(
        attribution.title,
        values,
        to_image,
        known,
        attribution.signed,
        attribution.unit,
        {"slices": said, **attribution.facts},
        attribution.params,
        explanation.provenance,
    )


def hide_blocks(
    desk: Desk,
    request: VolumeRequest,
    owner: str,
    ctx: RunContext,
    show: Show = lambda _: None,
    scores: SliceScores | None = None,
) -> VolumeResult:
    """3-D occlusion (:mod:`explainers.volume`); the complete map is kept in the store of results.

    Raises:
        ExplainError, DataError: the volume has no spacing, the passes allowed are too few, or the map is too large.
        SightlineError, Cancelled: as :func:`dashboard.volumes.scan.explain_slices`.
    """
    card, image = card_of(desk, request.model_id), request.image
    params = VOLUME_OCCLUSION.resolve(request.params)
    grid = VolumeGrid.of(image, card.input.spec, request.slices, request.at)
    if not grid.by_channel:
        check_size(request.slices, card)
    planes = [request.at] if grid.by_channel else list(request.slices)
    passes = int(params["passes"])
    ctx.total = image.depth + passes
    if scores is None:
        nothing = np.full(image.depth, np.nan, dtype=np.float32)
        scores = score_slices(
            desk, request.model_id, image, owner, ctx, lambda known: show(VolumeResult(known, None, nothing, 0, passes))
        )
    else:
        ctx.tick(image.depth)
    known = scores
    digests = [image_digest(image.slice(index), card.input.spec) for index in planes]
    provenance = {
        "model": card.id,
        "model version": card.version,
        "weights sha256": card.weights.sha256,
        "slices sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
        "device": desk.engine.health().device,
    }

    def result(attribution: Attribution, complete: bool = False) -> VolumeResult:
        found = _as_map(attribution, grid, provenance)
        done = int(attribution.facts["passes"])
        return VolumeResult(known, found, _mass(found, image), done, done if complete else passes, complete)

    key = _key(
        desk,
        request,
        image.slice(planes[0]),
        [provenance["slices sha256"], params, grid.to_image.tolist(), grid.channels],
    )
    stored = desk.find(key)
    if stored is not None:
        return result(stored.attribution, True)
    pieces = itertools.count()

    def hidden(number: int, boxes: Boxes, channels: Channels | None) -> FloatArray:
        plane = image.slice(planes[number])
        parts = [
            desk.do_in_turn(
                f"blocks-{owner}-{next(pieces)}",
                lambda own, part=boxes[first : first + TOGETHER]: desk.engine.hidden(  # type: ignore[misc]
                    request.model_id, plane, part, str(params["fill"]), channels, own
                ),
                owner,
                ctx,
            )
            for first in range(0, len(boxes), TOGETHER)
        ]
        return np.concatenate(parts)

    attribution = occlude(
        grid,
        scores.logits[planes],
        hidden,
        request.target,
        params,
        ctx,
        lambda found: show(result(found)),
        request.seed,
    )
    desk.keep(key, Explanation(attribution, grid.to_image, image.plane_shape, provenance))
    return result(attribution, True)


def _key(desk: Desk, request: VolumeRequest, plane: Image, facts: list[Any]) -> str:
    """The content address of a map of blocks: that of a slice's occlusion, and what it depends on besides."""
    one = ExplainRequest(request.model_id, plane, "occlusion", request.target, {}, request.seed)
    told = json.dumps([desk.engine.key(one), VOLUME_OCCLUSION.id, *facts], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _as_map(attribution: Attribution, grid: VolumeGrid, provenance: Mapping[str, str]) -> VolumeMap:
    return VolumeMap(
        attribution.title,
        grid.laid(attribution.values[0]),
        grid.to_image,
        np.ones(grid.shape[0], dtype=bool) if grid.onto is None else np.asarray(grid.onto.any(axis=1)),
        attribution.signed,
        attribution.unit,
        attribution.facts,
        attribution.params,
        provenance,
    )


def _mass(found: VolumeMap, image: Image) -> FloatArray:
    """By slice of the volume; what lies between two of them is shared out by its distance to each."""
    total = np.full(image.depth, np.nan)
    for number in np.flatnonzero(found.known):
        plane = found.values[number]
        place = float(np.clip(number * found.grid_to_image[2, 2] + found.grid_to_image[2, 3], 0, image.depth - 1))
        part = strength(plane, found.grid_to_image, image.plane_shape)
        below = math.floor(place)
        for index, share in ((below, 1 - place + below), (below + 1, place - below)):
            if share:
                total[index] = np.nan_to_num(total[index]) + share * part
    return mass_by_slice(total)

"""The search for a region that turns the call, with a network behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.jobs.desk import Desk
from dashboard.serving.types import ExplainRequest, Explanation, image_digest
from dashboard.whatif.edits import apply_edits
from dashboard.whatif.flip import Call, Flip, Tiles, smallest_flip, tiles_of
from dashboard.whatif.types import Edit, Mask
from explainers.reduce import reduce_channels
from models.card import ModelCard
from models.context import RunContext
from models.project import covered, input_to_image
from models.types import FloatArray, Image, Prediction

ACROSS = 12  # tiles along the shorter side
_RANKED_BY = {"black": "black", "blur": "blurred"}  # what hides in the occlusion map; else the training images' mean


def flip_key(card: ModelCard, image: Image, call: Call, edit: Edit, across: int = ACROSS) -> str:
    """Equal exactly where the answer must be."""
    network = [
        card.weights.sha256,
        card.input_digest,
        card.calibration.model_dump(),
        image_digest(image, card.input.spec),
    ]
    asked = [call.index, call.stands, call.thresholds.tolist(), edit.kind, sorted(edit.params.items()), across]
    return "flip-" + hashlib.sha256(json.dumps([network, asked], default=str).encode()).hexdigest()


def flip_work(
    desk: Desk,
    card: ModelCard,
    image: Image,
    prediction: Prediction,
    index: int,
    edit: Edit,
    owner: str,
    across: int = ACROSS,
) -> Callable[[RunContext], Flip]:
    """The search as work for another thread than the desk's; what it asks, the desk answers when no reader waits.

    The network is shown pictures edited as a reader's are, so that the region found turns the call on the drawing too.

    Args:
        image: a plane image.
        prediction: of the image, with the operating points that count.
        index: the class whose decision is to turn; where only one class can hold, the leading one counts instead.
        edit: what is done with a region; its own region does not count.
    """
    call, spec = Call.of(prediction, index), card.input.spec
    key = flip_key(card, image, call, edit, across)

    def shown(mask: Mask) -> Image:
        if mask.all() and edit.kind == "inpaint":  # nothing is left to fill in from
            return apply_edits(image, [Edit("cover", {}, mask)], spec)
        return apply_edits(image, [replace(edit, mask=mask, on=True)], spec) if mask.any() else image

    def work(ctx: RunContext) -> Flip:
        fill = _RANKED_BY.get(str(edit.params.get("shade", edit.kind)), "mean")
        request = ExplainRequest(card.id, image, "occlusion", card.target(card.classes[call.index]), {"fill": fill})
        map_of = desk.in_turn(request, owner, ctx)
        height, width = map_of.attribution.values.shape[1:]
        seen = covered(map_of.grid_to_image, (height, width), map_of.image_shape)
        tiles = tiles_of(image.plane_shape, image.plane_spacing, across, seen)
        asked = 0

        def ask(masks: Sequence[Mask]) -> FloatArray:
            nonlocal asked
            asked += 1
            pictures = [shown(mask) for mask in masks]
            answers = desk.do_in_turn(
                f"{key}-{owner}-{asked}", lambda own: desk.engine.predict(card.id, pictures, own), owner, ctx
            )
            return np.stack([answer.logits for answer in answers])

        return smallest_flip(tiles, _effects(map_of, tiles, call), call, ask, card.probabilities, ctx)

    return work


def _effects(map_of: Explanation, tiles: Tiles, call: Call) -> NDArray[np.float64]:
    """(n,) mean of the occlusion map over each tile, turned so that more holds up the call."""
    laid = input_to_image(reduce_channels(map_of.attribution.values), map_of.grid_to_image, map_of.image_shape)
    means = ndimage.mean(laid, tiles, np.arange(int(tiles.max()) + 1))
    return np.asarray(means if call.stands else -means, dtype=np.float64)

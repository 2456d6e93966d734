"""A scan on the screen, and an earlier one of the patient, measured and compared step by step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dashboard.quantify.assess import Marker, assess
from dashboard.quantify.by_model import model_marker
from dashboard.quantify.followup import FollowUp, Visit, follow_up
from dashboard.quantify.grid import BoolArray, upright
from dashboard.quantify.lesions import CONNECTIVITY
from dashboard.registration import LEVELS
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.types import Case, Image, Prediction

_LUNGS, _LEVEL = 30, 10  # what segmenting lungs and a level of the registration take, in slices that a model marks
AskModel = Callable[[Sequence[Image], RunContext], Sequence[Prediction]]


@dataclass(frozen=True)
class Settings:
    """How lesions are counted.

    Attributes:
        supplied: lesions are the case's own mask instead of what the model marks.
        mask: id of the uploaded mask that stands for the case's own; "" for none.
        connectivity: neighbours of a voxel, 6, 18 or 26.
        minimum_mm3: smaller lesions do not count; None for what suits their source.
    """

    supplied: bool = False
    mask: str = ""
    connectivity: int = CONNECTIVITY
    minimum_mm3: float | None = None


@dataclass(frozen=True, eq=False)
class Quantities:
    """What is known so far.

    Attributes:
        current: None while it is being measured.
        prior, follow: None where there is nothing to compare with, or not yet.
        refused: why the earlier scan could not be measured or compared, in one sentence.
        doing: what is under way, in words.
    """

    current: Visit | None = None
    prior: Visit | None = None
    follow: FollowUp | None = None
    refused: str = ""
    doing: str = ""


def own_lesions(case: Case) -> BoolArray | None:
    """(D, H, W) of what the case says is infected or a lesion; None where it says nothing."""
    known = {region.name.casefold(): region.mask for region in case.regions if region.mask is not None}
    for name in ("infection", "lesions", "lesion", "nodule"):
        mask = known.get(name)
        if mask is not None and mask.ndim == 3:
            return mask
    return None


def measure(
    case: Case, prior: Case | None, settings: Settings, ask: AskModel | None, card: ModelCard | None, ctx: RunContext
) -> Quantities:
    """Measure a scan, then the prior one, and compare; ``ctx.show`` is given what is known after each.

    A prior scan that cannot be measured or compared costs the comparison alone.

    Args:
        ask, card: the model that marks lesions; None where masks are supplied.

    Raises:
        SightlineError: the scan cannot be measured, or the model cannot run on it.
        Cancelled: through ``ctx``.
    """
    cases = [case] if prior is None else [case, prior]
    marked = 0 if settings.supplied else 1
    ctx.total = sum(_LUNGS + marked * one.image.depth for one in cases) + (0 if prior is None else LEVELS * _LEVEL)
    found = Quantities(doing="Finding the lungs")
    ctx.show(found)
    current = _visit(case, settings, ask, card, ctx, lambda words: ctx.show(replace(found, doing=words)))
    if prior is None:
        return Quantities(current)
    found = Quantities(current, doing="Finding the lungs of the earlier scan")
    ctx.show(found)
    before: Visit | None = None
    try:
        before = _visit(
            prior, settings, ask, card, ctx, lambda words: ctx.show(replace(found, doing=f"Earlier scan: {words}"))
        )
        ctx.show(replace(found, doing="Bringing the earlier scan into line"))
        follow = follow_up(current, before, ctx=ctx.part(LEVELS * _LEVEL, LEVELS))
    except Cancelled:
        raise
    except SightlineError as error:
        return Quantities(current, before, refused=str(error) if before is not None else f"Earlier scan: {error}")
    return Quantities(current, before, follow)


def _visit(
    case: Case,
    settings: Settings,
    ask: AskModel | None,
    card: ModelCard | None,
    ctx: RunContext,
    tell: Callable[[str], None],
) -> Visit:
    scan = upright(case.image)
    lesions: Image | None = None
    marker: Marker | None = None
    if settings.supplied:
        mask = own_lesions(case)
        if mask is None:
            raise DataError(f"“{case.title}” brings no mask of its lesions; let a model mark them.")
        lesions = upright(replace(case.image, values=mask[None].astype(np.float32), unit="stored value", windows=()))
    elif card is not None and ask is not None:
        marked = 0

        def show(done: int, total: int | None) -> None:
            nonlocal marked
            tell(f"Marking lesions, slice {done} of {total}")
            ctx.tick(done - marked)
            marked = done

        marker = model_marker(lambda slices: ask(slices, ctx.quietly()), card, show)
    ctx.check()
    notes = () if case.provenance.reader == "phantom" else case.provenance.notes  # which only say how it was drawn
    study = assess(scan, lesions, None, marker, settings.connectivity, settings.minimum_mm3, notes)
    ctx.tick(_LUNGS)
    return Visit(study, scan)


def key_of(case: Case, prior: Case | None, settings: Settings, card: ModelCard | None) -> str:
    """Equal exactly when the quantities must be equal."""
    facts = [
        *((one.id, one.provenance.sha256) for one in (case, prior) if one is not None),
        [settings.supplied, settings.mask, settings.connectivity, settings.minimum_mm3],
        []
        if card is None or settings.supplied
        else [card.weights.sha256, card.input_digest, card.threshold_array.tolist()],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

"""Explanations as panes of the viewer, and what the reader does there."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from dashboard.cases import readable
from dashboard.jobs.desk import Answer, Desk
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.widgets.viewer.packing import MapLayer
from dashboard.widgets.viewer.viewer import Pane, ViewerEvents
from explainers import get
from explainers.reduce import reduce_channels
from models.errors import SightlineError
from models.types import Prediction, Region

_layers: WeakKeyDictionary[Explanation, MapLayer] = WeakKeyDictionary()
_found: WeakKeyDictionary[Prediction, tuple[Region, ...]] = WeakKeyDictionary()
COMPLETENESS_LIMIT = 0.05  # above it integrated gradients have visibly not added up


def answers(
    desk: Desk, requests: dict[str, ExplainRequest], owner: str, held: set[str], stopped: set[str]
) -> dict[str, Answer]:
    """Ask for every request; let go of what was asked before and is no longer shown.

    Args:
        requests: by pane id.
        held: keys asked for so far; brought up to date.
        stopped: keys that the reader stopped: they are not asked for again.
    """
    found: dict[str, Answer] = {}
    for pane, request in requests.items():
        try:
            key = desk.engine.key(request)
        except SightlineError as error:
            found[pane] = Answer("", "failed", message=str(error))
            continue
        found[pane] = Answer(key, "cancelled") if key in stopped else desk.ask(request, owner)
    wanted = {answer.key for answer in found.values() if answer.key and answer.state != "cancelled"}
    desk.keep_only(wanted, held, owner)
    held.clear()
    held.update(wanted)
    return found


def react(events: ViewerEvents, known: dict[str, Answer], stopped: set[str], desk: Desk) -> bool:
    """Stop or start again what the reader asked for; True when the page must run again."""
    if events.cancel in known:
        stopped.add(known[events.cancel].key)
        return True
    if events.retry in known:
        stopped.discard(known[events.retry].key)
        desk.retry(known[events.retry].key)
        return True
    return False


def pane(pane_id: str, method: str, answer: Answer, title: str = "", slices: int = 1) -> Pane:
    """One method's answer as a pane; ``slices`` is how many the network is shown at once."""
    heading = title or get(method).spec.title
    if answer.explanation is None:
        return _unfinished(pane_id, heading, answer)
    attribution = answer.explanation.attribution
    note, tone = f"{attribution.runtime_s:.2f} s", "plain"
    if slices > 1:
        summed = attribution.values.shape[0] == slices
        note = f"{f'{slices} slices summed' if summed else f'one map for {slices} slices'} · {note}"
    error = attribution.completeness_error
    if error is not None:
        settled = attribution.facts.get("converged", "yes") == "yes"
        weak = abs(error) > COMPLETENESS_LIMIT or not settled
        change = attribution.facts.get("change at the last doubling", "")
        said = "" if settled else f"not settled ({change} change), raise points · "
        advice = ", raise points" if weak and settled else ""
        note = f"{said}completeness error {abs(error):.1%}{advice} · {note}"
        tone = "warn" if weak else "plain"
    elif not attribution.values.any():
        note, tone = f"{note} · the map is zero everywhere", "warn"
    return Pane(pane_id, heading, subtitle(answer.explanation), note, map=layer(answer.explanation), tone=tone)  # type: ignore[arg-type]


def _unfinished(pane_id: str, heading: str, answer: Answer) -> Pane:
    """Where the work is, how long it takes, and what can be shown of it already."""
    status = "queued" if answer.state == "done" else answer.state
    message, partial = answer.message, answer.partial
    if not message and answer.expected_s:
        first = f", {answer.ahead} {'goes' if answer.ahead == 1 else 'go'} first" if answer.ahead else ""
        waiting = f"Waiting{first}, then about {duration(answer.expected_s)}"
        message = {"queued": waiting, "running": "Computing"}.get(status, "")
        if status == "running":
            message += f", {duration((1 - answer.progress) * answer.expected_s)} left,"
    if partial is None:
        return Pane(pane_id, heading, status=status, progress=answer.progress, message=message)
    facts = partial.attribution.facts
    note = f"coarse so far: {facts['windows']} windows" if "windows" in facts else "not complete yet"
    return Pane(
        pane_id, heading, subtitle(partial), note, status, answer.progress, message, map=layer(partial), tone="warn"
    )


def duration(seconds: float) -> str:
    """A forecast in words no finer than it is: "1 s", "12 s", "2 min"."""
    if seconds < 1:
        return "1 s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def subtitle(explanation: Explanation) -> str:
    """What distinguishes this map: its layer, or the size of the work."""
    attribution = explanation.attribution
    params = attribution.params
    parts = []
    if params.get("layer"):
        parts.append(str(params["layer"]))
    if "steps" in params:
        parts.append(f"{attribution.facts.get('points', params['steps'])} points")
    if "samples" in params:
        parts.append(f"{params['samples']} samples")
    if "window" in params and "stride" in params:
        parts.append(f"{params['window']}/{params['stride']} px")
    return " · ".join(parts)


def layer(explanation: Explanation) -> MapLayer:
    """The map as the viewer draws it, channels summed; the same object each time, so that it is packed once."""
    known = _layers.get(explanation)
    if known is None:
        attribution = explanation.attribution
        known = MapLayer(
            reduce_channels(attribution.values), explanation.grid_to_image, attribution.signed, attribution.unit
        )
        _layers[explanation] = known
    return known


def found_regions(prediction: Prediction | None) -> tuple[Region, ...]:
    """What a segmentation network found, as outlines; the same objects each time, so that they are packed once."""
    if prediction is None or prediction.found is None:
        return ()
    known = _found.get(prediction)
    if known is None:
        masks = zip(prediction.classes, prediction.found, strict=True)
        known = tuple(Region(f"{readable(name)} (model)", mask) for name, mask in masks if mask.any())
        _found[prediction] = known
    return known

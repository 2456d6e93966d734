"""The volume viewer: axial, coronal and sagittal planes under one crosshair, window, zoom and slab.

All that a reader drags or scrolls runs in the browser. It first gets a small copy of the whole volume, which fills
all planes, and then asks for runs of full-size planes around the place that is looked at; it holds a bounded number
of bytes of those and asks again for what it has let go. It asks by name and fetches each piece once from the app's
own media files: no element holds it, so no rerun copies or hashes it again, and Streamlit keeps no copy in the browser.
Requests rerun the viewer's own fragment, or the fragment of the page in which it stands, never the page.

The browser side is plain JavaScript without a build step, as that of the plane viewer, whose pieces it shares.

For tests and scripts, the root element (``data-testid="volume-viewer"``) carries ``data-ready``, ``data-sharp``,
``data-at`` (column row slice), ``data-told`` (the place that Python knows), ``data-window``, ``data-level``,
``data-slab``, ``data-zoom``, ``data-draws``, ``data-draw-ms``, ``data-frame-ms-p50``, ``data-frame-ms-p95``,
``data-held-bytes`` (of full-size planes) and ``data-received-bytes``; pictures are
``plane-<axial|coronal|sagittal>``, the readout ``readout-<position|world|image|inside|overlay id>``, strips
``strip-<id>``, controls ``control-<name>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.widgets.viewer.component import in_fragment, nothing, publish, source
from dashboard.widgets.viewer.packing import Packed
from dashboard.widgets.volume_viewer.overlays import Overlay, Strip, pack_overlay, strip_facts
from dashboard.widgets.volume_viewer.packing import PackedVolume, chunk, pack_volume
from models.errors import DataError
from models.types import Image

SHARED_SCRIPTS = (
    "colour.js",
    "values.js",
    "window.js",
    "place.js",
    "outline.js",
    "contours.js",
    "marks.js",
    "elements.js",
    "controls.js",
    "keys.js",
    "groups.js",
)

SCRIPTS = (
    "requests.js",
    "plane.js",
    "volume.js",
    "sharp.js",
    "masks.js",
    "maps.js",
    "contents.js",
    "picture.js",
    "strips.js",
    "panel.js",
    "toolbar.js",
    "gestures.js",
    "display.js",
    "viewer.js",
    "link.js",
)

SHARED_STYLES = ("viewer.css", "panes.css", "controls.css")

_HERE = Path(__file__).parent

_viewer = st.components.v2.component(
    "sightline_volume",
    css=source(*SHARED_STYLES) + source("volume.css", folder=_HERE),
    js="\n".join((source(*SHARED_SCRIPTS), source(*SCRIPTS, folder=_HERE), source("mount.js"))),
)


@dataclass(frozen=True)
class VolumeEvents:
    """What the reader did.

    Attributes:
        at: (column, row, slice) where the crosshair came to rest; None until it was moved on this image. A move
            does not rerun the page: the next run, whatever its reason, finds it here.
    """

    at: tuple[int, int, int] | None = None


def volume_viewer(
    image: Image,
    overlays: Sequence[Overlay] = (),
    *,
    key: str,
    at: tuple[int, int, int] | None = None,
    strips: Sequence[Strip] = (),
    height: int | None = None,
    group: str = "",
    title: str = "",
) -> VolumeEvents:
    """Mounts the viewer and returns where the reader is.

    Crosshair, zoom and window last until the image changes; display settings as long as the page is open.

    Args:
        image: a grey volume.
        at: (column, row, slice) to show. Where it is another place than this function last returned, the viewer goes
            there; so a page may pass back what it was told, however late. None starts in the middle.
        strips: beside the slider of the slices.
        height: of each picture in CSS pixels; None follows the browser's window.
        group: viewers on one page with the same group share crosshair, zoom, window and slab; their images are on
            one grid.
        title: over the pictures ("Current", "Prior, registered").

    Raises:
        DataError: the image is no grey volume, ``at`` lies outside it, ids repeat, or an overlay or strip does not
            fit it.
    """
    packed = pack_volume(image)
    size = (image.plane_shape[1], image.plane_shape[0], image.depth)
    if at is not None and not all(0 <= place < length for place, length in zip(at, size, strict=True)):
        raise DataError(f"The place {at} (column, row, slice) lies outside the volume of {size}.")
    ids = [overlay.id for overlay in overlays] + [strip.id for strip in strips]
    if len(set(ids)) != len(ids):
        raise DataError(f"Each overlay and strip needs an id of its own, got {', '.join(ids)}.")
    drawn = [pack_overlay(overlay, size) for overlay in overlays]
    jump = _jumped(key, at)
    facts = {
        "key": key,
        "image": packed.coarse.facts,
        "overlays": [overlay.facts for overlay in drawn],
        "strips": [strip_facts(strip, image.depth) for strip in strips],
        "at": list(at) if at else None,
        "jump": jump,
        "height": height,
        "group": group,
        "title": title,
    }
    # A fragment within one that polls is taken off the page and put back now and then, which starts the viewer anew.
    mounted = _mounted if in_fragment() else st.fragment(_mounted)
    events: VolumeEvents = mounted(image, packed, drawn, facts, key)
    st.session_state[f"{key}-seen"] = _Seen(jump, events.at)
    return events


@dataclass(frozen=True)
class _Seen:
    """How often the viewer was sent somewhere, and the place last returned to the page."""

    jump: int = 0
    at: tuple[int, int, int] | None = None


def _jumped(key: str, at: tuple[int, int, int] | None) -> int:
    """How often the viewer has been sent somewhere, this time included."""
    seen = st.session_state.get(f"{key}-seen") or _Seen()
    return seen.jump + (at is not None and at != seen.at)


@dataclass(frozen=True)
class _Told:
    """What the browser has been sent: the turn last answered, and the pieces that are sent whole."""

    turn: float | None = None
    whole: frozenset[str] = frozenset()


def _mounted(
    image: Image, packed: PackedVolume, overlays: Sequence[Packed], facts: Mapping[str, Any], key: str
) -> VolumeEvents:
    """The viewer and whatever the browser is waiting for; reruns alone when the browser asks for more."""
    whole = {piece.blob: piece for piece in (packed.coarse, *overlays) if piece.blob}
    request = (st.session_state.get(key) or {}).get("wants") or {}
    told = st.session_state.get(f"{key}-told") or _Told()
    # What is new on the page goes along unasked, which spares a round trip; the rest is answered once.
    fresh = [name for name in whole if name not in told.whole]
    asked = [] if request.get("turn") == told.turn else [str(name) for name in request.get("names", ())][:16]
    offered = {}
    for slot, name in enumerate(dict.fromkeys(fresh + asked)):
        piece = whole.get(name) or chunk(image, packed, name)
        if piece is not None:
            offered[name] = publish(piece, slot=f"{key}-{slot}")
    result = _viewer(
        key=key,
        data={**facts, "offered": offered, "answered": request.get("turn")},
        on_wants_change=nothing,
        on_at_change=nothing,
    )
    st.session_state[f"{key}-told"] = _Told(request.get("turn"), frozenset(whole))
    return _events(result, packed.id, facts)


def _events(result: Mapping[str, Any], image_id: str, facts: Mapping[str, Any]) -> VolumeEvents:
    moved, size, sent = result.get("at"), facts["image"]["size"], facts["at"]
    # A place chosen on the image shown before, or before the viewer was sent elsewhere, says nothing about now.
    if not moved or moved.get("image") != image_id or moved.get("jump") != facts["jump"]:
        return VolumeEvents(tuple(sent) if sent else None)
    column, row, index = (min(length - 1, max(0, int(part))) for part, length in zip(moved["place"], size, strict=True))
    return VolumeEvents((column, row, index))

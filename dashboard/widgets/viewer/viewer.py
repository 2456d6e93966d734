"""The linked image viewer: an image and its maps side by side under one zoom, pan, window, slice and cursor.

Everything a reader drags runs in the browser; Python hears only of what it must act on. The image and each map
travel once: they are mounted as small elements of their own, which Streamlit resends as references, and the
viewer's own message holds their content hashes.

The browser side is plain JavaScript without a build step. The files of ``SCRIPTS`` are joined in that order into
one module; each says at its top what it is for.

For tests and scripts, the root element (``data-testid="viewer"``) carries ``data-ready``, ``data-draws``,
``data-draw-ms``, ``data-zoom``, ``data-center``, ``data-window``, ``data-level``, ``data-slice`` and
``data-maximised``; panes are ``pane-<id>``, the readout ``readout`` with ``readout-position``, ``readout-image``
and ``readout-<pane id>``, controls ``control-<name>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import streamlit as st

from dashboard.widgets.viewer.component import mount_blob, nothing, source
from dashboard.widgets.viewer.packing import MapLayer, Packed, pack_image, pack_map, pack_region
from models.errors import DataError
from models.types import Image, Region

Status = Literal["ready", "queued", "running", "failed", "cancelled"]
Standing = Literal["ok", "weak", "fails", "unknown", "checking"]

SCRIPTS = (
    "store.js",
    "colour.js",
    "values.js",
    "window.js",
    "place.js",
    "raster.js",
    "outline.js",
    "contours.js",
    "overlay.js",
    "marks.js",
    "regions.js",
    "contents.js",
    "elements.js",
    "panes.js",
    "controls.js",
    "toolbar.js",
    "readout.js",
    "keys.js",
    "gestures.js",
    "picture.js",
    "viewer.js",
    "groups.js",
    "link.js",
    "mount.js",
)

STYLES = ("viewer.css", "panes.css", "controls.css")

_viewer = st.components.v2.component("sightline_viewer", css=source(*STYLES), js=source(*SCRIPTS))


@dataclass(frozen=True)
class Trust:
    """The line under a map that says whether to believe it; a button that asks for the evidence.

    Attributes:
        text: begins with a word for the standing, which is never told by colour alone.
        more: shown when the mouse rests on it.
        open: the evidence is shown.
    """

    standing: Standing
    text: str
    more: str = ""
    open: bool = False


@dataclass(frozen=True)
class Pane:
    """One picture of the row: the image itself (``map`` None and ready) or the image under one method's map.

    Attributes:
        id: stable; comes back in events and keeps what the reader chose for this pane.
        title, subtitle: at the top, left and right ("Grad-CAM", "norm5, 0.06 s").
        note: one line under the map ("completeness error 1.2 %").
        tone: how the note is meant; its words must say it too.
        progress: 0 to 1, while running.
        message: what went wrong, or a hint.
        doubt: why this map is drawn without colour, as no evidence; "" for a map that may be.
    """

    id: str
    title: str
    subtitle: str = ""
    note: str = ""
    status: Status = "ready"
    progress: float = 0.0
    message: str = ""
    map: MapLayer | None = None
    tone: Literal["plain", "good", "warn"] = "plain"
    trust: Trust | None = None
    doubt: str = ""


@dataclass(frozen=True)
class ViewerEvents:
    """What the reader did since the last run.

    Attributes:
        picked: (pane id, column, row) of a clicked pixel, in pixels of the original image.
        slice: the slice the reader has moved to; None until it was moved on this image.
        page: -1 for the previous case, 1 for the next, else 0.
        cancel, retry: id of the pane whose work shall stop, or start again.
        evidence: id of the pane whose line of trust was pressed.
    """

    picked: tuple[str, int, int] | None = None
    slice: int | None = None
    page: Literal[-1, 0, 1] = 0
    cancel: str | None = None
    retry: str | None = None
    evidence: str | None = None


def preload(image: Image, *, key: str) -> None:
    """Mounts the image alone, for a page whose viewer sits in a fragment that polls.

    Streamlit copies and hashes every element of a fragment at each of its runs, 10 ms a megabyte. A large volume
    is therefore better mounted once outside, and the viewer called with ``preloaded=True`` and the same key.
    """
    mount_blob(pack_image(image), key=key)


def viewer(
    image: Image,
    panes: Sequence[Pane],
    *,
    key: str,
    slice_index: int = 0,
    regions: Sequence[Region] = (),
    found: Sequence[Region] = (),
    height: int | None = None,
    caption: Sequence[str] = (),
    file_name: str = "sightline.png",
    pickable: bool = False,
    group: str = "",
    preloaded: bool = False,
) -> ViewerEvents:
    """Mounts the viewer and returns what the reader did.

    Zoom, pan and window last until the image changes; the display settings last as long as the page is open.
    Inside a fragment, events rerun the fragment alone.

    Args:
        slice_index: the slice that the maps belong to; on others they are not drawn. When it changes to a slice
            that the reader did not choose in the viewer, the viewer goes there.
        regions: reference masks ((H, W) or (D, H, W), as the image) and boxes; on a volume a box or an (H, W) mask
            is drawn on ``slice_index``.
        found: masks that a model found, drawn dashed.
        height: of each picture in CSS pixels; None follows the image's shape and the browser's window.
        caption: lines printed under a saved picture (model, target, "research use").
        file_name: of a saved picture; nothing in it may tell who the patient is.
        group: viewers on one page with the same group share zoom, place and cursor.
        pickable: whether a click reruns the script with ``picked``.
        preloaded: :func:`preload` has mounted this image in the same run of the page, outside the fragment.

    Raises:
        DataError: two panes share an id, the slice does not exist, or a region does not fit the image.
    """
    ids = [pane.id for pane in panes]
    if len(set(ids)) != len(ids):
        raise DataError(f"Each pane of the viewer needs an id of its own, got {', '.join(ids)}.")
    if not 0 <= slice_index < image.depth:
        raise DataError(f"Slice {slice_index} does not exist; the image has slices 0 to {image.depth - 1}.")
    base = pack_image(image)
    layers = {pane.id: pack_map(pane.map) for pane in panes if pane.map is not None}
    outlines = [pack_region(region, image) for region in (*regions, *found)]
    with st.container(gap=None):
        mounted = {base.blob} if preloaded else set()
        for packed in (base, *layers.values(), *outlines):
            if packed.blob and packed.blob not in mounted:
                mounted.add(packed.blob)
                mount_blob(packed, key=key)
        result = _viewer(
            key=key,
            data={
                "key": key,
                "image": base.facts,
                "slice": slice_index,
                "panes": [_pane_facts(pane, layers.get(pane.id)) for pane in panes],
                "regions": [packed.facts | {"found": number >= len(regions)} for number, packed in enumerate(outlines)],
                "height": height,
                "caption": list(caption),
                "file_name": file_name,
                "pickable": pickable,
                "group": group,
            },
            on_picked_change=nothing,
            on_slice_change=nothing,
            on_page_change=nothing,
            on_cancel_change=nothing,
            on_retry_change=nothing,
            on_evidence_change=nothing,
        )
    return _events(result, base.blob, image.depth)


def _pane_facts(pane: Pane, layer: Packed | None) -> dict[str, Any]:
    return {
        "id": pane.id,
        "title": pane.title,
        "subtitle": pane.subtitle,
        "note": pane.note,
        "tone": pane.tone,
        "status": pane.status,
        "progress": min(1.0, max(0.0, pane.progress)),
        "message": pane.message,
        "map": layer.facts if layer else None,
        "trust": asdict(pane.trust) if pane.trust else None,
        "doubt": pane.doubt,
    }


def _events(result: Mapping[str, Any], image_id: str, depth: int) -> ViewerEvents:
    picked, moved, page = result.get("picked"), result.get("slice"), result.get("page")
    # A slice chosen on the image shown before says nothing about this one.
    here = moved and moved.get("image") == image_id and 0 <= moved["index"] < depth
    return ViewerEvents(
        picked=(str(picked["pane"]), int(picked["x"]), int(picked["y"])) if picked else None,
        slice=int(moved["index"]) if here and moved else None,
        page=-1 if page == -1 else 1 if page == 1 else 0,
        cancel=result.get("cancel"),
        retry=result.get("retry"),
        evidence=result.get("evidence"),
    )

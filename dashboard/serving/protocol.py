"""What dashboard and server say to each other over HTTP: questions, answers, frames of a streamed answer, errors.

A question is a POST of one message (:mod:`dashboard.serving.wire`) to ``/v1/<operation>``; its answer is a stream of
frames that tells how far the work is, and ends with the result or an error. ``GET /v1/report`` and ``GET
/v1/model/<id>`` are answered by one message.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.serving.types import (
    CODE_VERSION,
    ExplainRequest,
    Explanation,
    Health,
    JudgeRequest,
    ModelFault,
    ModelStatus,
    Verdicts,
)
from models import errors
from models.card import ModelCard
from models.errors import Busy, DataError, SightlineError
from models.inspect import Inspection
from models.preprocess import InputSpec, stack
from models.types import FloatArray, Geometry, Image, Prediction, Target

PROTOCOL = 1  # raise when messages change
VERSION = f"{PROTOCOL}.{CODE_VERSION}"  # of messages, and of the numbers in them
ROOT = "/v1/"
HEARTBEAT_S = 5.0
MB = 2**20

VERSION_HEADER = "x-sightline-version"
REPLICA_HEADER = "x-sightline-replica"
NAME_HEADER = "x-sightline-model"
CARD_HEADER = "x-sightline-card"
SESSION_HEADER = "x-sightline-session"
PRIORITY_HEADER = "x-sightline-priority"
BACKGROUND_HEADER = "x-sightline-background"
MODEL_HEADER = "serve-multiplexed-model-id"  # which Ray Serve routes by


@dataclass(frozen=True, eq=False)
class AskImages:
    """Plane images to be scored, or to have their features read."""

    model_id: str
    images: tuple[Image, ...]


@dataclass(frozen=True, eq=False)
class AskExplanations:
    """See :meth:`dashboard.serving.types.Engine.explain_targets`."""

    request: ExplainRequest
    targets: tuple[Target, ...]

    @property
    def model_id(self) -> str:
        return self.request.model_id


@dataclass(frozen=True, eq=False)
class AskVerdicts:
    """See :meth:`dashboard.serving.types.Engine.judge`."""

    model_id: str
    request: JudgeRequest


@dataclass(frozen=True, eq=False)
class AskHidden:
    """See :meth:`dashboard.serving.types.Engine.hidden`."""

    model_id: str
    image: Image
    boxes: NDArray[np.int64]
    fill: str
    channels: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class AskCovered:
    """See :meth:`dashboard.serving.types.Engine.covered`."""

    model_id: str
    image: Image
    masks: tuple[NDArray[np.bool_], ...]
    fill: str


@dataclass(frozen=True)
class AskModel:
    """About a model itself; it is loaded for it."""

    model_id: str


@dataclass(frozen=True)
class Described:
    """What is known of a network once it has been loaded."""

    layers: tuple[str, ...]
    unsupported: Mapping[str, str]
    inspection: Inspection


@dataclass(frozen=True)
class Operation:
    """A question and its answer.

    Attributes:
        asks, answers, shows: types of the question, of the result and of results that are not complete yet.
        counts: its ticks count towards a total of its own, which becomes the asker's.
    """

    asks: Any
    answers: Any
    shows: Any = None
    counts: bool = False


OPERATIONS: Mapping[str, Operation] = {
    "predict": Operation(AskImages, tuple[Prediction, ...]),
    "features": Operation(AskImages, FloatArray),
    "explain": Operation(AskExplanations, tuple[Explanation, ...], Explanation, counts=True),
    "judge": Operation(AskVerdicts, Verdicts, Verdicts, counts=True),
    "hidden": Operation(AskHidden, FloatArray),
    "covered": Operation(AskCovered, FloatArray),
    "describe": Operation(AskModel, Described),
    "expect-many": Operation(AskModel, type(None)),
}


@dataclass(frozen=True)
class Offered:
    """A model of the server; ``digest`` is of its folder's files without the weights."""

    model_id: str
    digest: str
    status: ModelStatus


@dataclass(frozen=True)
class Report:
    """What one process of a server says of itself and its models."""

    health: Health
    models: tuple[Offered, ...]
    faults: tuple[ModelFault, ...]
    request_mb: int


Files = Mapping[str, NDArray[np.uint8]]  # of a model's folder, by path inside it


class Kind(IntEnum):
    """Of a frame."""

    HEARTBEAT = 0
    WAITING = 1
    PROGRESS = 2
    PARTIAL = 3
    RESULT = 4
    FAILURE = 5


_HEAD = struct.Struct("!BQ")
_WAITING = struct.Struct("!I")
_PROGRESS = struct.Struct("!QQ")
_MOST_BYTES = 2**32  # of a frame; more is no frame of ours


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


def waiting(ahead: int) -> bytes:
    """A frame: so many pieces of work go first."""
    return frame(Kind.WAITING, _WAITING.pack(ahead))


def progress(ticks: int, total: int) -> bytes:
    """A frame: so many ticks of so many."""
    return frame(Kind.PROGRESS, _PROGRESS.pack(ticks, total))


def read_waiting(payload: bytes) -> int:
    return int(_WAITING.unpack(payload)[0])


def read_progress(payload: bytes) -> tuple[int, int]:
    ticks, total = _PROGRESS.unpack(payload)
    return ticks, total


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are complete. Raises DataError for what is no frame."""
        self._held += data
        while len(self._held) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._held)
            if kind not in set(Kind) or length > _MOST_BYTES:
                raise DataError("What the server streams cannot be read; something between it and here changes it.")
            if len(self._held) < _HEAD.size + length:
                return
            payload = bytes(self._held[_HEAD.size : _HEAD.size + length])
            del self._held[: _HEAD.size + length]
            yield Kind(kind), payload


def failure(error: SightlineError) -> bytes:
    """An error as JSON, which any version reads."""
    return json.dumps({"error": type(error).__name__, "sentence": str(error)}).encode()


def read_failure(data: bytes) -> SightlineError:
    """The error again. Raises DataError for anything else."""
    try:
        told = json.loads(data)
        name, sentence = str(told["error"]), str(told["sentence"])
    except (ValueError, KeyError, TypeError):
        raise DataError("The server reports an error that cannot be read; look into its log.") from None
    kind = getattr(errors, name, SightlineError)
    known = isinstance(kind, type) and issubclass(kind, SightlineError)
    return kind(sentence) if known else SightlineError(sentence)


def status_of(error: SightlineError) -> HTTPStatus:
    """For whoever watches a server: what is wrong with a question, or that there are too many."""
    return HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, Busy) else HTTPStatus.UNPROCESSABLE_ENTITY


def too_large(request_mb: int) -> str:
    """A sentence."""
    return (
        f"The server takes at most {request_mb} MB in one request; send fewer or smaller images, or raise "
        "SIGHTLINE_REQUEST_MB there."
    )


def clean_token(token: str) -> str:
    """The secret as it goes into a header. Raises DataError for one that cannot."""
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise DataError(
            "SIGHTLINE_TOKEN holds letters or signs that no request can carry; use Latin letters and digits."
        )
    return token


def mismatch(theirs: str) -> str:
    """For a server: what to say to a dashboard of another version; "" where both are the same."""
    if theirs == VERSION:
        return ""
    try:
        older = tuple(map(int, theirs.split("."))) < tuple(map(int, VERSION.split(".")))
    except ValueError:
        return f"The caller names no version of Sightline; ask with a dashboard of version {VERSION}."
    behind, ahead = ("dashboard", "server") if older else ("server", "dashboard")
    return (
        f"The {behind} is older than the {ahead} (the dashboard speaks version {theirs}, the server {VERSION}); "
        f"update the {behind}."
    )


def stamp(card: ModelCard) -> str:
    """SHA-256 of a card: equal where dashboard and server mean the same model."""
    return hashlib.sha256(card.model_dump_json(exclude={"folder"}).encode()).hexdigest()


def lean(image: Image, spec: InputSpec) -> Image:
    """What a network sees of a plane image, and no more: the neighbours of a slice that it reads instead of the volume, one
    window, the spacing instead of the place in the scanner. Keys and answers stay the same.
    """
    geometry = None
    if image.geometry is not None:
        geometry = Geometry(np.diag([*image.geometry.spacing, 1.0]), "plane")
    window = replace(image.windows[0], name="")
    values = image.values if image.within is None else stack(image, spec)
    return replace(image, values=values, geometry=geometry, windows=(window,), within=None)

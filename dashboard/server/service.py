"""The model server, whatever carries its HTTP: requests in, an engine's answers out as streams of frames."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dashboard.jobs.store import ResultStore
from dashboard.server.answers import Answers
from dashboard.server.metrics import Meter, NoMeter
from dashboard.server.shelf import Shelf
from dashboard.server.stream import Stream
from dashboard.server.work import Task, Work, Works
from dashboard.serving import protocol
from dashboard.serving.protocol import MB, OPERATIONS, ROOT
from dashboard.serving.types import Engine, Health
from dashboard.serving.wire import decode, encode
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError, ModelError, SightlineError, Unavailable

log = logging.getLogger(__name__)
DRAINED = 8  # times the largest request: so much is read of a larger one, so that its sender hears the answer
METRICS_TYPE = "text/plain; version=0.0.4"
REPORT_S = 1.0  # that a report holds good


class _Refused(Exception):
    """A request that is not worked on."""

    def __init__(self, status: HTTPStatus, error: SightlineError) -> None:
        super().__init__(str(error))
        self.status, self.error = status, error


class Service:
    """Safe from one event loop; see :mod:`dashboard.serving.protocol` for what is asked.

    Args:
        engine: closed with the service.
        store: of explanations.
        folders: where the engine looks for models.
        token: that every request must bring; "" for none.
        request_mb: megabytes of the largest request.
        replica: name of this process where a server has several.
    """

    def __init__(
        self,
        engine: Engine,
        store: ResultStore,
        folders: Sequence[Path],
        *,
        token: str = "",
        request_mb: int = 256,
        replica: str = "",
        meter: Meter | None = None,
    ) -> None:
        self._engine, self._shelf, self._meter = engine, Shelf(folders), meter or NoMeter()
        self._answers = Answers(engine, store).by_operation
        self._token, self._limit, self._replica = protocol.clean_token(token), request_mb * MB, replica
        self._works = Works()
        self._report: tuple[float, bytes] = (0.0, b"")
        self._reporting = asyncio.Lock()

    async def handle(self, request: Request) -> Response:
        """The answer to any request; errors too are answers."""
        path = request.url.path
        name = path[path.find(ROOT) + len(ROOT) :] if ROOT in path else ""
        try:
            self._admit(request)
            if request.method == "GET" and name == "metrics":
                await self.healthy()
                return Response(self._meter.page(), headers=dict(self._headers()), media_type=METRICS_TYPE)
            self._agree(request)
            if request.method == "GET" and name == "report":
                return self._message(await self._reported())
            if request.method == "GET" and name.startswith("model/"):
                card = await self._card(name.removeprefix("model/"))
                return self._message(await asyncio.to_thread(lambda: encode(dict(self._shelf.files(card)))))
            if request.method == "POST" and name == "rescan":
                await asyncio.to_thread(self._rescan, True)
                return self._message(await self._reported())
            if request.method == "POST" and name in OPERATIONS:
                return await self._work(name, request)
            raise _Refused(
                HTTPStatus.NOT_FOUND, Unavailable("The server knows no such question; update it to this version.")
            )
        except _Refused as refused:
            return self._failed(refused.status, refused.error)
        except SightlineError as error:
            return self._failed(protocol.status_of(error), error)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it

    def close(self) -> None:
        """Cancel what is under way, and wait for the engine."""
        self._works.cancel_all()
        self._engine.close()

    async def healthy(self) -> Health:
        """How the engine is, which is also counted."""
        health = await asyncio.to_thread(self._engine.health)
        self._meter.seen(health)
        return health

    def admits(self, request: Request) -> bool:
        """Whether it brings the token."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return not self._token or hmac.compare_digest(given.encode(), self._token.encode())

    def _admit(self, request: Request) -> None:
        """Raises _Refused for who has not the token."""
        if not self.admits(request):
            raise _Refused(
                HTTPStatus.UNAUTHORIZED,
                Unavailable(
                    "The server does not accept this token; set SIGHTLINE_TOKEN to the one that it was started with."
                ),
            )

    @staticmethod
    def _agree(request: Request) -> None:
        """Raises _Refused for who speaks another version."""
        sentence = protocol.mismatch(request.headers.get(protocol.VERSION_HEADER, ""))
        if sentence:
            raise _Refused(HTTPStatus.UPGRADE_REQUIRED, Unavailable(sentence))

    async def _work(self, name: str, request: Request) -> Response:
        body = await self._body(request)
        model_id = request.headers.get(protocol.NAME_HEADER, "")
        card = await self._card(model_id)
        if request.headers.get(protocol.CARD_HEADER) != protocol.stamp(card):
            raise _Refused(
                HTTPStatus.CONFLICT, ModelError(f"Model {model_id} was changed on the server a moment ago; try again.")
            )
        key = _digest(f"{name} {protocol.stamp(card)}", body)
        do, size = self._doing(name, model_id, body), len(body)
        session = request.headers.get(protocol.SESSION_HEADER, "")
        background = protocol.BACKGROUND_HEADER in request.headers
        priority = _whole(request.headers.get(protocol.PRIORITY_HEADER, ""))
        began = time.monotonic()

        def join() -> Work:
            return self._works.join(key, Task(f"{name} {model_id} {key[:8]}", do, size, session, priority, background))

        def ended(outcome: str) -> None:
            self._meter.ended(name, outcome, time.monotonic() - began)

        return Stream(join, self._works.leave, ended, self._headers())

    def _doing(self, name: str, model_id: str, body: bytes) -> Callable[[RunContext], bytes]:
        """Work that reads a question and answers it, and does not hold it twice."""
        held = [body]

        def do(ctx: RunContext) -> bytes:
            ask = decode(held.pop(), OPERATIONS[name].asks)
            if ask.model_id != model_id:
                raise DataError("A question names two models; ask again.")
            return encode(self._answers[name](ask, ctx))

        return do

    async def _body(self, request: Request) -> bytes:
        """Raises _Refused for what is too large."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size <= self._limit:
                parts.append(part)
            elif size > DRAINED * self._limit:
                break
            else:
                parts.clear()
        if size > self._limit:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, DataError(protocol.too_large(self._limit // MB)))
        return b"".join(parts)

    async def _card(self, model_id: str) -> ModelCard:
        """Raises ModelError, in the engine's words, for a model that is not there."""
        card = self._engine.cards().get(model_id)
        if card is None:
            await asyncio.to_thread(self._rescan)
            card = self._engine.cards().get(model_id)
        if card is None:
            await asyncio.to_thread(self._engine.layers, model_id)
            raise ModelError(f"There is no model {model_id!r}.")
        return card

    async def _reported(self) -> bytes:
        async with self._reporting:
            if time.monotonic() - self._report[0] > REPORT_S:
                self._report = time.monotonic(), await asyncio.to_thread(self._make_report)
            return self._report[1]

    def _make_report(self) -> bytes:
        self._rescan()
        engine = self._engine
        health = replace(engine.health(), replica=self._replica)
        self._meter.seen(health)
        offered = tuple(
            protocol.Offered(model_id, self._shelf.digest(card), engine.status(model_id))
            for model_id, card in engine.cards().items()
        )
        return encode(protocol.Report(health, offered, engine.faults(), self._limit // MB))

    def _rescan(self, always: bool = False) -> None:
        """Each process of a server takes up by itself what changed in the folders."""
        if self._shelf.changed() or always:
            self._engine.rescan()
            self._report = (0.0, b"")

    def _headers(self) -> Mapping[str, str]:
        return {protocol.VERSION_HEADER: protocol.VERSION, protocol.REPLICA_HEADER: self._replica}

    def _message(self, data: bytes) -> Response:
        return Response(data, headers=dict(self._headers()), media_type="application/octet-stream")

    def _failed(self, status: HTTPStatus, error: SightlineError) -> Response:
        log.warning("Refused: %d, %s", status, type(error).__name__)
        return Response(protocol.failure(error), status, dict(self._headers()), "application/json")


def _digest(name: str, body: bytes) -> str:
    digest = hashlib.sha256(f"{name} ".encode())
    digest.update(body)
    return digest.hexdigest()


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0

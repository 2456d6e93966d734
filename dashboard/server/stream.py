"""A streamed answer: how far the work is, what can be shown of it, its result or its error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dashboard.server.work import Work
from dashboard.serving import protocol
from dashboard.serving.protocol import HEARTBEAT_S, MB, Kind, frame
from dashboard.serving.wire import encode
from models.errors import SightlineError

PROMPT_S = 0.2  # in which an error still becomes the status of the answer
PAUSE_S = 0.05  # between two sights of the work


class Stream(Response):
    """Holds the work for as long as somebody reads.

    Args:
        join: begins to hold the work; may raise SightlineError.
        leave: ends it.
        ended: told how it ended: "ok", "gone", or the name of an error.
        headers: of the answer.
    """

    def __init__(
        self,
        join: Callable[[], Work],
        leave: Callable[[Work], None],
        ended: Callable[[str], None],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers=dict(headers), media_type="application/octet-stream")
        del self.headers["content-length"]
        self._join, self._leave, self._ended = [join], leave, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = "gone"
        try:
            work = self._join.pop()()  # which holds the question, and is not needed again
        except SightlineError as error:
            self._ended(type(error).__name__)
            await self._fail(send, error)
            return
        changed, gone = asyncio.Event(), asyncio.Event()
        work.listeners.add(changed)
        watch = asyncio.create_task(_watch(receive, gone, changed))
        try:
            outcome = await self._tell(work, changed, gone, send)
        except OSError:  # as some servers say that nobody reads any more
            outcome = "gone"
        finally:
            watch.cancel()
            work.listeners.discard(changed)
            self._leave(work)
            self._ended(outcome)

    async def _tell(self, work: Work, changed: asyncio.Event, gone: asyncio.Event, send: Send) -> str:
        """Until the work has ended or nobody reads any more."""
        if not work.ended:
            await _within(changed, PROMPT_S)
        if work.ended and work.error is not None:
            await self._fail(send, work.error)
            return type(work.error).__name__
        await self._begin(send, HTTPStatus.OK)
        last = _Sight()
        while not gone.is_set():
            changed.clear()
            ended = work.ended
            for data in await last.news(work):
                await _send(send, data)
            if ended:
                await send({"type": "http.response.body", "body": b""})
                return "ok" if work.error is None else type(work.error).__name__
            if not await _within(changed, HEARTBEAT_S):
                await _send(send, frame(Kind.HEARTBEAT))
            elif not work.ended:
                await _within(work.finished, PAUSE_S)
        return "gone"

    async def _begin(self, send: Send, status: HTTPStatus) -> None:
        await send({"type": "http.response.start", "status": int(status), "headers": self.raw_headers})

    async def _fail(self, send: Send, error: SightlineError) -> None:
        await self._begin(send, protocol.status_of(error))
        await send({"type": "http.response.body", "body": protocol.failure(error)})


class _Sight:
    """What a reader was told last."""

    def __init__(self) -> None:
        self._ahead: int | None = None
        self._count: tuple[int, int] | None = None
        self._partial: object = None

    async def news(self, work: Work) -> list[bytes]:
        """Frames of what has changed."""
        ended, partial, count, frames = work.ended, work.partial, work.count, []
        if work.ahead is not None and work.ahead != self._ahead:
            self._ahead = work.ahead
            frames.append(protocol.waiting(work.ahead))
        if partial is not None and partial is not self._partial:
            self._partial = partial
            frames.append(frame(Kind.PARTIAL, await asyncio.to_thread(encode, partial)))
        if count != self._count and count[0]:
            self._count = count
            frames.append(protocol.progress(*count))
        if ended:
            failed = work.error is not None
            payload = protocol.failure(work.error) if work.error is not None else work.result or b""
            frames.append(frame(Kind.FAILURE if failed else Kind.RESULT, payload))
        return frames


async def _watch(receive: Receive, gone: asyncio.Event, changed: asyncio.Event) -> None:
    """Until nobody reads any more."""
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
    gone.set()
    changed.set()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it was set in time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _send(send: Send, data: bytes) -> None:
    for start in range(0, len(data), MB):  # what carries it may copy each piece more than once
        await send({"type": "http.response.body", "body": data[start : start + MB], "more_body": True})

"""The line to a server: questions over HTTP, asked again where a connection is lost, and let go of once cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import httpx

from dashboard.serving import protocol
from dashboard.serving.protocol import ROOT, Frames, Kind
from models.context import RunContext
from models.errors import DataError, SightlineError, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")
Told = Callable[[Kind, bytes], None]
CONNECT_S = 5.0
SILENT_S = 30.0  # without a heartbeat, the connection counts as lost
LOOK_S = 0.1  # between two looks at whether the work was cancelled
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0  # before a question is asked again; doubled each time
MOST_CUTS = 8  # streams of one question that break off, after which it is the question that breaks them
KEPT_ALIVE_S = 20.0


class _Lost(Exception):
    """The connection, or whoever should answer; asking again may help. The message is a sentence."""

    def __init__(self, sentence: str, cut: bool = False) -> None:
        super().__init__(sentence)
        self.cut = cut


class Line:
    """One server. Safe to use from any thread: connections live in an event loop of their own.

    Args:
        address: "http://host:port", or with the path that a proxy gives the server.
        token: "" for none.
        patience_s: how long a server may be away before a question is given up.

    Raises:
        Unavailable: what is given is no address.
        DataError: the token cannot be sent.
    """

    def __init__(self, address: str, token: str = "", patience_s: float = 60.0) -> None:
        self.address = _checked(address)
        self._patience = patience_s
        self._headers = {protocol.VERSION_HEADER: protocol.VERSION}
        if token := protocol.clean_token(token):
            self._headers["authorization"] = f"Bearer {token}"
        self._away_since: float | None = None
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sightline-line", daemon=True)
        self._thread.start()
        self._client = self.soon(self._open()).result()

    def get(self, path: str, method: str = "GET") -> bytes:
        """One message, asked for once. Raises SightlineError."""
        return self.soon(self.fetch(path, method)).result()

    async def fetch(self, path: str, method: str = "GET") -> bytes:
        """As :meth:`get`, inside the event loop."""
        try:
            async with self._client.stream(method, self._url(path), headers=self._headers) as response:
                self._check(response)
                data = await response.aread()
                if response.status_code != HTTPStatus.OK:
                    raise protocol.read_failure(data)
                return data
        except httpx.TransportError as error:
            raise Unavailable(str(self._lost(error))) from None
        except _Lost as lost:
            raise Unavailable(str(lost)) from None

    def ask(self, operation: str, body: bytes, about: Mapping[str, str], ctx: RunContext, told: Told) -> bytes:
        """The result of a question, asked again for as long as the server may come back.

        Args:
            about: headers of this question.
            told: what is streamed on the way.

        Raises:
            SightlineError: as on the server; Unavailable where it cannot be reached; Cancelled.
        """
        headers = self._headers | self._session(ctx) | dict(about)
        pause, cuts = FIRST_PAUSE_S, 0
        lost_since: float | None = None  # of this question: others may fare better

        def heard(kind: Kind, payload: bytes) -> None:
            nonlocal lost_since
            lost_since = None
            told(kind, payload)

        while True:
            ctx.check()
            try:
                return self._once(operation, body, headers, ctx, heard)
            except _Lost as lost:
                cuts += lost.cut
                now = time.monotonic()
                lost_since = lost_since or now
                away = now - min(lost_since, self._away_since or now)
                if cuts >= MOST_CUTS or away >= self._patience or self._closed:
                    raise Unavailable(str(lost)) from None
            self._rest(min(pause, LAST_PAUSE_S) * random.uniform(0.5, 1.0), ctx)  # noqa: S311 - spreads those who wait
            pause *= 2

    def soon(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs in the event loop. Raises Unavailable once the line is closed."""
        if self._closed:
            work.close()
            raise Unavailable(f"The dashboard has let go of the server at {self.address}; start the dashboard again.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        stopping = self.soon(self._stop())
        self._closed = True
        stopping.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(SILENT_S, connect=CONNECT_S, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=KEPT_ALIVE_S),
            trust_env=False,  # the address is meant as it is, whatever proxy serves the internet
            verify=ssl.create_default_context(),
        )

    async def _stop(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()
        await asyncio.get_running_loop().shutdown_default_executor()

    def _url(self, path: str) -> str:
        return f"{self.address}{ROOT}{path}"

    def _once(self, operation: str, body: bytes, headers: Mapping[str, str], ctx: RunContext, told: Told) -> bytes:
        frames: SimpleQueue[tuple[Kind, bytes] | Exception] = SimpleQueue()
        stream = self.soon(self._stream(operation, body, headers, frames))
        try:
            while True:
                try:
                    got = frames.get(timeout=LOOK_S)
                except Empty:
                    ctx.check()
                    if stream.done() and frames.empty():  # the line was closed meanwhile
                        raise self._lost(None) from None
                    continue
                if isinstance(got, Exception):
                    raise got
                kind, payload = got
                if kind is Kind.RESULT:
                    return payload
                if kind is Kind.FAILURE:
                    raise protocol.read_failure(payload)
                ctx.check()
                told(kind, payload)
        finally:
            stream.cancel()  # which closes the connection, and so cancels the work on the server

    async def _stream(
        self,
        operation: str,
        body: bytes,
        headers: Mapping[str, str],
        frames: SimpleQueue[tuple[Kind, bytes] | Exception],
    ) -> None:
        """Put frames, the last one a result or a failure, or an exception."""
        heard = False
        try:
            async with self._client.stream("POST", self._url(operation), content=body, headers=headers) as response:
                self._check(response)
                if response.status_code != HTTPStatus.OK:
                    frames.put(protocol.read_failure(await response.aread()))
                    return
                cutter = Frames()
                async for data in response.aiter_raw():
                    heard = True
                    for kind, payload in cutter.feed(data):
                        frames.put((kind, payload))
                        if kind in (Kind.RESULT, Kind.FAILURE):
                            return
                frames.put(self._lost(None, heard))
        except httpx.TransportError as error:
            frames.put(self._lost(error, heard))
        except (SightlineError, _Lost) as error:
            frames.put(error)
        except Exception as error:  # whoever waits must hear of it
            frames.put(error)
            raise

    def _check(self, response: httpx.Response) -> None:
        """Raises _Lost or Unavailable for an answer that is not the server's."""
        if protocol.VERSION_HEADER in response.headers:
            self._away_since = None
            return
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Unavailable(
                f"What stands before the server at {self.address} does not let the dashboard in; ask whoever runs it."
            )
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise DataError(
                f"What stands before the server at {self.address} takes no request of this size; raise its limit there."
            )
        self._gone()
        raise _Lost(
            f"At {self.address} no Sightline server answers (HTTP status {response.status_code}); "
            "start it there, or correct SIGHTLINE_ENGINE."
        )

    def _lost(self, error: httpx.TransportError | None, cut: bool = False) -> _Lost:
        self._gone()
        if cut:
            return _Lost(f"The server at {self.address} breaks off this work again and again; look into its log.", True)
        if isinstance(error, httpx.TimeoutException):
            return _Lost(f"The server at {self.address} has been silent for too long; see whether it still runs.")
        return _Lost(
            f"The server at {self.address} does not answer; start it there with 'python -m dashboard serve', or "
            "correct SIGHTLINE_ENGINE."
        )

    def _gone(self) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("The server at %s does not answer.", self.address)

    def _rest(self, seconds: float, ctx: RunContext) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ctx.check()
            time.sleep(min(left, LOOK_S))

    @staticmethod
    def _session(ctx: RunContext) -> dict[str, str]:
        found = {protocol.PRIORITY_HEADER: str(ctx.priority)}
        if ctx.session:
            found[protocol.SESSION_HEADER] = hashlib.sha256(ctx.session.encode()).hexdigest()[:16]
        if ctx.background:
            found[protocol.BACKGROUND_HEADER] = "1"
        return found


def _checked(address: str) -> str:
    try:
        url = httpx.URL(address.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise Unavailable(f"SIGHTLINE_ENGINE must be the address of a server, like http://host:8600, got {address!r}.")
    return str(url)

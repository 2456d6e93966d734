"""The model server in one process, without Ray."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from dashboard.server.service import Service

log = logging.getLogger(__name__)
STOP_S = 3  # for answers under way, before connections are closed
KEEP_ALIVE_S = 60  # longer than a dashboard keeps a connection that it does not use
START_S = 30.0


class PlainServer:
    """A service on a port.

    Args:
        make: the service; made in the server's event loop.
        host, port: 0 takes a free port.
    """

    def __init__(self, make: Callable[[], Service], host: str, port: int) -> None:
        self._make = make
        self._service: Service | None = None
        self.host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self,
            log_config=None,
            access_log=False,  # the service writes a line of its own
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
            server_header=False,
        )
        self._server = uvicorn.Server(config)

    @property
    def address(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def run(self) -> None:
        """Until the process is told to end."""
        self._service = self._make()
        log.info("Serving on %s.", self.address)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._service.close()

    def start(self) -> None:
        """In a thread, for tests and notebooks; :meth:`stop` ends it."""
        self._thread = threading.Thread(target=self.run, name="sightline-server", daemon=True)
        self._thread.start()
        until = time.monotonic() + START_S
        while not self._server.started and time.monotonic() < until:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._service is None:
            raise RuntimeError("The server answers only while it runs.")
        response = await self._service.handle(Request(scope, receive))
        await response(scope, receive, send)

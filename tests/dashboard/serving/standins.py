"""An engine whose work can be held, and a connection that can be cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dashboard.jobs.store import ResultStore
from dashboard.server.options import Options
from dashboard.server.plain import PlainServer
from dashboard.server.service import Service
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest, Explanation
from models.context import RunContext
from models.types import Target


class Held(LocalEngine):
    """Explains when told to.

    Attributes:
        began, stopped: explanations.
        go: work ends once it is set; until then it ticks.
        fails: raised instead of a result.
        previews: the result is shown before the work is held.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(folders)
        self.reset()

    def reset(self) -> None:
        self.began = self.stopped = 0
        self.go = threading.Event()
        self.fails: Exception | None = None
        self.previews = False

    def explain_targets(
        self, request: ExplainRequest, targets: Sequence[Target], ctx: RunContext
    ) -> tuple[Explanation, ...]:
        self.began += 1
        if self.fails is not None:
            raise self.fails
        if self.previews:
            ctx.show(super().explain_targets(request, targets, RunContext())[0])
        ctx.total = 1000
        try:
            while not self.go.wait(0.01):
                ctx.tick()
        finally:
            self.stopped += ctx.stopped
        return super().explain_targets(request, targets, ctx)


class HeldServer(PlainServer):
    """A server of its own engine and store."""

    def __init__(self, options: Options, store: Path) -> None:
        self.engine = Held(options.folders)

        def make() -> Service:
            found = ResultStore(store)
            return Service(self.engine, found, options.folders, token=options.token, request_mb=options.request_mb)

        super().__init__(make, options.host, 0)


class Cutter:
    """A TCP relay on loopback whose connections can be cut.

    Args:
        port: where to; may be changed.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.cut_after: int | None = None  # bytes of an answer, of the connections made from now on
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection, at once."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.port))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                limit, self.cut_after = self.cut_after, None
                threading.Thread(target=self._relay, args=(near, far, None), daemon=True).start()
                threading.Thread(target=self._relay, args=(far, near, limit), daemon=True).start()

    @staticmethod
    def _relay(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                if limit is not None and passed + len(data) > limit:
                    sink.sendall(data[: limit - passed])
                    break
                sink.sendall(data)
                passed += len(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def wait_for(true: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.01)

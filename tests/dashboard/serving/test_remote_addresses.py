"""What stands at an address: no server, another one, half of one; and what a server may write here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

import dashboard.serving.protocol as protocol
from dashboard.serving.remote import RemoteEngine
from dashboard.serving.remote_line import Line
from dashboard.serving.remote_mirror import Mirror
from models.context import RunContext
from models.errors import DataError, Unavailable


@contextmanager
def answering(headers: dict[str, str], post: int = 501) -> Iterator[str]:
    """The address of what answers any GET with a greeting and any POST with that status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"Welcome")

        def do_POST(self) -> None:
            self.send_response(post)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_model_folder_cannot_write_outside_the_mirror(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "a" / "served", "http://one")
    data = np.frombuffer(b"x", np.uint8)
    for name in ("../out", "/out", "a/../../out", "..\\out", "c:out", ""):
        with pytest.raises(DataError):
            mirror.take({"tiny": "0" * 64}, lambda _, name=name: {name: data})  # type: ignore[misc]
    with pytest.raises(DataError):
        mirror.take({"tiny": "../../escape"}, lambda _: {"card.toml": data})
    assert [path.name for path in tmp_path.rglob("*out*")] == []


def test_another_server_at_the_address(tmp_path: Path) -> None:
    with answering({}) as address:
        remote = RemoteEngine(address, "", tmp_path, patience_s=0.2)
        assert remote.cards() == {}
        assert "no Sightline server answers" in remote.health().message
        remote.close()


def test_a_question_that_nobody_answers_is_given_up_though_the_server_answers_others() -> None:
    """A proxy in the way, or a process that dies of this one question."""
    with answering({protocol.VERSION_HEADER: protocol.VERSION}, post=502) as address:
        line, stop = Line(address, patience_s=1.0), threading.Event()

        def report() -> None:
            while not stop.wait(0.1):
                line.get("report")

        reporting = threading.Thread(target=report)
        reporting.start()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="502"):
            line.ask("predict", b"", {}, RunContext(), lambda kind, payload: None)
        assert 1.0 <= time.monotonic() - began < 10.0
        stop.set()
        reporting.join()
        line.close()


@pytest.mark.parametrize("address", ["localhost:8600", "ftp://host", "http://", "host", ""])
def test_what_is_no_address_is_told(address: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="must be the address of a server"):
        RemoteEngine(address, "", tmp_path)


def test_a_token_that_cannot_be_sent_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SIGHTLINE_TOKEN"):
        RemoteEngine("http://127.0.0.1:1", "schlüssel", tmp_path)

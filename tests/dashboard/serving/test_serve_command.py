"""The command that serves, and what a server counts."""

from __future__ import annotations

import socket

import httpx
import pytest
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.server import cluster
from dashboard.server.metrics import PageMeter
from dashboard.server.options import Options, make_service
from dashboard.server.plain import PlainServer
from dashboard.serving.remote import RemoteEngine
from dashboard.settings import settings
from models.context import RunContext
from models.errors import Unavailable
from models.types import Image
from tests.dashboard.serving.conftest import TOKEN


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "server.example.org"])
def test_nobody_is_served_beyond_this_machine_without_a_token(host: str) -> None:
    assert not settings().token.get_secret_value()
    done = CliRunner().invoke(app, ["serve", "--no-ray", "--host", host])
    assert done.exit_code == 2
    assert "set SIGHTLINE_TOKEN" in done.output


@pytest.mark.parametrize("replicas", ["0", "-1", "two", "4-2", "1-2-3", ""])
def test_a_wrong_number_of_processes_is_told(replicas: str) -> None:
    with pytest.raises(Unavailable, match="must look like 2 or 1-4"):
        cluster.span(replicas)
    assert CliRunner().invoke(app, ["serve", f"--replicas={replicas}"]).exit_code == 2


def test_spans() -> None:
    assert [cluster.span(text) for text in ("1", "3", "1-4")] == [(1, 1), (3, 3), (1, 4)]


@pytest.mark.parametrize(
    ("devices", "processes", "each"), [(0, 2, 0.0), (1, 1, 1.0), (4, 1, 4.0), (1, 2, 0.5), (2, 3, 0.5), (3, 2, 1.0)]
)
def test_gpus_are_shared_evenly(devices: int, processes: int, each: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
    assert cluster.share(processes, "") == each
    assert cluster.share(processes, "auto") == 0


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(app, ["serve", "--no-ray", "--port", str(taken.getsockname()[1])])
    assert done.exit_code == 2
    assert "choose another --port" in done.output


def test_without_ray_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    there = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.split(".")[0] == "ray":
            raise ImportError(name)
        return there(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    done = CliRunner().invoke(app, ["serve"])
    assert done.exit_code == 2
    assert "requirements-serve.txt" in done.output
    assert "--no-ray" in done.output


def test_a_server_counts_for_prometheus(options: Options, film: Image, tmp_path: object) -> None:
    server = PlainServer(lambda: make_service(options, meter=PageMeter()), "127.0.0.1", 0)
    server.start()
    remote = RemoteEngine(server.address, TOKEN, tmp_path)  # type: ignore[arg-type]
    for _ in range(3):
        remote.predict("tiny", [film], RunContext())
    remote.close()
    assert httpx.get(f"{server.address}/v1/metrics").status_code == 401
    page = httpx.get(f"{server.address}/v1/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    server.stop()
    assert 'sightline_requests_total{operation="predict",outcome="ok"} 3.0' in page
    assert 'sightline_request_seconds_count{operation="predict"} 3.0' in page
    assert "sightline_waiting 0.0" in page
    assert 'sightline_model_bytes{device="cpu"}' in page

"""Deployment files say what the code understands."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE, MANIFEST, PROXY = (
    ROOT / "compose.yaml",
    ROOT / "docs/deployment/kuberay.yaml",
    ROOT / "docs/deployment/nginx.conf",
)
SETTINGS = {f"SIGHTLINE_{name.upper()}" for name in Settings.model_fields} | {"SIGHTLINE_REQUEST_MB", "SIGHTLINE_DATA"}


@pytest.mark.parametrize(
    "path", [COMPOSE, MANIFEST, PROXY, ROOT / "Dockerfile", ROOT / "docs/deployment.md"], ids=lambda path: path.name
)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"SIGHTLINE_[A-Z_]+[A-Z]", path.read_text()))
    assert named or path == PROXY
    assert named <= SETTINGS


def test_the_servers_of_the_compose_file_start() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    command = services["server"]["command"]
    assert command[:4] == ["python", "-m", "dashboard", "serve"]
    options = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert all(part in options for part in command[4:] if part.startswith("--"))
    port = command[command.index("--port") + 1]
    assert services["dashboard"]["environment"]["SIGHTLINE_ENGINE"] == f"http://server:{port}"
    assert all(
        address.startswith("127.0.0.1:") for address in services["dashboard"]["ports"]
    )  # the proxy is for others


def test_a_compose_file_without_a_token_does_not_start() -> None:
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        assert service["environment"]["SIGHTLINE_TOKEN"].startswith("${SIGHTLINE_TOKEN:?")


def test_what_the_image_is_made_of_exists() -> None:
    copied = re.findall(r"^COPY ((?:\S+ )+)\S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert "." in names
    assert all((ROOT / name).exists() for name in names)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", ".env", ".streamlit/secrets.toml"} <= set(ignored)


def parts(kind: str) -> dict[str, Any]:
    (found,) = (part for part in yaml.safe_load_all(MANIFEST.read_text()) if part["kind"] == kind)
    return found


def test_ray_takes_the_configuration_of_the_manifest() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="Ray is not installed")
    from importlib.metadata import version

    from dashboard.server import cluster

    spec = parts("RayService")["spec"]
    config = schema.ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
    (application,) = config.applications
    module, name = application.import_path.split(":")
    assert module == cluster.__name__
    assert callable(getattr(cluster, name))
    assert cluster.span(application.args["replicas"]) == (1, 8)
    assert spec["rayClusterConfig"]["rayVersion"] == version("ray")
    environment = {entry["name"]: entry.get("value") for entry in _container(parts("Deployment"))["env"]}
    service = f"{parts('RayService')['metadata']['name']}-serve-svc"  # as KubeRay names it
    assert environment["SIGHTLINE_ENGINE"] == f"http://{service}:{config.http_options.port}"


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_no_secret_stands_in_the_manifest() -> None:
    workers = parts("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for container in [_container(parts("Deployment")), _container({"spec": workers[0]})]:
        (token,) = (entry for entry in container["env"] if entry["name"] == "SIGHTLINE_TOKEN")
        assert "value" not in token
        assert token["valueFrom"]["secretKeyRef"]["name"] == "sightline"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_proxy_reads_its_configuration(tmp_path: Path) -> None:
    key, certificate = tmp_path / "sightline.key", tmp_path / "sightline.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=x"],
        check=True, capture_output=True,
    )  # fmt: skip
    text = PROXY.read_text().replace("/etc/ssl", str(tmp_path))
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ {text} }}")
    tried = subprocess.run(["nginx", "-t", "-c", str(whole)], capture_output=True, text=True)
    assert tried.returncode == 0, tried.stderr

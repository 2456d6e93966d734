"""Small models, and engines that must all behave alike: in this process, behind a server, behind Ray Serve."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import tomli_w
import torch
from safetensors.torch import save_file

from dashboard.server.options import Options, make_service
from dashboard.server.plain import PlainServer
from dashboard.serving.local import LocalEngine
from dashboard.serving.remote import RemoteEngine
from dashboard.serving.types import Engine
from models.segmentation import UNet
from models.types import Geometry, Image, Modality
from models.weights import sha256_of
from tests.conftest import card_fields, liven

INSIDE = "SIGHTLINE_CONTRACT"  # engines to test, set where Ray may run
KINDS = os.environ.get(INSIDE, "local,plain").split(",")
TOKEN = "a secret for tests"
collect_ignore = [] if INSIDE in os.environ else ["test_ray_faults.py", "test_ray_runs.py"]


def write_model(root: Path, outputs: int = 3, **changes: Any) -> Path:
    """A model folder with live random weights."""
    root.mkdir(parents=True)
    torch.manual_seed(0)
    unet = changes.get("task") == "segmentation"
    made = UNet("mobilenetv3_small_050", outputs) if unet else None
    module = liven(made or timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=outputs))
    path = root / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    fields = card_fields(weights={"file": path.name, "sha256": sha256_of(path)}) | changes
    (root / "card.toml").write_text(tomli_w.dumps(fields))
    (root / "evaluation").mkdir()
    (root / "evaluation" / "notes.txt").write_text("Measured on nothing.")
    return root


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of films, one of neighbouring slices, one that segments, one that cannot be loaded, one wrong card."""
    root = tmp_path_factory.mktemp("served") / "zoo"
    write_model(root / "tiny")
    ct = {"height": 48, "width": 48, "modality": ["ct"], "fit": "spacing", "spacing_mm": 1.0, "slices": 3}
    ct["window"] = {"center": -600, "width": 1500}
    write_model(root / "nodule", 1, id="nodule", task="binary", classes=["Malignant"], input=ct)
    size = {"height": 64, "width": 96, "modality": ["ct"]}
    write_model(
        root / "segmenter",
        2,
        id="segmenter",
        task="segmentation",
        architecture="unet:mobilenetv3_small_050",
        classes=["Infection", "Effusion"],
        target_layers=["decoder.1"],
        input=size,
    )
    broken = write_model(root / "broken", id="broken")
    (broken / "weights.safetensors").write_bytes(b"damaged")
    (root / "wrong").mkdir()
    (root / "wrong" / "card.toml").write_text("id = 3")
    return root


@pytest.fixture(scope="session")
def options(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Options:
    return Options((zoo,), "cpu", tmp_path_factory.mktemp("server") / "cache", token=TOKEN, request_mb=4, port=0)


@pytest.fixture(scope="session")
def local(zoo: Path, options: Options) -> Iterator[LocalEngine]:
    made = LocalEngine([zoo], choices=options.cache / "choices")  # so that both hide windows by the same means
    yield made
    made.close()


@pytest.fixture(scope="session")
def plain(options: Options) -> Iterator[PlainServer]:
    """A server in this process."""
    made = PlainServer(lambda: make_service(options), options.host, options.port)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session", params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each kind of engine in turn, over the same models."""
    if request.param == "local":
        yield request.getfixturevalue("local")
        return
    if request.param == "plain":
        address = request.getfixturevalue("plain").address
    else:
        address = request.getfixturevalue("cluster").with_replicas(int(request.param.removeprefix("ray-")))
    made = RemoteEngine(address, TOKEN, tmp_path_factory.mktemp("client"))
    yield made
    made.close()


class Both:
    """The answers of an engine, and those of the one in this process, which are computed once for all engines."""

    def __init__(self, engine: Engine, local: LocalEngine, known: dict[Hashable, Any]) -> None:
        self.engine, self._local, self._known = engine, local, known

    def __call__(self, key: Hashable, ask: Callable[[Engine], Any]) -> tuple[Any, Any]:
        if key not in self._known:
            self._known[key] = ask(self._local)
        expected = self._known[key]
        return (expected if self.engine is self._local else ask(self.engine)), expected


@pytest.fixture(scope="session")
def known() -> dict[Hashable, Any]:
    return {}


@pytest.fixture
def both(engine: Engine, local: LocalEngine, known: dict[Hashable, Any]) -> Both:
    return Both(engine, local, known)


@pytest.fixture(scope="session")
def film() -> Image:
    values = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    return Image(values, "unit interval", Modality.XRAY)


@pytest.fixture(scope="session")
def volume() -> Image:
    """(1, 7, 40, 50) HU in an oblique patient frame, oblong voxels, no two slices alike."""
    values = np.random.default_rng(3).normal(-500, 300, (1, 7, 40, 50)).astype(np.float32).round()
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.7, 0.8, 1.5], [-120.0, 35.5, 800.25]
    return Image(values, "HU", Modality.CT, Geometry(affine))


class RayServer:
    """Ray Serve with as many processes as are asked for; Ray itself starts once."""

    def __init__(self, options: Options) -> None:
        self._options = replace(options, port=8600)
        self._count = 0

    def with_replicas(self, count: int) -> str:
        """The address, once so many processes answer."""
        from dashboard.server import cluster

        if count != self._count:
            cluster.start(self._options, cluster.Scale(count, count, cpus=1))
            self._count = count
        return f"http://127.0.0.1:{self._options.port}"

    @property
    def address(self) -> str:
        """Of Ray itself."""
        import ray

        return str(ray.get_runtime_context().gcs_address)


@pytest.fixture(scope="session")
def cluster(options: Options) -> Iterator[RayServer]:
    from dashboard.server import cluster as served

    yield RayServer(options)
    served.stop()

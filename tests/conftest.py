"""Small networks and model folders that many tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("SIGHTLINE_CACHE", tempfile.mkdtemp(prefix="sightline-tests-"))  # not the user's own
os.environ.setdefault("SIGHTLINE_TRUST", "ask")  # a thousand passes for every case that a test opens

import numpy as np
import pytest
import timm
import tomli_w
import torch
from safetensors.torch import save_file
from torch import nn
from xdist.scheduler import LoadScopeScheduling

from dashboard.settings import settings
from models.segmentation import UNet
from models.types import Geometry, Image, Modality
from models.weights import sha256_of

SHARED_APP = ("test_audit_page", "test_case_page", "test_trust")  # the fixture few_samples, once a worker


class ByFile(LoadScopeScheduling):
    """Of parallel workers, one has all browser tests that share an app, another the other ones; a file's fixtures are made
    once."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.split("::")[0])
        if file.parent.name != "browser":
            return str(file)
        return f"browser, {'shared app' if file.stem in SHARED_APP else 'apps of their own'}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False  # which would put files of few tests last, however long those take
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes goes first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: not (item.get_closest_marker("cluster") or item.path.parent.name == "browser"))
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


def liven(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights under which every branch matters: timm starts residual branches at zero."""
    draw = torch.Generator().manual_seed(seed)
    for name, value in module.named_parameters():
        if value.ndim == 1:
            low, high = (-0.2, 0.2) if name.endswith("bias") else (0.6, 1.4)
            value.data = torch.rand(value.shape, generator=draw) * (high - low) + low
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features, generator=draw) * 0.1
            part.running_var = torch.rand(part.num_features, generator=draw) + 0.5
    return module.eval()


def card_fields(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": "tiny",
        "title": "Tiny",
        "architecture": "timm:mobilenetv3_small_050",
        "task": "multilabel",
        "classes": ["Alpha", "Beta", "Gamma"],
        "target_layers": ["blocks.4"],
        "licence": "Apache-2.0",
        "intended_use": "Tests.",
        "input": {"height": 64, "width": 64, "modality": ["x-ray"], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "training": {"data": "none", "licence": "none"},
    }
    return fields | changes


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of the test's own, and settings read anew."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model folder with live random weights; keyword arguments change the card."""

    def make(
        folder: str = "tiny", outputs: int = 3, suffix: str = ".safetensors", prefix: str = "", **changes: Any
    ) -> Path:
        root = tmp_path / "zoo" / folder
        root.mkdir(parents=True)
        torch.manual_seed(0)
        unet = changes.get("task") == "segmentation"
        module = liven(
            UNet("mobilenetv3_small_050", outputs)
            if unet
            else timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=outputs)
        )
        state = {prefix + name: value.contiguous() for name, value in module.state_dict().items()}
        path = root / f"weights{suffix}"
        if suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": state}, path)
        fields = card_fields(weights={"file": path.name, "sha256": sha256_of(path)}) | changes
        (root / "card.toml").write_text(tomli_w.dumps(fields))
        return root

    return make


@pytest.fixture
def segmenter(make_model: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a folder with a U-Net of two classes whose pixels lie on both sides of the threshold."""

    def make(**changes: Any) -> Path:
        size = {"height": 64, "width": 96, "modality": ["ct"], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
        fields: dict[str, Any] = {
            "id": "segmenter",
            "title": "Segmenter",
            "architecture": "unet:mobilenetv3_small_050",
            "task": "segmentation",
            "classes": ["Infection", "Effusion"],
            "target_layers": ["decoder.1"],
            "input": size,
            "calibration": {"method": "platt-per-class", "scale": [2.0, 3.0], "offset": [0.1, -0.2]},
        } | changes
        return make_model(folder="segmenter", outputs=len(fields["classes"]), **fields)

    return make


@pytest.fixture
def nodule_model(make_model: Callable[..., Path]) -> Path:
    """A folder with a network of three neighbouring slices at 1 mm."""
    size = {"height": 48, "width": 48, "fit": "spacing", "spacing_mm": 1.0, "slices": 3, "modality": ["ct"]}
    return make_model(
        folder="nodule",
        outputs=1,
        id="nodule",
        task="binary",
        classes=["Malignant"],
        input=size | {"window": {"center": -600, "width": 1500}},
    )


@pytest.fixture
def ct_volume() -> Image:
    """(1, 7, 40, 50) HU, oblong voxels, no two slices alike."""
    values = np.random.default_rng(3).normal(-500, 300, (1, 7, 40, 50)).astype(np.float32).round()
    values[0, 0, 0, 0], values[0, 0, 0, 1] = -1024, 900  # as scanners give, so that a reader knows it for CT
    return Image(values, "HU", Modality.CT, Geometry(np.diag([0.7, 0.8, 1.5, 1.0])))

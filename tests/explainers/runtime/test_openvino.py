"""Networks run by OpenVINO give torch's logits, stop when asked, refuse what they cannot do, and report to nobody."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from explainers.runtime import openvino
from explainers.runtime.openvino import TOLERANCE, Compiled
from models.card import find_cards
from models.context import RunContext
from models.errors import Cancelled, ExplainError, Unavailable
from models.handle import ModelHandle
from models.segmentation import UNet
from tests.conftest import liven

ROOT = Path(__file__).parents[3]
ZOO = ROOT / "models" / "zoo"


@pytest.fixture
def library() -> None:
    """Not pytest.importorskip, which would import the package with its reports."""
    support = openvino.available()
    if not support.ok:
        pytest.skip(support.reason)


needs_library = pytest.mark.usefixtures("library")


def go_on() -> None:
    pass


def noise(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(5))


def random_net(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "unet":
        return liven(UNet("mobilenetv3_small_050", 2))
    sized = {"img_size": (64, 96)} if name.startswith("vit") else {}
    return liven(timm.create_model(name, pretrained=False, num_classes=3, **sized))


def exact(module: nn.Module, inputs: Tensor) -> Tensor:
    """In float64, one at a time."""
    precise = copy.deepcopy(module).double()
    with torch.inference_mode():
        return torch.cat([precise(one.double()) for one in inputs.split(1)])


def gap(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    return float((found - expected).abs().max() / expected.abs().max())


@needs_library
@pytest.mark.parametrize(
    "name",
    ["densenet121", "tf_efficientnet_lite0", "convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224", "unet"],
)
def test_logits_are_torchs_for_any_number_of_inputs(name: str) -> None:
    module = random_net(name)
    shape = (3, 64, 96)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        compiled = openvino.compile(module, noise(1, *shape))
    assert not said
    assert 0 < compiled.error < TOLERANCE
    inputs = noise(11, *shape)
    before, expected = inputs.clone(), exact(module, inputs)
    for count in (1, 3, 8, 11):
        assert gap(compiled(inputs[:count], go_on), expected[:count]) < TOLERANCE
    turned = inputs.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert gap(compiled(turned, go_on), expected) < TOLERANCE
    assert torch.equal(inputs, before)


@needs_library
@pytest.mark.parametrize("model_id", ["chest-xray-14", "pneumonia-ct"])
def test_logits_of_shipped_models(model_id: str) -> None:
    handle = ModelHandle.load(find_cards([ZOO])[0][model_id])
    size = handle.card.input
    inputs = noise(3, size.channels, size.height, size.width)
    with handle.exclusive(RunContext()) as module:
        compiled = openvino.compile(module, inputs[:1])
    assert gap(compiled(inputs, go_on), torch.from_numpy(handle.forward(inputs, RunContext()).logits)) < TOLERANCE


@needs_library
def test_threads_are_torchs_unless_given() -> None:
    module, probe = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), noise(1, 3, 16, 16)
    for threads, expected in ((None, torch.get_num_threads()), (1, 1)):
        compiled = openvino.compile(module, probe, threads=threads)
        settings = compiled._request.get_compiled_model()
        assert settings.get_property("INFERENCE_NUM_THREADS") == expected
        assert settings.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


@needs_library
def test_the_module_stays_as_it_is_and_its_later_changes_do_not_matter() -> None:
    module, inputs = random_net("resnet18"), noise(2, 3, 64, 64)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    compiled = openvino.compile(module, inputs)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    expected = exact(module, inputs)
    with torch.no_grad():
        for value in module.state_dict().values():
            value.zero_()
    assert gap(compiled(inputs, go_on), expected) < TOLERANCE


@pytest.fixture(scope="module")
def slow() -> tuple[nn.Module, Compiled, Tensor]:
    """A network and inputs that take seconds."""
    if not openvino.available().ok:
        pytest.skip(openvino.available().reason)
    module, inputs = random_net("resnet50"), noise(8, 3, 224, 224).repeat(12, 1, 1, 1)
    return module, openvino.compile(module, inputs[:1]), inputs


def test_a_call_stops_within_a_fifth_of_a_second(slow: tuple[nn.Module, Compiled, Tensor]) -> None:
    module, compiled, inputs = slow
    began = time.perf_counter()
    asked: list[float] = []

    def check() -> None:
        asked.append(time.perf_counter() - began)
        if asked[-1] > 0.1:
            raise Cancelled("Stopped by the user.")

    with pytest.raises(Cancelled):
        compiled(inputs, check)
    assert time.perf_counter() - began < 0.3
    assert len(asked) >= 3
    assert gap(compiled(inputs[:2], go_on), exact(module, inputs[:2])) < TOLERANCE  # and can be used again


def test_a_waiting_call_stops_too(slow: tuple[nn.Module, Compiled, Tensor]) -> None:
    _, compiled, inputs = slow
    running, enough = threading.Event(), threading.Event()

    def first() -> None:
        running.set()
        if enough.is_set():
            raise Cancelled("Stopped by the user.")

    def second() -> None:
        raise Cancelled("Stopped by the user.")

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(compiled, inputs, first)
        running.wait()
        began = time.perf_counter()
        with pytest.raises(Cancelled):
            compiled(inputs[:1], second)
        assert time.perf_counter() - began < 0.2
        assert not call.done()
        enough.set()
        with pytest.raises(Cancelled):
            call.result()


@needs_library
def test_four_threads_get_their_own_answers() -> None:
    compiled = openvino.compile(random_net("resnet18"), noise(1, 3, 64, 64))
    inputs = noise(20, 3, 64, 64)
    parts = [inputs[start : start + size] for start, size in ((0, 1), (1, 3), (4, 5), (9, 11))] * 4
    expected = [compiled(part, go_on) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: compiled(part, go_on), parts))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


class Odd(nn.Module):
    """One convolution, one linear layer, and something that cannot be compiled."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.conv, self.head = kind, nn.Conv2d(3, 8, 3), nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Any:
        found = self.conv(inputs)
        if self.kind == "random":
            found = functional.dropout(found, training=True)
        elif self.kind == "branch":
            found = found if inputs.mean() > 0.5 else 2 * found
        elif self.kind == "batch":
            found = found - found.mean(0)
        elif self.kind == "operator":
            found = torch.special.bessel_j0(found)
        logits = self.head(found.mean((2, 3)))
        return (logits, found) if self.kind == "pair" else logits


@needs_library
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("random", "differ from PyTorch's by .* of the largest: run it with PyTorch"),
        ("branch", "differ from PyTorch's by"),
        ("batch", "differ from PyTorch's by"),
        ("operator", "cannot convert this network: No conversion rule found for operations: aten::special_bessel_j0"),
        ("pair", "whose answer is one tensor of logits"),
    ],
)
def test_networks_that_would_give_other_logits_are_refused(kind: str, sentence: str) -> None:
    probe = torch.ones(1, 3, 16, 16)
    assert openvino.compile(Odd("").eval(), probe).error < TOLERANCE
    with pytest.raises(ExplainError, match=sentence) as caught:
        openvino.compile(Odd(kind).eval(), probe)
    assert "\n" not in str(caught.value)


@needs_library
@pytest.mark.parametrize("shape", [(2, 3, 16, 18), (2, 1, 16, 16), (0, 3, 16, 16), (3, 16, 16)])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    compiled = openvino.compile(Odd("").eval(), torch.ones(1, 3, 16, 16))
    with pytest.raises(ExplainError, match=r"of shape \(n, 3, 16, 16\), got"):
        compiled(torch.zeros(shape), go_on)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    support = openvino.available()
    assert not support.ok
    assert "pip install openvino" in support.reason
    with pytest.raises(Unavailable, match="pip install openvino"):
        openvino.compile(Odd("").eval(), torch.ones(1, 3, 16, 16))


WATCHED = """
import os, socket, sys

def forbidden(*given, **named):
    with open(sys.argv[1], "a") as tried:  # a forked process has its own memory
        tried.write(repr(given) + "\\n")
    raise OSError("no network")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = forbidden
socket.create_connection = socket.getaddrinfo = os.fork = forbidden
"""
COMPILES = """
import torch
from torch import nn
from explainers.runtime import openvino

assert openvino.available().ok
module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
compiled = openvino.compile(module, torch.ones(1, 3, 16, 16))
compiled(torch.ones(9, 3, 16, 16), lambda: None)
import openvino.tools.ovc  # the package's own converter would not report either
assert sys.modules["openvino_telemetry"] is None
"""


@needs_library
def test_nothing_leaves_the_machine_or_is_left_on_it(tmp_path: Path) -> None:
    home, tried = tmp_path / "home", tmp_path / "tried.txt"
    home.mkdir()
    hidden = {"CI", "TF_BUILD", "JENKINS_URL"}  # where the package keeps silent by itself
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCHED + COMPILES, str(tried)],
        cwd=ROOT,
        env=environment | {"HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not tried.exists(), tried.read_text()
    assert not list(home.rglob("*"))

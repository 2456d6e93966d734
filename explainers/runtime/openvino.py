"""Networks as OpenVINO runs them on the CPU: logits alone, for scores, occlusion and folders of images.

The library is optional. Networks are converted in memory, without files. Importing it reports to Intel over the network
unless stopped, which :func:`_library` does: nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from explainers.types import Support
from models.errors import ExplainError, Unavailable

TOLERANCE = 1e-5  # of the largest logit, or of one logit unit if that is more
BATCH = 8  # more at once is no faster and takes more memory
POLL_MS = 20
_tracing = threading.Lock()  # torch keeps a trace's state, and Python its warning filters, in globals


class Compiled:
    """A network compiled with its weights of that moment; later changes of the module do not reach it.

    Calls from several threads run one after another.

    Attributes:
        error: largest difference of a logit from torch's, relative to the largest logit of the check, or to 1.
    """

    def __init__(self, request: Any, shape: tuple[int, ...]) -> None:
        self.error = float("nan")
        self._request = request
        self._shape = shape
        self._lock = threading.Lock()

    def __call__(self, inputs: Tensor, check: Callable[[], None]) -> Tensor:
        """The logits, (n, K) float32.

        Args:
            inputs: (n, C, H, W) float32 on the CPU, n >= 1; C, H and W as compiled for.
            check: raises to cancel; called at least every 50 ms.

        Raises:
            ExplainError: the inputs have another shape.
        """
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != self._shape or not len(inputs):
            expected = ", ".join(map(str, self._shape))
            raise ExplainError(
                f"OpenVINO compiled this network for inputs of shape (n, {expected}), got {tuple(inputs.shape)}."
            )
        while not self._lock.acquire(timeout=POLL_MS / 1000):
            check()
        try:
            parts = inputs.detach().float().contiguous().split(BATCH)
            return torch.cat([self._run(part, check) for part in parts])
        finally:
            self._lock.release()

    def _run(self, inputs: Tensor, check: Callable[[], None]) -> Tensor:
        check()
        self._request.start_async([inputs.numpy()], share_inputs=True)
        try:
            while not self._request.wait_for(POLL_MS):
                check()
        except BaseException:
            self._request.cancel()
            with contextlib.suppress(RuntimeError):  # says that it was cancelled
                self._request.wait()
            raise
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())


def available() -> Support:
    """Whether networks can be compiled here. The first call imports the library."""
    try:
        devices = _library().Core().available_devices
    except Unavailable as error:
        return Support(False, str(error))
    return Support(True) if "CPU" in devices else Support(False, "OpenVINO cannot use this machine's processor.")


def compile(module: nn.Module, probe: Tensor, threads: int | None = None) -> Compiled:
    """The network for this CPU, checked against torch on the probe and on noise.

    Args:
        module: in eval mode, on the CPU; not the folded one (OpenVINO folds by itself). Stays as it is.
        probe: (n, C, H, W) float32, inputs like those to come.
        threads: torch's number of threads where it is not given.

    Raises:
        Unavailable: the library is not installed.
        ExplainError: the network cannot be converted, or gives other logits than in torch.
    """
    library = _library()
    noise = torch.randn(3, *probe.shape[1:], generator=torch.Generator().manual_seed(0))
    inputs = torch.cat([probe, noise])
    expected = _expected(module, inputs)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # other work shares the cores
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bf16 wherever the CPU has it
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    try:
        model = _converted(module, probe[:1])
        model.reshape([library.Dimension(1, BATCH), *probe.shape[1:]])
        request = library.Core().compile_model(model, "CPU", settings).create_infer_request()
    except Exception as error:  # tracing and conversion raise anything on a network that they cannot take
        raise ExplainError(f"OpenVINO cannot convert this network: {_reason(error)}.") from None
    compiled = Compiled(request, tuple(probe.shape[1:]))
    found = compiled(inputs, lambda: None)
    compiled.error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))
    if not compiled.error < TOLERANCE:  # also where it is not a number
        raise ExplainError(
            f"OpenVINO's logits of this network differ from PyTorch's by {compiled.error:.1e} of the largest: "
            "run it with PyTorch."
        )
    return compiled


def _expected(module: nn.Module, inputs: Tensor) -> Tensor:
    """Torch's logits, one input at a time, so that a network that treats a batch as a whole is found out."""
    with torch.inference_mode():
        answers = [module(one) for one in inputs.split(1)]
    if not all(isinstance(answer, Tensor) and answer.ndim == 2 for answer in answers):
        raise ExplainError("OpenVINO can run networks whose answer is one tensor of logits, (n, K); this one's is not.")
    return torch.cat(answers)


def _library() -> Any:
    """The package, without what sends its reports: it takes a stub of its own instead. Raises Unavailable."""
    blocked: dict[str, Any] = sys.modules
    blocked["openvino_telemetry"] = None  # from here on an import of it fails
    try:
        import openvino
    except ImportError as error:
        if find_spec("openvino") is None:
            raise Unavailable("Running networks with OpenVINO needs the package: pip install openvino.") from None
        raise Unavailable(f"OpenVINO is installed but cannot be loaded: {_reason(error)}.") from None
    return openvino


def _converted(module: nn.Module, example: Tensor) -> Any:
    # What openvino.convert_model does, less its reports, command-line settings and logging.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with _tracing, torch.no_grad(), warnings.catch_warnings():
        # torch.jit.trace calls itself deprecated and names what it takes for constant, which the check covers; by
        # torch.export the conversion takes eight times as long.
        warnings.simplefilter("ignore")
        traced = TorchScriptPythonDecoder(
            module, example_input=(example,), shared_memory=False, trace_kwargs={"check_trace": False}
        )
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(traced))


def _reason(error: BaseException) -> str:
    """The line that says what is wrong, of the many that a library may give."""
    lines = [line.strip(" -.:") for line in str(error.__cause__ or error).splitlines()]
    telling = [line for line in lines if "for operations:" in line] + [line for line in lines if line]
    return telling[0] if telling else type(error).__name__

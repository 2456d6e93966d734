"""How many inputs to pass at once: by the memory that one takes, and fewer where memory runs out after all."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from explainers.passes import BATCH
from models.errors import ExplainError

T = TypeVar("T")
LIMIT = 400 * 2**20  # bytes of main memory that one explanation may take beyond the network
GROUP = Path("/sys/fs/cgroup")  # a container's account
_M_ARENA_MAX = -8  # of malloc.h
_TEMPORARY = 1.8  # measured: gradients on their way down, and sums in double precision, beside what is kept for them


def few_heaps() -> None:
    """Let all threads of this process share two heaps, where the C library would give each its own.

    What one thread frees another can then use. With a thread for each piece of work, one at a time at work, heaps of their own
    held gigabytes (docs/performance.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # glibc alone has it
        mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Let the system have what this process has freed: the C library keeps it, a gigabyte and more after many explanations."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc alone has it
        trim(0)


def bytes_kept(module: nn.Module, probe: Tensor) -> int:
    """Bytes that one input's forward pass keeps for its gradient; measured by running it.

    Args:
        module: its parameters without gradients, so that they are not counted as kept for one input.
        probe: (1, C, H, W).
    """
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in (*module.parameters(), *module.buffers())}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = module(probe.detach().clone().requires_grad_())  # alive until counted: addresses must not be reused
    total = sum(kept.values())
    del output
    return total


def most(device: torch.device) -> int:
    """Inputs in one pass beyond which nothing is gained: little on a CPU, whose caches hold few."""
    return BATCH if device.type == "cpu" else 8 * BATCH


def batch_for(bytes_per_input: int, device: torch.device) -> int:
    """Inputs in one gradient pass: at most :func:`most`, within half of the free memory (and ``LIMIT`` on a CPU), at least 1."""
    free = free_bytes(device)
    allowed = LIMIT if free is None else free // 2
    if device.type == "cpu":
        allowed = min(LIMIT, allowed)
    return int(min(most(device), max(1, allowed // max(1, int(_TEMPORARY * bytes_per_input)))))


def free_bytes(device: torch.device) -> int | None:
    """Memory that can be had on the device now; None where that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [value for value in (_meminfo("MemAvailable"), _within_group()) if value is not None]
    return min(known) if device.type == "cpu" and known else None


def total_bytes(device: torch.device) -> int | None:
    """All memory of the device, in use or not; None where that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if device.type != "cpu":
        return None
    known = [value for value in (_meminfo("MemTotal"), _group_limit()) if value is not None]
    return min(known, default=None)


def _meminfo(name: str) -> int | None:
    """A line of Linux's own account."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return found[0] if found else None


def _group_limit() -> int | None:
    """Of a container."""
    try:
        limit = (GROUP / "memory.max").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else int(limit)


def _within_group() -> int | None:
    """What a container's limit leaves."""
    limit = _group_limit()
    if limit is None:
        return None
    try:
        used = int((GROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    files = int(stat.get("inactive_file", 0))  # read long ago, and dropped as soon as memory is wanted
    return max(0, limit - max(0, used - files))


def in_batches(count: int, batch: int, run: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
    """Ranges of 0 to ``count`` and what ``run`` gives for them; half as many at a time once memory runs out.

    Raises:
        ExplainError: not even one input fits.
    """
    first = 0
    while first < count:
        part = slice(first, min(count, first + batch))
        try:
            answer = run(part)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            answer = None
        if answer is None:  # outside the handler, which holds on to what filled the memory
            if batch == 1:
                raise ExplainError(
                    "There is not enough memory to pass one image through this network; close other programs or "
                    "choose a smaller model."
                )
            batch = max(1, batch // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield part, answer
        first = part.stop


def _out_of_memory(error: BaseException) -> bool:
    """torch has a class for it on GPUs, and a sentence on CPUs."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)

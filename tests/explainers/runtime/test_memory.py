"""How many inputs go in one pass, what happens where memory runs out, and what is given back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from explainers.runtime import memory
from models.errors import ExplainError


def test_batches_are_chosen_by_what_an_input_keeps() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wide.requires_grad_(False)
    kept = memory.bytes_kept(wide, torch.zeros(1, 3, 100, 100))
    assert kept == (64 + 3) * 100 * 100 * 4  # the ReLU's output and the convolution's input
    device = torch.device("cpu")
    assert memory.batch_for(1000, device) == 8
    assert memory.batch_for(memory.LIMIT // 4, device) == 2
    assert memory.batch_for(memory.LIMIT * 4, device) == 1


def test_batches_shrink_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: 100 * 2**20)
    assert memory.batch_for(10 * 2**20, torch.device("cpu")) == 2


def test_what_a_container_can_have_counts_files_read_long_ago_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 300\nfile 600\ninactive_file 500\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.free_bytes(torch.device("cpu")) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) > 2**20


def resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux alone can be told")
def test_what_was_freed_goes_back_to_the_system() -> None:
    blocks = [bytearray(b"x" * 60_000) for _ in range(5000)]
    held = resident_mb()
    del blocks[:-1]  # above the rest, which the C library keeps therefore
    memory.give_back()
    assert held - resident_mb() > 200


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")])
def test_half_as_many_after_memory_ran_out_and_nothing_twice(error: Exception) -> None:
    asked: list[slice] = []

    def work(part: slice) -> list[int]:
        asked.append(part)
        if part.stop - part.start > 2:
            raise error
        return list(range(part.start, part.stop))

    answers = list(memory.in_batches(7, 8, work))
    assert [number for _, answer in answers for number in answer] == list(range(7))
    assert max(part.stop - part.start for part, _ in answers) == 2  # 8, 4, 2, and never more again
    assert len(asked) < 12


def test_not_even_one_input_fits() -> None:
    def work(part: slice) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ExplainError, match="not enough memory to pass one image"):
        list(memory.in_batches(3, 8, work))


def test_other_errors_are_not_taken_for_memory() -> None:
    def work(part: slice) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        list(memory.in_batches(3, 8, work))

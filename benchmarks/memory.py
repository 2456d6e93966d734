"""Peak memory of one explanation beyond what the process held: ``python -m benchmarks.memory [NAMES ...]``.

The second of two calls, so that what libraries set up once does not count; steps and windows are few, since the peak
depends on the batch alone. MB; captum in batches of 8.
"""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.explain import BATCH, NETWORKS, Subject, Work
from benchmarks.networks import shipped_cards


def extra(work: Work) -> float:
    """MB at the peak of a call."""
    work()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _held("VmRSS")
    work()
    return _held("VmHWM") - before


def _held(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def main(names: Annotated[list[str] | None, typer.Argument(help="Networks; all if none.")] = None) -> None:
    torch.set_num_threads(1)
    heads = ("Grad-CAM", "IG", "IG, five", "occlusion", "captum IG", "captum occl.")
    typer.echo(f"| {'':22} | " + " | ".join(heads) + " |")
    for name in names or [*NETWORKS, *sorted(shipped_cards())]:
        subject = Subject(name)
        one, windows = subject.targets[:1], {"window": 32, "stride": 32, "fill": "mean"}
        few = {"steps": 2 * BATCH, "rule": "midpoint"}
        found = [
            extra(subject.ours("grad-cam", subject.targets)),
            extra(subject.ours("integrated-gradients", one, **few)),
            extra(subject.ours("integrated-gradients", subject.targets, **few)),
            extra(subject.ours("occlusion", one, **windows)),
            extra(subject.gradients(BATCH, 2 * BATCH)),
            extra(subject.occlusion(BATCH)),
        ]
        subject.model.close()
        typer.echo(f"| {name:22} | " + " | ".join(f"{value:.0f}" for value in found) + " |")


if __name__ == "__main__":
    typer.run(main)

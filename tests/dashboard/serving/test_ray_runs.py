"""Run by test_ray.py alone: folder runs by the tasks of a cluster that others use too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as Picture

from dashboard.folder_runs.runs import predict_path
from dashboard.settings import ROOT
from tests.dashboard.serving.conftest import RayServer


def test_a_cluster_writes_the_same(cluster: RayServer, zoo: Path, tmp_path: Path) -> None:
    cluster.with_replicas(1)
    model, folder, out = str(zoo / "tiny"), tmp_path / "in", tmp_path / "ray" / "s.csv"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(20):
        Picture.fromarray(draw.integers(0, 255, (40, 50), dtype=np.uint8)).save(folder / f"film {number:02d}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    command = [sys.executable, "-m", "dashboard", "predict", str(folder), "--model", model, "--out", str(out)]
    command += ["--engine", "ray", "--address", cluster.address, "--workers", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    predict_path(folder, model, tmp_path / "s.csv", None, workers=0)
    assert (out.parent / "s.manifest.json").read_bytes() == (tmp_path / "s.manifest.json").read_bytes()
    found, whole = pd.read_csv(out), pd.read_csv(tmp_path / "s.csv")
    assert found.image.tolist() == whole.image.tolist()
    np.testing.assert_allclose(found.iloc[:, 1:], whole.iloc[:, 1:], atol=1e-5)  # a task has one thread

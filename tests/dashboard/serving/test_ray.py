"""Folder runs on Ray, the contract against Ray Serve with one process and with two, and one of two killed: in a network
namespace of their own, because Ray opens ports to everybody."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALONE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
INSIDE = "SIGHTLINE_CONTRACT"


@cache
def why_not() -> str:
    """Why Ray cannot be tried here; "" where it can."""
    if INSIDE in os.environ:
        return "this is the inside of it"
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed (requirements-serve.txt)"
    try:
        tried = subprocess.run([*ALONE, "ip", "link", "set", "lo", "up"], capture_output=True, timeout=20, check=False)
    except OSError as error:
        return f"unshare does not run here ({error})"
    return "" if tried.returncode == 0 else "a network namespace needs rights that this user has not"


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_everything_holds_on_ray() -> None:
    if reason := why_not():
        pytest.skip(reason)
    files = [str(HERE / name) for name in ("test_ray_runs.py", "test_contract.py", "test_ray_faults.py")]
    run = f"ip link set lo up && exec {sys.executable} -m pytest -q -x -W ignore --tb=short -p no:cacheprovider {' '.join(files)}"
    environment = os.environ | {INSIDE: "ray-1,ray-2", "PYTHONPATH": ".", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["RAY_worker_niceness"] = "0"  # of 15, with which it would wait for all other tests
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*ALONE, "bash", "-c", run],
        cwd=HERE.parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]

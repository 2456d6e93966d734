"""Run by test_ray.py alone: what happens to requests when one of two processes is killed."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from dashboard.serving.local import LocalEngine
from dashboard.serving.remote import RemoteEngine
from dashboard.serving.types import ExplainRequest, Explanation
from models.context import RunContext
from models.types import Image, Target
from tests.dashboard.serving.conftest import TOKEN, RayServer
from tests.dashboard.serving.standins import wait_for

READERS = 12
FILMS = 3  # for each
BETA = Target("Beta", 1)


def processes() -> list[int]:
    """Of the server; nobody else's are seen from inside."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and b"ServeReplica" in (folder / "cmdline").read_bytes():
            found.append(int(folder.name))
    return found


def test_no_request_is_lost_when_a_process_is_killed(
    cluster: RayServer, local: LocalEngine, film: Image, tmp_path: Path
) -> None:
    address = cluster.with_replicas(2)
    remote = RemoteEngine(address, TOKEN, tmp_path)
    remote.layers("tiny")
    wait_for(lambda: len(remote.health().devices) == 2)
    done: list[int] = []

    def asked(reader: int, number: int) -> ExplainRequest:
        image = replace(film, values=film.values + np.float32(reader * FILMS + number))
        return ExplainRequest("tiny", image, "integrated-gradients", BETA, {"steps": 96})

    def read(reader: int) -> list[Explanation]:
        found = []
        for number in range(FILMS):
            found.append(remote.explain(asked(reader, number), RunContext(session=str(reader))))
            done.append(reader)
        return found

    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(read, reader) for reader in range(READERS)]
        while len(done) < READERS:
            time.sleep(0.05)
        before = processes()
        os.kill(before[0], signal.SIGKILL)
        found = [one.result(120) for one in reading]
    assert len(before) == 2
    assert len(done) == READERS * FILMS
    for reader in (0, READERS - 1):
        for number in (0, FILMS - 1):
            expected = local.explain(asked(reader, number), RunContext()).attribution.values
            np.testing.assert_allclose(
                found[reader][number].attribution.values, expected, atol=1e-4 * float(np.abs(expected).max())
            )
    remote.close()

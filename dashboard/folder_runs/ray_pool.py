"""Workers of a Ray cluster; the one place of folder runs that knows Ray."""

from __future__ import annotations

import logging
import os
from typing import Any

from dashboard.folder_runs.pool import WORKER_BYTES, Ending
from dashboard.folder_runs.shards import answered
from dashboard.settings import ROOT
from models.errors import Unavailable


class RayPool:
    """Tasks on a cluster, each with one core and a share of memory; what they lose is tried again by the run, not by Ray.

    Args:
        workers: shards at a time; as many as the cluster has room for if not given.
        address: of a cluster; "" starts Ray on this machine alone, until :meth:`close`.
        gpus: for each task.

    Raises:
        Unavailable: Ray is not installed, or does not answer.
    """

    def __init__(self, workers: int | None, address: str, gpus: float) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use over the network otherwise
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise Unavailable(
                "Ray is not installed; install it with pip install -r requirements-serve.txt, or use --engine processes."
            ) from None
        self._ray: Any = ray
        own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "num_cpus": workers}
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            ray.init(address=address or "local", **quiet, **({} if address else own))
        except Exception as error:  # Ray has no class of its own for these
            raise Unavailable(
                f"No Ray cluster can be used at {address or 'this machine'} ({str(error).splitlines()[0]}); check --address."
            ) from None
        room = self._ray.cluster_resources()
        needs = {"CPU": 1.0, "GPU": gpus, "memory": float(WORKER_BYTES)}
        most = min(room.get(name, 0.0) / need for name, need in needs.items() if need)
        if most < 1:
            ray.shutdown()
            raise Unavailable(
                f"No machine of the cluster has a core, {gpus:g} GPU and {WORKER_BYTES // 2**20} MB for a worker; "
                "give other --gpus, or use --engine processes."
            )
        self.slots = workers or int(most)
        few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        kept = {name: value for name, value in os.environ.items() if name.startswith("SIGHTLINE_")}
        kept.pop("SIGHTLINE_TOKEN", None)  # Ray writes these to its log
        kept["SIGHTLINE_DEVICE"] = "auto" if gpus else "cpu"  # those that Ray gives a task are the only ones it sees
        environment = {"env_vars": {"PYTHONPATH": str(ROOT), **few, **kept}}
        each: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "memory": WORKER_BYTES}
        self._task = ray.remote(answered).options(**each, max_retries=0, runtime_env=environment)
        self._flying: dict[Any, int] = {}

    def submit(self, key: int, text: str) -> None:
        self._flying[self._task.remote(text)] = key

    def ended(self, seconds: float) -> list[Ending]:
        found, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=seconds)
        return [self._ending(task) for task in found]

    def close(self) -> None:
        for task in self._flying:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()

    def _ending(self, task: Any) -> Ending:
        key = self._flying.pop(task)
        try:
            return Ending.of(key, self._ray.get(task))
        except self._ray.exceptions.RayError as error:
            return Ending(key, died=f"Ray says: {str(error).splitlines()[0]}", killed=True)

"""The model server on Ray Serve: processes that each hold a service, on one machine or on many.

Ray is imported once it is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from starlette.requests import Request
from starlette.responses import Response

from dashboard.server import metrics
from dashboard.server.options import Options, make_service, options_from
from dashboard.serving.protocol import MODEL_HEADER
from dashboard.serving.types import EDGES_S, Health
from models.errors import Unavailable

NAME = "sightline"
MOST_ONGOING = 1000  # streams of one process, nearly all of which wait; the engine says when it is too many
BUSY = 4.0  # requests under way in a process, beyond which another is started
HEALTH_S = 10.0  # between two looks at a process; three without an answer end it
HINTED = 16  # models that Ray remembers a process to hold; the engine itself loads and lets go
STOP_S = 10.0
KEEP_ALIVE_S = 60
# As explainers.runtime.memory.few_heaps does, which comes too late for the threads that Ray has started by then.
FEW_HEAPS = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class Scale:
    """How many processes.

    Attributes:
        least, most: between which their number follows the load; the same for a fixed number.
        gpus: that each holds; a fraction shares one.
        cpus: that each holds, which is how many threads torch takes there; None for an equal share of this machine, or one of
            a cluster.
        address: of a Ray cluster; "" starts Ray on this machine.
        metrics_port: where Ray shows Prometheus the metrics of this machine; 0 for any, and not asked of a cluster.
    """

    least: int = 1
    most: int = 1
    gpus: float = 0.0
    cpus: float | None = None
    address: str = ""
    metrics_port: int = 0


class Replica:
    """One process of the server."""

    def __init__(self, options: Options) -> None:
        from ray import serve

        logging.basicConfig(level=logging.WARNING)
        logging.getLogger("dashboard").setLevel(logging.INFO)
        name = serve.get_replica_context().replica_id.unique_id
        self._service = make_service(options, name, RayMeter())

    async def __call__(self, request: Request) -> Response:
        model_id = request.headers.get(MODEL_HEADER, "")
        if model_id and self._service.admits(request):
            await self.holds(model_id)
        return await self._service.handle(request)

    async def holds(self, model_id: str) -> bool:
        """Tells Ray, which then sends requests for that model here."""
        return True

    async def check_health(self) -> None:
        """Raises where the engine does not answer, upon which Ray starts another process."""
        await asyncio.wait_for(self._service.healthy(), HEALTH_S)

    def __del__(self) -> None:
        self._service.close()


class RayMeter:
    """Counts where Ray gathers the metrics of a cluster."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        self._requests = Counter(*metrics.REQUESTS, tag_keys=("operation", "outcome"))
        self._seconds = Histogram(*metrics.SECONDS, boundaries=list(EDGES_S), tag_keys=("operation",))
        self._waiting = Gauge(*metrics.WAITING)
        self._bytes = Gauge(*metrics.MODEL_BYTES, tag_keys=("device",))

    def ended(self, operation: str, outcome: str, seconds: float) -> None:
        self._requests.inc(1, {"operation": operation, "outcome": outcome})
        self._seconds.observe(seconds, {"operation": operation})

    def seen(self, health: Health) -> None:
        self._waiting.set(health.waiting)
        for device in health.devices:
            self._bytes.set(device.model_bytes, {"device": device.name})

    def page(self) -> bytes:
        return b""


def application(options: Options, scale: Scale) -> Any:
    """The server as Ray Serve deploys it. Raises Unavailable without Ray."""
    serve = _serve()

    class Deployed(Replica):
        """With what only Ray can add."""

        holds = serve.multiplexed(max_num_models_per_replica=HINTED)(Replica.holds)

    number: dict[str, Any] = {"num_replicas": scale.least}
    if scale.most > scale.least:
        number = {
            "autoscaling_config": {
                "min_replicas": scale.least,
                "max_replicas": scale.most,
                "target_ongoing_requests": BUSY,
            }
        }
    deployment = serve.deployment(
        Deployed,
        name=NAME,
        max_ongoing_requests=MOST_ONGOING,
        ray_actor_options={"num_cpus": _cpus(scale), "num_gpus": scale.gpus, "runtime_env": {"env_vars": FEW_HEAPS}},
        health_check_period_s=HEALTH_S,
        health_check_timeout_s=3 * HEALTH_S,
        graceful_shutdown_timeout_s=STOP_S,
        logging_config={"enable_access_log": False},
        **number,
    )
    return deployment.bind(options)


def build(arguments: dict[str, str]) -> Any:
    """For a configuration file of Ray Serve (``import_path: dashboard.server.cluster:build``).

    Settings come from ``SIGHTLINE_*``.

    Args:
        arguments: "replicas" ("2", or "1-4" by load) and "gpus" of each process.
    """
    options = options_from()
    if not options.token:
        raise Unavailable("Others can reach a server of a cluster; give it a secret in SIGHTLINE_TOKEN.")
    least, most = span(str(arguments.get("replicas", "1")))
    scale = Scale(least, most, float(arguments.get("gpus", 0)), address="auto")
    return application(options, scale)


def span(replicas: str) -> tuple[int, int]:
    """ "2" or "1-4" as the least and the most. Raises Unavailable for anything else."""
    parts = replicas.split("-")
    if len(parts) > 2 or not all(part.isdigit() and int(part) for part in parts) or int(parts[0]) > int(parts[-1]):
        raise Unavailable(f"The number of replicas must look like 2 or 1-4, got {replicas!r}.")
    return int(parts[0]), int(parts[-1])


def start(options: Options, scale: Scale) -> None:
    """Start Ray, or join the cluster at ``scale.address``, and serve; returns once processes answer.

    Raises:
        Unavailable: Ray is not installed, its cluster cannot be reached, or the processes do not start.
        OSError: the port is taken.
    """
    serve = _serve()
    import ray

    if not ray.is_initialized():
        if not scale.address:
            family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
            socket.create_server((options.host, options.port), family=family).close()  # Ray would only log it
        own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        if scale.metrics_port:
            own["_metrics_export_port"] = scale.metrics_port
        try:
            ray.init(address=scale.address or "local", namespace=NAME, **({} if scale.address else own))
        except ConnectionError:
            raise Unavailable(
                f"There is no Ray cluster at {scale.address}; start one, or leave --address away."
            ) from None
    http = {"host": options.host, "port": options.port, "keep_alive_timeout_s": KEEP_ALIVE_S}
    with suppress(TimeoutError):  # Ray waits a minute, whatever its settings; on a busy machine it comes up later
        serve.start(proxy_location="EveryNode" if scale.address else "HeadOnly", http_options=http)
    try:
        serve.run(application(options, scale), name=NAME, route_prefix="/")
    except RuntimeError as error:
        raise Unavailable(
            f"The processes of the server do not start ({str(error).splitlines()[0].rstrip('.')})."
        ) from None


def wait() -> None:
    """Until this process is told to end, by Ctrl-C or a signal; then what :func:`start` started ends too."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        while not ended.wait(1.0):
            pass
    finally:
        stop()


def share(processes: int, address: str) -> float:
    """GPUs of each of so many processes on this machine: whole ones where they suffice; 0 on a cluster, which must be told."""
    found = 0 if address else torch.cuda.device_count()
    if not found or found >= processes:
        return float(found // processes)
    return 1 / math.ceil(processes / found)  # as many on each as the fullest must hold


def stop() -> None:
    """End what :func:`start` started; whatever else runs on a cluster goes on."""
    serve = _serve()
    import ray

    serve.delete(NAME)
    ray.shutdown()


def _serve() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use over the network otherwise
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")  # of 5, which a busy machine misses
    try:
        from ray import serve
    except ImportError:
        raise Unavailable(
            "Ray is not installed; install it with 'pip install -r requirements-serve.txt', or serve in one process with --no-ray."
        ) from None
    return serve


def _cpus(scale: Scale) -> float:
    if scale.cpus is not None:
        return scale.cpus
    if scale.address:
        return 1.0
    share = (os.cpu_count() or 1) / scale.most
    return float(int(share)) if share >= 1 else share

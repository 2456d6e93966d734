"""``python -m dashboard serve``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import typer

from dashboard.commands.shared import answer, app, screen, stop
from models.errors import SightlineError


@app.command()
def serve(
    replicas: Annotated[
        str, typer.Option(help="Processes that each hold an engine: a number, or 1-4 for as many as the load needs.")
    ] = "1",
    gpus: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs for each process, 0.5 to share one by two; an equal share if not given."),
    ] = None,
    address: Annotated[str, typer.Option(help="A Ray cluster to serve on; this machine alone if not given.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8600,
    request_mb: Annotated[
        int, typer.Option(min=1, envvar="SIGHTLINE_REQUEST_MB", help="Megabytes of the largest request.")
    ] = 256,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port where Ray shows its metrics to Prometheus; 0 for any.")
    ] = 0,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="One process, without Ray.")] = False,
) -> None:
    """Serve the models to dashboards that name this address in SIGHTLINE_ENGINE, until it is stopped.

    Every request must bring the token in SIGHTLINE_TOKEN, where one is set. Requests are not encrypted: beyond one
    machine, put a proxy with TLS before it. Ray opens ports of its own, one a process to every network, that ask for no
    token: keep them behind a firewall, or serve with --no-ray.
    """
    import logging

    from dashboard.server.options import make_service, options_from

    logging.getLogger("dashboard").setLevel(logging.INFO)
    options = options_from(host=host, port=port, request_mb=request_mb)
    told = {"address": f"http://{f'[{host}]' if ':' in host else host}:{port}", "token": bool(options.token)}
    try:
        if not options.token and not _loopback(host):
            raise stop(
                f"Others could reach {host} without a token; set SIGHTLINE_TOKEN here and for the dashboards, or listen on 127.0.0.1."
            )
        if no_ray:
            from dashboard.server.metrics import page_meter
            from dashboard.server.plain import PlainServer

            server = PlainServer(lambda: make_service(options, meter=page_meter()), host, port)
            answer(**told, replicas="1")
            server.run()
            return
        from dashboard.server import cluster

        least, most = cluster.span(replicas)
        gpus = cluster.share(most, address) if gpus is None else gpus
        cluster.start(options, cluster.Scale(least, most, gpus, address=address, metrics_port=metrics_port))
        answer(**told, replicas=replicas)
        screen.print("Stop with Ctrl-C.", highlight=False)
        cluster.wait()
    except SightlineError as error:
        raise stop(str(error)) from None
    except OSError as error:
        raise stop(
            f"Nothing can listen on {host}:{port} ({error.strerror or type(error).__name__}); choose another --port."
        ) from None


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

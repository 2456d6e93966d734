"""What goes wrong between a dashboard and its server: nothing is lost, nothing computed twice, one sentence says what is."""

from __future__ import annotations

import logging
import random
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

import dashboard.server.work as work_module
import dashboard.serving.protocol as protocol
from dashboard.server.options import Options
from dashboard.serving.local import LocalEngine
from dashboard.serving.remote import RemoteEngine
from dashboard.serving.remote_line import Line
from dashboard.serving.types import ExplainRequest, Explanation
from models.context import RunContext
from models.errors import Busy, Cancelled, DataError, ModelError, Unavailable
from models.types import Image, Modality, Target, Window
from tests.dashboard.serving.conftest import TOKEN
from tests.dashboard.serving.standins import Cutter, HeldServer, wait_for

BETA = Target("Beta", 1)


@pytest.fixture(scope="module")
def held(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeldServer]:
    made = HeldServer(options, tmp_path_factory.mktemp("held") / "results")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def server(held: HeldServer) -> Iterator[HeldServer]:
    """One that has done nothing yet."""
    held.engine.reset()
    yield held
    held.engine.go.set()


@pytest.fixture(scope="module")
def cutter(held: HeldServer) -> Iterator[Cutter]:
    made = Cutter(held.port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def patient(cutter: Cutter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteEngine]:
    made = RemoteEngine(cutter.address, TOKEN, tmp_path_factory.mktemp("client"), patience_s=20)
    assert made.cards()
    made.layers("tiny")
    yield made
    made.close()


@pytest.fixture
def remote(patient: RemoteEngine, server: HeldServer, cutter: Cutter) -> RemoteEngine:
    cutter.port = server.port
    return patient


@pytest.fixture
def film(request: pytest.FixtureRequest) -> Image:
    """Another one for each test, so that nothing is known of it."""
    seed = zlib.crc32(request.node.name.encode())
    return Image(np.random.default_rng(seed).random((1, 64, 64)).astype(np.float32), "unit interval", Modality.XRAY)


def right(found: Explanation, local: LocalEngine, request: ExplainRequest) -> None:
    expected = local.explain(request, RunContext()).attribution.values
    np.testing.assert_allclose(found.attribution.values, expected, atol=1e-5)


def test_a_server_that_is_killed_and_started_again_still_answers(
    options: Options,
    server: HeldServer,
    cutter: Cutter,
    remote: RemoteEngine,
    local: LocalEngine,
    film: Image,
    tmp_path: Path,
) -> None:
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    told: list[float] = []
    second = HeldServer(options, tmp_path / "others")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(remote.explain, request, RunContext(on_progress=told.append))
        wait_for(lambda: bool(told))
        cutter.port = 1  # nobody answers there
        cutter.cut()
        time.sleep(0.3)
        second.engine.go.set()
        second.start()
        cutter.port = second.port
        right(asked.result(30), local, request)
    second.stop()
    assert (server.engine.began, second.engine.began) == (1, 1)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_what_is_cut_mid_stream_is_asked_again_and_computed_once(
    server: HeldServer,
    cutter: Cutter,
    remote: RemoteEngine,
    local: LocalEngine,
    film: Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work_module, "GRACE", 1e6)  # that reconnecting may take its time here
    request = ExplainRequest("tiny", film, "integrated-gradients", BETA, {"steps": 9})
    told: list[float] = []
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(remote.explain, request, RunContext(on_progress=told.append))
        for _ in range(3):
            told.clear()
            wait_for(lambda: bool(told))
            cutter.cut_after = 700  # of the next answer: within its head or its first frames
            cutter.cut()
        wait_for(lambda: bool(told))
        server.engine.go.set()
        cutter.cut_after = 9000  # within the result
        cutter.cut()
        right(asked.result(30), local, request)
    assert server.engine.began == 1


def test_a_question_that_breaks_every_stream_is_given_up(
    server: HeldServer, cutter: Cutter, remote: RemoteEngine, film: Image
) -> None:
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    stop = threading.Event()

    def cut_always() -> None:
        while not stop.is_set():
            cutter.cut()
            time.sleep(0.3)

    breaking = threading.Thread(target=cut_always)
    breaking.start()
    with pytest.raises(Unavailable, match="again and again"):
        remote.explain(request, RunContext())
    stop.set()
    breaking.join()


def test_without_a_server_the_dashboard_still_draws(server: HeldServer, film: Image, tmp_path: Path) -> None:
    cutter = Cutter(server.port)
    first = RemoteEngine(cutter.address, TOKEN, tmp_path / "client")
    cards = first.cards()
    first.close()
    cutter.close()
    later = RemoteEngine(cutter.address, TOKEN, tmp_path / "client", patience_s=0.3)
    assert later.cards() == cards != {}
    wait_for(lambda: bool(later.health().message))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer; start it there") as told:
        later.predict("tiny", [film], RunContext())
    assert str(told.value).count(".") <= str(cutter.address).count(".") + 1
    assert time.monotonic() - began < 5
    stranger = RemoteEngine(cutter.address, TOKEN, tmp_path / "new", patience_s=0.3)
    assert stranger.cards() == {}
    with pytest.raises(Unavailable, match="does not answer"):
        stranger.layers("tiny")
    for one in (later, stranger):
        one.close()


@pytest.mark.parametrize(("token", "sentence"), [("wrong", "does not accept this token"), ("", "SIGHTLINE_TOKEN")])
def test_a_wrong_token_is_refused(token: str, sentence: str, server: HeldServer, tmp_path: Path) -> None:
    for path in ("report", "model/tiny", "explain", "anything"):
        method = "POST" if path == "explain" else "GET"
        headers = {protocol.VERSION_HEADER: protocol.VERSION}
        if token:
            headers["authorization"] = f"Bearer {token}"
        assert httpx.request(method, f"{server.address}/v1/{path}", headers=headers).status_code == 401
    remote = RemoteEngine(server.address, token, tmp_path / "client", patience_s=0.3)
    assert remote.cards() == {}
    assert sentence in remote.health().message
    remote.close()


@pytest.mark.parametrize(
    ("theirs", "behind"),
    [("0.9", "The dashboard is older"), ("999.1", "The server is older"), ("", "names no version")],
)
def test_another_version_is_told_who_is_older(
    theirs: str, behind: str, server: HeldServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(server.address, TOKEN, 0.3)
    line._headers[protocol.VERSION_HEADER] = theirs
    with pytest.raises(Unavailable, match=behind):
        line.get("report")
    line.close()


def test_what_is_too_large_is_refused_on_either_side(server: HeldServer, remote: RemoteEngine) -> None:
    large = Image(np.random.default_rng(0).random((1, 1200, 1200)).astype(np.float32), "unit interval", Modality.XRAY)
    remote.health()
    with pytest.raises(DataError, match="at most 4 MB in one request") as ours:
        remote.predict("tiny", [large], RunContext())
    headers = {protocol.VERSION_HEADER: protocol.VERSION, "authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(f"{server.address}/v1/predict", headers=headers, content=bytes(6 * 2**20))
    assert answer.status_code == 413
    assert str(protocol.read_failure(answer.content)) == str(ours.value)


@pytest.mark.parametrize("body", [b"", b"no message", b"\x08\0\0\0\0\0\0\0{}      ", bytes(200)])
def test_damaged_questions_are_answered_in_one_sentence(body: bytes, server: HeldServer, remote: RemoteEngine) -> None:
    headers = {
        protocol.VERSION_HEADER: protocol.VERSION,
        "authorization": f"Bearer {TOKEN}",
        protocol.NAME_HEADER: "tiny",
        protocol.CARD_HEADER: protocol.stamp(server.engine.cards()["tiny"]),
    }
    answer = httpx.post(f"{server.address}/v1/explain", headers=headers, content=body)
    assert answer.status_code == 422
    assert isinstance(protocol.read_failure(answer.content), DataError)


def test_a_full_queue_is_told(
    server: HeldServer, remote: RemoteEngine, film: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    server.engine.fails = Busy("256 pieces of work wait for cpu already; try again in a minute.")
    with pytest.raises(Busy, match="256 pieces"):
        remote.explain(request, RunContext())
    monkeypatch.setattr(work_module, "MOST", 0)
    with pytest.raises(Busy, match="in hand already"):
        remote.explain(request, RunContext())


def test_a_storm_of_cancelled_work_leaves_the_device_free(
    plain: object, options: Options, local: LocalEngine, film: Image, tmp_path: Path
) -> None:
    remote = RemoteEngine(plain.address, TOKEN, tmp_path / "client")  # type: ignore[attr-defined]
    remote.layers("tiny")
    draw = random.Random(0)

    def storm(number: int) -> None:
        ctx = RunContext(session=str(number % 7))
        threading.Timer(draw.random() * 0.3, ctx.cancel).start()
        changed = replace(film, values=film.values + np.float32(number + 1))
        with pytest.raises(Cancelled):
            remote.explain(ExplainRequest("tiny", changed, "integrated-gradients", BETA, {"steps": 1000}), ctx)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(storm, range(50)))
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    right(remote.explain(request, RunContext()), local, request)
    wait_for(lambda: not remote.health().waiting)
    remote.close()


def test_a_client_that_goes_takes_its_work_along(server: HeldServer, film: Image, tmp_path: Path) -> None:
    gone = RemoteEngine(server.address, TOKEN, tmp_path)
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(gone.explain, request, RunContext())
        wait_for(lambda: server.engine.began == 1)
        gone.close()
        wait_for(lambda: server.engine.stopped == 1)
        with pytest.raises(Unavailable):
            asked.result(20)


def test_two_who_ask_the_same_share_the_work(server: HeldServer, remote: RemoteEngine, film: Image) -> None:
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    told: list[float] = []
    first = RunContext(on_progress=told.append)
    with ThreadPoolExecutor() as pool:
        one = pool.submit(remote.explain, request, first)
        wait_for(lambda: bool(told))
        two = pool.submit(remote.explain, request, RunContext(on_progress=told.append))
        time.sleep(0.3)
        first.cancel()  # which must not stop the other's
        with pytest.raises(Cancelled):
            one.result(20)
        server.engine.go.set()
        two.result(20)
    assert (server.engine.began, server.engine.stopped) == (1, 0)
    remote.explain(request, RunContext())
    assert server.engine.began == 1  # found in the store


def test_what_can_be_shown_arrives_while_the_work_goes_on(
    server: HeldServer, remote: RemoteEngine, film: Image
) -> None:
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    shown: list[Explanation] = []
    server.engine.previews = True
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(remote.explain, request, RunContext(on_partial=shown.append))
        wait_for(lambda: bool(shown))
        assert not asked.done()
        server.engine.go.set()
        done = asked.result(20)
    np.testing.assert_array_equal(shown[0].attribution.values, done.attribution.values)
    assert len(shown) == 1  # what has not changed is not sent again


def test_logs_hold_nothing_of_an_image(
    server: HeldServer, remote: RemoteEngine, film: Image, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.engine.fails = RuntimeError(f"what a library says of {film.values[0, 0, :4]}")
    marked = replace(film, windows=(Window("Jane Doe", 0.5, 1.0),))
    with pytest.raises(ModelError, match=r"failed unexpectedly on the server \(RuntimeError\)"):
        remote.explain(ExplainRequest("tiny", marked, "grad-cam", BETA), RunContext(session="who-reads"))
    server.engine.fails = None
    server.engine.go.set()
    remote.explain(ExplainRequest("tiny", marked, "grad-cam", BETA), RunContext(session="who-reads"))
    said = " ".join(record.getMessage() for record in caplog.records if record.name != "asyncio")
    assert "explain tiny" in said
    for secret in ("Jane", "who-reads", TOKEN, str(film.values[0, 0, 0])[:7]):
        assert secret not in said


def test_pages_ask_without_asking_the_server(
    remote: RemoteEngine, film: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    line = remote._line
    fetch, once = line.fetch, line._once
    monkeypatch.setattr(line, "fetch", lambda path, method="GET": (asked.append(path), fetch(path, method))[1])
    monkeypatch.setattr(line, "_once", lambda *given: (asked.append(given[0]), once(*given))[1])
    request = ExplainRequest("tiny", film, "grad-cam", BETA)
    began = time.monotonic()
    for _ in range(100):
        remote.key(request), remote.cards(), remote.layers("tiny"), remote.state("tiny"), remote.health()
        remote.forecast("tiny", "occlusion", {}), remote.how("tiny", "occlusion"), remote.judging_s([request])
    assert len(asked) <= 1 + (time.monotonic() - began) / 2


def test_models_added_to_the_server_are_found(server: HeldServer, remote: RemoteEngine, zoo: Path) -> None:
    later = zoo / "later"
    later.mkdir()
    try:
        (later / "card.toml").write_text((zoo / "tiny" / "card.toml").read_text().replace('"tiny"', '"later"'))
        remote.rescan()
        assert "later" in remote.cards()
    finally:
        for path in later.iterdir():
            path.unlink()
        later.rmdir()
    wait_for(lambda: "later" not in remote.cards())

"""A running app and a page of a real browser, for every test in this folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
FEW_SAMPLES = Path(__file__).parent / "apps" / "few_samples.py"
PATIENCE = 120_000  # ms; the first page waits for torch to be read from a cold disk by two busy cores
BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STREAMLIT_ARGS = [
    "--server.headless=true",
    "--server.address=127.0.0.1",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
]

expect.set_options(timeout=PATIENCE)

Serve = Callable[..., str]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"The app did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """serve(app_path, env=None) starts a Streamlit app on 127.0.0.1 (once per module and env) and returns its address.

    They end with the module: each holds torch in memory."""
    with _serving(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def few_samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the whole app with few samples and none but the shipped models, for pages that change neither."""
    cache = str(tmp_path_factory.mktemp("cache"))
    with _serving(tmp_path_factory) as start:
        yield start(FEW_SAMPLES, {"SIGHTLINE_CACHE": cache, "SIGHTLINE_DATA": cache})


@contextmanager
def _serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, subprocess.Popen[bytes]]] = {}

    def start(app: Path | str, env: Mapping[str, str] | None = None) -> str:
        known = (str(app), tuple(sorted((env or {}).items())))
        if known in running:
            return running[known][0]
        port = _free_port()
        log = tmp_path_factory.mktemp("app") / "streamlit.log"
        command = [sys.executable, "-m", "streamlit", "run", str(app), f"--server.port={port}", *STREAMLIT_ARGS]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        url = f"http://127.0.0.1:{port}"
        running[known] = (url, process)
        _wait(url, process, log)
        return url

    yield start
    for _, process in running.values():
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, from the system where it has one, else playwright's own; skips where there is neither."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        executable = found or playwright.chromium.executable_path
        if not Path(executable).exists():
            pytest.skip("no Chromium: install the system's chromium, or run 'playwright install chromium'")
        launched = playwright.chromium.launch(executable_path=executable, headless=True, args=BROWSER_ARGS)
        yield launched
        launched.close()


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """new_page(width=1440, height=900, theme="light", **context options): a page whose errors fail the test."""
    contexts = []
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        where = message.location["url"]
        # After a connection that was lost, Streamlit looks for itself below the page's path too, in vain.
        if message.type == "error" and "/_stcore/" not in where:
            errors.append(f"{message.text} ({where})")

    def make(width: int = 1440, height: int = 900, theme: str = "light", **options: object) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert not errors, "errors in the browser:\n" + "\n".join(errors)


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page of 1440 x 900 in the light theme; a console or page error fails the test."""
    return new_page()

"""The README's pictures, made from package samples, phantoms and the models' own evaluations: ``make screenshots``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images"
PORT = 8599
FILM, SKIN = "chest-film-pydicom", "phantom-skin-irregular"
SHOTS = (
    ("case-light", "", {"case": FILM}, "light"),
    ("case-dark", "", {"case": SKIN}, "dark"),
    ("trust-light", "", {"case": "phantom-chest-effusion"}, "light"),
    ("compare-light", "Compare", {"case": "phantom-chest-mass"}, "light"),
    ("models-light", "Models", {}, "light"),
    ("audit-light", "Audit", {}, "light"),
)


def main() -> None:
    """Serve the app without a data folder, and take each picture once its maps are there."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SIGHTLINE_CACHE": cache, "SIGHTLINE_DATA": cache}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={PORT}"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            _wait()
            _shoot()
        finally:
            process.terminate()
            process.wait(30)


def _wait() -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("The app did not start.")


def _shoot() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, page_name, query, theme in SHOTS:
            page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
            page.goto(f"http://127.0.0.1:{PORT}/?{urlencode(query)}")
            if page_name:
                page.get_by_role("link", name=page_name).click()
            _settle(page, page_name)
            if name == "trust-light":
                page.get_by_test_id("pane-occlusion").get_by_test_id("trust").click()
                page.locator(".st-key-trust-evidence .js-plotly-plot").wait_for(timeout=60_000)
                page.locator(".st-key-trust-evidence").scroll_into_view_if_needed()
                page.wait_for_timeout(2000)
            page.screenshot(path=OUT / f"{name}.png")
            page.close()
        browser.close()


def _settle(page: Page, page_name: str) -> None:
    if page_name == "Audit":
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=180_000)
        page.wait_for_selector("[data-testid=stStatusWidget]", state="detached", timeout=180_000)
    elif page_name != "Models":
        page.wait_for_selector("[data-testid^=pane-]", timeout=180_000)
        page.wait_for_function(
            "(least) => { const walk = (root) => [...root.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? walk(e.shadowRoot) : [])]);"
            " const panes = walk(document).filter((e) => (e.dataset?.testid ?? '').startsWith('pane-'));"
            " const list = walk(document).filter((e) => e.tagName === 'IMG' && e.naturalWidth > 0);"
            " const lines = walk(document).filter((e) => e.dataset?.testid === 'trust' && !e.hidden);"
            " return list.length >= least && panes.length > 1 && panes.every((e) => e.dataset.status === 'ready')"
            " && lines.every((e) => /passed$/.test(e.textContent)); }",
            arg=0 if page_name else 8,
            timeout=180_000,
        )
    page.wait_for_timeout(3000)


if __name__ == "__main__":
    main()

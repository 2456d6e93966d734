"""What a reader of a large volume waits for on the screen: ``python -m benchmarks.volume_screen``.

Opens 512 x 512 x 300 values of int16 with one mask and one map in a headless Chromium (drawn by the processor, no
graphics card): the time until there is a picture and until it is sharp, frames while scrolling each plane at one
slice a frame, bytes sent, and memory of the browser after scrolling through everything.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import typer
from playwright.sync_api import Browser, CDPSession, Locator, Page, sync_playwright

ROOT = Path(__file__).parents[1]
APP = Path(__file__).parent / "apps" / "volume_screen_app.py"
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

# Records when the viewer is there, has drawn, and is sharp, by looking at every frame.
WATCH = """() => {
    const found = {};
    const find = (root) => {
        for (const node of root.querySelectorAll("*")) {
            if (node.dataset?.testid === "volume-viewer") return node;
            const inner = node.shadowRoot && find(node.shadowRoot);
            if (inner) return inner;
        }
        return null;
    };
    let viewer = null;
    const look = () => {
        viewer = viewer?.isConnected ? viewer : find(document);
        if (viewer) {
            found.mounted ??= performance.now();
            if (Number(viewer.dataset.draws) > 0) found.picture ??= performance.now();
            if (viewer.dataset.ready === "true") found.ready ??= performance.now();
            if (viewer.dataset.sharp === "true" && found.ready) found.sharp ??= performance.now();
        }
        window.marks = found;
        requestAnimationFrame(look);
    };
    look();
}"""

SCROLL = """(viewer, [plane, turns]) => new Promise((done) => {
    const stage = viewer.querySelector(`[data-plane="${plane}"] .stage`);
    const [times, draws] = [[], []];
    let direction = 1;
    let sharp = 0;
    const turn = (now) => {
        times.push(now);
        if (times.length > 1) {
            draws.push(Number(viewer.dataset.drawMs));
            sharp += viewer.querySelector(`[data-plane="${plane}"]`).dataset.sharp === "true";
        }
        if (times.length > turns) {
            const gaps = times.slice(1).map((time, index) => time - times[index]);
            done({ gaps, draws, sharp: sharp / draws.length });
            return;
        }
        const { index } = viewer.querySelector(`[data-plane="${plane}"]`).dataset;
        if (Number(index) <= 0) direction = 1;
        if (Number(index) >= Number(stage.parentElement.querySelector(".scrubber").max)) direction = -1;
        stage.dispatchEvent(new WheelEvent("wheel", { deltaY: 100 * direction, cancelable: true, bubbles: true }));
        requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
})"""


class Processes:
    """What the browser's processes use, by the browser's own account."""

    def __init__(self, browser: Browser) -> None:
        self.session = browser.new_browser_cdp_session()

    def processor_seconds(self) -> float:
        return sum(process["cpuTime"] for process in self.session.send("SystemInfo.getProcessInfo")["processInfo"])

    def page_megabytes(self) -> float:
        """Resident memory of the largest process that draws pages."""
        sizes = [0.0]
        for process in self.session.send("SystemInfo.getProcessInfo")["processInfo"]:
            if process["type"] == "renderer":
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process['id']}/status").read_text())
                sizes.append(int(found[1]) / 1024 if found else 0.0)
        return max(sizes)


def heap_megabytes(session: CDPSession) -> tuple[float, float]:
    """JavaScript objects, and the arrays behind them, after collecting garbage."""
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return usage["usedSize"] / 1e6, usage.get("backingStorageSize", float("nan")) / 1e6


def report(name: str, value: str) -> None:
    print(f"{name:52}{value:>28}", flush=True)


def scroll(viewer: Locator, processes: Processes, plane: str, turns: int, label: str) -> None:
    before = processes.processor_seconds()
    result: dict[str, Any] = viewer.evaluate(SCROLL, [plane, turns])
    used = 1000 * (processes.processor_seconds() - before) / turns
    gaps, draws = np.array(result["gaps"]), np.array(result["draws"])
    frame = f"{np.percentile(gaps, 50):.0f} / {np.percentile(gaps, 95):.0f} / {1000 / gaps.mean():.0f} a second"
    report(f"{label}: frame ms p50 / p95 / rate", frame)
    drawn = f"{np.percentile(draws, 50):.1f} / {np.percentile(draws, 95):.1f} / {100 * result['sharp']:.0f} %"
    report(f"{'':{len(label)}}  drawing ms p50 / p95 / sharp", drawn)
    report(f"{'':{len(label)}}  processor ms a frame, all of the browser", f"{used:.0f}")


def received(viewer: Locator) -> float:
    return int(viewer.get_attribute("data-received-bytes") or 0) / 1e6


def until_sharp(viewer: Locator) -> float:
    began = time.perf_counter()
    viewer.evaluate(
        """(viewer) => new Promise((done) => {
            const look = () => (viewer.dataset.sharp === "true" ? done() : setTimeout(look, 5));
            look();
        })"""
    )
    return time.perf_counter() - began


def measure(opened: Page, browser: Browser, url: str) -> None:
    session = opened.context.new_cdp_session(opened)
    processes = Processes(browser)
    opened.add_init_script(f"({WATCH})()")
    for name in ("first visit", "second visit"):
        opened.goto(url)
        opened.wait_for_function("() => window.marks?.sharp", timeout=120_000)
        marks: dict[str, float] = opened.evaluate("() => window.marks")
        report(f"{name}: ms from navigation to the viewer's frame", f"{marks['mounted']:.0f}")
        for step in ("picture", "ready", "sharp"):
            report(f"{'':{len(name)}}  ms from there to {step}", f"{marks[step] - marks['mounted']:.0f}")
        viewer = opened.get_by_test_id("volume-viewer")
        report(f"{'':{len(name)}}  megabytes received", f"{received(viewer):.0f}")
        report(f"{'':{len(name)}}  packing and mounting", opened.get_by_text("Python:").text_content() or "")
    for plane, turns in (("axial", 280), ("coronal", 280), ("sagittal", 280)):
        before = received(viewer)
        scroll(viewer, processes, plane, turns, f"scroll {plane}")
        report("  seconds at rest until sharp", f"{until_sharp(viewer):.2f}")
        report("  megabytes received", f"{received(viewer) - before:.0f}")
    viewer.get_by_test_id("control-slab").select_option("10")
    scroll(viewer, processes, "axial", 120, "scroll axial, 10 mm maximum")
    viewer.get_by_test_id("control-slab").select_option("whole")
    report("whole volume maximum, seconds until sharp", f"{until_sharp(viewer):.2f}")
    time.sleep(1)
    objects, arrays = heap_megabytes(session)
    report("JavaScript objects / arrays, megabytes", f"{objects:.0f} / {arrays:.0f}")
    report("full-size planes held, megabytes", f"{int(viewer.get_attribute('data-held-bytes') or 0) / 1e6:.0f}")
    report("page process, resident megabytes", f"{processes.page_megabytes():.0f}")


def serve(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "streamlit", "run", str(APP), f"--server.port={port}", "--server.headless=true"]
    command += ["--server.address=127.0.0.1", "--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
            break
        except OSError:
            time.sleep(0.2)
    return process


def main(chromium: str = "/usr/bin/chromium") -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = serve(port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(ARGS))
            opened = browser.new_page(viewport={"width": 1440, "height": 900})
            measure(opened, browser, f"http://127.0.0.1:{port}")
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=10)


if __name__ == "__main__":
    typer.run(main)

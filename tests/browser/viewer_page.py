"""Where things are on the viewer's page, worked out here from the layout it promises."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

APP = Path(__file__).parent / "apps" / "viewer_app.py"
WIDTH, HEIGHT = 320, 160  # of the ramp; its pixels are twice as tall as wide

Serve = Callable[..., str]


def open_scene(page: Page, serve: Serve, scene: str = "ramp", query: str = "") -> Locator:
    page.goto(f"{serve(APP)}/?scene={scene}{query}")
    viewer = page.get_by_test_id("viewer")
    expect(viewer).to_have_attribute("data-ready", "true", timeout=30_000)
    settle(page)
    return viewer


def settle(page: Page) -> None:
    """Until the app is idle and the browser has drawn."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def stage(page: Page, pane: str) -> Locator:
    return page.get_by_test_id(f"pane-{pane}").locator("canvas").first


def at_fit(
    page: Page, pane: str, column: float, row: float, size: tuple[int, int], aspect: float = 1.0
) -> tuple[float, float]:
    """Where an image position lies on the stage in CSS pixels when the whole image is shown: centred, largest fit.

    (column, row) with integers at pixel centres; ``aspect`` is the height of a pixel over its width.
    """
    box = stage(page, pane).bounding_box()
    assert box is not None
    scale = min(box["width"] / size[0], box["height"] / (size[1] * aspect))
    left = (box["width"] - size[0] * scale) / 2
    top = (box["height"] - size[1] * aspect * scale) / 2
    return left + (column + 0.5) * scale, top + (row + 0.5) * aspect * scale


def colour(page: Page, pane: str, x: float, y: float) -> list[int]:
    """RGB drawn at a CSS position of a stage."""
    drawn: list[int] = stage(page, pane).evaluate(
        """(canvas, [x, y]) => {
            const ratio = canvas.width / canvas.clientWidth;
            const pixel = canvas.getContext("2d").getImageData(Math.floor(x * ratio), Math.floor(y * ratio), 1, 1);
            return [...pixel.data].slice(0, 3);
        }""",
        [x, y],
    )
    return drawn


def hover(page: Page, pane: str, place: tuple[float, float]) -> None:
    box = stage(page, pane).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])


def readout(page: Page, name: str) -> str:
    return (page.get_by_test_id(f"readout-{name}").text_content() or "").replace("−", "-")


def number(viewer: Locator, name: str) -> float:
    return float(viewer.get_attribute(f"data-{name}") or "nan")


def runs(page: Page) -> int:
    found = re.search(r"runs=(\d+)", page.get_by_text("runs=").text_content() or "")
    assert found
    return int(found[1])


def hounsfield(column: int, row: int) -> int:
    return 2 * column + 5 * row - 1000


def pointed(page: Page) -> tuple[int, int]:
    found = re.match(r"x (\d+) y (\d+)", readout(page, "position"))
    assert found, readout(page, "position")
    return int(found[1]), int(found[2])

"""What a doctor does on the Quantify and Volume pages, in a real browser: real work on small scans."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import tomli_w
from playwright.sync_api import Locator, Page, expect
from safetensors.torch import save_file

from models.weights import sha256_of
from tests.browser.viewer_page import settle
from tests.conftest import card_fields, liven
from tests.dashboard.quantify.thorax import grid

pytestmark = pytest.mark.browser

APP = Path(__file__).parent / "apps" / "volumes_app.py"
READY = 60_000  # ms; two slow cores may be busy
SETTLED = 700  # ms after which the viewer has told where the reader is
HEADER, ROW = 35, 35  # CSS pixels of a table


@pytest.fixture(scope="module")
def address(serve, tmp_path_factory: pytest.TempPathFactory) -> str:  # type: ignore[no-untyped-def]
    zoo, cache = tmp_path_factory.mktemp("zoo"), tmp_path_factory.mktemp("cache")
    folder = zoo / "nodule"
    folder.mkdir()
    weights = folder / "weights.safetensors"
    save_file(liven(timm.create_model("mobilenetv3_small_050", num_classes=1)).state_dict(), weights)
    size = {"height": 48, "width": 48, "fit": "spacing", "spacing_mm": 1.0, "slices": 3, "modality": ["ct"]}
    size |= {"window": {"center": -600, "width": 1500}}
    fields = card_fields(id="nodule", title="Nodule", task="binary", classes=["Malignant"], input=size)
    (folder / "card.toml").write_text(
        tomli_w.dumps(fields | {"weights": {"file": weights.name, "sha256": sha256_of(weights)}})
    )
    environment = {"SIGHTLINE_CACHE": str(cache), "SIGHTLINE_DATA": str(cache), "SIGHTLINE_MODELS": str(zoo)}
    return str(serve(APP, environment))


def place(viewer: Locator) -> tuple[int, ...]:
    return tuple(int(part) for part in (viewer.get_attribute("data-at") or "").split())


def test_a_scan_is_measured_and_compared_with_the_earlier_one(page: Page, address: str) -> None:
    page.goto(f"{address}/?case=upload-00000000000a")
    page.get_by_role("button", name="Measure").click(timeout=READY)
    expect(page.locator("p", has_text="Since the earlier scan: 1 new, 1 grown.")).to_be_visible(timeout=READY)
    expect(page.get_by_test_id("stMetricValue").first).to_have_text("2")
    earlier, now = (page.get_by_test_id("volume-viewer").nth(number) for number in range(2))
    for viewer in (earlier, now):
        expect(viewer).to_have_attribute("data-ready", "true", timeout=READY)
    settle(page)
    before = place(now)
    stage = earlier.get_by_test_id("plane-axial").locator(".stage")
    box = stage.bounding_box()
    assert box is not None
    stage.click(position={"x": 0.6 * box["width"], "y": 0.4 * box["height"]})
    expect(earlier).not_to_have_attribute("data-at", " ".join(map(str, before)))
    expect(now).to_have_attribute("data-at", earlier.get_attribute("data-at") or "")
    settle(page)
    table = page.get_by_test_id("stDataFrame").first
    expect(table.locator("tr").nth(2)).to_contain_text("new")
    table.click(position={"x": 15, "y": HEADER + 1.5 * ROW})  # the second lesion
    affine, _ = grid((5, 5, 8))
    drawn = np.linalg.solve(affine, [76, 30, 24, 1])[:3].round().astype(int)
    for viewer in (earlier, now):
        expect(viewer).to_have_attribute("data-at", re.compile(rf"^{drawn[0]} {drawn[1]} {drawn[2]}$"))
    settle(page)


def test_a_volume_is_explained_and_a_slice_opened_on_the_case_page(page: Page, address: str) -> None:
    page.goto(f"{address}/?case=upload-00000000000c&model=nodule")
    start = page.get_by_role("button", name="Explain the volume")
    expect(start).to_be_enabled(timeout=READY)
    viewer = page.get_by_test_id("volume-viewer")
    expect(viewer).to_have_attribute("data-ready", "true", timeout=READY)
    middle = place(viewer)
    start.click()
    expect(page.get_by_text("7 slices explained.", exact=True)).to_be_visible(timeout=READY)
    for name in ("score", "mass"):
        chart = page.get_by_test_id(f"strip-{name}").get_by_role("img")
        expect(chart).to_have_attribute("aria-label", re.compile("of 7 of 7 slices"))
    said = page.get_by_text("the highest score is").text_content() or ""
    highest = re.search(r"on slice (\d+)", said)
    assert highest, said
    settle(page)
    slice_number = int(highest[1])
    if slice_number - 1 == middle[2]:  # else there would be nowhere to go
        viewer.get_by_test_id("plane-axial").locator(".stage").hover()
        page.mouse.wheel(0, 100)
        settle(page)
        assert place(viewer) != middle
    page.get_by_role("button", name="Go to the highest: Malignant").click()
    expect(viewer).to_have_attribute("data-at", f"{middle[0]} {middle[1]} {slice_number - 1}")
    page.wait_for_timeout(SETTLED)
    settle(page)
    page.get_by_role("button", name="Open this slice on the Case page").click()
    # The address leaves out the slice on which a volume opens anyway.
    said_slice = "(?!.*slice=)" if slice_number - 1 == middle[2] else rf"(?=.*slice={slice_number}\b)"
    expect(page).to_have_url(re.compile(rf"/one\?{said_slice}"), timeout=READY)
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-ready", "true", timeout=READY)
    settle(page)

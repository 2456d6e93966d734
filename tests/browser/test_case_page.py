"""What a doctor does on the Case page, in a real browser, on a real chest film."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pydicom
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, WebSocket, expect
from pydicom.data import get_testdata_file

pytestmark = pytest.mark.browser

FILM = Path(str(get_testdata_file("RG1_UNCI.dcm", download=False)))  # pydicom-data's chest film
READY = 120_000  # ms; two slow cores may be busy
METHODS = ("grad-cam", "integrated-gradients", "occlusion")


@pytest.fixture
def address(few_samples: str) -> str:
    return few_samples


def pane(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.get_by_test_id(f"pane-{name}")


def all_ready(page: Page) -> None:
    for method in METHODS:
        expect(pane(page, method)).to_have_attribute("data-status", "ready", timeout=READY)
    expect(page.get_by_test_id("viewer")).to_have_attribute("data-ready", "true", timeout=READY)


def upload(page: Page) -> None:
    page.locator("input[type=file]").set_input_files(FILM)
    expect(page).to_have_url(re.compile("case=upload-"), timeout=READY)
    all_ready(page)


def attribute(page: Page, name: str) -> str:
    return page.get_by_test_id("viewer").get_attribute(f"data-{name}") or ""


def test_an_uploaded_film_is_explained_and_read_right(page: Page, address: str) -> None:
    page.goto(address)
    upload(page)
    # A finding is chosen in the table: the maps follow it, the address names it.
    page.get_by_role("radio", name="Cardiomegaly").click()
    expect(page).to_have_url(re.compile("finding=Cardiomegaly"), timeout=READY)
    all_ready(page)
    # The readout is right at a known pixel.
    canvas = pane(page, "image").locator("canvas").first
    for _ in range(10):  # the page may still be settling under the mouse
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
        page.wait_for_timeout(500)
        cells = ("position", "image", *METHODS)
        if all(re.search(r"\d", page.get_by_test_id(f"readout-{cell}").inner_text()) for cell in cells):
            break
    position = page.get_by_test_id("readout-position").inner_text()
    found = [int(number) for number in re.findall(r"\d+", position)[:2]]
    shown = page.get_by_test_id("readout-image").inner_text()
    stored = pydicom.dcmread(FILM).pixel_array[found[1], found[0]]
    assert int(re.sub(r"\D", "", shown)) == int(stored)
    for method in METHODS:
        expect(page.get_by_test_id(f"readout-{method}")).to_contain_text(re.compile(r"\d"))


def test_dragging_opacity_and_window_sends_nothing(page: Page, address: str) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: _count(socket, sent))
    page.goto(address)
    upload(page)
    _quiet(page, sent)
    before, draws = len(sent), int(attribute(page, "draws"))
    for control in ("control-opacity", "control-window", "control-level"):
        slider = page.get_by_test_id(control)
        box = slider.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
        page.mouse.down()
        for step in range(12):
            page.mouse.move(box["x"] + box["width"] * step / 12, box["y"] + box["height"] / 2)
        page.mouse.up()
    page.wait_for_timeout(500)
    assert int(attribute(page, "draws")) > draws + 10
    assert len(sent) == before


def _quiet(page: Page, sent: list[object]) -> None:
    """Until nothing was sent for five seconds: the worklist asks every two while it is being filled."""
    at_rest, before = 0, len(sent)
    for _ in range(120):
        page.wait_for_timeout(1000)
        at_rest, before = (at_rest + 1 if len(sent) == before else 0), len(sent)
        if at_rest == 5:
            return
    pytest.fail("the page never came to rest")


def _count(socket: WebSocket, sent: list[object]) -> None:
    socket.on("framesent", lambda frame: sent.append(frame))


def test_zoom_survives_another_finding(page: Page, address: str) -> None:
    page.goto(address)
    upload(page)
    box = pane(page, "image").locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(200)
    zoom = float(attribute(page, "zoom"))
    assert zoom > 1.1
    page.get_by_role("radio", name="Hernia").click()
    expect(page).to_have_url(re.compile("finding=Hernia"), timeout=READY)
    all_ready(page)
    assert float(attribute(page, "zoom")) == zoom


def test_an_occlusion_is_stopped_half_way_and_run_again(page: Page, address: str) -> None:
    page.goto(address)
    upload(page)
    page.get_by_role("tab", name="Method settings").click()
    stride = page.get_by_role("spinbutton", name=re.compile("stride", re.IGNORECASE))
    stride.fill("2")
    stride.press("Enter")
    occlusion = pane(page, "occlusion")
    expect(occlusion).to_have_attribute("data-status", "running", timeout=READY)
    expect(occlusion).to_contain_text(re.compile(r"[1-9]\d? ?%"), timeout=READY)
    occlusion.get_by_role("button", name="Cancel").click()
    expect(occlusion).to_have_attribute("data-status", "cancelled", timeout=READY)
    for other in ("grad-cam", "integrated-gradients"):
        expect(pane(page, other)).to_have_attribute("data-status", "ready")
    stride.fill("32")
    stride.press("Enter")
    expect(occlusion).to_have_attribute("data-status", "ready", timeout=READY)


def test_a_reload_finds_view_and_results_again(page: Page, address: str) -> None:
    page.goto(address)
    expect(page).to_have_url(re.compile("case=.*finding="), timeout=READY)
    all_ready(page)
    page.get_by_role("radio", name="Edema").click()
    expect(page).to_have_url(re.compile("finding=Edema"), timeout=READY)
    all_ready(page)
    page.reload()
    for method in METHODS:  # at once: nothing is computed again
        expect(pane(page, method)).to_have_attribute("data-status", "ready", timeout=20_000)
    expect(page.get_by_role("radio", name="Edema")).to_be_checked()


def test_a_bad_file_is_one_sentence_and_loses_nothing(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(address)
    all_ready(page)
    bad = tmp_path / "notes.dcm"
    bad.write_text("not an image")
    page.locator("input[type=file]").set_input_files(bad)
    expect(page.get_by_role("alert").filter(has_text="notes.dcm")).to_be_visible(timeout=READY)
    all_ready(page)


def test_keyboard_pages_cases(page: Page, address: str) -> None:
    page.goto(address)
    all_ready(page)
    first = page.url
    pane(page, "image").hover()
    page.keyboard.press("ArrowRight")
    expect(page).not_to_have_url(first, timeout=READY)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(new_page, address: str, theme: str) -> None:  # type: ignore[no-untyped-def]
    page = new_page(theme=theme)
    page.goto(address)
    all_ready(page)
    page.wait_for_timeout(500)
    found = [issue for issue in Axe().run(page).response["violations"] if issue["impact"] in ("serious", "critical")]
    assert not found, json.dumps([(issue["id"], [node["target"] for node in issue["nodes"]][:3]) for issue in found])


def test_nothing_is_asked_of_another_host(page: Page, address: str) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(re.sub(r"^(\w+://[^/:]+).*", r"\1", request.url)))
    page.goto(address)
    for name in ("Compare", "Audit", "Models", "Case"):
        page.get_by_role("link", name=name).click()
        page.wait_for_timeout(2000)
    assert {host for host in hosts if not host.startswith(("data:", "blob:"))} == {"http://127.0.0.1"}


def test_the_compare_page_subtracts_scores(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_test_id("pane-0-grad-cam")).to_have_attribute("data-status", "ready", timeout=READY)
    expect(page.get_by_test_id("pane-1-grad-cam")).to_have_attribute("data-status", "ready", timeout=READY)
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    first, second = page.get_by_test_id("viewer").all()
    canvas = first.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.wheel(0, -400)
    expect(first).not_to_have_attribute("data-zoom", "1.0000")
    expect(second).to_have_attribute("data-zoom", first.get_attribute("data-zoom") or "")
    for viewer in (first, second):  # the cursor of one is the cursor of both
        expect(viewer.get_by_test_id("readout-position")).to_contain_text(re.compile(r"\d"))

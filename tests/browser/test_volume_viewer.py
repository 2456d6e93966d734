"""The volume viewer in a real browser, against values and places planted in the phantoms of ``apps/volume_app.py``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.viewer_page import number, readout, runs, settle

APP = Path(__file__).parent / "apps" / "volume_app.py"
HELD = 6e6
SIZE = (96, 80, 40)
SPACING = (0.8, 1.0, 2.0)
PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}  # index axes across and down
BLOCK = ((24, 36), (40, 50), (10, 15))  # columns, rows, slices: first and one past the last
TISSUE, LESION = 200, 900

Serve = Callable[..., str]


def open_volume(page: Page, serve: Serve, query: str = "scene=small") -> Locator:
    page.goto(f"{serve(APP)}/?{query}")
    viewer = page.get_by_test_id("volume-viewer").last
    expect(viewer).to_have_attribute("data-ready", "true", timeout=30_000)
    expect(viewer).to_have_attribute("data-sharp", "true", timeout=30_000)
    settle(page)
    return viewer


def stage(page: Page, plane: str) -> Locator:
    return page.get_by_test_id(f"plane-{plane}").last.locator(".stage")


def spot(page: Page, plane: str, across: float, down: float) -> tuple[float, float]:
    """Where a place of the small phantom lies on a stage (CSS pixels) while all is shown; whole numbers are centres.

    The phantom's columns, rows and slices run to the left, back and foot of the patient, so no picture is turned.
    """
    box = stage(page, plane).bounding_box()
    assert box is not None
    a, d = PLANES[plane]
    width, height = SIZE[a] * SPACING[a], SIZE[d] * SPACING[d]
    scale = min(box["width"] / width, box["height"] / height)
    left, top = (box["width"] - width * scale) / 2, (box["height"] - height * scale) / 2
    return left + (across + 0.5) * SPACING[a] * scale, top + (down + 0.5) * SPACING[d] * scale


def colour(page: Page, plane: str, across: float, down: float) -> list[int]:
    drawn: list[int] = (
        stage(page, plane)
        .locator("canvas")
        .evaluate(
            """(canvas, [x, y]) => {
                const ratio = canvas.width / canvas.clientWidth;
                const pixel = canvas.getContext("2d").getImageData(Math.floor(x * ratio), Math.floor(y * ratio), 1, 1);
                return [...pixel.data].slice(0, 3);
            }""",
            list(spot(page, plane, across, down)),
        )
    )
    return drawn


def click(page: Page, plane: str, across: float, down: float) -> None:
    x, y = spot(page, plane, across, down)
    stage(page, plane).click(position={"x": x, "y": y})
    settle(page)


def scroll(page: Page, plane: str, notches: int) -> None:
    stage(page, plane).hover()
    for _ in range(abs(notches)):
        page.mouse.wheel(0, 100 if notches > 0 else -100)
    settle(page)


def place(viewer: Locator) -> tuple[int, ...]:
    return tuple(int(part) for part in (viewer.get_attribute("data-at") or "").split())


def index(page: Page, plane: str) -> int:
    return int(page.get_by_test_id(f"plane-{plane}").last.get_attribute("data-index") or -1)


def cross(page: Page, plane: str) -> tuple[float, float]:
    moved = stage(page, plane).locator(".crosshair").evaluate("(node) => node.style.transform")
    x, y = re.findall(r"([\d.]+)px", moved)
    return float(x), float(y)


def test_a_click_reads_its_place_and_moves_all_planes(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve)
    assert place(viewer) == tuple(length // 2 for length in SIZE)
    click(page, "axial", 30, 45)
    assert place(viewer) == (30, 45, 20)
    assert [index(page, plane) for plane in PLANES] == [20, 45, 30]
    assert readout(page, "image") == f"{TISSUE + 3 * 20} HU"
    assert readout(page, "inside") == "–"
    click(page, "sagittal", 46, 12)
    assert place(viewer) == (30, 46, 12)
    assert readout(page, "position") == "x 30 y 46 slice 13/40"
    # x = -38.4 + 0.8 * 30, y = -40 + 46, z = 100 - 2 * 12; negative x is the patient's right.
    assert readout(page, "world") == "R 14.4 P 6.0 S 76.0 mm"
    assert readout(page, "image") == f"{LESION} HU"
    assert readout(page, "map") == "1.00 logit"
    assert readout(page, "inside") == "Lesion"
    for plane, (across, down) in PLANES.items():
        at = (30, 46, 12)
        assert cross(page, plane) == pytest.approx(spot(page, plane, at[across], at[down]), abs=0.6)
    expect(viewer).to_have_attribute("data-told", "30 46 12")
    settle(page)
    assert runs(page) == 1, "looking about never reruns the page"
    page.get_by_role("button", name="Jump").click()
    expect(page.get_by_text("runs=2 at=(32, 26, 13)")).to_be_visible()
    settle(page)
    assert place(viewer) == (32, 26, 13), "Python may send the reader to a place"


def test_a_page_that_passes_back_what_it_was_told_does_not_throw_the_reader_back(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve, "echo=1")
    for run, down in enumerate((45, 50, 55), 2):
        click(page, "axial", 30, down)
        expect(viewer).to_have_attribute("data-told", f"30 {down} 20")
        page.get_by_role("button", name="Again").click()
        expect(page.get_by_text(f"runs={run} at=(30, {down}, 20)")).to_be_visible()
        settle(page)
        assert place(viewer) == (30, down, 20)


def test_wheel_keys_and_sliders_scroll_in_the_browser(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve)
    scroll(page, "axial", 3)
    assert place(viewer) == (48, 40, 23)
    scroll(page, "coronal", -2)
    assert place(viewer) == (48, 38, 23)
    stage(page, "sagittal").focus()
    for key, column in (("ArrowDown", 49), ("PageUp", 39), ("End", 95), ("Home", 0), ("ArrowUp", 0)):
        page.keyboard.press(key)
        assert place(viewer) != ()
        settle(page)
        assert place(viewer)[0] == column
    page.get_by_test_id("control-slice-axial").press("ArrowRight")
    settle(page)
    assert place(viewer) == (0, 38, 24)
    page.keyboard.press("x")
    stage(page, "axial").press("+")
    settle(page)
    assert number(viewer, "zoom") == pytest.approx(1.25)
    stage(page, "coronal").dblclick()
    expect(page.get_by_test_id("plane-axial")).to_be_hidden()
    stage(page, "coronal").press("Escape")
    expect(page.get_by_test_id("plane-axial")).to_be_visible()
    assert runs(page) == 1


def test_windows_and_slabs_show_the_right_grey(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve)
    for name in ("lesion", "map"):
        page.get_by_test_id(f"control-show-{name}").uncheck()

    def grey(value: float, low: float, high: float) -> list[float]:
        return [255 * min(1.0, max(0.0, (value - low) / (high - low)))] * 3

    assert page.get_by_test_id("control-preset").locator("option").all_text_contents() == [
        "lung",
        "mediastinum",
        "bone",
        "brain",
    ]
    for preset, low, high in (("3", 0, 80), ("1", -160, 240), ("2", -500, 1300)):
        page.get_by_test_id("control-preset").select_option(preset)
        settle(page)
        assert colour(page, "axial", 60, 20) == pytest.approx(grey(260, low, high), abs=2)
        assert colour(page, "axial", 2, 20) == pytest.approx(grey(-1000, low, high), abs=2)
    # From slice 20 the block (slices 10 to 14) is 10 mm and more away.
    inside = (30, 45)
    assert colour(page, "axial", *inside) == pytest.approx(grey(260, -500, 1300), abs=2)
    page.get_by_test_id("control-slab").select_option("10")
    settle(page)
    assert colour(page, "axial", *inside) == pytest.approx(grey(TISSUE + 3 * 22, -500, 1300), abs=2)
    page.get_by_test_id("control-slab").select_option("whole")
    settle(page)
    assert colour(page, "axial", *inside) == pytest.approx(grey(LESION, -500, 1300), abs=2)
    assert colour(page, "coronal", 30, 12) == pytest.approx(grey(LESION, -500, 1300), abs=2)
    page.get_by_test_id("control-project").select_option("min")
    settle(page)
    assert colour(page, "axial", *inside) == pytest.approx(grey(TISSUE, -500, 1300), abs=2)
    before = number(viewer, "window")
    box = stage(page, "axial").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 110, box["y"] + 50)
    page.mouse.up(button="right")
    settle(page)
    assert number(viewer, "window") > before
    assert runs(page) == 1


def test_outlines_and_maps_lie_on_the_block_in_every_plane(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve)
    page.get_by_test_id("control-preset").select_option("2")
    click(page, "axial", 80, 70)  # away, so that the crosshair covers nothing
    scroll(page, "axial", -8)
    scroll(page, "coronal", -25)
    scroll(page, "sagittal", -50)
    assert place(viewer) == (30, 45, 12)

    def cyan(plane: str, across: float, down: float) -> bool:
        red, green, blue = colour(page, plane, across, down)
        return blue > 190 and green > 170 and red < 140

    page.get_by_test_id("control-show-map").uncheck()
    settle(page)
    for plane, axes in PLANES.items():
        (left, right), (top, bottom) = (BLOCK[axis] for axis in axes)
        middle = ((left + right - 1) / 2, (top + bottom - 1) / 2)
        for edge in (
            (left - 0.5, middle[1]),
            (right - 0.5, middle[1]),
            (middle[0], top - 0.5),
            (middle[0], bottom - 0.5),
        ):
            assert cyan(plane, *edge), (plane, edge)
        assert not cyan(plane, *middle)
        assert not cyan(plane, left - 4, middle[1])
    page.get_by_test_id("control-show-map").check()
    page.get_by_test_id("control-opacity").fill("100")
    settle(page)
    for plane, axes in PLANES.items():
        middle = ((sum(BLOCK[axes[0]]) - 1) / 2, (sum(BLOCK[axes[1]]) - 1) / 2)
        assert colour(page, plane, *middle)[2] < colour(page, plane, *middle)[0], "the warm end of the colours"
    page.get_by_test_id("control-style").select_option("contour")
    settle(page)
    for plane, axes in PLANES.items():
        middle = ((sum(BLOCK[axes[0]]) - 1) / 2, (sum(BLOCK[axes[1]]) - 1) / 2)
        assert len(set(colour(page, plane, *middle))) == 1, "lines leave the image between them as it is"


def test_strips_jump(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve)
    page.get_by_test_id("control-highest").click()
    settle(page)
    assert place(viewer)[2] == 30
    expect(page.get_by_test_id("strip-score")).to_contain_text("0.900")
    chart = page.get_by_test_id("strip-score").locator(".strip-chart")
    box = chart.bounding_box()
    assert box is not None
    chart.click(position={"x": box["width"] * 5.5 / SIZE[2], "y": 10})
    settle(page)
    assert place(viewer)[2] == 5
    chart.click(position={"x": 1, "y": 10})
    expect(page.get_by_test_id("strip-score")).to_contain_text("–")
    assert runs(page) == 1


def test_full_size_planes_come_when_looked_at_and_are_let_go(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve, "scene=large")
    assert readout(page, "image") == f"{TISSUE + 3 * 40} HU"
    scrubbers = {plane: page.get_by_test_id(f"control-slice-{plane}") for plane in PLANES}
    axial = page.get_by_test_id("plane-axial")
    axial.evaluate(
        """(plane) => {
            window.seen = []
            const look = () => window.seen.push([plane.dataset.index, plane.dataset.sharp, plane.textContent])
            new MutationObserver(look).observe(plane, {attributes: true, childList: true, subtree: true, characterData: true})
        }"""
    )
    scrubbers["axial"].fill("75")
    page.wait_for_function(
        "seen.some(([at, sharp, text]) => at === '75' && sharp === 'false' && text.includes('preview'))"
    )
    expect(axial).to_have_attribute("data-sharp", "true")
    assert "preview" not in (axial.text_content() or "")
    assert readout(page, "image") == f"{TISSUE + 3 * 75} HU"
    for plane, count, run in (("axial", 80, 5), ("coronal", 160, 10), ("sagittal", 192, 12)):
        for at in range(0, count, 2 * run):
            scrubbers[plane].fill(str(at))
            expect(page.get_by_test_id(f"plane-{plane}")).to_have_attribute("data-index", str(at))
            expect(viewer).to_have_attribute("data-sharp", "true")
            assert number(viewer, "held-bytes") <= HELD
    assert number(viewer, "received-bytes") > HELD + 1e6
    assert number(viewer, "held-bytes") > HELD / 2
    # What was let go comes again.
    scrubbers["axial"].fill("10")
    expect(page.get_by_test_id("readout-image")).not_to_contain_text("preview")
    expect(viewer).to_have_attribute("data-sharp", "true")
    assert runs(page) == 1


def test_viewers_of_a_group_follow_each_other(page: Page, serve: Serve) -> None:
    viewer = open_volume(page, serve, "scene=small&pair")
    other = page.get_by_test_id("volume-viewer").first
    expect(other).to_contain_text("Prior")
    click(page, "axial", 30, 45)
    viewer.get_by_test_id("control-slab").select_option("10")
    viewer.get_by_test_id("control-preset").select_option("1")
    stage(page, "axial").press("+")
    settle(page)
    for fact in ("at", "zoom", "slab", "window", "level"):
        assert other.get_attribute(f"data-{fact}") == viewer.get_attribute(f"data-{fact}"), fact


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 700)])
def test_nothing_serious_for_axe(new_page: Callable[..., Page], serve: Serve, theme: str, width: int) -> None:
    page = new_page(width=width, theme=theme)
    open_volume(page, serve)
    page.get_by_test_id("control-help").click()
    report = Axe().run(page, context=".st-key-volume")
    assert [f"{item['id']}: {item['help']}" for item in report.response["violations"]] == []
    box = page.get_by_test_id("volume-viewer").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width

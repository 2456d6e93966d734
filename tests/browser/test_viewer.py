"""The viewer in a real browser, against values and places planted in the images of ``apps/viewer_app.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, WebSocket, expect

from tests.browser.viewer_page import (
    HEIGHT,
    WIDTH,
    Serve,
    at_fit,
    colour,
    hounsfield,
    hover,
    number,
    open_scene,
    pointed,
    readout,
    runs,
    settle,
    stage,
)


def test_readout_is_exact_and_pixels_keep_their_shape(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve)
    # Enlarged, so that one pixel of the image is wider than one of the screen: a mouse moves in whole ones.
    stage(page, "hills").dblclick()
    expect(page.get_by_test_id("pane-image")).to_be_hidden()
    settle(page)
    for column, row in ((0, 0), (319, 159), (100, 40), (90, 80)):
        hover(page, "hills", at_fit(page, "hills", column, row, (WIDTH, HEIGHT), aspect=2.0))
        assert pointed(page) == (column, row)
        assert readout(page, "image") == f"{hounsfield(column, row)} HU"
        assert readout(page, "world") == f"{column * 0.5:.1f}, {row * 1.0:.1f} mm"
    # The block map: cells 2 and 3 of 8 across are columns 80 to 159, cells 4 and 5 of 8 down are rows 80 to 119.
    for (column, row), value in {
        (80, 80): "0.500 logit",
        (79, 80): "0 logit",
        (159, 119): "0.500 logit",
        (160, 119): "0 logit",
    }.items():
        hover(page, "hills", at_fit(page, "hills", column, row, (WIDTH, HEIGHT), aspect=2.0))
        assert pointed(page) == (column, row)
        assert readout(page, "block") == value
    page.mouse.move(1, 1)
    assert readout(page, "position") == "–"
    assert number(viewer, "zoom") == 1


def test_readout_holds_after_zoom_and_pan(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve)
    place = at_fit(page, "image", 120, 60, (WIDTH, HEIGHT), aspect=2.0)
    hover(page, "image", place)
    for _ in range(4):
        page.mouse.wheel(0, -240)
    settle(page)
    assert number(viewer, "zoom") > 3
    assert pointed(page) == (120, 60), "zooming must keep the point under the cursor"
    assert readout(page, "image") == f"{hounsfield(120, 60)} HU"
    # Dragging carries the point with the cursor.
    page.mouse.down()
    hover(page, "image", (place[0] + 40, place[1] - 30))
    page.mouse.up()
    settle(page)
    assert pointed(page) == (120, 60)
    assert readout(page, "image") == f"{hounsfield(120, 60)} HU"
    # One view for all: the same spot of another pane is the same pixel.
    hover(page, "block", (place[0] + 40, place[1] - 30))
    assert pointed(page) == (120, 60)
    page.keyboard.press("r")
    settle(page)
    assert number(viewer, "zoom") == 1


def test_window_maps_values_to_grey(page: Page, serve: Serve) -> None:
    open_scene(page, serve)
    for low, high, preset in ((-1350, 150, "0"), (-160, 240, "1")):
        page.get_by_test_id("control-preset").select_option(preset)
        settle(page)
        for column, row in ((100, 40), (200, 100), (290, 120)):
            grey = min(1, max(0, (hounsfield(column, row) - low) / (high - low)))
            drawn = colour(page, "image", *at_fit(page, "image", column, row, (WIDTH, HEIGHT), aspect=2.0))
            assert drawn == pytest.approx([255 * grey] * 3, abs=3)


def test_overlay_lies_on_the_planted_block(page: Page, serve: Serve) -> None:
    open_scene(page, serve)

    def tinted(column: float, row: float) -> bool:
        place = at_fit(page, "block", column, row, (WIDTH, HEIGHT), aspect=2.0)
        plain, shown = colour(page, "image", *place), colour(page, "block", *place)
        return max(abs(one - other) for one, other in zip(plain, shown, strict=True)) > 12

    inside = ((84, 83), (155, 83), (84, 116), (155, 116), (120, 100))
    outside = ((75, 100), (164, 100), (120, 76), (120, 123), (10, 10), (300, 150))
    assert all(tinted(*point) for point in inside)
    assert not any(tinted(*point) for point in outside)
    # At full opacity the top of the range has the last colour of inferno, matplotlib's #fcffa4.
    page.get_by_test_id("control-opacity").fill("100")
    settle(page)
    assert colour(page, "block", *at_fit(page, "block", 120, 100, (WIDTH, HEIGHT), aspect=2.0)) == [252, 255, 164]
    # Hidden with its key, it is gone.
    page.keyboard.press("Escape")
    page.get_by_test_id("viewer").press("1")
    settle(page)
    assert not tinted(120, 100)


def test_show_top_keeps_that_share_of_the_map(page: Page, serve: Serve) -> None:
    open_scene(page, serve)
    share = """(canvas, [plain]) => {
        const read = (one) => one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
        const [shown, base] = [read(canvas), read(plain)];
        let changed = 0;
        for (let i = 0; i < shown.length; i += 4) changed += Math.abs(shown[i + 2] - base[i + 2]) > 3;
        return changed / (shown.length / 4);
    }"""
    box = stage(page, "hills").bounding_box()
    assert box is not None
    scale = min(box["width"] / WIDTH, box["height"] / (2 * HEIGHT))
    covered = (WIDTH * scale) * (2 * HEIGHT * scale) / (box["width"] * box["height"])
    page.get_by_test_id("control-opacity").fill("100")
    page.get_by_test_id("control-top").fill("10")
    settle(page)
    drawn = stage(page, "hills").evaluate(share, [stage(page, "image").element_handle()])
    assert drawn / covered == pytest.approx(0.10, abs=0.02)
    page.get_by_test_id("control-style").select_option("contour")
    settle(page)
    assert 0 < stage(page, "hills").evaluate(share, [stage(page, "image").element_handle()]) < drawn


def test_dragging_stays_in_the_browser(page: Page, serve: Serve) -> None:
    sent: list[object] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: sent.append(payload))

    page.on("websocket", watch)
    viewer = open_scene(page, serve, "film")
    before, quiet, draws = runs(page), len(sent), number(viewer, "draws")
    assert quiet > 0, "the socket is being watched"
    for name in ("opacity", "window", "level", "top"):
        box = page.get_by_test_id(f"control-{name}").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.5, middle)
        page.mouse.down()
        for step in range(20):
            page.mouse.move(box["x"] + box["width"] * (0.5 + step / 50), middle)
        page.mouse.up()
    window = number(viewer, "window")
    hover(page, "image", (60, 60))
    page.mouse.down(button="right")
    hover(page, "image", (110, 90))
    page.mouse.up(button="right")
    page.mouse.wheel(0, -300)
    hover(page, "cam", (100, 100))
    settle(page)
    assert number(viewer, "window") != window
    assert number(viewer, "draws") > draws + 10
    assert number(viewer, "draw-ms") < 200
    assert len(sent) == quiet
    assert runs(page) == before


def test_view_survives_new_maps_and_methods(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve)
    hover(page, "image", (100, 100))
    page.mouse.wheel(0, -400)
    page.get_by_test_id("control-preset").select_option("2")
    page.get_by_test_id("control-opacity").fill("80")
    settle(page)
    kept = {name: viewer.get_attribute(f"data-{name}") for name in ("zoom", "center", "window", "level")}
    page.get_by_role("slider", name="Map value").press("ArrowRight")
    expect(page.get_by_text("runs=2")).to_be_visible()
    hover(page, "block", at_fit(page, "block", 120, 100, (WIDTH, HEIGHT), aspect=2.0))
    page.get_by_text("Methods").click()
    expect(page.get_by_text("Choose a model and an explanation")).to_be_visible()
    page.get_by_text("Methods").click()
    expect(page.get_by_test_id("pane-block")).to_be_visible()
    settle(page)
    assert {name: viewer.get_attribute(f"data-{name}") for name in kept} == kept
    assert page.get_by_test_id("control-opacity").input_value() == "80"
    expect(page.get_by_test_id("pane-block")).to_contain_text("0.750 logit")


def test_images_travel_once(page: Page, serve: Serve) -> None:
    received: list[int] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: received.append(len(payload)))

    page.on("websocket", watch)
    open_scene(page, serve, "film")
    first = sum(received)
    assert first > 3_000_000, "1300 x 1200 pixels of two bytes"
    received.clear()
    page.get_by_text("Methods").click()
    expect(page.get_by_text("runs=2")).to_be_visible()
    settle(page)
    assert sum(received) < first / 10


def test_maximise_and_restore(page: Page, serve: Serve) -> None:
    open_scene(page, serve)
    small = stage(page, "hills").bounding_box()
    stage(page, "hills").dblclick()
    expect(page.get_by_test_id("pane-image")).to_be_hidden()
    large = stage(page, "hills").bounding_box()
    assert small
    assert large
    assert large["height"] > 1.2 * small["height"]
    assert large["width"] > 3 * small["width"]
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("pane-image")).to_be_visible()
    page.get_by_test_id("pane-hills").get_by_test_id("control-maximise").click()
    expect(page.get_by_test_id("pane-block")).to_be_hidden()
    stage(page, "hills").dblclick()
    expect(page.get_by_test_id("pane-block")).to_be_visible()
    assert runs(page) == 1


def test_cancel_and_retry_reach_python(page: Page, serve: Serve) -> None:
    open_scene(page, serve)
    pane = page.get_by_test_id("pane-busy")
    expect(pane).to_contain_text("42 %")
    pane.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("work=stopped")).to_be_visible()
    expect(pane).to_contain_text("Stopped")
    pane.get_by_role("button", name="Run").click()
    expect(pane).to_contain_text("choose a smaller one")
    pane.get_by_role("button", name="Try again").click()
    expect(pane).to_contain_text("42 %")


def test_keys_page_cases_and_leave_inputs_alone(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("pages=1")).to_be_visible()
    settle(page)
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("pages=0")).to_be_visible()
    settle(page)
    before = runs(page)
    opacity = page.get_by_test_id("control-opacity")
    opacity.press("ArrowRight")
    assert opacity.input_value() == "61"
    viewer.press("+")
    settle(page)
    assert number(viewer, "zoom") == pytest.approx(1.25)
    page.get_by_test_id("control-help").click()
    expect(page.get_by_test_id("keys")).to_be_visible()
    viewer.press("Escape")
    expect(page.get_by_test_id("keys")).to_be_hidden()
    assert runs(page) == before


def test_slices_are_looked_at_in_the_browser_and_then_told(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve, "volume")
    middle = at_fit(page, "image", 64, 64, (128, 128))
    hover(page, "image", middle)
    # The affine: 0.8 mm pixels from (-51.2, -40), slices of 3 mm from 10; column 64 is x = 0, row 64 is y = 11.2.
    assert readout(page, "position") == "x 64 y 64 slice 6/12"
    assert readout(page, "image") == "500 HU"
    assert readout(page, "world") == "L 0.0 P 11.2 S 25.0 mm"
    viewer.press("ArrowDown")
    viewer.press("ArrowDown")
    settle(page)
    assert readout(page, "image") == "700 HU"
    assert readout(page, "block") == "–"
    expect(page.get_by_test_id("pane-block")).to_contain_text("The map is of slice 6")
    expect(page.get_by_text("slice=7")).to_be_visible()
    assert runs(page) == 2, "two steps, one message"
    assert number(viewer, "slice") == 7


def test_python_follows_the_slice_without_pulling_it_back(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve, "volume", "&follow")
    viewer.press("PageUp")
    expect(page.get_by_text("slice=0")).to_be_visible()
    settle(page)
    expect(page.get_by_test_id("pane-block").locator(".hint")).to_be_hidden()
    assert number(viewer, "slice") == 0


def test_a_models_mask_is_dashed_on_its_slice_and_the_reference_is_not(page: Page, serve: Serve) -> None:
    viewer = open_scene(page, serve, "volume", "&found")

    def along(row: float, first: int, last: int) -> list[list[int]]:
        ends = [at_fit(page, "image", column, row, (128, 128)) for column in (first, last)]
        return [colour(page, "image", x, ends[0][1]) for x in range(round(ends[0][0]), round(ends[1][0]))]

    def whites_and_darks() -> tuple[float, float]:
        drawn = along(79.5, 57, 78)  # the upper edge, on a part of the image that is white
        bright = [min(pixel) > 180 for pixel in drawn]
        dark = [max(pixel) < 140 for pixel in drawn]
        return sum(bright) / len(drawn), sum(dark) / len(drawn)

    white, dark = whites_and_darks()
    assert 0.3 < white < 0.8
    assert 0.2 < dark < 0.7
    cyan = [pixel[2] > 150 > pixel[0] for pixel in along(49.5, 44, 58)]
    assert sum(cyan) > 0.9 * len(cyan)
    page.get_by_test_id("control-found").click()
    settle(page)
    assert whites_and_darks() == (1, 0)
    cyan = [pixel[2] > 150 > pixel[0] for pixel in along(49.5, 44, 58)]
    assert sum(cyan) > 0.9 * len(cyan), "the reference has a button of its own"
    page.get_by_test_id("control-found").click()
    viewer.press("ArrowDown")
    settle(page)
    assert whites_and_darks() == (1, 0)


def test_click_returns_the_pixel(page: Page, serve: Serve) -> None:
    open_scene(page, serve, "photo", "&pick")
    x, y = at_fit(page, "block", 100, 20, (120, 90))
    stage(page, "block").click(position={"x": x, "y": y})
    expect(page.get_by_text("picked=('block', 100, 20)")).to_be_visible()
    assert readout(page, "image") == "200 40 64"


def test_reduced_film_reads_in_original_pixels(page: Page, serve: Serve) -> None:
    open_scene(page, serve, "film")
    x, y = at_fit(page, "image", 1200.5, 1300.5, (2400, 2600))
    hover(page, "image", (x, y))
    column, row = pointed(page)
    assert (column, row) == (pytest.approx(1200, abs=12), pytest.approx(1300, abs=12))
    expected = 2000 + 900 * math.cos(row / 300) * math.sin(column / 260) + column / 4
    shown = readout(page, "image")
    assert shown.startswith("≈ ")
    assert float(shown[2:]) == pytest.approx(expected, abs=4)


def test_saves_a_picture(page: Page, serve: Serve, tmp_path: Path) -> None:
    open_scene(page, serve, "volume")
    with page.expect_download() as download:
        page.get_by_test_id("control-save").click()
    assert download.value.suggested_filename == "synthetic.png"
    download.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        assert saved.width > 2500
        colours = saved.convert("RGB").getcolors(maxcolors=1_000_000)
        assert colours is not None
        assert len(colours) > 500


def test_touch_pinch_zooms_for_two_fingers(new_page: Callable[..., Page], serve: Serve) -> None:
    page = new_page(1024, 768, has_touch=True)
    viewer = open_scene(page, serve)
    stage(page, "image").evaluate(
        """(canvas) => {
            const box = canvas.getBoundingClientRect();
            const send = (type, id, x) => canvas.dispatchEvent(new PointerEvent(type, {
                pointerId: id, pointerType: "touch", bubbles: true, clientX: box.x + x, clientY: box.y + 100, button: 0 }));
            canvas.parentElement.setPointerCapture = () => {};
            send("pointerdown", 11, 100); send("pointerdown", 12, 140);
            send("pointermove", 12, 180);
            send("pointerup", 11, 100); send("pointerup", 12, 180);
        }"""
    )
    settle(page)
    assert number(viewer, "zoom") == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height", "columns"), [(1440, 900, 4), (1024, 768, 2)])
def test_layout_and_accessibility(
    new_page: Callable[..., Page], serve: Serve, tmp_path: Path, theme: str, width: int, height: int, columns: int
) -> None:
    page = new_page(width, height, theme)
    open_scene(page, serve, "volume")
    page.get_by_test_id("control-help").click()
    boxes = [stage(page, pane).bounding_box() for pane in ("image", "block", "hills", "busy")]
    assert len({(round(box["width"]), round(box["height"])) for box in boxes if box}) == 1, "equal pictures"
    assert len({round(box["x"]) for box in boxes if box}) == columns
    readouts = page.get_by_test_id("readout").bounding_box()
    hover(page, "image", (100, 100))
    assert page.get_by_test_id("readout").bounding_box() == readouts, "the readout must not move when it fills"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=tmp_path / f"viewer-{width}-{theme}.png")
    found = Axe().run(page, context="[data-testid=stBidiComponentIsolated]")
    serious = [
        (violation["id"], [node["html"][:120] for node in violation["nodes"]])
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert not serious

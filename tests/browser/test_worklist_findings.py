"""What a reader does with the worklist and the findings, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

APP = Path(__file__).parent / "apps" / "lists_app.py"
PICTURE = b"data:image/jpeg;base64,"


@pytest.fixture(scope="module")
def url(serve: Callable[..., str]) -> str:
    return serve(APP, {})


@pytest.fixture
def app(page: Page, url: str) -> Page:
    return opened(page, url)


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    expect(page.get_by_role("option")).to_have_count(40)
    expect(page.get_by_role("radio")).to_have_count(14)
    expect(page.get_by_text("runs 1 heard")).to_be_visible()
    return page


def option(page: Page, title: str) -> Locator:
    return page.get_by_role("option", name=title)


def expect_heard(page: Page, heard: str) -> None:
    """A choice costs two runs: the one that hears it and the one after ``st.rerun``."""
    runs = 1 + 2 * len(heard.split(","))
    expect(page.get_by_text(re.compile(rf"^runs {runs} heard {heard} "))).to_be_visible()
    page.wait_for_timeout(400)
    expect(page.get_by_text(re.compile(rf"^runs {runs} heard {heard} "))).to_be_visible()


def scroll_top(page: Page) -> float:
    return float(page.get_by_role("listbox").evaluate("list => list.scrollTop"))


def test_a_click_in_the_worklist_reaches_python_once(app: Page) -> None:
    expect(option(app, "CXR-0001")).to_have_attribute("aria-selected", "true")
    option(app, "CXR-0004").click()
    expect(option(app, "CXR-0004")).to_have_attribute("aria-selected", "true")
    expect_heard(app, "case-4")
    expect(app.get_by_role("option", selected=True)).to_have_count(1)
    option(app, "CXR-0004").click()
    expect_heard(app, "case-4")


def test_arrows_move_through_the_worklist_and_enter_chooses(app: Page) -> None:
    app.get_by_role("listbox").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        app.keyboard.press(key)
    active = app.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert option(app, "Lung nodule").get_attribute("id") == active
    expect(app.get_by_text("runs 1 heard")).to_be_visible()
    app.keyboard.press("Enter")
    expect_heard(app, "case-3")
    app.keyboard.press("End")
    app.keyboard.press("Space")
    expect_heard(app, "case-3,case-39")
    expect(option(app, "CXR-0039")).to_be_in_viewport()


def test_search_and_order_stay_in_the_browser_and_survive_a_rerun(app: Page) -> None:
    search = app.get_by_role("searchbox", name="Search cases")
    search.fill("PHANTOMS effusion")
    expect(app.get_by_role("option")).to_have_count(1)
    expect(app.get_by_role("status").filter(has_text="1 of 40")).to_be_visible()
    search.fill("no such case")
    expect(app.get_by_text("No case matches “no such case”.")).to_be_visible()
    search.fill("x-ray · ap")
    app.get_by_role("button", name="By risk").click()
    expect(app.get_by_role("option")).to_have_count(20)
    expect(app.get_by_text("runs 1 heard")).to_be_visible()

    shown = app.get_by_role("option").evaluate_all("all => all.map(one => one.dataset.id)")
    expected = sorted(range(1, 40, 2), key=lambda number: -(number * 37 % 100 if number < 34 else -1))
    assert shown == [f"case-{number}" for number in expected]

    app.get_by_role("option").nth(2).click()
    expect_heard(app, shown[2])
    expect(search).to_have_value("x-ray · ap")
    assert app.get_by_role("option").evaluate_all("all => all.map(one => one.dataset.id)") == shown


def test_arrow_down_leads_from_the_search_box_into_the_list(app: Page) -> None:
    app.get_by_role("searchbox").fill("uploads")
    app.get_by_role("searchbox").press("ArrowDown")
    app.keyboard.press("Enter")
    expect_heard(app, "case-34")


def test_scroll_position_survives_and_pictures_are_sent_once(page: Page, url: str) -> None:
    frames: list[bytes] = []
    page.on(
        "websocket",
        lambda socket: socket.on(
            "framereceived", lambda data: frames.append(data if isinstance(data, bytes) else data.encode())
        ),
    )
    opened(page, url)
    expect(page.get_by_role("listbox").locator("img")).to_have_count(39)
    assert sum(frame.count(PICTURE) for frame in frames) == 39

    frames.clear()
    page.get_by_role("listbox").hover()
    page.mouse.wheel(0, 700)
    expect(option(page, "CXR-0018")).to_be_in_viewport()
    page.wait_for_timeout(300)
    before = scroll_top(page)
    first = option(page, "CXR-0018").element_handle()
    option(page, "CXR-0018").click()
    expect_heard(page, "case-18")
    assert scroll_top(page) == before > 500
    assert first is not None
    assert first.evaluate("node => node.isConnected"), "the row was drawn anew"
    assert frames
    assert not any(PICTURE in frame for frame in frames)


def test_the_reader_finds_the_list_again_as_it_was(app: Page) -> None:
    app.get_by_role("searchbox").fill("x-ray · pa")
    app.get_by_role("button", name="By risk").click()
    app.get_by_role("listbox").hover()
    app.mouse.wheel(0, 300)
    app.wait_for_timeout(300)
    before = scroll_top(app)
    app.get_by_text("Away").click()
    expect(app.get_by_role("listbox")).to_have_count(0)
    app.get_by_text("Away").click()
    expect(app.get_by_role("searchbox")).to_have_value("x-ray · pa")
    expect(app.get_by_role("option")).to_have_count(20)
    expect(app.get_by_role("listbox").locator("img")).to_have_count(20)
    assert scroll_top(app) == before > 200


def test_a_case_chosen_in_python_is_scrolled_to(app: Page) -> None:
    expect(option(app, "CXR-0021")).not_to_be_in_viewport()
    app.get_by_role("button", name="Next case").click()
    expect(option(app, "CXR-0021")).to_have_attribute("aria-selected", "true")
    expect(option(app, "CXR-0021")).to_be_in_viewport()


def test_the_list_never_scrolls_sideways_and_long_titles_keep_their_text(app: Page) -> None:
    content, width, height = app.get_by_role("listbox").evaluate(
        "list => [list.scrollWidth, list.clientWidth, list.offsetHeight]"
    )
    assert content <= width
    assert height < 620
    title = option(app, "Lung nodule").locator(".title")
    assert title.evaluate("node => node.scrollWidth > node.clientWidth")
    assert "left upper lobe, follow-up" in (option(app, "Lung nodule").get_attribute("title") or "")


def test_flagged_is_said_and_drawn_and_not_only_coloured(app: Page) -> None:
    expect(option(app, "CXR-0002, flagged, Infiltration, 0.74")).to_contain_text("▲")
    expect(option(app, "CXR-0001")).not_to_contain_text("▲")
    row = app.get_by_role("row", name="Cardiomegaly")
    expect(row).to_contain_text("▲flagged")
    expect(app.get_by_role("row", name="Atelectasis")).to_contain_text("below")


def test_a_click_on_a_finding_reaches_python_once(app: Page) -> None:
    expect(app.get_by_role("radio", name="Cardiomegaly")).to_be_checked()
    app.get_by_role("row", name="Edema").get_by_role("cell", name="below").click()
    expect(app.get_by_role("radio", name="Edema")).to_be_checked()
    expect_heard(app, "4")
    app.get_by_role("table").get_by_text("Mass").click()
    expect_heard(app, "4,5")
    expect(app.get_by_role("radio", checked=True)).to_have_count(1)


def test_arrows_on_the_findings_ask_once_for_where_they_stop(app: Page) -> None:
    app.get_by_role("radio", name="Cardiomegaly").focus()
    for _ in range(3):
        app.keyboard.press("ArrowDown")
    expect_heard(app, "3")
    expect(app.get_by_role("radio", name="Atelectasis")).to_be_focused()
    app.keyboard.press("ArrowDown")
    app.keyboard.press("Enter")
    expect_heard(app, "3,4")


def test_the_table_says_what_its_numbers_are(page: Page, url: str) -> None:
    opened(page, url)
    names = page.get_by_role("columnheader").all_inner_texts()
    assert names == ["Finding", "Probability, calibrated", "p", "Threshold", "Decision"]
    tick = page.get_by_role("row", name="Cardiomegaly").locator(".tick")
    track = page.get_by_role("row", name="Cardiomegaly").locator(".track")
    left, width = track.evaluate("node => [node.getBoundingClientRect().x, node.getBoundingClientRect().width]")
    middle = tick.evaluate("node => node.getBoundingClientRect().x + node.getBoundingClientRect().width / 2")
    assert (middle - left) / width == pytest.approx(0.42, abs=0.01)
    expect(page.get_by_role("row", name="Pneumonia").locator(".tick")).to_have_count(0)
    expect(page.get_by_role("row", name="Pneumonia").get_by_role("cell", name="–")).to_be_visible()

    opened(page, f"{url}?raw=1&truth=1")
    assert page.get_by_role("columnheader").all_inner_texts()[1::4] == ["Uncalibrated score", "Reference"]
    expect(page.get_by_role("row", name="Cardiomegaly").get_by_role("cell", name="present")).to_be_visible()


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, url: str, scheme: str, size: tuple[int, int], tmp_path: Path) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    opened(page, f"{url}?truth=1")
    background = page.get_by_test_id("stApp").evaluate("node => getComputedStyle(node).backgroundColor")
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 23, 28)"}[scheme]
    page.get_by_role("listbox").focus()
    page.screenshot(path=tmp_path / f"{scheme}-{size[0]}.png")
    result = Axe().run(page, options={"resultTypes": ["violations", "passes"]}).response
    assert any(rule["id"] == "color-contrast" for rule in result["passes"])
    serious = [
        (rule["id"], node["target"])
        for rule in result["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
    assert not serious

"""What an auditor does on the Models page, in a real browser."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
import timm
import tomli_w
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from models.weights import sha256_of
from tests.conftest import card_fields, liven
from tests.measured_model import MEASURED, write_evaluation

pytestmark = pytest.mark.browser

FEW_SAMPLES = Path(__file__).parent / "apps" / "few_samples.py"
READY = 60_000  # ms; two slow cores may be busy


def write_model(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True)
    weights = folder / "weights.safetensors"
    save_file(liven(timm.create_model("mobilenetv3_small_050", num_classes=3)).state_dict(), weights)
    fields = card_fields(weights={"file": weights.name, "sha256": sha256_of(weights)}) | changes
    (folder / "card.toml").write_text(tomli_w.dumps(fields))
    return folder


@pytest.fixture(scope="module")
def address(serve, tmp_path_factory: pytest.TempPathFactory) -> str:  # type: ignore[no-untyped-def]
    zoo, cache = tmp_path_factory.mktemp("zoo"), tmp_path_factory.mktemp("cache")
    write_evaluation(write_model(zoo / "measured", id="measured", title="Measured", task="multiclass", **MEASURED))
    environment = {"SIGHTLINE_CACHE": str(cache), "SIGHTLINE_DATA": str(cache), "SIGHTLINE_MODELS": str(zoo)}
    return str(serve(FEW_SAMPLES, environment))


def gallery(page: Page, address: str) -> None:
    page.goto(f"{address}/?case=none")  # through the Case page, but nothing is explained there
    expect(page.get_by_role("alert").first).to_be_visible(timeout=READY)
    page.get_by_role("link", name="Models").click()
    expect(tile(page, "measured")).to_be_visible(timeout=READY)
    expect(page.get_by_role("button", name="Check and add")).to_be_visible(timeout=READY)


def tile(page: Page, model: str):  # type: ignore[no-untyped-def]
    return page.locator(f".st-key-model-tile-{model}")


def open_tab(page: Page, name: str, words: str) -> None:
    page.get_by_role("tab", name=name).click()
    expect(page.get_by_role("tabpanel").get_by_text(words).first).to_be_visible(timeout=READY)


def test_a_tile_opens_by_keyboard_and_the_browser_goes_back(page: Page, address: str) -> None:
    gallery(page, address)
    tile(page, "measured").get_by_role("button", name="Measured").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("models.*model=measured"), timeout=READY)
    expect(page.get_by_text("Misses small ones.")).to_be_visible(timeout=READY)
    open_tab(page, "Performance", "By class")
    figure = page.get_by_test_id("stPlotlyChart").first
    expect(figure).to_contain_text("too few (n = 7)", timeout=READY)
    expect(figure).to_contain_text("Alpha (n = 400)")
    page.go_back()
    expect(tile(page, "measured")).to_be_visible(timeout=READY)


def test_a_click_anywhere_on_a_tile_opens_it(page: Page, address: str) -> None:
    gallery(page, address)
    page.wait_for_timeout(1000)  # the page may settle under the mouse
    box = tile(page, "measured").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] - 12)
    expect(page).to_have_url(re.compile("model=measured"), timeout=READY)
    page.get_by_role("button", name="All models").click()
    expect(tile(page, "measured")).to_be_visible(timeout=READY)


@pytest.mark.parametrize(("width", "columns"), [(1440, 3), (1024, 2)])
def test_tiles_stand_side_by_side(new_page, address: str, width: int, columns: int) -> None:  # type: ignore[no-untyped-def]
    page = new_page(width=width, height=768)
    gallery(page, address)
    expect(page.get_by_test_id("stSidebar")).to_be_hidden(timeout=READY)  # the Case page's goes last
    page.wait_for_timeout(500)
    boxes = [box.bounding_box() for box in page.locator("[class*=st-key-model-tile-]").all()]
    assert len({round(box["x"]) for box in boxes}) == columns
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert max(box["x"] + box["width"] for box in boxes) <= width


def test_a_model_is_added_and_removed(page: Page, address: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", id="mine", title="My own")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"mine/{path.name}")
    gallery(page, address)
    with page.expect_download() as download:
        page.get_by_role("button", name="Template folder").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "my-model/card.toml" in archive.namelist()
    upload = {"name": "mine.zip", "mimeType": "application/zip", "buffer": buffer.getvalue()}
    page.locator("input[type=file]").set_input_files([upload])  # type: ignore[list-item]
    expect(page.get_by_text("mine.zip")).to_be_visible(timeout=READY)
    page.get_by_role("button", name="Check and add").click()
    expect(page.get_by_text("My own was added")).to_be_visible(timeout=READY)
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Delete the model").click()
    expect(tile(page, "measured")).to_be_visible(timeout=READY)
    expect(tile(page, "mine")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(new_page, address: str, theme: str) -> None:  # type: ignore[no-untyped-def]
    page = new_page(theme=theme)
    gallery(page, address)
    serious(page)
    tile(page, "measured").get_by_role("button", name="Measured").click()
    for name, words in (
        ("Card", "Screening."),
        ("Performance", "All figures"),
        ("Training", "Losses compared"),
        ("Robustness", "Unusual images"),
        ("Architecture", "Every layer"),
    ):
        open_tab(page, name, words)
        serious(page)


def serious(page: Page) -> None:
    page.wait_for_timeout(800)
    found = [issue for issue in Axe().run(page).response["violations"] if issue["impact"] in ("serious", "critical")]
    assert not found, json.dumps([(issue["id"], [node["html"] for node in issue["nodes"]][:3]) for issue in found])

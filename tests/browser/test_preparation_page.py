"""What a student does on the Preparation page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import tomli_w
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from models.weights import sha256_of
from tests.conftest import card_fields, liven

pytestmark = pytest.mark.browser

APP = Path(__file__).parent / "apps" / "preparation_app.py"
READY = 60_000  # ms; two slow cores may be busy
LOADED = (
    "[...document.querySelectorAll('[data-testid=stHtml] figure img')].every(one => one.complete && one.naturalWidth)"
)
IDLE = ("data-test-script-state", "notRunning")


@pytest.fixture(scope="module")
def address(serve, tmp_path_factory: pytest.TempPathFactory) -> str:  # type: ignore[no-untyped-def]
    zoo, cache = tmp_path_factory.mktemp("zoo"), tmp_path_factory.mktemp("cache")
    folder = zoo / "heads"
    folder.mkdir()
    weights = folder / "weights.safetensors"
    save_file(liven(timm.create_model("mobilenetv3_small_050", num_classes=3)).state_dict(), weights)
    size = {"height": 64, "width": 64, "modality": ["mr"]}
    fields = card_fields(id="heads", title="Heads", task="multiclass", input=size)
    (folder / "card.toml").write_text(
        tomli_w.dumps(fields | {"weights": {"file": weights.name, "sha256": sha256_of(weights)}})
    )
    environment = {"SIGHTLINE_CACHE": str(cache), "SIGHTLINE_DATA": str(cache), "SIGHTLINE_MODELS": str(zoo)}
    return str(serve(APP, environment))


def test_steps_are_run_explained_and_compared(page: Page, address: str) -> None:
    page.goto(f"{address}/?case=upload-00aa11bb22cc&model=heads")
    run = page.get_by_role("button", name="Run")
    expect(run).to_be_enabled(timeout=READY)
    page.get_by_text("Skull stripping", exact=True).click()  # a drawing without a skull
    expect(page.get_by_role("switch", name="Skull stripping")).not_to_be_checked()
    expect(page.locator("[data-testid=stApp]")).to_have_attribute(*IDLE)
    run.click()
    expect(page.get_by_text("What the steps changed in the answer")).to_be_visible(timeout=READY)
    expect(page.locator("strong", has_text="Bias-field correction (N4)")).to_be_visible(timeout=READY)
    expect(page.get_by_role("button", name="Prepared image and trace")).to_be_visible(timeout=READY)
    expect(page.locator("[data-testid=stApp]")).to_have_attribute(*IDLE)
    page.wait_for_function(LOADED)
    before_and_after = page.locator("[data-testid=stHtml] figure img")
    assert before_and_after.count() >= 5 + 4  # before, after and the field; before and after; the model's own four
    shape = before_and_after.first.evaluate("one => [one.naturalWidth, one.naturalHeight]")
    assert shape[0] > 2 * shape[1]  # three planes beside each other
    box, option = (
        page.locator(".st-key-preparation-method").get_by_role("combobox"),
        page.get_by_role("option", name="Grad-CAM", exact=True),
    )
    for _ in range(20):  # a list that opens while the page is still being drawn is shut again
        if option.is_visible():
            break
        box.press("ArrowDown")
        page.wait_for_timeout(500)
    option.click(timeout=READY)
    expect(page.get_by_test_id("pane-prepared")).to_be_visible(timeout=READY)
    expect(page.get_by_test_id("pane-scan")).to_be_visible(timeout=READY)
    serious = [v["id"] for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, serious

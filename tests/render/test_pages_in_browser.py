"""Pages in a real browser: no error, no request, nothing that keeps anyone from reading them.

Chromium is that of the system, driven by Playwright; axe-core judges accessibility.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run
from tests.support.models import CHECKPOINT
from tests.support.variants import ROOTS, lay_out, point_to

api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make install-test")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed; on Debian and Ubuntu: make install-programs"
    ),
]
GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
PLANS = f"{ROOTS['preprocessed']}/{RECEIVING}/nnUNetPlans.json"
TRAINING = ("2", "3d_fullres", "0", "-device", "cpu")
COMMANDS = {
    "check": ("check", "-d", "2", "-pretrained_weights", str(CHECKPOINT)),
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--dry-run"),
    "train": ("train", *TRAINING, "--steps", "2000", "--warmup", "100", "--dry-run"),
    "fit": ("fit", str(CHECKPOINT), "--all"),
    "diff": ("diff", PLANS, PLANS.replace(RECEIVING, GIVING)),
    "show": ("show", PLANS),
}
#: Width in pixels -> colours.
VIEWS = [(390, "light"), (1280, "light"), (1280, "dark")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        point_to(lay_out(folder, GIVING, RECEIVING), patch)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.chdir(folder)
        for name, words in COMMANDS.items():
            assert run(*words, "--output", f"html={name}.html").code in (0, 1)
        assert run("report", "-o", "overview").code == 0
        yield {**{name: folder / f"{name}.html" for name in COMMANDS}, "report": folder / "overview/index.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("name", [*COMMANDS, "report"])
@pytest.mark.parametrize(("width", "colors"), VIEWS)
def test_anyone_can_read_it(name: str, width: int, colors: str, pages: dict[str, Path], browser: Any) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colors)
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(pages[name].as_uri())
    found = axe.Axe().run(page).response["violations"]
    grave = {one["id"]: one["nodes"][0]["html"] for one in found if one["impact"] in ("serious", "critical")}
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", pages[name].as_uri()))] == []
    assert grave == {}
    assert wide <= width


def test_severities_can_be_hidden_without_a_script(pages: dict[str, Path], browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["check"].as_uri())
    assert page.locator(".fault.error").first.is_visible()
    assert page.locator("button").count() == 0
    page.locator("#show-error").uncheck()
    assert not page.locator(".fault.error").first.is_visible()
    assert page.locator(".fault.warning").first.is_visible()
    context.close()


def test_a_command_is_copied(pages: dict[str, Path], browser: Any) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(pages["check"].as_uri())
    command = page.locator("code.typed").first.text_content()
    page.locator("button").first.click()
    api.expect(page.locator("button").first).to_have_text("copied")  # the clipboard answers later
    assert page.evaluate("navigator.clipboard.readText()") == command
    context.close()


def test_a_print_has_all_findings(pages: dict[str, Path], browser: Any) -> None:
    page = browser.new_page()
    page.goto(pages["check"].as_uri())
    page.emulate_media(media="print")
    assert page.locator(".fault").first.is_visible()
    assert not page.locator("fieldset").is_visible()
    assert not page.locator("button").first.is_visible()
    page.close()

"""The documentation as HTML: no warning, no broken link, no request to another host, readable on a phone."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT

MISSING = [name for name in ("sphinx", "furo", "myst_parser") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs the extra `site` (make install-site): no {', '.join(MISSING)}"),
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Attributes that a browser loads at once. A link is loaded only if it is followed.
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("object", "data")}
NARROW, DARK = VIEWS = [(390, "light"), (1280, "dark")]
#: Long lines of code, pictures, and the first page.
LOOKED_AT = ["index.html", "tutorial.html", "commands.html", "rules/PG402-migrated-input-field-edited.html"]
#: Wide tables and many of them: each view takes five seconds.
LONG = ["overview.html", "schemas.html", "coverage.html", "rules/README.html"]


def make_site(site: Path, docs: Path = ROOT / "docs") -> subprocess.CompletedProcess[str]:
    """Run ``make site`` with this Python, without installing anything."""
    variables = (f"PYTHON={sys.executable}", f"DOCS={docs}", f"SITE={site}")
    return subprocess.run(
        ["make", "--no-print-directory", "-o", ".venv/.installed-site", "VENV=.venv", *variables, "site"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


class Page(HTMLParser):
    """The places in a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places, self.links, self.loaded = {""}, set[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.places.add(value or "")
            elif (tag, name) in LOADED:
                self.loaded.add(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.add(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "site"
    done = make_site(folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_every_page_of_the_documentation_is_in_it(pages: dict[Path, Page], site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert sources <= {path.relative_to(site) for path in pages}
    linked = {
        os.path.normpath(path.parent / link.partition("#")[0]) for path, page in pages.items() for link in page.links
    }
    assert [path for path in sources if str(site / path) not in linked] == []


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for target in page.links | page.loaded:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file() or (file in pages and unquote(parts.fragment) not in pages[file].places):
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_links_into_the_repository_lead_to_files(pages: dict[Path, Page]) -> None:
    """Links out of docs/ are addresses of the repository; the files are in this checkout."""
    ours = re.compile(r"https://github\.com/plansguard/plansguard/(?:blob|tree|edit)/main/([^?#]+)")
    named = {match[1] for page in pages.values() for link in page.links if (match := ours.match(link))}
    assert "demo/road.py" in named
    assert [name for name in sorted(named) if not (ROOT / unquote(name)).exists()] == []


def test_nothing_is_loaded_from_another_host(pages: dict[Path, Page], site: Path) -> None:
    assert [url for page in pages.values() for url in page.loaded if re.match(r"(\w+:)?//", url)] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", styles) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a page](nowhere.md)", "nowhere.md"),
        ("[a place](index.md#nowhere)", "nowhere"),
        ("[a file](../NOWHERE.md)", "NOWHERE.md"),
        (None, "toctree"),
    ],
    ids=["page", "place", "file", "unlisted"],
)
def test_a_fault_is_an_error(text: str | None, complaint: str, tmp_path: Path) -> None:
    """A link to nothing, and a page that is in no list."""
    docs = tmp_path / "docs"
    (docs / "_static").mkdir(parents=True)
    shutil.copy(ROOT / "docs/conf.py", docs)
    shutil.copy(ROOT / "docs/_static/site.css", docs / "_static")
    (docs / "index.md").write_text(f"# Pages\n\n{text or ''}\n")
    if text is None:
        (docs / "unlisted.md").write_text("# Unlisted\n")
    done = make_site(tmp_path / "site", docs)
    assert done.returncode == 2, done.stdout + done.stderr
    assert complaint in done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make install-test")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; on Debian and Ubuntu: make install-programs")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize(
    ("name", "width", "colors"),
    [
        *((name, *view) for view in VIEWS for name in LOOKED_AT),
        *((name, *NARROW) for name in LONG),
        *(pytest.param(name, *DARK, marks=pytest.mark.long) for name in LONG),
    ],
)
def test_anyone_can_read_it(name: str, width: int, colors: str, site: Path, browser: Any) -> None:
    """No error, no request, nothing wider than the window, no grave fault of accessibility; dark as the system says."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colors)
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / name).as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    faults = axe.Axe().run(page, options={"preload": False}).response["violations"]
    page.close()
    assert {one["id"]: one["nodes"][0]["html"] for one in faults if one["impact"] in ("serious", "critical")} == {}
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", site.as_uri()))] == []
    assert wide <= width
    lightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (lightness < 128) == (colors == "dark")

"""Draw pages of ``--output html`` in Chromium: docs/pictures/page-*.png of the README, and others to look at.

``python tools/page_pictures.py`` writes those of the README. ``--all FOLDER`` takes every page 390 and 1280 pixels
wide, dark and light, and as it is printed (PDF). Needs Chromium (`make install-programs`) and what `make install-test`
installs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "docs/pictures"
RECEIVING = "Dataset002_FinetuneCT"
WEIGHTS = "nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
COLORS = 96
#: Faults in migrated plans, by name.
EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "spacing": lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[1.0, 0.8, 0.8]),
    "intensities": lambda plans: plans["foreground_intensity_properties_per_channel"]["0"].update(
        percentile_00_5=1100.0, percentile_99_5=2140.0, mean=1534.0
    ),
}
#: Pictures of the README -> the element that is at the top, and the height in pixels.
PARTS = {"spacing": ("header", 1180), "topology": (".configuration", 1000)}


def pages(folder: Path) -> dict[str, Path]:
    """Make the pages of three faults and of work without one, in a copy of the fixtures."""
    from tests.support.command import run

    shutil.copytree(ROOT / "fixtures/workspace", folder, dirs_exist_ok=True)
    os.environ |= {name: name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    os.chdir(folder)
    run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans", "--output", "html=migrate.html")
    checked = ("check", "-d", "2", "-c", "3d_fullres")
    run(*checked, "-p", "PretrainPlans", "-pretrained_weights", WEIGHTS, "--output", "html=healthy.html")
    run(*checked, "-p", "nnUNetPlans", "-pretrained_weights", WEIGHTS, "--output", "html=topology.html")
    plans = folder / "nnUNet_preprocessed" / RECEIVING / "PretrainPlans.json"
    migrated = plans.read_bytes()
    for name, edit in EDITS.items():
        document: dict[str, Any] = json.loads(migrated)
        edit(document)
        plans.write_text(json.dumps(document, indent=4), encoding="utf-8")
        run(*checked, "-p", "PretrainPlans", "--output", f"html={name}.html")
    plans.write_bytes(migrated)
    run(
        "train",
        "2",
        "3d_fullres",
        "0",
        "--steps",
        "2000",
        "--warmup",
        "100",
        "--dry-run",
        "--output",
        "html=train.html",
    )
    run("fit", WEIGHTS, "--all", "--output", "html=fit.html")
    run("report", "-o", "report")
    return {path.stem: path for path in [*folder.glob("*.html"), folder / "report/index.html"]}


@contextmanager
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


def part(opened: Any, page: Path, selector: str, height: int) -> bytes:
    shown = opened.new_page(viewport={"width": 1000, "height": 900})
    shown.goto(page.as_uri())
    top = shown.locator(selector).first.bounding_box()["y"] - 10
    content: bytes = shown.screenshot(full_page=True, clip={"x": 0, "y": top, "width": 1000, "height": height})
    return content


def save(content: bytes, path: Path) -> None:
    """Write a picture with few colours: these have no more, and the repository keeps every version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(BytesIO(content)).convert("RGB").quantize(COLORS).save(path, optimize=True)


def main() -> None:
    """Write the pictures of the README, or all of them."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    target = given.all and given.all.absolute()
    with tempfile.TemporaryDirectory() as folder, browser() as opened:
        for name, page in pages(Path(folder)).items():
            if target is None:
                if name in PARTS:
                    save(part(opened, page, *PARTS[name]), PLACE / f"page-{name}.png")
                continue
            for width in (390, 1280):
                for colors in ("light", "dark"):
                    shown = opened.new_page(viewport={"width": width, "height": 900}, color_scheme=colors)
                    shown.goto(page.as_uri())
                    save(shown.screenshot(full_page=True), target / f"{name}-{width}-{colors}.png")
            shown.pdf(path=target / f"{name}.pdf", format="A4")
        os.chdir(ROOT)


if __name__ == "__main__":
    main()

"""``--output html`` of every command: whole pages that load nothing, say what the terminal says, and show why."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from plansguard.core import disk
from plansguard.render import is_report
from tests.rules.pg7_run.trainings import READY
from tests.support.command import run
from tests.support.models import CHECKPOINT
from tests.support.reports import save
from tests.support.training_records import leave
from tests.support.variants import ROOTS

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
PLANS = f"{ROOTS['preprocessed']}/{RECEIVING}/nnUNetPlans.json"
TRAINING = ("2", "3d_fullres", "0", "-device", "cpu")
COMMANDS = {
    "check": ("check", "-d", "2"),
    "check with weights": ("check", "-d", "2", "-pretrained_weights", str(CHECKPOINT)),
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--dry-run"),
    "derive": (
        "derive",
        "-d",
        "2",
        "-p",
        "nnUNetPlans",
        "-tp",
        "Derived",
        "--set",
        "3d_fullres.batch_size=4",
        "--dry-run",
    ),
    "gate": ("gate", "--dry-run", "--", "nnUNetv2_train", *TRAINING),
    "train": ("train", *TRAINING, "--steps", "2000", "--warmup", "100", "--dry-run"),
    "fit": ("fit", str(CHECKPOINT), "--all"),
    "diff": ("diff", PLANS, PLANS.replace(RECEIVING, GIVING)),
    "show plans": ("show", PLANS),
    "show weights": ("show", str(CHECKPOINT)),
    "verify-receipt": ("verify-receipt", ROOTS["results"]),
    "doctor": ("doctor",),
}
#: Elements that HTML does not close.
VOID = {"meta", "br", "input", "img"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.workspace(RECEIVING, GIVING, chdir=True),
    pytest.mark.usefixtures("workspace"),
]


class Page(HTMLParser):
    """A page: whether its elements are nested correctly, what it loads, its ids and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.ids: list[str] = []
        self.named_by: list[str] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self._text: dict[str, str] = {}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        """All text that is shown, with single blanks."""
        return " ".join("".join(text for tag, text in self._text.items() if tag not in ("style", "script")).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.elements[tag] += 1
        self.ids += [values[key] for key in ("id",) if key in values]
        self.named_by += [values[key] for key in ("aria-labelledby",) if key in values]
        self.loaded += [values[key] for key in ("src", "srcset", "data") if key in values]
        (self.links if tag == "a" else self.loaded).extend(values[key] for key in ("href",) if key in values)
        if tag not in VOID and not self.get_starttag_text().rstrip().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and not (self.get_starttag_text() or "").startswith(f"<{tag}/"):
            assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.handle_data(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1

    def handle_data(self, data: str) -> None:
        kind = self.open[-1] if self.open and self.open[-1] in ("style", "script") else "text"
        self._text[kind] = self._text.get(kind, "") + data


def page_of(words: tuple[str, ...], *, code: int | None = None, name: str = "page.html") -> Page:
    at = words.index("--") if "--" in words else len(words)
    done = run(*words[:at], "--output", f"html={name}", *words[at:])
    assert done.code in ((0, 1) if code is None else (code,)), done.err
    return Page(Path(name))


def edited(plans: str, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(Path(plans).read_bytes())
    change(document)
    save(plans, document)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_is_whole(command: str, workspace: Path) -> None:
    leave(workspace)
    page = page_of(COMMANDS[command])
    assert is_report(Path("page.html"))
    assert page.elements["h1"] == page.elements["main"] == page.elements["script"] == 1
    assert [name for name, times in Counter(page.ids).items() if times > 1] == []
    assert set(page.named_by) <= set(page.ids)
    assert page.elements["svg"] <= len(page.named_by)
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert all(address.startswith("https://github.com/plansguard/") for address in page.links)
    assert "url(" not in page.source
    assert "@import" not in page.source
    page_of(COMMANDS[command])  # it may be written over


@pytest.mark.parametrize("command", ["check with weights", "gate", "train", "migrate"])
def test_a_page_has_the_texts_of_the_terminal(command: str) -> None:
    words = COMMANDS[command]
    at = words.index("--") if "--" in words else len(words)
    report = run(*words[:at], "--output", "json", *words[at:]).json
    page = page_of(words)
    for finding in report["findings"]:
        for key in ("message", "fix"):
            assert " ".join(finding[key].split()) in page.text
    assert report["summary"]["not_checked"] == 0 or "Not checked" in page.text


def test_an_edited_spacing_is_seen() -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    plans = PLANS.replace("nnUNetPlans", "Moved")
    edited(plans, lambda document: document["configurations"]["3d_fullres"].update(spacing=[1.0, 0.8, 0.8]))
    text = page_of(("check", "-d", "2", "-p", "Moved", "-c", "3d_fullres"), code=1).text
    assert "an object has 2.5, 1, 1 times as many voxels" in text
    assert "spacing [2.5, 0.8, 0.8] [1.0, 0.8, 0.8] differs" in text
    assert "target spacing 1 mm; Dataset001_PretrainCT 2.5; Dataset002_FinetuneCT 1.5; finer than every image" in text


def test_foreign_intensities_are_seen() -> None:
    def foreign(document: dict[str, Any]) -> None:
        entry = document["foreground_intensity_properties_per_channel"]["0"]
        entry.update(percentile_00_5=1100.0, percentile_99_5=2140.0, mean=1534.0)

    edited(PLANS, foreign)
    text = page_of(("check", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres"), code=1).text
    assert "CT, CTNormalization: the plans clip to 1,100 to 2,140; 99 % of the foreground of" in text
    assert "are between 12 and 128" in text


def test_another_channel_has_its_own_name(workspace: Path) -> None:
    place = workspace / ROOTS["preprocessed"] / GIVING / "dataset.json"
    edited(str(place), lambda document: document.update(channel_names={"0": "Xray"}))
    text = page_of(COMMANDS["migrate"]).text
    assert f"99 % of the foreground of {GIVING} (Xray) are between 20 and 124" in text
    assert f"99 % of the foreground of {RECEIVING} are between 12 and 128" in text


def test_another_topology_is_seen() -> None:
    words = ("check", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "-pretrained_weights", str(CHECKPOINT))
    page = page_of(words, code=1)
    assert "3 stages do not match the weights" in page.text
    assert "stage 0 has kernels of [3, 3, 3] here and [1, 3, 3] in the weights" in page.text
    assert "32 features, kernel 1 x 3 x 3, stride 1 x 1 x 1, 2 + 2 blocks" in page.text
    assert page.source.count('<rect class="differing"') >= 5  # both sides of two stages, and the bottleneck


def test_the_learning_rate() -> None:
    text = page_of(COMMANDS["train"]).text
    assert (
        "2,000 optimiser steps in 8 windows; the highest learning rate is 0.01, reached after a warm-up of 100" in text
    )


def test_a_dry_run_shows_what_would_run(workspace: Path) -> None:
    """As the terminal does: not where the training is refused."""
    line = f'would run, after eval "$(plansguard env)": nnUNetv2_train {" ".join(TRAINING[:3])} -tr '
    assert line not in page_of(COMMANDS["train"]).text
    for edit in READY:
        edit(workspace, RECEIVING)
    command = (*COMMANDS["train"], "--data", "headers")
    assert line in page_of(command).text
    assert line in run(*command).err


def test_a_migration_shows_both_datasets_and_the_changes() -> None:
    text = page_of(COMMANDS["migrate"]).text
    assert "Dataset001_PretrainCT 2.5; Dataset002_FinetuneCT 1.5" in text
    assert 'dataset_name "Dataset001_PretrainCT" "Dataset002_FinetuneCT"' in text
    assert '+ "dataset_name": "Dataset002_FinetuneCT"' in text
    assert "Next, after the same without --dry-run" in text
    written = page_of(COMMANDS["migrate"][:-1]).text
    assert "without --dry-run" not in written
    assert "Next" in written


def test_a_comparison_counts_by_consequence() -> None:
    """A name of its own is bookkeeping, not a difference of trainings; both outputs say the same."""
    renamed = json.loads(Path(PLANS).read_bytes())
    renamed["plans_name"] = "Renamed"
    Path("renamed.json").write_text(json.dumps(renamed), encoding="utf-8")
    assert run("diff", PLANS, "renamed.json", "--output", "text", "--output", "html=x.html").out.endswith(
        "differences: 1 field of bookkeeping\n"
    )
    assert "differences: 1 field of bookkeeping" in Page(Path("x.html")).text


def test_markup_in_names_stays_text(workspace: Path) -> None:
    name = "Dataset009_<script>alert(1)<"
    folder = workspace / ROOTS["preprocessed"]
    (folder / RECEIVING).rename(folder / name)
    plans = folder / name / "nnUNetPlans.json"
    edited(str(plans), lambda document: document.update(dataset_name=name, plans_name="<b>&amp;"))
    edited(str(plans), lambda document: document["configurations"].update({"<i>": {"inherits_from": "2d"}}))
    page = page_of(("check", str(folder / name)))
    assert page.elements["script"] == 1
    assert page.elements["b"] == page.elements["i"] == 0
    assert name in page.text


def test_pages_of_many_cases_are_small(workspace: Path) -> None:
    """And no page has pictures of more configurations than anyone looks at."""
    place = workspace / ROOTS["preprocessed"] / RECEIVING / "dataset_fingerprint.json"
    fingerprint = json.loads(place.read_bytes())
    for key in ("spacings", "shapes_after_crop"):
        fingerprint[key] = (fingerprint[key] * 2000)[:10_000]
    place.write_text(json.dumps(fingerprint))
    page_of(("check", "-d", "2"))
    assert Path("page.html").stat().st_size < 500_000
    for number in range(10, 16):
        shutil.copytree(place.parent, place.parent.with_name(f"Dataset{number:03d}_Copy"))
    assert "without pictures: name datasets" in page_of(("check", ROOTS["preprocessed"])).text


def test_the_datasets_with_findings_have_pictures_first(workspace: Path) -> None:
    folder = workspace / ROOTS["preprocessed"]
    for name in (f"Dataset{number:03d}_Copy" for number in range(10, 16)):
        shutil.copytree(folder / GIVING, folder / name)
        for path in (folder / name).glob("*.json"):
            path.write_text(path.read_text().replace(GIVING, name))
    edited(
        str(folder / "Dataset015_Copy/nnUNetPlans.json"),
        lambda document: document["configurations"]["3d_fullres"].update(spacing=[9.0, 0.8, 0.8]),
    )
    page = page_of(("check", ROOTS["preprocessed"]))
    assert re.findall("<small>(.*)</small>", page.source)[0] == "nnUNetPlans, Dataset015_Copy"


def test_a_report_of_a_workspace(workspace: Path) -> None:
    (workspace / ROOTS["preprocessed"] / "Dataset009_Broken").mkdir()
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    done = run("report", "-o", "overview")
    assert (done.code, done.out) == (0, "wrote overview/index.html and 3 pages of datasets\n")
    index = Page(Path("overview/index.html"))
    assert set(index.links) >= {f"{GIVING}.html", f"{RECEIVING}.html"}
    assert all(Path("overview", link).is_file() for link in index.links)
    assert f"Moved from {GIVING}: 2d (no data), 3d_fullres (no data)" in index.text
    assert "loads" in index.text or "preprocess" in index.text
    assert run("report", "-o", "overview").code == 0  # written over


def test_a_report_reads_each_document_of_a_dataset_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its check, its page and the weights that it is compared with."""
    reads: Counter[str] = Counter()

    def read(path: str | Path, most: int) -> bytes | None:
        reads[Path(path).name] += Path(path).parent.parts[-2:] == (ROOTS["preprocessed"], RECEIVING)
        return original(path, most)

    original = disk.limited_content
    monkeypatch.setattr(disk, "limited_content", read)
    assert run("report", "-o", "overview").code == 0
    assert {name: count for name, count in reads.items() if count > 1} == {}
    assert reads["nnUNetPlans.json"] == 1


def test_a_report_replaces_nothing_else(workspace: Path) -> None:
    Path("overview").mkdir()
    Path("overview/index.html").write_text("<html>mine</html>\n")
    done = run("report", "-o", "overview")
    assert done.code == 2
    assert Path("overview/index.html").read_text() == "<html>mine</html>\n"


def test_a_report_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ROOTS.values():
        monkeypatch.setenv(variable, "empty")
    done = run("report")
    assert done.code == 2
    assert "there are no datasets in nnU-Net's folders" in done.err


@pytest.mark.parametrize("words", [COMMANDS["migrate"][:-1], ("report",)])
def test_without_jinja2_nothing_is_done(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = run(*words, *(() if words == ("report",) else ("--output", "html=page.html")))
    assert done.code == 2
    assert "pip install 'plansguard[report]'" in done.err
    assert not Path("page.html").exists()
    assert not Path(PLANS.replace("nnUNetPlans", "Moved")).exists()


#: Places of numbers that pictures show: in plans, and in the fingerprint.
NUMBERS = {
    "nnUNetPlans.json": (
        ("configurations", "3d_fullres", "spacing"),
        ("configurations", "3d_fullres", "patch_size"),
        ("configurations", "3d_fullres", "architecture", "arch_kwargs", "features_per_stage"),
        ("configurations", "3d_fullres", "architecture", "arch_kwargs", "strides", 1),
        ("foreground_intensity_properties_per_channel", "0"),
    ),
    "dataset_fingerprint.json": (
        ("spacings", 0),
        ("shapes_after_crop", 0),
        ("foreground_intensity_properties_per_channel", "0"),
    ),
}


@pytest.mark.parametrize(
    "number", [1e308, 10**400, -(10**400), -1e308, 5e-324, 10**30], ids=lambda number: f"{str(number)[:5]}"
)
@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in NUMBERS.items() for path in paths], ids=str)
def test_numbers_that_are_too_large_to_be_shown(
    workspace: Path, name: str, path: tuple[str | int, ...], number: float
) -> None:
    file = workspace / ROOTS["preprocessed"] / RECEIVING / name
    document = json.loads(file.read_bytes())
    values = document
    for key in path:
        values = values[key]
    for key in values if isinstance(values, dict) else range(len(values)):
        values[key] = number
    file.write_text(json.dumps(document), encoding="utf-8")
    done = run("check", "-d", "2", "--output", "html=page.html")
    assert done.code in (0, 1, 2)
    assert b"</html>" in disk.content("page.html"), done.err
    assert run("show", PLANS, "--output", "json").code == 0


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_pages_in_the_place_of_a_file(place: str) -> None:
    Path("taken").write_bytes(b"mine")
    done = run("report", "-o", place)
    assert (done.code, done.err) == (
        2,
        f"plansguard: {place} cannot be a folder: a file is there\n  name another with -o\n",
    )
    assert Path("taken").read_bytes() == b"mine"


def test_errors_of_the_system_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "pages")

    monkeypatch.setattr(Path, "mkdir", closed)
    done = run("report")
    assert (done.code, done.err) == (
        2,
        "plansguard: pages: Permission denied\n  check this place, its permissions and its space; then try again\n",
    )

"""What commands may write over: their own reports, and nothing else. Every writer meets every kind of file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.core.report import Finding, Location, Report, Severity, SkippedRules
from plansguard.render import FORMATS, is_report, render
from tests.support.command import run, start
from tests.support.models import CHECKPOINT
from tests.support.reports import BROKEN, plans, save
from tests.support.variants import place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"

pytestmark = [pytest.mark.deep, pytest.mark.workspace(OTHER_CT, CT, chdir=True)]

TRAINING = ("nnUNetv2_train", "2", "3d_fullres", "0", "-device", "cpu")
#: command -> its words; the path that it writes to is appended to the last one
WRITERS = {
    **{f"check --output {name}": ("check", "-d", "2", "--output", f"{name}=") for name in FORMATS},
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--output", "json="),
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
        "--output",
        "json=",
    ),
    "migrate --dry-run": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--dry-run", "--output", "text="),
    "extract": ("extract", str(CHECKPOINT), "-o", ""),
    "extract --dataset-json": ("extract", str(CHECKPOINT), "-o", "extracted.json", "--dataset-json", ""),
}
every_writer = pytest.mark.parametrize("writer", WRITERS)


def words(writer: str, path: str) -> tuple[str, ...]:
    *others, last = WRITERS[writer]
    return (*others, last + path)


def user_file(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("x")


def link_to_a_report(path: Path) -> None:
    report_in(Path("report.json"))
    path.symlink_to("report.json")


def dangling_link(path: Path) -> None:
    path.symlink_to("nothing")


def hard_link_to_plans(path: Path) -> None:
    save("plans.json", plans())
    os.link("plans.json", path)


def report_in(path: Path) -> None:
    path.write_text(render(Report("check", (), 1), "json"))


#: What no command may replace.
KEPT = {
    "a checkpoint": user_file(CHECKPOINT.read_bytes()),
    "a label image": user_file(b"\x1f\x8b\x08\x00" + bytes(400)),
    "plans": user_file(json.dumps(plans()).encode()),
    "damaged plans": user_file(json.dumps(plans()).encode()[:900]),
    "notes that end as a report does": user_file(b"my notes\nno findings in 5 files\n"),
    "notes that begin as a report does": user_file(b"error[PG101] the patch is\n  my notes on it\n"),
    "binary data": user_file(bytes(range(256)) * 40),
    "a folder": folder,
    "a link to a report": link_to_a_report,
    "a link to nothing": dangling_link,
    "a hard link to plans": hard_link_to_plans,
}


def tree() -> dict[str, bytes | str]:
    """Everything in the workspace: content of files, targets of links."""
    entries = sorted(path for path in Path().rglob("*") if path.is_symlink() or path.is_file())
    return {str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes() for path in entries}


@pytest.mark.slow
@every_writer
@pytest.mark.parametrize("kind", KEPT)
def test_nothing_else_is_written_over(workspace: Path, writer: str, kind: str) -> None:
    """The command is refused before it writes anything, migrated plans among it."""
    KEPT[kind](Path("taken"))
    before = tree()
    done = run(*words(writer, "taken"))
    assert done.code == 2
    assert "taken" in done.err
    assert done.out == ""
    assert tree() == before


@every_writer
def test_a_free_path_and_the_same_again(workspace: Path, writer: str) -> None:
    """Reports replace reports, also of another format; extract leaves a file that holds the same."""
    assert run(*words(writer, "free")).code == 0
    assert Path("free").exists()
    if writer.startswith("check"):
        report_in(Path("free"))
    assert run(*words(writer, "free")).code == 0


@pytest.mark.parametrize("output", FORMATS)
def test_an_empty_file_is_no_loss(workspace: Path, output: str) -> None:
    Path("empty").touch()
    assert run("check", "-d", "2", "--output", f"{output}=empty").code == 0
    assert (Path("empty").stat().st_size > 0) is (output != "concise")


@pytest.mark.parametrize("second", ["r.json", "./r.json", "folder/../r.json", "link/r.json"])
def test_two_reports_in_one_file(workspace: Path, second: str) -> None:
    Path("folder").mkdir()
    Path("link").symlink_to(".")
    done = run("check", "-d", "2", "--output", "json=r.json", "--output", f"github={second}")
    assert done.code == 2
    assert f"another report goes to {Path(second)} as well" in done.err
    assert not Path("r.json").exists()


@pytest.mark.parametrize("name", ["Moved.json", "Moved.plansguard.json"])
def test_a_report_in_the_place_of_what_is_written(workspace: Path, name: str) -> None:
    """It is refused before anything is written."""
    before, path = tree(), place(workspace, OTHER_CT, f"preprocessed/{name}")
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--output", f"json={path}")
    assert (done.code, done.out) == (2, "")
    assert f"the migration itself writes {path}" in done.err
    assert tree() == before


@pytest.mark.parametrize("stream", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no such paths")
def test_streams_by_name(workspace: Path, stream: str, tmp_path: Path) -> None:
    """The file behind standard output is written to, not replaced."""
    with (tmp_path / "out").open("w+") as out:
        assert start("check", "-d", "2", "--output", f"json={stream}", stdout=out).returncode == 0
        assert os.fstat(out.fileno()).st_nlink == 1
        out.seek(0)
        assert json.load(out)["schema"] == "plansguard/report/1"


REPORTS = {
    "nothing": Report("check", (), 0),
    "no findings": Report("check", (), 1),
    "not checked": Report("check", (), 2, (), (SkippedRules("P.json", "why", (("PG101", "x"),)),)),
    **{
        f"{severity}{', ignored' if ignored else ''}": Report(
            "check", (), 1, (Finding("PG101", "x", severity, "m", "f", Location("P.json"), ignored=ignored),)
        )
        for severity in Severity
        for ignored in (None, "on purpose")
    },
}


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("report", REPORTS)
def test_every_report_is_recognised(output: str, report: str, tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text(render(REPORTS[report], output))
    assert is_report(path)


@pytest.mark.parametrize("output", FORMATS)
def test_real_reports_are_recognised(workspace: Path, output: str) -> None:
    save("P.json", plans(BROKEN))
    for arguments in (("P.json",), ("-d", "2"), ("-d", "1", "-p", "Missing")):
        assert run("check", *arguments, "--output", f"{output}=report").code in (0, 1, 2)
        assert is_report(Path("report"))

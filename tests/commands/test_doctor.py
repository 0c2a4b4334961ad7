"""``plansguard doctor``: the command, and what files and variables alone cannot show."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from plansguard import __version__
from plansguard.commands.doctor import doctor
from plansguard.core import disk
from plansguard.core.errors import UnreadableFolder
from plansguard.nnunet.install import packages
from plansguard.subjects import machine
from tests.support.command import run
from tests.support.nnunets import install, noted

pytestmark = pytest.mark.workspace("Dataset002_FinetuneCT", chdir=True)


@pytest.fixture(autouse=True)
def site(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nnU-Net in a few lines, before all others; no other can be imported or started."""
    folder = install(workspace / "site", monkeypatch, nnunetv2="2.8.1", torch="2.8.0", torchvision="0.23.0")
    (folder / "torchvision").mkdir()
    (folder / "torchvision/__init__.py").touch()
    monkeypatch.setattr(packages, "sys", SimpleNamespace(path=[str(folder)], executable=sys.executable))
    monkeypatch.setenv("PATH", str(workspace / "bin"))
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    return folder


def test_a_healthy_machine(workspace: Path) -> None:
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    first, second, third, shared, files, *folders, empty, last = done.out.splitlines()
    assert first.startswith(f"plansguard {__version__}, Python 3.")
    assert second.startswith("nnunetv2 2.8.1, torch 2.8.0, torchvision 0.23.0")
    assert third == "1e+12 cores, 1000 GB of memory"
    assert (shared, files) == ("1000 GB of shared memory in /dev/shm", "1000000 open files of a process")
    assert folders == [f"{name}={workspace}/{name}" for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")]
    assert (empty, last) == ("", f"no findings in {doctor().documents} checks")


def test_a_machine_on_which_no_process_can_be_started(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "sys", SimpleNamespace(path=[str(site)], executable=os.devnull))
    done = run("doctor", "--verbose")
    assert (done.code, done.err) == (0, "")
    assert "no other process of /dev/null can be started: Permission denied" in done.out


def test_a_limited_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = machine.Limit(0.5, "taskset"), machine.Limit(2e9, "SLURM_MEM_PER_NODE")
    monkeypatch.setattr(machine, "here", lambda: machine.Machine(*limits, None, None))
    assert run("doctor").out.splitlines()[2] == "0.5 cores (taskset), 2.0 GB of memory (SLURM_MEM_PER_NODE)"


def test_findings_in_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results")
    done = run("doctor", "--output", "json", "--output", "text=report.txt", "--output", "github=report.github")
    assert done.code == 1
    assert [one["code"] for one in done.json["findings"]] == ["PG808"]
    assert (
        "error[PG808] nnUNet_results is not set: nnU-Net does not know the folder of trained models\n  nnUNet_results\n"
        in Path("report.txt").read_text()
    )
    assert run("doctor", "--output", "text=report.txt", "--output", "github=report.github").code == 1
    assert "nnUNet_results is not set" in run("doctor").out


@pytest.mark.parametrize(("version", "fulfilled"), [("0.2.6", True), ("0.2.5", False)])
def test_names_of_packages_as_pip_writes_them(site: Path, version: str, fulfilled: bool) -> None:
    """acvl_utils and simpleitk, where nnU-Net asks for acvl-utils and SimpleITK."""
    noted(site, "nnunetv2", "2.8.1", "Requires-Dist: acvl-utils<0.3,>=0.2.6\nRequires-Dist: SimpleITK>=2.2.1\n")
    noted(site, "acvl_utils", version)
    noted(site, "simpleitk", "2.5.3")
    assert ("PG816" not in run("doctor").out) is fulfilled


def test_settings_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results")
    Path("plansguard.json").write_text(json.dumps({"severity": {"variable-not-set": "warning"}}))
    assert run("doctor").code == 0
    assert run("doctor", "--fail-on", "warning").code == 1


@pytest.mark.parametrize(
    ("refused", "found"),
    [
        ({("nnUNet_results", True)}, "nnUNet_results names {}/nnUNet_results, which this user cannot write"),
        ({("nnUNet_preprocessed", True), ("nnUNet_preprocessed", False)}, "which this user cannot read"),
        ({("nnUNet_raw", False)}, "nnUNet_raw names {}/nnUNet_raw, which this user cannot read"),
        ({("nnUNet_raw", True)}, None),
    ],
    ids=["results", "preprocessed", "raw", "raw-is-not-written"],
)
def test_permissions(
    refused: set[tuple[str, bool]], found: str | None, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_accessible(path: str | Path, *, write: bool = False) -> bool:
        return (Path(path).name, write) not in refused

    monkeypatch.setattr(disk, "is_accessible", is_accessible)
    messages = [finding.message for finding in doctor().findings]
    assert len(messages) == (found is not None)
    assert found is None or found.format(workspace) in messages[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(workspace: Path) -> None:
    (workspace / "nnUNet_results").chmod(0o500)
    assert [finding.code for finding in doctor().findings] == ["PG813"]


@pytest.mark.parametrize(("free", "codes"), [(2.1, []), (1.9, ["PG814", "PG814"])])
def test_space(free: float, codes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(free * 10**9)))
    assert [finding.code for finding in doctor().findings] == codes


def test_a_check_that_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the result is incomplete."""

    def broken(path: Path) -> None:
        raise ValueError("no such disk")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    done = run("doctor")
    assert done.code == 2
    assert "error[PG000] the rule PG814 failed" in done.out
    assert "no such disk" in done.out


def test_a_folder_that_cannot_be_listed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it is not known; the folder itself is reported."""

    def closed(folder: Path) -> frozenset[str]:
        if folder.name == "nnUNet_raw":
            raise UnreadableFolder(str(folder), "the folder cannot be listed: Permission denied")
        return frozenset()

    monkeypatch.setattr(disk, "folder_names", closed)
    report = doctor()
    assert [(one.code, one.reason) for one in report.not_checked] == [
        ("PG812", f"{workspace}/nnUNet_raw: the folder cannot be listed: Permission denied")
    ]
    assert report.exit_code() == 2


def test_without_nnunet(monkeypatch: pytest.MonkeyPatch) -> None:
    """For information: everything else of plansguard works without it."""
    monkeypatch.setattr(packages, "version", lambda name: None)
    assert [(finding.code, str(finding.severity)) for finding in doctor().findings] == [("PG816", "info")]
    assert run("doctor").code == 0


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"nnunetv2": "2.8.1"}
    monkeypatch.setattr(packages, "version", versions.get)
    assert [(finding.code, str(finding.severity)) for finding in doctor().findings] == [("PG816", "error")]


def test_torchvision_is_loaded_in_another_process(site: Path) -> None:
    (site / "torchvision/__init__.py").write_text("import sys\nsys.exit('operator torchvision::nms does not exist')\n")
    noted(site, "torch", "2.8.0+cu126")
    before = sys.modules.get("torchvision")  # another test of this process may have loaded it
    (finding,) = doctor().findings
    assert finding.message.endswith("cannot be loaded with torch 2.8.0+cu126: operator torchvision::nms does not exist")
    assert finding.fix.endswith(
        "pip install --force-reinstall torch==2.8.0 torchvision --index-url https://download.pytorch.org/whl/cu126"
    )
    assert sys.modules.get("torchvision") is before


@pytest.mark.parametrize(
    ("requires", "found"),
    [
        ("numpy>=1.24", []),
        ("scipy", ["scipy (not installed)"]),
        ("numpy (<2)", ["numpy<2 (2.1.0 is installed)"]),
        ("acvl-utils>=0.2,<0.3", ["acvl-utils>=0.2,<0.3 (not installed)"]),
        ("scipy; extra == 'dev'", []),
        ("scipy @ https://example.org/x", []),
    ],
)
def test_requirements(requires: str, found: list[str], site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "2.1.0", "nnunetv2": "2.8.1"}
    monkeypatch.setattr(packages, "version", versions.get)
    monkeypatch.setattr(packages, "_numbers", lambda name: tuple(map(int, versions[name].split("."))))
    noted(site, "nnunetv2", "2.8.1", f"Requires-Dist: {requires}\n")
    assert [f"{each.asked} ({each.present})" for each in packages.unfulfilled("nnunetv2")] == found

"""``plansguard preprocess`` with the real nnU-Net."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Severity
from plansguard.nnunet import runtime
from tests.support.command import Done, run
from tests.support.preprocessing import (
    NAMES,
    codes,
    edited,
    posix_only,
    preprocess,
    process,
    record_of,
    wait_for,
)
from tests.support.preprocessing_records import CT, FOLDER, MEAN
from tests.support.variants import PLANS, RESENC, in_both, lay_out, place, point_to, put, remove

pytestmark = [pytest.mark.slow, pytest.mark.nnunet]


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Done]]:
    """Dataset002, preprocessed by the real command through ours, and its output."""
    pytest.importorskip("nnunetv2", reason="runs the real nnunetv2")
    root = lay_out(tmp_path_factory.mktemp("real"), CT)
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, root)
        yield root, run("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "2d", "-np", "1")


@pytest.fixture
def real(preprocessed: tuple[Path, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    shutil.copytree(preprocessed[0], tmp_path / "workspace")
    set_environment(monkeypatch, tmp_path / "workspace")
    return tmp_path / "workspace"


def set_environment(patch: pytest.MonkeyPatch, workspace: Path) -> None:
    patch.delenv("nnUNet_n_proc_DA", raising=False)
    point_to(workspace, patch)


def wait_for_cases(workspace: Path) -> None:
    """Until nnU-Net, whose record is marked unfinished, has begun to write."""
    folder = place(workspace, CT, f"preprocessed/{FOLDER}")
    wait_for(lambda: record_of(workspace)["finished"] is None)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    wait_for(lambda: any(mtime(folder / name) not in (None, then) for name, then in before.items()))


def mtime(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def test_real_data_have_a_record(preprocessed: tuple[Path, Done], real: Path) -> None:
    done = preprocessed[1]
    assert done.code == 0, done.err
    assert {record_of(real, name)["nnunetv2"] for name in NAMES} == {"2.8.1"}
    assert {record_of(real, name)["files"]["cases"] for name in NAMES} == {5}
    assert codes() == []


def test_an_edit_after_real_preprocessing(real: Path) -> None:
    edited(real, remove(RESENC), put(PLANS, "/configurations/3d_fullres/spacing/0", 1.505))
    [finding] = [one for one in check(datasets=[CT]).findings if one.code == "PG540"]
    assert "spacing was [1.5, 1.2, 1.2], is [1.505, 1.2, 1.2]" in finding.message
    assert finding.location.pointer == "/configurations/3d_fullres/spacing/0"


def test_nnunet_by_hand_with_other_plans(real: Path) -> None:
    """Sizes alone reveal it: only the mean of the normalization differs."""
    edited(real, remove(RESENC), put(PLANS, MEAN, 79.0))
    command = [str(runtime.command("nnUNetv2_preprocess")), "-d", "2", "-c", "3d_fullres", "-np", "1"]
    subprocess.run(command, check=True, capture_output=True)
    assert [one.code for one in check(datasets=[CT], configuration="3d_fullres").findings] == ["PG541"]


@pytest.mark.long
def test_nnunet_by_hand_with_the_same_plans(real: Path) -> None:
    """The same data again: the record is still valid."""
    command = [str(runtime.command("nnUNetv2_preprocess")), "-d", "2", "-c", "3d_fullres", "-np", "1"]
    subprocess.run(command, check=True, capture_output=True)
    assert codes() == []


@posix_only
def test_real_preprocessing_killed(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, pid = tmp_path / "nnUNetv2_preprocess", tmp_path / "pid"
    program.write_text(f'#!/bin/sh\necho $$ >"{pid}"\nexec "{runtime.command(program.name)}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(runtime, "command", lambda name: str(program))
    with process("-c", "3d_fullres", "--yes", "-np", "1") as running:
        wait_for_cases(real)
        running.kill()
        os.killpg(int(pid.read_text(encoding="utf-8")), signal.SIGKILL)
    assert record_of(real)["finished"] is None
    found = check(datasets=[CT], configuration="3d_fullres", plans="nnUNetPlans").findings
    assert "PG542" in [one.code for one in found]


@pytest.mark.long
@posix_only
def test_real_preprocessing_interrupted(real: Path) -> None:
    with process("-c", "3d_fullres", "2d", "--yes", "-np", "1") as running:
        wait_for_cases(real)
        running.send_signal(signal.SIGINT)
        assert running.wait(120) == 128 + signal.SIGINT
    assert record_of(real)["finished"] is None
    assert record_of(real, "nnUNetPlans_2d")["finished"] is not None  # was not begun
    assert "PG542" in codes()


def test_real_nnunet_fails(real: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An image that cannot be read: nnU-Net's own message comes through."""
    place(real, CT, "raw/imagesTr/fine_002_0000.nii.gz").write_bytes(b"no image")
    done = preprocess("-c", "3d_fullres", "--yes", "-np", "1")
    assert done.code == 4
    assert "Traceback" in capfd.readouterr().err
    assert record_of(real)["finished"] is None


@pytest.mark.long
@posix_only
def test_nnunet_cannot_delete_a_link(real: Path) -> None:
    """And without the link, as the message says, it can."""
    folder = place(real, CT, f"preprocessed/{FOLDER}")
    folder.rename(real / "elsewhere")
    folder.symlink_to(real / "elsewhere", target_is_directory=True)
    program = runtime.command("nnUNetv2_preprocess")
    assert program is not None
    words = [program, "-d", "2", "-plans_name", "nnUNetPlans", "-c", "3d_fullres", "-np", "1"]
    failed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "Cannot call rmtree on a symbolic link" in failed.stderr
    assert preprocess("-c", "3d_fullres", "--yes").code == 2
    folder.unlink()
    assert run("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "-np", "1", "--yes").code == 0


def test_a_label_added_after_preprocessing_is_one_finding(real: Path) -> None:
    labels = {**json.loads(place(real, CT, "raw/dataset.json").read_bytes())["labels"], "cyst": 2}
    edited(real, *in_both("/labels", labels))
    with place(real, CT, "raw/labelsTr/fine_001.nii.gz").open("ab") as stream:
        stream.write(b"\0")
    report = check(datasets=["2"], plans="nnUNetPlans")
    (cause,) = (cause for cause in report.causes if cause.severity is Severity.ERROR)
    assert cause.finding.code == "PG540"
    assert "plansguard preprocess -d 2 -p nnUNetPlans -c 2d -c 3d_fullres" in cause.finding.fix
    assert {finding.code for finding in cause.consequences} == {"PG509", "PG512", "PG513", "PG540"}

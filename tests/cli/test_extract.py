"""`plansguard extract`: plans from checkpoints and models, without loss at the destination."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.command import run, start
from tests.support.models import CHECKPOINT, FIXTURE, MODEL, copy_of_model, edit, pack

PLANS = (FIXTURE / "plans.json").read_bytes()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("option", ["-o", "--dataset-json"])
def test_the_weights_are_not_replaced(option: str) -> None:
    """By what is in them, even with --force."""
    path = Path(shutil.copy(CHECKPOINT, "weights.pth"))
    before = path.read_bytes()
    done = run("extract", path, option, "./weights.pth", "--force")
    assert (done.code, done.out) == (2, "")
    assert "is what the plans are extracted from" in done.err
    assert path.read_bytes() == before


# --- What is extracted ---


def test_plans_of_a_checkpoint_are_those_nnunet_wrote() -> None:
    done = run("extract", CHECKPOINT, "-o", "plans.json")
    assert done.code == 0, done.err
    assert Path("plans.json").read_bytes() == PLANS
    assert done.out.splitlines()[0] == "wrote plans.json"
    assert f"plansguard migrate -s {CHECKPOINT} -t DATASET -tp NEW_NAME" in done.out


def test_plans_of_a_model_come_out_byte_for_byte() -> None:
    """Even if they were saved otherwise than by nnU-Net."""
    model = copy_of_model(Path())
    odd = json.dumps(json.loads(PLANS), indent="\t").encode() + b"\n"
    (model / "plans.json").write_bytes(odd)
    for number, source in enumerate((model, pack(Path("model.zip"), model))):
        assert run("extract", source, "-o", f"{number}.json").code == 0
        assert Path(f"{number}.json").read_bytes() == odd


def test_on_the_screen_there_is_nothing_else() -> None:
    for options in ((), ("-o", "-")):
        done = start("extract", CHECKPOINT, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.encode() == PLANS


def test_the_dataset_json_on_the_screen() -> None:
    done = run("extract", CHECKPOINT, "-o", "plans.json", "--dataset-json", "-")
    assert (done.code, done.err) == (0, "wrote plans.json\n")
    assert done.json == json.loads((FIXTURE / "dataset.json").read_bytes())
    assert Path("plans.json").read_bytes() == PLANS
    done = run("extract", CHECKPOINT, "--dataset-json", "-")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: -o and --dataset-json both name the screen\n")
    assert [path.name for path in Path().iterdir()] == ["plans.json"]


def test_what_was_written_before_a_file_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full after the plans."""
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if Path("plans.json").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    done = run("extract", CHECKPOINT, "-o", "plans.json", "--dataset-json", "dataset.json")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == "plansguard: cannot write dataset.json: No space left on device"
    assert done.err.splitlines()[1].startswith("  wrote plans.json; nothing was changed there; ")


@pytest.mark.parametrize("source", [CHECKPOINT, FIXTURE])
def test_the_dataset_json_of_the_training(source: Path) -> None:
    assert run("extract", source, "-o", "plans.json", "--dataset-json", "dataset.json").code == 0
    assert json.loads(Path("dataset.json").read_bytes()) == json.loads((FIXTURE / "dataset.json").read_bytes())


def test_what_was_extracted_can_be_migrated_and_shown() -> None:
    run("extract", CHECKPOINT, "-o", "plans.json", "--dataset-json", "dataset.json")
    assert run("show", "plans.json").code == 0


def test_models_with_different_plans() -> None:
    flat = copy_of_model(Path(), "nnUNetTrainer__nnUNetPlans__2d")
    edit(flat / "plans.json", lambda plans: plans.update(note="other"))
    archive = pack(Path("two.zip"), FIXTURE, flat)
    done = run("extract", archive)
    assert done.code == 2
    assert "contains models with different plans: name one with -p" in done.err
    assert run("extract", archive, "-p", "2d", "-o", "2d.json").code == 0
    assert json.loads(Path("2d.json").read_bytes())["note"] == "other"
    assert run("extract", archive, "-p", MODEL, "-o", "3d.json").code == 0
    assert Path("3d.json").read_bytes() == PLANS


# --- Existing files ---


def test_other_content_is_not_replaced() -> None:
    Path("plans.json").write_text("mine")
    done = run("extract", CHECKPOINT, "-o", "plans.json", "--dataset-json", "dataset.json")
    assert done.code == 2
    assert "plans.json exists already and holds something else" in done.err
    assert "--force" in done.err
    assert Path("plans.json").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["plans.json"]


def test_force_keeps_a_backup() -> None:
    Path("plans.json").write_text("mine")
    done = run("extract", CHECKPOINT, "-o", "plans.json", "--force")
    assert done.code == 0
    (backup,) = Path().glob("plans.json.*.bak")
    assert backup.read_text() == "mine"
    assert f"kept the previous content as {backup}" in done.out
    assert Path("plans.json").read_bytes() == PLANS


def test_the_same_content_is_left_alone() -> None:
    Path("plans.json").write_bytes(PLANS)
    before = Path("plans.json").stat().st_mtime_ns
    done = run("extract", CHECKPOINT, "-o", "plans.json")
    assert done.code == 0
    assert "plans.json holds this already" in done.out
    assert Path("plans.json").stat().st_mtime_ns == before


# --- Errors ---


def test_a_folder_for_output() -> None:
    Path("out").mkdir()
    done = run("extract", CHECKPOINT, "-o", "out")
    assert done.code == 2
    assert "out is a folder" in done.err
    assert "out/plans.json" in done.err


def test_both_into_one_file() -> None:
    done = run("extract", CHECKPOINT, "-o", "x.json", "--dataset-json", "./x.json")
    assert done.code == 2
    assert not Path("x.json").exists()


def test_no_dataset_json_to_extract() -> None:
    model = copy_of_model(Path())
    (model / "dataset.json").unlink()
    done = run("extract", model, "-o", "plans.json", "--dataset-json", "dataset.json")
    assert done.code == 2
    assert "holds no dataset.json" in done.err
    assert not Path("plans.json").exists()


def test_plans_need_no_extraction() -> None:
    shutil.copy(FIXTURE / "plans.json", "plans.json")
    done = run("extract", "plans.json")
    assert done.code == 2
    assert "plans.json holds plans already" in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<!DOCTYPE html><html></html>", "web page"), (b"PK\3\4", "cut short")],
)
def test_what_is_no_checkpoint(content: bytes, message: str) -> None:
    Path("x.pth").write_bytes(content)
    done = run("extract", "x.pth", "-o", "plans.json")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not Path("plans.json").exists()


def test_an_odd_plans_name_is_never_a_path() -> None:
    model = copy_of_model(Path())
    edit(model / "plans.json", lambda plans: plans.update(plans_name="../../owned\x1b[31m"))
    before = set(Path().rglob("*"))
    done = run("extract", model, "-o", "plans.json")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert set(Path().rglob("*")) - before == {Path("plans.json")}


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_sees_no_escapes() -> None:
    """JSON may hold C1 control characters as they are, and a model's file is copied byte for byte."""
    model = copy_of_model(Path())
    (model / "plans.json").write_bytes(PLANS.replace(b"SimpleITKIO", "\x9b31mred".encode()))
    ours, theirs = os.openpty()
    try:
        assert start("extract", model, stdout=theirs).returncode == 0
        os.set_blocking(ours, False)
        seen = os.read(ours, 100_000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"\\x9b31mred" in seen
    assert "\x9b".encode() not in seen

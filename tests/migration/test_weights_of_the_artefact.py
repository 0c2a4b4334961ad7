"""The weights of an artefact that plans were migrated from, in the commands after *Next*."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.discovery import dataset_of, plans_of
from plansguard.subjects.pretraining import pretraining_of
from tests.support.command import run
from tests.support.models import CHECKPOINT, FIXTURE, MODEL, copy_of_model, edit, pack

pytestmark = pytest.mark.workspace("Dataset002_FinetuneCT", folder="workspace")


@pytest.fixture(autouse=True)
def artefacts(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder beside the workspace."""
    monkeypatch.chdir(tmp_path)


def _model() -> Path:
    return copy_of_model(Path(), MODEL)


def _renamed_model() -> Path:
    return copy_of_model(Path(), "weights")


def _zip() -> Path:
    return pack(Path("model.zip"), FIXTURE)


def _checkpoint() -> Path:
    return Path(shutil.copy(CHECKPOINT, "some.pth"))


def _zip_of_a_model() -> Path:
    return pack(Path("model.zip"), FIXTURE, below="")


def _zip_of_another_trainer() -> Path:
    return pack(Path("model.zip"), copy_of_model(Path(), MODEL.replace("nnUNetTrainer", "nnUNetTrainerNoMirroring")))


def _unpacked_before() -> Path:
    path = _zip_of_a_model()
    shutil.unpack_archive(path, path.stem)
    return path


@pytest.mark.parametrize(
    "artefact",
    [_model, _renamed_model, _zip, _zip_of_a_model, _zip_of_another_trainer, _unpacked_before, _checkpoint],
)
def test_the_weights_after_preprocessing_are_those_after_the_migration(artefact: Callable[[], Path]) -> None:
    """The record names the artefact: the same commands, with real paths and the trainer of the weights."""
    next_ = [
        line.strip()
        for line in run("migrate", "-s", artefact(), "-t", "2", "-tp", "Pretrained")
        .out.partition("Next:\n")[2]
        .splitlines()
    ]
    dataset = dataset_of(Workspace.from_environment(), "2")
    pretraining = pretraining_of(dataset, plans_of(dataset, "Pretrained"), "3d_fullres")
    assert pretraining is not None
    commands = [*pretraining.commands(dataset.name, "3d_fullres", "Pretrained", "0")]
    assert next_[-len(commands) :] == commands
    assert "CHECKPOINT" not in " ".join(commands)
    is_packed = "zip" in artefact.__name__
    assert (len(commands), pretraining.is_there) == (2 if is_packed else 1, not is_packed)
    assert ("NoMirroring" in commands[-1].partition("-pretrained")[0]) is (artefact is _zip_of_another_trainer)


def test_a_plans_file_beside_a_loose_checkpoint_is_not_its_own() -> None:
    """It may be that of another checkpoint, as `plansguard extract -o plans.json` writes it."""
    checkpoint = _checkpoint()
    shutil.copy(FIXTURE / "plans.json", "plans.json")
    edit(Path("plans.json"), lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[9.0, 9.0, 9.0]))
    done = run("migrate", "-s", checkpoint, "-t", "2", "-tp", "Pretrained", "--dry-run", "--output", "json")
    assert {finding["code"] for finding in done.json["findings"]} == {"PG606"}
    assert "impossible" not in run("fit", checkpoint, "-d", "2").out

"""The weights of an artefact that plans were migrated from, in the commands after *Next*."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.discovery import dataset_of, plans_of
from plansguard.subjects.pretraining import pretraining_of
from tests.support.command import Done, run
from tests.support.models import CHECKPOINT, CT, FIXTURE, MODEL, copy_of_model, edit, pack
from tests.support.variants import ROOTS

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


# --- Those of a plans file, in nnUNet_results ---


def _plans_file() -> Path:
    return Path(shutil.copy(FIXTURE / "plans.json", "plans.json"))


def migrated(source: str | Path, *options: str) -> Done:
    return run("migrate", "-s", source, "-t", "2", "-tp", "Pretrained", "--dry-run", *options)


def codes(done: Done) -> set[tuple[str, str]]:
    return {(finding["code"], finding["severity"]) for finding in done.json["findings"]}


@pytest.mark.parametrize("trained", ["with these", "otherwise", "unfinished", "not at all", "with damaged plans"])
def test_a_model_of_the_plans_in_a_file(workspace: Path, trained: str) -> None:
    """One in nnUNet_results that was trained with exactly these plans shows the direction, and is named."""
    model = workspace / ROOTS["results"] / CT / MODEL
    weights = model / "fold_0/checkpoint_final.pth"
    shutil.copytree(FIXTURE, model)
    if trained == "otherwise":
        edit(model / "plans.json", lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[2.0, 1.0, 1.0]))
    elif trained == "unfinished":
        weights.rename(weights.with_name("checkpoint_latest.pth"))
    elif trained == "not at all":
        shutil.rmtree(weights.parent)
    elif trained == "with damaged plans":
        (model / "plans.json").write_text("{")
    is_found = trained in ("with these", "unfinished")
    done = migrated(_plans_file(), "--output", "json")
    assert codes(done) == (set() if is_found else {("PG411", "warning")})
    out = migrated("plans.json").out
    assert (f"-pretrained_weights {weights}" in out, "there are no weights" in out) == (is_found, not is_found)


@pytest.mark.parametrize("name", ["..", "../results", ""])
def test_a_file_that_names_no_dataset(workspace: Path, name: str) -> None:
    shutil.copytree(FIXTURE, workspace / ROOTS["results"] / CT / MODEL)
    path = _plans_file()
    edit(path, lambda plans: plans.update(dataset_name=name))
    assert ("PG411", "warning") in codes(migrated(path, "--output", "json"))

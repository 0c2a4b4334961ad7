"""Installed versions, a GPU and trainers, none of which is loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.nnunet import constants
from plansguard.nnunet.install import packages
from tests.nnunet.test_plans_diff import in_the_old_format
from tests.support import checkpoints
from tests.support.models import copy_of_model
from tests.support.nnunets import noted
from tests.support.variants import place
from tests.support.weights import CT, LABELS

pytestmark = pytest.mark.workspace(CT)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that precedes all installed ones."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(site: Path, **versions: str) -> None:
    """Write the metadata of packages, without the packages."""
    for name, version in versions.items():
        noted(site, name, version)


def weights(workspace: Path, name: str = "nnUNetPlans", **options: object) -> Path:
    plans, dataset_json = (
        json.loads(place(workspace, CT, f"preprocessed/{file}.json").read_bytes()) for file in (name, "dataset")
    )
    dataset_json["labels"] = LABELS
    return checkpoints.write(workspace / "weights.pth", plans, dataset_json, **options)  # type: ignore[arg-type]


def codes(name: str = "nnUNetPlans", weights: Path | None = None) -> set[str]:
    return {finding.code for finding in check(datasets=["2"], plans=name, weights=weights).findings}


@pytest.mark.parametrize(
    ("nnunetv2", "torch", "found"),
    [
        ("2.5.1", "2.6.0", True),
        ("2.5.2", "2.7.1+cu128", True),
        ("2.6.0", "2.6.0", False),
        ("2.5.1", "2.5.1", False),
        ("2.8.1", "2.9.0", False),
        ("2.10.0", "2.10.0", False),
        ("2.2", "2.10.0", True),
    ],
)
def test_versions_that_do_not_go_together(workspace: Path, site: Path, nnunetv2: str, torch: str, found: bool) -> None:
    install(site, nnunetv2=nnunetv2, torch=torch)
    assert ("PG802" in codes(weights=weights(workspace))) is found
    assert codes() == ({"PG819"} if nnunetv2 == "2.2" else set())


def test_the_version_of_an_egg(workspace: Path, site: Path) -> None:
    """As ``python setup.py develop`` leaves it: no folder of metadata with the version in its name."""
    folder = site / "nnunetv2.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: nnunetv2\nVersion: 2.3.0\n")
    assert packages.nnunet_version() == (2, 3, 0)
    assert codes() == {"PG819"}


@pytest.mark.parametrize(("nnunetv2", "found"), [("2.5.1", True), ("2.5.2", False)])
def test_prediction_was_fixed_before_fine_tuning(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch, nnunetv2: str, found: bool
) -> None:
    install(site, nnunetv2=nnunetv2, torch="2.6.0")
    model = copy_of_model(tmp_path)
    assert ("PG802" in {finding.code for finding in check([model]).findings}) is found


@pytest.mark.parametrize(("nnunetv2", "found"), [("2.3.1", True), ("2.4.2", True), ("2.5.1", False), ("2.8.1", False)])
def test_old_residual_plans(workspace: Path, site: Path, nnunetv2: str, found: bool) -> None:
    install(site, nnunetv2=nnunetv2)
    for name in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        path = place(workspace, CT, f"preprocessed/{name}.json")
        path.write_text(json.dumps(in_the_old_format(json.loads(path.read_bytes()))))
    assert ("PG801" in codes("nnUNetResEncUNetMPlans")) is found
    assert "PG801" not in codes("nnUNetPlans")


def test_new_residual_plans(workspace: Path, site: Path) -> None:
    install(site, nnunetv2="2.4.2")
    assert "PG801" not in codes("nnUNetResEncUNetMPlans")


def test_versions_as_numbers(site: Path) -> None:
    install(site, nnunetv2="2.8.1.dev3+g1a2b3c4", torch="2.10.0a0")
    assert packages.dotted(packages.nnunet_version() or ()) == "2.8.1"
    assert packages.torch_version() == (2, 10, 0)


def test_a_driver_counts_as_a_gpu(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(workspace, location="cuda:1")
    assert codes(weights=path) == {"PG605"}
    program = workspace / "bin" / ("nvidia-smi.bat" if os.name == "nt" else "nvidia-smi")
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert codes(weights=path) == {"PG605"}  # CUDA_VISIBLE_DEVICES hides it
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert codes(weights=path) == set()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert codes(weights=path) == set()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert codes(weights=path) == {"PG605"}


def test_own_trainers_are_found(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(workspace, trainer="nnUNetTrainerMine")
    assert codes(weights=path) == {"PG608"}
    folder = workspace / "trainers/variants"
    folder.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join(["", str(workspace / "gone"), str(workspace / "trainers")]))
    assert codes(weights=path) == {"PG608"}
    source = "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n\n"
    (folder / "mine.py").write_text(f"{source}class nnUNetTrainerMine(nnUNetTrainer):\n    raise SystemExit\n")
    assert codes(weights=path) == {"PG608"}  # nnU-Net does not search folders that are not packages
    (folder / "__init__.py").touch()
    assert codes(weights=path) == set()  # and it was not imported


def test_the_nearest_trainer_is_named(workspace: Path) -> None:
    report = check(datasets=["2"], weights=weights(workspace, trainer="nnUNetTrainer_250epoch"))
    assert [finding.message for finding in report.findings if finding.code == "PG608"] == [
        f"nnU-Net {constants.NNUNET_VERSION} and nnUNet_extTrainer lack nnUNetTrainer_250epoch, the trainer of the "
        "weights; the nearest is nnUNetTrainer_250epochs"
    ]

"""PG405: whether a training was meant to use migrated plans, by its record, else by nnU-Net's own logs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Severity
from plansguard.nnunet.workspace import TrainedModel
from tests.rules.pg4_migration.after_move_variants import CONFIGURATION, RESULTS, started_from
from tests.support.data_folders import CASCADE, LOWRES
from tests.support.moves import GIVING, MOVED, RECEIVING, move
from tests.support.variants import PLANS, Edit, copy, place, put
from tests.support.weights import weights

pytestmark = pytest.mark.workspace(RECEIVING, GIVING)
SECOND = "3d_cascade_fullres"
#: Names of logs, by local time, before and after any migration.
EARLIER, LATER = "training_log_2001_9_9_01_46_40.txt", "training_log_2096_10_2_07_06_40.txt"
OWN = copy(PLANS, f"{RESULTS}/plans.json")
#: Plans with the network of the migrated ones and another input, and with the same input as well.
SAME_NETWORK = (
    copy(MOVED, f"{RESULTS}/plans.json"),
    put(f"{RESULTS}/plans.json", f"{CONFIGURATION}/spacing/0", 2.0),
)
SAME = copy(MOVED, f"{RESULTS}/plans.json")
#: The same plans, moved a second time.
GRAFT = move("graft", name="GraftPlans")


def log(name: str, fold: str = "0") -> Edit:
    """Write a log of nnU-Net into a fold of the model."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, f"{RESULTS}/fold_{fold}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    return edit


def in_2096(workspace: Path, dataset: str) -> None:
    """Give all files of the model new times, as ``cp -r`` does."""
    for path in place(workspace, dataset, RESULTS).rglob("*"):
        os.utime(path, (4e9, 4e9))


def with_grafted_plans(workspace: Path, dataset: str) -> None:
    """Name the plans of the training."""
    model = place(workspace, dataset, RESULTS)
    put(f"{RESULTS}/plans.json", "/plans_name", "GraftPlans")(workspace, dataset)
    model.rename(model.with_name("nnUNetTrainer__GraftPlans__3d_fullres"))


def other_weights(workspace: Path, dataset: str) -> None:
    """Start from weights of another dataset."""
    place(workspace, GIVING, "results/.").rename(place(workspace, "Dataset099_Other", "results/."))
    started_from("Dataset099_Other")(workspace, dataset)


def recorded_copy(change: Callable[[Path, Path], object]) -> Edit:
    """Copy or move the model of the record to another trainer's folder."""

    def edit(workspace: Path, dataset: str) -> None:
        model = place(workspace, dataset, RESULTS)
        change(model, model.with_name("nnUNetTrainerCopy__nnUNetPlans__3d_fullres"))

    return edit


@pytest.mark.parametrize(
    ("edits", "severities"),
    [
        pytest.param((OWN, started_from(GIVING)), [Severity.WARNING], id="these weights"),
        pytest.param(
            (OWN, started_from(GIVING), recorded_copy(shutil.copytree)), [Severity.WARNING] * 2, id="and a copy"
        ),
        pytest.param((GRAFT, OWN, started_from(GIVING), with_grafted_plans), [], id="with other migrated plans"),
        pytest.param((GRAFT, *SAME_NETWORK, log(LATER), with_grafted_plans), [], id="later, with other migrated plans"),
        pytest.param((*SAME_NETWORK, log(LATER)), [Severity.INFO], id="later by its log, and they would load"),
        pytest.param((OWN, started_from(None), log(LATER), in_2096), [], id="random weights"),
        pytest.param((*SAME_NETWORK, started_from(None), log(LATER)), [], id="random weights of the same network"),
        pytest.param((OWN, weights(), other_weights), [], id="weights of another dataset"),
        pytest.param((SAME, started_from(GIVING)), [], id="these weights, and the same plans by another name"),
        pytest.param((OWN, log(LATER)), [], id="they would not load"),
        pytest.param((*SAME_NETWORK, log(EARLIER), in_2096), [], id="an old training, copied"),
        pytest.param((*SAME_NETWORK, log(EARLIER), log(LATER, "1")), [], id="another fold of an old training"),
        pytest.param((*SAME_NETWORK, in_2096), [], id="no log"),
        pytest.param((*SAME_NETWORK, log("training_log_2096_13_45_99_99_99.txt")), [], id="no time"),
    ],
)
def test_trainings_after_a_migration(workspace: Path, edits: tuple[Edit, ...], severities: list[Severity]) -> None:
    for edit in (move(), *edits):
        edit(workspace, RECEIVING)
    findings = [one for one in check(datasets=[RECEIVING]).findings if one.code == "PG405"]
    assert [one.severity for one in findings] == severities


@pytest.mark.nnunet
def test_the_name_of_a_log(tmp_path: Path) -> None:
    """As nnU-Net's own trainer writes it."""
    import inspect

    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    assert '"training_log_%d_%d_%d_%02.0d_%02.0d_%02.0d.txt"' in inspect.getsource(nnUNetTrainer.__init__)
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "training_log_2026_1_2_03_04_05.txt").touch()
    assert TrainedModel(tmp_path, "nnUNetTrainer", "nnUNetPlans", "2d").started is not None


def test_the_second_stage_of_a_cascade(workspace: Path) -> None:
    """Its training with the migrated plans reads predictions of the first stage, which is trained before."""
    stages = {"3d_lowres": LOWRES, SECOND: CASCADE}
    added = (put(MOVED, f"/configurations/{name}", stage) for name, stage in stages.items())
    for edit in (move(), *added, OWN, started_from(GIVING)):
        edit(workspace, RECEIVING)
    model = place(workspace, RECEIVING, RESULTS)
    model.rename(model.with_name(f"nnUNetTrainer__nnUNetPlans__{SECOND}"))
    (fix,) = [one.fix for one in check(datasets=[RECEIVING]).findings if one.code == "PG405"]
    words, _, commands = fix.partition(": ")
    assert words == "train with the migrated plans, first every fold of 3d_lowres by the same trainer"
    assert "nnUNetv2_train 2 3d_lowres 0 -p PretrainPlans -tr nnUNetTrainer_" in commands

"""Runs of commands that print other commands, beside those in findings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.report import Report
from tests.rules.pg7_run.trainings import READY
from tests.support.command import run
from tests.support.data_folders import CASES, STAGES, both, preprocessed, trained
from tests.support.moves import move
from tests.support.printed import PLACEHOLDERS
from tests.support.typed_commands import TRAINED, Typed
from tests.support.variant_runs import laid_out
from tests.support.variants import (
    DATASET_JSON,
    FINGERPRINT,
    FIXTURES,
    PLANS,
    RESENC,
    Edit,
    Variant,
    drop,
    place,
    point_to,
    put,
    remove,
    rewrite,
    written,
)
from tests.support.weights import saved, weights

GIVING, CT, TWO_CHANNELS = "Dataset001_PretrainCT", "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR"
MODEL = f"nnUNet_results/{GIVING}/nnUNetTrainer__nnUNetPlans__3d_fullres"
FINAL = f"{{workspace}}/{MODEL}/fold_0/checkpoint_final.pth"
MIGRATE = ("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
ROAD = ("finetune", "-s", "1", "-t", "2", "-tp", "Moved", "-c", "3d_fullres", "-f", "0", "--steps", "9", "--dry-run")
DERIVE = ("derive", "-d", "2", "-tp", "Derived", "--set", "3d_fullres.batch_size=4")
DERIVE_FILE = ("derive", "{workspace}/plans in git/nnUNetPlans.json", "-tp", "Mine", *DERIVE[-2:])
GATE = ("gate", "--dry-run", "--data", "headers", "--")


@dataclass(frozen=True)
class Situation:
    """Edits of Dataset002, and a command that prints at least so many others.

    ``allowed`` are parts of refusals that are right. Variables of ``unset`` are removed.
    """

    name: str
    words: tuple[str, ...]
    edits: tuple[Edit, ...] = ()
    commands: int = 1
    allowed: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def zipped(workspace: Path, dataset: str) -> None:
    """Put the trained model into an archive, as nnU-Net exports it."""
    shutil.make_archive(str(workspace / "model"), "zip", workspace / "nnUNet_results", GIVING)


def more_channels(workspace: Path, dataset: str) -> None:
    """Add Dataset003, with the channel of the trained model and one more."""
    for document in ("raw/dataset.json", "preprocessed/dataset.json"):
        folder = place(workspace, TWO_CHANNELS, document).parent
        shutil.copytree(FIXTURES / "workspace" / folder.relative_to(workspace), folder)
        put(document, "/channel_names", {"0": "CT", "1": "T2"})(workspace, TWO_CHANNELS)


def nothing_planned(workspace: Path, dataset: str) -> None:
    """Delete the folders of all preprocessed datasets."""
    for folder in (workspace / "nnUNet_preprocessed").iterdir():
        shutil.rmtree(folder)


def unplanned(workspace: Path, dataset: str) -> None:
    """Delete the plans of the dataset."""
    for path in place(workspace, dataset, PLANS).parent.glob("nnUNet*Plans.json"):
        path.unlink()


def repository(workspace: Path, dataset: str) -> None:
    """Copy plans to a folder outside nnU-Net's."""
    (workspace / "plans in git").mkdir()
    shutil.copy(place(workspace, dataset, PLANS), workspace / "plans in git")


def untrained(workspace: Path, dataset: str) -> None:
    """Delete the pretraining."""
    shutil.rmtree(workspace / "nnUNet_results" / GIVING)


def faulty(workspace: Path, dataset: str) -> None:
    """Put a fault into the plans that are given."""
    put(PLANS, "/configurations/3d_fullres/batch_size", "two")(workspace, GIVING)


def renamed(workspace: Path, dataset: str) -> None:
    """Copy the plans to a name with a blank."""
    plans = json.loads(place(workspace, dataset, PLANS).read_bytes()) | {"plans_name": "my plans"}
    place(workspace, dataset, "preprocessed/my plans.json").write_text(json.dumps(plans), encoding="utf-8")


def unfinished(workspace: Path, dataset: str) -> None:
    """The pretraining was stopped."""
    fold = workspace / MODEL / "fold_0"
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")


def linked(workspace: Path, dataset: str) -> None:
    """Put the data on another disk."""
    place(workspace, dataset, "preprocessed/nnUNetPlans_2d").symlink_to(workspace / "disk")


def in_place_of_weights(workspace: Path, dataset: str) -> None:
    """Copy the trained model, and make a folder in place of its weights."""
    shutil.copytree(workspace / MODEL, workspace / "model")
    (workspace / "model/fold_0/checkpoint_final.pth").unlink()
    (workspace / "model/fold_0/checkpoint_final.pth").mkdir()


def wrong_type(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    plans["configurations"]["3d_fullres"]["batch_size"] = "two"


SETTINGS = f"nnUNet_preprocessed/{CT}/plansguard.json"
#: The fixture's checkpoint is of a training that had done one epoch, and the images are small.
#: The dataset has a second channel, and its fingerprint that channel's intensities.
PET = (
    put(DATASET_JSON, "/channel_names/1", "PET"),
    put("preprocessed/dataset_fingerprint.json", "/foreground_intensity_properties_per_channel/1", {"mean": 1.0}),
)
SITUATIONS: tuple[Situation, ...] = (
    Situation("next after a migration", MIGRATE, commands=3),
    Situation("next after a migration without a fingerprint", MIGRATE, (remove(FINGERPRINT),), 3),
    Situation(
        "next after a migration for a pretraining",
        (*MIGRATE[:1], "-s", "2", "-t", "1", "-tp", "Mine", "--workflow", "pretrain"),
        (untrained,),
        4,
    ),
    Situation("next after a migration of an unfinished training", MIGRATE, (unfinished,), 4),
    Situation("a road", (*ROAD, "-device", "cpu"), commands=5),
    Situation(
        "a road of plans that are still to be made",
        (*ROAD, "-device", "cpu", "--workflow", "graft"),
        (unplanned,),
        6,
        ("has no plans",),  # nnU-Net plans, which is not run here
    ),
    Situation("next after a derivation", DERIVE, commands=2),
    Situation("a derivation without plans", ("derive", *DERIVE[3:])),
    Situation("undo of a derivation with other options", (*DERIVE, "--undo"), allowed=("is recorded",)),
    Situation("next after a derivation of a file", DERIVE_FILE, (repository,)),
    Situation("a migration within a dataset", ("migrate", "-s", "2", "-t", "2", "-tp", "Mine")),
    Situation(
        "next after a derivation of migrated plans",
        (*DERIVE[:-1], "3d_fullres.batch_size=3", "-p", "PretrainPlans"),
        (move(),),
        2,
    ),
    Situation("next after a graft", (*MIGRATE, "--workflow", "graft"), commands=3),
    Situation(
        "next after a migration from a zip",
        ("migrate", "-s", "{workspace}/model.zip", "-t", "2", "-tp", "FromZip"),
        (zipped,),
        3,
    ),
    Situation(
        "next after preprocessing",
        ("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "--yes"),
        commands=2,
    ),
    Situation(
        "next after preprocessing migrated plans",
        ("preprocess", "-d", "2", "-p", "PretrainPlans", "-c", "3d_fullres", "--yes"),
        (move(),),
        2,
    ),
    Situation(
        "next after preprocessing the first stage of a cascade",
        ("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_lowres", "--yes"),
        STAGES,
        3,
    ),
    Situation("next after a baseline", ("baseline", "write", "-d", "2", "--baseline", "known findings.json")),
    Situation(
        "a baseline that is not there",
        ("check", "-d", "2", "--baseline", "known findings.json"),
        allowed=("nothing to check",),  # in the current folder of these tests
    ),
    Situation("next after an extraction", ("extract", FINAL, "-o", "plans of it.json"), commands=2),
    Situation(
        "next after a migration of extracted plans",
        ("migrate", "-s", f"{{workspace}}/{MODEL}/plans.json", "-t", "2", "-tp", "Mine"),
        commands=3,
    ),
    Situation(
        "an extraction from plans",
        ("extract", f"{{workspace}}/nnUNet_preprocessed/{CT}/nnUNetPlans.json", "-o", "a.json"),
    ),
    Situation("weights in place of documents", ("check", FINAL), commands=2),
    Situation("fit", ("fit", FINAL, "-d", "2")),
    Situation("fit of migrated plans", ("fit", FINAL, "-d", "2"), (move(),)),
    Situation("fit of data", ("fit", FINAL, "-d", "2"), (*READY, weights())),
    Situation(
        "fit of the second stage of a cascade",
        ("fit", "{workspace}/checkpoint_final.pth", "-d", "2", "-p", "nnUNetPlans"),
        (*READY, *STAGES, trained("3d_lowres", *CASES), weights("3d_cascade_fullres")),
        1,
        ("PG731",),  # at the rate of the first stage
    ),
    Situation(
        "fit of the second stage of a cascade without a first one",
        ("fit", "{workspace}/checkpoint_final.pth", "-d", "2", "-p", "nnUNetPlans"),
        (*READY, *STAGES, weights("3d_cascade_fullres")),
    ),
    Situation(
        "next after a migration of the second stage of a cascade",
        ("migrate", "-s", "{workspace}/checkpoint_final.pth", "-t", "2", "-tp", "Mine"),
        (*STAGES, weights("3d_cascade_fullres", dataset_json={"labels": {"background": 0, "kidney": 1}})),
        4,
        ("PG518",),  # the first stage is to be trained on every fold
    ),
    Situation(
        "fit of damaged plans",
        ("fit", FINAL, "-d", "2", "-p", "nnUNetPlans"),
        (rewrite(PLANS, lambda text: text[:99]),),
        1,
        ("PG001",),
    ),
    Situation(
        "fit of another kind of network",
        ("fit", FINAL, "-d", "2"),
        (put(PLANS, "/configurations/3d_fullres/architecture/network_class_name", "mine.Net"), remove(RESENC)),
    ),
    Situation("fit without dataset.json", ("fit", FINAL, "-d", "2"), (remove(DATASET_JSON),)),
    Situation(
        "fit of weights without plans",
        ("fit", "{workspace}/checkpoint_final.pth", "-d", "2"),
        (weights(init_args=None, trainer_name=None), put(PLANS, "/configurations/3d_fullres/patch_size/0", 999)),
    ),
    Situation("fit from a zip", ("fit", "{workspace}/model.zip", "-d", "2"), (zipped, move())),
    Situation(
        "fit of data from a zip that is not installed",
        ("fit", "{workspace}/model.zip", "-d", "2"),
        (zipped, move(), untrained, preprocessed("PretrainPlans_3d_fullres", of=GIVING)),
    ),
    Situation(
        "fit from a zip that is not installed", ("fit", "{workspace}/model.zip", "-d", "2"), (zipped, move(), untrained)
    ),
    Situation(
        "next after a migration from a zip that is not installed",
        ("migrate", "-s", "{workspace}/model.zip", "-t", "2", "-tp", "FromZip"),
        (zipped, untrained),
        3,
    ),
    Situation("weights for more channels", ("migrate", "-s", "1", "-t", "3", "-tp", "Mine"), (more_channels,)),
    Situation(
        "weights of a zip for more channels",
        ("migrate", "-s", "{workspace}/model.zip", "-t", "3", "-tp", "Mine"),
        (zipped, more_channels),
    ),
    Situation(
        "weights of a zip that is not installed, for more channels",
        ("migrate", "-s", "{workspace}/model.zip", "-t", "3", "-tp", "Mine"),
        (zipped, more_channels, untrained),
    ),
    Situation(
        "a zip to be adapted",
        ("adapt", "{workspace}/model.zip", "-d", "3", "-o", "adapted.pth"),
        (zipped, more_channels, untrained),
    ),
    Situation("weights in place of plans", ("diff", "{workspace}/checkpoint_final.pth", "a.json"), (weights(),)),
    Situation("an archive in place of plans", ("diff", "a.json", "{workspace}/model.zip"), (zipped,)),
    Situation(
        "weights to be derived", ("derive", "{workspace}/checkpoint_final.pth", "-tp", "X", *DERIVE[-2:]), (weights(),)
    ),
    Situation("an archive to be derived", ("derive", "{workspace}/model.zip", "-tp", "X", *DERIVE[-2:]), (zipped,)),
    Situation(
        "weights whose plans have faults",
        ("migrate", "-s", "{workspace}/checkpoint_final.pth", "-t", "2", "-tp", "Mine"),
        (weights(change=wrong_type),),
    ),
    Situation("a folder in place of weights", ("check", "{workspace}/model"), (in_place_of_weights,)),
    Situation(
        "a pointer in place of weights",
        ("show", "{workspace}/pointer.pth"),
        (written("pointer.pth", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),),
    ),
    Situation("data behind a link", ("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", "2d", "--yes"), (linked,)),
    Situation("next after a migration to a name with a blank", (*MIGRATE[:-1], "my plans"), (), 3),
    Situation(
        "next after preprocessing plans with a blank",
        ("preprocess", "-d", "2", "-p", "my plans", "-c", "3d_fullres", "--yes"),
        (renamed,),
        2,
    ),
    Situation(
        "steps of plans with a blank",
        ("steps", "--total", "500", "-d", "2", "-p", "my plans", "-c", "3d_fullres"),
        (renamed,),
    ),
    Situation(
        "steps of plans with a fault",
        ("steps", "--total", "500", "-d", GIVING, "-c", "3d_fullres"),
        (faulty,),
        1,
        ("exit code 1",),
    ),
    Situation(
        "a training of plans with a blank",
        (*GATE, "nnUNetv2_train", "2", "3d_fullres", "0", "-p", "my plans", "-tr", "nnUNetTrainer_100epochs"),
        (*READY, renamed),
        1,
    ),
    Situation(
        "a check of plans with a blank",
        ("check", "-d", "2", "-p", "my plans", "-c", "3d_fullres"),
        (*READY, renamed, remove("preprocessed/gt_segmentations")),
        1,
    ),
    Situation(
        "fit of other channels",
        ("fit", FINAL, "-d", "2"),
        (put(DATASET_JSON, "/channel_names/1", "PET"),),
        1,
        ("PG304",),
    ),
    Situation("fit of channels that are adapted", ("fit", FINAL, "-d", "2"), PET),
    Situation(
        "fit of channels that are adapted, where another adaptation has the usual name",
        ("fit", FINAL, "-d", "2"),
        (*PET, weights(to="current/adapted.pth", plansguard_adaptation={})),
    ),
    Situation(
        "fit of channels that are adapted to moved plans",
        ("fit", FINAL, "-d", "2", "-p", "PretrainPlans"),
        (move(), *PET),
    ),
    Situation(
        "weights for a channel whose intensities are not known",
        ("adapt", FINAL, "-d", "2", "--dry-run"),
        PET[:1],
    ),
    Situation(
        "weights for labels that are damaged",
        ("adapt", FINAL, "-d", "2", "-p", "nnUNetPlans", "--dry-run"),
        (put(DATASET_JSON, "/labels", 5),),
        1,
        ("PG2", "PG0"),
    ),
    Situation("fit without datasets", ("fit", FINAL)),
    Situation("a derivation where nothing is planned", DERIVE, (unplanned,)),
    Situation("a migration where nothing is planned", ("migrate", "-s", "2", "-t", "1", "-tp", "Mine"), (unplanned,)),
    Situation("fit where nothing is planned", ("fit", FINAL, "--all"), (nothing_planned,)),
    Situation("steps", ("steps", "--total", "500", "-d", "2", "-c", "3d_fullres")),
    Situation(
        "steps of migrated plans",
        ("steps", "--total", "500", "-d", "2", "-p", "PretrainPlans", "-c", "3d_fullres"),
        (move(),),
    ),
    Situation("steps without a dataset", ("steps", "--total", "500")),
    Situation("env", ("env",)),
    Situation(
        "a training that is only judged",
        ("train", "2", "3d_fullres", "0", "--steps", "100", "--dry-run", "--data", "headers"),
        READY,
    ),
    Situation("gate without a command", ("gate",)),
    Situation("an assignment before a command", ("gate", "--", "A=1", "nnUNetv2_train", "2", "3d_fullres", "0"), READY),
    Situation(
        "an option of the gate after the command",
        (*GATE, "nnUNetv2_train", "2", "3d_fullres", "0", "--data", "headers"),
        READY,
    ),
    Situation("a preprocessing", (*GATE, "nnUNetv2_preprocess", "-d", "2", "-c", "3d_fullres"), commands=0),
    Situation(
        "a planning without a fingerprint", (*GATE, "nnUNetv2_plan_experiment", "-d", "2"), (remove(FINGERPRINT),)
    ),
    Situation(
        "a move of plans",
        (*GATE, "nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Mine"),
        commands=0,
    ),
    Situation(
        "a move to a dataset without a folder",
        (*GATE, "nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Mine"),
        (remove("preprocessed/"),),
    ),
    Situation(
        "a prediction with another trainer",
        (
            *GATE,
            "nnUNetv2_predict",
            "-i",
            "images",
            "-o",
            "out",
            "-d",
            "1",
            "-c",
            "3d_fullres",
            "-tr",
            "Mine",
            "-f",
            "0",
        ),
    ),
    Situation(
        "a prediction without results",
        (*GATE, "nnUNetv2_predict", "-i", "images", "-o", "out", "-d", "1", "-c", "3d_fullres"),
        unset=("nnUNet_results",),
    ),
    Situation(
        "a training without results",
        (*GATE, "nnUNetv2_train", "2", "3d_fullres", "0"),
        READY,
        unset=("nnUNet_results",),
    ),
    Situation(
        "a check of a stale fingerprint",
        ("check", "-d", "2"),
        both(remove(RESENC), drop(FINGERPRINT, "/spacings/0"), drop(FINGERPRINT, "/shapes_after_crop/0")),
    ),
    Situation("without preprocessed data", ("check", "-d", "2"), unset=("nnUNet_preprocessed",)),
    Situation(
        "plans that are missing, without preprocessed data",
        ("check", "-d", "7"),
        unset=("nnUNet_preprocessed",),
        commands=0,
    ),
    Situation("a dataset without plans", ("preprocess", "-d", "2", "-c", "2d"), (remove("preprocessed/"),)),
    Situation(
        "undo with other options", ("migrate", "-t", "2", "-tp", "PretrainPlans", "-s", "1", "--undo"), (move(),)
    ),
    Situation("a migration without a source", ("migrate", "-t", "2")),
    Situation("a migration of plans with faults", MIGRATE, (faulty,), 1, ("exit code 1",)),
    Situation(
        "a migration with a broken dataset.json",
        MIGRATE,
        (remove(DATASET_JSON), put("raw/dataset.json", "/labels", 3)),
        1,
        ("exit code 1",),
    ),
    Situation("no training record", ("verify-receipt", "."), commands=0),
    Situation(
        "weights without plans",
        ("migrate", "-s", "{workspace}/checkpoint_final.pth", "-t", "2", "-tp", "Mine"),
        (saved(dict),),
        0,
    ),
    Situation("an unknown rule", ("explain", "ZZZ")),
    Situation(
        "a rule that is not accepted",
        ("train", "2", "3d_fullres", "0", "--steps", "9", "--accept", "PG000", "--because", "no", "--dry-run"),
        READY,
    ),
    Situation(
        "an unknown rule that is accepted",
        ("train", "2", "3d_fullres", "0", "--steps", "9", "--accept", "ZZZ", "--because", "no", "--dry-run"),
        READY,
    ),
    Situation(
        "settings with an unknown rule",
        ("check", "-d", "2"),
        (written(SETTINGS, '{"severity": {"ZZZ": "info"}}'),),
    ),
    Situation(
        "settings with an incomplete rule",
        ("check", "-d", "2"),
        (written(SETTINGS, '{"severity": {"PG001": "info"}}'),),
    ),
    Situation(
        "settings with an unknown key",
        ("check", "-d", "2"),
        (written(SETTINGS, '{"rulez": {}}'),),
    ),
)


@contextmanager
def printed_in(situation: Situation, root: Path) -> Iterator[tuple[str, Typed]]:
    """Run the command of a situation in a new workspace: what it printed, and what types further commands there."""
    root.mkdir()
    variant = Variant(situation.name, CT, (), frozenset())
    with pytest.MonkeyPatch.context() as patch:
        workspace = laid_out(variant, root, patch)
        for edit in situation.edits:
            edit(workspace, CT)
        current = root / "current"
        (current / PLACEHOLDERS["IMAGES"]).mkdir(parents=True)
        (current / PLACEHOLDERS["IMAGES"] / "new_0000.nii.gz").touch()
        shutil.copy(TRAINED, current / PLACEHOLDERS["CHECKPOINT"])
        patch.chdir(current)
        typed = Typed(variant, workspace, Report("check", (), 0), patch)
        for name in situation.unset:
            patch.delenv(name)
        done = run(*(word.format(workspace=workspace) for word in situation.words))
        point_to(workspace, patch)
        yield done.out + done.err, typed

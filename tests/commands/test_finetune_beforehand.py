"""``plansguard finetune --dry-run`` before any plans are made: what two datasets show is told before the first step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_finetune import CT, OTHER_CT, ROAD, codes, road, step
from tests.support.command import run
from tests.support.variants import FIXTURES, ROOTS

SLIDES = "Dataset004_Slides2D"
FINGERPRINT, DATASET_JSON = "dataset_fingerprint.json", "dataset.json"
#: The roads that begin with a pretraining, and the step after which their plans can be judged.
ROADS = pytest.mark.parametrize(
    ("workflow", "planned"), [(("--workflow", "pretrain"), "plan"), ((), "plan-source")], ids=["pretrain", "finetune"]
)
PRETRAINING = ("-f", "0", "--pretrain-steps", "100")

pytestmark = [pytest.mark.workspace(CT, OTHER_CT), pytest.mark.usefixtures("unplanned")]


@pytest.fixture
def unplanned(workspace: Path) -> Path:
    """Two datasets, or more, of raw data alone; the folder of the raw data."""
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    for folder in (workspace / ROOTS["preprocessed"]).iterdir():
        shutil.rmtree(folder)
    return workspace / ROOTS["raw"]


def change(raw: Path, edit: Callable[[dict[str, Any]], object], name: str = OTHER_CT) -> None:
    """Change the dataset.json of the dataset that is fine-tuned, or of another."""
    path = raw / name / DATASET_JSON
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document))


@ROADS
def test_another_number_of_channels(unplanned: Path, workflow: tuple[str, ...], planned: str) -> None:
    change(unplanned, lambda document: document.update(channel_names={"0": "CT", "1": "PET"}))
    done = road(*workflow, *PRETRAINING)
    assert (done.code, "PG414" in codes(done)) == (1, True)
    migration = step(done, "migrate")
    assert (migration["state"], migration["because"]) == ("blocked", "PG414, see below")
    assert migration["judged_after"] == planned  # what the plans say is still to be judged


@ROADS
def test_the_same_channels_in_another_order(unplanned: Path, workflow: tuple[str, ...], planned: str) -> None:
    change(unplanned, lambda document: document.update(channel_names={"0": "T1", "1": "T2"}), CT)
    change(unplanned, lambda document: document.update(channel_names={"0": "t2", "1": "t1"}))
    done = road(*workflow, *PRETRAINING)
    (finding,) = (one for one in done.json["report"]["findings"] if one["code"] == "PG414")
    assert "the same channels in another order" in finding["message"]
    assert (step(done, "migrate")["state"], step(done, "migrate")["judged_after"]) == ("blocked", planned)


@ROADS
def test_other_names_of_channels_block_nothing(unplanned: Path, workflow: tuple[str, ...], planned: str) -> None:
    """They are a warning, as for a migration."""
    change(unplanned, lambda document: document.update(channel_names={"0": "CT of another protocol"}))
    done = road(*workflow, *PRETRAINING)
    assert (done.code, codes(done), step(done, "migrate")["state"]) == (0, {"PG414"}, "needed")
    assert step(done, "migrate")["judged_after"] == planned


@pytest.mark.workspace(CT, SLIDES)
@ROADS
def test_slides_and_volumes(workspace: Path, unplanned: Path, workflow: tuple[str, ...], planned: str) -> None:
    """The fingerprints show it, where they are there already."""
    own = json.loads((unplanned / CT / DATASET_JSON).read_bytes())["channel_names"]
    change(unplanned, lambda document: document.update(channel_names=own), SLIDES)
    words = ("finetune", "-s", "1", "-t", "4", *ROAD[5:])
    assert codes(road(*workflow, *PRETRAINING, words=words)) == set()
    fixtures = Path(__file__).parents[2] / "fixtures/workspace" / ROOTS["preprocessed"]
    for name in (CT, SLIDES):
        for file in (FINGERPRINT, DATASET_JSON):
            target = workspace / ROOTS["preprocessed"] / name / file
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(fixtures / name / file, target)
    change(workspace / ROOTS["preprocessed"], lambda document: document.update(channel_names=own), SLIDES)
    done = road(*workflow, *PRETRAINING, words=words)
    assert (done.code, codes(done), step(done, "migrate")["judged_after"]) == (1, {"PG415"}, planned)
    slices = ("2d" if word == "3d_fullres" else word for word in words)
    assert road(*workflow, *PRETRAINING, words=tuple(slices)).code == 0


@ROADS
def test_kept_layers_of_other_classes(unplanned: Path, workflow: tuple[str, ...], planned: str) -> None:
    """The fine-tuning would refuse the layers after the pretraining."""
    for name in (CT, OTHER_CT):
        change(unplanned, lambda document: document.update(labels={"background": 0, "liver": 1}), name)
    healthy = road(*workflow, *PRETRAINING, "--keep-head")
    assert (healthy.code, step(healthy, "train")["state"]) == (0, "needed")
    change(unplanned, lambda document: document.update(labels={"background": 0, "tumour": 1}))
    done = road(*workflow, *PRETRAINING, "--keep-head")
    training = step(done, "train")
    assert (done.code, training["state"], training["judged_after"]) == (1, "blocked", planned)
    assert training["because"].startswith("the classes are background, tumour here and background, liver in")
    assert "leave it out" in training["hint"]
    assert road(*workflow, *PRETRAINING).code == 0


@ROADS
def test_all_images_are_verified(workflow: tuple[str, ...], planned: str) -> None:
    """Those of the pretraining as well: only the others were."""
    steps = road(*workflow, *PRETRAINING, "--verify").json["steps"]
    commands = [one["command"] for one in steps if one["name"].startswith("fingerprint")]
    assert ["--verify_dataset_integrity" in command for command in commands] == [True, True]


@pytest.fixture
def planned_once(workspace: Path, unplanned: Path) -> None:
    """Plans of the default planner for the dataset of -s."""
    folder = workspace / ROOTS["preprocessed"] / CT
    shutil.copytree(FIXTURES / "workspace" / ROOTS["preprocessed"] / CT, folder, dirs_exist_ok=True)
    for path in folder.glob("nnUNetRes*Plans.json"):
        path.unlink()


@pytest.mark.usefixtures("planned_once")
def test_another_planner_than_that_of_the_plans() -> None:
    """Its name was dropped, and the plans that are there were trained."""
    assert step(road(*PRETRAINING), "plan-source")["state"] == "done"
    planned = step(road(*PRETRAINING, "-pl", "nnUNetPlannerResEncL"), "plan-source")
    assert (planned["state"], planned["because"]) == ("needed", f"{CT} has no plans nnUNetResEncUNetLPlans")
    done = run(*ROAD, *PRETRAINING, "-pl", "nnUNetPlannerResEncL", "-sp", "nnUNetPlans", "--dry-run")
    assert (done.code, done.err) == (
        2,
        "plansguard: -pl nnUNetPlannerResEncL writes nnUNetResEncUNetLPlans, and nnUNetPlans are named\n"
        "  leave one of the two out\n",
    )


def test_a_source_that_is_raw_data_alone() -> None:
    """It was told to be planned first: the road plans it, if it is to be trained."""
    done = run(*ROAD, "-f", "0", "--dry-run")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"plansguard: {CT} has neither plans nor trained weights\n"
        "  give -s the folder, the zip archive or the checkpoint of a trained model; or train on "
        f"{CT} first: add --pretrain-steps N\n"
    )

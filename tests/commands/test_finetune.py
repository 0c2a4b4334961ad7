"""``plansguard finetune --dry-run``: the state of every step, and what blocks one, before anything runs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard.cli.common_options import load_settings
from plansguard.commands.finetune.execution import up_to
from plansguard.commands.finetune.request import RoadRequest, steps_of
from plansguard.commands.finetune.survey import survey
from plansguard.core.atomic_files import occupied
from plansguard.nnunet.constants import DA_PROCESSES
from plansguard.nnunet.install import trainer_folder
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.road import Road, road_name
from plansguard.training.schedule import StepSchedule
from tests.rules.pg7_run.results import FINAL, LATEST, step_checkpoint
from tests.support import checkpoints
from tests.support.command import Done, run
from tests.support.models import pack
from tests.support.variants import ROOTS, put

CT, OTHER_CT, CASCADE = "Dataset001_PretrainCT", "Dataset002_FinetuneCT", "Dataset005_CascadeCT"
ROAD = ("finetune", "-s", "1", "-t", "2", "-tp", "Moved", "-c", "3d_fullres", "--steps", "100", "-device", "cpu")

pytestmark = [pytest.mark.workspace(CT, OTHER_CT), pytest.mark.usefixtures("workspace")]


def road(*options: str, words: tuple[str, ...] = ROAD) -> Done:
    """Judge the road; nothing is written."""
    before = tree()
    done = run(*words, *options, "--dry-run", "--output", "json")
    assert tree() == before
    assert done.out, done.err
    return done


def tree() -> dict[Path, int]:
    """All files of the workspace, with their times."""
    roots = [Path(os.environ[name]) for name in ROOTS.values()]
    return {path: path.stat().st_mtime_ns for root in roots for path in root.rglob("*")}


def states(done: Done) -> list[tuple[str, str]]:
    """Steps, with the fold of a training, and their states."""
    return [(" ".join(filter(None, (one["name"], one["fold"]))), one["state"]) for one in done.json["steps"]]


def step(done: Done, name: str) -> dict[str, Any]:
    """The first step of this name."""
    found: dict[str, Any] = next(one for one in done.json["steps"] if one["name"] == name)
    return found


def codes(done: Done) -> set[str]:
    """The codes of all findings."""
    return {finding["code"] for finding in done.json["report"]["findings"]}


def migrate(*options: str) -> None:
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "Moved", *options)
    assert done.code == 0, done.err


# --- States


def test_steps_in_order() -> None:
    done = road("-f", "0", "3")
    assert done.code == 0
    assert states(done) == [
        ("fingerprint", "done"),
        ("migrate", "needed"),
        ("preprocess", "needed"),
        ("check", "needed"),
        ("train 0", "needed"),
        ("train 3", "needed"),
        ("find-best", "needed"),
    ]
    assert codes(done) == {"PG606"}  # the weights of the fixtures were trained for a moment


def test_five_folds_without_a_choice() -> None:
    assert [name for name, _ in states(road()) if name.startswith("train")] == [f"train {fold}" for fold in range(5)]


def test_all_cases_are_not_cross_validated() -> None:
    assert states(road("-f", "all"))[-1] == ("train all", "needed")


def test_commands_are_complete(workspace: Path) -> None:
    done = road("-f", "0", "-np", "2", "--save-every", "10", "--save-total-limit", "3", "--npz")
    weights = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
    place = "-p Moved -c 3d_fullres -tr nnUNetTrainer_100steps_lr1en3 -np 2 -f 0 --disable_ensembling"
    assert [one["command"] for one in done.json["steps"]] == [
        "plansguard gate -- nnUNetv2_extract_fingerprint -d 2 -np 2",
        "plansguard migrate -s 1 -t 2 -tp Moved -c 3d_fullres",
        "plansguard preprocess -d 2 -p Moved -c 3d_fullres -np 2 --resume auto",
        f"plansguard check -d 2 -p Moved -c 3d_fullres -pretrained_weights {weights} "
        "-tr nnUNetTrainer_100steps_lr1en3 --resume auto",
        "plansguard train --save-every 10 --save-total-limit 3 --resume auto 2 3d_fullres 0 -p Moved --steps 100 "
        f"--lr 0.001 -device cpu --npz -pretrained_weights {weights}",
        f"nnUNetv2_find_best_configuration 2 {place}",
    ]


def test_moved_plans_are_done() -> None:
    migrate()
    done = road("-f", "0")
    assert step(done, "migrate")["state"] == "done"
    assert step(done, "migrate")["because"] == "Moved.plansguard.json records it"


def test_moved_plans_that_were_edited_are_not_moved_again(workspace: Path) -> None:
    """The edit is what the check of the training finds."""
    migrate()
    put("preprocessed/Moved.json", "/configurations/3d_fullres/spacing/0", 1.5)(workspace, OTHER_CT)
    done = road("-f", "0")
    assert (done.code, step(done, "migrate")["state"], step(done, "train")["state"]) == (1, "done", "blocked")
    assert "PG402" in codes(done)


def test_plans_that_were_derived_from_moved_ones_are_fine_tuned() -> None:
    migrate()
    assert run("derive", "-d", "2", "-p", "Moved", "-tp", "Batch", "--set", "3d_fullres.batch_size=4").code == 0
    done = road("-f", "0", "-tp", "Batch")
    assert (done.code, step(done, "migrate")["state"]) == (0, "done")
    assert step(done, "migrate")["because"] == "Batch.plansguard.json records it, and what was derived since"
    assert "checkpoint_final.pth" in step(done, "train")["command"]


def test_a_configuration_that_was_added_to_moved_plans_is_fine_tuned(workspace: Path) -> None:
    """By a derivation, or by hand: with the weights of the configuration that it inherits from."""
    migrate()
    derived = (
        "derive",
        "-d",
        "2",
        "-p",
        "Moved",
        "-tp",
        "Batch",
        "--set",
        "3d_bs4.batch_size=4",
        "--like",
        "3d_fullres",
    )
    assert "__3d_fullres/fold_0/checkpoint_final.pth" in run(*derived).out.rpartition("Next:")[2]
    by_hand = {"inherits_from": "3d_fullres", "batch_size": 4}
    put("preprocessed/Moved.json", "/configurations/3d_bs4", by_hand)(workspace, OTHER_CT)
    for plans in ("Batch", "Moved"):
        done = road("-f", "0", "-tp", plans, "-c", "3d_bs4")
        assert (done.code, step(done, "migrate")["state"]) == (0, "done")
        assert "__3d_fullres/fold_0/checkpoint_final.pth" in step(done, "train")["command"]


def test_plans_that_were_moved_from_other_plans_of_the_source() -> None:
    """Without -sp, the default plans are meant; what is there says which ones to name."""
    assert run("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetResEncUNetMPlans", "-tp", "Moved").code == 0
    (found,) = [one for one in road("-f", "0").json["report"]["findings"] if one["code"] == "PG412"]
    assert found["fix"].startswith("they were migrated from nnUNetResEncUNetMPlans: name these with -sp")


def test_a_reader_that_is_asked_for_is_that_of_the_moved_plans() -> None:
    """A road with another one is refused, as the migration is, and is not done with the present one."""
    migrate()
    for reader, expected in (("SimpleITKIO", "done"), ("NibabelIO", "blocked")):
        done = road("-f", "0", "--reader", reader)
        assert (step(done, "migrate")["state"], "PG412" in codes(done)) == (expected, expected == "blocked")
    assert run("derive", "-d", "2", "-p", "Moved", "-tp", "Batch", "--set", "3d_fullres.batch_size=4").code == 0
    assert step(road("-f", "0", "-tp", "Batch", "--reader", "SimpleITKIO"), "migrate")["state"] == "done"


def test_plans_that_are_grafted_are_those_that_were_named() -> None:
    """Without --onto those that were grafted are meant."""
    torch = "3d_fullres.resampling_fn_data=resample_torch_fornnunet"
    assert run("derive", "-d", "2", "-p", "nnUNetPlans", "-tp", "Torch", "--set", torch).code == 0
    migrate("--workflow", "graft", "--onto", "nnUNetPlans")
    for onto, expected in (((), "done"), (("--onto", "nnUNetPlans"), "done"), (("--onto", "Torch"), "blocked")):
        done = road("-f", "0", "--workflow", "graft", *onto)
        assert (step(done, "migrate")["state"], "PG412" in codes(done)) == (expected, expected == "blocked")


def test_plans_that_changed_at_their_source(workspace: Path) -> None:
    """They are moved again, after a yes, and the old ones are kept."""
    migrate()
    put("preprocessed/nnUNetPlans.json", "/configurations/3d_fullres/batch_size", 3)(workspace, CT)
    done = road("-f", "0")
    moved = step(done, "migrate")
    assert (done.code, moved["state"]) == (0, "stale")
    assert moved["because"] == f"nnUNetPlans of {CT} changed since"
    assert moved["command"].endswith("--force")
    refused = run(*ROAD, "-f", "0", "--until", "migrate")
    assert (refused.code, "add --yes if that is meant" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "made", "because"),
    [
        (LATEST, 50, "step 50 of 100 is continued"),
        (LATEST, 100, "100 steps are made; the validation of the last window and the final one are left"),
        (FINAL, 100, "100 steps are made; only the final validation is left"),
    ],
)
def test_where_a_training_goes_on(name: str, made: int, because: str, workspace: Path) -> None:
    """No step is left to be continued where all are made."""
    step_checkpoint(name, made, trainer="nnUNetTrainer_100steps_lr1en3")(workspace, OTHER_CT)
    done = road("-f", "0", "--workflow", "pretrain", "--pretrain-steps", "50")
    assert (step(done, "train")["state"], step(done, "train")["because"]) == ("needed", because), done.out


@pytest.mark.parametrize("keeps", [False, True])
def test_what_is_said_of_the_head_is_true_of_the_trainings(keeps: bool, workspace: Path) -> None:
    """PG628 says that the segmentation layers are not loaded; --keep-head loads them."""
    same_labels(workspace)
    options = ["--keep-head"] if keeps else []
    assert ("PG628" in codes(road(*options))) == (not keeps)
    migrate()
    assert ("PG628" in codes(road(*options))) == (not keeps)


@pytest.mark.parametrize("keeps", [False, True])
def test_the_step_that_checks_knows_the_trainings(keeps: bool, workspace: Path) -> None:
    """It says nothing of layers that are kept, nor of the folds that it is to continue."""
    same_labels(workspace)
    migrate()
    done = road(*["--keep-head"] * keeps)
    words = shlex.split(step(done, "check")["command"])
    trainer = words[words.index("-tr") + 1]
    step_checkpoint(LATEST, 50, trainer=trainer)(workspace, OTHER_CT)
    results = workspace / ROOTS["results"] / OTHER_CT
    (results / f"{trainer}__nnUNetPlans__3d_fullres").rename(results / f"{trainer}__Moved__3d_fullres")
    checked = run(*words[1:], "--output", "json").json["findings"]
    found = {finding["code"] for finding in checked} & {"PG628", "PG629"}
    assert found == (set() if keeps else {"PG628"})


# --- What blocks


def test_the_direction_is_judged_first() -> None:
    """Of plans that move back, PG410 is told, and not that there are no weights."""
    migrate()
    done = road("-f", "0", words=("finetune", "-s", "2", "-sp", "Moved", "-t", "1", "-tp", "Back", *ROAD[7:]))
    assert (done.code, step(done, "migrate")["state"], step(done, "train")["judged_after"]) == (1, "blocked", "migrate")
    assert "PG410" in codes(done)


@pytest.mark.parametrize("are_named", [False, True])
def test_a_road_that_is_blocked_at_the_migration_names_its_weights(workspace: Path, are_named: bool) -> None:
    put("preprocessed/dataset.json", "/channel_names", {"0": "CT", "1": "PET"})(workspace, OTHER_CT)
    weights = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
    words: tuple[str, ...] = ()
    if are_named:
        weights = weights.rename(workspace / "named.pth")
        words = ("-pretrained_weights", str(weights))
    done = road("-f", "0", *words)
    assert (done.code, step(done, "migrate")["state"], step(done, "train")["judged_after"]) == (1, "blocked", "migrate")
    for name in ("check", "train"):
        assert f" -pretrained_weights {weights}" in step(done, name)["command"]


def test_weights_are_asked_for(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    done = run(*ROAD, "--dry-run")
    assert done.code == 2
    assert "no weights are known: 3d_fullres of nnUNetPlans of 1" in done.err
    assert "name them with -pretrained_weights CHECKPOINT, or train them first with --pretrain-steps N" in done.err


def test_plans_with_which_the_weights_were_trained_are_named(workspace: Path) -> None:
    """A dataset with several plans, of which nnU-Net's default ones were not trained."""
    folder = workspace / ROOTS["preprocessed"] / CT
    shutil.copy(folder / "nnUNetPlans.json", folder / "Small.json")
    put("preprocessed/Small.json", "/plans_name", "Small")(workspace, CT)
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    model.rename(model.with_name("nnUNetTrainer__Small__3d_fullres"))
    done = run(*ROAD, "--dry-run")
    assert (done.code, "\n  for those of Small: -sp Small; or name them with" in done.err) == (2, True)
    assert run(*ROAD, "-sp", "Small", "--dry-run").code == 0


def test_weights_of_another_dimension_are_not_taken() -> None:
    """3d_fullres alone was trained."""
    done = run(*ROAD, "-c", "2d", "--dry-run")
    assert done.code == 2
    assert "no weights are known: 2d of nnUNetPlans of 1\n" in done.err
    assert "--pretrain-steps N" in done.err


def test_a_device_that_is_not_there() -> None:
    """The last step's fault is told before the first one starts."""
    done = road("-f", "0", "-device", "cuda")
    assert (done.code, step(done, "train")["state"]) == (1, "blocked")
    assert codes(done) == {"PG606", "PG714"}


def test_a_blocked_road_starts_nothing() -> None:
    done = run(*ROAD, "-device", "cuda")
    assert done.code == 1
    assert "Nothing was started. Fix what blocks the road, and start it again." in done.err


ALL_CASES = ("lung_000", "lung_001", "lung_002", "lung_003")


@pytest.mark.workspace(CASCADE)
@pytest.mark.parametrize(
    ("predicted", "because"),
    [
        ((), "3d_lowres has not predicted any case for 3d_cascade_fullres"),
        (("lung_000",), "3d_lowres has not predicted lung_001, lung_002 and 1 more for 3d_cascade_fullres"),
        (ALL_CASES, ""),
    ],
)
def test_a_cascade_needs_the_predictions_of_its_first_stage(
    workspace: Path, predicted: tuple[str, ...], because: str
) -> None:
    """This is known before its data are made."""
    trained = training_of_cascade(workspace, predicted)
    assert (trained["state"] == "blocked", trained["because"] if because else "") == (bool(because), because)
    assert trained["hint"] == ("first the same command with -c 3d_lowres and every fold" if because else "")


@pytest.mark.workspace(CASCADE)
def test_the_first_stage_of_a_cascade_needs_other_weights(workspace: Path) -> None:
    """Those in a file are of one stage only."""
    own = workspace / ROOTS["preprocessed"] / CASCADE
    plans, dataset_json = (json.loads((own / name).read_bytes()) for name in ("nnUNetPlans.json", "dataset.json"))
    path = checkpoints.write(workspace / "second.pth", plans, dataset_json, configuration="3d_cascade_fullres")
    hint = training_of_cascade(workspace, (), source=(str(path),))["hint"]
    assert hint == "first the same command with -c 3d_lowres and every fold and weights of 3d_lowres for -s"


@pytest.mark.workspace(CASCADE)
def test_a_cascade_needs_as_many_labels(workspace: Path) -> None:
    """This is known before the pretraining."""
    trained = training_of_cascade(workspace, ALL_CASES, labels={"background": 0, "lung": 1})
    assert (trained["state"], trained["because"]) == ("blocked", "2 input channels here, 3 in the pretraining")


def test_layers_that_are_kept_are_of_the_same_classes() -> None:
    """This is known before the pretraining."""
    done = road("-f", "0", "--pretrain-steps", "50", "--keep-head")
    trained = step(done, "train")
    assert (trained["state"], "the classes are " in trained["because"]) == ("blocked", True)
    assert codes(done) == set()


@pytest.mark.parametrize("workflow", ["finetune", "pretrain"])
def test_layers_of_weights_that_the_road_is_to_train_are_kept(workflow: str, workspace: Path) -> None:
    """There are plans already, and the weights are those of a step: none can be named yet."""
    same_labels(workspace)
    done = road("-f", "0", "--workflow", workflow, "--pretrain-steps", "50", "--keep-head")
    assert (done.code, codes(done), step(done, "train")["state"]) == (0, set(), "needed")
    assert "--keep-head" in step(done, "train")["command"]


def same_labels(workspace: Path) -> None:
    """Give the dataset that is fine-tuned the labels of the other one."""
    labels = json.loads((workspace / ROOTS["preprocessed"] / CT / "dataset.json").read_bytes())["labels"]
    for root in ("raw", "preprocessed"):
        put(f"{root}/dataset.json", "/labels", labels)(workspace, OTHER_CT)


def training_of_cascade(
    workspace: Path,
    predicted: tuple[str, ...],
    labels: dict[str, int] | None = None,
    source: tuple[str, ...] = ("5", "--pretrain-steps", "50"),
) -> dict[str, Any]:
    """The training of the second stage on a dataset for which its first stage has predicted these cases."""
    target = "Dataset015_Target"
    own, other = (workspace / ROOTS["preprocessed"] / name for name in (target, CASCADE))
    put_file(own / "dataset_fingerprint.json", (other / "dataset_fingerprint.json").read_bytes())
    document = json.loads((other / "dataset.json").read_bytes())
    document["labels"] = labels or document["labels"]
    for folder in (own, workspace / ROOTS["raw"] / target):
        put_file(folder / "dataset.json", json.dumps(document).encode())
    for name in (CASCADE, target):
        for case in ALL_CASES:
            put_file(workspace / ROOTS["raw"] / name / f"imagesTr/{case}_0000.nii.gz")
            put_file(workspace / ROOTS["raw"] / name / f"labelsTr/{case}.nii.gz")
    splits = [{"train": ["lung_000", "lung_001", "lung_002"], "val": ["lung_003"]}]
    put_file(own / "splits_final.json", json.dumps(splits).encode())
    model = workspace / ROOTS["results"] / target / "nnUNetTrainer_100steps_lr1en3__Moved__3d_lowres"
    for case in predicted:
        put_file(model / "predicted_next_stage/3d_cascade_fullres" / f"{case}.b2nd")
    words = ("-tp", "Moved", "-c", "3d_cascade_fullres", "--steps", "100", "-device", "cpu")
    return step(road("-f", "0", words=("finetune", "-s", *source, "-t", "15", *words)), "train")


def put_file(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# --- From a released model


@pytest.mark.workspace(CT, OTHER_CT, chdir=True)
def test_a_zip_is_unpacked_by_nnunet(workspace: Path) -> None:
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    pack(workspace / "released.zip", model)
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    done = road("-f", "0", words=("finetune", "-s", "released.zip", *ROAD[3:]))
    assert done.code == 0
    assert [name for name, _ in states(done)] == [
        *("fingerprint", "migrate", "preprocess", "unpack", "check", "train 0", "find-best")
    ]
    assert step(done, "unpack")["command"] == "nnUNetv2_install_pretrained_model_from_zip released.zip"


# --- Pretraining


def test_plans_that_are_still_to_be_made(workspace: Path) -> None:
    """From raw images alone: what cannot be judged yet says after which step it is."""
    for name in (CT, OTHER_CT):
        shutil.rmtree(workspace / ROOTS["preprocessed"] / name)
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    done = road("-f", "0", "--workflow", "pretrain", "--pretrain-steps", "100")
    assert done.code == 0, done.out
    assert [(one["name"], one["state"], one["judged_after"]) for one in done.json["steps"]] == [
        ("fingerprint", "needed", None),
        ("plan", "needed", None),
        ("fingerprint-source", "needed", None),
        ("migrate", "needed", "plan"),
        ("preprocess-source", "needed", "plan"),
        ("pretrain", "needed", "plan"),
        ("preprocess", "needed", "plan"),
        ("check", "needed", "plan"),
        ("train", "needed", "plan"),
        ("find-best", "needed", None),
    ]
    assert done.json["plans"] == "nnUNetPlans"  # the plans that are fine-tuned, and not those that -tp names
    assert [one["name"] for one in done.json["steps"]] == list(steps_of("pretrain"))


def test_plans_are_made_without_the_variable_of_trainings(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnUNet_n_proc_DA=0 is usual for trainings, and stops a planner (PG756)."""
    for name in (CT, OTHER_CT):
        shutil.rmtree(workspace / ROOTS["preprocessed"] / name)
    words = ("-f", "0", "--workflow", "pretrain", "--pretrain-steps", "100")
    planning = "plansguard gate -- nnUNetv2_plan_experiment -d 2 -pl ExperimentPlanner"
    monkeypatch.delenv(DA_PROCESSES, raising=False)
    assert step(road(*words), "plan")["command"] == planning
    monkeypatch.setenv(DA_PROCESSES, "0")
    done = road(*words)
    assert (done.code, codes(done) & {"PG756"}) == (0, set())
    assert step(done, "plan")["command"] == f"env -u {DA_PROCESSES} {planning}"
    assert step(done, "fingerprint")["command"].startswith("plansguard gate")


# --- Without nnU-Net


def test_plans_are_moved_where_nothing_can_be_trained(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trainer_folder, "obstacle", lambda: "training needs nnU-Net, which is not installed here")
    refused = run(*ROAD)
    assert (refused.code, "which is not installed here" in refused.err) == (2, True)
    moved = run(*ROAD, "--until", "migrate")
    assert (moved.code, moved.err.endswith("plansguard: done up to migrate\n")) == (0, True), moved.err
    printed = capfd.readouterr().out
    assert ("wrote " in printed, "Next:" in printed) == (True, False)  # the road has a next step of its own
    assert step(road("-f", "0"), "migrate")["state"] == "done"


def test_one_process_at_a_time_is_on_a_road(workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = workspace / ROOTS["preprocessed"] / OTHER_CT
    with occupied(folder / road_name("Moved", "3d_fullres"), "held by a test"):
        refused = run(*ROAD, "--until", "migrate")
        assert (refused.code, "another process is on this road" in refused.err) == (2, True), refused.err
        assert not (folder / "Moved.json").exists()
    assert run(*ROAD, "--until", "migrate").code == 0
    assert "wrote " in capfd.readouterr().out


# --- As an object


def request_of(**options: Any) -> RoadRequest:
    """The same road, of two folds."""
    names = ("1", "2", "Moved", "3d_fullres", ("0", "1"), StepSchedule(100))
    return RoadRequest(*names, settings=lambda folder: load_settings(None, [folder]), device="cpu", **options)


def survey_of(**options: Any) -> Road:
    """Its steps, as they are run."""
    return survey(Workspace.from_environment(), request_of(**options))


def test_what_to_type_after_the_last_step() -> None:
    """nnU-Net's own advice after the joining of folds is a command that does not find plansguard's trainers."""
    words = "-i IMAGES -o SEGMENTATIONS -d 2 -c 3d_fullres -f 0 1 -p {} -tr nnUNetTrainer_100steps_lr1en3 -device cpu"
    assert survey_of().next == (f"plansguard gate -- nnUNetv2_predict {words.format('Moved')}",)
    own = survey_of(workflow="pretrain", pretraining=StepSchedule(100), source_plans="nnUNetPlans")
    assert own.next == (f"plansguard gate -- nnUNetv2_predict {words.format('nnUNetPlans')}",)


@pytest.mark.parametrize(
    ("workflow", "until", "last"),
    [
        ("finetune", "pretrain", "pretrain"),  # it comes before the fingerprint of the target
        ("finetune", "preprocess", "preprocess"),
        ("finetune", "train", "train"),
        ("finetune", "unpack", "preprocess"),  # nothing is to be unpacked here
        ("pretrain", "plan", "plan"),
        ("pretrain", "pretrain", "pretrain"),
    ],
)
def test_a_road_ends_after_the_step_that_is_named(workspace: Path, workflow: str, until: str, last: str) -> None:
    for name in (CT, OTHER_CT):
        shutil.rmtree(workspace / ROOTS["preprocessed"] / name)
    surveyed = survey_of(workflow=workflow, pretraining=StepSchedule(100))
    kept = up_to(surveyed, until)
    assert kept[-1].name == last
    assert kept == list(surveyed.steps[: len(kept)])
    names = [one.name for one in surveyed.steps]
    assert last == names[-1] or names[len(kept)] != last
    assert up_to(surveyed, until, [kept[0].title]) == kept[1:]


def test_the_plans_that_are_pretrained_are_those_that_move(workspace: Path) -> None:
    """Other plans of the source, as of an earlier road to its plans, do not make it unclear which are meant."""
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    (workspace / ROOTS["preprocessed"] / CT / "nnUNetResEncUNetMPlans.json").unlink()
    assert run("migrate", "-s", "2", "-t", "1", "-tp", "FromTarget", "--workflow", "pretrain").code == 0
    options = ("-f", "0", "--pretrain-steps", "100")
    done = road(*options)
    assert (done.code, step(done, "migrate")["command"]) == (
        0,
        "plansguard migrate -s 1 -t 2 -sp nnUNetPlans -tp Moved -c 3d_fullres",
    )
    (workspace / ROOTS["preprocessed"] / CT / "nnUNetPlans.json").unlink()
    planned = road(*options, "-pl", "nnUNetPlannerResEncM")
    assert step(planned, "plan-source")["state"] == "needed"
    assert "-sp nnUNetResEncUNetMPlans" in step(planned, "migrate")["command"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--workflow", "pretrain"), "the number of steps is missing"),
        (("--workflow", "graft", "--pretrain-steps", "5"), "a graft is for weights that exist"),
        (("-f", "0", "all"), "fold all and a number exclude each other"),
        (("-f", "x"), "'x' is no fold"),
        (("--until", "trian"), "--until trian is no step of a road"),
        (
            ("--until", "unpack", "--workflow", "pretrain", "--pretrain-steps", "5"),
            "--until unpack is no step of a road",
        ),
        (("-c", "3d_lowres"), "there is no configuration 3d_lowres"),
        (("-c", "3d_lowres"), f"{CT}/nnUNetPlans.json\n"),
        (("-t", "9"), "no dataset has the id 9"),
        (("-s", "9"), "no dataset has the id 9"),
    ],
)
def test_what_cannot_be_asked_for(options: tuple[str, ...], reason: str) -> None:
    done = run(*ROAD, *options, "--dry-run")
    assert (done.code, done.out) == (2, "")
    assert reason in done.err

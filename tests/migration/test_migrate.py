"""`plansguard migrate` on the fixtures: direction, refusals, written files, undo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.artefacts.data.listing import listing
from plansguard.documents import json_document
from plansguard.migration.files import UNDONE
from plansguard.records.preprocessing import finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import input_fields
from tests.support.command import Done, run
from tests.support.moves import fine_tuning
from tests.support.variants import ROOTS, copy, place, put, remove

CT, OTHER_CT, MR, SLIDES = (
    "Dataset001_PretrainCT",
    "Dataset002_FinetuneCT",
    "Dataset003_TwoChannelMR",
    "Dataset004_Slides2D",
)
CASCADE, MICROSCOPY = "Dataset005_CascadeCT", "Dataset006_Microscopy3D"
PLANS = "preprocessed/nnUNetPlans.json"


pytestmark = pytest.mark.workspace(chdir=True)


def migrate(*arguments: str) -> Done:
    return run("migrate", *arguments)


def codes(*arguments: str) -> set[tuple[str, str]]:
    """(code, severity) of every finding of a migration."""
    report = json.loads(migrate(*arguments, "--output", "json").out)
    return {(finding["code"], finding["severity"]) for finding in report["findings"]}


def files(workspace: Path) -> dict[str, bytes]:
    """Every file of the preprocessed root except what an undo keeps."""
    root = workspace / ROOTS["preprocessed"]
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != UNDONE
    }


# --- Written files and next commands ---


def test_finetune(workspace: Path) -> None:
    before = files(workspace)
    result = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert result.code == 0
    assert result.out.splitlines()[:3] == [
        "from  nnUNetPlans of Dataset001_PretrainCT (pretraining)",
        "to    PretrainPlans of Dataset002_FinetuneCT (fine-tuning)",
        "why   finetune: weights of Dataset001_PretrainCT keep their network and preprocessing",
    ]
    after = files(workspace)
    new = {f"{OTHER_CT}/PretrainPlans.json", f"{OTHER_CT}/PretrainPlans.plansguard.json"}
    assert set(after) - set(before) == new
    assert {name: after[name] for name in before} == before
    plans = json.loads(after[f"{OTHER_CT}/PretrainPlans.json"])
    source = json.loads(before[f"{CT}/nnUNetPlans.json"])
    assert plans["dataset_name"] == OTHER_CT
    assert plans["plans_name"] == "PretrainPlans"
    assert plans["configurations"]["3d_fullres"]["data_identifier"] == "PretrainPlans_3d_fullres"
    assert plans["configurations"]["3d_fullres"]["spacing"] == source["configurations"]["3d_fullres"]["spacing"]


def test_next_commands_have_real_names(workspace: Path) -> None:
    out = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans").out
    checkpoint = (
        workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
    )
    commands = [line.strip() for line in out.partition("Next:")[2].splitlines() if line.strip()]
    assert commands == [
        "plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres",
        "plansguard check -d 2 -p PretrainPlans -c 3d_fullres",
        fine_tuning(checkpoint, "PretrainPlans"),
    ]


def test_no_other_direction_is_proposed_between_other_channels(workspace: Path) -> None:
    """Each move that answers the question of the direction would be refused for the channels."""
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    refused = migrate("-s", "1", "-t", "3", "-tp", "Moved")
    assert (refused.code, "plansguard migrate -s" in refused.out) == (1, False)
    assert "\n  also PG411: nothing shows that this direction is right" in refused.out
    alone = migrate("-s", "1", "-t", "3", "-tp", "Moved", "--accept", "PG414", "--because", "another")
    assert "\nwarning[PG411] " in alone.out


def test_recorded_data_are_not_preprocessed_again(workspace: Path) -> None:
    """A repeated migration lists the commands that are still to be run."""
    arguments = ("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    migrate(*arguments)
    folder = place(workspace, OTHER_CT, "preprocessed/PretrainPlans_3d_fullres")
    folder.mkdir()
    for ending in (".b2nd", "_seg.b2nd", ".pkl"):
        (folder / f"case{ending}").write_bytes(b"x")
    plans = json.loads(folder.with_name("PretrainPlans.json").read_bytes())
    value = unfinished_record(
        nnunet_version="2.8.1",
        now="now",
        cases=1,
        present=None,
        before=None,
        plans="PretrainPlans",
        configuration="3d_fullres",
        data_identifier=folder.name,
        fields=input_fields(plans, plans["configurations"]["3d_fullres"]),
        dataset={},
    )
    record = folder.with_name(f"{folder.name}.stamp.json")
    record.write_bytes(json_document.dumps(value))
    assert "plansguard preprocess" in migrate(*arguments).out
    record.write_bytes(json_document.dumps(finished_record(value, now="now", files=listing(folder))))
    assert "plansguard preprocess" not in migrate(*arguments).out
    (folder / "another.pkl").write_bytes(b"x")
    assert "plansguard preprocess" in migrate(*arguments).out


def test_missing_fingerprint_is_a_next_command(workspace: Path) -> None:
    remove("preprocessed/dataset_fingerprint.json")(workspace, OTHER_CT)
    result = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert result.code == 0
    assert "nnUNetv2_extract_fingerprint -d 2\n" in result.out


def test_pretrain(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    result = migrate("-s", "2", "-t", "1", "-tp", "FinetunePlans", "--workflow", "pretrain")
    assert result.code == 0
    assert "why   pretrain: train a network on Dataset001_PretrainCT that fits Dataset002_FinetuneCT\n" in result.out
    *_, preprocess, _ = result.out.splitlines()
    assert preprocess == "  plansguard preprocess -d 2 -p nnUNetPlans -c 3d_fullres"
    assert codes("-s", "2", "-t", "1", "-tp", "FinetunePlans", "--workflow", "pretrain") == set()
    assert (
        "nnUNetv2_train 2 3d_fullres 0 -p nnUNetPlans -tr nnUNetTrainer_250000steps_lr1en3 -pretrained_weights"
        in result.out
    )


def test_graft(workspace: Path) -> None:
    result = migrate("-s", "1", "-t", "2", "-tp", "Grafted", "--workflow", "graft")
    assert result.code == 0
    grafted = json.loads(place(workspace, OTHER_CT, "preprocessed/Grafted.json").read_bytes())
    own = json.loads(place(workspace, OTHER_CT, PLANS).read_bytes())
    theirs = json.loads(place(workspace, CT, PLANS).read_bytes())
    for name, configuration in grafted["configurations"].items():
        assert configuration["architecture"] == theirs["configurations"][name]["architecture"]
        assert configuration["patch_size"] == theirs["configurations"][name]["patch_size"]
        for key in ("spacing", "normalization_schemes", "data_identifier", "batch_size"):
            assert configuration[key] == own["configurations"][name][key]
    key = "foreground_intensity_properties_per_channel"
    assert grafted[key] == own[key] != theirs[key]
    assert "left out" not in result.out


def test_graft_keeps_configurations_that_vary_a_common_one(workspace: Path) -> None:
    """They are trained with the network of the weights; those with an input of their own are named as left out."""
    child, variant = {"inherits_from": "3d_bs4", "batch_dice": False}, {"inherits_from": "3d_fullres", "batch_size": 4}
    put(PLANS, "/configurations/3d_child", child)(workspace, CT)
    put(PLANS, "/configurations/3d_bs4", variant)(workspace, CT)
    put(PLANS, "/configurations/3d_far", {"inherits_from": "3d_fullres", "spacing": [5.0, 1.6, 1.6]})(workspace, CT)
    put(PLANS, "/configurations/3d_stage", {"inherits_from": "3d_fullres", "previous_stage": "2d"})(workspace, CT)
    result = migrate("-s", "1", "-t", "2", "-tp", "Grafted", "--workflow", "graft")
    assert result.code == 0
    assert "left out: 3d_far, 3d_stage (the own plans of Dataset002_FinetuneCT have none of that name)\n" in result.out
    grafted = json.loads(place(workspace, OTHER_CT, "preprocessed/Grafted.json").read_bytes())["configurations"]
    assert set(grafted) == {"2d", "3d_fullres", "3d_bs4", "3d_child"}
    assert (grafted["3d_bs4"], grafted["3d_child"]) == (variant, child)
    checked = run("check", "-d", "2", "-p", "Grafted", "-c", "3d_child")
    assert checked.code == 0


def test_graft_onto_named_plans(workspace: Path) -> None:
    arguments = ("-s", "1", "-t", "2", "-tp", "Grafted", "--workflow", "graft", "--onto", "nnUNetResEncUNetMPlans")
    assert migrate(*arguments).code == 0
    grafted = json.loads(place(workspace, OTHER_CT, "preprocessed/Grafted.json").read_bytes())
    assert grafted["experiment_planner_used"] == "nnUNetPlannerResEncM"
    assert grafted["configurations"]["3d_fullres"]["architecture"]["network_class_name"].endswith("PlainConvUNet")


def test_dry_run_writes_nothing(workspace: Path) -> None:
    before = files(workspace)
    result = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans", "--dry-run")
    assert result.code == 0
    assert "would write" in result.out
    assert files(workspace) == before


def test_repeating_changes_nothing(workspace: Path) -> None:
    migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    before = files(workspace)
    result = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert result.code == 0
    assert "This migration has been made already" in result.out
    assert files(workspace) == before


# --- Plans and weights ---


def test_an_extended_training_gives_way_to_its_extension(workspace: Path) -> None:
    results = workspace / ROOTS["results"] / CT
    model = results / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    extension = results / "nnUNetTrainer_8steps_from4__nnUNetPlans__3d_fullres"
    shutil.copytree(model, extension)
    model.rename(results / "nnUNetTrainer_4steps__nnUNetPlans__3d_fullres")
    result = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert fine_tuning(extension / "fold_0/checkpoint_final.pth", "PretrainPlans") in result.out


@pytest.mark.parametrize(
    ("workflow", "pointer", "value", "refused"),
    [
        ("finetune", "/configurations/3d_fullres/spacing/0", 2.0, True),
        ("finetune", "/configurations/3d_fullres/architecture/arch_kwargs/features_per_stage/0", 16, True),
        ("finetune", "/configurations/3d_fullres/batch_size", 3, False),
        ("finetune", "/configurations/2d/spacing/0", 2.0, False),
        ("graft", "/configurations/3d_fullres/spacing/0", 2.0, False),
        ("graft", "/configurations/3d_fullres/architecture/arch_kwargs/features_per_stage/0", 16, True),
    ],
)
def test_plans_edited_after_the_training(
    workspace: Path, workflow: str, pointer: str, value: float, refused: bool
) -> None:
    """The migrated plans must be those that the weights were trained with."""
    put(PLANS, pointer, value)(workspace, CT)
    findings = codes("-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X", "--workflow", workflow)
    assert (("PG418", "error") in findings) is refused


# --- Overwriting ---


def test_would_overwrite(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4})(workspace, OTHER_CT)
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(workspace, OTHER_CT)
    before = files(workspace)
    findings = codes("-s", "1", "-t", "2", "-tp", "nnUNetPlans")
    assert {("PG412", "error"), ("PG413", "warning")} <= findings
    assert files(workspace) == before


def test_force_keeps_a_backup_and_undo_restores_it(workspace: Path) -> None:
    copy(PLANS, "preprocessed/Mine.json")(workspace, OTHER_CT)
    put("preprocessed/Mine.json", "/plans_name", "Mine")(workspace, OTHER_CT)
    before = files(workspace)
    assert migrate("-s", "1", "-t", "2", "-tp", "Mine").code == 1
    assert files(workspace) == before
    assert migrate("-s", "1", "-t", "2", "-tp", "Mine", "--force").code == 0
    after = files(workspace)
    backups = [name for name in after if name.endswith(".bak")]
    assert [after[name] for name in backups] == [before[f"{OTHER_CT}/Mine.json"]]
    assert migrate("-t", "2", "--undo").code == 0
    restored = files(workspace)
    assert {name: restored[name] for name in before} == before


def test_default_name(workspace: Path) -> None:
    assert codes("-s", "1", "-t", "2", "-tp", "nnUNetResEncUNetLPlans") == {("PG413", "warning")}


# --- Undo ---


def test_undo(workspace: Path) -> None:
    before = files(workspace)
    migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    result = migrate("-t", "2", "--undo")
    assert result.code == 0
    assert "is undone" in result.out
    assert files(workspace) == before


def test_the_hint_about_undo_names_the_plans(workspace: Path) -> None:
    """Without the name, the command in the hint would undo the last migration instead of this one."""
    done = migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans", "--undo")
    assert done.code == 2
    assert done.err.splitlines()[1:] == ["  plansguard migrate -t 2 -tp PretrainPlans --undo"]


def test_undo_of_the_last_of_several(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate("-s", "1", "-t", "2", "-tp", "First")
    first = files(workspace)
    record = place(workspace, OTHER_CT, "preprocessed/First.plansguard.json")
    put("preprocessed/First.plansguard.json", "/created", "2001-01-01T00:00:00+00:00")(workspace, OTHER_CT)
    first[f"{OTHER_CT}/First.plansguard.json"] = record.read_bytes()
    migrate("-s", "1", "-t", "2", "-tp", "Second", "--workflow", "graft")
    assert migrate("-t", "2", "--undo").code == 0
    assert files(workspace) == first


def test_undo_refuses_plans_that_were_trained_with(workspace: Path) -> None:
    migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    model = place(workspace, OTHER_CT, "results/nnUNetTrainer__PretrainPlans__3d_fullres/fold_0")
    model.mkdir(parents=True)
    before = files(workspace)
    assert migrate("-t", "2", "--undo").code == 0
    migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    (model / "checkpoint_best.pth").touch()
    assert_refused(("-t", "2", "--undo"), "was trained with PretrainPlans")
    assert place(workspace, OTHER_CT, "preprocessed/PretrainPlans.json").is_file()
    assert migrate("-t", "2", "--undo", "--force").code == 0
    assert f"{OTHER_CT}/PretrainPlans.json" in before.keys() - files(workspace).keys()


def test_undo_refuses_edited_plans(workspace: Path) -> None:
    migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    put("preprocessed/PretrainPlans.json", "/configurations/3d_fullres/batch_size", 7)(workspace, OTHER_CT)
    before = files(workspace)
    assert_refused(("-t", "2", "--undo"), "was edited after the migration")
    assert files(workspace) == before
    assert migrate("-t", "2", "--undo", "--force").code == 0
    folder = place(workspace, OTHER_CT, "preprocessed/")
    kept = [path.read_bytes() for path in folder.glob(f"PretrainPlans.json.*{UNDONE}")]
    assert kept == [before[f"{OTHER_CT}/PretrainPlans.json"]]


def test_undo_without_a_record(workspace: Path) -> None:
    assert_refused(("-t", "2", "--undo"), "no migration is recorded in Dataset002_FinetuneCT")


def test_undo_of_plans_that_nnunet_had_moved(workspace: Path) -> None:
    """Existing plans with the same bytes get a record; undo only removes the record."""
    migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    remove("preprocessed/PretrainPlans.plansguard.json")(workspace, OTHER_CT)
    before = files(workspace)
    assert migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    assert set(files(workspace)) - set(before) == {f"{OTHER_CT}/PretrainPlans.plansguard.json"}
    assert migrate("-t", "2", "--undo").code == 0
    assert files(workspace) == before


# --- dataset.json ---


def test_missing_dataset_json_is_the_datasets_own(workspace: Path) -> None:
    own = place(workspace, OTHER_CT, "raw/dataset.json").read_bytes()
    remove("preprocessed/dataset.json")(workspace, OTHER_CT)
    assert migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    assert place(workspace, OTHER_CT, "preprocessed/dataset.json").read_bytes() == own


def test_undo_removes_the_copied_dataset_json(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["preprocessed"] / OTHER_CT)
    (workspace / ROOTS["preprocessed"] / OTHER_CT).mkdir()
    before = files(workspace)
    assert migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    assert migrate("-t", "2", "--undo").code == 0
    assert files(workspace) == before


def test_receiving_folder_is_created(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["preprocessed"] / OTHER_CT)
    assert migrate("-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    assert place(workspace, OTHER_CT, "preprocessed/PretrainPlans.json").is_file()


def test_no_dataset_json_anywhere(workspace: Path) -> None:
    remove("preprocessed/dataset.json")(workspace, OTHER_CT)
    remove("raw/dataset.json")(workspace, OTHER_CT)
    assert_refused(("-s", "1", "-t", "2", "-tp", "X"), "Dataset002_FinetuneCT has no dataset.json")


# --- Channels, dimensions, readers ---


def test_other_number_of_channels(workspace: Path) -> None:
    findings = codes("-s", "3", "-t", "2", "-tp", "X")
    assert {("PG414", "error"), ("PG304", "warning")} <= findings


@pytest.mark.parametrize(
    ("channels", "severity"),
    [({"0": "T2", "1": "T1"}, "error"), ({"0": "T1", "1": "FLAIR"}, "warning"), ({"0": "t1", "1": "T2"}, None)],
)
def test_names_and_order_of_channels(workspace: Path, channels: dict[str, str], severity: str | None) -> None:
    """Another MR dataset, made from the fixture: same images, other names."""
    other = "Dataset013_OtherMR"
    for root in ("raw", "preprocessed"):
        shutil.copytree(place(workspace, MR, f"{root}/"), place(workspace, other, f"{root}/"))
        put(f"{root}/dataset.json", "/channel_names", channels)(workspace, other)
    for plans in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        put(f"preprocessed/{plans}.json", "/dataset_name", other)(workspace, other)
    findings = codes("-s", "3", "-t", "13", "-tp", "X")
    assert {entry for entry in findings if entry[0] == "PG414"} == ({("PG414", severity)} if severity else set())


def test_volumes_to_slides(workspace: Path) -> None:
    """A 2D network works slice by slice: only a 3D configuration is refused, for which one slice would be repeated."""
    assert {("PG415", "warning"), ("PG309", "info")} <= codes("-s", "1", "-t", "4", "-tp", "X")
    assert ("PG415", "error") in codes("-s", "1", "-t", "4", "-tp", "X", "-c", "3d_fullres")
    slices, volumes = codes("-s", "1", "-t", "4", "-tp", "X", "-c", "2d"), codes("-s", "4", "-t", "1", "-tp", "X")
    assert ("PG415", "warning") in slices & volumes
    assert "fix: name a 2d configuration (-c 2d)" in migrate("-s", "1", "-t", "4", "-tp", "X").out
    of_volumes = migrate("-s", "1", "-t", "4", "-tp", "X", "-c", "2d", "--dry-run").out
    assert "fix: if a 2d configuration of volumes is meant, nothing" in of_volumes
    assert migrate("-s", "4", "-t", "1", "-tp", "X", "--dry-run").out.count("slice by slice is meant, nothing") == 2
    assert "PG309" not in dict(slices)
    assert ("PG309", "warning") in volumes


def test_tif_needs_the_reader(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plansguard.nnunet.runtime.installed", lambda: False)
    assert_refused(("-s", "3", "-t", "6", "-tp", "X"), "cannot be known without opening one")
    assert ("PG312", "error") in codes("-s", "3", "-t", "6", "-tp", "X", "--reader", "SimpleITKIO")
    assert "migrate with --reader Tiff3DIO" in migrate("-s", "3", "-t", "6", "-tp", "X", "--reader", "SimpleITKIO").out
    assert ("PG312", "error") not in codes("-s", "3", "-t", "6", "-tp", "X", "--reader", "Tiff3DIO")


def test_tif_without_images_uses_the_reader_of_existing_plans(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["raw"] / MICROSCOPY)
    out = migrate("-s", "3", "-t", "6", "-tp", "X", "--dry-run").out
    assert "PG416" in out


def test_without_raw_images(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["raw"] / OTHER_CT)
    assert codes("-s", "1", "-t", "2", "-tp", "X") == {("PG416", "info")}
    assert migrate("-s", "1", "-t", "2", "-tp", "X").code == 0


def test_overwrite_image_reader_writer(workspace: Path) -> None:
    for root in ("raw", "preprocessed"):
        put(f"{root}/dataset.json", "/overwrite_image_reader_writer", "NibabelIO")(workspace, OTHER_CT)
    assert migrate("-s", "1", "-t", "2", "-tp", "X").code == 0
    assert (
        json.loads(place(workspace, OTHER_CT, "preprocessed/X.json").read_bytes())["image_reader_writer"] == "NibabelIO"
    )


def test_far_spacing_is_found_before_writing(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_fullres/spacing", [0.2, 0.1, 0.1])(workspace, CT)
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(workspace, CT)
    findings = codes("-s", "1", "-t", "2", "-tp", "X")
    assert ("PG307", "error") in findings


@pytest.mark.parametrize(("workflow", "plans"), [("pretrain", False), ("finetune", True)])
def test_a_pretraining_is_not_planned_again(workspace: Path, workflow: str, plans: bool) -> None:
    """The plans must stay those of the fine-tuning."""
    put(PLANS, "/configurations/3d_fullres/spacing", [0.2, 0.1, 0.1])(workspace, OTHER_CT)
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(workspace, OTHER_CT)
    done = run("migrate", "-s", "2", "-t", "1", "-tp", "X", "--workflow", workflow, "--output", "json")
    (found,) = (one for one in done.json["findings"] if one["code"] == "PG307")
    assert ("nnUNetv2_plan_experiment" in found["fix"]) is plans
    assert ("pretrain on images nearer to this spacing" in found["fix"]) is not plans


# --- The command itself ---


def assert_refused(arguments: tuple[str, ...], message: str) -> None:
    """The command ends with one message and exit code 2."""
    done = migrate(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def _several_plans(workspace: Path) -> None:
    for name in ("A", "B"):
        copy(PLANS, f"preprocessed/{name}Plans.json")(workspace, CT)
    for name in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        remove(f"preprocessed/{name}.json")(workspace, CT)


def _no_plans(workspace: Path) -> None:
    for name in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        remove(f"preprocessed/{name}.json")(workspace, CT)


def _invalid(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_fullres/batch_size", "2")(workspace, CT)


def _two_of_one_id(workspace: Path) -> None:
    (workspace / ROOTS["results"] / "Dataset001_Another").mkdir()


def _as_is(workspace: Path) -> None:
    """The fixtures as they are."""


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        (("-s", "9", "-t", "2", "-tp", "X"), _as_is, "no dataset has the id 9"),
        (("-s", "abc", "-t", "2", "-tp", "X"), _as_is, "neither a dataset id"),
        (("-s", "1", "-t", "Dataset777_No", "-tp", "X"), _as_is, "has no folder in"),
        (("-s", "1", "-t", "1", "-tp", "X"), _as_is, "is both source and target"),
        (("-s", "1", "-t", "2"), _as_is, "needs -tp"),
        (("-t", "2", "-tp", "X"), _as_is, "needs -s"),
        (("-s", "1", "-t", "2", "-sp", "nope", "-tp", "X"), _as_is, "has no plans named nope"),
        (("-s", "1", "-t", "2", "-tp", "X"), _several_plans, "has several plans: name one with -sp"),
        (("-s", "1", "-t", "2", "-tp", "X"), _no_plans, "Dataset001_PretrainCT has no plans in"),
        (
            ("-s", "1", "-t", "2", "-tp", "X"),
            _invalid,
            "first /configurations/3d_fullres/batch_size",
        ),
        (("-s", "1", "-t", "2", "-tp", "X"), _two_of_one_id, "more than one dataset has the id 1"),
        (("-s", "1", "-t", "2", "-tp", "../X"), _as_is, "cannot be the name of plans"),
        (("-s", "1", "-t", "2", "-tp", "a/b"), _as_is, "cannot be the name of plans"),
        (("-s", "1", "-t", "2", "-tp", "X.json"), _as_is, "is a file name"),
        (("-s", "1", "-t", "2", "-tp", "dataset"), _as_is, "is the name of another document"),
        (("-s", "1", "-t", "2", "-tp", "Dataset_Fingerprint"), _as_is, "is the name of another document"),
        (("-s", "1", "-t", "2", "-tp", "nul"), _as_is, "cannot be the name of plans"),
        (("-s", "1", "-t", "2", "-tp", "X", "--reader", "Foo"), _as_is, "no reader 'Foo'"),
        (("-s", "1", "-t", "2", "-tp", "X", "--output", "xml"), _as_is, "--output xml is not known"),
        (("-t", "2", "--undo", "--dry-run"), _as_is, "--undo takes only"),
        (("-t", "2", "--undo", "-s", "1"), _as_is, "--undo takes only"),
        (("-s", "1", "-t", "2", "-tp", "X", "--onto", "nnUNetPlans"), _as_is, "--onto is for --workflow graft"),
        (
            ("-s", "1", "-t", "2", "-tp", "X", "--workflow", "graft", "--reader", "NibabelIO"),
            _as_is,
            "a graft keeps the reader",
        ),
    ],
)
def test_refused(workspace: Path, arguments: tuple[str, ...], change: Callable[[Path], None], message: str) -> None:
    change(workspace)
    before = files(workspace)
    assert_refused(arguments, message)
    assert files(workspace) == before


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ("migrate", "-s", "1", "-t", "2", "-tp", "X"),
            "put the plans that the weights were trained with there, or plan it first: "
            "nnUNetv2_plan_and_preprocess -d 1",
        ),
        (
            ("derive", "-d", "1", "-tp", "X", "--set", "3d_fullres.batch_size=4"),
            "plan it first: nnUNetv2_plan_and_preprocess -d 1",
        ),
    ],
)
def test_a_dataset_without_plans_has_the_command_that_plans_it(
    workspace: Path, arguments: tuple[str, ...], hint: str
) -> None:
    _no_plans(workspace)
    done = run(*arguments)
    assert (done.code, done.err.splitlines()[-1]) == (2, f"  {hint}")


def test_swapped_plans_are_pointed_out(workspace: Path) -> None:
    copy(PLANS, "preprocessed/Mine.json")(workspace, OTHER_CT)
    assert_refused(("-s", "1", "-t", "2", "-sp", "Mine", "-tp", "X"), "are -s and -t swapped?")


def test_the_only_plans_are_the_default(workspace: Path) -> None:
    remove(PLANS)(workspace, CT)
    assert migrate("-s", "1", "-t", "2", "-tp", "X").code == 0
    moved = json.loads(place(workspace, OTHER_CT, "preprocessed/X.json").read_bytes())
    assert moved["experiment_planner_used"] == "nnUNetPlannerResEncM"


def test_names_instead_of_ids(workspace: Path) -> None:
    assert migrate("-s", CT, "-t", OTHER_CT, "-tp", "X").code == 0

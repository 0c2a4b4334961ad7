"""`plansguard migrate` on the fixtures: direction, refusals, what is written, undo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from plansguard.artefacts.data.listing import listing
from plansguard.cli import build_app
from plansguard.core.errors import UsageError
from plansguard.documents import json_document
from plansguard.records.preprocessing import finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import input_fields
from tests.support.variants import ROOTS, copy, lay_out, place, put, remove

CT, OTHER_CT, MR, SLIDES = (
    "Dataset001_PretrainCT",
    "Dataset002_FinetuneCT",
    "Dataset003_TwoChannelMR",
    "Dataset004_Slides2D",
)
CASCADE, MICROSCOPY = "Dataset005_CascadeCT", "Dataset006_Microscopy3D"
PLANS = "preprocessed/nnUNetPlans.json"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of all fixtures, which nnU-Net's environment variables point to."""
    monkeypatch.chdir(tmp_path)
    for variable, folder in ROOTS.items():
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / folder))
    return lay_out(tmp_path)


def run(*arguments: str) -> Result:
    """`plansguard migrate` with these arguments."""
    result = CliRunner().invoke(build_app(), ["migrate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def codes(*arguments: str) -> set[tuple[str, str]]:
    """(code, severity) of every finding of a migration."""
    report = json.loads(run(*arguments, "--output", "json").stdout)
    return {(finding["code"], finding["severity"]) for finding in report["findings"]}


def files(workspace: Path) -> dict[str, bytes]:
    """Every file of the preprocessed root; lock files aside."""
    root = workspace / ROOTS["preprocessed"]
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".plansguard.lock"
    }


# --- the main job ---


def test_finetune(workspace: Path) -> None:
    before = files(workspace)
    result = run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert result.exit_code == 0
    assert "come from Dataset001_PretrainCT, the pretraining dataset, and go to Dataset002_FinetuneCT" in result.stdout
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
    out = run("-s", "1", "-t", "2", "-tp", "PretrainPlans").stdout
    checkpoint = (
        workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
    )
    commands = [line.strip() for line in out.partition("Next:")[2].splitlines() if line.strip()]
    assert commands == [
        "plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres",
        "plansguard check -d 2 -p PretrainPlans",
        f"plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans -pretrained_weights {checkpoint}",
    ]


def test_stamped_data_are_not_made_again(workspace: Path) -> None:
    """A migration that is repeated lists what is still to be done."""
    order = ("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    run(*order)
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
    stamp = folder.with_name(f"{folder.name}.stamp.json")
    stamp.write_bytes(json_document.dumps(value))
    assert "plansguard preprocess" in run(*order).stdout
    stamp.write_bytes(json_document.dumps(finished_record(value, now="now", files=listing(folder))))
    assert "plansguard preprocess" not in run(*order).stdout
    (folder / "another.pkl").write_bytes(b"x")
    assert "plansguard preprocess" in run(*order).stdout


def test_missing_fingerprint_is_a_next_command(workspace: Path) -> None:
    remove("preprocessed/dataset_fingerprint.json")(workspace, OTHER_CT)
    result = run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert result.exit_code == 0
    assert "nnUNetv2_extract_fingerprint -d 2\n" in result.stdout


def test_pretrain(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    result = run("-s", "2", "-t", "1", "-tp", "FinetunePlans", "--workflow", "pretrain")
    assert result.exit_code == 0
    assert "so that a network still to be trained on Dataset001_PretrainCT fits Dataset002_FinetuneCT" in result.stdout
    assert codes("-s", "2", "-t", "1", "-tp", "FinetunePlans", "--workflow", "pretrain") == set()
    assert "nnUNetv2_train 2 3d_fullres 0 -p nnUNetPlans -pretrained_weights" in result.stdout


def test_graft(workspace: Path) -> None:
    result = run("-s", "1", "-t", "2", "-tp", "Grafted", "--workflow", "graft")
    assert result.exit_code == 0
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


def test_graft_onto_named_plans(workspace: Path) -> None:
    arguments = ("-s", "1", "-t", "2", "-tp", "Grafted", "--workflow", "graft", "--onto", "nnUNetResEncUNetMPlans")
    assert run(*arguments).exit_code == 0
    grafted = json.loads(place(workspace, OTHER_CT, "preprocessed/Grafted.json").read_bytes())
    assert grafted["experiment_planner_used"] == "nnUNetPlannerResEncM"
    assert grafted["configurations"]["3d_fullres"]["architecture"]["network_class_name"].endswith("PlainConvUNet")


def test_dry_run_writes_nothing(workspace: Path) -> None:
    before = files(workspace)
    result = run("-s", "1", "-t", "2", "-tp", "PretrainPlans", "--dry-run")
    assert result.exit_code == 0
    assert "would write" in result.stdout
    assert files(workspace) == before


def test_repeating_changes_nothing(workspace: Path) -> None:
    run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    before = files(workspace)
    result = run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert result.exit_code == 0
    assert "This migration has been made already" in result.stdout
    assert files(workspace) == before


# --- direction ---


def test_reversed_by_trained_weights(workspace: Path) -> None:
    before = files(workspace)
    result = run("-s", "2", "-t", "1", "-tp", "X")
    assert result.exit_code == 1
    assert "reversed-direction" in result.stdout
    assert "plansguard migrate -s 1 -t 2 -tp X;" in result.stdout
    assert "plansguard migrate -s 2 -t 1 -tp X --workflow pretrain" in result.stdout
    assert "Nothing was written." in result.stdout
    assert files(workspace) == before


def test_the_way_out_names_the_plans_of_the_weights(workspace: Path) -> None:
    """Where they are not nnU-Net's default, and not the only ones."""
    models = workspace / ROOTS["results"] / CT
    next(models.iterdir()).rename(models / "nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres")
    copy(PLANS, "preprocessed/nnUNetResEncUNetMPlans.json")(workspace, CT)
    assert (
        "plansguard migrate -s 1 -t 2 -sp nnUNetResEncUNetMPlans -tp X;" in run("-s", "2", "-t", "1", "-tp", "X").stdout
    )


def test_reversed_by_medians(workspace: Path) -> None:
    """The pretraining dataset's plans were made for the fine-tuning dataset, whatever they are called."""
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    copy(PLANS, "preprocessed/BorrowedPlans.json", of=OTHER_CT)(workspace, CT)
    assert ("PG410", "error") in codes("-s", "1", "-t", "2", "-sp", "BorrowedPlans", "-tp", "X")
    assert ("PG410", "error") in codes(
        "-s", "1", "-t", "2", "-sp", "BorrowedPlans", "-tp", "X", "--workflow", "pretrain"
    )


def test_reversed_by_record(workspace: Path) -> None:
    """Plans that were migrated are not moved back."""
    assert run("-s", "1", "-t", "2", "-tp", "PretrainPlans").exit_code == 0
    found = codes("-s", "2", "-t", "1", "-sp", "PretrainPlans", "-tp", "Back", "--workflow", "pretrain")
    assert ("PG410", "error") in found
    assert ("PG417", "warning") in found


def test_unproven_without_weights(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    assert codes("-s", "1", "-t", "2", "-tp", "X") == {("PG411", "warning")}
    assert run("-s", "1", "-t", "2", "-tp", "X").exit_code == 0


def test_unproven_without_results(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results")
    result = run("-s", "1", "-t", "2", "-tp", "X")
    assert result.exit_code == 0
    assert "nnUNet_results is not set" in result.stdout


def test_pretrain_although_weights_exist(workspace: Path) -> None:
    assert codes("-s", "2", "-t", "1", "-tp", "X", "--workflow", "pretrain") == {("PG411", "warning")}


def test_pretraining_plans_moved_back(workspace: Path) -> None:
    """After `pretrain`, the fine-tuning dataset already has the plans of the weights."""
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    assert run("-s", "2", "-t", "1", "-tp", "ForPretraining", "--workflow", "pretrain").exit_code == 0
    checkpoint = place(workspace, CT, "results/nnUNetTrainer__ForPretraining__3d_fullres/fold_all/checkpoint_final.pth")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    assert ("PG417", "warning") in codes("-s", "1", "-t", "2", "-sp", "ForPretraining", "-tp", "Back")


def test_pretrain_from_the_trained_dataset(workspace: Path) -> None:
    """Only the giving dataset has weights: that is how it looks when somebody mixed the workflows up."""
    assert codes("-s", "1", "-t", "2", "-tp", "X", "--workflow", "pretrain") == {("PG411", "warning")}


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
    """The plans that move must be those that the weights were trained with."""
    put(PLANS, pointer, value)(workspace, CT)
    found = codes("-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X", "--workflow", workflow)
    assert (("PG418", "error") in found) is refused


# --- overwriting ---


def test_would_overwrite(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4})(workspace, OTHER_CT)
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(workspace, OTHER_CT)
    before = files(workspace)
    found = codes("-s", "1", "-t", "2", "-tp", "nnUNetPlans")
    assert {("PG412", "error"), ("PG413", "warning")} <= found
    assert files(workspace) == before


def test_force_keeps_a_backup_and_undo_restores_it(workspace: Path) -> None:
    copy(PLANS, "preprocessed/Mine.json")(workspace, OTHER_CT)
    put("preprocessed/Mine.json", "/plans_name", "Mine")(workspace, OTHER_CT)
    before = files(workspace)
    assert run("-s", "1", "-t", "2", "-tp", "Mine").exit_code == 1
    assert files(workspace) == before
    assert run("-s", "1", "-t", "2", "-tp", "Mine", "--force").exit_code == 0
    after = files(workspace)
    backups = [name for name in after if name.endswith(".bak")]
    assert [after[name] for name in backups] == [before[f"{OTHER_CT}/Mine.json"]]
    assert run("-t", "2", "--undo").exit_code == 0
    restored = files(workspace)
    assert {name: restored[name] for name in before} == before


def test_default_name(workspace: Path) -> None:
    assert codes("-s", "1", "-t", "2", "-tp", "nnUNetResEncUNetLPlans") == {("PG413", "warning")}


# --- undo ---


def test_undo(workspace: Path) -> None:
    before = files(workspace)
    run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    result = run("-t", "2", "--undo")
    assert result.exit_code == 0
    assert "is undone" in result.stdout
    assert files(workspace) == before


def test_an_undo_that_cannot_be_keeps_its_name_in_the_hint(workspace: Path) -> None:
    """Else the hint, typed as it stands, would take back the last migration in place of this one."""
    with pytest.raises(UsageError) as caught:
        run("-s", "1", "-t", "2", "-tp", "PretrainPlans", "--undo")
    assert caught.value.hint == "plansguard migrate -t 2 -tp PretrainPlans --undo"


def test_undo_takes_the_last_of_several(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-s", "1", "-t", "2", "-tp", "First")
    first = files(workspace)
    record = place(workspace, OTHER_CT, "preprocessed/First.plansguard.json")
    put("preprocessed/First.plansguard.json", "/created", "2001-01-01T00:00:00+00:00")(workspace, OTHER_CT)
    first[f"{OTHER_CT}/First.plansguard.json"] = record.read_bytes()
    run("-s", "1", "-t", "2", "-tp", "Second", "--workflow", "graft")
    assert run("-t", "2", "--undo").exit_code == 0
    assert files(workspace) == first


def test_undo_leaves_plans_alone_that_were_trained_with(workspace: Path) -> None:
    run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    model = place(workspace, OTHER_CT, "results/nnUNetTrainer__PretrainPlans__3d_fullres/fold_0")
    model.mkdir(parents=True)
    before = files(workspace)
    assert run("-t", "2", "--undo").exit_code == 0
    run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    (model / "checkpoint_best.pth").touch()
    assert_refused(("-t", "2", "--undo"), "was trained with PretrainPlans")
    assert place(workspace, OTHER_CT, "preprocessed/PretrainPlans.json").is_file()
    assert run("-t", "2", "--undo", "--force").exit_code == 0
    assert f"{OTHER_CT}/PretrainPlans.json" in before.keys() - files(workspace).keys()


def test_undo_leaves_edited_plans_alone(workspace: Path) -> None:
    run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    put("preprocessed/PretrainPlans.json", "/configurations/3d_fullres/batch_size", 7)(workspace, OTHER_CT)
    before = files(workspace)
    assert_refused(("-t", "2", "--undo"), "was edited after the migration")
    assert files(workspace) == before
    assert run("-t", "2", "--undo", "--force").exit_code == 0
    kept = [content for name, content in files(workspace).items() if name.endswith(".bak")]
    assert kept == [before[f"{OTHER_CT}/PretrainPlans.json"]]


def test_undo_without_a_record(workspace: Path) -> None:
    assert_refused(("-t", "2", "--undo"), "no migration into Dataset002_FinetuneCT is recorded")


def test_undo_of_plans_that_nnunet_had_moved(workspace: Path) -> None:
    """Plans that stood there already with the same bytes are adopted; undo only takes the record back."""
    run("-s", "1", "-t", "2", "-tp", "PretrainPlans")
    remove("preprocessed/PretrainPlans.plansguard.json")(workspace, OTHER_CT)
    before = files(workspace)
    assert run("-s", "1", "-t", "2", "-tp", "PretrainPlans").exit_code == 0
    assert set(files(workspace)) - set(before) == {f"{OTHER_CT}/PretrainPlans.plansguard.json"}
    assert run("-t", "2", "--undo").exit_code == 0
    assert files(workspace) == before


# --- dataset.json ---


def test_missing_dataset_json_is_the_datasets_own(workspace: Path) -> None:
    own = place(workspace, OTHER_CT, "raw/dataset.json").read_bytes()
    remove("preprocessed/dataset.json")(workspace, OTHER_CT)
    assert run("-s", "1", "-t", "2", "-tp", "PretrainPlans").exit_code == 0
    assert place(workspace, OTHER_CT, "preprocessed/dataset.json").read_bytes() == own


def test_undo_takes_the_placed_dataset_json_back(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["preprocessed"] / OTHER_CT)
    (workspace / ROOTS["preprocessed"] / OTHER_CT).mkdir()
    before = files(workspace)
    assert run("-s", "1", "-t", "2", "-tp", "PretrainPlans").exit_code == 0
    assert run("-t", "2", "--undo").exit_code == 0
    assert files(workspace) == before


def test_receiving_folder_is_made(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["preprocessed"] / OTHER_CT)
    assert run("-s", "1", "-t", "2", "-tp", "PretrainPlans").exit_code == 0
    assert place(workspace, OTHER_CT, "preprocessed/PretrainPlans.json").is_file()


def test_no_dataset_json_anywhere(workspace: Path) -> None:
    remove("preprocessed/dataset.json")(workspace, OTHER_CT)
    remove("raw/dataset.json")(workspace, OTHER_CT)
    assert_refused(("-s", "1", "-t", "2", "-tp", "X"), "Dataset002_FinetuneCT has no dataset.json")


# --- channels, dimensions, readers ---


def test_other_number_of_channels(workspace: Path) -> None:
    found = codes("-s", "3", "-t", "2", "-tp", "X")
    assert {("PG414", "error"), ("PG304", "error")} <= found


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
    found = codes("-s", "3", "-t", "13", "-tp", "X")
    assert {entry for entry in found if entry[0] == "PG414"} == ({("PG414", severity)} if severity else set())


def test_volumes_to_slides(workspace: Path) -> None:
    assert ("PG415", "error") in codes("-s", "1", "-t", "4", "-tp", "X")
    assert ("PG415", "error") in codes("-s", "4", "-t", "1", "-tp", "X")


def test_tif_asks_for_the_reader(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plansguard.nnunet.runtime.installed", lambda: False)
    assert_refused(("-s", "3", "-t", "6", "-tp", "X"), "cannot be known without opening one")
    assert ("PG312", "error") in codes("-s", "3", "-t", "6", "-tp", "X", "--reader", "SimpleITKIO")
    assert "migrate with --reader Tiff3DIO" in run("-s", "3", "-t", "6", "-tp", "X", "--reader", "SimpleITKIO").stdout
    assert ("PG312", "error") not in codes("-s", "3", "-t", "6", "-tp", "X", "--reader", "Tiff3DIO")


def test_tif_without_images_goes_by_the_plans_that_are_there(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["raw"] / MICROSCOPY)
    out = run("-s", "3", "-t", "6", "-tp", "X", "--dry-run").stdout
    assert "PG416" in out


def test_without_raw_images(workspace: Path) -> None:
    shutil.rmtree(workspace / ROOTS["raw"] / OTHER_CT)
    assert codes("-s", "1", "-t", "2", "-tp", "X") == {("PG416", "info")}
    assert run("-s", "1", "-t", "2", "-tp", "X").exit_code == 0


def test_overwrite_image_reader_writer(workspace: Path) -> None:
    for root in ("raw", "preprocessed"):
        put(f"{root}/dataset.json", "/overwrite_image_reader_writer", "NibabelIO")(workspace, OTHER_CT)
    assert run("-s", "1", "-t", "2", "-tp", "X").exit_code == 0
    assert (
        json.loads(place(workspace, OTHER_CT, "preprocessed/X.json").read_bytes())["image_reader_writer"] == "NibabelIO"
    )


def test_far_spacing_is_found_before(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_fullres/spacing", [0.2, 0.1, 0.1])(workspace, CT)
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(workspace, CT)
    found = codes("-s", "1", "-t", "2", "-tp", "X")
    assert ("PG307", "error") in found


# --- the command itself ---


def assert_refused(arguments: tuple[str, ...], message: str) -> None:
    """The command ends with one PlansguardError, which `main` turns into a message and exit code 2."""
    from plansguard.core.errors import PlansguardError

    with pytest.raises(PlansguardError, match=message):
        run(*arguments)


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
        (("-s", "1", "-t", "2"), _as_is, "needs -s and -tp"),
        (("-t", "2", "-tp", "X"), _as_is, "needs -s and -tp"),
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


def test_swapped_plans_are_pointed_out(workspace: Path) -> None:
    copy(PLANS, "preprocessed/Mine.json")(workspace, OTHER_CT)
    assert_refused(("-s", "1", "-t", "2", "-sp", "Mine", "-tp", "X"), "are -s and -t swapped?")


def test_the_only_plans_are_the_default(workspace: Path) -> None:
    remove(PLANS)(workspace, CT)
    assert run("-s", "1", "-t", "2", "-tp", "X").exit_code == 0
    moved = json.loads(place(workspace, OTHER_CT, "preprocessed/X.json").read_bytes())
    assert moved["experiment_planner_used"] == "nnUNetPlannerResEncM"


def test_names_instead_of_ids(workspace: Path) -> None:
    assert run("-s", CT, "-t", OTHER_CT, "-tp", "X").exit_code == 0

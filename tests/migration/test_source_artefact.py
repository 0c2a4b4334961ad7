"""`plansguard migrate -s` with external plans: a plans file, a model, a zip archive, a checkpoint."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from plansguard.documents import json_document
from tests.support.command import Done, run
from tests.support.models import (
    CHECKPOINT,
    CT,
    FIXTURE,
    KINDS,
    MODEL,
    copy_of_model,
    doctored,
    edit,
    pack,
    spoiled,
    stored,
)
from tests.support.moves import fine_tuning
from tests.support.variants import ROOTS, lay_out, place, point_to

OTHER_CT, MR = "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR"


#: The fixtures without the pretraining dataset.
pytestmark = [pytest.mark.deep, pytest.mark.workspace(OTHER_CT, MR, folder="workspace")]


@pytest.fixture(autouse=True)
def artefacts(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, in which the tests put artefacts of the pretraining dataset."""
    (tmp_path / "got").mkdir()
    monkeypatch.chdir(tmp_path / "got")


def migrate(source: str | Path, *options: str) -> Done:
    return run("migrate", "-s", source, "-t", "2", "-tp", "Pretrained", *options)


def written(workspace: Path, name: str = "Pretrained.json") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(place(workspace, OTHER_CT, f"preprocessed/{name}").read_bytes())
    return document


def codes(done: Done) -> set[tuple[str, str]]:
    return {(finding["code"], finding["severity"]) for finding in done.json["findings"]}


def accepting(*rules: str) -> tuple[str, str]:
    """Options that accept these findings."""
    ignore = [{"rule": rule, "path": "*", "reason": "made like this for the test"} for rule in rules]
    Path("accepted.json").write_text(json.dumps({"ignore": ignore}))
    return "--settings", "accepted.json"


def preprocessed(workspace: Path) -> dict[str, bytes]:
    root = workspace / ROOTS["preprocessed"]
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".undone")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


# --- What -s takes ---


def _plans_file() -> Path:
    shutil.copy(FIXTURE / "plans.json", "plans.json")
    return Path("plans.json")


def _renamed_plans() -> Path:
    shutil.copy(FIXTURE / "plans.json", "from_a_mail.json")
    return Path("from_a_mail.json")


def _model() -> Path:
    return copy_of_model(Path(), MODEL)


def _renamed_model() -> Path:
    return copy_of_model(Path(), "weights")


def _models() -> Path:
    Path(CT).mkdir()
    return copy_of_model(Path(CT)).parent


def _zip() -> Path:
    return pack(Path("model.zip"), FIXTURE)


def _checkpoint() -> Path:
    return Path(shutil.copy(CHECKPOINT, "some.pth"))


ARTEFACTS = [_plans_file, _renamed_plans, _model, _renamed_model, _models, _zip, _checkpoint]


@pytest.mark.parametrize("artefact", ARTEFACTS)
@pytest.mark.parametrize("workflow", ["finetune", "graft"])
def test_the_same_plans_wherever_they_come_from(
    workspace: Path, artefact: Callable[[], Path], workflow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if they had been put into the folder of a dataset."""
    done = migrate(artefact(), "--workflow", workflow)
    assert done.code == 0, done.out + done.err
    got = written(workspace)
    with monkeypatch.context() as patch:
        with_both = lay_out(tmp_path / "both", CT, OTHER_CT)
        point_to(with_both, patch)
        place(with_both, CT, "preprocessed/nnUNetPlans.json").write_bytes((FIXTURE / "plans.json").read_bytes())
        options = ("-sp", "nnUNetPlans", "--workflow", workflow)
        assert run("migrate", "-s", "1", "-t", "2", "-tp", "Pretrained", *options).code == 0
    assert got == written(with_both)
    assert place(workspace, OTHER_CT, "preprocessed/Pretrained.json").read_bytes() == json_document.dumps(got)


@pytest.mark.parametrize(
    ("artefact", "inside"),
    [
        (_plans_file, ""),
        (_model, "plans.json"),
        (_models, f"{MODEL}/plans.json"),
        (_zip, f"{CT}/{MODEL}/plans.json"),
        (_checkpoint, ""),
    ],
)
def test_the_record_names_the_artefact(workspace: Path, artefact: Callable[[], Path], inside: str) -> None:
    path = artefact()
    migrate(path)
    origin = written(workspace, "Pretrained.plansguard.json")["from"]
    assert (origin["dataset"], origin["plans"]) == (CT, "nnUNetPlans")
    assert origin["path"] == str(path / inside)


def test_repeating_changes_nothing_and_undo_restores(workspace: Path) -> None:
    before = preprocessed(workspace)
    archive = _zip()
    migrate(archive)
    after = preprocessed(workspace)
    assert "This migration has been made already" in migrate(archive).out
    assert preprocessed(workspace) == after
    assert run("migrate", "-t", "2", "--undo").code == 0
    assert preprocessed(workspace) == before


def test_a_check_afterwards_knows_their_origin(workspace: Path) -> None:
    migrate(_zip())
    edit(
        place(workspace, OTHER_CT, "preprocessed/Pretrained.json"),
        lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[1.0, 0.8, 0.8]),
    )
    assert f"when migrated from {CT}" in run("check", "-d", "2", "-p", "Pretrained").out


@pytest.mark.parametrize("given", ["folder", "file"])
def test_paths_into_the_workspace_are_datasets(workspace: Path, given: str) -> None:
    """With everything known of them: records, other plans, trained models in nnUNet_results."""
    lay_out_again = lay_out(workspace.parent / "all")
    for folder in ROOTS.values():
        shutil.copytree(lay_out_again / folder / CT, workspace / folder / CT)
    source = place(workspace, CT, "preprocessed/nnUNetPlans.json" if given == "file" else "preprocessed")
    done = migrate(source, *([] if given == "file" else ["-sp", "nnUNetPlans"]))
    assert done.code == 0
    assert f"nnUNet_results/{CT}/{MODEL}/fold_0/checkpoint_final.pth" in done.out
    assert "-sp Other" in migrate(place(workspace, CT, "preprocessed/nnUNetPlans.json"), "-sp", "Other").err


def test_ids_and_names_win_over_folders_of_the_same_name(workspace: Path) -> None:
    Path("3").mkdir()
    Path(MR).mkdir()
    for source in ("3", MR):
        assert f" of {MR} (pretraining)" in migrate(source, "--dry-run").out


def test_models_of_a_dataset_that_has_only_results(workspace: Path) -> None:
    """As after nnUNetv2_install_pretrained_model_from_zip: the dataset has no folder, but its models have plans."""
    models = workspace / ROOTS["results"] / CT
    models.mkdir()
    copy_of_model(models)
    done = migrate("1")
    assert done.code == 2
    assert f"plans can also come from its trained models: -s {models}" in done.err
    assert migrate(models).code == 0


# --- Direction ---


@pytest.mark.parametrize("artefact", [_model, _zip, _checkpoint])
def test_weights_of_the_artefact_prove_the_direction(workspace: Path, artefact: Callable[[], Path]) -> None:
    """The only finding is that the fixture was trained for one epoch."""
    assert codes(migrate(artefact(), "--dry-run", "--output", "json")) == {("PG606", "warning")}


def test_weights_that_do_not_belong_to_the_plans_beside_them(workspace: Path) -> None:
    """plans.json was edited after the training: nnU-Net would build a network that the weights do not fit."""
    model = _model()
    kwargs = "architecture", "arch_kwargs"
    edit(
        model / "plans.json",
        lambda plans: plans["configurations"]["3d_fullres"][kwargs[0]][kwargs[1]].update(
            features_per_stage=[16, 32, 64, 128, 256]
        ),
    )
    for source in (model, pack(Path("model.zip"), model)):
        done = migrate(source, "--output", "json")
        assert done.code == 1
        assert any(code.startswith("PG62") and severity == "error" for code, severity in codes(done))
    assert not place(workspace, OTHER_CT, "preprocessed/Pretrained.json").exists()


def test_damaged_weights_are_found_before_writing(workspace: Path) -> None:
    assert ("PG602", "error") in codes(migrate(doctored(Path("some.pth")), "--output", "json"))
    model = _model()
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    done = migrate(model)
    assert done.code == 2
    assert "fold_0/checkpoint_final.pth: the file is empty" in done.err


def test_plans_alone_prove_nothing(workspace: Path) -> None:
    done = migrate(_plans_file(), "--dry-run")
    assert codes(migrate("plans.json", "--dry-run", "--output", "json")) == {("PG411", "warning")}
    assert "there are no weights with plans.json" in done.out
    assert "plansguard migrate -s CHECKPOINT -t 2 -tp Pretrained" in " ".join(done.out.split())


def test_plans_alone_are_not_refused_because_the_receiving_dataset_was_trained(workspace: Path) -> None:
    """Whether weights exist for a plans file is not known, which is no evidence of a reversed direction."""
    trained = workspace / ROOTS["results"] / OTHER_CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(FIXTURE, trained)
    assert codes(migrate(_plans_file(), "--dry-run", "--output", "json")) == {("PG411", "warning")}


@pytest.mark.parametrize("artefact", [_model, _zip, _checkpoint])
def test_pretrain_from_trained_weights_is_refused(workspace: Path, artefact: Callable[[], Path]) -> None:
    before = preprocessed(workspace)
    done = migrate(artefact(), "--workflow", "pretrain")
    assert done.code == 2
    assert "contains trained weights; --workflow pretrain" in done.err
    assert preprocessed(workspace) == before


def test_pretrain_with_a_plans_file(workspace: Path) -> None:
    """The fine-tuning dataset is on another machine; its plans were sent."""
    shutil.copy(place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json"), "theirs.json")
    shutil.copy(place(workspace, OTHER_CT, "preprocessed/dataset_fingerprint.json"), ".")
    pretraining = "Dataset013_Pretraining"
    for root in ("raw", "preprocessed"):
        shutil.copytree(place(workspace, OTHER_CT, f"{root}/"), place(workspace, pretraining, f"{root}/"))
    for name in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        place(workspace, pretraining, f"preprocessed/{name}.json").unlink()
    done = run("migrate", "-s", "theirs.json", "-t", "13", "-tp", "Finetune", "--workflow", "pretrain")
    assert done.code == 0, done.out
    assert (
        "nnUNetv2_train 2 3d_fullres 0 -p nnUNetPlans -tr nnUNetTrainer_250000steps_lr1en3 -pretrained_weights"
        in done.out
    )


# --- Rules about the pair ---


def test_channels_are_compared_with_the_dataset_json_in_the_artefact(workspace: Path) -> None:
    for artefact in (_model(), _zip(), _checkpoint()):
        done = run("migrate", "-s", artefact, "-t", "3", "-tp", "X", "--output", "json")
        assert ("PG414", "error") in codes(done)
    bare = run("migrate", "-s", _plans_file(), "-t", "3", "-tp", "X", "--output", "json")
    assert "PG414" in {record["code"] for record in bare.json["not_checked"]}
    shutil.copy(FIXTURE / "dataset.json", "dataset.json")
    beside = run("migrate", "-s", "plans.json", "-t", "3", "-tp", "X", "--output", "json")
    assert ("PG414", "error") in codes(beside)


def test_no_rule_breaks(workspace: Path) -> None:
    for artefact in ARTEFACTS:
        done = migrate(artefact(), "--dry-run", "--output", "json")
        assert "PG000" not in {code for code, _ in codes(done)}


# --- The next commands ---


def commands(done: Done) -> list[str]:
    return [line.strip() for line in re.split("Next.*:\n", done.out)[-1].splitlines() if line.strip()]


def test_next_commands_name_the_checkpoint(workspace: Path) -> None:
    for artefact, checkpoint in (
        (_model, f"{MODEL}/fold_0/checkpoint_final.pth"),
        (_models, f"{CT}/{MODEL}/fold_0/checkpoint_final.pth"),
        (_checkpoint, "some.pth"),
    ):
        assert commands(migrate(artefact(), "--dry-run")) == [
            "plansguard preprocess -d 2 -p Pretrained -c 3d_fullres",
            "plansguard check -d 2 -p Pretrained -c 3d_fullres",
            fine_tuning(checkpoint),
        ]


def test_the_configuration_of_a_renamed_folder_is_that_of_its_checkpoint(workspace: Path) -> None:
    model = copy_of_model(Path(), "weights")
    doctored(model / "fold_0" / "checkpoint_final.pth", ("3d_fullres", "2d"))
    found = codes(migrate(model, "--dry-run", "--output", "json"))
    assert " -c 2d" in migrate(model, "--dry-run", *accepting(*(code for code, _ in found))).out


def test_weights_in_a_zip_are_unpacked_first(workspace: Path) -> None:
    """Into nnUNet_results, as nnU-Net does it, unless that would overwrite a model of the same name."""
    archive = _zip()
    unpack, train = commands(migrate(archive, "--dry-run"))[-2:]
    weights = workspace / ROOTS["results"] / CT / MODEL / "fold_0" / "checkpoint_final.pth"
    assert (unpack, train) == ("nnUNetv2_install_pretrained_model_from_zip model.zip", fine_tuning(weights))
    weights.parent.mkdir(parents=True)
    unpack, train = commands(migrate(archive, "--dry-run"))[-2:]
    member = f"{CT}/{MODEL}/fold_0/checkpoint_final.pth"
    assert (unpack, train) == (f"unzip model.zip {member} -d model", fine_tuning(f"model/{member}"))


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip")
def test_the_unzip_command_works(workspace: Path) -> None:
    pack(Path("my model.zip"), FIXTURE, below="some author's")
    *_, unpack, train = commands(migrate("my model.zip", "--dry-run"))
    subprocess.run(unpack, shell=True, check=True, capture_output=True)
    where = subprocess.run(
        f"ls {train.partition('-pretrained_weights ')[2]}", shell=True, check=True, capture_output=True, text=True
    )
    assert where.stdout == f"my model/some author's/{MODEL}/fold_0/checkpoint_final.pth\n"


def test_nothing_is_unpacked(workspace: Path) -> None:
    migrate(_zip())
    assert [path.name for path in Path().iterdir()] == ["model.zip"]


# --- Several models ---


def _two(**change: Any) -> Path:
    flat = copy_of_model(Path(), "nnUNetTrainer__nnUNetPlans__2d")
    edit(flat / "plans.json", lambda plans: plans.update(change))
    return pack(Path("two.zip"), FIXTURE, flat)


def test_configurations_with_the_same_plans_are_one_source(workspace: Path) -> None:
    done = migrate(_two())
    assert done.code == 0
    assert "plansguard preprocess -d 2 -p Pretrained -c 2d" in done.out


def test_plans_that_differ_are_chosen_with_sp(workspace: Path) -> None:
    archive = _two(note="planned again")
    done = migrate(archive)
    assert done.code == 2
    assert "two.zip contains models with different plans: name one with -sp" in done.err
    assert "nnUNetPlans of nnUNetTrainer__nnUNetPlans__2d" in done.err
    for choice, note in (("2d", "planned again"), (MODEL, None), ("3d_fullres", None)):
        assert migrate(archive, "-sp", choice, "--force").code == 0
        assert written(workspace).get("note") == note
    assert "two.zip has no plans named 3d_lowres" in migrate(archive, "-sp", "3d_lowres").err


def test_the_default_plans_are_meant_among_others(workspace: Path) -> None:
    archive = _two(plans_name="Custom")
    assert migrate(archive).code == 0
    assert written(workspace, "Pretrained.plansguard.json")["from"]["plans"] == "nnUNetPlans"
    assert migrate(archive, "-sp", "Custom", "--force").code == 0
    assert written(workspace, "Pretrained.plansguard.json")["from"]["plans"] == "Custom"


def test_models_of_several_datasets(workspace: Path) -> None:
    for name in (CT, "Dataset009_Other"):
        Path("results", name).mkdir(parents=True)
        copy_of_model(Path("results", name))
    done = migrate("results")
    assert done.code == 2
    assert f"results contains models of several datasets: {CT}, Dataset009_Other" in done.err


def test_a_wrong_name_for_the_plans_of_a_checkpoint(workspace: Path) -> None:
    done = migrate(_checkpoint(), "-sp", "Other")
    assert done.code == 2
    assert "has no plans named Other" in done.err


# --- What cannot be ---


def test_old_plans_in_an_old_model(workspace: Path) -> None:
    """Models of nnU-Net 2.0 to 2.3 have plans without `architecture`."""
    model = _model()
    keys = {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": "n_conv_per_stage",
        "n_conv_per_stage_decoder": "n_conv_per_stage_decoder",
        "pool_op_kernel_sizes": "strides",
        "conv_kernel_sizes": "kernel_sizes",
    }

    def age(plans: dict[str, Any]) -> None:
        for configuration in plans["configurations"].values():
            if "architecture" in configuration:
                kwargs = configuration.pop("architecture")["arch_kwargs"]
                configuration.update({old: kwargs.get(new, new) for old, new in keys.items()})
                configuration["num_pool_per_axis"] = [4, 4, 4]

    edit(model / "plans.json", age)
    assert migrate(model).code == 0
    assert written(workspace)["configurations"]["3d_fullres"]["UNet_class_name"] == "PlainConvUNet"
    assert migrate(model, "--workflow", "graft", "--force").code == 0
    kwargs = written(workspace)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert kwargs["features_per_stage"][0] == 32


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.zip", None, "does not exist"),
        ("results/gone", None, "does not exist"),
        ("model.zip", b"PK\3\4 and no more", "cut short"),
        ("dataset.json", (FIXTURE / "dataset.json").read_bytes(), "this is a dataset.json, and no plans"),
    ],
)
def test_refused(workspace: Path, name: str, content: bytes | None, message: str) -> None:
    before = preprocessed(workspace)
    if content is not None:
        Path(name).write_bytes(content)
    done = migrate(name)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert preprocessed(workspace) == before


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nnunet-v1", "written by nnU-Net v1"),
        ("nnssl", "contains an adaptation plan"),
        ("state-dict", "contains no plans"),
    ],
)
def test_checkpoints_without_plans_for_nnunet_v2(workspace: Path, kind: str, message: str) -> None:
    done = migrate(doctored(Path("some.pth"), *KINDS[kind]))
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 2


def test_plans_without_configurations(workspace: Path) -> None:
    edit(_plans_file(), lambda plans: plans.update(configurations={}))
    assert "plans.json has no configurations" in migrate("plans.json").err


def test_fields_of_a_wrong_type_in_a_zip(workspace: Path) -> None:
    model = _model()
    edit(model / "plans.json", lambda plans: plans["configurations"]["2d"].update(batch_size="2"))
    done = migrate(pack(Path("model.zip"), model))
    assert done.code == 2
    assert "has fields of a wrong type, first /configurations/2d/batch_size" in done.err
    assert "plansguard extract model.zip -o plans.json" in done.err


# --- Hostile text ---

ESCAPE = "\x1b[2J\x1b]0;owned\x07"


def test_names_in_the_plans_never_steer_anything(workspace: Path, tmp_path: Path) -> None:
    """Neither the terminal, nor a shell that a command is pasted into, nor the paths of written files."""
    odd = f"../../../{ESCAPE}`touch owned`"
    model = _model()
    edit(model / "plans.json", lambda plans: plans.update(plans_name=odd, dataset_name=odd))
    before = set(tmp_path.rglob("*"))
    for source in (model, pack(Path("model.zip"), model), Path(shutil.copy(model / "plans.json", "some.json"))):
        done = migrate(source, "--force")
        assert done.code == 0, done.out + done.err
        assert "\x1b" not in done.out + done.err
        for command in commands(done):
            assert "`" not in command or "'" in command
    new = {path.name for path in set(tmp_path.rglob("*")) - before}
    assert new <= {
        "model.zip",
        "some.json",
        "Pretrained.json",
        "Pretrained.plansguard.json",
        *(name for name in new if name.endswith(".bak")),
    }


def test_names_in_a_checkpoint_never_steer_anything(workspace: Path, tmp_path: Path) -> None:
    odd = f"../../{ESCAPE}"
    path = doctored(Path("some.pth"), ("nnUNetPlans", odd), (CT, odd), ("3d_fullres", odd), ("nnUNetTrainer", odd))
    options = accepting("PG602")
    before = set(tmp_path.rglob("*"))
    done = migrate(path, *options)
    assert done.code == 0, done.out + done.err
    assert "\x1b" not in done.out + done.err
    assert written(workspace, "Pretrained.plansguard.json")["from"]["plans"] == odd
    new = {path.name for path in set(tmp_path.rglob("*")) - before}
    assert new == {"Pretrained.json", "Pretrained.plansguard.json"}


def test_odd_configuration_names_are_quoted(workspace: Path) -> None:
    model = _model()
    shutil.rmtree(model / "fold_0")
    edit(model / "plans.json", lambda plans: plans.update(configurations={"a; touch b": plans["configurations"]["2d"]}))
    assert "-c 'a; touch b'" in migrate(model, "--dry-run").out


def test_a_hostile_zip_is_refused(workspace: Path) -> None:
    path = stored(Path("model.zip"), {"m/plans.json": (FIXTURE / "plans.json").read_bytes(), "../x": b""})
    done = migrate(path)
    assert done.code == 2
    assert "leads outside" in done.err


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=spoiled("plans.json"))
def test_any_content_of_the_plans(workspace: Path, plans: bytes) -> None:
    Path("some.json").write_bytes(plans)
    done = migrate("some.json", "--dry-run")
    assert done.code in (0, 1, 2)
    assert all(char.isprintable() for char in done.out + done.err if char != "\n")
    assert "PG000" not in done.out


# --- Against nnU-Net ---


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model of the fixture, exported by nnU-Net's own command."""
    theirs = lay_out(tmp_path / "theirs", CT)
    fold = place(theirs, CT, f"results/{MODEL}/fold_0")
    (fold / "progress.png").write_bytes(b"png")
    (fold / "validation").mkdir()
    (fold / "validation" / "summary.json").write_text("{}")
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "nnUNetv2_export_model_to_zip"),
            *("-d", "1", "-o", str(tmp_path / "exported.zip"), "-c", "3d_fullres", "-f", "0", "-p", "nnUNetPlans"),
        ],
        env={**os.environ, **{name: str(theirs / name) for name in ROOTS.values()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / "exported.zip"


@pytest.mark.nnunet
@pytest.mark.slow
def test_a_zip_that_nnunet_exported(workspace: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's own function, given its plans in a folder of a dataset, writes the same bytes."""
    done = migrate(exported)
    assert done.code == 0, done.out + done.err
    ours = place(workspace, OTHER_CT, "preprocessed/Pretrained.json").read_bytes()
    fake = workspace / ROOTS["preprocessed"] / CT
    fake.mkdir()
    extracted = run("extract", exported, "-o", fake / "nnUNetPlans.json")
    assert extracted.code == 0, extracted.err
    from nnunetv2.experiment_planning.plans_for_pretraining import move_plans_between_datasets as module

    for variable in ("nnUNet_raw", "nnUNet_preprocessed"):
        if hasattr(module, variable):
            monkeypatch.setattr(module, variable, str(workspace / variable))
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        module.move_plans_between_datasets(CT, OTHER_CT, "nnUNetPlans", "Theirs")
    theirs = place(workspace, OTHER_CT, "preprocessed/Theirs.json").read_bytes()
    assert ours == theirs.replace(b"Theirs", b"Pretrained")


@pytest.mark.nnunet
@pytest.mark.slow
def test_install_and_train_lines_name_what_nnunet_unpacks(workspace: Path, exported: Path) -> None:
    install, train = commands(migrate(exported, "--dry-run"))[-2:]
    command, archive = install.split()
    subprocess.run([Path(sys.executable).parent / command, archive], check=True, capture_output=True)
    assert Path(train.partition("-pretrained_weights ")[2]).is_file()

"""Weights that are to be fine-tuned: severity and text of each finding, and none for healthy weights."""

from __future__ import annotations

import json
import random
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Finding, Report, Severity
from plansguard.documents.recognise import recognise
from plansguard.nnunet.network.parameters import Shapes
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.subjects import input_comparison
from tests.support import checkpoints
from tests.support.command import run
from tests.support.moves import fine_tuning
from tests.support.variants import PLANS, ROOTS, place, put, set_value
from tests.support.weights import CASCADE, CT, LABELS, MR, PRETRAINED, beside

Document = dict[str, Any]

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
FULLRES = "/configurations/3d_fullres"
#: How the codes of the tested rules begin.
FAMILY = "PG6"


pytestmark = [pytest.mark.deep, pytest.mark.workspace(chdir=True)]


def read(workspace: Path, dataset: str, name: str) -> Document:
    document: Document = json.loads(place(workspace, dataset, f"preprocessed/{name}.json").read_bytes())
    return document


def trained(workspace: Path, dataset: str = CT, name: str = "nnUNetPlans", **options: Any) -> Path:
    """Write weights of a finished training with the dataset's own plans, for other labels."""
    plans, dataset_json = read(workspace, dataset, name), read(workspace, dataset, "dataset")
    dataset_json["labels"] = LABELS
    return checkpoints.write(workspace / "weights.pth", plans, dataset_json, **options)


def severities(report: Report) -> dict[str, Severity]:
    return {one.code: one.severity for one in report.findings if one.code.startswith(FAMILY)}


def finding(report: Report, code: str) -> Finding:
    (one,) = [one for one in report.findings if one.code == code]
    return one


# ---------------------------------------------------------------------------------------------------------------------
# The input in the training of the weights (AR-06)
# ---------------------------------------------------------------------------------------------------------------------

RANGE = "/foreground_intensity_properties_per_channel/0"

#: Field of the run's plans, its value, and the severity of the difference from the plans of the weights: for plans of
#: unknown origin, for plans that were migrated for fine-tuning, for grafted ones.
GRADES: list[tuple[str, Any, Severity, Severity, Severity]] = [
    (f"{FULLRES}/spacing", [1.5, 1.0, 1.0], INFO, INFO, INFO),
    (f"{FULLRES}/spacing", [1.5, 0.9, 0.9], WARNING, ERROR, INFO),
    (f"{FULLRES}/spacing", [4.0, 1.2, 1.2], WARNING, ERROR, INFO),
    (f"{FULLRES}/normalization_schemes", ["ZScoreNormalization"], ERROR, ERROR, INFO),
    (f"{FULLRES}/use_mask_for_norm", [True], WARNING, ERROR, INFO),
    (f"{RANGE}/percentile_99_5", 127.0, INFO, INFO, INFO),
    (f"{RANGE}/mean", 79.0, INFO, INFO, INFO),
    (f"{RANGE}/percentile_99_5", 200.0, WARNING, ERROR, INFO),
    (f"{RANGE}/percentile_00_5", -1000.0, ERROR, ERROR, INFO),
    ("/transpose_forward", [1, 0, 2], WARNING, ERROR, WARNING),
    ("/image_reader_writer", "NibabelIO", WARNING, WARNING, INFO),
    (f"{FULLRES}/preprocessor_name", "MyPreprocessor", WARNING, ERROR, INFO),
    (f"{FULLRES}/resampling_fn_data", "resample_torch_fornnunet", INFO, INFO, INFO),
    (f"{FULLRES}/resampling_fn_data_kwargs/order", 1, INFO, INFO, INFO),
    (f"{FULLRES}/patch_size", [48, 64, 64], INFO, INFO, INFO),
    (f"{FULLRES}/patch_size", [24, 64, 64], WARNING, WARNING, WARNING),
    (f"{FULLRES}/architecture/arch_kwargs/nonlin", "torch.nn.ReLU", WARNING, ERROR, INFO),
    (f"{FULLRES}/architecture/arch_kwargs/norm_op_kwargs/eps", 0.1, WARNING, ERROR, INFO),
]


def migrated(workspace: Path, workflow: str) -> str:
    """Migrate the plans of the weights, and return the name of the plans."""
    done = run("migrate", "-s", "weights.pth", "-t", "2", "-tp", "Pretrained", "--workflow", workflow)
    assert done.code == 0, done.out + done.err
    return "Pretrained"


@pytest.mark.parametrize("workflow", ["", "finetune", "graft"])
def test_another_patch_needs_no_migration(workspace: Path, workflow: str) -> None:
    """Least of all of plans that were migrated for these weights, as in a configuration with a smaller patch."""
    path = trained(workspace)
    name = migrated(workspace, workflow) if workflow else "nnUNetPlans"
    smaller = {"inherits_from": "3d_fullres", "patch_size": [24, 64, 64]}
    put(f"preprocessed/{name}.json", "/configurations/3d_small", smaller)(workspace, CT)
    fix = finding(check(datasets=["2"], plans=name, configuration="3d_small", weights=path), "PG625").fix
    assert fix.startswith("for the same input: set patch_size to [56, 64, 64]; if the difference is meant")


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["", "finetune", "graft"])
@pytest.mark.parametrize(("pointer", "value", "unknown", "finetune", "graft"), GRADES)
def test_severity_of_a_difference(
    workspace: Path, pointer: str, value: Any, unknown: Severity, finetune: Severity, graft: Severity, workflow: str
) -> None:
    path = trained(workspace)
    name = migrated(workspace, workflow) if workflow else "nnUNetPlans"
    clean = check(datasets=["2"], plans=name, weights=path)
    assert severities(clean) == {}
    put(f"preprocessed/{name}.json", pointer, value)(workspace, CT)
    report = check(datasets=["2"], plans=name, weights=path)
    assert severities(report)["PG625"] is {"": unknown, "finetune": finetune, "graft": graft}[workflow]
    assert len(finding(report, "PG625").values["table"]) == 2


def test_the_table_lists_both_sides(workspace: Path) -> None:
    path = trained(workspace)
    for pointer, value in (
        (f"{FULLRES}/spacing", [3.0, 1.2, 1.2]),
        (f"{FULLRES}/normalization_schemes", ["ZScoreNormalization"]),
        (f"{FULLRES}/patch_size", [56, 64, 48]),
        (f"{FULLRES}/resampling_fn_data_kwargs/order", 1),
    ):
        put(PLANS, pointer, value)(workspace, CT)
    done = run("check", "-d", "2", "-pretrained_weights", path)
    assert (
        """\
  nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json:160:9 (3d_fullres)
                                     their training       this run
    spacing                          [1.5, 1.2, 1.2]      [3.0, 1.2, 1.2]          warning
    normalization_schemes            ["CTNormalization"]  ["ZScoreNormalization"]  error
    resampling_fn_data_kwargs.order  3                    1                        info
    patch_size                       [56, 64, 64]         [56, 64, 48]             info
"""
    ) in done.out
    assert done.code == 1


def test_channels_are_listed_one_by_one(workspace: Path) -> None:
    path = trained(workspace, MR)
    put(PLANS, f"{FULLRES}/use_mask_for_norm/1", False)(workspace, MR)
    rows = finding(check(datasets=["3"], weights=path), "PG625").values["table"]
    assert rows == [["", "their training", "this run"], ["use_mask_for_norm[1]", "true", "false", "warning"]]


@pytest.mark.parametrize("workflow", ["finetune", "graft"])
def test_migrated_plans_fit_the_weights(workspace: Path, workflow: str) -> None:
    """Weights of another dataset: only information remains once their plans are migrated."""
    path = trained(workspace, PRETRAINED)
    assert severities(check(datasets=["2"], weights=path)) == {"PG623": ERROR}
    name = migrated(workspace, workflow)
    after = severities(check(datasets=["2"], plans=name, weights=path))
    assert after == ({} if workflow == "finetune" else {"PG625": INFO})
    forgotten = check(datasets=["2"], weights=path)
    assert severities(forgotten) == {"PG623": ERROR, "PG624": ERROR}
    sentence = finding(forgotten, "PG624").message
    assert (
        sentence
        == {
            "finetune": "the weights were trained with Pretrained, and nnUNetPlans cannot load them",
            "graft": "the weights load with Pretrained, and nnUNetPlans cannot load them",
        }[workflow]
    )
    assert finding(forgotten, "PG624").fix.endswith(fine_tuning(path, name))


@pytest.mark.parametrize(("spacing", "severity"), [(1.6, WARNING), (3.0, ERROR)])
def test_own_plans_serve_weights_that_saw_nearly_the_same(workspace: Path, spacing: float, severity: Severity) -> None:
    """Also where the plans of the weights are there: `fit` says that both load. Unread statistics are no difference."""
    put(PLANS, f"{FULLRES}/normalization_schemes", ["ZScoreNormalization"])(workspace, CT)
    path = trained(workspace, CT)
    beside(PLANS, "PretrainPlans")(workspace, CT)
    put(PLANS, "/foreground_intensity_properties_per_channel/0/mean", 1.0)(workspace, CT)
    assert "PG624" not in severities(check(datasets=["2"], weights=path))
    put(PLANS, f"{FULLRES}/spacing/0", spacing)(workspace, CT)
    found = finding(check(datasets=["2"], weights=path), "PG624")
    assert (found.severity, found.message.endswith("and nnUNetPlans has another 3d_fullres.spacing")) == (
        severity,
        True,
    )


def test_another_reader_after_a_migration_is_no_error(workspace: Path) -> None:
    """The migration chose it, because it opens this dataset's files."""
    path = trained(workspace)
    migrated(workspace, "finetune")
    put("preprocessed/Pretrained.json", "/image_reader_writer", "NibabelIO")(workspace, CT)
    report = check(datasets=["2"], plans="Pretrained", weights=path)
    assert severities(report) == {"PG625": WARNING}
    assert "--reader SimpleITKIO" in finding(report, "PG625").fix


@pytest.mark.parametrize(
    ("theirs", "ours", "ending", "severity"),
    [
        ("SimpleITKIO", "NaturalImage2DIO", ".png", INFO),
        ("SimpleITKIO", "Tiff3DIO", ".tif", INFO),
        ("Tiff3DIO", "SimpleITKIO", ".nii.gz", INFO),
        ("NaturalImage2DIO", "SimpleITKIO", ".nrrd", INFO),
        ("NibabelIO", "SimpleITKIO", ".nii.gz", WARNING),
        ("SimpleITKIO", "NibabelIO", ".nii", WARNING),
        ("MyReader", "SimpleITKIO", ".nii.gz", WARNING),
    ],
)
def test_files_of_another_format_need_another_reader(
    workspace: Path, theirs: str, ours: str, ending: str, severity: Severity
) -> None:
    put(PLANS, "/image_reader_writer", theirs)(workspace, CT)
    path = trained(workspace)
    for root in ("raw", "preprocessed"):
        put(f"{root}/dataset.json", "/file_ending", ending)(workspace, CT)
    put(PLANS, "/image_reader_writer", ours)(workspace, CT)
    assert severities(check(datasets=["2"], weights=path))["PG625"] is severity


# ---------------------------------------------------------------------------------------------------------------------
# No false findings
# ---------------------------------------------------------------------------------------------------------------------


def other_labels(plans: Document, dataset_json: Document) -> None:
    dataset_json["labels"] = {"background": 0, **{f"organ_{number}": number for number in range(1, 105)}}


def regions(plans: Document, dataset_json: Document) -> None:
    dataset_json["labels"] = {"background": 0, "whole": [1, 2], "core": [2]}
    dataset_json["regions_class_order"] = [1, 2]


def ignored_label(plans: Document, dataset_json: Document) -> None:
    dataset_json["labels"] = {**LABELS, "ignore": 2}


def other_batch(plans: Document, dataset_json: Document) -> None:
    plans["configurations"]["3d_fullres"]["batch_size"] = 12
    plans["configurations"]["3d_fullres"]["batch_dice"] = True


def other_dataset(plans: Document, dataset_json: Document) -> None:
    """Weights contain the plans of their own dataset."""
    plans.update(dataset_name="Dataset900_Elsewhere", plans_name="nnUNetPlansElsewhere")
    plans["configurations"]["3d_fullres"]["data_identifier"] = "nnUNetPlansElsewhere_3d_fullres"
    plans["original_median_spacing_after_transp"] = [9.0, 9.0, 9.0]


def other_flat_configuration(plans: Document, dataset_json: Document) -> None:
    plans["configurations"]["2d"]["spacing"] = [7.0, 7.0]


def old_format(plans: Document, dataset_json: Document) -> None:
    from tests.nnunet.test_plans_diff import in_the_old_format

    changed = in_the_old_format(plans)
    plans.clear()
    plans.update(changed)


def old_key_for_channels(plans: Document, dataset_json: Document) -> None:
    dataset_json["modality"] = dataset_json.pop("channel_names")


@pytest.mark.parametrize(
    "change",
    [
        other_labels,
        regions,
        ignored_label,
        other_batch,
        other_dataset,
        other_flat_configuration,
        old_format,
        old_key_for_channels,
    ],
)
@pytest.mark.parametrize("name", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
def test_changes_without_findings(workspace: Path, change: Callable[[Document, Document], None], name: str) -> None:
    plans, dataset_json = read(workspace, CT, name), {**read(workspace, CT, "dataset"), "labels": LABELS}
    change(plans, dataset_json)
    path = checkpoints.write(workspace / "weights.pth", plans, dataset_json)
    assert severities(check(datasets=["2"], plans=name, weights=path)) == {}


def test_pet_that_is_called_ct_is_for_information(workspace: Path) -> None:
    """It is done on purpose, to have PET clipped."""
    dataset_json = {**read(workspace, CT, "dataset"), "labels": LABELS, "channel_names": {"0": "PET"}}
    path = checkpoints.write(workspace / "weights.pth", read(workspace, CT, "nnUNetPlans"), dataset_json)
    assert severities(check(datasets=["2"], weights=path)) == {"PG625": INFO}


@pytest.mark.parametrize("dataset", ["1", "2", "3", "5", "6"])
def test_each_configuration_with_its_own_weights(workspace: Path, dataset: str) -> None:
    name = next(path.name for path in (workspace / ROOTS["preprocessed"]).glob(f"Dataset00{dataset}_*"))
    for plans_name in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        if not place(workspace, name, f"preprocessed/{plans_name}.json").exists():
            continue
        for configuration in read(workspace, name, plans_name)["configurations"]:
            # The input of a cascade has a channel per label, so the number of labels has to be the same.
            labels = {f"label {value}": value for value in read(workspace, name, "dataset")["labels"].values()}
            dataset_json = {**read(workspace, name, "dataset"), "labels": labels}
            plans = read(workspace, name, plans_name)
            path = checkpoints.write(workspace / "other" / "weights.pth", plans, dataset_json, configuration)
            report = check(datasets=[dataset], plans=plans_name, configuration=configuration, weights=path)
            earlier_results = {"PG629"} if (dataset, plans_name, configuration) == TRAINED else set()
            assert set(severities(report)) == earlier_results


#: The model in the fixtures' nnUNet_results.
TRAINED = ("1", "nnUNetPlans", "3d_fullres")

#: Configurations in plans of the corpus; those that cannot be judged name networks of a fork in the old format.
JUDGED, UNKNOWN = 125, 8


@pytest.mark.slow
def test_real_plans_with_their_own_weights(corpus: Path, tmp_path: Path) -> None:
    """There are no findings for weights that were trained with the same plans, whatever the plans are."""
    counts: Counter[str] = Counter()
    for number, path in enumerate(sorted(corpus.glob("*/*.json"))):
        plans = real_plans(path)
        if plans is None:
            continue
        channels = max(
            (len(one.get("normalization_schemes", "?")) for one in plans["configurations"].values()), default=1
        )
        names = {str(channel): f"channel {channel}" for channel in range(channels)}
        dataset_json = {"channel_names": names, "labels": {"background": 0, "a": 1}, "numTraining": 1}
        folder = tmp_path / f"Dataset{number:03d}_Corpus"
        folder.mkdir()
        (folder / "Plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps({**dataset_json, "file_ending": ".nii.gz"}))
        dataset_json["labels"] = {"background": 0, "b": 1}
        for configuration in plans["configurations"]:
            parameters = parameters_of(plans, dataset_json, configuration)
            weights = checkpoints.write(tmp_path / "w.pth", plans, dataset_json, configuration, parameters=parameters)
            report = check([folder / "Plans.json"], plans="Plans", configuration=configuration, weights=weights)
            assert severities(report) == {}, (path, configuration)
            skipped = {one.reason for one in report.not_checked if one.code in ("PG620", "PG623", "PG625")}
            assert all("unknown network" in reason for reason in skipped), skipped
            counts["unknown" if skipped else "judged"] += 1
    assert counts == {"judged": JUDGED, "unknown": UNKNOWN}


def real_plans(path: Path) -> Document | None:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return None
    return document if recognise(document) == "plans" and "configurations" in document else None


def parameters_of(plans: Document, dataset_json: Document, configuration: str) -> Shapes:
    try:
        return checkpoints.shapes(plans, dataset_json, configuration)
    except (UnknownNetwork, ValueError):
        return {"unknown.weight": (8, 1, 3, 3, 3)}


# ---------------------------------------------------------------------------------------------------------------------
# Which configuration, which file
# ---------------------------------------------------------------------------------------------------------------------


def test_only_the_configuration_of_the_weights_is_judged(workspace: Path) -> None:
    report = check(datasets=["2"], weights=trained(workspace, configuration="2d", mirroring_axes=(0, 1)))
    assert severities(report) == {}


def test_weights_of_a_configuration_of_another_name(workspace: Path) -> None:
    """Only configurations with as many axes are judged."""
    plans = read(workspace, CT, "nnUNetPlans")
    plans["configurations"] = {"3d_mine": plans["configurations"]["3d_fullres"]}
    path = checkpoints.write(
        workspace / "weights.pth", plans, {**read(workspace, CT, "dataset"), "labels": LABELS}, "3d_mine"
    )
    assert severities(check(datasets=["2"], weights=path)) == {}
    put(PLANS, f"{FULLRES}/spacing", [3.0, 1.2, 1.2])(workspace, CT)
    report = check(datasets=["2"], weights=path)
    assert (severities(report), finding(report, "PG625").configuration) == ({"PG625": WARNING}, "3d_fullres")


@pytest.mark.parametrize(
    ("dataset", "configuration", "fix"),
    [("2", "3d_fullres", "train 2d with these weights"), ("2", None, "use weights of 2D images")],
)
def test_another_dimension_names_a_remedy(workspace: Path, dataset: str, configuration: str | None, fix: str) -> None:
    if configuration is None:  # plans for slices alone
        plans = read(workspace, CT, "nnUNetPlans")
        path = trained(workspace)
        del plans["configurations"]["3d_fullres"]
        place(workspace, CT, "preprocessed/nnUNetPlans.json").write_text(json.dumps(plans))
    else:
        path = trained(workspace, configuration="2d", mirroring_axes=(0, 1))
    report = check(datasets=[dataset], configuration=configuration, weights=path)
    assert severities(report) == {"PG622": ERROR}
    assert finding(report, "PG622").fix == fix


def test_another_dimension_names_a_remedy_beside_plans_that_fit_no_better(workspace: Path) -> None:
    """PG624 was named, which is no finding: the configuration of the weights is that of these plans."""
    plans = {**read(workspace, CT, "nnUNetPlans"), "plans_name": "Copy"}
    place(workspace, CT, "preprocessed/Copy.json").write_text(json.dumps(plans))
    path = trained(workspace, configuration="2d", mirroring_axes=(0, 1))
    report = check(datasets=["2"], plans="nnUNetPlans", configuration="3d_fullres", weights=path)
    assert finding(report, "PG622").fix == "train 2d with these weights"


def test_a_cascade_names_its_labels(workspace: Path) -> None:
    path = trained(workspace, CASCADE, configuration="3d_cascade_fullres")
    report = check(datasets=["5"], configuration="3d_cascade_fullres", weights=path)
    assert finding(report, "PG621").message == (
        "the weights do not load into 3d_cascade_fullres: 3 input channels here, 2 in the weights "
        "(channel_names, and one more per foreground label)"
    )


def test_other_channels_that_have_no_names(workspace: Path) -> None:
    """There is nothing to match them by."""
    path = trained(workspace, MR, init_args=None)
    fix = finding(check(datasets=["2"], plans="nnUNetPlans", configuration="3d_fullres", weights=path), "PG621").fix
    assert fix == "use weights with the same channels in the same order"


@pytest.mark.parametrize(("ours", "theirs", "leaves_out"), [(2, 1, True), (1, 2, False)])
def test_other_channels_without_a_common_name(workspace: Path, ours: int, theirs: int, leaves_out: bool) -> None:
    """Channels can be left out only of a dataset that has more; --channel says which are the same."""
    put("preprocessed/dataset.json", "/channel_names", {str(number): f"A{number}" for number in range(theirs)})(
        workspace, CT
    )
    path = trained(workspace)
    for root in ("raw", "preprocessed"):
        put(f"{root}/dataset.json", "/channel_names", {str(number): f"B{number}" for number in range(ours)})(
            workspace, CT
        )
    fix = finding(check(datasets=["2"], plans="nnUNetPlans", configuration="3d_fullres", weights=path), "PG621").fix
    assert ("leave channels out" in fix) is leaves_out
    assert leaves_out or "--channel NEW=OLD of plansguard adapt" in fix


def test_weights_in_the_folder_of_their_own_training(workspace: Path) -> None:
    path = place(workspace, PRETRAINED, "results/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth")
    message = finding(check(datasets=["1"], weights=path), "PG629").message
    assert message.endswith("nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0, with these weights among the results")


@pytest.mark.parametrize("folders", [[], ["nnUNetTrainer_500steps"], ["nnUNetTrainer_500steps", "nnUNetTrainerDA5"]])
def test_earlier_trainings_are_reported_once(workspace: Path, folders: list[str]) -> None:
    """Other trainers and other folds have other folders, so that they are no reason to warn."""
    path = trained(workspace, PRETRAINED)
    model = place(workspace, PRETRAINED, "results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    for name in folders:
        shutil.copytree(model, model.with_name(f"{name}__nnUNetPlans__3d_fullres"))
        shutil.copytree(model / "fold_0", model.with_name(f"{name}__nnUNetPlans__3d_fullres") / "fold_1")
    found = finding(check(datasets=["1"], plans="nnUNetPlans", configuration="3d_fullres", weights=path), "PG629")
    assert found.severity is Severity.INFO
    assert (f"and {2 * len(folders)} more" in found.message) == bool(folders)


@pytest.mark.parametrize(
    ("options", "folds"),
    [
        ((), "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"),
        (("-tr", "nnUNetTrainer"), "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"),
        (("-tr", "nnUNetTrainer_500steps"), None),
        (("-tr", "nnUNetTrainer", "--resume", "auto"), None),
    ],
)
def test_earlier_trainings_of_the_trainer_that_is_named(
    workspace: Path, options: tuple[str, ...], folds: str | None
) -> None:
    path = trained(workspace, PRETRAINED)
    done = run("check", "-d", "1", "-c", "3d_fullres", "-pretrained_weights", path, *options, "--output", "json")
    found = [one["message"] for one in done.json["findings"] if one["code"] == "PG629"]
    assert found == ([] if folds is None else [f"3d_fullres was trained with these plans before: {folds}"])


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-tr", "nnUNetTrainer_0steps"), "the number of steps must be between 1 and"),
        (("--resume", "auto"), "--resume auto continues the trainings of a trainer\n  name it with -tr"),
    ],
)
def test_trainers_that_a_check_cannot_judge(options: tuple[str, ...], reason: str) -> None:
    done = run("check", "-d", "1", *options)
    assert (done.code, reason in done.err) == (2, True), done.err


def test_the_commands_for_plans_that_differ_show_both(workspace: Path) -> None:
    model = place(workspace, PRETRAINED, "results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    plans = json.loads((model / "plans.json").read_bytes())
    set_value(plans, f"{FULLRES}/patch_size", [16, 64, 64])
    (model / "plans.json").write_text(json.dumps(plans))
    fix = finding(check([model]), "PG610").fix.partition(": ")[2]
    first, second = (run(*shlex.split(command)[1:]) for command in fix.split(" && "))
    assert (first.code, second.code) == (0, 0)
    assert "patch_size  [32, 96, 96] -> [16, 64, 64]" in second.out


def test_unreadable_weights_end_the_command(workspace: Path) -> None:
    Path("weights.pth").write_bytes(b"<!DOCTYPE html><html>")
    done = run("check", "-d", "2", "-pretrained_weights", "weights.pth")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: weights.pth: this is a web page")
    assert len(done.err.splitlines()) == 2


def test_unknown_networks_are_compared_by_plans(workspace: Path) -> None:
    """Networks of other packages, which are never imported."""
    architecture = {
        "network_class_name": "somewhere.else.NexToU",
        "arch_kwargs": {"n_stages": 5, "nonlin_kwargs": {"inplace": True}, "conv_op": "torch.nn.Conv3d"},
        "_kw_requires_import": [],
    }
    put(PLANS, f"{FULLRES}/architecture", architecture)(workspace, CT)
    path = trained(workspace, parameters={"any.weight": (8, 1, 3, 3, 3)})
    assert severities(check(datasets=["2"], weights=path)) == {}
    put(PLANS, f"{FULLRES}/architecture/arch_kwargs/conv_op", "torch.nn.modules.conv.Conv3d")(workspace, CT)
    assert severities(check(datasets=["2"], weights=path)) == {}
    put(PLANS, f"{FULLRES}/architecture/arch_kwargs/n_stages", 6)(workspace, CT)
    other = check(datasets=["2"], weights=path)
    assert severities(other) == {"PG623": ERROR}
    assert "n_stages is 6 here and 5 in the weights" in finding(other, "PG623").message
    put(PLANS, f"{FULLRES}/architecture/network_class_name", "somewhere.else.Primus")(workspace, CT)
    assert severities(check(datasets=["2"], weights=path)) == {"PG620": ERROR}


def test_the_command_for_weights_from_a_gpu_is_python(workspace: Path) -> None:
    report = check(datasets=["2"], weights=trained(workspace, location="cuda:0"))
    program, option, code = shlex.split(finding(report, "PG605").fix.partition("CPU: ")[2])
    assert (program, option) == ("python", "-c")
    compile(code, "fix", "exec")


# ---------------------------------------------------------------------------------------------------------------------
# Damaged documents, on either side
# ---------------------------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (None, True, -1, 0, 1.5, 10**30, "", "x", [], [[]], {}, [None], ["x"], {"x": []})


def places(value: Any, pointer: str = "") -> Iterator[str]:
    if pointer:
        yield pointer
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in members:
        yield from places(one, f"{pointer}/{key}")


@pytest.mark.slow
@pytest.mark.parametrize("side", ["plans in the checkpoint", "dataset.json in the checkpoint", "plans", "dataset.json"])
def test_damaged_documents_crash_nothing(workspace: Path, side: str) -> None:
    plans, dataset_json = read(workspace, CT, "nnUNetPlans"), read(workspace, CT, "dataset")
    plans["configurations"]["3d_fullres"]["batch_dice"] = False
    originals = {"plans": plans, "dataset.json": dataset_json}
    pointers = list(places(originals[side.partition(" in ")[0]]))
    choice = random.Random(12345)
    for _ in range(60):
        documents = deepcopy(originals)
        set_value(documents[side.partition(" in ")[0]], choice.choice(pointers), choice.choice(ODD))
        inside = documents if "checkpoint" in side else originals
        path = checkpoints.write(
            workspace / "weights.pth",
            inside["plans"],
            inside["dataset.json"],
            parameters=checkpoints.shapes(plans, dataset_json),
        )
        for name, document in (("nnUNetPlans", "plans"), ("dataset", "dataset.json")):
            outside = originals if "checkpoint" in side else documents
            place(workspace, CT, f"preprocessed/{name}.json").write_text(json.dumps(outside[document]))
        report = check(datasets=["2"], weights=path)
        assert [one.message for one in report.findings if one.code == "PG000"] == []
        assert run("fit", path, "-d", "2").code in (0, 1)


@pytest.mark.parametrize(
    ("saw", "feeds", "fields"),
    [
        ({"nonlin_first": True}, {}, ["nonlin_first"]),
        ({}, {"nonlin_first": True}, ["nonlin_first"]),
        ({"nonlin_first": False, "conv_bias": False}, {}, []),
        ({"deep_supervision": True}, {}, []),  # the trainer decides it
    ],
)
def test_arguments_that_are_false_where_they_are_left_out(
    saw: dict[str, bool], feeds: dict[str, bool], fields: list[str]
) -> None:
    """Adapted weights have other names of parameters, so that nothing else shows such a difference."""
    theirs, ours = (SimpleNamespace(architecture={"arch_kwargs": side}) for side in (saw, feeds))
    assert [one.field for one in input_comparison._layers(cast("Any", theirs), cast("Any", ours))] == fields

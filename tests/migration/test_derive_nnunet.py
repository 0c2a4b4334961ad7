"""``plansguard derive`` with the real nnU-Net: its topology, its planners, and trainings with derived plans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.nnunet.fields import RESAMPLING_ARGUMENTS
from tests.support import stepping
from tests.support.command import run
from tests.support.moves import GIVING
from tests.support.variants import PLANS, ROOTS, lay_out, place, point_to, put

pytestmark = [pytest.mark.nnunet, pytest.mark.slow]

CT, CASCADE, SLIDES = "Dataset002_FinetuneCT", "Dataset005_CascadeCT", "Dataset004_Slides2D"
STEPS = 3
TRAINER = f"nnUNetTrainer_{STEPS}steps"


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fixtures of the planned datasets."""
    pytest.importorskip("nnunetv2", reason="runs the real nnunetv2")
    root = lay_out(tmp_path, GIVING, CT, CASCADE, SLIDES)
    point_to(root, monkeypatch)
    return root


def plans_at(root: Path, dataset: str, name: str) -> Any:
    return json.loads(place(root, dataset, f"preprocessed/{name}.json").read_bytes())


def without_names(plans: Any) -> Any:
    """The plans without what the name decides."""
    configurations = {
        name: {key: value for key, value in entry.items() if key != "data_identifier"}
        for name, entry in plans["configurations"].items()
    }
    return {**plans, "plans_name": "", "configurations": configurations}


@pytest.mark.parametrize(
    ("dataset", "there", "back"),
    [
        (CT, "3d_fullres.patch_size=[32,32,32]", "3d_fullres.patch_size=[56,64,64]"),
        (CT, "2d.patch_size=[32,32]", "2d.patch_size={}"),
        (CASCADE, "3d_fullres.patch_size=[64,64,64]", "3d_fullres.patch_size={}"),
        (CASCADE, "3d_lowres.patch_size=[32,64,64]", "3d_lowres.patch_size={}"),
        (SLIDES, "2d.patch_size=[64,64]", "2d.patch_size={}"),
    ],
)
@pytest.mark.parametrize("name", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
def test_another_patch_and_back_is_what_nnunet_planned(
    dataset: str, there: str, back: str, name: str, planned: Path
) -> None:
    """Stages, strides, kernels, features and blocks are those of nnU-Net's planners, also when stages are added."""
    if dataset == SLIDES and name != "nnUNetPlans":
        pytest.skip("the fixture has no such plans")
    number, configuration = str(int(dataset[7:10])), there.partition(".")[0]
    own = plans_at(planned, dataset, name)
    back = back.format(json.dumps(own["configurations"][configuration]["patch_size"]).replace(" ", ""))
    assert run("derive", "-d", number, "-p", name, "-tp", "There", "--set", there).code == 0
    assert plans_at(planned, dataset, "There")["configurations"] != own["configurations"]
    done = run("derive", "-d", number, "-p", "There", "-tp", "Back", "--set", back)
    assert done.code == 0, done.err + done.out
    assert without_names(plans_at(planned, dataset, "Back")) == without_names(own)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("patch_size=[52,64,64]", "the next larger one is 3d_fullres.patch_size=[56,64,64]"),
        ("patch_size=[33,32,32]", "a multiple of"),
        ("patch_size=[56,64,128]", "is larger than every image on axis 2"),
        ("patch_size=[1000000,64,64]", "is larger than every image on axis 0"),
    ],
)
def test_a_patch_that_is_not_possible(value: str, error: str, planned: Path) -> None:
    done = run("derive", "-d", "2", "-p", "nnUNetPlans", "-tp", "My", "--set", f"3d_fullres.{value}")
    assert done.code == 2
    assert error in done.err
    assert not place(planned, CT, "preprocessed/My.json").exists()


def test_children_follow_what_they_inherit(planned: Path) -> None:
    """The cascade inherits patch and network of 3d_fullres, and still writes neither."""
    done = run("derive", "-d", "5", "-p", "nnUNetPlans", "-tp", "My", "--set", "3d_fullres.patch_size=[64,64,64]")
    assert done.code == 0, done.out
    written = plans_at(planned, CASCADE, "My")["configurations"]["3d_cascade_fullres"]
    assert written == plans_at(planned, CASCADE, "nnUNetPlans")["configurations"]["3d_cascade_fullres"]


def in_old_format(root: Path) -> None:
    """Write the network of 3d_fullres as nnU-Net did before 2.3.1."""
    path = place(root, CT, PLANS)
    plans = json.loads(path.read_bytes())
    configuration = plans["configurations"]["3d_fullres"]
    arguments = configuration.pop("architecture")["arch_kwargs"]
    configuration.update(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=32,
        unet_max_num_features=320,
        n_conv_per_stage_encoder=arguments["n_conv_per_stage"],
        n_conv_per_stage_decoder=arguments["n_conv_per_stage_decoder"],
        num_pool_per_axis=[3, 4, 4],
        pool_op_kernel_sizes=arguments["strides"],
        conv_kernel_sizes=arguments["kernel_sizes"],
    )
    path.write_text(json.dumps(plans), encoding="utf-8")


@pytest.mark.parametrize(("path", "trained"), [("3d_fullres", ["3d_fullres", "child"]), ("child", ["child"])])
def test_plans_of_the_old_format(path: str, trained: list[str], planned: Path) -> None:
    """What follows is written in the present format, which nnU-Net prefers to inherited keys of the old one."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    in_old_format(planned)
    put(PLANS, "/configurations/child", {"inherits_from": "3d_fullres", "batch_size": 3})(planned, CT)
    done = run("derive", "-d", "2", "-p", "nnUNetPlans", "-tp", "My", "--set", f"{path}.patch_size=[32,32,32]")
    assert done.code == 0, done.err + done.out
    manager = PlansManager(str(place(planned, CT, "preprocessed/My.json")))
    for name in ("3d_fullres", "child"):
        configuration = manager.get_configuration(name)
        changed = name in trained
        assert configuration.patch_size == ([32, 32, 32] if changed else [56, 64, 64])
        assert len(configuration.network_arch_init_kwargs["strides"]) == (4 if changed else 5)
        assert (
            configuration.network_arch_init_kwargs["features_per_stage"] == [32, 64, 128, 256, 320][: 4 + (not changed)]
        )


@pytest.mark.parametrize(
    ("dataset", "name", "planner", "memory"),
    [(GIVING, "nnUNetPlans", "ExperimentPlanner", "1"), (CT, "nnUNetResEncUNetMPlans", "nnUNetPlannerResEncM", "2GB")],
)
def test_fit_memory_is_what_nnunet_plans(
    dataset: str, name: str, planner: str, memory: str, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patch, batch and network of both configurations, from the same fingerprint."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments

    gigabytes = float(memory.removesuffix("GB"))
    plan_experiments([int(dataset[7:10])], planner, gpu_memory_target_in_gb=gigabytes, overwrite_plans_name="Theirs")
    before = {path.name: path.read_bytes() for path in place(planned, dataset, PLANS).parent.iterdir()}
    done = run("derive", "-d", dataset, "-p", name, "-tp", "Ours", "--fit-memory", memory)
    assert done.code == 0, done.err + done.out
    theirs, ours = (plans_at(planned, dataset, one) for one in ("Theirs", "Ours"))
    assert without_names(ours) == without_names(theirs)
    assert ours["configurations"] != plans_at(planned, dataset, name)["configurations"]
    after = {path.name: path.read_bytes() for path in place(planned, dataset, PLANS).parent.iterdir()}
    assert {path: after.get(path) for path in before} == before


def test_arguments_of_resampling_are_those_of_the_planners() -> None:
    pytest.importorskip("nnunetv2", reason="runs the real nnunetv2")
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as default
    from nnunetv2.experiment_planning.experiment_planners.resampling import planners_no_resampling as none
    from nnunetv2.experiment_planning.experiment_planners.resampling import resample_with_torch as torch

    planners = default.ExperimentPlanner, torch.nnUNetPlannerResEncL_torchres, none.nnUNetPlannerResEncL_noResampling
    found = {}
    for planner in planners:
        empty = planner.__new__(planner)
        data, data_kwargs, seg, seg_kwargs = empty.determine_resampling()
        export, export_kwargs = empty.determine_segmentation_softmax_export_fn()
        assert data is seg is export
        fields = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")
        found[data.__name__] = dict(zip(fields, (data_kwargs, seg_kwargs, export_kwargs), strict=True))
    assert found == RESAMPLING_ARGUMENTS


# --- Trainings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dataset that is planned for a tiny 2d network, and preprocessed."""
    pytest.importorskip("nnunetv2", reason="trains with the real nnunetv2")
    root = stepping.make_workspace(tmp_path_factory.mktemp("tiny"))
    with pytest.MonkeyPatch.context() as patch:
        point_to(root, patch)
        yield root


TRAINED = {
    "Batch": (["2d.batch_size=3"], [], "2d", False),
    "Patch": (["2d.patch_size=[64,32]"], [], "2d", False),
    "Spacing": (["2d.spacing=[2.5,1.0]"], [], "2d", True),
    "Scheme": (["2d.normalization_schemes.1=NoNormalization"], [], "2d", True),
    "Another": (["2d_big.batch_size=4"], ["--like", "2d"], "2d_big", False),
    "Resampling": (["2d.resampling_fn_data=resample_torch_fornnunet"], [], "2d", True),
}


#: One that preprocesses again and one that does not, in every run.
SHORT = ("Patch", "Scheme")


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in TRAINED]
)
def test_derived_plans_train(name: str, tiny: Path) -> None:
    """nnU-Net preprocesses where *Next* says so and trains; no rule finds an error before or after."""
    sets, more, configuration, preprocesses = TRAINED[name]
    settings = [word for one in sets for word in ("--set", one)]
    done = run("derive", "-d", "3", "-p", stepping.PLANS, "-tp", name, *settings, *more)
    assert (done.code, done.err) == (0, ""), done.err + done.out
    after = done.out.partition("Next:\n")[2]
    assert ("plansguard preprocess" in after) == preprocesses, after
    if preprocesses:
        assert f"plansguard preprocess -d 3 -p {name} -c {configuration}\n" in after
        ended = stepping.preprocess(tiny, name, configuration)
        assert ended.code == 0, ended.said
    assert f"nnUNetv2_train 3 {configuration} 0 -p {name}\n" in after
    words = ["3", configuration, "0", "-p", name, "-tr", TRAINER, "-device", "cpu"]
    ended = stepping.wait(stepping.begin_launch(tiny, words))
    assert ended.code == 0, ended.said
    fold = tiny / ROOTS["results"] / stepping.DATASET / f"{TRAINER}__{name}__{configuration}" / "fold_0"
    steps = read_checkpoint(fold / "checkpoint_final.pth").steps
    assert steps is not None
    assert steps["step"] == STEPS
    findings = run("check", "-d", "3", "-p", name, "--output", "json").json["findings"]
    assert {one["severity"] for one in findings} <= {"info"}, findings

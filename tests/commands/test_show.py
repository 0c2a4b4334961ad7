"""`plansguard show`: descriptions of checkpoints, models and plans as text and as JSON."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from plansguard.artefacts.description import CheckpointDescription
from plansguard.commands.show import show
from plansguard.documents.recognise import recognise
from plansguard.nnunet.constants import planned_epochs
from plansguard.render import Screen
from plansguard.render import show as rendering
from tests.support import checkpoints, safetensors
from tests.support.command import run
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
from tests.support.variants import FIXTURES, ROOTS
from tests.test_imports import COMMAND, HEAVY, probe, roots

pytestmark = pytest.mark.deep

PREPROCESSED = FIXTURES / "workspace" / ROOTS["preprocessed"]
ALL_PLANS = sorted(PREPROCESSED.glob("*/*Plans.json"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


def shown(*arguments: str | Path) -> str:
    done = run("show", *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def row(text: str, label: str) -> str:
    """The value of a row."""
    match = re.search(rf"^  {label} +(.*)$", text, re.MULTILINE)
    assert match, text
    return match[1]


# --- Text ---


def test_weights_that_were_saved_from_no_device(tmp_path: Path) -> None:
    """A safetensors file does not name one."""
    file = tmp_path / "w.safetensors"
    safetensors.write(file, {"conv.weight": safetensors.entry("F32", (1, 1, 3, 3), 0)}, bytes(36))
    assert row(shown(file), "parameters") == "9 in 1 tensor (float32)"


def test_a_checkpoint() -> None:
    out = shown(CHECKPOINT)
    assert row(out, "trainer") == "nnUNetTrainer"
    assert row(out, "configuration") == "3d_fullres, fold 0"
    assert re.fullmatch(r"\d+ of 1000 epochs done, learning rate [\d.e-]+", row(out, "training"))
    assert row(out, "last epoch").startswith("train loss ")
    assert row(out, "mirroring") == "axes 0, 1, 2 of the patch"
    assert "float32), saved from cpu" in row(out, "parameters")
    assert row(out, "dataset") == CT
    assert row(out, "channels") == "CT"
    assert row(out, "labels").startswith("background 0, ")
    assert "(array axes z, y, x)" in row(out, "spacing")
    assert "CT: CTNormalization, clipped to [" in row(out, "normalization")


@pytest.mark.parametrize("is_same_network", [True, False])
def test_weights_that_were_adapted_to_another_configuration(is_same_network: bool) -> None:
    """Both are named; the plans are those of the training, which may have another network of that name."""
    folder = PREPROCESSED / "Dataset005_CascadeCT"
    plans, dataset_json = (json.loads((folder / name).read_bytes()) for name in ("nnUNetPlans.json", "dataset.json"))
    parameters = checkpoints.shapes(plans, dataset_json, "3d_cascade_fullres")
    if not is_same_network:
        plans["configurations"]["3d_cascade_fullres"] = plans["configurations"]["2d"]
    record = {"from": {"path": "old.pth"}, "to": {"configuration": "3d_cascade_fullres"}}
    names = plans, dataset_json, "3d_lowres"
    path = checkpoints.write(Path("adapted.pth"), *names, parameters=parameters, plansguard_adaptation=record)
    out, document = shown(path), run("show", path, "--json").json
    assert row(out, "configuration") == "3d_lowres, fold 0, of the training"
    assert row(out, "adapted") == "from old.pth by plansguard to 3d_cascade_fullres"
    assert (document["configuration"], document["adapted_to"]) == ("3d_lowres", "3d_cascade_fullres")
    described = {one["name"]: one["network"]["parameters"] for one in document["plans"]["configurations"]}
    assert list(described) == ["3d_lowres", "3d_cascade_fullres"][: 1 + is_same_network]
    assert not is_same_network or described["3d_cascade_fullres"] == document["weights"]["parameters"]


def test_progress_in_steps(tmp_path: Path) -> None:
    plans, dataset_json = (json.loads((FIXTURE / name).read_bytes()) for name in ("plans.json", "dataset.json"))
    notes = {"trainer": "nnUNetTrainer_900steps", "step": 500}
    path = checkpoints.write(tmp_path / "steps.pth", plans, dataset_json, epoch=2, steps=notes)
    assert row(shown(path), "training") == "500 of 900 steps done, learning rate 0.01"
    notes["trainer"] = "nnUNetTrainer_0900steps"
    checkpoints.write(path, plans, dataset_json, epoch=2, steps=notes)
    assert row(shown(path), "training") == "500 steps done, learning rate 0.01"


def test_axes_that_are_no_whole_numbers(tmp_path: Path) -> None:
    plans = json.loads((FIXTURE / "plans.json").read_bytes())
    plans["transpose_forward"] = [0.0, 1, 2]
    (tmp_path / "odd.json").write_text(json.dumps(plans))
    assert row(shown(tmp_path / "odd.json"), "spacing").endswith(" mm (array axes)")


def test_the_stage_table() -> None:
    out = shown(CHECKPOINT)
    table = [line.split("  ") for line in out[out.index("  stage  ") :].splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in table]
    kwargs = json.loads((FIXTURE / "plans.json").read_bytes())["configurations"]["3d_fullres"]["architecture"]
    assert len(rows) == 1 + kwargs["arch_kwargs"]["n_stages"]
    assert rows[0] == ["stage", "features", "kernel", "stride", "encoder", "decoder", "feature map"]
    assert rows[1] == ["0", "32", "1 x 3 x 3", "1 x 1 x 1", "2", "2", "32 x 96 x 96"]


def test_the_number_of_parameters_is_that_of_the_plans() -> None:
    """Stored twice under other names, parameters count once: names and plans must come to the same."""
    document = run("show", CHECKPOINT, "--json").json
    assert document["weights"]["parameters"] == document["plans"]["configurations"][0]["network"]["parameters"]


def test_a_model_folder_and_its_zip(tmp_path: Path) -> None:
    pack(tmp_path / "model.zip", FIXTURE)
    folder, archive = shown(FIXTURE), shown("model.zip")
    assert row(folder, "checkpoint") == "fold_0/checkpoint_final.pth"
    assert folder.splitlines()[1:] == archive.splitlines()[1:]
    assert archive.startswith(f"model.zip/{CT}/{MODEL}: a trained model\n")


def test_weights_without_plans_show_their_network() -> None:
    for kind, reason in (("nnunet-v1", "nnU-Net v1"), ("nnssl", "nnssl"), ("state-dict", "It contains no plans.")):
        out = shown(doctored(Path("some.pth"), *KINDS[kind]))
        assert reason in out
        assert row(out, "input channels") == "1"
        assert row(out, "outputs") == "3"
        table = [line.split() for line in out[out.index("  stage  ") :].splitlines()]
        whole = shown(CHECKPOINT)
        theirs = [line.split() for line in whole[whole.index("  stage  ") :].splitlines()]
        assert [cells[:8] for cells in table[1:]] == [cells[:8] for cells in theirs[1:]]


def test_damage_is_reported() -> None:
    """Storages that are missing: a truncated download or file."""
    out = shown(doctored(Path("some.pth")))
    assert row(out, "damage").startswith("storage 0 is missing")
    assert "damage" not in shown(CHECKPOINT)


def test_where_the_weights_lived() -> None:
    out = shown(doctored(Path("some.pth"), ("cpu", "cuda:0")))
    assert "saved from cuda:0; nnU-Net cannot load them" in re.sub(r"\s+", " ", out)


def test_names_that_weights_do_not_need() -> None:
    """Nothing is executed; what would have been is named."""
    path = stored(Path("evil.pth"), {"evil/data.pkl": pickle.dumps({"a": Evil(), "b": Odd()}, protocol=2)})
    out = shown(path)
    assert re.fullmatch(r"names (posix|nt)\.system, which could run commands", row(out, "suspicious"))
    assert "Odd, which was left alone" in out


class Odd:
    """A class of another program."""


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("exit 7",)


def test_an_nnssl_adaptation_plan(corpus: Path) -> None:
    plan = json.loads(next(corpus.glob("TaWald__nnUNet/*adaptation_plan.json")).read_bytes())
    description = show(doctored(Path("some.pth"), *KINDS["nnssl"]))
    assert isinstance(description.content, CheckpointDescription)
    checkpoint = replace(description.content.checkpoint, adaptation_plan=plan)
    with_plan = replace(description, content=replace(description.content, checkpoint=checkpoint))
    out = rendering.text(with_plan, Screen())
    assert row(out, "architecture") == "ResEncL"
    assert row(out, "pretrained on") == "Dataset745_OpenNeuro_v2"
    assert row(out, "onemmiso") == "1 x 1 x 1 mm ZScoreNormalization"
    assert row(out, "patch") == "160 x 160 x 160 voxels, recommended"


def test_several_models() -> None:
    flat = copy_of_model(Path(), "nnUNetTrainer__nnUNetPlans__2d")
    out = shown(pack(Path("two.zip"), FIXTURE, flat))
    assert out.count(": a trained model\n") == 2
    assert out.count("configuration 2d\n") == out.count("configuration 3d_fullres\n") == 1


def test_only_the_first_fold_of_a_zip_is_unpacked() -> None:
    model = copy_of_model(Path())
    shutil.copytree(model / "fold_0", model / "fold_1")
    assert len([line for line in shown(model).splitlines() if line.startswith("  training")]) == 2
    packed = shown(pack(Path("model.zip"), model))
    assert "fold_1/checkpoint_final.pth: not read: it lies packed in the zip" in packed


def test_a_broken_checkpoint_in_a_model_does_not_hide_the_rest() -> None:
    model = copy_of_model(Path())
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    out = shown(model)
    assert "checkpoint_final.pth: not read: the file is empty" in out
    assert "configuration 3d_fullres\n" in out


def test_plans_show_every_configuration_after_inheritance() -> None:
    path = PREPROCESSED / "Dataset005_CascadeCT" / "nnUNetPlans.json"
    out = shown(path)
    configurations = json.loads(path.read_bytes())["configurations"]
    for name in configurations:
        assert f"\nconfiguration {name}\n" in out
    cascade = out[out.index("configuration 3d_cascade_fullres") :]
    assert row(cascade, "inherits from") == "3d_fullres"
    assert row(cascade, "previous stage") == "3d_lowres"
    assert row(cascade, "spacing") == row(out[out.index("configuration 3d_fullres") :], "spacing")
    flat = out[out.index("configuration 2d") :]
    assert "mm (array axes y, x)" in row(flat, "spacing")


def test_transposed_axes_are_named() -> None:
    shutil.copy(FIXTURE / "plans.json", "P.json")
    edit(Path("P.json"), lambda plans: plans.update(transpose_forward=[2, 0, 1], transpose_backward=[1, 2, 0]))
    out = shown("P.json")
    assert "mm (array axes x, z, y, after transpose_forward [2, 0, 1])" in out
    assert "mm (array axes z, y, after transpose_forward [2, 0, 1])" in out


def test_channels_and_labels_come_from_the_dataset_json_beside() -> None:
    assert "CT: CTNormalization, clipped to [" in shown(PREPROCESSED / CT / "nnUNetPlans.json")
    shutil.copy(FIXTURE / "plans.json", "alone.json")
    alone = shown("alone.json")
    assert "channel 0: CTNormalization" in alone
    assert "labels" not in alone


def test_regions() -> None:
    path = PREPROCESSED / "Dataset003_TwoChannelMR"
    shutil.copy(path / "nnUNetPlans.json", ".")
    shutil.copy(path / "dataset.json", ".")
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    edit(Path("dataset.json"), lambda value: value.update(labels=labels, regions_class_order=[1, 2]))
    out = shown("nnUNetPlans.json")
    assert row(out, "labels") == "background 0, whole [1, 2], core [2]"
    assert row(out, "regions") == "in the order [1, 2]"


@pytest.mark.parametrize("path", [*ALL_PLANS, CHECKPOINT, FIXTURE], ids=lambda path: "/".join(path.parts[-2:]))
def test_it_fits_a_terminal(path: Path) -> None:
    name = Path(shutil.copytree(path, path.name)) if path.is_dir() else Path(shutil.copy(path, path.name))
    assert max(map(len, shown(name).splitlines())) <= 100


def test_real_plans_of_others(corpus: Path) -> None:
    """Published plans are shown: old formats, networks of forks, missing keys."""
    paths = [path for path in sorted(corpus.rglob("*.json")) if recognise(json.loads(path.read_bytes())) == "plans"]
    assert len(paths) > 40
    outs = [shown(path) for path in paths]
    assert all("\nconfiguration " in out for out in outs)
    assert sum("  stage  " in out for out in outs) > 30


# --- JSON ---


def test_json() -> None:
    document = run("show", CHECKPOINT, "--json").json
    assert document["schema"] == "plansguard/show/1"
    assert (document["kind"], document["kind_of_checkpoint"]) == ("checkpoint", "nnunet-v2")
    assert (document["trainer"], document["configuration"], document["fold"]) == ("nnUNetTrainer", "3d_fullres", 0)
    assert document["mirroring_axes"] == [0, 1, 2]
    assert document["suspicious"] == []
    (configuration,) = document["plans"]["configurations"]
    plans = json.loads((FIXTURE / "plans.json").read_bytes())["configurations"]["3d_fullres"]
    for key in ("spacing", "patch_size", "batch_size", "data_identifier"):
        assert configuration[key] == plans[key]
    strides = [stage["stride"] for stage in configuration["network"]["stages"]]
    assert strides == plans["architecture"]["arch_kwargs"]["strides"]
    assert [run("show", path, "--json").json["kind"] for path in (FIXTURE, FIXTURE / "plans.json")] == [
        "models",
        "plans",
    ]


@pytest.mark.parametrize(
    ("trainer", "epochs"),
    [
        ("nnUNetTrainer", 1000),
        ("nnUNetTrainer_4000epochs_NoMirroring", 4000),
        ("nnUNetTrainer_1epoch", 1),
        ("nnUNetTrainer_onlyMirror01_1500ep", 1500),
        ("nnUNetTrainerNoMirroring", 1000),
        ("MyTrainer", None),
        (f"MyTrainer_{'9' * 5000}epochs", None),
        (None, None),
    ],
)
def test_planned_epochs(trainer: str | None, epochs: int | None) -> None:
    assert planned_epochs(trainer) == epochs


# --- What cannot be shown, and hostile text ---


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("gone.pth", None, "does not exist"), ("x.json", b"{}", "these are no nnU-Net plans"), ("x.pth", b"", "empty")],
)
def test_one_clear_message(name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    done = run("show", name)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 2


HOSTILE = "\x1b]0;owned\x07\x1b[2J::error::\u202eevil\n\r\x9b31m"


def test_text_from_files_never_steers_the_terminal() -> None:
    def spoil(plans: dict[str, Any]) -> None:
        plans["configurations"][HOSTILE] = plans["configurations"].pop("3d_fullres")
        configuration = plans["configurations"][HOSTILE]
        configuration.update(data_identifier=HOSTILE, spacing=[HOSTILE], normalization_schemes=[HOSTILE])
        configuration["architecture"]["network_class_name"] = HOSTILE
        plans.update(plans_name=HOSTILE, dataset_name=HOSTILE, experiment_planner_used=HOSTILE)

    model = copy_of_model(Path())
    edit(model / "plans.json", spoil)
    edit(
        model / "dataset.json",
        lambda value: value.update(labels={HOSTILE: 0}, channel_names={"0": HOSTILE}, regions_class_order=[HOSTILE]),
    )
    for path in (model, model / "plans.json", pack(Path("model.zip"), model)):
        out = shown(path)
        assert not {char for char in out if not char.isprintable()} - {"\n"}
        assert not any(line.startswith("::") for line in out.splitlines())
        assert run("show", path, "--json").out.isascii()


@pytest.mark.parametrize("digits", [300, 4000])
def test_absurd_numbers_stay_short(digits: int) -> None:
    def spoil(plans: dict[str, Any]) -> None:
        configuration = plans["configurations"]["3d_fullres"]
        configuration.update(patch_size=[10**digits] * 3, batch_size=10**digits)
        arguments = configuration["architecture"]["arch_kwargs"]
        arguments["features_per_stage"] = [10**digits] * arguments["n_stages"]

    model = copy_of_model(Path())
    edit(model / "plans.json", spoil)
    out = shown(model)
    assert row(out, "batch size") == f"1.000000e+{digits}"
    assert max(map(len, out.splitlines()[1:])) < 130
    assert run("show", model, "--json").code == 0


def test_more_convolutions_than_a_number_can_be_written_for() -> None:
    def spoil(plans: dict[str, Any]) -> None:
        arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        arguments["n_conv_per_stage"] = [10**4300 - 1] * arguments["n_stages"]

    shutil.copy(FIXTURE / "plans.json", "P.json")
    edit(Path("P.json"), spoil)
    assert "more than 2000 convolutions or blocks" in shown("P.json")


def test_of_very_many_configurations_the_rest_is_named() -> None:
    shutil.copy(FIXTURE / "plans.json", "P.json")
    edit(
        Path("P.json"),
        lambda plans: plans.update(configurations={f"c{n}": plans["configurations"]["2d"] for n in range(300)}),
    )
    out = shown("P.json")
    assert row(out, "others").startswith("c100, c101, ")
    assert len(re.findall("^configuration c", out, re.MULTILINE)) == 100


@pytest.mark.parametrize("value", [None, "text", 7, [], {}, [[1]], ["x"], -1, True, {"0": None}])
@pytest.mark.parametrize(
    "key",
    [
        *("spacing", "patch_size", "normalization_schemes", "use_mask_for_norm", "architecture", "inherits_from"),
        *("/transpose_forward", "/foreground_intensity_properties_per_channel", "/configurations", "/plans_name"),
    ],
)
def test_fields_of_any_type_are_shown(key: str, value: Any) -> None:
    """Judging is what `check` is for; `show` only must not fail."""
    shutil.copy(FIXTURE / "plans.json", "P.json")
    edit(
        Path("P.json"),
        lambda plans: (
            plans.update({key[1:]: value})
            if key.startswith("/")
            else plans["configurations"]["3d_fullres"].update({key: value})
        ),
    )
    assert shown("P.json")
    assert run("show", "P.json", "--json").code == 0


@pytest.mark.parametrize("value", [None, "text", 7, [], {}, [[1]], {"a": "x"}, {"a": [None]}])
@pytest.mark.parametrize("key", ["labels", "channel_names", "regions_class_order"])
def test_fields_of_any_type_in_the_dataset_json(key: str, value: Any) -> None:
    model = copy_of_model(Path())
    edit(model / "dataset.json", lambda document: document.update({key: value}))
    assert shown(model)


@settings(max_examples=50)
@given(plans=spoiled("plans.json"), dataset_json=spoiled("dataset.json"))
def test_whatever_stands_in_the_documents(
    tmp_path_factory: pytest.TempPathFactory, plans: bytes, dataset_json: bytes
) -> None:
    """Shown in print, on lines that fit, or refused in one message."""
    model = tmp_path_factory.mktemp("model")
    (model / "plans.json").write_bytes(plans)
    (model / "dataset.json").write_bytes(dataset_json)
    done = run("show", model)
    assert done.code in (0, 2)
    assert all(char.isprintable() for char in done.out if char != "\n")
    assert all(len(line) <= 100 for line in done.out.splitlines()[1:])
    assert run("show", model, "--json").code == done.code


# --- What it loads ---


@pytest.mark.parametrize("arguments", [("show", CHECKPOINT), ("show", FIXTURE), ("extract", CHECKPOINT)])
def test_it_is_light(arguments: tuple[str, Path]) -> None:
    seen = probe(COMMAND, *map(str, arguments))
    assert seen["code"] == 0
    assert roots(seen["asked"]) & (HEAVY | {"pydantic"}) == set()


# --- Against torch ---


@pytest.mark.nnunet
@pytest.mark.slow
@pytest.mark.parametrize("path", ALL_PLANS, ids=lambda path: "/".join(path.parts[-2:]))
def test_numbers_of_parameters_are_those_of_the_real_networks(path: Path) -> None:
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(str(path))
    dataset_json = json.loads((path.parent / "dataset.json").read_bytes())
    for configuration in run("show", path, "--json").json["plans"]["configurations"]:
        real = manager.get_configuration(configuration["name"])
        with torch.device("meta"):
            network = get_network_from_plans(
                real.network_arch_class_name,
                real.network_arch_init_kwargs,
                real.network_arch_init_kwargs_req_import,
                determine_num_input_channels(manager, real, dataset_json),
                manager.get_label_manager(dataset_json).num_segmentation_heads,
                allow_init=False,
            )
        assert configuration["network"]["parameters"] == sum(one.numel() for one in network.parameters())


def test_photographs_have_no_millimetres() -> None:
    """Their reader gives each pixel a spacing of 1."""
    out = shown(PREPROCESSED / "Dataset004_Slides2D/nnUNetPlans.json")
    assert row(out, "spacing") == "1 x 1 pixels (array axes y, x)"
    assert row(out, "patch").endswith(" voxels")

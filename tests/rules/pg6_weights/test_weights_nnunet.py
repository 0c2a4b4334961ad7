"""Weights against the real nnU-Net: files that its trainers save and that its load_pretrained_weights loads."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.commands.check import check
from plansguard.core.report import Severity
from plansguard.documents import json_document
from plansguard.nnunet import constants
from plansguard.nnunet.constants import planned_epochs
from tests.support import checkpoints
from tests.support.checkpoints import Named
from tests.support.command import run, start
from tests.support.variants import ROOTS, lay_out, place, point_to
from tests.support.weights import CASCADE, CT, PRETRAINED

pytestmark = [pytest.mark.nnunet, pytest.mark.slow]

Document = dict[str, Any]
Change = Callable[[Document, Document], object]

#: Findings that weights do not load.
MISFITS = {"PG620", "PG621", "PG622", "PG623"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = lay_out(tmp_path_factory.mktemp("workspace"))
    with pytest.MonkeyPatch.context() as patch:
        point_to(folder, patch)
        patch.setenv("nnUNet_compile", "f")
        patch.setenv("nnUNet_n_proc_DA", "1")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("PATH", os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
        yield folder


# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------


def small(plans: Document) -> Document:
    """Reduce the features of the network."""
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            kwargs = configuration["architecture"]["arch_kwargs"]
            kwargs["features_per_stage"] = [max(4, features // 32) for features in kwargs["features_per_stage"]]
    return plans


def kwargs(plans: Document) -> Document:
    arguments: Document = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    return arguments


def setting(key: str, *values: Any) -> Change:
    """Set an argument of the network: ``values`` are an index and a value, or one value."""

    def change(plans: Document, dataset_json: Document) -> None:
        if len(values) == 2:
            kwargs(plans)[key][values[0]] = values[1]
        else:
            kwargs(plans)[key] = values[0]

    return change


def one_stage_less(plans: Document, dataset_json: Document) -> None:
    for key in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_conv_per_stage_decoder"):
        kwargs(plans)[key].pop()
    kwargs(plans)["n_stages"] -= 1


def two_channels(plans: Document, dataset_json: Document) -> None:
    dataset_json["channel_names"] = {"0": "CT", "1": "PET"}
    for configuration in plans["configurations"].values():
        for key in ("normalization_schemes", "use_mask_for_norm"):
            if key in configuration:
                configuration[key] = configuration[key] * 2


def labels(number: int) -> Change:
    return lambda _, dataset_json: dataset_json.update(
        labels={"background": 0, **{f"label {value}": value for value in range(1, number + 1)}}
    )


def regions(plans: Document, dataset_json: Document) -> None:
    dataset_json.update(labels={"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])


def nothing(plans: Document, dataset_json: Document) -> None:
    """Change nothing."""


NETWORKS: dict[str, tuple[str, str, str, Change, str]] = {
    "plain": (CT, "nnUNetPlans", "3d_fullres", nothing, "nnUNetTrainer"),
    "pretraining": (PRETRAINED, "nnUNetPlans", "3d_fullres", nothing, "nnUNetTrainer"),
    "slices": (CT, "nnUNetPlans", "2d", nothing, "nnUNetTrainer"),
    "residual": (CT, "nnUNetResEncUNetMPlans", "3d_fullres", nothing, "nnUNetTrainer"),
    "stride": (CT, "nnUNetPlans", "3d_fullres", setting("strides", 4, [2, 2, 2]), "nnUNetTrainer"),
    "kernel": (CT, "nnUNetPlans", "3d_fullres", setting("kernel_sizes", 0, [1, 3, 3]), "nnUNetTrainer"),
    "features": (CT, "nnUNetPlans", "3d_fullres", setting("features_per_stage", 4, 12), "nnUNetTrainer"),
    "convolutions": (CT, "nnUNetPlans", "3d_fullres", setting("n_conv_per_stage", 1, 3), "nnUNetTrainer"),
    "decoder": (CT, "nnUNetPlans", "3d_fullres", setting("n_conv_per_stage_decoder", 0, 1), "nnUNetTrainer"),
    "bias": (CT, "nnUNetPlans", "3d_fullres", setting("conv_bias", False), "nnUNetTrainer"),
    "affine": (CT, "nnUNetPlans", "3d_fullres", setting("norm_op_kwargs", {"affine": False}), "nnUNetTrainer"),
    "nonlinearity": (CT, "nnUNetPlans", "3d_fullres", setting("nonlin", "torch.nn.ReLU"), "nnUNetTrainer"),
    "stages": (CT, "nnUNetPlans", "3d_fullres", one_stage_less, "nnUNetTrainer"),
    "channels": (CT, "nnUNetPlans", "3d_fullres", two_channels, "nnUNetTrainer"),
    "residual channels": (CT, "nnUNetResEncUNetMPlans", "3d_fullres", two_channels, "nnUNetTrainer"),
    "many labels": (CT, "nnUNetPlans", "3d_fullres", labels(9), "nnUNetTrainer"),
    "regions": (CT, "nnUNetPlans", "3d_fullres", regions, "nnUNetTrainer"),
    "cascade": (CASCADE, "nnUNetPlans", "3d_cascade_fullres", nothing, "nnUNetTrainer"),
    "cascade, one label": (CASCADE, "nnUNetPlans", "3d_cascade_fullres", labels(1), "nnUNetTrainer"),
    "cascade, regions": (CASCADE, "nnUNetPlans", "3d_cascade_fullres", regions, "nnUNetTrainer"),
    "batch norm": (CT, "nnUNetPlans", "3d_fullres", nothing, "nnUNetTrainerBN"),
    "one output": (CT, "nnUNetPlans", "3d_fullres", nothing, "nnUNetTrainerNoDeepSupervision"),
}


class Side:
    """A network with its documents in a dataset of its own, and the checkpoint of a real trainer."""

    def __init__(self, workspace: Path, number: int, name: str) -> None:
        dataset, plans_name, self.configuration, change, self.trainer = NETWORKS[name]
        self.number = number
        self.folder = workspace / ROOTS["preprocessed"] / f"Dataset{number}_Network"
        documents = (place(workspace, dataset, f"preprocessed/{one}.json") for one in (plans_name, "dataset"))
        plans, dataset_json = (json.loads(path.read_bytes()) for path in documents)
        small(plans)
        change(plans, dataset_json)
        plans["dataset_name"] = self.folder.name
        plans["plans_name"] = "nnUNetPlans"
        self.folder.mkdir()
        for file, document in (("nnUNetPlans", plans), ("dataset", dataset_json)):
            (self.folder / f"{file}.json").write_bytes(json_document.dumps(document))
        self.real = trainer_of(plans, dataset_json, self.configuration, self.trainer)
        self.checkpoint = self.folder.parent.parent / f"{number}.pth"
        self.real.save_checkpoint(str(self.checkpoint))
        self.real.optimizer = self.real.loss = None

    @property
    def stock(self) -> bool:
        """Whether the network is the one that the plans name."""
        return self.trainer not in constants.TRAINERS_WITH_OWN_NETWORK


def trainer_of(plans: Document, dataset_json: Document, configuration: str, name: str = "nnUNetTrainer") -> Any:
    """A real trainer with its network; of the data it only needs the ending of one file."""
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    with contextlib.redirect_stdout(io.StringIO()):
        trainer = recursive_find_trainer_class_by_name(name)(
            as_handed_over(plans), configuration, 0, deepcopy(dataset_json), device=torch.device("cpu")
        )
        data = Path(trainer.preprocessed_dataset_folder)
        data.mkdir(parents=True, exist_ok=True)
        (data / "a.b2nd").touch()
        trainer.initialize()
        shutil.rmtree(data)
    return trainer


def as_handed_over(plans: Document) -> Document:
    """Plans as nnU-Net's command hands them to a trainer, which removes the flag."""
    return {**deepcopy(plans), "continue_training": False}


@pytest.fixture(scope="module")
def sides(workspace: Path) -> dict[str, Side]:
    return {name: Side(workspace, 100 + number, name) for number, name in enumerate(NETWORKS)}


def refusal(network: Any, path: Path) -> str:
    """The error of nnU-Net where the weights do not load; empty where they do."""
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            load_pretrained_weights(network, str(path))
    except (AssertionError, KeyError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("theirs", NETWORKS)
def test_weights_are_refused_exactly_when_nnunet_refuses_them(sides: dict[str, Side], theirs: str) -> None:
    verdicts = {}
    for name, ours in sides.items():
        if ours.stock:
            report = check(
                [ours.folder], plans="nnUNetPlans", configuration=ours.configuration, weights=sides[theirs].checkpoint
            )
            assert "PG000" not in {finding.code for finding in report.findings}
            errors = {one.code for one in report.findings if one.severity is Severity.ERROR} & MISFITS
            verdicts[name] = bool(errors), bool(refusal(ours.real.network, sides[theirs].checkpoint))
    assert {name: errors for name, (errors, _) in verdicts.items()} == {
        name: refused for name, (_, refused) in verdicts.items()
    }
    assert verdicts[theirs if sides[theirs].stock else "plain"] == (False, False)
    assert (True, True) in verdicts.values()


def test_silent_differences_are_reported(sides: dict[str, Side]) -> None:
    """nnU-Net loads all of these without a warning."""
    for theirs, code in (("batch norm", "PG609"), ("nonlinearity", "PG625"), ("convolutions", "PG625")):
        assert refusal(sides["plain"].real.network, sides[theirs].checkpoint) == ""
        found = {one.code for one in check([sides["plain"].folder], weights=sides[theirs].checkpoint).findings}
        assert code in found - MISFITS


def test_the_key_is_the_one_at_which_nnunet_stops(sides: dict[str, Side]) -> None:
    for name in ("slices", "residual", "channels", "features", "kernel"):
        report = check([sides["plain"].folder], configuration="3d_fullres", weights=sides[name].checkpoint)
        values = [one.values for one in report.findings if one.code in MISFITS]
        assert values[0]["key"] in refusal(sides["plain"].real.network, sides[name].checkpoint)


def test_migrated_plans_take_the_weights(workspace: Path, sides: dict[str, Side]) -> None:
    weights = sides["pretraining"].checkpoint
    for workflow in ("finetune", "graft"):
        options = ("-t", "2", "-tp", workflow, "--workflow", workflow)
        done = run("migrate", "-s", weights, *options)
        assert done.code == 0, done.out
        plans, dataset_json = (
            json.loads(place(workspace, CT, f"preprocessed/{name}.json").read_bytes()) for name in (workflow, "dataset")
        )
        assert refusal(trainer_of(plans, dataset_json, "3d_fullres").network, weights) == ""
        report = check(datasets=["2"], plans=workflow, weights=weights)
        assert {one.code for one in report.findings if one.severity is not Severity.INFO} == {"PG606"}
        assert run("migrate", "-t", "2", "-tp", workflow, "--undo").code == 0


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def changed(path: Path, target: Path, change: Callable[[bytes], bytes]) -> Path:
    """A copy of a checkpoint with another pickle."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("/data.pkl") else content)
    return target


def test_weights_from_a_gpu(sides: dict[str, Side], tmp_path: Path) -> None:
    """torch writes the same file for a GPU, except for the name of the device."""
    side = sides["plain"]

    def moved(pickle: bytes) -> bytes:
        return pickle.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")

    path = changed(side.checkpoint, tmp_path / "my weights.pth", moved)
    assert read_checkpoint(path).locations == ("cuda:0",)
    assert "Attempting to deserialize object on a CUDA device" in refusal(side.real.network, path)
    (found,) = (one for one in check([side.folder], weights=path).findings if one.code == "PG605")
    _, *command = shlex.split(found.fix.partition("CPU: ")[2])
    subprocess.run([sys.executable, *command], check=True)
    copy = tmp_path / "my weights_cpu.pth"
    assert refusal(side.real.network, copy) == ""
    assert "PG605" not in {one.code for one in check([side.folder], weights=copy).findings}


def test_files_that_hold_no_weights_for_nnunet(sides: dict[str, Side], tmp_path: Path) -> None:
    import torch

    side = sides["plain"]
    checkpoint = torch.load(side.checkpoint, weights_only=False)
    weights = checkpoint["network_weights"]
    for index, prefix in enumerate(("module.", "_orig_mod.", "module._orig_mod.")):
        path = tmp_path / f"{index}.pth"
        torch.save({**checkpoint, "network_weights": {prefix + name: one for name, one in weights.items()}}, path)
        assert refusal(side.real.network, path).startswith("AssertionError: Key ")
        assert {one.code for one in check([side.folder], weights=path).findings} & {"PG603"}
        advice = {"checkpoint": torch.load(path, weights_only=False)}
        exec(  # what the page of the rule advises
            'weights = checkpoint["network_weights"]\n'
            f'checkpoint["network_weights"] = {{name.removeprefix("{prefix}"): v for name, v in weights.items()}}',
            advice,
        )
        torch.save(advice["checkpoint"], path)
        assert refusal(side.real.network, path) == ""
        assert "PG603" not in {one.code for one in check([side.folder], weights=path).findings}
    torch.save(weights, tmp_path / "bare.pth")
    assert refusal(side.real.network, tmp_path / "bare.pth") == "KeyError: 'network_weights'"
    assert {"PG603", "PG607"} <= {
        one.code for one in check([side.folder], configuration="3d_fullres", weights=tmp_path / "bare.pth").findings
    }


def test_a_model_folder_that_nnunet_wrote(sides: dict[str, Side]) -> None:
    """The checkpoint contains the plans of the model folder."""
    trainer = sides["plain"].real
    folder = Path(trainer.output_folder)
    shutil.copy(sides["plain"].folder / "nnUNetPlans.json", folder.parent / "plans.json")
    trainer_of(trainer.plans_manager.plans, trainer.dataset_json, "3d_fullres").save_checkpoint(
        str(folder / "checkpoint_final.pth")
    )
    report = check([folder.parent])
    assert {one.code for one in report.findings if one.code.startswith("PG6")} == set()
    os.truncate(folder / "checkpoint_final.pth", 10_000)
    assert {one.code for one in check([folder.parent]).findings} >= {"PG601"}
    shutil.rmtree(folder.parent)


def test_a_checkpoint_of_the_tests_is_what_torch_saves(sides: dict[str, Side], tmp_path: Path) -> None:
    import numpy
    import torch

    zero = torch.zeros(1)
    documents = {"plans": {"a": [1, 2.5, None, True, "ü"]}, "configuration": "3d_fullres", "fold": 0}
    common = {"logging": {"lrs": [0.01, 1e-3]}, "current_epoch": 1000, "trainer_name": "nnUNetTrainer"}
    real = {
        "network_weights": OrderedDict(a=zero.expand(4, 1, 3, 3, 3), b=zero.expand(4)),
        "init_args": {**documents, "device": torch.device("cpu")},
        **common,
        "_best_ema": numpy.float32(0),
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    storage = checkpoints.Storage("0", "cpu")
    ours = {
        **real,
        "network_weights": OrderedDict(
            a=checkpoints.Zeros((4, 1, 3, 3, 3), storage), b=checkpoints.Zeros((4,), storage)
        ),
        # In torch the names of the device and of the storage's location are two strings.
        "init_args": {**documents, "device": Named("torch", "device")("".join("cpu"))},
        "_best_ema": checkpoints.NUMPY_ZERO,
    }
    torch.save(real, tmp_path / "real.pth")
    with zipfile.ZipFile(tmp_path / "real.pth") as archive:
        assert archive.read("real/data.pkl") == checkpoints.dumps(ours)
    path = checkpoints.write(tmp_path / "ours.pth", {"configurations": {}}, {}, parameters={"a": (4, 1, 3, 3, 3)})
    loaded = torch.load(path, weights_only=False)
    assert set(loaded) == set(torch.load(sides["plain"].checkpoint, weights_only=False))
    assert loaded["network_weights"]["a"].shape == (4, 1, 3, 3, 3)


def test_planned_epochs_are_those_of_the_trainers(workspace: Path, sides: dict[str, Side]) -> None:
    plain = sides["plain"].real
    for name in sorted(constants.STOCK_TRAINERS):
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        try:
            with contextlib.redirect_stdout(io.StringIO()):
                trainer = recursive_find_trainer_class_by_name(name)(
                    as_handed_over(plain.plans_manager.plans), "3d_fullres", 0, plain.dataset_json, device=plain.device
                )
        except (AssertionError, ImportError):  # Adan is an optimizer that is not installed
            continue
        assert planned_epochs(name) == trainer.num_epochs, name


# ---------------------------------------------------------------------------------------------------------------------
# What is printed works
# ---------------------------------------------------------------------------------------------------------------------

#: Stops before the first epoch, after the weights are loaded.
STOPPED = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerStopped(nnUNetTrainer):
    def run_training(self):
        raise SystemExit(0)
"""


@pytest.mark.long
def test_from_fit_to_training_by_the_printed_commands(
    workspace: Path, sides: dict[str, Side], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = tmp_path / "trainers"
    trainers.mkdir()
    (trainers / "stopped.py").write_text(STOPPED)
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers))
    weights = shutil.copy(sides["pretraining"].checkpoint, tmp_path / "my weights.pth")
    outcomes: list[str] = []
    for _ in range(3):
        done = run("fit", weights, "-d", "2", "-p", "PretrainPlans") if outcomes else run("fit", weights, "-d", "2")
        outcome, command = verdict_in(done.out)
        outcomes.append(outcome)
        assert done.code == (0 if outcome == "loads" else 1)
        extra = {"preprocess": ["-np", "1"], "loads": ["-device", "cpu", "-tr", "nnUNetTrainerStopped"]}
        typed = start(*shlex.split(command)[1:], *extra.get(outcome, []))
        assert typed.returncode == 0, typed.stdout + typed.stderr
        assert "Loading pretrained weights from file" in typed.stdout or outcome != "loads"
    assert outcomes == ["migrate first", "preprocess", "loads"]


def verdict_in(text: str) -> tuple[str, str]:
    """The first verdict and its command."""
    lines = text.splitlines()
    outcome = re.split(r"  +", lines[1])[-1]
    return outcome, next(line.strip() for line in lines if re.match(r"  (plansguard|nnUNetv2_\w+) ", line))

"""Rules about the trainer of a run and about what is installed, against an nnU-Net in a few lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plansguard.commands import train
from plansguard.core.report import Report
from plansguard.nnunet.install import packages
from plansguard.nnunet.install.trainer_folder import VARIABLE
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.request import Reading
from tests.support import checkpoints
from tests.support.data_folders import DATA, FLAT, preprocessed
from tests.support.nnunets import HEAD, install, note_files, noted, write
from tests.support.training_records import training_values
from tests.support.variants import place, put

CT = "Dataset002_FinetuneCT"
PLANS = "preprocessed/nnUNetPlans.json"
MINE = f"{HEAD}class Mine(nnUNetTrainer):\n    pass\n"
STOCK = "nnunetv2/training/nnUNetTrainer/nnUNetTrainer.py"
OURS = {f"PG70{number}" for number in range(1, 8)} | {f"PG80{number}" for number in range(3, 7)}


pytestmark = [pytest.mark.deep, pytest.mark.workspace(CT, edits=[preprocessed(DATA, FLAT)])]


@pytest.fixture(autouse=True)
def installed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nnU-Net before all others, and no command of another one."""
    monkeypatch.setenv("PATH", str(workspace / "bin"))
    monkeypatch.delenv(VARIABLE, raising=False)
    site = install(workspace / "site", monkeypatch, nnunetv2="2.8.1", torch="2.8.0")
    # a real nnU-Net behind it would be a second copy
    monkeypatch.setattr(packages, "sys", SimpleNamespace(path=[str(site)], executable=sys.executable))


def report(*arguments: str) -> Report:
    values = training_values([CT, "3d_fullres", "0", "-device", "cpu", *arguments])
    run = train.prepare(Workspace.from_environment(), values, Reading("none"))
    return train.judge(run, "gate", ActiveSettings())


def findings(*arguments: str) -> list[tuple[str, str, str]]:
    """Code, severity and message of what the rules of this module find."""
    return [(one.code, one.severity.value, one.message) for one in report(*arguments).findings if one.code in OURS]


def only(*arguments: str) -> Any:
    """The one finding."""
    (found,) = [one for one in report(*arguments).findings if one.code in OURS]
    return found


@pytest.fixture
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(workspace / "mine"))
    return workspace / "mine"


def test_nothing_is_found_where_nothing_is_wrong(workspace: Path, folder: Path) -> None:
    write(folder, {"mine.py": MINE})
    for name in ("nnUNetTrainer", "nnUNetTrainer_5epochs", "nnUNetTrainerNoMirroring", "Mine", "Mine_5000steps"):
        assert findings("-tr", name) == []
    write(folder, {"z.py": "import not_there\n"})
    assert findings("-tr", "Mine") == []


def test_without_nnunet_nothing_is_checked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plansguard.nnunet.install.trainer_search.folder_of", lambda _: None)
    judged = report("-tr", "nnUNetTrainerXYZ")
    assert not {one.code for one in judged.findings} & OURS
    reasons = {one.code: one.reason for one in judged.not_checked}
    assert {reasons[f"PG70{number}"] for number in (1, 2, 3, 4, 5)} == {
        "nnU-Net is not installed: install plansguard[train]"
    }


# ---------------------------------------------------------------------------------------------------------------------
# The trainer
# ---------------------------------------------------------------------------------------------------------------------


def test_a_trainer_that_is_not_there(workspace: Path) -> None:
    assert findings("-tr", "nnUNetTrainer_5epoch") == [
        ("PG701", "error", "nnU-Net finds no trainer nnUNetTrainer_5epoch; did you mean nnUNetTrainer_5epochs?")
    ]
    assert findings("-tr", "Other_5000steps") == [("PG701", "error", "nnU-Net finds no trainer Other")]


def test_a_trainer_where_nnunet_does_not_look(workspace: Path, folder: Path) -> None:
    write(folder, {"variants/mine.py": MINE})
    found = only("-tr", "Mine")
    assert found.message == (
        "nnU-Net finds no trainer Mine: mine.py defines it, but nnU-Net skips a folder without __init__.py"
    )
    assert [one.location.path for one in found.related] == [str(folder / "variants/mine.py")]
    assert found.fix == f"touch {folder / 'variants' / '__init__.py'}"
    write(folder, {"variants/__init__.py": ""})
    assert findings("-tr", "Mine") == []
    write(folder, {"variants/__init__.py": MINE, "variants/mine.py": ""})
    assert only("-tr", "Mine").fix == "give it a file of its own"
    write(folder, {"mine.py": MINE})
    (workspace / "site/nnunetv2/utilities/find_objects.py").unlink()
    assert "2.8 was the first" in only("-tr", "Mine").message


def test_a_class_that_is_no_trainer(workspace: Path, folder: Path) -> None:
    write(folder, {"mine.py": "class Mine:\n    pass\n"})
    found = only("-tr", "Mine")
    assert (found.code, found.location.path, found.location.line) == ("PG702", str(folder / "mine.py"), 1)
    assert found.message.endswith("but from nothing")
    write(
        folder, {"base.py": "class nnUNetTrainer:\n    pass\n", "mine.py": MINE.replace(HEAD, "from base import *\n")}
    )
    found = only("-tr", "Mine")
    assert found.code == "PG702"
    assert found.message.endswith("but from nnUNetTrainer, a copy in base.py")
    write(folder, {"base.py": HEAD})
    assert findings("-tr", "Mine") == []
    write(folder, {"mine.py": "from torch import made\n\n\nclass Mine(made()):\n    pass\n"})
    assert findings("-tr", "Mine") == []


def test_signatures(workspace: Path, folder: Path) -> None:
    init = "    def __init__(self, plans, configuration, fold, dataset_json, device=None{}):\n        pass\n"
    write(folder, {"mine.py": MINE.replace("    pass\n", init.format(", steps=5"))})
    found = only("-tr", "Mine")
    assert (found.code, found.severity.value, found.location.line) == ("PG703", "error", 5)
    assert found.message == (
        "nnU-Net 2.8.1 cannot use Mine: __init__ has a parameter steps: nnU-Net's own has none of that name "
        "(KeyError: 'steps')"
    )
    assert found.fix == f"write it as in the installed nnU-Net: {workspace / 'site' / STOCK}"
    assert findings("-tr", "Mine_5000steps") == []  # the trainer with steps has nnU-Net's own parameters
    write(folder, {"mine.py": MINE.replace("    pass\n", init.format(""))})
    assert findings("-tr", "Mine") == []
    network = "    def build_network_architecture(self, plans_manager, configuration_manager, a, b, c):\n        pass\n"
    write(folder, {"mine.py": MINE.replace("    pass\n", network)})
    assert (only("-tr", "Mine").code, only("-tr", "Mine").severity.value) == ("PG703", "warning")


def test_edits_of_what_was_installed(workspace: Path) -> None:
    site = workspace / "site"
    more = "nnunetv2/training/nnUNetTrainer/variants/more.py"
    (site / STOCK).write_text((site / STOCK).read_text().replace("1000", "100"))
    assert findings("-tr", "nnUNetTrainer_5epochs") == []  # nothing is known of it
    assert packages.edited_since_installed(site / STOCK) is None
    note_files(site, STOCK, more)
    assert packages.edited_since_installed(site / STOCK) is False
    assert findings("-tr", "nnUNetTrainer_5epochs") == []
    for name in (STOCK, more):
        (site / name).write_text((site / name).read_text() + "\n# mine\n")
    found = [one for one in report("-tr", "nnUNetTrainer_5epochs").findings if one.code == "PG704"]
    assert [one.location.path for one in found] == [str(site / more), str(site / STOCK)][::-1]
    assert [one.location.path for one in report().findings if one.code == "PG704"] == [str(site / STOCK)]


def test_a_neighbour_ends_the_search(workspace: Path, folder: Path) -> None:
    write(folder, {"a.py": "import os\nimport mamba_ssm\n", "mine.py": MINE})
    found = only("-tr", "Mine")
    assert (found.code, found.location.path, found.location.line) == ("PG705", str(folder / "a.py"), 2)
    assert found.message == (
        "nnU-Net imports a.py before it finds Mine, and fails: it imports mamba_ssm, which is not installed"
    )
    assert findings() == findings("-tr", "nnUNetTrainer_5000steps") == []  # nnU-Net's own and ours are found before
    assert [code for code, _, _ in findings("-tr", "Mine_5000steps")] == ["PG705"]


def test_a_folder_that_is_missing(workspace: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"mine.py": MINE})
    monkeypatch.setenv("HOME", str(workspace))
    monkeypatch.setenv("USERPROFILE", str(workspace))
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["~/mine", str(folder)]))
    assert findings() == []
    found = only("-tr", "Mine")
    assert (found.code, found.severity.value) == ("PG705", "warning")
    assert found.message == f"{VARIABLE} names ~/mine, which does not exist"
    assert found.fix == f"write it as {folder}"


def test_networks_of_trainers(workspace: Path, folder: Path) -> None:
    network = (
        "    @staticmethod\n    def build_network_architecture(plans_manager, configuration_manager, a, b, "
        "enable_deep_supervision):\n        pass\n"
    )
    write(folder, {"mine.py": MINE.replace("    pass\n", network)})
    assert findings("-tr", "Mine") == []
    weights = write_weights(workspace, "nnUNetTrainer")
    found = only("-tr", "Mine", "-pretrained_weights", weights)
    assert (found.code, found.severity.value, found.location.path) == ("PG707", "warning", str(folder / "mine.py"))
    assert findings("-tr", "nnUNetTrainer_5epochs", "-pretrained_weights", weights) == []
    not_checked = {one.code: one.reason for one in report("-tr", "Mine", "-pretrained_weights", weights).not_checked}
    assert not_checked["PG623"] == "Mine builds a network of its own instead of the one in the plans"
    assert findings("-tr", "Mine_5000steps", "-pretrained_weights", write_weights(workspace, "Mine_20steps")) == []


def test_the_trainer_of_the_weights_goes_on_with_them(workspace: Path, folder: Path) -> None:
    write(folder, {"bn.py": f"{HEAD}class nnUNetTrainerBN(nnUNetTrainer):\n    pass\n"})
    weights = write_weights(workspace, "nnUNetTrainerBN")
    codes = {one.code for one in report("-pretrained_weights", weights).findings}
    assert "PG609" in codes
    codes = {one.code for one in report("-tr", "nnUNetTrainerBN", "-pretrained_weights", weights).findings}
    assert "PG609" not in codes


@pytest.mark.parametrize(
    ("planned", "trained", "axes", "message"),
    [
        ("nnUNetTrainer", "nnUNetTrainerNoMirroring", (), "nnUNetTrainer mirrors every axis"),
        ("nnUNetTrainer_5epochs", "nnUNetTrainer", (), "nnUNetTrainer_5epochs mirrors every axis"),
        ("nnUNetTrainer_5epochs", "nnUNetTrainer", (1, 2), "nnUNetTrainer_5epochs mirrors every axis"),
        ("nnUNetTrainer_50steps", "nnUNetTrainerNoMirroring_20steps", (), "nnUNetTrainer mirrors every axis"),
        ("Some", "nnUNetTrainerNoMirroring", (), "Some mirrors"),
        ("Some", "nnUNetTrainer", (1, 2), None),
        ("nnUNetTrainerNoMirroring", "nnUNetTrainerNoMirroring", (), None),
        ("nnUNetTrainerNoMirroring_50steps", "nnUNetTrainerNoMirroring", (), None),
        ("Untold", "nnUNetTrainerNoMirroring", (), None),
        ("nnUNetTrainer", "nnUNetTrainer", (0, 1, 2), None),
    ],
)
def test_sides_are_not_unlearned(
    workspace: Path, folder: Path, planned: str, trained: str, axes: tuple[int, ...], message: str | None
) -> None:
    method = "    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):\n        return 1, 2, 3, {}\n"
    write(
        folder,
        {
            "some.py": MINE.replace("    pass\n", method.format("(0,)")).replace("Mine", "Some"),
            "untold.py": MINE.replace("    pass\n", method.format("self.axes")).replace("Mine", "Untold"),
        },
    )
    labels = {"background": 0, "kidney_left": 1, "kidney_right": 2}
    put("preprocessed/dataset.json", "/labels", labels)(workspace, CT)
    put("raw/dataset.json", "/labels", labels)(workspace, CT)
    weights = write_weights(workspace, trained, mirroring_axes=axes)
    found = [one for one in report("-tr", planned, "-pretrained_weights", weights).findings if one.code == "PG627"]
    assert [one.message.rpartition(", and ")[2] for one in found] == (
        [f"{message} (kidney_left and 1 more)"] if message else []
    )


def write_weights(workspace: Path, trainer: str, **options: Any) -> str:
    plans, dataset_json = (json.loads(place(workspace, CT, f"preprocessed/{name}").read_bytes()) for name in FILES)
    return str(checkpoints.write(workspace / "weights.pth", plans, dataset_json, trainer=trainer, **options))


FILES = ("nnUNetPlans.json", "dataset.json")


# ---------------------------------------------------------------------------------------------------------------------
# What is installed
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(workspace: Path) -> Callable[[str], Path]:
    """nnUNetv2_train as a shell finds it, beginning with these lines."""

    def write_command(head: str) -> Path:
        path = workspace / "bin/nnUNetv2_train"
        write(path.parent, {path.name: f"{head}\nfrom nnunetv2.run.run_training import run_training_entry\n"})
        path.chmod(0o755)
        return path

    return write_command


@pytest.mark.skipif(os.name == "nt", reason="there commands are programs of their own")
def test_the_command_of_another_python(workspace: Path, command: Callable[[str], Path]) -> None:
    ours = sys.executable
    for head in (f"#!{ours}", f"#!/bin/sh\n'''exec' \"{ours}\" \"$0\" \"$@\"\n' '''", "#!/bin/bash", "MZ\0\0"):
        command(head)
        assert findings() == []
    other = workspace / "other/bin/python3"
    for head in (f"#!{other}", f"#! {other} -s", f"#!/bin/sh\n'''exec' {other} \"$0\" \"$@\"\n' '''"):
        path = command(head)
        found = only()
        assert (found.code, found.severity.value) == ("PG803", "warning")
        assert found.message == f"{path} is run by another Python, {other}"
        assert [one.location.path for one in found.related] == [str(workspace / "site/nnunetv2")]
        assert found.fix.startswith(f"uninstall the one that is not meant: {other} -m pip uninstall nnunetv2")


@pytest.mark.skipif(os.name == "nt", reason="there commands are programs of their own")
def test_another_environment_of_the_same_python(workspace: Path, command: Callable[[str], Path]) -> None:
    other = workspace / "other/bin/python3"
    write(workspace / "other", {"pyvenv.cfg": ""})
    other.parent.mkdir()
    other.symlink_to(os.path.realpath(sys.executable))
    command(f"#!{other}")
    assert only().code == "PG803"
    command("#!/usr/bin/env python3")
    (workspace / "bin/python3").symlink_to(sys.executable)
    there = packages.nnunet_installations()
    assert there.interpreter == workspace / "bin/python3"


def test_a_second_copy_behind(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(workspace / "site"), str(workspace / "clone")]
    monkeypatch.setattr(packages, "sys", SimpleNamespace(path=path, executable=sys.executable))
    assert findings() == []
    write(workspace / "clone/nnunetv2", {"__init__.py": ""})
    found = only()
    assert found.message == f"nnU-Net is installed twice: there is another copy in {workspace / 'clone/nnunetv2'}"
    assert [one.location.path for one in found.related] == [str(workspace / "site/nnunetv2")]


ASKS = "Requires-Dist: torchvision>=0.1\nRequires-Dist: torch!=2.9.*,>=2.1.2\nRequires-Dist: torch<2.3; extra == 'x'\n"


@pytest.mark.parametrize(
    ("nnunet", "torch", "asks", "severity", "why"),
    [
        ("2.8.1", "2.8.0", ASKS, None, ""),
        ("2.8.1", "2.10.0+cu128", ASKS, None, ""),
        ("2.8.1", "2.9.1", ASKS, "error", "this nnU-Net asks for torch!=2.9.*,>=2.1.2"),
        ("2.8.1", "2.1.1", ASKS, "error", "this nnU-Net asks for torch!=2.9.*,>=2.1.2"),
        ("2.6.2", "2.9.0", "", "warning", "3D convolutions in half precision are several times slower"),
        ("2.5.2", "2.7.1", "", "warning", "it cannot set learning rates with it"),
        ("2.5.2", "2.6.0", "", None, ""),
        ("2.6.0", "2.7.0", "Requires-Dist: torch\n", None, ""),
    ],
)
def test_versions_of_torch(workspace: Path, nnunet: str, torch: str, asks: str, severity: str | None, why: str) -> None:
    site = workspace / "site"
    for folder in site.glob("*.dist-info"):
        (folder / "METADATA").unlink()
        folder.rmdir()
    noted(site, "nnunetv2", nnunet, asks)
    noted(site, "torch", torch)
    numbers = torch.partition("+")[0]
    expected = [("PG804", severity, f"nnunetv2 {nnunet} and torch {numbers} do not go together: {why}")]
    assert findings() == (expected if severity else [])


@pytest.mark.parametrize(
    ("version", "asked", "fulfilled"),
    [
        ((2, 8), "==2.8", True),
        ((2, 8, 0), "==2.8", True),
        ((2, 8, 1), "==2.8", False),
        ((2, 8, 1), "==2.8.*", True),
        ((2, 10, 0), "<2.10", False),
        ((2, 10, 0), "<=2.10, >2.9", True),
        ((2, 9), "~=2.8", True),
        ((3, 0), "~=2.8", False),
        ((2, 8, 5), "~=2.8.1", True),
        ((2, 9, 0), "~=2.8.1", False),
        ((1,), "===odd", True),
    ],
)
def test_specifiers(version: tuple[int, ...], asked: str, fulfilled: bool) -> None:
    assert packages.fulfils(version, asked) is fulfilled


def test_network_classes(workspace: Path) -> None:
    architectures = workspace / "site/dynamic_network_architectures"
    write(architectures, {"__init__.py": "", "architectures/__init__.py": "", "architectures/unet.py": ""})
    noted(workspace / "site", "dynamic_network_architectures", "0.4.2")
    found = only()
    assert (found.code, found.severity.value) == ("PG805", "error")
    assert found.location.pointer == "/configurations/3d_fullres/architecture/network_class_name"
    assert found.message == "no installed package has the network class PlainConvUNet"
    write(architectures, {"architectures/moved.py": "class PlainConvUNet:\n    pass\n"})
    assert findings() == []
    write(architectures, {"architectures/moved.py": "", "architectures/unet.py": "from torch import PlainConvUNet\n"})
    assert findings() == []
    for other, expected in (("my_nets.models.Net", "PG805"), ("torch.nn.Module", None), ("Net", "PG805")):
        put(PLANS, "/configurations/3d_fullres/architecture/network_class_name", other)(workspace, CT)
        assert [one[0] for one in findings()] == ([expected] if expected else [])


def test_steps_need_a_new_nnunet(workspace: Path) -> None:
    site = workspace / "site"
    (site / "nnunetv2-2.8.1.dist-info").rename(site / "nnunetv2-2.7.0.dist-info")
    write(site, {"nnunetv2-2.7.0.dist-info/METADATA": "Name: nnunetv2\nVersion: 2.7.0\n"})
    assert findings() == []
    assert findings("-tr", "nnUNetTrainer_50steps") == [
        ("PG806", "error", "nnUNetTrainer_50steps needs nnunetv2 2.8; 2.7.0 is installed")
    ]

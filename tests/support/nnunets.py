"""A small imitation of nnU-Net's sources, for tests of code that reads them."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.support.variants import Edit

HEAD = "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n\n"
_MIRRORING = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"
_TREE = {
    "__init__.py": "",
    "utilities/__init__.py": "",
    "utilities/find_objects.py": "def recursive_find_trainer_class_by_name(name):\n    'nnUNet_extTrainer'\n",
    "training/__init__.py": "",
    "training/nnUNetTrainer/__init__.py": "",
    "training/nnUNetTrainer/nnUNetTrainer.py": f"""
import torch


class nnUNetTrainer(object):
    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device=torch.device("cuda")):
        self.initial_lr = 1e-2
        self.num_iterations_per_epoch = 250
        self.num_epochs = 1000

    @staticmethod
    def build_network_architecture(plans_manager, configuration_manager, num_input_channels, num_output_channels,
                                   enable_deep_supervision=True):
        pass

    def {_MIRRORING}(self):
        if len(self.patch_size) == 2:
            mirror_axes = (0, 1)
        else:
            mirror_axes = (0, 1, 2)
        return 1, False, self.patch_size, mirror_axes

    def get_dataloaders(self):
        pass

    @staticmethod
    def get_training_transforms(mirror_axes):
        return MirrorTransform(mirror_axes)
""",
    "training/nnUNetTrainer/variants/__init__.py": "",
    "training/nnUNetTrainer/variants/more.py": f"""{HEAD}class nnUNetTrainer_5epochs(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=None):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 5


class nnUNetTrainerNoMirroring(nnUNetTrainer):
    def {_MIRRORING}(self):
        rotation, dummy, patch_size, mirror_axes = super().{_MIRRORING}()
        mirror_axes = None
        return rotation, dummy, patch_size, mirror_axes
""",
}


def installed(*, package: bool = True, **versions: str) -> Edit:
    """Write this nnU-Net, and what pip notes of these packages, into the workspace's folder site."""

    def edit(workspace: Path, dataset: str) -> None:
        if package:
            write(workspace / "site/nnunetv2", _TREE)
            write(workspace / "site/torch", {"__init__.py": ""})
        for name, version in versions.items():
            noted(workspace / "site", name, version)

    return edit


def install(site: Path, monkeypatch: pytest.MonkeyPatch, **versions: str) -> Path:
    """Install this nnU-Net and the metadata of these packages, before all others on the path."""
    write(site / "nnunetv2", _TREE)
    write(site / "torch", {"__init__.py": ""})
    for name, version in versions.items():
        noted(site, name, version)
    monkeypatch.syspath_prepend(str(site))
    return site


def noted(site: Path, name: str, version: str, more: str = "") -> Path:
    """Write the metadata of an installed package, in place of those of another version."""
    for older in site.glob(f"{name}-*.dist-info"):
        shutil.rmtree(older)
    folder = site / f"{name}-{version}.dist-info"
    write(folder, {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"})
    return folder


def note_files(site: Path, *names: str) -> None:
    """Write the RECORD of nnunetv2 2.8.1, with the digests of these files."""
    lines = []
    for name in names:
        digest = base64.urlsafe_b64encode(hashlib.sha256((site / name).read_bytes()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{(site / name).stat().st_size}\n")
    (site / "nnunetv2-2.8.1.dist-info/RECORD").write_text("".join(lines))


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files by their path in the folder, and remove older bytecode."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path)

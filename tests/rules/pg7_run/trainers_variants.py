"""PG701 to PG707: trainers, beside an nnU-Net in a few lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.rules.pg7_run.trainings import FULLRES, PLANS, READY, TRAIN
from tests.support.nnunets import HEAD, installed, note_files
from tests.support.variants import Edit, Variant, finding, written
from tests.support.weights import WITH, weights

CT = "Dataset002_FinetuneCT"
VARIABLE = "nnUNet_extTrainer"
STOCK = "nnunetv2/training/nnUNetTrainer/nnUNetTrainer.py"
MINE = f"{HEAD}class Mine(nnUNetTrainer):\n    pass\n"
INIT = "    def __init__(self, plans, configuration, fold, dataset_json, device=None{}):\n        pass\n"
NETWORK = (
    "    @staticmethod\n    def build_network_architecture(plans_manager, configuration_manager, a, b, "
    "enable_deep_supervision):\n        pass\n"
)
INSTALLED = (*READY, installed(nnunetv2="2.8.1", torch="2.8.0"))
TRAIN_MINE = (*TRAIN, "-tr", "Mine")
SLOWLY = "Mine_500steps_lr1en3"


def folders(*names: str) -> Callable[[Path], Mapping[str, str]]:
    """Let the variable for folders of trainers name these folders of the workspace."""
    return lambda workspace: {VARIABLE: os.pathsep.join(str(workspace / name) for name in names)}


def mine(text: str = MINE, file: str = "mine.py") -> Edit:
    """Write a module into the folder of trainers."""
    return written(f"mine/{file}", text)


def about_mine(
    name: str, expect: frozenset[tuple[str, str, str]], *edits: Edit, twin: tuple[Edit, ...] = (mine(),)
) -> Variant:
    """A training by Mine, which is in a folder of trainers."""
    return Variant(
        name,
        CT,
        (*INSTALLED, *edits),
        expect,
        (*INSTALLED, *twin),
        training=TRAIN_MINE,
        site=True,
        environment=folders("mine"),
    )


def edited_after_installation(workspace: Path, dataset: str) -> None:
    """Change nnU-Net's own trainer after pip has noted its digest."""
    note_files(workspace / "site", STOCK)
    path = workspace / "site" / STOCK
    path.write_text(path.read_text() + "\n# mine\n")


def as_installed(workspace: Path, dataset: str) -> None:
    """Let pip note the digest of nnU-Net's own trainer."""
    note_files(workspace / "site", STOCK)


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "trainer-misspelt",
        CT,
        INSTALLED,
        finding("PG701", PLANS, FULLRES),
        INSTALLED,
        training=(*TRAIN, "-tr", "nnUNetTrainerNoMirorring"),
        twin_training=(*TRAIN, "-tr", "nnUNetTrainerNoMirroring"),
        site=True,
    ),
    about_mine(
        "trainer-in-a-folder-that-is-no-package",
        finding("PG701", PLANS, FULLRES),
        mine(file="variants/mine.py"),
        twin=(mine(file="variants/mine.py"), mine("", "variants/__init__.py")),
    ),
    about_mine("trainer-from-nothing", finding("PG702", "mine/mine.py"), mine("class Mine:\n    pass\n")),
    about_mine(
        "trainer-with-a-parameter-of-its-own",
        finding("PG703", "mine/mine.py"),
        mine(MINE.replace("    pass\n", INIT.format(", steps=5"))),
        twin=(mine(MINE.replace("    pass\n", INIT.format(""))),),
    ),
    Variant(
        "trainer-edited-where-it-is-installed",
        CT,
        (*INSTALLED, edited_after_installation),
        finding("PG704", f"site/{STOCK}"),
        (*INSTALLED, as_installed),
        training=TRAIN,
        site=True,
    ),
    about_mine(
        "trainer-behind-a-module-that-fails",
        finding("PG705", "mine/a.py"),
        mine("import os\nimport mamba_ssm\n", "a.py"),
        mine(),
        twin=(mine("import os\n", "a.py"), mine()),
    ),
    Variant(
        "trainer-with-a-network-of-its-own",
        CT,
        (*INSTALLED, weights(), mine(MINE.replace("    pass\n", NETWORK))),
        finding("PG707", "mine/mine.py"),
        (*INSTALLED, mine(MINE.replace("    pass\n", NETWORK))),
        training=(*TRAIN, "-tr", SLOWLY, *WITH),
        twin_training=(*TRAIN, "-tr", SLOWLY),
        site=True,
        environment=folders("mine"),
    ),
)

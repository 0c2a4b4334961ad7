"""Trainers' classes read from their sources: base classes, constants, mirroring, signatures."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.nnunet import constants as facts
from plansguard.nnunet.install.trainer_class import AUGMENTATION as MIRRORING
from plansguard.nnunet.install.trainer_search import find_trainer
from plansguard.nnunet.install.trainer_signature import problems_of
from tests.support.nnunets import HEAD, write


@pytest.mark.nnunet
def test_constants_of_nnunets_trainers() -> None:
    expected = {
        "nnUNetTrainer": (1000, 250, 50, 0.01),
        "nnUNetTrainer_5epochs": (5, 250, 50, 0.01),
        "nnUNetTrainer_onlyMirror01_1500ep": (1500, 250, 50, 0.01),
        "nnUNetTrainerAdam3en4": (1000, 250, 50, 3e-4),
        "nnUNet_Primus_M_Trainer_BS8_2e4": (1000, 250, 50, 2e-4),
    }
    names = ("num_epochs", "num_iterations_per_epoch", "save_every", "initial_lr")
    for name, constants in expected.items():
        found = find_trainer(name, environment={})
        assert found is not None
        assert tuple(map(found.attribute, names)) == constants
    for name in facts.STOCK_TRAINERS:
        found = find_trainer(name, environment={})
        assert found is not None
        assert found.attribute("num_epochs") == facts.planned_epochs(name)


@pytest.fixture
def mine(site: Path, folder: Path) -> Callable[[str], Any]:
    """A function that reads the class Mine with this body."""

    def read(body: str, before: str = "", bases: str = "nnUNetTrainer") -> Any:
        text = textwrap.indent(textwrap.dedent(body), "    ")
        write(folder, {"mine.py": f"{HEAD}{textwrap.dedent(before)}\nclass Mine({bases}):\n{text or '    pass'}\n"})
        found = find_trainer("Mine")
        assert found is not None
        return found

    return read


INIT = "def __init__(self, plans, configuration, fold, dataset_json, device=None):\n"
SUPER = "    super().__init__(plans, configuration, fold, dataset_json, device)\n"


@pytest.mark.parametrize(
    ("body", "epochs"),
    [
        ("x = 1", 1000),
        (f"{INIT}{SUPER}    self.num_epochs = 7", 7),
        (f"{INIT}    self.num_epochs = 7\n{SUPER}", 1000),
        (f"{INIT}{SUPER}    self.num_epochs: int = 7", 7),
        (f"{INIT}{SUPER}    a = self.num_epochs = 7", 7),
        (f"{INIT}    nnUNetTrainer.__init__(self, plans, configuration, fold, dataset_json)\n", 1000),
        (f"{INIT}{SUPER}    self.num_epochs = 7\n    self.num_epochs = 8", 8),
        (f"{INIT}{SUPER}    self.num_epochs = int(os.environ['N'])", None),
        (f"{INIT}{SUPER}    if fold == 0:\n        self.num_epochs = 7", None),
        (f"{INIT}{SUPER}    self.num_epochs *= 2", None),
        (f"{INIT}{SUPER}    self.a, self.num_epochs = 1, 2", None),
        (f"{INIT}{SUPER}    self.num_epochs = 7\ndef initialize(self):\n    self.num_epochs = 3", None),
        ("def __init__(self):\n    pass", None),
    ],
)
def test_constants(mine: Callable[..., Any], body: str, epochs: int | None) -> None:
    assert mine(body).attribute("num_epochs") == epochs


def test_constants_of_base_classes(mine: Callable[..., Any]) -> None:
    middle = f"class Middle(nnUNetTrainer):\n    {INIT}    {SUPER}        self.num_epochs = 7\n\n"
    assert mine("x = 1", middle, "Middle").attribute("num_epochs") == 7
    assert mine(f"{INIT}{SUPER}    self.initial_lr = 1e-4", middle, "Middle").attribute("num_epochs") == 7
    assert mine(f"{INIT}    self.num_epochs = 8\n{SUPER}", middle, "Middle").attribute("num_epochs") == 7


AUGMENTATION = f"def {MIRRORING}(self):\n"


@pytest.mark.parametrize(
    ("body", "mirrors"),
    [
        ("x = 1", True),
        (f"{AUGMENTATION}    a, b, c, axes = super().{MIRRORING}()\n    axes = None\n    return a, b, c, axes", False),
        (f"{AUGMENTATION}    a, b, c, axes = super().{MIRRORING}()\n    return a, b, c, axes", True),
        (f"{AUGMENTATION}    a, b, c, _ = super().{MIRRORING}()\n    return a, b, c, ()", False),
        (f"{AUGMENTATION}    return super().{MIRRORING}()", True),
        (f"{AUGMENTATION}    axes = (0,)\n    if self.x:\n        axes = None\n    return 1, 2, 3, axes", None),
        (f"{AUGMENTATION}    axes = (0,)\n    if self.x:\n        axes = (1,)\n    return 1, 2, 3, axes", True),
        (f"{AUGMENTATION}    return self.x", None),
        (f"{AUGMENTATION}    return 1, 2, 3, self.axes", None),
        ("def get_training_transforms(*args):\n    return make(args)", None),
        ("def get_training_transforms(*args):\n    return nnUNetTrainer.get_training_transforms(*args)", True),
        ("def get_dataloaders(self):\n    return 1, 2", None),
    ],
)
def test_mirroring(mine: Callable[..., Any], body: str, mirrors: bool | None) -> None:
    assert mine(body).mirrors is mirrors


def test_unknown_base_classes(mine: Callable[..., Any]) -> None:
    assert mine("x = 1", "from torch import nn", "nn.Module").is_trainer is False
    assert mine("x = 1", "from torch import nn", "nn.Module, nnUNetTrainer").is_trainer is True
    assert mine("x = 1", "", "make()").is_trainer is None
    assert mine("x = 1", "", "make(), nnUNetTrainer").is_trainer is True
    assert mine("x = 1", "", "object, metaclass=type").is_trainer is False
    assert mine("x = 1", "from torch import nn", "nn.Module").mirrors is None


NEW = "plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True"
OLD = "class_name, kwargs, imports, num_input_channels, num_output_channels, enable_deep_supervision=True"
OLDEST = "plans_manager, dataset_json, configuration_manager, num_input_channels, enable_deep_supervision=True"
NETWORK = "@staticmethod\ndef build_network_architecture({}):\n    return None"
PARAMETERS = "def __init__(self, plans, configuration, fold, dataset_json, {}):\n    super().__init__({})"
FIVE = "plans, configuration, fold, dataset_json, device"


@pytest.mark.parametrize(
    ("body", "problem", "below_steps"),
    [
        (PARAMETERS.format("device=None", FIVE), None, False),
        (PARAMETERS.format("device=None", "plans, configuration, fold, dataset_json, device=device"), None, False),
        (PARAMETERS.format("device=None", "*args"), None, False),
        (
            PARAMETERS.format("unpack_dataset=True, device=None", FIVE),
            "__init__ has a parameter unpack_dataset, which nnU-Net removed in 2.6: nnU-Net's own has none of that "
            "name (KeyError: 'unpack_dataset')",
            True,
        ),
        (
            PARAMETERS.format(
                "unpack_dataset=True, device=None", "plans, configuration, fold, dataset_json, unpack_dataset, device"
            ),
            "__init__ has a parameter unpack_dataset, which nnU-Net removed in 2.6: nnU-Net's own has none of that "
            "name (TypeError)",
            True,
        ),
        (
            PARAMETERS.format("device=None, steps=5", FIVE),
            "__init__ has a parameter steps: nnU-Net's own has none of that name (KeyError: 'steps')",
            False,
        ),
        (
            "def __init__(self, *args, **kwargs):\n    super().__init__(*args, **kwargs)",
            "__init__ has a parameter args: nnU-Net's own has none of that name (KeyError: 'args')",
            True,
        ),
        (
            "def __init__(self, plans, configuration, fold, dataset_json):\n    pass",
            "__init__ has no parameter device, which nnU-Net passes (TypeError)",
            True,
        ),
        (
            PARAMETERS.format("device=None", f"{FIVE}, True"),
            "super().__init__ takes 5 arguments, and is given 6 (TypeError)",
            True,
        ),
        (
            PARAMETERS.format("device=None", "plans, configuration, fold"),
            "super().__init__ is not given dataset_json (TypeError)",
            True,
        ),
        (
            PARAMETERS.format("device=None", f"{FIVE}, unpack_dataset=True"),
            "super().__init__ has no parameter unpack_dataset (TypeError)",
            True,
        ),
        (NETWORK.format(NEW), None, False),
        (NETWORK.format(OLD), None, False),
        (NETWORK.format("*args, **kwargs"), None, False),
        (
            NETWORK.format(OLDEST),
            "build_network_architecture wants dataset_json where nnU-Net passes configuration_manager "
            "(the network cannot be built)",
            True,
        ),
        (
            NETWORK.format("plans_manager, configuration_manager"),
            "build_network_architecture takes 2 arguments, and is given 5 (the network cannot be built)",
            True,
        ),
        (
            NETWORK.format(NEW).replace("@staticmethod\n", "").replace("(plans", "(self, plans"),
            "build_network_architecture is no staticmethod (nnUNetv2_predict fails with TypeError)",
            True,
        ),
        (
            NETWORK.format(NEW.replace("enable_deep_supervision", "deep")),
            "build_network_architecture has no parameter enable_deep_supervision "
            "(nnUNetv2_predict fails with TypeError)",
            True,
        ),
    ],
)
def test_signatures(mine: Callable[..., Any], body: str, problem: str | None, below_steps: bool) -> None:
    trainer = mine(body)
    found = [f"{one.what} ({one.then})" for one in problems_of(trainer)]
    assert found == ([problem] if problem else [])
    assert bool(list(problems_of(trainer, below_steps=True))) is below_steps


@pytest.mark.nnunet
@pytest.mark.slow
def test_constructors_fail_as_reported(tmp_path: Path) -> None:
    """The bodies of test_signatures, as trainers of the real nnU-Net."""
    cases = next(mark.args[1] for mark in test_signatures.pytestmark)
    constructors = [(body, problem) for body, problem, _ in cases if "__init__" in body and "*args" not in body[-8:]]
    code = """
        import json, sys, torch
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        workspace = {}
        for body in json.loads(sys.stdin.read()):
            names = {"nnUNetTrainer": nnUNetTrainer}
            exec("class Mine(nnUNetTrainer):\\n" + body, names)
            try:
                names["Mine"](plans={"continue_training": False}, configuration="2d", fold=0, dataset_json={},
                              device=torch.device("cpu"))
            except Exception as error:
                print(json.dumps([type(error).__name__, str(error)]))
    """
    bodies = [textwrap.indent(body, "    ") for body, _ in constructors]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        input=json.dumps(bodies),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    for (body, problem), (error, text) in zip(constructors, lines, strict=True):
        # without a problem the constructor continues and reads the plans, which are empty
        expected = "KeyError: 'configurations'" if problem is None else problem.rpartition("(")[2].rstrip(")")
        assert f"{error}: {text}".startswith(expected), body

"""Trainers read from their sources: the class that nnU-Net itself would come upon, or what stops it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plansguard.nnunet import constants as facts
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.install.trainer_folder import VARIABLE
from plansguard.nnunet.install.trainer_search import all_names, find_trainer, search, stray
from plansguard.nnunet.install.trainer_signature import problems_of
from tests.support.nnunets import HEAD, install, write

STOCK = "nnUNetTrainer"
MIRRORING = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nnU-Net that stands in front of any other."""
    monkeypatch.delenv(VARIABLE, raising=False)
    return install(tmp_path / "site", monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that nnUNet_extTrainer names."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    return tmp_path / "mine"


# ---------------------------------------------------------------------------------------------------------------------
# The real nnU-Net
# ---------------------------------------------------------------------------------------------------------------------

MINE = f"{HEAD}class Mine(nnUNetTrainer):\n    pass\n"
IMPORTED = "from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5"

#: What a folder holds -> whether nnU-Net finds Mine there, fails, or says that there is none.
FOLDERS: dict[str, dict[str, str]] = {
    "plain": {"mine.py": MINE},
    "imported under the name": {"mine.py": f"{IMPORTED} as Mine\n"},
    "imported from a neighbour": {"a.py": "from z import Mine\n", "z.py": MINE},
    "the first of two": {"b.py": MINE, "a.py": f"{HEAD}class Mine(nnUNetTrainer):\n    num = 2\n"},
    "a module before a package": {"a/__init__.py": "", "a/mine.py": "Mine = 1\n", "mine.py": MINE},
    "in a package": {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/mine.py": MINE},
    "beside its neighbour in a package": {
        "a/__init__.py": "",
        "a/mine.py": "from .base import Base\n\n\nclass Mine(Base):\n    pass\n",
        "a/base.py": f"{HEAD}class Base(nnUNetTrainer):\n    pass\n",
    },
    "in __init__ alone": {"a/__init__.py": MINE, "a/other.py": ""},
    "without __init__": {"a/mine.py": MINE},
    "an alias": {"mine.py": f"{HEAD}class Other(nnUNetTrainer):\n    pass\n\n\nMine = Other\n"},
    "of all names": {"a.py": "from other import *\n", "other.py": MINE},
    "behind a try": {"mine.py": f"try:\n    import not_there\nexcept ImportError:\n    not_there = None\n{MINE}"},
    "for type checkers": {
        "mine.py": f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import not_there\n{MINE}"
    },
    "no subclass": {"mine.py": "class Mine:\n    pass\n"},
    "a copy of nnUNetTrainer": {
        "base.py": "class nnUNetTrainer:\n    pass\n",
        "mine.py": "from base import nnUNetTrainer\n\n\nclass Mine(nnUNetTrainer):\n    pass\n",
    },
    "two bases": {"mine.py": f"{HEAD}class Mixin:\n    pass\n\n\nclass Mine(Mixin, nnUNetTrainer):\n    pass\n"},
    "the same name below": {
        "mine.py": f"{HEAD}class Mine(nnUNetTrainer):\n    pass\n\n\nclass Mine(Mine):\n    pass\n"
    },
    "through a module": {
        "mine.py": "import nnunetv2.training.nnUNetTrainer.nnUNetTrainer as there\n\n\n"
        "class Mine(there.nnUNetTrainer):\n    pass\n"
    },
    "a broken neighbour before": {"a.py": "def broken(:\n", "mine.py": MINE},
    "a broken neighbour behind": {"mine.py": MINE, "z.py": "def broken(:\n"},
    "a neighbour's package is missing": {"a.py": "import not_there.at_all\n", "mine.py": MINE},
    "its own package is missing": {"mine.py": f"from not_there import something\n{MINE}"},
    "a neighbour of a neighbour": {"a.py": "from helpers.deep import x\n", "helpers/deep.py": "import not_there\n"},
    "a package's __init__": {"a/__init__.py": "import not_there\n", "a/mine.py": MINE},
    "a folder that is a package": {"__init__.py": "", "base.py": "", "mine.py": f"from .base import x\n{MINE}"},
    "gone from nnU-Net": {
        "mine.py": f"from nnunetv2.training.dataloading.utils import unpack_dataset_that_was\n{MINE}"
    },
    "a module gone from nnU-Net": {"mine.py": f"from nnunetv2.training.was_here import x\n{MINE}"},
    "nul bytes": {"mine.py": f"{MINE}\0"},
    "not there": {"other.py": HEAD},
    "empty": {},
    "a module of Python's": {"json.py": MINE},
}


def verdict_of_nnunet(folders: list[Path]) -> list[dict[str, Any]]:
    """What the real search says of Mine, one folder after the other."""
    code = """
        import contextlib, io, json, os, sys
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        for folder in sys.argv[1:]:
            os.environ["nnUNet_extTrainer"] = folder
            said = {"found": None, "error": None}
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    found = find("Mine")
                    lineage = [one.__name__ for one in found.__mro__ if one is not object]
                    said["found"] = [found.__name__, found.__module__, lineage]
                except BaseException as error:
                    said["error"] = [type(error).__name__, str(error)]
            print(json.dumps(said))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, folders)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.nnunet
@pytest.mark.slow
def test_the_same_class_as_nnunet_finds(tmp_path: Path) -> None:
    folders = []
    for name, files in FOLDERS.items():
        folders.append(tmp_path / name)
        write(tmp_path / name, files)
    verdicts = dict(zip(FOLDERS, verdict_of_nnunet(folders), strict=True))
    for (name, verdict), folder in zip(verdicts.items(), folders, strict=True):
        result = search("Mine", environment={VARIABLE: str(folder)})
        ours: Any = {"found": None, "error": None}
        if result.found is not None and result.found.is_trainer is not False:
            found = result.found
            ours["found"] = [found.name, found.module, [one.name for one in found.mro]]
        else:
            error, text = verdict["error"]
            ours["error"] = [error, text]
            is_kind = {
                "AssertionError": result.found is not None and result.found.is_trainer is False,
                "RuntimeError": result.is_lost,
            }.get(error, result.fault is not None)
            assert is_kind, (name, error, text, result)
        assert ours == verdict, name
    told = {verdict["error"] and verdict["error"][0] for verdict in verdicts.values()} - {"ValueError"}
    assert told == {None, "AssertionError", "RuntimeError", "ModuleNotFoundError", "ImportError", "SyntaxError"}


@cache
def stock() -> dict[str, Any]:
    """Of every class that nnU-Net's own search finds under a name of all_names: what it is once it is imported."""
    code = f"""
        import inspect, json, sys, types
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        said = {{}}
        for name in sys.argv[1:]:
            one = find(name)
            mirrors = set()
            for patch in ((64, 64), (64, 64, 64)):
                trainer = one.__new__(one)
                trainer.local_rank = 1
                trainer.configuration_manager = types.SimpleNamespace(patch_size=patch)
                mirrors.add(bool(trainer.{MIRRORING}()[-1]))
            said[name] = {{
                "file": inspect.getsourcefile(one),
                "line": inspect.getsourcelines(one)[1],
                "lineage": [base.__name__ for base in one.__mro__ if base is not object],
                "mirrors": mirrors.pop() if len(mirrors) == 1 else None,
                "own_network": one.build_network_architecture is not nnUNetTrainer.build_network_architecture,
            }}
        print(json.dumps(said))
    """
    names = sorted(all_names({}))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *names], capture_output=True, encoding="utf-8", check=True
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.nnunet
@pytest.mark.slow
def test_every_stock_trainer_is_read_as_it_is() -> None:
    ours = {}
    for name in all_names({}):
        found = find_trainer(name, environment={})
        assert found is not None
        assert found.is_trainer is True
        assert list(problems_of(found)) == []
        ours[name] = {
            "file": str(found.path),
            "line": found.line,
            "lineage": [one.name for one in found.mro],
            "mirrors": found.mirrors,
            "own_network": found.own_network,
        }
        gc.collect()
    assert ours == stock()
    assert set(ours) >= facts.STOCK_TRAINERS
    assert {name for name in facts.STOCK_TRAINERS if ours[name]["own_network"]} == facts.TRAINERS_WITH_OWN_NETWORK


@pytest.mark.nnunet
def test_constants_are_those_that_trainers_have() -> None:
    told = {
        "nnUNetTrainer": (1000, 250, 50, 0.01),
        "nnUNetTrainer_5epochs": (5, 250, 50, 0.01),
        "nnUNetTrainer_onlyMirror01_1500ep": (1500, 250, 50, 0.01),
        "nnUNetTrainerAdam3en4": (1000, 250, 50, 3e-4),
        "nnUNet_Primus_M_Trainer_BS8_2e4": (1000, 250, 50, 2e-4),
    }
    names = ("num_epochs", "num_iterations_per_epoch", "save_every", "initial_lr")
    for name, constants in told.items():
        found = find_trainer(name, environment={})
        assert found is not None
        assert tuple(map(found.attribute, names)) == constants
    for name in facts.STOCK_TRAINERS:
        found = find_trainer(name, environment={})
        assert found is not None
        assert found.attribute("num_epochs") == facts.planned_epochs(name)


# ---------------------------------------------------------------------------------------------------------------------
# The search
# ---------------------------------------------------------------------------------------------------------------------


def test_its_own_come_first(site: Path, folder: Path) -> None:
    write(folder, {"mine.py": f"{HEAD}class nnUNetTrainer_5epochs(nnUNetTrainer):\n    pass\n{MINE}"})
    found = find_trainer("nnUNetTrainer_5epochs")
    assert found is not None
    assert site in found.path.parents
    mine = find_trainer("Mine")
    assert mine is not None
    assert (mine.path, mine.line, mine.bases) == (folder / "mine.py", 9, ("nnUNetTrainer",))
    assert [one.name for one in mine.mro] == ["Mine", "nnUNetTrainer"]
    assert all_names() == {"nnUNetTrainer", "nnUNetTrainerNoMirroring", "nnUNetTrainer_5epochs", "Mine"}


def test_folders_in_their_order(site: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, {"mine.py": MINE})
    named = ["", str(tmp_path / "gone"), " ", str(tmp_path / "two"), str(tmp_path / "one"), str(tmp_path / "too")]
    result = search("Mine", environment={VARIABLE: os.pathsep.join(named)})
    assert result.found is not None
    assert result.found.path.parent == tmp_path / "two"
    assert result.missing == (str(tmp_path / "gone"),)


def test_a_tilde_is_a_name(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / "trainers", {"mine.py": MINE})
    result = search("Mine", environment={VARIABLE: "~/trainers"})
    assert result.is_lost
    assert result.missing == ("~/trainers",)


def test_without_nnunet_nothing_is_judged(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    write(folder, {"mine.py": "import not_there\n\n\nclass Mine:\n    pass\n"})
    result = search("Mine")
    assert not result.installed
    assert not result.is_lost
    assert (result.found, result.fault) == (None, None)
    assert all_names() == {"Mine"}


def test_older_ones_do_not_look_into_folders(site: Path, folder: Path) -> None:
    (site / "nnunetv2/utilities/find_objects.py").unlink()
    write(folder, {"mine.py": MINE})
    assert search("Mine").is_lost
    assert not search("Mine").reads_variable
    assert "Mine" not in all_names()


@pytest.mark.parametrize(
    ("source", "line", "what"),
    [
        ("x = 1\ndef broken(:\n", 2, "it is no valid Python (invalid syntax)"),
        ("import os\nimport not_there\n", 2, "it imports not_there, which is not installed"),
        ("import os, not_there.deep as deep\n", 1, "it imports not_there.deep, which is not installed"),
        ("from nnunetv2.gone import x\n", 1, "it imports nnunetv2.gone, which nnunetv2 does not have"),
        (
            "from nnunetv2.utilities.find_objects import gone\n",
            1,
            "it imports gone, which nnunetv2.utilities.find_objects does not have",
        ),
        ("from .base import x\n", 1, "`from .base import` leads out of every package"),
        ("from . import base\n", 1, "`from . import` leads out of every package"),
    ],
)
def test_what_ends_the_search(site: Path, folder: Path, source: str, line: int, what: str) -> None:
    write(folder, {"__init__.py": "", "a.py": source, "base.py": "x = 1\n", "mine.py": MINE})
    fault = search("Mine").fault
    assert fault is not None
    assert fault == (folder / "a.py", line, what)
    assert find_trainer("Mine") is None
    assert find_trainer(STOCK) is not None  # which comes before


def test_a_neighbour_in_nnunets_own_folder_ends_the_search(site: Path) -> None:
    variants = site / "nnunetv2/training/nnUNetTrainer/variants"
    write(variants, {"a.py": "import mamba_ssm\n", "b.py": f"{HEAD}class Mine(nnUNetTrainer):\n    pass\n"})
    fault = search("Mine").fault
    assert fault == (variants / "a.py", 1, "it imports mamba_ssm, which is not installed")
    write(variants, {"a.py": '"""Not an import:\nimport mamba_ssm\n"""\n'})
    assert find_trainer("Mine") is not None
    write(variants, {"a.py": "class Broken(:\n"})
    assert search("Mine").fault is not None


@pytest.mark.parametrize(
    "source",
    [
        "Mine = make()\n",
        "def Mine():\n    pass\n",
        "for Mine in range(3):\n    Mine = type(Mine)\n",
        "def __getattr__(name):\n    return object\n",
        "from torch import nn as Mine\n",
        "Mine, Other = make()\n",
    ],
)
def test_what_cannot_be_read_is_not_called_missing(site: Path, folder: Path, source: str) -> None:
    write(folder, {"mine.py": source, "z.py": MINE})
    result = search("Mine")
    assert result.hidden == folder / "mine.py"
    assert not result.is_lost
    assert result.found is None


def test_names_with_steps_are_found_in_our_folder(site: Path, folder: Path) -> None:
    write(folder, {"mine.py": MINE})
    assert search("nnUNetTrainer_50000steps").is_lost
    both = {VARIABLE: os.pathsep.join([str(EXTENSION), str(folder)])}
    assert search("nnUNetTrainer_50000steps", environment=both).hidden == EXTENSION / "plansguard_steps.py"
    assert search("Mine", environment=both).found is not None
    assert search("nnUNetTrainer_50000", environment=both).is_lost


def test_a_class_where_nnunet_does_not_come_by(site: Path, folder: Path) -> None:
    write(folder, {"variants/mine.py": MINE, "other.py": "class MineToo:\n    pass\n"})
    assert search("Mine").is_lost
    assert stray("Mine") == folder / "variants/mine.py"
    assert stray("Yours") is None


def test_a_folder_of_everything_is_not_read_to_its_end(
    site: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plansguard.nnunet.install.trainer_search._MOST", 5)
    write(folder, {f"module_{number}.py": f"class C{number}:\n    pass\n" for number in range(9)})
    assert find_trainer("C4") is not None
    assert not search("C5").is_lost
    assert {name for name in all_names() if name.startswith("C")} == {f"C{number}" for number in range(5)}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_folders_that_hold_themselves(site: Path, folder: Path) -> None:
    """Two links back: nnU-Net would go round in them until it runs out of something."""
    write(folder, {"a/__init__.py": "", "mine.py": MINE})
    for name in ("b", "c"):
        (folder / "a" / name).symlink_to(folder / "a")
    assert find_trainer("Mine") is not None
    assert not search("Yours").is_lost
    assert stray("Yours") is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="here every folder may be read")
def test_folders_that_may_not_be_read(site: Path, folder: Path) -> None:
    write(folder, {"closed/mine.py": MINE})
    (folder / "closed").chmod(0)
    try:
        assert search("Mine").is_lost
        assert stray("Mine") is None
    finally:
        (folder / "closed").chmod(0o755)


def test_the_root_of_everything(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With /proc below it, whose folders come and go and may not be read."""
    monkeypatch.setenv(VARIABLE, Path.cwd().anchor)
    assert stray("NoTrainerOfAnybody") is None


@pytest.mark.parametrize("name", ["", "a.b", "Mine(", "*", "\udc80", "Mine\n", "\u00e9"])
def test_names_that_are_none(site: Path, folder: Path, name: str) -> None:
    write(folder, {"mine.py": MINE})
    assert search(name).is_lost
    assert stray(name) is None


def test_sources_are_read_and_not_run(site: Path, folder: Path) -> None:
    write(folder, {"mine.py": f"raise SystemExit\n{MINE}    raise SystemExit\n"})
    assert find_trainer("Mine") is not None
    assert "mine" not in sys.modules


def test_hostile_sources(site: Path, folder: Path) -> None:
    write(folder, {"a.py": "x = " + "(" * 5000 + ")" * 5000 + "\n", "mine.py": MINE})
    assert search("Mine").fault is not None
    write(folder, {"a.py": "from b import *\n", "b.py": "from a import *\n"})
    assert find_trainer("Mine") is not None
    write(folder, {"a.py": "from b import Mine\n", "b.py": "from a import Mine\n"})
    assert search("Mine").hidden == folder / "a.py"
    write(folder, {"a.py": "import b\n\n\nclass Mine(b.B):\n    pass\n", "b.py": "from a import Mine\nB = Mine\n"})
    found = find_trainer("Mine")
    assert found is not None
    assert found.is_trainer is None


# ---------------------------------------------------------------------------------------------------------------------
# What a class says
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(site: Path, folder: Path) -> Callable[[str], Any]:
    """The class Mine with this body."""

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


def test_constants_of_ancestors(mine: Callable[..., Any]) -> None:
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


def test_ancestors_that_cannot_be_told(mine: Callable[..., Any]) -> None:
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
def test_signatures_fail_as_told(tmp_path: Path) -> None:
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
        # without a problem it goes on to read the plans, which are none
        told = "KeyError: 'configurations'" if problem is None else problem.rpartition("(")[2].rstrip(")")
        assert f"{error}: {text}".startswith(told), body


# ---------------------------------------------------------------------------------------------------------------------
# Sources that nobody would write
# ---------------------------------------------------------------------------------------------------------------------

_CLASS = "class Mine(nnUNetTrainer):\n    pass\n"
ENDLESS: dict[str, str] = {
    "ancestors": "class C0(nnUNetTrainer): pass\n"
    + "".join(f"class C{one + 1}(C{one}): pass\n" for one in range(2000))
    + "class Mine(C2000): pass\n",
    "diamonds": "class A0(nnUNetTrainer): pass\nclass B0(nnUNetTrainer): pass\n"
    + "".join(f"class {name}{one + 1}(A{one}, B{one}): pass\n" for one in range(30) for name in "AB")
    + "class Mine(A30, B30): pass\n",
    "aliases": "C0 = nnUNetTrainer\n" + "".join(f"C{one + 1} = C{one}\n" for one in range(2000)) + "Mine = C2000\n",
    "dots": f"import {'.'.join(['nnunetv2'] * 2000)}\n{_CLASS}",
    "condition": f"if {' + '.join(['a'] * 600)}:\n    pass\n{_CLASS}",
    "base": f"class Mine(nnUNetTrainer{'.a' * 600}):\n    pass\n",
    "decorator": f"class Mine(nnUNetTrainer):\n    @({' + '.join(['a'] * 600)})\n"
    "    def build_network_architecture(self): ...\n",
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_endless_sources_are_left_alone(site: Path, folder: Path, source: str) -> None:
    """Whatever is said of them, it is said at once."""
    write(folder, {"mine.py": HEAD + source})
    result = search("Mine")
    assert not result.is_lost
    if result.found is not None:
        assert result.found.mro
        assert [*problems_of(result.found)] == []

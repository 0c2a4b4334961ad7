"""The search for a trainer by its sources: the class that nnU-Net itself finds, or what ends its search."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plansguard.nnunet import constants as facts
from plansguard.nnunet.install import trainer_search
from plansguard.nnunet.install.python_sources import Sources
from plansguard.nnunet.install.trainer_class import AUGMENTATION as MIRRORING
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.install.trainer_folder import VARIABLE
from plansguard.nnunet.install.trainer_search import all_names, find_trainer, search, stray
from plansguard.nnunet.install.trainer_signature import problems_of
from tests.support.nnunets import HEAD, write

STOCK = "nnUNetTrainer"


# ---------------------------------------------------------------------------------------------------------------------
# The real nnU-Net
# ---------------------------------------------------------------------------------------------------------------------

MINE = f"{HEAD}class Mine(nnUNetTrainer):\n    pass\n"
IMPORTED = "from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5"

#: Files of folders in which nnU-Net finds Mine, fails, or reports that there is none.
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


def results_of_nnunet(folders: list[Path]) -> list[dict[str, Any]]:
    """The result of nnU-Net's search for Mine in each folder."""
    code = """
        import contextlib, io, json, os, sys
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        for folder in sys.argv[1:]:
            os.environ["nnUNet_extTrainer"] = folder
            result = {"found": None, "error": None}
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    found = find("Mine")
                    mro = [base.__name__ for base in found.__mro__ if base is not object]
                    result["found"] = [found.__name__, found.__module__, mro]
                except BaseException as error:
                    result["error"] = [type(error).__name__, str(error)]
            print(json.dumps(result))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, folders)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.nnunet
@pytest.mark.slow
def test_the_same_class_as_nnunet_finds(tmp_path: Path) -> None:
    folders = []
    for name, files in FOLDERS.items():
        folders.append(tmp_path / name)
        write(tmp_path / name, files)
    expected = dict(zip(FOLDERS, results_of_nnunet(folders), strict=True))
    for (name, theirs), folder in zip(expected.items(), folders, strict=True):
        result = search("Mine", environment={VARIABLE: str(folder)})
        ours: Any = {"found": None, "error": None}
        if result.found is not None and result.found.is_trainer is not False:
            found = result.found
            ours["found"] = [found.name, found.module, [one.name for one in found.mro]]
        else:
            error, text = theirs["error"]
            ours["error"] = [error, text]
            is_kind = {
                "AssertionError": result.found is not None and result.found.is_trainer is False,
                "RuntimeError": result.is_lost,
            }.get(error, result.fault is not None)
            assert is_kind, (name, error, text, result)
        assert ours == theirs, name
    errors = {theirs["error"] and theirs["error"][0] for theirs in expected.values()} - {"ValueError"}
    assert errors == {None, "AssertionError", "RuntimeError", "ModuleNotFoundError", "ImportError", "SyntaxError"}


def stock(names: Iterable[str]) -> dict[str, Any]:
    """The properties of these classes, imported by nnU-Net's own search."""
    code = f"""
        import inspect, json, sys, types
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        properties = {{}}
        for name in sys.argv[1:]:
            one = find(name)
            mirrors = set()
            for patch in ((64, 64), (64, 64, 64)):
                trainer = one.__new__(one)
                trainer.local_rank = 1
                trainer.configuration_manager = types.SimpleNamespace(patch_size=patch)
                mirrors.add(bool(trainer.{MIRRORING}()[-1]))
            properties[name] = {{
                "file": inspect.getsourcefile(one),
                "line": inspect.getsourcelines(one)[1],
                "mro": [base.__name__ for base in one.__mro__ if base is not object],
                "mirrors": mirrors.pop() if len(mirrors) == 1 else None,
                "own_network": one.build_network_architecture is not nnUNetTrainer.build_network_architecture,
            }}
        print(json.dumps(properties))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *names], capture_output=True, encoding="utf-8", check=True
    )
    properties: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return properties


@pytest.mark.nnunet
@pytest.mark.slow
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 8])
def test_every_stock_trainer_is_read_as_it_is(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, or one in eight."""
    monkeypatch.setattr(trainer_search, "Sources", cache(Sources))  # nnU-Net's modules are read once for all names
    ours = {}
    for name in sorted(all_names({}))[::every]:
        found = find_trainer(name, environment={})
        assert found is not None
        assert found.is_trainer is True
        assert list(problems_of(found)) == []
        ours[name] = {
            "file": str(found.path),
            "line": found.line,
            "mro": [one.name for one in found.mro],
            "mirrors": found.mirrors,
            "own_network": found.own_network,
        }
        gc.collect()
    assert ours == stock(ours)
    if every > 1:
        return
    assert set(ours) >= facts.STOCK_TRAINERS
    assert {name for name in facts.STOCK_TRAINERS if ours[name]["own_network"]} == facts.TRAINERS_WITH_OWN_NETWORK


# ---------------------------------------------------------------------------------------------------------------------
# The search
# ---------------------------------------------------------------------------------------------------------------------


def test_trainers_of_nnunet_come_first(site: Path, folder: Path) -> None:
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


def test_a_tilde_is_not_expanded(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / "trainers", {"mine.py": MINE})
    result = search("Mine", environment={VARIABLE: "~/trainers"})
    assert result.is_lost
    assert result.missing == ("~/trainers",)


def test_without_nnunet_there_is_no_result(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    write(folder, {"mine.py": "import not_there\n\n\nclass Mine:\n    pass\n"})
    result = search("Mine")
    assert not result.installed
    assert not result.is_lost
    assert (result.found, result.fault) == (None, None)
    assert all_names() == {"Mine"}


def test_an_older_nnunet_ignores_the_variable(site: Path, folder: Path) -> None:
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
def test_faults_end_the_search(site: Path, folder: Path, source: str, line: int, what: str) -> None:
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
def test_a_name_without_a_class_statement_is_not_missing(site: Path, folder: Path, source: str) -> None:
    write(folder, {"mine.py": source, "z.py": MINE})
    result = search("Mine")
    assert result.hidden == folder / "mine.py"
    assert not result.is_lost
    assert result.found is None


def test_names_with_steps_are_found_in_the_folder_of_plansguard(site: Path, folder: Path) -> None:
    write(folder, {"mine.py": MINE})
    assert search("nnUNetTrainer_50000steps").is_lost
    both = {VARIABLE: os.pathsep.join([str(EXTENSION), str(folder)])}
    assert search("nnUNetTrainer_50000steps", environment=both).hidden == EXTENSION / "plansguard_steps.py"
    assert search("Mine", environment=both).found is not None
    assert search("nnUNetTrainer_50000", environment=both).is_lost


def test_a_class_in_a_folder_that_nnunet_does_not_import(site: Path, folder: Path) -> None:
    write(folder, {"variants/mine.py": MINE, "other.py": "class MineToo:\n    pass\n"})
    assert search("Mine").is_lost
    assert stray("Mine") == folder / "variants/mine.py"
    assert stray("Yours") is None


def test_the_number_of_modules_is_limited(site: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plansguard.nnunet.install.trainer_search._MOST", 5)
    write(folder, {f"module_{number}.py": f"class C{number}:\n    pass\n" for number in range(9)})
    assert find_trainer("C4") is not None
    assert not search("C5").is_lost
    assert {name for name in all_names() if name.startswith("C")} == {f"C{number}" for number in range(5)}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_folders_that_contain_themselves(site: Path, folder: Path) -> None:
    """Two links to the parent, which nnU-Net follows until a limit of the system."""
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


def test_the_root_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It contains /proc, whose folders change and may be unreadable."""
    monkeypatch.setenv(VARIABLE, Path.cwd().anchor)
    assert stray("NoTrainerOfAnybody") is None


@pytest.mark.parametrize("name", ["", "a.b", "Mine(", "*", "\udc80", "Mine\n", "\u00e9"])
def test_names_that_are_not_identifiers(site: Path, folder: Path, name: str) -> None:
    write(folder, {"mine.py": MINE})
    assert search(name).is_lost
    assert stray(name) is None


def test_sources_are_read_and_not_run(site: Path, folder: Path) -> None:
    write(folder, {"mine.py": f"raise SystemExit\n{MINE}    raise SystemExit\n"})
    assert find_trainer("Mine") is not None
    assert "mine" not in sys.modules


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("what", ["link to a pipe", "/proc/kmsg", "/dev/zero", "folder"])
def test_sources_that_are_no_files(site: Path, folder: Path, what: str) -> None:
    """Reading them would wait, or not end."""
    write(folder, {"mine.py": MINE})
    if what == "folder":
        (folder / "a.py").mkdir()
    elif what == "link to a pipe":
        os.mkfifo(folder / "pipe")
        (folder / "a.py").symlink_to("pipe")
    else:
        (folder / "a.py").symlink_to(what)
    search("Mine")


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
# Sources that no program writes
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
def test_long_chains_in_sources_end_the_search_at_once(site: Path, folder: Path, source: str) -> None:
    """Whatever the result, it takes no long time."""
    write(folder, {"mine.py": HEAD + source})
    result = search("Mine")
    assert not result.is_lost
    if result.found is not None:
        assert result.found.mro
        assert [*problems_of(result.found)] == []

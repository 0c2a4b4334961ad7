"""Rules of docs/architecture.md and CONTRIBUTING.md: imports, rooms, names, sizes."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on the package and the contracts in ``root``."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)


def test_every_module_imports_only_from_lower_floors() -> None:
    verdict = lint_imports(ROOT)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("nnunet/constants.py", "from plansguard import subjects", "a room imports only from lower floors"),
        (
            "core/report.py",
            "def late() -> None:\n    from plansguard.cli import build_app",
            "a room imports only from lower floors",
        ),
        ("garage.py", "import json", "a room imports only from lower floors"),
        (
            "rules/pg1_plans/fields.py",
            "import nnunetv2",
            "only modules that call nnU-Net or torch import them",
        ),
        (
            "nnunet/install/gpus.py",
            "import torch",
            "only modules that call nnU-Net or torch import them",
        ),
        ("subjects/dataset.py", "import numpy.linalg", "the check path is light"),
        ("render/text.py", "import typer", "only the command line knows typer"),
    ],
    ids=["upwards", "upwards-inside-a-function", "module-without-a-floor", "nnunet", "torch", "numpy", "typer"],
)
def test_an_import_that_breaks_a_contract_is_refused(module: str, line: str, contract: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "plansguard", tmp_path / "plansguard", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "plansguard" / module).open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    verdict = lint_imports(tmp_path)
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    rows = " ".join(verdict.stdout.split())  # long names are wrapped
    assert re.search(f"{re.escape(contract)}[^A-Z]* BROKEN", rows), verdict.stdout


# ---------------------------------------------------------------------------------------------------------------------
# Rooms, names and sizes
# ---------------------------------------------------------------------------------------------------------------------

ROOMS = {
    *("artefacts", "cli", "commands", "core", "documents", "migration"),
    *("nnunet", "records", "render", "rules", "subjects", "training"),
}
MODULES = sorted((ROOT / "plansguard").rglob("*.py"))
TEST_MODULES = sorted((ROOT / "tests").rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_the_package_holds_twelve_rooms_and_no_loose_module() -> None:
    entries = {path.name for path in (ROOT / "plansguard").iterdir() if path.name != "__pycache__"}
    assert entries == ROOMS | {"__init__.py", "__main__.py", "py.typed"}
    assert all((ROOT / "plansguard" / room / "__init__.py").is_file() for room in ROOMS)


def test_the_contract_of_the_rooms_has_at_most_ten_lines() -> None:
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split('id = "rooms"')[1].split("layers = [")[1]
    layers = re.findall(r'^    "(.+)",$', contract[: contract.index("]")], re.MULTILINE)
    assert len(layers) <= 10
    assert {name for line in layers for name in line.split(" | ")} == ROOMS | {"__main__"}


def test_no_two_classes_share_a_name() -> None:
    """A pydantic model of a document and the subject that is made from it may: `Plans`, `Fingerprint`."""
    places: dict[str, list[Path]] = {}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(path.relative_to(ROOT))
    models = Path("plansguard/documents/models")
    shared = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert {
        name: paths
        for name, paths in shared.items()
        if len(paths) > 2 or len([path for path in paths if models in path.parents]) != 1
    } == {}


def test_errors_say_what_to_do_next() -> None:
    """Errors with data of their own, such as a refused training with its findings, are printed by their command."""
    printed = {"PlansguardError", "UnreadableDocument", "UnreadableFolder", "UsageError", "WriteRefused"}
    without = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in printed
        and "hint" not in {keyword.arg for keyword in node.keywords}
    ]
    assert without == []


def test_modules_are_short() -> None:
    """The pickle reader is one interpreter, and stays in one module."""
    long = {str(path.relative_to(ROOT)): lines_of(path) for path in MODULES if lines_of(path) > 450}
    assert set(long) <= {"plansguard/artefacts/checkpoint/pickle_reader.py"}, long
    assert {str(path.relative_to(ROOT)): lines_of(path) for path in TEST_MODULES if lines_of(path) > 600} == {}


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
        and not any(getattr(getattr(one, "func", None), "id", "") == "rule" for one in node.decorator_list)
    }
    assert long == {}


# ---------------------------------------------------------------------------------------------------------------------
# Paths
# ---------------------------------------------------------------------------------------------------------------------

PACKAGE = ROOT / "plansguard"
METHODS = {
    *("exists", "is_file", "is_dir", "is_symlink", "is_mount", "iterdir", "stat", "lstat", "resolve", "glob", "rglob"),
    *("samefile", "readlink", "read_bytes", "read_text", "open"),
}
FUNCTIONS = {
    *("scandir", "walk", "listdir", "stat", "lstat", "access", "readlink", "open"),
    *("exists", "lexists", "isfile", "isdir", "islink", "realpath", "samefile", "getsize", "getmtime"),
}
#: Objects with such methods that are no paths.
NO_PATHS = {"disk", "entry", "archive", "json_document", "self", "self._archive", "sources", "blosc2", "distribution"}
#: module or folder -> why it asks the system itself.
REASONS = {
    "core/disk.py": "it is the helper",
    "core/atomic_files.py": "it writes: each error is reported as WriteRefused",
    "training/folder_lock.py": "it holds descriptors of locks",
    "cli/__init__.py": "it opens os.devnull",
    "core/signals.py": "it opens os.devnull",
    "core/free_space.py": "the kernel asks for the descriptor of a folder",
    "artefacts/data/": "a hundred thousand files: names are listed and opened by descriptors, without Path objects",
    "nnunet/install/trainer_search.py": "os.walk, which reports errors instead of raising them",
    "documents/validation.py": "the schemas of this package",
}


def calls(path: Path) -> set[str]:
    """The calls in a module that ask the system about a path."""
    asked = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            if owner in ("os", "os.path"):
                if name in FUNCTIONS:
                    asked.add(f"{owner}.{name}")
            elif name in METHODS and owner not in NO_PATHS:
                asked.add(f"{owner}.{name}")
    return asked


def test_only_one_module_asks_the_system_about_paths() -> None:
    """Ask `plansguard.core.disk` instead: no answer of it is an exception."""
    modules = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]
    others = [name for name in modules if not name.startswith(tuple(REASONS))]
    assert {name: found for name in others if (found := calls(PACKAGE / name))} == {}


def test_every_reason_is_needed() -> None:
    for place in REASONS:
        modules = [PACKAGE / place] if place.endswith(".py") else sorted((PACKAGE / place).rglob("*.py"))
        assert any(map(calls, modules)), place


# ---------------------------------------------------------------------------------------------------------------------
# Programs
# ---------------------------------------------------------------------------------------------------------------------

#: Functions that look a program up on PATH, relative entries included.
LOOK_UPS = {"which", "execvp", "execvpe", "execlp", "execlpe", "posix_spawnp", "spawnvp", "spawnlp", "system", "popen"}


def test_one_module_looks_up_programs() -> None:
    """Ask `plansguard.core.programs` instead: it does not find what lies in the current folder."""
    modules = {path.relative_to(PACKAGE).as_posix(): tree(path) for path in PACKAGE.rglob("*.py")}
    callers = {
        name
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOK_UPS
    }
    assert callers == {"core/programs.py"}

"""The floors of docs/architecture.md hold, also when only pytest is run."""

from __future__ import annotations

import shutil
import subprocess
import sys
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
            "only nnunet.runtime and the trainer import nnunetv2 or torch",
        ),
        (
            "nnunet/install/gpus.py",
            "import torch",
            "only nnunet.runtime and the trainer import nnunetv2 or torch",
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
    assert any(row.startswith(contract) and " BROKEN" in row for row in verdict.stdout.splitlines()), verdict.stdout

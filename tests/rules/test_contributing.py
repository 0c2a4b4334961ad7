"""The five steps of CONTRIBUTING.md for a new rule, followed in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

RULE = '''

@rule(
    "PG299",
    Severity.WARNING,
    message="the label {label} is called forbidden",
    fix="call {label} something else",
)
def label_called_forbidden(dataset_json: DatasetJson) -> Iterator[Found]:
    """A label is called forbidden.

    What it checks: the names of the labels.

    Why it matters: this rule exists for a test only.

    How to fix: rename the label.

    Example: `"labels": {"forbidden": 0}`.

    Evidence: none.
    """
    if "forbidden" in dataset_json.require("labels"):
        yield found(dataset_json.at("labels", "forbidden"), label="forbidden")
'''
VARIANT = """

VARIANTS = (
    *VARIANTS,
    Variant(
        "label-called-forbidden",
        CT,
        edits=in_both("/labels/forbidden", 2),
        expect=frozenset({("PG299", DATASET_JSON, "/labels/forbidden")}),
        twin=in_both("/labels/allowed", 2),
    ),
)
"""
CODE = '    "PG301": '


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the five steps touch; everything else is linked."""
    for name in ("plansguard", "tests", "tools", "docs", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("fixtures", "pyproject.toml", "README.md", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    return tmp_path


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def python(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_new_rule_in_five_steps(project: Path) -> None:
    append(project / "plansguard/rules/pg2_dataset_json/copies.py", RULE)  # steps 1 and 2: write and document it
    codes = project / "tests/rules/test_generated.py"
    text = codes.read_text(encoding="utf-8")
    codes.write_text(text.replace(CODE, f'    "PG299": "label-called-forbidden",\n{CODE}', 1), encoding="utf-8")
    append(project / "tests/rules/pg2_dataset_json/copies_variants.py", VARIANT)  # step 3: add a variant
    assert python(project, "tools/generate.py").returncode == 0  # step 4: make docs
    append(project / "CHANGELOG.md", "- Rule PG299.\n")  # step 5: describe it

    assert (project / "docs/rules/PG299-label-called-forbidden.md").is_file()
    tests = ("tests/rules/test_generated.py", "tests/rules/test_rules.py")
    done = python(
        project, "-m", "pytest", "-q", "-p", "no:xdist", "-k", "PG299 or forbidden or variant or stale", *tests
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout

    variants = project / "tests/rules/pg2_dataset_json/copies_variants.py"  # without step 3 the tests fail
    variants.write_text(variants.read_text(encoding="utf-8").removesuffix(VARIANT), encoding="utf-8")
    done = python(project, "-m", "pytest", "-q", "-p", "no:xdist", "-k", "test_every_rule_has_a_variant", *tests)
    assert done.returncode == 1, done.stdout
    assert "PG299" in done.stdout

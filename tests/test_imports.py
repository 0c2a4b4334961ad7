"""Modules that the commands load: a hook that runs at every commit must start fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.variants import place, put

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
HEAVY = {"torch", "numpy", "pandas", "scipy", "deepdiff", "nnunetv2", "batchgenerators", "rich", "SimpleITK", "nibabel"}

#: Run a program and print the modules it requested, found or not: the light environment lacks most of HEAVY.
PROBE = """
import json, sys

class Asked:
    names = []

    def find_spec(self, name, path=None, target=None):
        self.names.append(name)

sys.meta_path.insert(0, Asked())
code = 0
try:
    exec(sys.argv.pop(1))
except SystemExit as end:
    code = end.code
print(json.dumps({"code": code, "asked": Asked.names, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""
COMMAND = "from plansguard.cli import main; main()"

pytestmark = pytest.mark.workspace(CT, OTHER_CT)


def probe(program: str, *arguments: str, cwd: Path | None = None) -> dict[str, Any]:
    """Run a program in a new process; return its exit code and the modules that it requested and loaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, program, *arguments],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    seen: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return seen


def roots(names: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_probe_sees_what_is_asked_for() -> None:
    """Modules that do not exist, and imports inside functions, are reported too."""
    seen = probe("try:\n    import nnunetv2.no_such_module\nexcept ImportError:\n    pass")
    assert "nnunetv2" in roots(seen["asked"])
    assert "deepdiff" in roots(
        probe("from plansguard.nnunet.plans_diff import compare; compare({'a': 1}, {'a': 2})")["asked"]
    )


def test_a_clean_check_is_light(workspace: Path) -> None:
    """Healthy documents need neither pydantic nor the slow scan for places."""
    seen = probe(COMMAND, "check", "-d", "2", cwd=workspace)
    assert seen["code"] == 0
    assert roots(seen["asked"]) & (HEAVY | {"pydantic"}) == set()
    unused = {"plansguard.documents.json_scanner", "plansguard.migration", "plansguard.nnunet.runtime"}
    unused |= {"plansguard.rules.pg7_run", "plansguard.cli.completion", "concurrent", "multiprocessing", "decimal"}
    assert set(seen["loaded"]) & unused == set()


def test_a_check_with_findings_is_light(workspace: Path) -> None:
    put("preprocessed/nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 70)(workspace, OTHER_CT)
    put("preprocessed/nnUNetPlans.json", "/configurations/2d/batch_size", "2")(workspace, OTHER_CT)
    seen = probe(COMMAND, "check", "-d", "2", "--output", "github", "--output", "json=report.json", cwd=workspace)
    assert seen["code"] == 1
    assert roots(seen["asked"]) & HEAVY == set()
    assert "plansguard.documents.json_scanner" in seen["loaded"]


def test_migrate_is_light(workspace: Path) -> None:
    seen = probe(COMMAND, "migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans", cwd=workspace)
    assert seen["code"] == 0
    assert place(workspace, OTHER_CT, "preprocessed/PretrainPlans.json").is_file()
    assert roots(seen["asked"]) & HEAVY == set()


def test_the_package_itself_loads_next_to_nothing() -> None:
    seen = probe("import plansguard; plansguard.__version__; dir(plansguard)")
    assert roots(seen["asked"]) & (HEAVY | {"pydantic", "typer"}) == set()
    assert [name for name in seen["loaded"] if name.startswith("plansguard")] == ["plansguard"]


def test_the_library_does_not_load_the_command_line() -> None:
    seen = probe("from plansguard import Finding, Report, Severity, check")
    assert roots(seen["asked"]) & (HEAVY | {"typer", "click"}) == set()
    assert "plansguard.cli" not in seen["loaded"]


def test_one_command_loads_no_other() -> None:
    seen = probe(COMMAND, "rules")
    assert seen["code"] == 0
    commands = {name for name in seen["loaded"] if name.startswith("plansguard.cli.")}
    assert commands == {f"plansguard.cli.{name}" for name in ("rules", "common_options", "help_text")}


def test_garbage_is_collected_while_a_command_runs_but_not_before() -> None:
    program = """
import gc, sys
from plansguard import __main__, cli
load, seen = cli.build_app, []
cli.build_app = lambda arguments: (seen.append(gc.isenabled()), load(arguments))[1]
try:
    __main__.main()
finally:
    print(seen, gc.isenabled(), gc.get_freeze_count() > 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "schema", "plans"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[False] True True"), done.stderr

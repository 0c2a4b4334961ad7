"""Every rule on a broken fixture and on a good twin, through the library and through the command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from plansguard.cli import build_app
from plansguard.commands.check import check, nearest_settings
from plansguard.commands.gate import GateRequest, judge
from plansguard.core.report import Report
from plansguard.migration.plan import MigrationRequest, plan
from plansguard.nnunet.command_line import command_line, parse
from plansguard.nnunet.install import packages
from plansguard.nnunet.workspace import Workspace
from plansguard.render import render
from plansguard.rules import RULES
from plansguard.subjects.request import Reading
from tests.rules import ALL_VARIANTS
from tests.support.variants import Variant, found_in, lay_out, place, point_to

#: Rules without a variant, and why: files, options, variables and installed packages do not suffice to break them.
NOT_FROM_FILES = {
    "PG000": "needs a rule that raises, and no rule of plansguard is known to: engine/test_run.py",
    "PG520": "needs values that nnU-Net has preprocessed, and so nnU-Net: pg5_data/test_evidence.py",
    "PG521": "needs values that nnU-Net has preprocessed, and so nnU-Net: pg5_data/test_evidence.py",
    "PG522": "needs values that nnU-Net has preprocessed, and so nnU-Net: pg5_data/test_evidence.py",
    "PG523": "needs values that nnU-Net has preprocessed, and so nnU-Net: pg5_data/test_evidence.py",
    "PG524": "needs images, and so SimpleITK, which these tests do not import: pg5_data/test_evidence.py",
    "PG529": "needs Ctrl-C while data are read: pg5_data/test_evidence.py",
    "PG715": "needs a full disk: pg7_run/test_hardware.py",
    "PG716": "needs a full disk: pg7_run/test_hardware.py",
    "PG739": "needs another process that holds the lock of a folder: pg7_run/test_schedule.py",
}


@pytest.fixture
def workspace(variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the variant's datasets, to which nnU-Net's variables point, on a machine without a GPU.

    For a variant with packages of its own, these are the first that Python finds, and no other nnU-Net is behind them.
    """
    point_to(tmp_path, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    path = [str(tmp_path / "bin"), os.environ["PATH"]]  # nvidia-smi in bin replaces another one
    if variant.site:
        for folder in ("site", "clone"):
            (tmp_path / folder).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        importable = [str(tmp_path / "site"), str(tmp_path / "clone")]
        monkeypatch.setattr(packages, "sys", SimpleNamespace(path=importable, executable=sys.executable))
        path = path[:1]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    return lay_out(tmp_path, variant.dataset, "Dataset001_PretrainCT", *variant.also)


every_variant = pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)


@every_variant
def test_broken(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(workspace, variant, monkeypatch)
    assert _through_the_library(workspace, variant) == set(variant.expect)


@every_variant
def test_good_twin(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(workspace, variant.healthy, monkeypatch)
    assert _through_the_library(workspace, variant.healthy) == set()


@pytest.mark.slow
@every_variant
def test_broken_on_the_command_line(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(workspace, variant, monkeypatch)
    found, exit_code = _through_the_command_line(workspace, variant)
    assert found == set(variant.expect)
    assert exit_code != 0 or variant.command[0] == "migrate"


@pytest.mark.slow
@every_variant
def test_good_twin_on_the_command_line(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(workspace, variant.healthy, monkeypatch)
    planned = variant.model or any(place(workspace, variant.dataset, "preprocessed").glob("*Plans.json"))
    assert _through_the_command_line(workspace, variant.healthy) == (set(), 0 if planned else 3)


def test_every_rule_has_a_variant() -> None:
    tested = {code for variant in ALL_VARIANTS for code, _, _ in variant.expect}
    assert tested | set(NOT_FROM_FILES) == {rule.info.code for rule in RULES}
    assert not tested & set(NOT_FROM_FILES)


def _prepare(workspace: Path, variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    for edit in variant.edits:
        edit(workspace, variant.dataset)
    for name, value in variant.environment(workspace).items():
        monkeypatch.setenv(name, value)


def _through_the_library(workspace: Path, variant: Variant) -> set[tuple[str, str, str]]:
    findings = json.loads(render(_report(workspace, variant), "json"))["findings"]
    return found_in(workspace, variant.dataset, findings)


def _report(workspace: Path, variant: Variant) -> Report:
    program, *arguments = _command(workspace, variant)
    if program == "migrate":
        typed = dict(zip(arguments[::2], arguments[1::2], strict=True))
        names = {"-s": "source", "-t": "target", "-tp": "target_plans", "-sp": "source_plans"}
        migration: dict[str, Any] = {names.get(name, name.lstrip("-")): value for name, value in typed.items()}
        return plan(Workspace.from_environment(), MigrationRequest(**migration)).report
    if program == "check":
        options = _options(workspace, variant)
        return check(
            [options["model"]] if "model" in options else [],
            datasets=[variant.dataset] if "-d" in options else [],
            plans=options.get("-p"),
            configuration=options.get("-c"),
            weights=options.get("-pretrained_weights"),
        )
    line = command_line([program, *arguments])
    values = parse(line.name, line.arguments)
    assert values is not None
    request = GateRequest(
        line=line,
        parsed=values,
        workspace=Workspace.from_environment(),
        environment=os.environ,
        settings=lambda folder: nearest_settings([folder]),
        reading=Reading("headers"),
    )
    return judge(request).report


def _through_the_command_line(workspace: Path, variant: Variant) -> tuple[set[tuple[str, str, str]], int]:
    """Return the findings and the exit code; `migrate` has no --fail-on, so there only errors make it 1."""
    program, *arguments = _command(workspace, variant)
    judging = ["--output", "json", "--fail-on", "info"]
    if program == "migrate":
        words = ["migrate", "--dry-run", *judging[:2], *arguments]
    elif program == "check":
        options = _options(workspace, variant)
        words = ["check", *(part for option in options.items() for part in option if part != "model"), *judging]
    else:
        words = ["gate", "--dry-run", "--data", "headers", *judging, "--", program, *arguments]
    result = CliRunner().invoke(build_app(), words)
    return found_in(workspace, variant.dataset, json.loads(result.stdout)["findings"]), result.exit_code


def _command(workspace: Path, variant: Variant) -> list[str]:
    """The command that is judged, with paths in this workspace."""
    if not variant.training:
        return [word.format(workspace=workspace) for word in variant.command]
    words = ["nnUNetv2_train", variant.dataset, *variant.training]
    if "-pretrained_weights" in words:
        at = words.index("-pretrained_weights") + 1
        words[at] = str(workspace / words[at])
    return words


def _options(workspace: Path, variant: Variant) -> dict[str, str]:
    """Options of a check by name, with a folder under ``model`` or a dataset under ``-d``."""
    options = dict(zip(variant.options[::2], variant.options[1::2], strict=True))
    if "-pretrained_weights" in options:
        options["-pretrained_weights"] = str(workspace / options["-pretrained_weights"])
    if variant.model:
        return {**options, "model": str(place(workspace, variant.dataset, variant.model))}
    return {**options, "-d": variant.dataset}

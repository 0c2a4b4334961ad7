"""Lay out the state of a variant and judge it, through the library."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plansguard.commands.check import check, nearest_settings
from plansguard.commands.doctor import doctor
from plansguard.commands.gate import GateRequest, judge
from plansguard.core.report import Report
from plansguard.migration.plan import MigrationRequest, plan
from plansguard.nnunet.command_line import command_line, parse
from plansguard.nnunet.install import packages
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.request import Reading
from tests.support.variants import Variant, lay_out, place, point_to


def laid_out(variant: Variant, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the variant's datasets, to which nnU-Net's variables point, on a machine without a GPU.

    For a variant with packages of its own, these are the first that Python finds, and no other nnU-Net is behind them.
    """
    point_to(root, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    path = [str(root / "bin"), os.environ["PATH"]]  # nvidia-smi in bin replaces another one
    if variant.site:
        for folder in ("site", "clone"):
            (root / folder).mkdir()
        monkeypatch.syspath_prepend(str(root / "site"))
        importable = [str(root / "site"), str(root / "clone")]
        monkeypatch.setattr(packages, "sys", SimpleNamespace(path=importable, executable=sys.executable))
        path = path[:1]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    return lay_out(root, variant.dataset, "Dataset001_PretrainCT", *variant.also)


def prepare(workspace: Path, variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the edits of the variant, and set its variables."""
    for edit in variant.edits:
        edit(workspace, variant.dataset)
    for name, value in variant.environment(workspace).items():
        monkeypatch.setenv(name, value)


def report_of(workspace: Path, variant: Variant) -> Report:
    """Judge the variant as the command would."""
    program, *arguments = command_of(workspace, variant)
    if program == "migrate":
        typed = dict(zip(arguments[::2], arguments[1::2], strict=True))
        names = {"-s": "source", "-t": "target", "-tp": "target_plans", "-sp": "source_plans"}
        migration: dict[str, Any] = {names.get(name, name.lstrip("-")): value for name, value in typed.items()}
        return plan(Workspace.from_environment(), MigrationRequest(**migration)).report
    if program == "doctor":
        return doctor()
    if program == "check":
        options = options_of(workspace, variant)
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


def command_of(workspace: Path, variant: Variant) -> list[str]:
    """Return the command that is judged, with paths in this workspace."""
    if not variant.training:
        return [word.format(workspace=workspace) for word in variant.command]
    words = ["nnUNetv2_train", variant.dataset, *variant.training]
    if "-pretrained_weights" in words:
        at = words.index("-pretrained_weights") + 1
        words[at] = str(workspace / words[at])
    return words


def options_of(workspace: Path, variant: Variant) -> dict[str, str]:
    """Return the options of a check by name, with a folder under ``model`` or a dataset under ``-d``."""
    options = dict(zip(variant.options[::2], variant.options[1::2], strict=True))
    if "-pretrained_weights" in options:
        options["-pretrained_weights"] = str(workspace / options["-pretrained_weights"])
    if variant.model:
        return {**options, "model": str(place(workspace, variant.dataset, variant.model))}
    return {**options, "-d": variant.dataset}

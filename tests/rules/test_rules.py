"""Every rule on a broken fixture and on a good twin, through the library and through the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plansguard.cli import build_app
from plansguard.commands import train
from plansguard.commands.check import check, nearest_settings
from plansguard.nnunet.workspace import Workspace
from plansguard.render import render
from plansguard.rules import RULES
from plansguard.subjects.request import Reading
from tests.rules import ALL_VARIANTS
from tests.support.training_records import training_values
from tests.support.variants import ROOTS, Edit, Variant, found_in, lay_out, place

#: Rules that no broken file can trip; the reason says what does.
NOT_FROM_FILES = {
    "PG000": "needs a rule that crashes: test_engine.py",
    "PG410": "plans on their way: test_migrate.py",
    "PG411": "plans on their way: test_migrate.py",
    "PG412": "plans on their way: test_migrate.py",
    "PG413": "plans on their way: test_migrate.py",
    "PG414": "plans on their way: test_migrate.py",
    "PG415": "plans on their way: test_migrate.py",
    "PG416": "plans on their way: test_migrate.py",
    "PG417": "plans on their way: test_migrate.py",
    "PG418": "plans on their way: test_migrate.py",
    "PG520": "needs values, and so numpy: test_evidence.py",
    "PG521": "needs values, and so numpy: test_evidence.py",
    "PG522": "needs values, and so numpy: test_evidence.py",
    "PG523": "needs values, and so numpy: test_evidence.py",
    "PG524": "needs SimpleITK: test_evidence.py",
    "PG529": "needs Ctrl-C: test_evidence.py",
    "PG715": "needs a full disk: test_gpus.py",
    "PG716": "needs a full disk: test_gpus.py",
    "PG751": "a planning: test_gate.py",
    "PG752": "a planning: test_gate.py",
    "PG753": "a prediction: test_gate.py",
    "PG754": "a prediction: test_gate.py",
    "PG755": "a prediction: test_gate.py",
    "PG733": "needs a queue: test_schedule_rules.py",
    "PG738": "needs an nnU-Net: test_schedule_rules.py",
    "PG739": "needs another process: test_schedule_rules.py",
    "PG701": "what is installed: test_trainer_rules.py",
    "PG702": "what is installed: test_trainer_rules.py",
    "PG703": "what is installed: test_trainer_rules.py",
    "PG704": "what is installed: test_trainer_rules.py",
    "PG705": "what is installed: test_trainer_rules.py",
    "PG707": "what is installed: test_trainer_rules.py",
    "PG801": "what is installed: test_environment.py",
    "PG802": "what is installed: test_environment.py",
    "PG803": "what is installed: test_trainer_rules.py",
    "PG804": "what is installed: test_trainer_rules.py",
    "PG805": "what is installed: test_trainer_rules.py",
    "PG806": "what is installed: test_trainer_rules.py",
    "PG901": "settings: test_settings.py",
    "PG902": "settings: test_settings.py",
}


@pytest.fixture
def workspace(variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the variant's dataset and of the one that plans come from, to which nnU-Net's variables point."""
    for variable, folder in ROOTS.items():
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / folder))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # no GPU, whatever this machine has
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]))  # for another nvidia-smi
    return lay_out(tmp_path, variant.dataset, "Dataset001_PretrainCT")


every_variant = pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)


@every_variant
def test_broken(variant: Variant, workspace: Path) -> None:
    _edit(workspace, variant, variant.edits)
    assert _through_the_library(workspace, variant) == set(variant.expect)


@every_variant
def test_good_twin(variant: Variant, workspace: Path) -> None:
    _edit(workspace, variant, variant.twin)
    assert _through_the_library(workspace, variant.healthy) == set()


@pytest.mark.slow
@every_variant
def test_broken_on_the_command_line(variant: Variant, workspace: Path) -> None:
    _edit(workspace, variant, variant.edits)
    found, exit_code = _through_the_command_line(workspace, variant)
    assert found == set(variant.expect)
    assert exit_code != 0


@pytest.mark.slow
@every_variant
def test_good_twin_on_the_command_line(variant: Variant, workspace: Path) -> None:
    _edit(workspace, variant, variant.twin)
    assert _through_the_command_line(workspace, variant.healthy) == (set(), 0)


def test_every_rule_has_a_variant() -> None:
    tested = {code for variant in ALL_VARIANTS for code, _, _ in variant.expect}
    assert tested | set(NOT_FROM_FILES) == {rule.info.code for rule in RULES}
    assert not tested & set(NOT_FROM_FILES)


def _edit(workspace: Path, variant: Variant, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        edit(workspace, variant.dataset)


def _through_the_library(workspace: Path, variant: Variant) -> set[tuple[str, str, str]]:
    if variant.training:
        values = training_values([variant.dataset, *_placed(workspace, variant.training)])
        run = train.prepare(Workspace.from_environment(), values, Reading("headers"))
        report = train.judge(run, "gate", nearest_settings([run.dataset.folder]))
        findings = json.loads(render(report, "json"))["findings"]
        return found_in(workspace, variant.dataset, findings)
    options = _options(workspace, variant)
    report = check(
        [options["model"]] if "model" in options else [],
        datasets=[variant.dataset] if "-d" in options else [],
        plans=options.get("-p"),
        configuration=options.get("-c"),
        weights=options.get("-pretrained_weights"),
    )
    findings = json.loads(render(report, "json"))["findings"]
    return found_in(workspace, variant.dataset, findings)


def _through_the_command_line(workspace: Path, variant: Variant) -> tuple[set[tuple[str, str, str]], int]:
    judging = ["--output", "json", "--fail-on", "info"]
    if variant.training:
        words = ["nnUNetv2_train", variant.dataset, *_placed(workspace, variant.training)]
        arguments = ["gate", "--dry-run", "--data", "headers", *judging, "--", *words]
    else:
        arguments = _check_arguments(workspace, variant, judging)
    result = CliRunner().invoke(build_app(), arguments)
    return found_in(workspace, variant.dataset, json.loads(result.stdout)["findings"]), result.exit_code


def _check_arguments(workspace: Path, variant: Variant, judging: list[str]) -> list[str]:
    options = _options(workspace, variant)
    named = [part for option in options.items() for part in option if part != "model"]
    return ["check", *named, *judging]


def _placed(workspace: Path, training: tuple[str, ...]) -> list[str]:
    """The arguments, with weights where they lie in this workspace."""
    words = list(training)
    if "-pretrained_weights" in words:
        at = words.index("-pretrained_weights") + 1
        words[at] = str(workspace / words[at])
    return words


def _options(workspace: Path, variant: Variant) -> dict[str, str]:
    """What is typed: the options by name, and a folder under ``model`` or a dataset under ``-d``."""
    options = dict(zip(variant.options[::2], variant.options[1::2], strict=True))
    if "-pretrained_weights" in options:
        options["-pretrained_weights"] = str(workspace / options["-pretrained_weights"])
    if variant.model:
        return {**options, "model": str(place(workspace, variant.dataset, variant.model))}
    return {**options, "-d": variant.dataset}

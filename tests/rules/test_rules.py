"""Every rule on a broken fixture and on a good twin, through the library and through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plansguard.checking import check
from plansguard.cli import build_app
from plansguard.render import render
from plansguard.rules import RULES
from tests.rules import ALL_VARIANTS
from tests.variants import ROOTS, Edit, Variant, found_in, lay_out, place

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
    "PG801": "what is installed: test_environment.py",
    "PG802": "what is installed: test_environment.py",
    "PG901": "settings: test_settings.py",
    "PG902": "settings: test_settings.py",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of all fixtures, which nnU-Net's environment variables point to."""
    for variable, folder in ROOTS.items():
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / folder))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # no GPU, whatever this machine has
    return lay_out(tmp_path)


@pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)
def test_broken(variant: Variant, workspace: Path) -> None:
    expected = set(variant.expect)
    assert _through_the_library(workspace, variant, variant.edits) == expected
    found, exit_code = _through_the_command_line(workspace, variant)
    assert found == expected
    assert exit_code != 0


@pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)
def test_good_twin(variant: Variant, workspace: Path) -> None:
    assert _through_the_library(workspace, variant, variant.twin) == set()
    assert _through_the_command_line(workspace, variant) == (set(), 0)


def test_every_rule_has_a_variant() -> None:
    tested = {code for variant in ALL_VARIANTS for code, _, _ in variant.expect}
    assert tested | set(NOT_FROM_FILES) == {rule.info.code for rule in RULES}
    assert not tested & set(NOT_FROM_FILES)


def _through_the_library(workspace: Path, variant: Variant, edits: tuple[Edit, ...]) -> set[tuple[str, str, str]]:
    for edit in edits:
        edit(workspace, variant.dataset)
    options = _options(workspace, variant)
    report = check(
        [options["model"]] if "model" in options else [],
        datasets=[variant.dataset] if "-d" in options else [],
        plans=options.get("-p"),
        configuration=options.get("-c"),
        weights=options.get("-pretrained_weights"),
    )
    findings: list[dict[str, Any]] = json.loads(render(report, "json"))["findings"]
    return found_in(workspace, variant.dataset, findings)


def _through_the_command_line(workspace: Path, variant: Variant) -> tuple[set[tuple[str, str, str]], int]:
    options = _options(workspace, variant)
    named = [part for option in options.items() for part in option if part != "model"]
    result = CliRunner().invoke(build_app(), ["check", *named, "--output", "json", "--fail-on", "info"])
    findings = json.loads(result.stdout)["findings"]
    return found_in(workspace, variant.dataset, findings), result.exit_code


def _options(workspace: Path, variant: Variant) -> dict[str, str]:
    """What is typed: the options by name, and a folder under ``model`` or a dataset under ``-d``."""
    options = dict(zip(variant.options[::2], variant.options[1::2], strict=True))
    if "-pretrained_weights" in options:
        options["-pretrained_weights"] = str(workspace / options["-pretrained_weights"])
    if variant.model:
        return {**options, "model": str(place(workspace, variant.dataset, variant.model))}
    return {**options, "-d": variant.dataset}

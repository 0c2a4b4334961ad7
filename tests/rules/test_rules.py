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
from tests.variants import ROOTS, Edit, Variant, found_in, lay_out

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
    "PG901": "settings: test_settings.py",
    "PG902": "settings: test_settings.py",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of all fixtures, which nnU-Net's environment variables point to."""
    for variable, folder in ROOTS.items():
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / folder))
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
    options = dict(zip(variant.options[::2], variant.options[1::2], strict=True))
    report = check(datasets=[variant.dataset], plans=options.get("-p"), configuration=options.get("-c"))
    findings: list[dict[str, Any]] = json.loads(render(report, "json"))["findings"]
    return found_in(workspace, variant.dataset, findings)


def _through_the_command_line(workspace: Path, variant: Variant) -> tuple[set[tuple[str, str, str]], int]:
    arguments = ["check", "-d", variant.dataset, "--output", "json", "--fail-on", "info", *variant.options]
    result = CliRunner().invoke(build_app(), arguments)
    findings = json.loads(result.stdout)["findings"]
    return found_in(workspace, variant.dataset, findings), result.exit_code

"""Every rule on a broken fixture and on a good twin, through the library and through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plansguard.cli import build_app
from plansguard.core.report import Report
from plansguard.render import render
from plansguard.rules import RULES
from plansguard.rules.engine.page import samples
from tests.rules import ALL_VARIANTS
from tests.support.samples import sample_in, variants_by_code
from tests.support.texts import hard_to_read
from tests.support.variant_runs import command_of, laid_out, options_of, prepare, report_of
from tests.support.variants import Variant, found_in, place

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
    "PG813": "needs folders without permission, which root has everywhere: commands/test_doctor.py",
    "PG814": "needs a full disk: commands/test_doctor.py",
    "PG820": "needs a small /dev/shm: pg8_environment/test_machine.py",
    "PG823": "needs a low limit of open files: pg8_environment/test_machine.py",
    "PG824": "needs an array that was just written: pg8_environment/test_machine.py",
    "PG739": "needs another process that holds the lock of a folder: pg7_run/test_schedule.py",
}


@pytest.fixture
def workspace(variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the variant's datasets."""
    return laid_out(variant, tmp_path, monkeypatch)


#: Code -> the variant whose finding is the rule's sample.
SAMPLED = {code: variants[0] for code, variants in variants_by_code(ALL_VARIANTS).items() if code in samples()}

every_variant = pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)


@every_variant
def test_broken(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the samples of `plansguard explain`, which ``make docs`` writes, are what these findings print."""
    prepare(workspace, variant, monkeypatch)
    monkeypatch.chdir(workspace)
    report = report_of(workspace, variant)
    assert _found(workspace, variant, report) == set(variant.expect)
    assert hard_to_read(report, workspace) == []
    for code in (code for code, sampled in SAMPLED.items() if sampled is variant):
        assert sample_in(report, code, workspace) == samples()[code]


@pytest.mark.deep
@every_variant
def test_good_twin(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, variant.healthy, monkeypatch)
    assert _found(workspace, variant, report_of(workspace, variant.healthy)) == set()


@pytest.mark.slow
@every_variant
def test_broken_on_the_command_line(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, variant, monkeypatch)
    found, exit_code = _through_the_command_line(workspace, variant)
    assert found == set(variant.expect)
    assert exit_code != 0 or variant.command[0] == "migrate"


@pytest.mark.slow
@every_variant
def test_good_twin_on_the_command_line(variant: Variant, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, variant.healthy, monkeypatch)
    planned = variant.model or any(place(workspace, variant.dataset, "preprocessed").glob("*Plans.json"))
    assert _through_the_command_line(workspace, variant.healthy) == (set(), 0 if planned else 3)


def test_nearly_every_rule_has_a_sample() -> None:
    """All but those that no variant provokes, and those whose text depends on the machine."""
    codes = {rule.info.code for rule in RULES}
    assert set(samples()) <= codes
    assert len(codes - set(samples()) - set(NOT_FROM_FILES)) <= 10


def test_every_rule_has_a_variant() -> None:
    tested = {code for variant in ALL_VARIANTS for code, _, _ in variant.expect}
    assert tested | set(NOT_FROM_FILES) == {rule.info.code for rule in RULES}
    assert not tested & set(NOT_FROM_FILES)


def _found(workspace: Path, variant: Variant, report: Report) -> set[tuple[str, str, str]]:
    return found_in(workspace, variant.dataset, json.loads(render(report, "json"))["findings"])


def _through_the_command_line(workspace: Path, variant: Variant) -> tuple[set[tuple[str, str, str]], int]:
    """Return the findings and the exit code; `migrate` has no --fail-on, so there only errors make it 1."""
    program, *arguments = command_of(workspace, variant)
    judging = ["--output", "json", "--fail-on", "info"]
    if program == "migrate":
        words = ["migrate", "--dry-run", *judging[:2], *arguments]
    elif program == "doctor":
        words = ["doctor", *judging]
    elif program == "check":
        options = options_of(workspace, variant)
        words = ["check", *(part for option in options.items() for part in option if part != "model"), *judging]
    else:
        words = ["gate", "--dry-run", "--data", "headers", *judging, "--", program, *arguments]
    result = CliRunner().invoke(build_app(), words)
    return found_in(workspace, variant.dataset, json.loads(result.stdout)["findings"]), result.exit_code

"""The commands in messages and fixes of all rules, run as printed in the state that printed them.

They are not refused for another reason, and after those that change something the finding is gone. Blanks in the names
of folders show that paths are quoted.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from plansguard.core.report import Finding, Report
from plansguard.nnunet import constants
from tests.rules import ALL_VARIANTS
from tests.support.printed import commands, obstacle
from tests.support.typed_commands import Typed, state_of
from tests.support.variants import Variant


def printed(report: Report) -> list[tuple[Finding, list[list[str]]]]:
    """The chains of commands in a report, each with its finding."""
    return [
        (finding, chain)
        for finding in report.active
        for text in (finding.message, finding.fix)
        for chain in commands(text)
    ]


def on_another_device(variant: Variant, chains: list[tuple[Finding, list[list[str]]]]) -> Iterator[str]:
    """The trainings that are printed for one on the CPU, and would not run there."""
    if "cpu" in variant.training:
        for finding, chain in chains:
            for words in chain:
                if {"train", constants.TRAIN} & {*words} and "cpu" not in words:
                    yield f"{finding.code}: without -device cpu: {shlex.join(words)}"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)
def test_commands_of_a_finding(variant: Variant, tmp_path: Path) -> None:
    problems: list[str] = []
    with state_of(variant, tmp_path / "state 0") as (workspace, report, patch):
        chains = printed(report)
        problems += [why for _, chain in chains for words in chain if (why := obstacle(words)) is not None]
        problems += [*on_another_device(variant, chains)]
        assert not problems, "\n".join(problems)
        problems += Typed(variant, workspace, report, patch).problems(*chains[0]) if chains else []
    shutil.rmtree(tmp_path / "state 0")
    for number in range(1, len(chains)):
        with state_of(variant, tmp_path / f"state {number}") as (workspace, report, patch):
            finding, chain = printed(report)[number]
            problems += Typed(variant, workspace, report, patch).problems(finding, chain)
        shutil.rmtree(tmp_path / f"state {number}")
    assert not problems, "\n".join(problems)

"""A finding of every rule, as the first variant that provokes it prints it."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from plansguard.core.report import Report
from plansguard.render import Screen, render
from tests.support.variant_runs import laid_out, prepare, report_of
from tests.support.variants import Variant

#: Rules whose message counts down, or depends on the packages that are installed.
_VARYING = ("PG733", "PG757")


def sample_in(report: Report, code: str, workspace: Path) -> str:
    """The first finding of this code as it is printed in the workspace, which is the current folder."""
    finding = next(one for one in report.findings if one.code == code)
    alone = Report("check", (), 1, (replace(finding, ignored=None),))
    text = render(alone, "text", Screen(quiet=True)).strip("\n").replace(f"{workspace}/", "")
    return text.replace(str(workspace), ".") + "\n"


def stable_sample(variant: Variant, code: str, folder: Path) -> str | None:
    """The finding of a variant; None if it tells the time, names this Python, or differs where the path is long."""
    texts = []
    for name in ("a", "b" * 80):
        (folder / name).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            workspace = laid_out(variant, folder / name, patch)
            prepare(workspace, variant, patch)
            patch.chdir(workspace)
            texts.append(sample_in(report_of(workspace, variant), code, workspace))
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    varies = code in _VARYING or today in texts[0] or sys.prefix in texts[0]
    return texts[0] if texts[0] == texts[1] and not varies else None


def variants_by_code(variants: tuple[Variant, ...]) -> dict[str, list[Variant]]:
    """The variants that provoke each code, those with fewest findings first."""
    by_code: dict[str, list[Variant]] = {}
    for variant in variants:
        for code, _, _ in variant.expect:
            by_code.setdefault(code, []).append(variant)
    return {code: sorted(found, key=lambda one: len(one.expect)) for code, found in sorted(by_code.items())}
